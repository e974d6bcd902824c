"""What every pipeline written by hand has around its engine: generators, the broker, the collector, background work."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scenarios.spec import MS_NS
from tests.oracle.broker import Broker, Log
from tests.oracle.clients import Consumer, Producer
from tests.oracle.kernel import Body, Clockwork, Cost, Life, Shared, Terms, Thread
from tests.oracle.pipeline import COST_NAMES, Int64s, Pipeline, batch_limit

BACKGROUND_PERIOD_NS = 10 * MS_NS
COLLECTOR_POLL_RECORDS = 10_000
STAMPS = (
    *("created", "sent", "appended", "fetched", "score_begin", "score_end", "produced", "acked", "out_appended"),
    *("partition", "worker", "batch"),
)


class World:
    """Threads in the order of their numbers, the broker's logs, and the stamps all leave."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.clockwork = Clockwork(pipeline.seed, pipeline.wake, pipeline.timer, pipeline.network, pipeline.coldness)
        self.env = self.clockwork.env
        self.hosts = {name: Shared(self.env, curve) for name, curve in pipeline.curves.items()}
        self.costs = {name: Cost(pipeline.costs.get(name, Terms()), pipeline.seed) for name in COST_NAMES}
        self.total = len(pipeline.created)
        self.stamps: dict[str, list[int]] = {name: [-1] * self.total for name in STAMPS}
        self.stamps["created"] = list(pipeline.created)
        self.stamps["partition"] = list(pipeline.partition)
        self.broker = Broker(self.costs)
        self.inputs = [Log(pipeline.input_bytes, self.stamps["appended"]) for _ in range(pipeline.partitions)]
        self.outputs = [Log(pipeline.output_bytes, self.stamps["out_appended"]) for _ in range(pipeline.partitions)]
        self.threads: list[Thread] = []
        self.bodies: list[Body] = []

    def thread(self, part: str = "engine") -> Thread:
        """The thread with the next number."""
        host = self.hosts.get(self.pipeline.hosts.get(part, "default"))
        self.threads.append(Thread(self.clockwork, len(self.threads), host))
        return self.threads[-1]

    def lay_backlog(self) -> None:
        """Puts the backlog into the logs before time 0: in order, in batches of the producer's limit."""
        p = self.pipeline
        limit = batch_limit(p.producer, p.input_bytes)
        of_log: list[list[int]] = [[] for _ in self.inputs]
        for record in range(p.backlog):
            of_log[p.partition[record]].append(record)
        for log, records in zip(self.inputs, of_log, strict=True):
            log.batches = [records[i : i + limit] for i in range(0, len(records), limit)]
            if log.records is not None:
                log.records += records
        for name in ("sent", "appended"):
            self.stamps[name][: p.backlog] = [0] * p.backlog

    def add_input_side(self) -> None:
        """Generators, their producer clients, the broker's threads."""
        p = self.pipeline
        self.lay_backlog()
        sources = [self.thread("generator") for _ in range(p.generators)]
        for first, me in enumerate(sources):
            producer = Producer(self.thread("generator"), self.broker, p.producer, self.inputs, self.costs)
            records = range(p.backlog + first, self.total, p.generators)
            self.bodies += [generator(me, records, producer, self), producer.run()]
        for _ in range(p.io_threads):
            me = self.thread("broker")
            self.broker.threads.append(me)
            me.home = self.broker.threads[0]
            self.bodies.append(self.broker.run(me))

    def consumer(self, me: Thread, app: Thread, logs: Sequence[Log]) -> Consumer:
        p = self.pipeline
        consumer = Consumer(me, app, self.broker, p.consumer, logs, self.costs, p.fetch_backoff_ns)
        self.bodies.append(consumer.run())
        return consumer

    def producer(self, me: Thread, app: Thread) -> Producer:
        """The producer client of an engine's thread."""
        p = self.pipeline
        producer = Producer(
            *(me, self.broker, p.producer, self.outputs, self.costs),
            app=app,
            acked=self.stamps["acked"],
            calls_back=p.calls_back,
        )
        self.bodies.append(producer.run())
        return producer

    def add_output_side(self) -> None:
        """The collector."""
        client, app = self.thread("collector"), self.thread("collector")
        self.bodies.append(collector(app, self.consumer(client, app, self.outputs), self))

    def add_background(self) -> None:
        """The threads that work whatever the load."""
        rest = "broker" if self.broker.threads else "engine"  # whose host has the background of the host itself
        for part, work in self.pipeline.background:
            self.bodies.append(background(self.thread(rest if part == "host" else part), work))

    def run(self) -> dict[str, Int64s]:
        """Every stamp in ns by sequence, with partition, worker and poll ordinal; -1 where it was not reached."""
        for body in self.bodies:
            Life(self.env, body)
        end = self.pipeline.horizon_ns
        self.env.run(until=end)
        result = {name: np.array(values, np.int64) for name, values in self.stamps.items()}
        for name in STAMPS[1:9]:  # where stamps fall into a piece of work, some may lie behind the end
            result[name][result[name] >= end] = -1
        return result


def generator(me: Thread, records: range, producer: Producer, world: World) -> Body:
    """Sends each record when it is due."""
    due, sent, partition = (world.stamps[name] for name in ("created", "sent", "partition"))
    wake, each = world.costs["generator.wake"], world.costs["generator.record"]
    record_work = each.of_records(world.pipeline.points, world.pipeline.input_bytes)
    env, number = me.env, me.number
    yield me.start()
    me.woke()
    for record in records:
        while due[record] > env._now:
            yield me.wait_until(due[record])
            me.woke()
        sent[record] = env._now
        woken = wake.after_sleep(me)
        me.worked = True
        for work in me.pieces(woken, record_work(number, record)):
            yield me.cpu(work)
        producer.enqueue(record, partition[record])


def collector(me: Thread, consumer: Consumer, world: World) -> Body:
    poll, each, wake = (world.costs[f"collector.{name}"] for name in ("poll", "record", "wake"))
    polls = 0
    yield me.start()
    me.woke()
    while True:
        taken = consumer.poll(COLLECTOR_POLL_RECORDS)
        if not taken:
            yield me.wait()
            me.woke()
            continue
        size = len(taken) * world.pipeline.output_bytes
        works = [wake.after_sleep(me)]
        me.worked = True
        works += [cost.work(me.number, polls, records=len(taken), size=size) for cost in (poll, each)]
        for work in me.pieces(*works):
            yield me.cpu(work)
        polls += 1


def background(me: Thread, work: int) -> Body:
    yield me.start()
    me.woke()
    while True:
        yield me.wait_until(me.env._now + BACKGROUND_PERIOD_NS)
        me.woke()
        if work:
            yield me.cpu(work)
