"""The programs of the Python engine's pipeline: generator, clients, broker, worker, collector, background.

Each reads like the loop it stands for; docs/simulator.md says what the operations mean.
"""

from __future__ import annotations

from collections.abc import Mapping

from sim import operations as op
from sim.costs import CPU_COSTS
from sim.operations import Program

COST_NUMBER: Mapping[str, int] = {name: i for i, name in enumerate(CPU_COSTS)}
#: Costs of background threads come after the named ones: one a part.
FIRST_BACKGROUND_COST = len(CPU_COSTS)
BACKGROUND_PERIOD_NS = 10_000_000

Operations = tuple[tuple[int, int, int, int], ...]


def generator() -> Operations:
    """Sends each record when it is due."""
    p = Program("generator")
    p.label("loop").do(op.ARRIVE, "end")
    p.do(op.STAMP, op.SENT, op.ONE)
    p.do(op.CPU, COST_NUMBER["generator.wake"], op.AFTER_SLEEP)
    p.do(op.CPU, COST_NUMBER["generator.record"], op.RECORD_IN)
    p.do(op.ENQUEUE).do(op.JUMP, "loop")
    p.label("end").do(op.HALT)
    return p.build()


def producer_client() -> Operations:
    """A client library's producing thread: batches what its lanes hold, one partition a request."""
    p = Program("producer client")
    p.label("loop").do(op.PRODUCE_NEXT, "answered")
    p.do(op.CPU, COST_NUMBER["producer.wake"], op.AFTER_SLEEP)
    p.do(op.CPU, COST_NUMBER["producer.request"], op.MESSAGE)
    p.do(op.SEND_REQUEST).do(op.JUMP, "loop")
    p.label("answered").do(op.CPU, COST_NUMBER["producer.wake"], op.AFTER_SLEEP)
    p.do(op.ACK).do(op.JUMP, "loop")
    return p.build()


def broker_thread() -> Operations:
    """One request at a time: append, answer, complete the fetch that waited for it."""
    p = Program("broker")
    p.label("loop").do(op.RECV)
    p.do(op.CPU, COST_NUMBER["broker.wake"], op.AFTER_SLEEP)
    p.do(op.BRANCH_KIND, "fetch", "expired")
    p.do(op.CPU, COST_NUMBER["broker.produce"], op.MESSAGE)
    p.do(op.APPEND).do(op.SEND_ANSWER)
    p.label("complete").do(op.COMPLETE_NEXT, "rest")
    p.do(op.CPU, COST_NUMBER["broker.fetch"], op.MESSAGE)
    p.do(op.SEND_ANSWER)
    p.do(op.CPU, COST_NUMBER["broker.rest"], op.WAKES)
    p.do(op.JUMP, "complete")
    p.label("fetch").do(op.FETCH_EVAL, "loop")
    p.label("expired").do(op.CPU, COST_NUMBER["broker.fetch"], op.MESSAGE, op.FETCH_OR_EMPTY)
    p.do(op.SEND_ANSWER)
    p.label("rest").do(op.CPU, COST_NUMBER["broker.rest"], op.WAKES)
    p.do(op.JUMP, "loop")
    return p.build()


def consumer_client() -> Operations:
    """A client library's fetching thread: one request in flight."""
    p = Program("consumer client")
    p.label("loop").do(op.FETCH_SEND).do(op.RECV)
    p.do(op.CPU, COST_NUMBER["consumer.wake"], op.AFTER_SLEEP)
    p.do(op.CPU, COST_NUMBER["consumer.fetch"], op.MESSAGE, op.FETCH_OR_EMPTY)
    p.do(op.DELIVER).do(op.JUMP, "loop")
    return p.build()


def python_worker() -> Operations:
    """Polls, then decodes, scores, encodes and produces record by record on the polling thread."""
    p = Program("python worker")
    p.label("loop").do(op.POLL, "empty")
    p.do(op.CPU, COST_NUMBER["worker.poll"], op.POLLED)
    p.do(op.STAMP, op.FETCHED, op.OF_POLL)
    p.do(op.CPU, COST_NUMBER["worker.cold"], op.AFTER_SLEEP)
    p.label("next").do(op.NEXT, "loop")
    p.do(op.CPU, COST_NUMBER["worker.decode"], op.RECORD_IN)
    p.do(op.STAMP, op.SCORE_BEGIN, op.ONE)
    p.do(op.CPU, COST_NUMBER["worker.score"], op.RECORD_IN)
    p.do(op.STAMP, op.SCORE_END, op.ONE)
    p.do(op.CPU, COST_NUMBER["worker.encode"], op.RECORD_OUT)
    p.do(op.STAMP, op.PRODUCED, op.ONE)
    p.do(op.CPU, COST_NUMBER["worker.produce"], op.RECORD_OUT)
    p.do(op.ENQUEUE).do(op.SERVE).do(op.JUMP, "next")
    p.label("empty").do(op.CPU, COST_NUMBER["worker.poll_empty"], op.AFTER_SLEEP)
    p.do(op.SERVE).do(op.JUMP, "loop")
    return p.build()


def collector() -> Operations:
    """Reads the output topic."""
    p = Program("collector")
    p.label("loop").do(op.POLL, "loop")
    p.do(op.CPU, COST_NUMBER["collector.wake"], op.AFTER_SLEEP)
    p.do(op.CPU, COST_NUMBER["collector.poll"], op.POLLED)
    p.do(op.CPU, COST_NUMBER["collector.record"], op.POLLED)
    p.do(op.JUMP, "loop")
    return p.build()


def background(part: int) -> Operations:
    """Work that goes on whatever the load: a share of each period."""
    p = Program("background")
    p.label("loop").do(op.SLEEP, BACKGROUND_PERIOD_NS)
    p.do(op.CPU, FIRST_BACKGROUND_COST + part, op.WAKES)
    p.do(op.JUMP, "loop")
    return p.build()
