"""Without a broker: generators hand records straight to scoring tasks, and each record ends at a sink beside them."""

from __future__ import annotations

from sim import operations as op
from sim.operations import Program
from sim.pipelines import stages
from sim.pipelines.pipeline import Pipeline
from sim.programs import COST_NUMBER, Operations
from sim.system import Exchange, UnsupportedError


def lay_out(pipeline: Pipeline) -> None:
    """The whole pipeline: no topic, no partitions, no collector.

    Raises:
        UnsupportedError: The scenario has a backlog.
    """
    if pipeline.scenario.workload.backlog_records:
        raise UnsupportedError("workload.backlog: the engine standalone has no broker, so no topic that could hold one")
    to_scoring, to_sinks = 0, 1
    pipeline.generate(generator(to_scoring), clients=False)
    count = pipeline.scenario.engine.parallelism
    program = stages.scoring(to_scoring, to_sinks, pipeline.service)
    pipeline.workers += [pipeline.add(f"worker.{n}.app", "engine", "engine", program, n) for n in range(count)]
    sinks = [pipeline.add(f"sink.{n}.app", "engine", "engine", stages.last(to_sinks), n) for n in range(count)]
    pipeline.exchanges.append(Exchange(tuple(pipeline.generators), tuple(pipeline.workers)))
    pipeline.exchanges.append(Exchange(tuple(pipeline.workers), tuple(sinks)))
    pipeline.server()


def generator(to: int) -> Operations:
    """Hands each record to a scoring task when it is due.

    Args:
        to: The exchange it writes to.
    """
    p = Program("generator without a broker")
    p.label("loop").do(op.ARRIVE, "end")
    for column in (op.SENT, op.APPENDED, op.FETCHED):
        p.do(op.STAMP, column, op.ONE)
    p.do(op.CPU, COST_NUMBER["generator.wake"], op.AFTER_SLEEP)
    p.do(op.CPU, COST_NUMBER["generator.record"], op.RECORD_IN)
    p.do(op.PUT, to).do(op.JUMP, "loop")
    p.label("end").do(op.HALT)
    return p.build()
