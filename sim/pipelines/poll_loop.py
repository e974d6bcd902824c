"""Poll loops: a task polls its own partitions and scores and produces record by record, on one thread.

Kafka Streams, a chained Flink task and, with tasks that are processes of their own, the Python engine.
"""

from __future__ import annotations

from scenarios.assignment import range_assignment
from sim import operations as op
from sim import programs
from sim.operations import Program
from sim.pipelines import models
from sim.pipelines.pipeline import Pipeline
from sim.programs import COST_NUMBER, Operations


def lay_out(pipeline: Pipeline) -> None:
    """Tasks are threads of one process."""
    tasks(pipeline, process="engine")


def tasks(pipeline: Pipeline, process: str) -> None:
    """The whole pipeline.

    Args:
        pipeline: What is laid out.
        process: Of a task, `{}` standing for its number.
    """
    engine = pipeline.scenario.engine
    pipeline.generate(programs.generator())
    pipeline.broker()
    serves, todo = not pipeline.profile.calls_back, models.plan(pipeline)
    holders = models.Holders(pipeline, todo) if todo else None
    program = models.worker(todo, serves=serves).build() if todo else worker(serves=serves, service=pipeline.service)
    for n, own in enumerate(range_assignment(pipeline.scenario.broker.partitions, engine.parallelism)):
        names, within = (f"worker.{n}.consumer", f"worker.{n}.app"), process.format(n)
        app = pipeline.consume(names, within, "engine", program, n, own)
        pipeline.produce(f"worker.{n}.producer", within, "engine", app, partitions=own)
        pipeline.workers.append(app)
        if holders:
            holders.add_worker(n, app, within)
    pipeline.processes["engine"] = engine.parallelism if "{}" in process else 1
    pipeline.server()
    pipeline.collect()
    if holders:
        holders.finish()
        pipeline.notes += models.notes(pipeline.scenario)


def worker(*, serves: bool, service: int | None = None) -> Operations:
    """Polls, then decodes, scores, encodes and produces record by record on the polling thread.

    Args:
        serves: The client hands deliveries to this thread, which calls back; else the client does.
        service: What it calls for a score; None where it scores itself.
    """
    p = Program("worker")
    p.label("loop").do(op.POLL, "empty" if serves else "loop")
    p.do(op.CPU, COST_NUMBER["worker.poll"], op.POLLED)
    p.do(op.STAMP, op.FETCHED, op.OF_POLL)
    p.do(op.CPU, COST_NUMBER["worker.cold"], op.AFTER_SLEEP)
    p.label("next").do(op.NEXT, "loop")
    p.do(op.CPU, COST_NUMBER["worker.decode"], op.RECORD_IN)
    programs.score(p, service)
    p.do(op.CPU, COST_NUMBER["worker.encode"], op.RECORD_OUT)
    p.do(op.STAMP, op.PRODUCED, op.ONE)
    p.do(op.CPU, COST_NUMBER["worker.produce"], op.RECORD_OUT)
    p.do(op.ENQUEUE)
    if serves:
        p.do(op.SERVE)
    p.do(op.JUMP, "next")
    if serves:
        p.label("empty").do(op.CPU, COST_NUMBER["worker.poll_empty"], op.AFTER_SLEEP)
        p.do(op.SERVE).do(op.JUMP, "loop")
    return p.build()
