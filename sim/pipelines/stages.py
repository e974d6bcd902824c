"""Sources, scoring tasks and sinks apart from each other: of dataflow, actors, brokerless pipelines."""

from __future__ import annotations

from sim import operations as op
from sim import programs
from sim.operations import Program
from sim.programs import COST_NUMBER, Operations


def source(to: int) -> Operations:
    """Polls, decodes record by record, and hands each on.

    Args:
        to: The exchange it writes to.
    """
    p = Program("source")
    p.label("loop").do(op.POLL, "loop")
    p.do(op.CPU, COST_NUMBER["worker.poll"], op.POLLED)
    p.do(op.STAMP, op.FETCHED, op.OF_POLL)
    p.do(op.CPU, COST_NUMBER["worker.cold"], op.AFTER_SLEEP)
    p.label("next").do(op.NEXT, "loop")
    p.do(op.CPU, COST_NUMBER["worker.decode"], op.RECORD_IN)
    p.do(op.CPU, COST_NUMBER["exchange.put"], op.RECORD_IN)
    p.do(op.PUT, to).do(op.JUMP, "next")
    return p.build()


def scoring(of: int, to: int, service: int | None) -> Operations:
    """Takes a record, scores it, hands it on.

    Args:
        of: The exchange it reads.
        to: The one it writes to.
        service: What it calls for a score; None where it scores itself.
    """
    p = Program("scoring")
    p.label("loop").do(op.GET, of, op.MINE)
    p.do(op.CPU, COST_NUMBER["worker.cold"], op.AFTER_SLEEP)
    p.do(op.CPU, COST_NUMBER["exchange.get"], op.RECORD_IN)
    programs.score(p, service)
    p.do(op.CPU, COST_NUMBER["exchange.put"], op.RECORD_OUT)
    p.do(op.PUT, to).do(op.JUMP, "loop")
    return p.build()


def sink(of: int, *, waits: bool = False) -> Operations:
    """Takes a record, encodes and produces it.

    Args:
        of: The exchange it reads.
        waits: For the delivery of each record.
    """
    p = _taken("sink", of)
    p.do(op.STAMP, op.PRODUCED, op.ONE)
    p.do(op.CPU, COST_NUMBER["worker.produce"], op.RECORD_OUT)
    p.do(op.ENQUEUE)
    if waits:
        p.do(op.FLUSH)
    return p.do(op.JUMP, "loop").build()


def last(of: int) -> Operations:
    """Takes a record and encodes it: the end of a pipeline without a broker."""
    return _taken("last", of).do(op.DONE).do(op.JUMP, "loop").build()


def _taken(name: str, of: int) -> Program:
    p = Program(name)
    p.label("loop").do(op.GET, of)
    p.do(op.CPU, COST_NUMBER["worker.cold"], op.AFTER_SLEEP)
    p.do(op.CPU, COST_NUMBER["exchange.get"], op.RECORD_OUT)
    return p.do(op.CPU, COST_NUMBER["worker.encode"], op.RECORD_OUT)
