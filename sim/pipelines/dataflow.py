"""Dataflow (Flink): operators chained into one task, or sources, scoring tasks and sinks with buffers between them."""

from __future__ import annotations

from scenarios.assignment import range_assignment
from sim import programs
from sim.pipelines import poll_loop, stages
from sim.pipelines.pipeline import Pipeline
from sim.system import INPUT, OUTPUT, Exchange

#: Network buffers of a channel: the reader's own and the writer's, and what a reader has beside them for all channels.
BUFFERS_PER_CHANNEL, FLOATING_BUFFERS = 3, 8


def lay_out(pipeline: Pipeline) -> None:
    """Chained: a poll loop.  Else 32-N-32, or whatever the parallelism of sources and sinks is."""
    engine, partitions = pipeline.scenario.engine, pipeline.scenario.broker.partitions
    if engine.chained:
        poll_loop.lay_out(pipeline)
        return
    pipeline.generate(programs.generator())
    pipeline.broker()
    to_scoring, to_sinks = 0, 1
    program = stages.source(to_scoring)
    sources = [
        pipeline.consume((f"source.{s}.consumer", f"source.{s}.app"), "engine", "engine", program, s, own)
        for s, own in enumerate(range_assignment(partitions, engine.source_parallelism or partitions))
    ]
    program = stages.scoring(to_scoring, to_sinks, pipeline.service)
    for n in range(engine.parallelism):
        pipeline.workers.append(pipeline.add(f"worker.{n}.app", "engine", "engine", program, n))
    program, sinks = stages.sink(to_sinks), []
    for s in range(engine.sink_parallelism or partitions):
        sinks.append(pipeline.add(f"sink.{s}.app", "engine", "engine", program, s))
        pipeline.produce(f"sink.{s}.producer", "engine", "engine", sinks[-1], whole=True)
    pipeline.exchanges.append(exchange(pipeline, sources, pipeline.workers, INPUT))
    pipeline.exchanges.append(exchange(pipeline, pipeline.workers, sinks, OUTPUT))
    pipeline.server()
    pipeline.collect()


def exchange(pipeline: Pipeline, writers: list[int], readers: list[int], carries: int) -> Exchange:
    """Records between tasks, in network buffers that are passed on when they are full, or at a timeout.

    Args:
        pipeline: What is laid out.
        writers: Threads that write.
        readers: Threads that read.
        carries: Records of the input or of the output topic.
    """
    engine, size = pipeline.scenario.engine, pipeline.record_bytes(carries)
    capacity = engine.buffer_capacity
    if capacity is None:
        buffers = BUFFERS_PER_CHANNEL * len(writers) + FLOATING_BUFFERS
        capacity = max(1, buffers * engine.buffer_bytes // size)
    return Exchange(
        tuple(writers),
        tuple(readers),
        capacity=capacity,
        flush_ns=engine.buffer_timeout_ns,
        buffer_records=max(1, engine.buffer_bytes // size),
    )
