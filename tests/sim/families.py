"""Systems with exchanges, services, stations and micro-batches, for the tests of both executors.

`small_systems` are those whose stamps can be found with pencil and paper; `random_system` draws any.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from control.batching import LEARNING, Policy, Rules
from scenarios.assignment import range_assignment
from scenarios.draws import TABLE_SIZE
from scenarios.spec import MS_NS, US_NS
from sim import operations as op
from sim.operations import Program
from sim.system import (
    COST_BITS,
    INPUT,
    OUTPUT,
    RESIDUAL_BITS,
    Cache,
    Consumer,
    Cost,
    Edge,
    Exchange,
    Int64s,
    MicroBatch,
    Producer,
    Service,
    System,
)
from tests.sim.layouts import (
    MANY_CORES,
    SLICE_NS,
    STEP_NS,
    Layout,
    broker,
    collector,
    consumer_client,
    costing,
    driver,
    executes,
    generator,
    gets,
    polls,
    producer_client,
    server,
    sleeper,
    station,
    table,
)

# Pencil and paper


def calls_in_batches() -> System:
    """Three callers, one server: a batch of two that was complete in time, and one that was not."""
    layout = Layout([0, 4 * US_NS, 40 * US_NS])
    layout.host()
    gen = layout.generator(generator(exchange=0))
    callers = []
    for n in range(3):
        p = gets(0, is_worker=True).do(op.STAMP, op.SCORE_BEGIN, op.ONE).do(op.CALL, 0).do(op.RECV)
        callers.append(
            layout.thread(f"caller.{n}", p.do(op.STAMP, op.SCORE_END, op.ONE).do(op.DONE).do(op.JUMP, "next"), index=n)
        )
    request, sizes = layout.cost(costing(0, record=US_NS)), layout.cost(costing(6 * US_NS), costing(9 * US_NS))
    layout.exchanges.append(Exchange((gen,), tuple(callers)))
    threads = (layout.thread("server", server(0, request=request, by_size=sizes)),)
    layout.services.append(Service(threads, batch_records=2, delay_ns=10 * US_NS))
    return layout.system(wake=table(US_NS), timer=table(2 * US_NS), network=table(3 * US_NS))


def _one_stage(layout: Layout, exchange: Exchange, work_ns: int) -> int:
    """A thread that gets, works and is done; the exchange to it."""
    work = layout.work(work_ns)
    p = gets(0).do(op.STAMP, op.SCORE_BEGIN, op.ONE).do(op.CPU, work, op.RECORD_IN).do(op.DONE).do(op.JUMP, "next")
    thread = layout.thread("stage", p)
    layout.exchanges.append(replace(exchange, readers=(thread,)))
    return thread


def flush_ticks() -> System:
    """A buffer that is passed on by its timer, then because it is full, then by its timer."""
    layout = Layout([at * US_NS for at in (10, 20, 250, 260, 270, 280)])
    layout.host()
    gen = layout.generator(generator(exchange=0))
    _one_stage(layout, Exchange((gen,), (), flush_ns=100 * US_NS, buffer_records=3), 0)
    return layout.system(seed=4)


def back_pressure() -> System:
    """Two writers, room for one record."""
    layout = Layout([0] * 6)
    layout.host()
    writers = tuple(layout.generator(generator(exchange=0)) for _ in range(2))
    _one_stage(layout, Exchange(writers, (), capacity=1), 10 * US_NS)
    return layout.system(wake=table(US_NS))


def micro_batches() -> System:
    """Ten records of three partitions in three batches: two of four, one of what is left."""
    layout = Layout([], partition=[0] * 5 + [1] * 2 + [2] * 3, backlog=10)
    layout.host()
    start, work = layout.cost(costing(5 * US_NS, record=US_NS)), layout.work(3 * US_NS)
    program = executes(start=start, flushes=False).do(op.CPU, work, op.RECORD_IN).do(op.DONE).do(op.JUMP, "next")
    executors = tuple(layout.thread(f"executor.{n}", program, index=n) for n in range(2))
    number = layout.thread("driver", driver(plan=layout.work(10 * US_NS)))
    layout.micro_batch = MicroBatch(number, executors, interval_ns=100 * US_NS, poll_ns=50 * US_NS, max_records=4)
    return layout.system(wake=table(US_NS), timer=table(2 * US_NS))


def deliveries(*, calls_back: bool) -> System:
    """An executor that sends two records and waits for their deliveries."""
    layout = Layout([], partition=[0, 0], backlog=2)
    layout.host()
    program = executes().do(op.STAMP, op.PRODUCED, op.ONE).do(op.ENQUEUE).do(op.JUMP, "next")
    executor = layout.thread("executor", program)
    client = layout.thread("executor.producer", producer_client())
    layout.producers.append(Producer(client, executor, OUTPUT, 0, 1, calls_back))
    layout.brokers.append(layout.thread("broker", broker(produce=layout.work(5 * US_NS))))
    layout.micro_batch = MicroBatch(layout.thread("driver", driver()), (executor,))
    return layout.system(wake=table(US_NS), network=table(3 * US_NS))


def shared_processor(due: Sequence[int], works: Sequence[Sequence[int]], curve: Sequence[float]) -> System:
    """A record and a thread each, all on one host of processor sharing; the works of a thread follow each other."""
    layout = Layout(due)
    layout.host(curve=curve)
    for each in works:
        p = Program("worker").do(op.ARRIVE, "end").do(op.STAMP, op.SENT, op.ONE)
        for work in each:
            p.do(op.CPU, layout.work(work), op.RECORD_IN)
        layout.generator(p.do(op.DONE).label("end").do(op.HALT))
    return layout.system(horizon_ns=MS_NS)


def small_systems() -> list[tuple[str, System]]:
    """All of these, by name."""
    made = [(f.__name__, f()) for f in (calls_in_batches, flush_ticks, back_pressure, micro_batches)]
    made += [("deliveries called back", deliveries(calls_back=True)), ("deliveries", deliveries(calls_back=False))]
    return [*made, ("shared processor", shared_processor([0, 10, 20], [[100], [100], [50]], (1, 1.5)))]


# Any system

SCORES = ((op.STAMP, op.SCORE_BEGIN), (op.STAMP_TAKEN, op.SCORE_BEGIN))


def random_system(seed: int) -> System:
    """A pipeline of one to three stages with any operation, any host, now and then everything at one instant."""
    return _Random(seed).system()


class _Random:
    """The choices of one random system, in the order its threads are numbered."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.seed = rng.randrange(1 << 40)
        self.ties = rng.random() < 0.4  # all times are multiples of STEP_NS
        self.entry = rng.choice(("brokerless", "brokerless", "stations", "source", "poll loop", "micro-batch"))
        self.has_broker = self.entry not in ("brokerless", "stations")
        self.partitions = rng.randrange(1, 5)
        records = rng.randrange(5, 90)
        backlog = rng.choice((0, 0, rng.randrange(1, 40))) if self.has_broker else 0
        partition = [rng.randrange(self.partitions) for _ in range(records + backlog)]
        self.layout = Layout(self._due(records), partition=partition, backlog=backlog)
        for _ in range(rng.randrange(1, 4)):
            self._host()
        self.services = rng.choice((0, 0, 1, 1, 2))
        self.routes = self.services > 0 and rng.random() < 0.5  # requests may go on from service to service
        if self.entry == "stations":
            self.services, self.routes = rng.randrange(1, 6), True
        self.goes_back = rng.random() < 0.3  # then none goes on to several
        self.calls_back = rng.random() < 0.5

    # ------------------------------------------------------------ numbers

    def ns(self, most_steps: int) -> int:
        """A time of at most so many steps, now and then 0."""
        if self.rng.random() < 0.2:
            return 0
        return self.rng.randrange(most_steps + 1) * STEP_NS if self.ties else self.rng.randrange(most_steps * STEP_NS)

    def _due(self, records: int) -> list[int]:
        kind = self.rng.choice(("even", "poisson", "bursts"))
        gap = self.rng.randrange(1, 15) * STEP_NS
        if kind == "even":
            return [i * gap for i in range(records)]
        if kind == "bursts":
            return [i // 8 * 8 * gap for i in range(records)]
        due, at = [], 0
        for _ in range(records):
            at += round(self.rng.expovariate(1 / gap))
            due.append(at // STEP_NS * STEP_NS if self.ties else at)
        return due

    def _host(self) -> None:
        kind = self.rng.choice(("ps", "ps", "few", "many"))
        slice_ns = self.rng.choice((SLICE_NS, 10 * STEP_NS, self.rng.randrange(STEP_NS // 2, 60 * STEP_NS)))
        if kind == "ps":
            cores = self.rng.randrange(1, 9)
            efficiency = self.rng.choice((1.0, self.rng.uniform(0.5, 1.0)))
            curve = [min(n, cores) ** efficiency for n in range(1, self.rng.randrange(1, 12) + 1)]
            self.layout.host(curve=curve)
        else:
            self.layout.host(cores=MANY_CORES if kind == "many" else self.rng.randrange(1, 4), slice_ns=slice_ns)

    def on(self) -> int:
        """Some host."""
        return self.rng.randrange(len(self.layout.hosts))

    def cost(self, *, steps: int = 4) -> int:
        """Some cost, often none."""
        kind = self.rng.choice(("none", "fixed", "fixed", "all"))
        if kind == "none":
            return 0
        if kind == "fixed" or self.ties:
            return self.layout.cost(replace(costing(self.ns(steps)), cold=self.ns(steps) << COST_BITS))
        most = (steps * STEP_NS << 9, 1 << 22, 1 << 22, 1 << 18, 1 << 15, 1 << 26)
        fixed, batch, record, point, byte, cold = (self.rng.randrange(n) for n in most)
        factors = (0.2, 0.6, 0.9, 1.3, 2.5)
        residual = table(*(x * (1 << RESIDUAL_BITS) for x in factors)) if self.rng.random() < 0.5 else None
        return self.layout.cost(Cost(fixed, batch, record, point, byte, cold, residual))

    def latency(self) -> Int64s:
        if self.rng.random() < 0.4 and not self.ties:
            return table(*sorted(self.rng.randrange(5 * STEP_NS) for _ in range(17)))
        return table(float(self.ns(3)))

    # ------------------------------------------------------------ threads

    def system(self) -> System:
        rng, layout = self.rng, self.layout
        self._inputs()
        servers_first = rng.random() < 0.5
        service_threads = self._servers() if servers_first else []
        stages = [self._entry() if self.has_broker else layout.generators]
        extra = (
            rng.randrange(1, 4) if self.entry == "brokerless" else rng.randrange(1, 3) if self.entry == "source" else 0
        )
        stages += [self._stage(x, last=x == extra - 1) for x in range(extra)]
        for before, after in pairwise(stages):
            layout.exchanges.append(
                Exchange(
                    tuple(before),
                    tuple(after),
                    capacity=rng.choice((0, 1, 2, 5, 20)),
                    flush_ns=rng.choice((0, self.ns(30), 5 * STEP_NS)),
                    buffer_records=rng.randrange(1, 8),
                )
            )
        if not servers_first:
            service_threads = self._servers()
        for threads in service_threads:
            delay = rng.choice((0, self.ns(20)))
            service = self._batching(Service(tuple(threads), batch_records=rng.randrange(1, 6), delay_ns=delay))
            layout.services.append(self._going_on(len(layout.services), service))
        if self.has_broker and rng.random() < 0.7:
            self._reads(collector(work=self.cost()), "collector", OUTPUT, 0, self.partitions, 10_000)
        for _ in range(rng.randrange(3)):
            layout.background(sleeper(10 * MS_NS, self.cost()), host=self.on())
        layout.workers = [i for i, t in enumerate(layout.threads) if any(o[:2] in SCORES for o in t.program)]
        last = int(layout.created.max())
        return layout.system(
            seed=self.seed,
            **{name: self.latency() for name in ("wake", "timer", "network")},
            cold=np.linspace(0, 1 << RESIDUAL_BITS, TABLE_SIZE).astype(np.int64),
            points=rng.randrange(1, 5),
            record_bytes=(rng.randrange(10, 2000), rng.randrange(10, 2000)),
            partitions=self.partitions,
            linger_ns=self.ns(30),
            batch_records=rng.choice((1, 3, 100)),
            batch_bytes=rng.choice((2000, 1 << 20)),
            max_in_flight=rng.randrange(1, 6),
            fetch_min_bytes=rng.choice((1, 1, 3000)),
            fetch_max_wait_ns=self.ns(200) + 20 * STEP_NS,
            queued_records=rng.choice((4, 1 << 20)),
            load_ns=last,
            horizon_ns=last + rng.randrange(1, 100) * MS_NS,
        )

    def _inputs(self) -> None:
        """Generators, and with a broker its threads."""
        generators = range(self.rng.randrange(1, 4))
        exchange = 0 if self.entry == "brokerless" else None
        service = 0 if self.entry == "stations" else None
        for _ in generators:
            program = generator(work=self.cost(), wake=self.cost(), exchange=exchange, service=service)
            self.layout.generator(program, host=self.on())
        if not self.has_broker:
            return
        for _ in generators:
            self._producer(-1, INPUT, 0, self.partitions)
        host, threads = self.on(), self.rng.randrange(1, 4)
        program = broker(produce=self.cost(), fetch=self.cost(), rest=self.cost())
        self.layout.brokers = [self.layout.thread(f"broker.{k}", program, host=host) for k in range(threads)]

    def _producer(self, application: int, topic: int, first: int, count: int) -> None:
        client = self.layout.thread(
            f"producer.{len(self.layout.producers)}", producer_client(work=self.cost()), host=self.on()
        )
        calls_back = application >= 0 and self.calls_back
        self.layout.producers.append(Producer(client, application, topic, first, count, calls_back))

    def _reads(self, program: Program, name: str, topic: int, first: int, count: int, most: int, index: int = 0) -> int:
        """A consumer: its client thread and its application thread."""
        host = self.on()
        client = self.layout.thread(f"{name}.consumer", consumer_client(work=self.cost()), host=host)
        app = self.layout.thread(f"{name}.app", program, host=host, index=index)
        self.layout.consumers.append(Consumer(client, app, topic, first, count, most))
        return app

    def _entry(self) -> list[int]:
        """The threads that read the input topic."""
        threads, layout = [], self.layout
        count = self.rng.randrange(1, 4)
        if self.entry == "micro-batch":
            for n in range(count):
                program = executes(start=self.cost(), end=self.cost(), cold=self.cost(), flushes=True)
                app = layout.thread(f"executor.{n}", self._record(program, flushes=False), host=self.on(), index=n)
                threads.append(app)
                self._producer(app, OUTPUT, 0, self.partitions)
            number = layout.thread("driver", driver(plan=self.cost(), commit=self.cost()), host=self.on())
            layout.micro_batch = MicroBatch(
                number,
                tuple(threads),
                interval_ns=self.rng.choice((0, self.ns(300))),
                poll_ns=self.ns(50) + STEP_NS,
                max_records=self.rng.choice((0, 0, 1, 7, 20)),
            )
            return threads
        for n, (first, partitions) in enumerate(range_assignment(self.partitions, min(count, self.partitions))):
            program = polls(poll=self.cost(), cold=self.cost(), serves=self.entry == "poll loop")
            if self.entry == "source":
                program.do(op.CPU, self.cost(), op.RECORD_IN).do(op.PUT, 0).do(op.JUMP, "next")
            else:
                self._record(program, flushes=self.rng.random() < 0.3)
            most = self.rng.choice((1, 3, 500))
            threads.append(self._reads(program, f"worker.{n}", INPUT, first, partitions, most, n))
            if self.entry == "poll loop":
                self._producer(threads[-1], OUTPUT, first, partitions)
        return threads

    def _stage(self, exchange: int, *, last: bool) -> list[int]:
        """Threads that get from one exchange, and put into the next or are the last."""
        threads = []
        for n in range(self.rng.randrange(1, 4)):
            program = gets(exchange, get=self.cost(), cold=self.cost(), is_worker=self.rng.random() < 0.5)
            if last:
                self._record(program, flushes=not self.calls_back or self.rng.random() < 0.5)
            else:
                self._score(program)
                program.do(op.CPU, self.cost(), op.RECORD_OUT).do(op.PUT, exchange + 1).do(op.JUMP, "next")
            app = self.layout.thread(f"stage.{exchange}.{n}", program, host=self.on(), index=n)
            threads.append(app)
            if last and self.has_broker:
                self._producer(app, OUTPUT, 0, self.partitions)
        return threads

    def _score(self, p: Program) -> None:
        p.do(op.CPU, self.cost(), op.RECORD_IN).do(op.STAMP, op.SCORE_BEGIN, op.ONE)
        for _ in range(self.rng.randrange(3) if self.services else 0):
            p.do(op.CPU, self.cost(), op.RECORD_IN).do(op.CALL, self.rng.randrange(self.services)).do(op.RECV)
        p.do(op.CPU, self.cost(steps=8), op.RECORD_IN).do(op.STAMP, op.SCORE_END, op.ONE)

    def _record(self, p: Program, *, flushes: bool) -> Program:
        """What the last thread does with a record."""
        self._score(p)
        p.do(op.CPU, self.cost(), op.RECORD_OUT)
        if self.entry == "brokerless":
            p.do(op.DONE)
        else:
            p.do(op.STAMP, op.PRODUCED, op.ONE).do(op.CPU, self.cost(), op.RECORD_OUT).do(op.ENQUEUE)
            p.do(op.FLUSH if flushes else op.SERVE) if flushes or not self.calls_back else None
        return p.do(op.JUMP, "next")

    def _batching(self, service: Service) -> Service:
        """Now and then what a service takes is decided by a policy."""
        policies: tuple[Policy | None, ...] = (None, None, *LEARNING)
        policy = self.rng.choice(policies)
        if policy is None:
            return service
        rules = Rules(policy, service.batch_records, slo_ns=self.ns(9) + STEP_NS, samples=self.rng.randrange(2, 9))
        return replace(service, batching=rules)

    def _cache(self) -> Cache | None:
        """Now and then a server keeps answers: all, a few, or none but what is in flight."""
        rng = self.rng
        if rng.random() < 0.5:
            return None
        keys = rng.randrange(1, 60)
        key = np.array([min(rng.randrange(keys), rng.randrange(keys)) for _ in self.layout.created], dtype=np.int64)
        return Cache(rng.choice((0, 100, 300, 1000, 10_000)), rng.randrange(1, 150), keys, key)

    def _going_on(self, number: int, service: Service) -> Service:
        """Edges and limits of a service, where it may have such."""
        rng = self.rng
        if not self.routes:
            return replace(service, cache=self._cache())
        later = range(0 if self.goes_back else number + 1, self.services)
        edges, below = [], 0
        for _ in range(rng.randrange(4) if later else 0):
            below = rng.randrange(below, 7 << 29) if self.goes_back else min(rng.randrange(below, 5 << 30), 1 << 32)
            parts = 1 if self.goes_back else rng.randrange(1, 5)
            edges.append(Edge(below, tuple(rng.choice(later) for _ in range(parts))))
        return replace(
            service,
            edges=tuple(edges),
            joins=rng.random() < 0.5,
            capacity=rng.choice((0, 0, 1, 5, 20)),
            earliest_first=rng.random() < 0.5,
            expiry_ns=rng.choice((0, 0, self.ns(200))),
            first_batches=rng.randrange(3),
            keeps=rng.random() < 0.5,
        )

    def _servers(self) -> list[list[int]]:
        threads = []
        for s in range(self.services):
            sizes = self.layout.cost(*(costing(self.ns(3 + n)) for n in range(8)))
            if self.routes:
                program = station(s, wake=self.cost(), request=self.cost(), by_size=sizes)
            else:
                program = server(s, wake=self.cost(), request=self.cost(), score=self.cost(), by_size=sizes)
            host = self.on()
            threads.append(
                [
                    self.layout.thread(f"server.{s}.{k}", program, host=host, index=k)
                    for k in range(self.rng.randrange(1, 4))
                ]
            )
        return threads
