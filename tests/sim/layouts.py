"""Systems laid out by hand: what a `Layout` makes of programs and numbers, and programs for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from scenarios.draws import TABLE_SIZE
from scenarios.spec import MS_NS, S_NS, US_NS
from sim import operations as op
from sim.integers import spread_quantiles
from sim.operations import Program
from sim.system import (
    COST_BITS,
    Consumer,
    Cost,
    Exchange,
    Host,
    Int64s,
    MicroBatch,
    Models,
    Producer,
    Service,
    System,
    Thread,
)

NO_COST = Cost(0, 0, 0, 0, 0, 0, None)
MANY_CORES = 256
SLICE_NS = 3 * MS_NS
STEP_NS = 100 * US_NS


def costing(fixed: float, *, batch: float = 0, record: float = 0, point: float = 0, byte: float = 0) -> Cost:
    """A CPU cost in ns, without a residual."""
    fixed_, batch_, record_, point_, byte_ = (round(x * (1 << COST_BITS)) for x in (fixed, batch, record, point, byte))
    return Cost(fixed_, batch_, record_, point_, byte_, 0, None)


def table(*quantiles: float) -> Int64s:
    """Latencies in ns: a constant, or evenly spaced quantiles."""
    return spread_quantiles(quantiles)


class Layout:
    """A system under construction.  Threads, costs and hosts are numbered in the order they are added."""

    def __init__(self, due: Sequence[int], *, partition: Sequence[int] | None = None, backlog: int = 0) -> None:
        self.created = np.array([0] * backlog + list(due), dtype=np.int64)
        self.partition = np.array(partition or [0] * len(self.created), dtype=np.int64)
        self.backlog = backlog
        self.hosts: list[Host] = []
        self.curves: list[tuple[float, ...]] = []
        self.threads: list[Thread] = []
        self.costs: list[Cost] = [NO_COST]
        self.producers: list[Producer] = []
        self.consumers: list[Consumer] = []
        self.generators: list[int] = []
        self.brokers: list[int] = []
        self.workers: list[int] = []
        self.exchanges: list[Exchange] = []
        self.services: list[Service] = []
        self.micro_batch: MicroBatch | None = None
        self.models: Models | None = None

    def host(self, *, cores: int = MANY_CORES, slice_ns: int = SLICE_NS, curve: Sequence[float] = ()) -> int:
        """A host of slices, or with a capacity curve one that shares its processor."""
        self.hosts.append(Host(f"host-{len(self.hosts)}", cores, slice_ns))
        self.curves.append(tuple(curve))
        return len(self.hosts) - 1

    def cost(self, *costs: Cost) -> int:
        """The number of a cost, of the first of several."""
        self.costs.extend(costs)
        return len(self.costs) - len(costs)

    def work(self, fixed: float) -> int:
        """The number of a cost that is the same for everything."""
        return self.cost(costing(fixed))

    def thread(self, name: str, program: Program, *, host: int = 0, index: int = 0, part: str = "engine") -> int:
        self.threads.append(Thread(name, name, part, host, program.build(), index))
        return len(self.threads) - 1

    def generator(self, program: Program, *, host: int = 0) -> int:
        index = len(self.generators)
        self.generators.append(self.thread(f"generator.{index}.app", program, host=host, index=index, part="generator"))
        return self.generators[-1]

    def background(self, program: Program, *, host: int = 0) -> int:
        return self.thread(f"background.{len(self.threads)}", program, host=host, part="host")

    def system(self, **settings: Any) -> System:
        """The system; `settings` are fields of it."""
        known: dict[str, Any] = {
            "seed": 7,
            **dict.fromkeys(("wake", "timer", "network"), table(0.0)),
            "cold": np.zeros(TABLE_SIZE, dtype=np.int64),
            "points": 1,
            "record_bytes": (100, 50),
            "partitions": int(self.partition.max(initial=0)) + 1,
            "linger_ns": 0,
            "batch_records": 100,
            "batch_bytes": 1 << 20,
            "max_in_flight": 5,
            "fetch_min_bytes": 1,
            "fetch_max_wait_ns": 500 * MS_NS,
            "fetch_max_bytes": 1 << 20,
            "partition_fetch_bytes": 1 << 20,
            "queued_records": 1 << 20,
            "queued_bytes": 1 << 30,
            "fetch_backoff_ns": MS_NS,
            "delivery_poll_ns": MS_NS,
            "load_ns": int(self.created.max(initial=0)),
            "horizon_ns": S_NS,
        }
        hosts = [replace(host, shares=self._shares(i)) for i, host in enumerate(self.hosts)]
        return System(
            hosts=tuple(hosts),
            threads=tuple(self.threads),
            producers=tuple(self.producers),
            consumers=tuple(self.consumers),
            generators=tuple(self.generators),
            broker_threads=tuple(self.brokers),
            workers=tuple(self.workers),
            costs=(*self.costs, NO_COST),  # a program may name the one after its last
            created=self.created,
            partition=self.partition,
            backlog=self.backlog,
            exchanges=tuple(self.exchanges),
            services=tuple(self.services),
            micro_batch=self.micro_batch,
            models=self.models,
            **{**known, **settings},
        )

    def _shares(self, host: int) -> tuple[int, ...] | None:
        """What each of n threads at work gets, for as many as the host has."""
        curve = self.curves[host]
        if not curve:
            return None
        threads = max(1, sum(t.host == host for t in self.threads))
        return tuple(max(1, int(256 * curve[min(n, len(curve)) - 1] / n)) for n in range(1, threads + 1))


# Programs.  A cost that is 0 burns nothing.


def generator(*, work: int = 0, wake: int = 0, exchange: int | None = None, service: int | None = None) -> Program:
    """Sends to the broker, or without one puts into an exchange or calls a service, and waits for no answer."""
    p = Program("generator")
    p.label("loop").do(op.ARRIVE, "end")
    for column in (op.SENT,) if exchange is None and service is None else (op.SENT, op.APPENDED, op.FETCHED):
        p.do(op.STAMP, column, op.ONE)
    p.do(op.CPU, wake, op.AFTER_SLEEP).do(op.CPU, work, op.RECORD_IN)
    if service is not None:
        p.do(op.CALL, service, op.UNANSWERED)
    else:
        p.do(op.ENQUEUE) if exchange is None else p.do(op.PUT, exchange)
    p.do(op.JUMP, "loop")
    p.label("end").do(op.HALT)
    return p


def producer_client(*, work: int = 0) -> Program:
    """Sends what the lanes hold."""
    p = Program("producer client")
    p.label("loop").do(op.PRODUCE_NEXT, "answered")
    p.do(op.CPU, work, op.MESSAGE).do(op.SEND_REQUEST).do(op.JUMP, "loop")
    p.label("answered").do(op.ACK).do(op.JUMP, "loop")
    return p


def broker(*, produce: int = 0, fetch: int = 0, rest: int = 0) -> Program:
    """Appends and answers; the cost of an empty answer is the one after `fetch`."""
    p = Program("broker")
    p.label("loop").do(op.RECV).do(op.BRANCH_KIND, "fetch", "expired")
    p.do(op.CPU, produce, op.MESSAGE).do(op.APPEND).do(op.SEND_ANSWER)
    p.label("complete").do(op.COMPLETE_NEXT, "rest")
    p.do(op.CPU, fetch, op.MESSAGE).do(op.SEND_ANSWER).do(op.JUMP, "complete")
    p.label("fetch").do(op.FETCH_EVAL, "loop")
    p.label("expired").do(op.CPU, fetch, op.MESSAGE, op.FETCH_OR_EMPTY).do(op.SEND_ANSWER)
    p.label("rest").do(op.CPU, rest, op.WAKES).do(op.JUMP, "loop")
    return p


def consumer_client(*, work: int = 0) -> Program:
    """Fetches; the cost of an empty answer is the one after `work`."""
    p = Program("consumer client")
    p.label("loop").do(op.FETCH_SEND).do(op.RECV)
    p.do(op.CPU, work, op.MESSAGE, op.FETCH_OR_EMPTY).do(op.DELIVER).do(op.JUMP, "loop")
    return p


def collector(*, work: int = 0) -> Program:
    """Polls and throws away."""
    p = Program("collector")
    p.label("loop").do(op.POLL, "loop").do(op.CPU, work, op.POLLED).do(op.JUMP, "loop")
    return p


def polls(*, poll: int = 0, cold: int = 0, serves: bool = True) -> Program:
    """A thread that polls, up to the label `next`; what it does with a record follows, and goes back there."""
    p = Program("polls")
    p.label("empty")
    if serves:
        p.do(op.SERVE)
    p.label("loop").do(op.POLL, "empty").do(op.CPU, poll, op.POLLED)
    p.do(op.STAMP, op.FETCHED, op.OF_POLL).do(op.CPU, cold, op.AFTER_SLEEP)
    p.label("next").do(op.NEXT, "loop")
    return p


def gets(exchange: int, *, get: int = 0, cold: int = 0, is_worker: bool = False) -> Program:
    """A thread that gets its records from an exchange; what it does with one follows, and goes back to `next`."""
    p = Program("gets")
    p.label("next").do(op.GET, exchange, op.MINE if is_worker else 0).do(op.CPU, cold, op.AFTER_SLEEP).do(
        op.CPU, get, op.RECORD_IN
    )
    return p


def server(service: int, *, wake: int = 0, request: int = 0, score: int = 0, by_size: int = 0) -> Program:
    """Answers calls; `by_size` is the first of the costs of a batch, one a size."""
    p = Program("server")
    p.label("loop").do(op.TAKE, service).do(op.CPU, wake, op.AFTER_SLEEP).do(op.CPU, request, op.TAKEN)
    p.do(op.CPU, score, op.TAKEN)
    if by_size:
        p.do(op.CPU, by_size, op.TAKEN, op.BY_SIZE)
    p.do(op.REPLY).do(op.JUMP, "loop")
    return p


def station(service: int, *, wake: int = 0, request: int = 0, by_size: int = 0) -> Program:
    """Works on what it takes, and sends it on; `by_size` as a server's."""
    p = Program("station")
    p.label("loop").do(op.TAKE, service).do(op.STAMP_TAKEN, op.SCORE_BEGIN).do(op.CPU, wake, op.AFTER_SLEEP)
    p.do(op.CPU, request, op.TAKEN)
    if by_size:
        p.do(op.CPU, by_size, op.TAKEN, op.BY_SIZE)
    p.do(op.STAMP_TAKEN, op.SCORE_END).do(op.ROUTE).do(op.JUMP, "loop")
    return p


