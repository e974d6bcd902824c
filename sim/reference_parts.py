"""What the reference's pipeline is made of: threads, logs, clients and messages, and what each knows by itself.

Nothing here waits and nothing is scheduled; that is `sim.reference`.  `docs/simulator.md` says it in words.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from sim import operations as op
from sim.programs import Operations
from sim.reference_hosts import Clock, Host, HostThread
from sim.system import INPUT, OUTPUT, System

T = TypeVar("T")


def present(x: T | None) -> T:
    """What must be there, as a program comes to this operation only with it."""
    assert x is not None
    return x


@dataclass(eq=False, kw_only=True)
class Thread(HostThread):
    """A thread: where it stands in its program, and what it has at hand."""

    name: str
    program: Operations
    index: int  # of its generator, client or worker
    place: int = 0  # in the program
    due: int | None = None  # what a timed wait waits for
    signalled_at: int | None = None  # of the wake-up under way
    timed_out: bool = False  # what woke it last was its own timed wait
    # at hand
    record: int = -1
    sleeps_unpaid: int = 0  # since the last CPU operation after a sleep
    home: Thread = field(init=False)  # whose caches it shares: its own, but for the broker's threads
    has_worked: bool = False  # since it slept last, for a record, a message or a poll
    idle_since: int = 0  # when it slept after it had worked
    message: Message | None = None
    aside: Message | None = None  # the parked fetch that its append satisfied
    polled: deque[int] = field(default_factory=deque)  # the records of its poll, but for those it has gone on to
    outstanding: int = 0  # records enqueued whose deliveries were not served
    worked: bool = False  # it did nothing since its last work but stamp the record at hand
    fresh: list[tuple[int, list[int]]] = field(default_factory=list)  # those stamps: their places, and their columns
    # its clients, or its connection if it is one
    producer: Producer | None = None
    consumer: Consumer | None = None
    mailbox: deque[Message] = field(default_factory=deque)
    last_request: int = 0  # when the last one of the connection arrives
    last_answer: int = 0
    in_process: bool = False  # a request of the connection is, at the broker
    waiting: deque[Message] = field(default_factory=deque)  # the requests behind it
    # counters
    wakeups: int = 0
    sent: int = 0
    polls: int = 0
    polls_empty: int = 0
    sleeps: int = 0
    coldness: int = 0

    def __post_init__(self) -> None:
        """At first it shares its caches with nobody."""
        self.home = self

    def step_back(self) -> None:
        """Stamps due at the very instant of a preemption are set when the thread runs again: it goes back to them."""
        if self.fresh:
            self.remaining = 0
            self.place = self.fresh[0][0]
            for _, column in self.fresh:
                column[self.record] = -1


@dataclass(eq=False)
class Log:
    """One partition of a topic."""

    record_bytes: int
    appended: list[int]  # the stamp column of its topic
    batches: list[list[int]] = field(default_factory=list)
    fetched: int = 0  # batches granted to its consumer
    queue: deque[int] = field(default_factory=deque)  # records delivered to its consumer and not yet polled
    consumer: Consumer | None = None


@dataclass(eq=False)
class Lane:
    """A producer client's queue for one log."""

    log: Log
    records: deque[tuple[int, int]] = field(default_factory=deque)  # record, when it was enqueued

    def ready(self, now: int, system: System) -> bool:
        """Whether a request may take from it: it holds records enough, or bytes enough, or its first has lingered."""
        n = len(self.records)
        if n == 0:
            return False
        if n >= system.batch_records or n * self.log.record_bytes >= system.batch_bytes:
            return True
        return now >= self.records[0][1] + system.linger_ns


