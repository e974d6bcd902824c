"""The programs that pipelines share: generator, clients, broker, collector, server, background.

Each reads like the loop it stands for; docs/simulator.md says what the operations mean.  What only one engine family
runs is beside its layout, in `sim.pipelines`.
"""

from __future__ import annotations

from collections.abc import Mapping

from sim import operations as op
from sim.costs import BACKGROUND_PARTS, CPU_COSTS
from sim.operations import Program

COST_NUMBER: Mapping[str, int] = {name: i for i, name in enumerate(CPU_COSTS)}
#: Costs of background threads come after the named ones: one a part.
FIRST_BACKGROUND_COST = len(CPU_COSTS)
#: Then what a server's scoring costs: one number a size of the batch.
FIRST_SERVER_SCORE_COST = FIRST_BACKGROUND_COST + len(BACKGROUND_PARTS)
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


def score(p: Program, service: int | None) -> None:
    """The scoring of the record at hand: on this thread, or by a call whose answer it waits for."""
    p.do(op.STAMP, op.SCORE_BEGIN, op.ONE)
    if service is None:
        p.do(op.CPU, COST_NUMBER["worker.score"], op.RECORD_IN)
    else:
        p.do(op.CPU, COST_NUMBER["call.request"], op.RECORD_IN)
        p.do(op.CALL, service).do(op.RECV)
        p.do(op.CPU, COST_NUMBER["call.response"], op.RECORD_OUT)
    p.do(op.STAMP, op.SCORE_END, op.ONE)


def server(service: int) -> Operations:
    """A thread of a server: takes what waits, up to a batch, scores it together, answers each."""
    p = Program("server")
    p.label("loop").do(op.TAKE, service)
    p.do(op.CPU, COST_NUMBER["server.wake"], op.AFTER_SLEEP)
    p.do(op.CPU, COST_NUMBER["server.request"], op.TAKEN)
    p.do(op.CPU, FIRST_SERVER_SCORE_COST, op.TAKEN, op.BY_SIZE)
    p.do(op.REPLY).do(op.JUMP, "loop")
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
