"""Graphs of models: generators send records to the first stage; each stage scores batches and sends records on."""

from __future__ import annotations

import numpy as np

from scenarios.spec import Stage
from sim import integers
from sim import operations as op
from sim.costs import SERVER_SCORE
from sim.operations import Program
from sim.pipelines.pipeline import Pipeline
from sim.programs import COST_NUMBER, FIRST_SERVER_SCORE_COST, Operations
from sim.system import COST_BITS, Cost, Edge, Service, UnsupportedError


def lay_out(pipeline: Pipeline) -> None:
    """Without a broker: every hand-over is a request over the network whose answer nobody waits for.

    Raises:
        UnsupportedError: The scenario has a backlog.
    """
    if pipeline.scenario.workload.backlog_records:
        raise UnsupportedError("workload.backlog: the engine graph has no broker, so no topic that could hold one")
    stages = pipeline.scenario.stages
    number = {stage.name: k for k, stage in enumerate(stages)}
    pipeline.generate(generator(0), clients=False)
    for k, stage in enumerate(stages):
        score = FIRST_SERVER_SCORE_COST + len(pipeline.costs)
        pipeline.costs += _times(pipeline, stage)
        program = worker(k, score)
        threads = tuple(
            pipeline.add(f"stage.{stage.name}.{n}", stage.name, "engine", program, n) for n in range(stage.workers)
        )
        if k == 0:
            pipeline.workers += threads
        pipeline.services.append(
            Service(
                threads,
                batch_records=stage.batch_records,
                delay_ns=stage.batch_delay_ns,
                edges=_edges(stage, number),
                joins=stage.joins,
                capacity=stage.queue_records,
                earliest_first=stage.order == "created",
                expiry_ns=stage.expiry_ns,
                first_batches=len(stage.first_batches_ns),
                keeps=True,
                name=stage.name,
            )
        )


def _edges(stage: Stage, number: dict[str, int]) -> tuple[Edge, ...]:
    edges, taken = [], 0.0
    for branch in stage.next:
        taken = 1.0 if branch.share is None else taken + branch.share
        edges.append(Edge(min(round(taken * (1 << 32)), 1 << 32), tuple(number[name] for name in branch.to)))
    return tuple(edges)


def _times(pipeline: Pipeline, stage: Stage) -> list[Cost]:
    """What a batch of one, of two, ... costs, then each worker's first batches."""
    calibration, points = pipeline.calibration, pipeline.scenario.workload.points
    sizes = range(1, stage.batch_records + 1)
    if stage.table_ns:
        known, times = (np.array(column, dtype=np.float64) for column in zip(*stage.table_ns, strict=True))
        costs = [_constant(float(t)) for t in np.interp(np.array(sizes), known, times)]
    elif stage.base_ns is not None or stage.each_ns is not None:
        costs = [_constant((stage.base_ns or 0) + n * (stage.each_ns or 0)) for n in sizes]
    else:
        is_noop = pipeline.scenario.model.name == integers.NO_MODEL
        table = {} if is_noop else calibration.server_table or calibration.score_table
        per_batch = calibration.cpu.get(SERVER_SCORE)
        costs = [integers.cost(per_batch, integers.at_points(table, n * points)) for n in sizes]
    return costs + [_constant(t) for t in stage.first_batches_ns]


def _constant(ns: float) -> Cost:
    return Cost(round(ns * (1 << COST_BITS)), 0, 0, 0, 0, 0, None)


def generator(to: int) -> Operations:
    """Sends each record to a service when it is due.

    Args:
        to: The service.
    """
    p = Program("generator of a graph")
    p.label("loop").do(op.ARRIVE, "end")
    for column in (op.SENT, op.APPENDED, op.FETCHED):
        p.do(op.STAMP, column, op.ONE)
    p.do(op.CPU, COST_NUMBER["generator.wake"], op.AFTER_SLEEP)
    p.do(op.CPU, COST_NUMBER["generator.record"], op.RECORD_IN)
    p.do(op.CALL, to, op.UNANSWERED).do(op.JUMP, "loop")
    p.label("end").do(op.HALT)
    return p.build()


def worker(stage: int, score: int) -> Operations:
    """Takes what waits, up to a batch, scores it together, sends each record on.

    Args:
        stage: Its service.
        score: The cost of a batch of one; those of larger ones follow.
    """
    p = Program("worker of a stage")
    p.label("loop").do(op.TAKE, stage)
    p.do(op.CPU, COST_NUMBER["server.wake"], op.AFTER_SLEEP)
    p.do(op.STAMP_TAKEN, op.SCORE_BEGIN)
    p.do(op.CPU, COST_NUMBER["server.request"], op.TAKEN)
    p.do(op.CPU, score, op.TAKEN, op.BY_SIZE)
    p.do(op.STAMP_TAKEN, op.SCORE_END)
    p.do(op.ROUTE).do(op.JUMP, "loop")
    return p.build()