@dataclass(eq=False)
class Producer:
    """A producer client."""

    client: Thread
    application: Thread | None  # who serves the deliveries
    first_partition: int
    lanes: list[Lane]
    turn: int = 0  # the lane to look at first
    in_flight: int = 0
    requests: int = 0
    deliveries: deque[Message] = field(default_factory=deque)

    def next_request(self, now: int, system: System) -> Message | None:
        """A request with the head of a ready lane; the lanes take turns."""
        for i in range(len(self.lanes)):
            lane = self.lanes[(self.turn + i) % len(self.lanes)]
            if lane.ready(now, system):
                most = min(system.batch_records, max(1, system.batch_bytes // lane.log.record_bytes))
                records = [lane.records.popleft()[0] for _ in range(min(most, len(lane.records)))]
                self.turn = (self.turn + i + 1) % len(self.lanes)
                self.in_flight += 1
                self.requests += 1
                return Message(op.PRODUCE, self.client, [(lane.log, records)])
        return None

    def next_due(self, linger_ns: int) -> int | None:
        """When the first of its lanes will have lingered; None if they hold nothing."""
        return min((lane.records[0][1] + linger_ns for lane in self.lanes if lane.records), default=None)


@dataclass(eq=False)
class Consumer:
    """A consumer client."""

    client: Thread
    application: Thread
    logs: list[Log]
    max_poll_records: int
    turn: int = 0  # the log to poll first
    parked: Message | None = None
    answers: int = 0
    answers_empty: int = 0

    def fetchable(self, system: System) -> list[Log]:
        """The logs to ask for: those whose queue has room, as long as all queues together have."""
        if sum(len(log.queue) * log.record_bytes for log in self.logs) >= system.queued_bytes:
            return []
        return [log for log in self.logs if len(log.queue) < system.queued_records]

    def poll(self) -> deque[int]:
        """Takes what is delivered, up to the limit; the logs take turns."""
        taken: deque[int] = deque()
        first = self.turn
        for i in range(len(self.logs)):
            log = self.logs[(first + i) % len(self.logs)]
            while log.queue and len(taken) < self.max_poll_records:
                taken.append(log.queue.popleft())
                self.turn = (first + i + (0 if log.queue else 1)) % len(self.logs)
        return taken


@dataclass(eq=False)
class Message:
    """A request that turns round and becomes its own answer.  A produce request carries one batch."""

    kind: int
    client: Thread
    batches: list[tuple[Log, list[int]]] = field(default_factory=list)
    wanted: list[Log] = field(default_factory=list)  # what a fetch asks for
    is_answer: bool = False

    @property
    def records(self) -> int:
        """Records carried."""
        return sum(len(records) for _, records in self.batches)

    @property
    def size(self) -> int:
        """Bytes carried."""
        return sum(log.record_bytes * len(records) for log, records in self.batches)

    def fill(self, system: System, *, least_bytes: int) -> bool:
        """A fetch takes what it finds now, if that is at least so much; whether it did."""
        self.batches = self._find(system)
        if self.size < least_bytes:
            self.batches = []
            return False
        for log, _ in self.batches:
            log.fetched += 1
        return True

    def _find(self, system: System) -> list[tuple[Log, list[int]]]:
        found: list[tuple[Log, list[int]]] = []
        total = 0
        for log in self.wanted:
            here = 0
            for batch in islice(log.batches, log.fetched, None):
                size = len(batch) * log.record_bytes
                if here >= system.partition_fetch_bytes:
                    break
                if found and total + size > system.fetch_max_bytes:
                    return found
                found.append((log, batch))
                here += size
                total += size
        return found


@dataclass(eq=False)
class Parts:
    """All of a pipeline, as a system lays it out."""

    threads: list[Thread]
    producers: list[Producer]
    consumers: list[Consumer]
    brokers: list[Thread]


def lay_out(system: System, clock: Clock, stamps: list[list[int]]) -> Parts:
    """Makes every part of a system; the backlog is in its logs."""
    hosts = [Host(clock, h.cores, h.slice_ns) for h in system.hosts]
    threads = [
        Thread(number=i, host=hosts[t.host], process=clock.env.event(), name=t.name, program=t.program, index=t.index)
        for i, t in enumerate(system.threads)
    ]
    topics = {
        topic: [Log(system.record_bytes[topic], stamps[column]) for _ in range(system.partitions)]
        for topic, column in ((INPUT, op.APPENDED), (OUTPUT, op.OUT_APPENDED))
    }
    of_partition: list[list[int]] = [[] for _ in range(system.partitions)]
    for record, partition in enumerate(system.partition[: system.backlog].tolist()):
        of_partition[partition].append(record)
    step = system.backlog_batch_records
    for log, records in zip(topics[INPUT], of_partition, strict=True):
        log.batches = [records[i : i + step] for i in range(0, len(records), step)]

    producers = []
    for p in system.producers:
        lanes = [Lane(log) for log in topics[p.topic][p.first_partition : p.first_partition + p.partitions]]
        application = threads[p.application] if p.application >= 0 else None
        producer = Producer(threads[p.client], application, p.first_partition, lanes)
        producers.append(producer)
        producer.client.producer = producer
        if application is not None:
            application.producer = producer
    for g, number in enumerate(system.generators):
        threads[number].producer = producers[g]
        threads[number].record = system.backlog + g - len(system.generators)
    consumers = []
    for c in system.consumers:
        logs = topics[c.topic][c.first_partition : c.first_partition + c.partitions]
        consumer = Consumer(threads[c.client], threads[c.application], logs, c.max_poll_records)
        consumers.append(consumer)
        consumer.client.consumer = consumer.application.consumer = consumer
        for log in logs:
            log.consumer = consumer
    for i in system.broker_threads:
        threads[i].home = threads[system.broker_threads[0]]
    return Parts(threads, producers, consumers, [threads[i] for i in system.broker_threads])