def driver(*, plan: int = 0, commit: int = 0) -> Program:
    """Cuts the input topic into batches."""
    p = Program("driver")
    p.label("loop").do(op.TRIGGER).do(op.CPU, plan, op.WAKES).do(op.PLAN).do(op.JOIN)
    p.do(op.CPU, commit, op.WAKES).do(op.JUMP, "loop")
    return p


def executes(*, start: int = 0, end: int = 0, cold: int = 0, flushes: bool = True) -> Program:
    """A thread that does tasks; what it does with a record follows, and goes back to `next`."""
    p = Program("executor").do(op.JUMP, "loop")
    p.label("done")
    if flushes:
        p.do(op.FLUSH)
    p.do(op.CPU, end, op.TASK_RECORDS).do(op.TASK_DONE)
    p.label("loop").do(op.TASK).do(op.CPU, cold, op.AFTER_SLEEP).do(op.CPU, start, op.TASK_RECORDS)
    p.do(op.STAMP, op.FETCHED, op.OF_TASK)
    p.label("next").do(op.NEXT_TASK, "done")
    return p


def sleeper(period_ns: int, work: int) -> Program:
    """Works, sleeps, works."""
    p = Program("sleeper")
    return p.label("loop").do(op.CPU, work, op.WAKES).do(op.SLEEP, period_ns).do(op.JUMP, "loop")
