"""Micro-batches (Spark Structured Streaming): a driver plans a task a partition, executor threads work them off."""

from __future__ import annotations

from sim import operations as op
from sim import programs
from sim.operations import Program
from sim.pipelines.pipeline import Pipeline
from sim.programs import COST_NUMBER, Operations
from sim.system import MicroBatch


def lay_out(pipeline: Pipeline) -> None:
    """The whole pipeline; the executors' threads are the task slots."""
    engine = pipeline.scenario.engine
    pipeline.generate(programs.generator())
    pipeline.broker()
    at = pipeline.add("driver.app", "driver", "engine", driver())
    program = executor(pipeline.service)
    for n in range(engine.task_slots or engine.parallelism):
        pipeline.workers.append(pipeline.add(f"worker.{n}.app", "engine", "engine", program, n))
        pipeline.produce(f"worker.{n}.producer", "engine", "engine", pipeline.workers[-1], whole=True)
    pipeline.processes["engine"] = 2
    pipeline.micro_batch = MicroBatch(
        at,
        tuple(pipeline.workers),
        interval_ns=engine.trigger_interval_ns,
        poll_ns=engine.poll_delay_ns,
        max_records=engine.max_offsets_per_trigger or 0,
    )
    pipeline.server()
    pipeline.collect()


def driver() -> Operations:
    """Waits until a batch is due, plans it, waits for its tasks, commits it."""
    p = Program("driver")
    p.label("loop").do(op.TRIGGER)
    p.do(op.CPU, COST_NUMBER["batch.plan"], op.WAKES)
    p.do(op.PLAN).do(op.JOIN)
    p.do(op.CPU, COST_NUMBER["batch.commit"], op.WAKES)
    p.do(op.JUMP, "loop")
    return p.build()


def executor(service: int | None) -> Operations:
    """Takes a task, works its records off, waits until they are delivered.

    Args:
        service: What it calls for a score; None where it scores itself.
    """
    p = Program("executor")
    p.label("loop").do(op.TASK)
    p.do(op.CPU, COST_NUMBER["task.start"], op.TASK_RECORDS)
    p.do(op.STAMP, op.FETCHED, op.OF_TASK)
    p.label("next").do(op.NEXT_TASK, "end")
    p.do(op.CPU, COST_NUMBER["worker.decode"], op.RECORD_IN)
    programs.score(p, service)
    p.do(op.CPU, COST_NUMBER["worker.encode"], op.RECORD_OUT)
    p.do(op.STAMP, op.PRODUCED, op.ONE)
    p.do(op.CPU, COST_NUMBER["worker.produce"], op.RECORD_OUT)
    p.do(op.ENQUEUE).do(op.JUMP, "next")
    p.label("end").do(op.FLUSH)
    p.do(op.CPU, COST_NUMBER["task.end"], op.TASK_RECORDS)
    p.do(op.TASK_DONE).do(op.JUMP, "loop")
    return p.build()
