"""What the reference's pipeline is made of: threads, logs, clients and messages, and what each knows by itself.

Nothing here waits and nothing is scheduled; that is `sim.reference`, `sim.reference_kafka` and
`sim.reference_families`.  `docs/simulator.md` says it in words.
"""

from __future__ import annotations

from collections import deque
from dataclasses import astuple, dataclass, field
from itertools import islice
from typing import TypeVar

from control.batching import Batcher
from control.cache import PredictionCache
from sim import operations as op
from sim import system as spec
from sim.programs import Operations
from sim.reference_hosts import HostThread
from sim.system import System

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
    of_broker: bool = False  # it receives requests, others what is in their mailbox
    has_worked: bool = False  # since it slept last, for a record, a message or a poll
    idle_since: int = 0  # when it slept after it had worked
    message: Message | None = None
    aside: Message | None = None  # the parked fetch that its append satisfied
    polled: deque[int] = field(default_factory=deque)  # the records of its poll, but for those it has gone on to
    outstanding: int = 0  # records enqueued whose deliveries were not served
    taken: list[Request] = field(default_factory=list)  # what a server thread answers
    took_at: int = 0  # when it took that
    task: Task | None = None
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
    tasks: int = 0
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
    records: list[int] = field(default_factory=list)  # the same
    planned: int = 0  # records that micro-batches have taken
    fetched: int = 0  # batches granted to its consumer
    queue: deque[int] = field(default_factory=deque)  # records delivered to its consumer and not yet polled
    consumer: Consumer | None = None
    handled: int = 0  # records that its consumer's application went on to, one by one
    committed: int = 0  # of them, when it committed last

    def append(self, batch: list[int]) -> None:
        """A batch goes to the end."""
        self.batches.append(batch)
        self.records.extend(batch)

    @property
    def unplanned(self) -> int:
        """Records beyond the planned position."""
        return len(self.records) - self.planned


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
    calls_back: bool = False  # it serves deliveries on its own thread
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
    log_of: dict[int, Log] = field(default_factory=dict)  # by partition

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
class Reader:
    """A reader's end of an exchange."""

    thread: Thread
    inbox: deque[int] = field(default_factory=deque)
    buffers: dict[Thread, list[int]] = field(default_factory=dict)  # by writer
    blocked: deque[Thread] = field(default_factory=deque)  # writers, until it has room

    @property
    def held(self) -> int:
        """Records in its inbox and on their way to it."""
        return len(self.inbox) + sum(map(len, self.buffers.values()))


class Exchange:
    """Records on their way from writers to readers."""

    def __init__(self, settings: spec.Exchange, writers: list[Thread], readers: list[Thread]) -> None:
        self.settings = settings
        self.readers = [Reader(thread, buffers={writer: [] for writer in writers}) for thread in readers]
        self.reader_of = {reader.thread: reader for reader in self.readers}
        self.turn = {writer: i for i, writer in enumerate(writers)}  # whose reader is the next to get a record
        self.timed: set[Thread] = set()  # writers whose flush timer is pending

    def target(self, writer: Thread) -> Reader:
        """Whom the writer's next record goes to."""
        return self.readers[self.turn[writer] % len(self.readers)]

    def has_room(self, reader: Reader) -> bool:
        """Whether one record more may be on its way to the reader."""
        return self.settings.capacity == 0 or reader.held < self.settings.capacity


@dataclass(eq=False)
class Fork:
    """A request that went on to several services at once."""

    before: Fork | None  # of which it was a part itself
    left: int  # parts that did not come to its end yet
    joined: Service | None = None  # where the last part was delivered that was to be joined


@dataclass(eq=False, kw_only=True)
class Request(Message):
    """A call of a service with one record."""

    service: Service
    record: int
    is_awaited: bool = True  # by its caller
    hops: int = 0  # services it went on from
    fork: Fork | None = None
    arrived: int = -1  # in the queue


@dataclass(eq=False)
class Service:
    """A queue of requests, and the threads that answer them."""

    settings: spec.Service
    threads: list[Thread]  # in the order of their numbers
    number: int
    batcher: Batcher | None = None  # its batching policy
    limit: int = 0  # requests that may be taken together
    cache: PredictionCache[int, Request] | None = None
    queue: deque[Request] = field(default_factory=deque)
    visits: list[dict[int, int]] = field(default_factory=lambda: [{}, {}, {}])  # by record: came, taken, left
    takes: int = 0
    taken: int = 0
    waited: int = 0
    dropped: int = 0
    late: int = 0

    @property
    def full(self) -> bool:
        """Whether it holds a whole batch."""
        return len(self.queue) >= self.limit

    def __post_init__(self) -> None:
        """Nothing was taken yet."""
        rules, self.limit = self.settings.batching, self.settings.batch_records
        if rules:
            self.batcher = Batcher(rules)
            self.limit = self.batcher.limit
        if self.settings.cache:
            self.cache = PredictionCache(self.settings.cache.room)

    @property
    def cached(self) -> tuple[int, ...]:
        """What became of the questions to its cache."""
        return astuple(self.cache.counts) if self.cache else ()

    def decide(self, now: int) -> None:
        """The batching policy says how many may be taken."""
        if self.batcher:
            self.limit = self.batcher.allows(self.queue[0].arrived + self.batcher.rules.slo_ns - now)

    def learn(self, n: int, took: int) -> None:
        """The batching policy is told of a batch."""
        if self.batcher:
            self.batcher.observe(n, took)

    def insert(self, m: Request, created: list[int]) -> None:
        """Puts a request in its place."""
        place = len(self.queue)
        if self.settings.earliest_first:
            while place and created[self.queue[place - 1].record] > created[m.record]:
                place -= 1
        self.queue.insert(place, m)

    def edge(self, u: int) -> spec.Edge | None:
        """The edge that a request with this draw takes."""
        return next((e for e in self.settings.edges if u < e.below), None)


@dataclass(eq=False)
class Task:
    """What an executor does of a micro-batch: some records of one partition."""

    records: list[int]
    left: deque[int]


@dataclass(eq=False)
class MicroBatch:
    """The batches of a driver."""

    settings: spec.MicroBatch
    driver: Thread
    executors: list[Thread]  # in the order of their numbers
    logs: list[Log]
    turn: int = 0  # the partition to begin the next batch with
    started: int | None = None
    plans: int = 0
    tasks: deque[Task] = field(default_factory=deque)  # that nobody took yet
    undone: int = 0  # tasks of the batch

    def plan(self) -> list[Task]:
        """Cuts a batch: a task for every partition that has records, the logs in turn if there is a limit."""
        limit, tasks = self.settings.max_records, []
        room = limit or sum(log.unplanned for log in self.logs)
        first, self.turn = self.turn, 0
        for i in range(len(self.logs)):
            log = self.logs[(first + i) % len(self.logs)]
            count = min(log.unplanned, room)
            if count:
                records = log.records[log.planned : log.planned + count]
                log.planned += count
                room -= count
                tasks.append(Task(records, deque(records)))
                if room == 0 and limit:
                    self.turn = (first + i + 1) % len(self.logs)
        return tasks
