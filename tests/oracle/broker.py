"""The broker, written by hand: logs, requests and answers, fetches that are parked until there is something."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import islice

from scenarios.spec import ConsumerSettings
from tests.oracle.kernel import TIMER, Body, Cost, Moment, Thread


class Log:
    """One partition of a topic: batches of record numbers, and who reads it."""

    def __init__(self, record_bytes: int, stamp: list[int]) -> None:
        self.record_bytes = record_bytes
        self.stamp = stamp
        self.batches: list[Sequence[int]] = []
        self.records: list[int] | None = None  # one after the other, where somebody reads them so
        self.reader: Reader | None = None


class Reader:
    """What the broker knows of a consumer: where it is in each of its logs, and the fetch that is parked."""

    def __init__(self, settings: ConsumerSettings, logs: Sequence[Log]) -> None:
        self.settings = settings
        self.logs = logs
        self.positions = [0] * len(logs)
        self.parked: Fetch | None = None
        for log in logs:
            log.reader = self


class Produce:
    """A produce request, and its answer: one batch for one log."""

    __slots__ = ("connection", "log", "records", "size")

    def __init__(self, connection: Connection, log: Log, records: Sequence[int]) -> None:
        self.connection = connection
        self.log = log
        self.records = records
        self.size = len(records) * log.record_bytes


class Fetch:
    """A fetch request, and its answer: batches by the consumer's own partition index."""

    __slots__ = ("batches", "connection", "consumer", "expired", "ordinal", "parked", "partitions", "records", "size")

    def __init__(self, connection: Connection, consumer: Reader, partitions: Sequence[int], ordinal: int) -> None:
        self.connection = connection
        self.consumer = consumer
        self.partitions = partitions
        self.ordinal = ordinal
        self.parked = False
        self.expired = False
        self.batches: list[tuple[int, Sequence[int]]] = []
        self.records = 0
        self.size = 0

    def look(self) -> None:
        """Finds what is there for this request; takes nothing."""
        settings = self.consumer.settings
        logs, positions = self.consumer.logs, self.consumer.positions
        batches: list[tuple[int, Sequence[int]]] = []
        records = size = 0
        for index in self.partitions:
            log = logs[index]
            if positions[index] == len(log.batches):
                continue
            here = 0
            full = False
            for batch in islice(log.batches, positions[index], None):
                if here and here >= settings.partition_fetch_bytes:
                    break
                batch_bytes = len(batch) * log.record_bytes
                if size and size + batch_bytes > settings.fetch_max_bytes:
                    full = True
                    break
                batches.append((index, batch))
                records += len(batch)
                here += batch_bytes
                size += batch_bytes
            if full:
                break
        self.batches, self.records, self.size = batches, records, size

    def enough(self) -> bool:
        return 0 < self.size >= self.consumer.settings.fetch_min_bytes

    def take(self) -> None:
        """Moves the consumer's positions past what was found."""
        for index, _ in self.batches:
            self.consumer.positions[index] += 1


class Connection:
    """The connection of one client: order each way, and one request in process at a time."""

    def __init__(self, client: Thread, broker: Broker) -> None:
        self.client = client
        self.broker = broker
        self.mailbox: deque[Produce | Fetch] = deque()
        self.waiting: deque[Produce | Fetch] = deque()
        self.busy = False
        self.last_request = 0
        self.last_answer = 0

    def ask(self, request: Produce | Fetch) -> None:
        self.last_request = self.client.send(self.request_arrives, request, self.last_request)

    def request_arrives(self, event: Moment) -> None:
        if self.busy:
            self.waiting.append(event._value)
        else:
            self.busy = True
            self.broker.enter(event._value)

    def answer(self, sender: Thread, answer: Produce | Fetch) -> None:
        self.last_answer = sender.send(self.answer_arrives, answer, self.last_answer)
        if self.waiting:
            self.broker.enter(self.waiting.popleft())
        else:
            self.busy = False

    def answer_arrives(self, event: Moment) -> None:
        self.mailbox.append(event._value)
        self.client.signal()


class Broker:
    """One request queue, served by the broker's threads."""

    def __init__(self, costs: Mapping[str, Cost]) -> None:
        self.threads: list[Thread] = []
        self.requests: deque[Produce | Fetch] = deque()
        self.produce = costs["broker.produce"]
        self.fetch = costs["broker.fetch"]
        self.fetch_empty = costs["broker.fetch_empty"]
        self.wake = costs["broker.wake"]
        self.rest = costs["broker.rest"]

    def enter(self, request: Produce | Fetch) -> None:
        self.requests.append(request)
        for thread in self.threads:
            if thread.blocked is not None:
                thread.signal()
                break

    def append(self, log: Log, records: Sequence[int], now: int) -> Fetch | None:
        """Appends a batch; returns the parked fetch that now has enough."""
        log.batches.append(records)
        if log.records is not None:
            log.records += records
        for record in records:
            log.stamp[record] = now
        fetch = log.reader.parked if log.reader else None
        if fetch is None:
            return None
        fetch.look()
        if not fetch.enough():
            return None
        fetch.take()
        fetch.parked = False
        fetch.consumer.parked = None
        return fetch

    def park(self, fetch: Fetch) -> None:
        fetch.parked = True
        fetch.consumer.parked = fetch
        wait_ns = fetch.consumer.settings.fetch_max_wait_ns
        fetch.connection.client.schedule(Moment(fetch, self.expire), TIMER, wait_ns)

    def expire(self, event: Moment) -> None:
        fetch = event._value
        if not fetch.parked:
            return
        fetch.parked = False
        fetch.consumer.parked = None
        fetch.expired = True
        fetch.look()
        fetch.take()
        self.enter(fetch)

    def fetch_work(self, me: Thread, fetch: Fetch) -> int:
        if not fetch.records:
            return self.fetch_empty.work(me.number, fetch.ordinal)
        return self.fetch.work(
            me.number, fetch.ordinal, batches=len(fetch.batches), records=fetch.records, size=fetch.size
        )

    def run(self, me: Thread) -> Body:
        requests = self.requests
        yield me.start()
        me.woke()
        while True:
            while not requests:
                yield me.wait()
                me.woke()
            request = requests.popleft()
            work = self.wake.after_sleep(me)
            if work:
                yield me.cpu(work)
            if isinstance(request, Produce):
                me.home.worked = True
                work = self.produce.work(
                    me.number, request.records[0], batches=1, records=len(request.records), size=request.size
                )
                if work:
                    yield me.cpu(work)
                fetch = self.append(request.log, request.records, me.env._now)
                request.connection.answer(me, request)
                if fetch is not None:
                    yield from self.answer_fetch(me, fetch)
                work = self.rest.work(me.number, me.wakeups)
                if work:
                    yield me.cpu(work)
            else:
                fetch = request
                if not fetch.expired:
                    fetch.look()
                    if not fetch.enough():
                        self.park(fetch)
                        continue
                    fetch.take()
                yield from self.answer_fetch(me, fetch)

    def answer_fetch(self, me: Thread, fetch: Fetch) -> Body:
        me.home.worked = True
        work = self.fetch_work(me, fetch)
        if work:
            yield me.cpu(work)
        fetch.connection.answer(me, fetch)
        work = self.rest.work(me.number, me.wakeups)
        if work:
            yield me.cpu(work)
