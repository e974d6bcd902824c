"""Clients of the broker, written by hand: producing, fetching, polling, and what an application is told."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence

from scenarios.spec import ConsumerSettings, ProducerSettings
from tests.oracle.broker import Broker, Connection, Fetch, Log, Produce, Reader
from tests.oracle.kernel import Body, Cost, Thread
from tests.oracle.pipeline import batch_limit


class Producer:
    """A producer client: a lane a partition, batches, requests in flight, and deliveries to the application."""

    def __init__(
        self,
        me: Thread,
        broker: Broker,
        settings: ProducerSettings,
        logs: Sequence[Log],
        costs: Mapping[str, Cost],
        *,
        app: Thread | None = None,
        acked: list[int] | None = None,
        calls_back: bool = False,
    ) -> None:
        self.me = me
        self.connection = Connection(me, broker)
        self.request = costs["producer.request"]
        self.wake = costs["producer.wake"]
        self.linger = settings.linger_ns
        self.full = min(settings.batch_records, -(-settings.batch_bytes // logs[0].record_bytes))  # records
        self.max_in_flight = settings.max_in_flight
        self.most = batch_limit(settings, logs[0].record_bytes)
        self.lanes: list[deque[tuple[int, int]]] = [deque() for _ in logs]  # (record, when it was enqueued)
        self.logs = logs
        self.held: dict[int, deque[tuple[int, int]]] = {}  # the lanes that hold records
        self.last_lane = len(logs) - 1
        self.in_flight = 0
        # what the application is told, if anybody is
        self.app = app
        self.acked = acked
        self.calls_back = calls_back
        self.delivered: list[Sequence[int]] = []  # batches that were answered and not yet served
        self.outstanding = 0  # records enqueued and not yet served
        self.flushing = False  # the application is blocked until none is
        self.down: Callable[[], None] | None = None  # its process was killed: whom to tell that a request is answered

    def ready(self, lane: deque[tuple[int, int]], now: int) -> bool:
        return len(lane) > 0 and (len(lane) >= self.full or now >= lane[0][1] + self.linger)

    def enqueue(self, record: int, partition: int) -> None:
        """Called by the thread that produces."""
        now = self.me.env._now
        lane = self.lanes[partition]
        self.held[partition] = lane
        self.outstanding += 1
        if self.me.blocked is None:
            lane.append((record, now))
            return
        was_empty, was_ready = not lane, self.ready(lane, now)
        lane.append((record, now))
        deadline = self.me.deadline
        becomes_ready = not was_ready and self.ready(lane, now)
        if becomes_ready or (was_empty and (deadline is None or deadline > now + self.linger)):
            self.me.signal()

    def served(self, records: Sequence[int]) -> None:
        """The delivery callback of a batch."""
        self.outstanding -= len(records)
        if self.acked is not None:
            now = self.me.env._now
            for record in records:
                self.acked[record] = now

    def serve(self) -> None:
        """The callbacks of every batch that was answered, by the application thread."""
        for records in self.delivered:
            self.served(records)
        self.delivered.clear()

    def flush(self) -> Body:
        """The application thread goes on when nothing of what it enqueued is outstanding."""
        assert self.app is not None
        self.serve()
        while self.outstanding:
            self.flushing = True
            yield self.app.wait()
            self.app.woke()
            self.flushing = False
            self.serve()

    def next_batch(self) -> Produce | None:
        full, due = self.full, self.me.env._now - self.linger
        count = len(self.lanes)
        nearest = count
        for partition, lane in self.held.items():
            if lane[0][1] <= due or len(lane) >= full:
                nearest = min(nearest, (partition - self.last_lane - 1) % count)
        if nearest == count:
            return None
        self.last_lane = partition = (self.last_lane + 1 + nearest) % count
        self.in_flight += 1
        lane = self.lanes[partition]
        records = [lane.popleft()[0] for _ in range(min(self.most, len(lane)))]
        if not lane:
            del self.held[partition]
        return Produce(self.connection, self.logs[partition], records)

    def run(self) -> Body:
        me = self.me
        mailbox = self.connection.mailbox
        yield me.start()
        me.woke()
        while True:
            if mailbox:
                answer = mailbox.popleft()
                work = self.wake.after_sleep(me)
                if work:
                    yield me.cpu(work)
                self.in_flight -= 1
                if self.down:
                    self.down()
                elif self.calls_back:
                    self.served(answer.records)  # type: ignore[arg-type]  # the answer of a produce request
                elif self.app is not None:
                    self.delivered.append(answer.records)  # type: ignore[arg-type]
                if self.flushing:
                    self.app.signal()  # type: ignore[union-attr]  # it flushes
                continue
            may_send = self.in_flight < self.max_in_flight
            batch = self.next_batch() if may_send else None
            if batch is not None:
                wake = self.wake.after_sleep(me)
                me.home.worked = True
                records = batch.records
                request = self.request.work(me.number, records[0], batches=1, records=len(records), size=batch.size)
                for work in me.pieces(wake, request):
                    yield me.cpu(work)
                self.connection.ask(batch)
                continue
            if may_send and self.held:
                yield me.wait_until(min([lane[0][1] for lane in self.held.values()]) + self.linger)
            else:
                yield me.wait()
            me.woke()


class Consumer(Reader):
    """A consumer client, and the queues its application thread polls."""

    def __init__(
        self,
        me: Thread,
        app: Thread,
        broker: Broker,
        settings: ConsumerSettings,
        logs: Sequence[Log],
        costs: Mapping[str, Cost],
        backoff_ns: int,
    ) -> None:
        super().__init__(settings, logs)
        self.me = me
        self.app = app
        self.backoff = backoff_ns
        self.connection = Connection(me, broker)
        self.fetch = costs["consumer.fetch"]
        self.fetch_empty = costs["consumer.fetch_empty"]
        self.wake = costs["consumer.wake"]
        self.queues: list[deque[int]] = [deque() for _ in logs]
        self.everything = list(range(len(logs)))
        self.queued = 0
        self.queued_bytes = 0
        self.next_polled = 0
        self.asks = True  # it is where it asks for more, blocked or not
        self.down: Callable[[], None] | None = None  # its process was killed: whom to tell that it asks no more

    def fetchable(self) -> Sequence[int]:
        if self.queued_bytes >= self.settings.queued_bytes:
            return []
        if self.queued < self.settings.queued_records:
            return self.everything
        return [index for index, queue in enumerate(self.queues) if len(queue) < self.settings.queued_records]

    def run(self) -> Body:
        me = self.me
        mailbox = self.connection.mailbox
        ordinal = 0
        yield me.start()
        me.woke()
        while True:
            self.asks = True
            partitions = [] if self.down else self.fetchable()
            while not partitions:
                if self.down:
                    blocked = me.wait()
                    self.down()
                    yield blocked
                else:
                    yield me.wait_until(me.env._now + self.backoff)
                me.woke()
                partitions = [] if self.down else self.fetchable()
            self.asks = False
            self.connection.ask(Fetch(self.connection, self, partitions, ordinal))
            while not mailbox:
                yield me.wait()
                me.woke()
            answer = mailbox.popleft()
            assert isinstance(answer, Fetch)
            wake = self.wake.after_sleep(me)
            me.home.worked = True
            if answer.records:
                fetch = self.fetch.work(
                    me.number, ordinal, batches=len(answer.batches), records=answer.records, size=answer.size
                )
            else:
                fetch = self.fetch_empty.work(me.number, ordinal)
            for work in me.pieces(wake, fetch):
                yield me.cpu(work)
            ordinal += 1
            if answer.records and not self.down:
                for index, records in answer.batches:
                    self.queues[index].extend(records)
                self.queued += answer.records
                self.queued_bytes += answer.size
                self.app.signal()

    def poll(self, limit: int) -> list[int]:
        """Up to `limit` delivered records; the partitions take turns."""
        taken: list[int] = []
        if not self.queued:
            return taken
        count = len(self.logs)
        first = self.next_polled
        for index in (*range(first, count), *range(min(first, count))):
            queue = self.queues[index]
            if not queue:
                continue
            room = min(limit - len(taken), len(queue))
            if room == len(queue):
                taken += queue
                queue.clear()
                self.next_polled = index + 1
            else:
                taken += [queue.popleft() for _ in range(room)]
                self.next_polled = index
            self.queued_bytes -= room * self.logs[index].record_bytes
            if len(taken) == limit:
                break
        self.queued -= len(taken)
        return taken
