"""The pipeline of the Python engine, written by hand in SimPy: one process a thread, record by record.

It knows nothing of programs, operations or hosts.  Cores never run out here, so a thread made ready runs at once and
CPU work of w ns is a delay of w ns.  Every event is scheduled with its rank (kind, thread, count) as SimPy's priority,
so no order depends on insertion.  `simulate` gives every stamp in ns; `docs/simulator.md` says what they mean.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from scenarios.arrivals import partition_of, schedule
from scenarios.draw_arrays import draw_array
from scenarios.draws import PURPOSE_CPU, PURPOSE_NETWORK, PURPOSE_WAKE, TABLE_BITS, TABLE_SIZE
from scenarios.spec import MS_NS, S_NS, ConsumerSettings, ProducerSettings, Scenario

FETCH_QUEUE_BACKOFF_NS = S_NS
DELIVERY_POLL_NS = MS_NS
BACKGROUND_PERIOD_NS = 10 * MS_NS
COLLECTOR_POLL_RECORDS = 10_000

#: The costs in the order of their numbers.
COST_NAMES = (
    *("generator.wake", "generator.record", "producer.request"),
    *("broker.produce", "broker.fetch", "broker.fetch_empty"),
    *("consumer.fetch", "consumer.fetch_empty"),
    *("worker.poll", "worker.poll_empty", "worker.decode", "worker.score", "worker.encode", "worker.produce"),
    *("collector.poll", "collector.record"),
    *("producer.wake", "consumer.wake", "worker.cold", "collector.wake", "broker.wake", "broker.rest"),
)
BACKGROUND_PARTS = ("generator", "broker", "engine", "collector", "host")
STAMPS = (
    *("created", "sent", "appended", "fetched", "score_begin", "score_end", "produced", "acked", "out_appended"),
    *("partition", "worker", "batch"),
)

FRACTION_BITS = 32 - TABLE_BITS
COLD_STEP_BITS = 15
BLOCK_BITS = 8

KIND_SHIFT = 60
THREAD_SHIFT = 40
DELIVER, TIMER, WAKE, CORE = (kind << KIND_SHIFT for kind in range(4))

Body = Generator[simpy.Event, Any, None]


class Environment(simpy.Environment):
    """SimPy's, of which we ask integer times."""

    _now: int


class Moment(simpy.Event):
    """An event that carries its value from the start and happens when it was scheduled."""

    def __init__(self, env: Environment, value: Any = None) -> None:
        self.env = env
        self.callbacks: list[Callable[[Any], None]] = []
        self._value = value
        self._ok = True


# What things cost


def finer(quantiles: Sequence[float]) -> NDArray[np.float64]:
    """17 quantiles brought to the size of a table; one value is a constant."""
    if len(quantiles) == 1:
        return np.full(TABLE_SIZE, float(quantiles[0]))
    x = np.arange(TABLE_SIZE) * ((len(quantiles) - 1) / (TABLE_SIZE - 1))
    table: NDArray[np.float64] = np.interp(x, np.arange(len(quantiles)), np.asarray(quantiles, np.float64))
    return table


class Drawn:
    """A quantile table read at keyed draws, made for many entities at once: a draw depends on nothing but its key."""

    def __init__(self, table: NDArray[np.int64], seed: int, purpose: int, attempt: int) -> None:
        self.table = table
        self.constant: int | None = int(table[0]) if (table == table[0]).all() else None
        self.key = (purpose, attempt)
        self.seed = seed
        self.blocks: dict[tuple[int, int], list[int]] = {}

    def of(self, thread: int, entity: int) -> int:
        if self.constant is not None:
            return self.constant
        number = entity >> BLOCK_BITS
        block = self.blocks.get((thread, number))
        if block is None:
            entities = np.arange(number << BLOCK_BITS, (number + 1) << BLOCK_BITS, dtype=np.int64)
            bits = draw_array(self.seed, thread, entities, *self.key)
            low, fraction = bits >> FRACTION_BITS, bits & ((1 << FRACTION_BITS) - 1)
            steps = self.table[low + 1] - self.table[low]
            block = self.blocks[thread, number] = (self.table[low] + ((steps * fraction) >> FRACTION_BITS)).tolist()
        return block[entity & ((1 << BLOCK_BITS) - 1)]


def latency(calibration: Any, name: str, seed: int, purpose: int) -> Drawn:
    """A latency in ns."""
    entry = calibration.latency.get(name)
    table = np.round(finer(entry.quantiles_ns if entry else (0.0,))).astype(np.int64)
    return Drawn(table, seed, purpose, 0)


class Cost:
    """One CPU cost: coefficients in 1/1024 ns, and the residual that scales each draw."""

    def __init__(self, calibration: Any, name: str, seed: int, fixed_ns: float | None = None) -> None:
        entry = calibration.cpu.get(name)
        terms = ("fixed_ns", "batch_ns", "record_ns", "point_ns", "byte_ns", "cold_ns")
        values = [getattr(entry, term).value if entry else 0.0 for term in terms]
        if fixed_ns is not None:
            values[0], values[4] = fixed_ns, 0.0
        self.fixed, self.batch, self.record, self.point, self.byte, self.cold = (
            round(value * 1024) for value in values
        )
        self.residual: Drawn | None = None
        if entry and entry.residual:
            table = np.round(finer(entry.residual) * 65536).astype(np.int64)
            self.residual = Drawn(table, seed, PURPOSE_CPU, COST_NAMES.index(name))

    def work(
        self, thread: int, entity: int, *, batches: int = 0, records: int = 0, points: int = 0, size: int = 0
    ) -> int:
        return self.drawn(
            thread,
            entity,
            self.fixed + self.batch * batches + self.record * records + self.point * points + self.byte * size,
        )

    def after_sleep(self, thread: Thread) -> int:
        """What a thread pays for its sleeps since it last paid: each of them, and its cold caches once."""
        if not thread.slept:
            return 0
        gap = min((thread.env._now - thread.home.idle_since) >> COLD_STEP_BITS, TABLE_SIZE - 1)
        scaled = self.fixed * thread.slept + ((self.cold * thread.clockwork.coldness[gap]) >> 16)
        thread.slept = 0
        return self.drawn(thread.number, thread.wakeups, scaled)

    def drawn(self, thread: int, entity: int, scaled: int) -> int:
        """The work of so many 1/1024 ns, times the residual of its entity."""
        work = scaled // 1024
        if self.residual is None:
            return work
        return (work * self.residual.of(thread, entity)) >> 16


def score_ns(table: dict[int, float], points: int) -> float:
    """CPU of scoring one record: as measured, log-log between measured points, proportional outside."""
    if not table:
        return 0.0
    if points in table:
        return table[points]
    measured = sorted(table)
    if points < measured[0] or points > measured[-1]:
        end = measured[0] if points < measured[0] else measured[-1]
        return table[end] * points / end
    above = next(p for p in measured if p > points)
    below = measured[measured.index(above) - 1]
    share = (math.log(points) - math.log(below)) / (math.log(above) - math.log(below))
    return math.exp(math.log(table[below]) + share * (math.log(table[above]) - math.log(table[below])))


# Threads


class Clockwork:
    """What all threads share: SimPy's environment and the latencies."""

    def __init__(self, calibration: Any, seed: int) -> None:
        self.env = Environment(initial_time=0)
        self.wake = latency(calibration, "wake", seed, PURPOSE_WAKE)
        self.timer = latency(calibration, "timer", seed, PURPOSE_WAKE)
        self.network = latency(calibration, "network", seed, PURPOSE_NETWORK)
        gaps = np.arange(TABLE_SIZE) * float(1 << COLD_STEP_BITS)
        gone = sum(share * (1.0 - np.exp(-gaps / tau)) for tau, share in calibration.cold_shape.items())
        self.coldness = np.round(gone * 65536.0).astype(np.int64).tolist()


class Thread:
    """One thread: its number, its counters, and the event it is blocked on, if it is blocked."""

    def __init__(self, clockwork: Clockwork, number: int) -> None:
        self.clockwork = clockwork
        self.env = clockwork.env
        self.number = number
        self.owner = number << THREAD_SHIFT
        self.count = 0
        self.wakeups = 0
        self.sent = 0
        self.blocked: Moment | None = None
        self.deadline: int | None = None
        self.slept = 0  # since it last paid for that
        self.home = self  # whose caches it shares
        self.worked = False  # since it last slept
        self.idle_since = 0

    def sleeps(self) -> None:
        self.slept += 1
        home = self.home
        if home.worked:
            home.worked, home.idle_since = False, self.env._now

    def schedule(self, event: Moment, kind: int, delay: int) -> None:
        self.env.schedule(event, kind | self.owner | self.count, delay)  # type: ignore[arg-type]  # any int will do
        self.count += 1

    def start(self) -> Moment:
        event = Moment(self.env)
        self.schedule(event, WAKE, 0)
        return event

    def wait(self) -> Moment:
        """Blocks until signalled.  `woke` must follow."""
        self.sleeps()
        self.deadline = None
        self.blocked = event = Moment(self.env)
        return event

    def wait_until(self, time: int) -> Moment:
        """Blocks until signalled, or until `time` and the timer's latency have passed.  `woke` must follow."""
        self.sleeps()
        self.deadline = time
        self.blocked = event = Moment(self.env)
        late = self.clockwork.timer.of(self.number, self.wakeups)
        self.schedule(event, WAKE, max(time - self.env._now, 0) + late)
        return event

    def woke(self) -> bool:
        """To be called when a wait or the start is over; whether it was the wait's own time that woke the thread."""
        self.wakeups += 1
        timed = self.blocked is not None
        self.blocked = None
        return timed

    def signal(self) -> None:
        event = self.blocked
        if event is None:
            return
        if self.deadline is not None:  # the event at the deadline stays in the heap and wakes nobody
            stale, event = event, Moment(self.env)
            event.callbacks, stale.callbacks = stale.callbacks, []
        self.blocked = None
        self.schedule(event, WAKE, self.clockwork.wake.of(self.number, self.wakeups))

    def cpu(self, work: int) -> Moment:
        event = Moment(self.env)
        self.schedule(event, CORE, work)
        return event

    def send(self, receive: Callable[[Any], None], message: Any, not_before: int) -> int:
        """Sends a message; returns when it arrives."""
        now = self.env._now
        arrival = max(now + self.clockwork.network.of(self.number, self.sent), not_before)
        self.sent += 1
        event = Moment(self.env, message)
        event.callbacks.append(receive)
        self.schedule(event, DELIVER, arrival - now)
        return arrival


# The broker


class Log:
    """One partition of a topic: batches of record numbers, and who reads it."""

    def __init__(self, record_bytes: int, stamp: list[int]) -> None:
        self.record_bytes = record_bytes
        self.stamp = stamp
        self.batches: list[list[int]] = []
        self.reader: Consumer | None = None


class Produce:
    """A produce request, and its answer: one batch for one log."""

    __slots__ = ("connection", "log", "records")

    def __init__(self, connection: Connection, log: Log, records: list[int]) -> None:
        self.connection = connection
        self.log = log
        self.records = records

    @property
    def size(self) -> int:
        return len(self.records) * self.log.record_bytes


class Fetch:
    """A fetch request, and its answer: batches by the consumer's own partition index."""

    __slots__ = ("batches", "connection", "consumer", "expired", "ordinal", "parked", "partitions", "records", "size")

    def __init__(self, connection: Connection, consumer: Consumer, partitions: list[int], ordinal: int) -> None:
        self.connection = connection
        self.consumer = consumer
        self.partitions = partitions
        self.ordinal = ordinal
        self.parked = False
        self.expired = False
        self.batches: list[tuple[int, list[int]]] = []
        self.records = 0
        self.size = 0

    def look(self) -> None:
        """Finds what is there for this request; takes nothing."""
        settings = self.consumer.settings
        batches: list[tuple[int, list[int]]] = []
        records = size = 0
        for index in self.partitions:
            log = self.consumer.logs[index]
            position = self.consumer.positions[index]
            here = 0
            full = False
            while position < len(log.batches) and (here == 0 or here < settings.partition_fetch_bytes):
                batch = log.batches[position]
                batch_bytes = len(batch) * log.record_bytes
                if size and size + batch_bytes > settings.fetch_max_bytes:
                    full = True
                    break
                batches.append((index, batch))
                records += len(batch)
                here += batch_bytes
                size += batch_bytes
                position += 1
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
        self.mailbox: deque[Any] = deque()
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

    def __init__(self, costs: dict[str, Cost]) -> None:
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

    def append(self, log: Log, records: list[int], now: int) -> Fetch | None:
        """Appends a batch; returns the parked fetch that now has enough."""
        log.batches.append(records)
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
        client = fetch.connection.client
        event = Moment(client.env, fetch)
        event.callbacks.append(self.expire)
        client.schedule(event, TIMER, fetch.consumer.settings.fetch_max_wait_ns)

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
        yield me.start()
        me.woke()
        while True:
            while not self.requests:
                yield me.wait()
                me.woke()
            request = self.requests.popleft()
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


# The clients


class Producer:
    """A producer client: a lane a partition, batches, requests in flight."""

    def __init__(
        self, me: Thread, broker: Broker, settings: ProducerSettings, logs: list[Log], costs: dict[str, Cost]
    ) -> None:
        self.me = me
        self.connection = Connection(me, broker)
        self.logs = logs
        self.request = costs["producer.request"]
        self.wake = costs["producer.wake"]
        self.linger = settings.linger_ns
        self.batch_bytes = settings.batch_bytes
        self.batch_records = settings.batch_records
        self.max_in_flight = settings.max_in_flight
        self.record_bytes = logs[0].record_bytes
        self.most = batch_limit(settings, self.record_bytes)
        self.lanes: list[deque[tuple[int, int]]] = [deque() for _ in logs]  # (record, when it was enqueued)
        self.last_lane = len(logs) - 1
        self.in_flight = 0
        self.delivered: list[list[int]] | None = None  # where the batches that were answered go, if anybody asks

    def ready(self, lane: deque[tuple[int, int]], now: int) -> bool:
        held = len(lane)
        return held > 0 and (
            held >= self.batch_records
            or held * self.record_bytes >= self.batch_bytes
            or now >= lane[0][1] + self.linger
        )

    def enqueue(self, record: int, partition: int) -> None:
        """Called by the thread that produces."""
        now = self.me.env._now
        lane = self.lanes[partition]
        if self.me.blocked is None:
            lane.append((record, now))
            return
        was_empty, was_ready = not lane, self.ready(lane, now)
        lane.append((record, now))
        deadline = self.me.deadline
        becomes_ready = not was_ready and self.ready(lane, now)
        if becomes_ready or (was_empty and (deadline is None or deadline > now + self.linger)):
            self.me.signal()

    def next_batch(self) -> Produce | None:
        now = self.me.env._now
        count = len(self.lanes)
        for step in range(1, count + 1):
            partition = (self.last_lane + step) % count
            lane = self.lanes[partition]
            if self.ready(lane, now):
                self.last_lane = partition
                self.in_flight += 1
                records = [lane.popleft()[0] for _ in range(min(self.most, len(lane)))]
                return Produce(self.connection, self.logs[partition], records)
        return None

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
                if self.delivered is not None:
                    self.delivered.append(answer.records)
                continue
            may_send = self.in_flight < self.max_in_flight
            batch = self.next_batch() if may_send else None
            if batch is not None:
                work = self.wake.after_sleep(me)
                if work:
                    yield me.cpu(work)
                me.home.worked = True
                work = self.request.work(
                    me.number, batch.records[0], batches=1, records=len(batch.records), size=batch.size
                )
                if work:
                    yield me.cpu(work)
                self.connection.ask(batch)
                continue
            firsts = [lane[0][1] for lane in self.lanes if lane] if may_send else []
            yield me.wait_until(min(firsts) + self.linger) if firsts else me.wait()
            me.woke()


def batch_limit(settings: ProducerSettings, record_bytes: int) -> int:
    """How many records one produce request carries at most."""
    return max(1, min(settings.batch_records, settings.batch_bytes // record_bytes))


class Consumer:
    """A consumer client, and the queues its application thread polls."""

    def __init__(
        self,
        me: Thread,
        app: Thread,
        broker: Broker,
        settings: ConsumerSettings,
        logs: list[Log],
        costs: dict[str, Cost],
    ) -> None:
        self.me = me
        self.app = app
        self.connection = Connection(me, broker)
        self.settings = settings
        self.logs = logs
        self.fetch = costs["consumer.fetch"]
        self.fetch_empty = costs["consumer.fetch_empty"]
        self.wake = costs["consumer.wake"]
        self.positions = [0] * len(logs)
        self.parked: Fetch | None = None
        self.queues: list[deque[int]] = [deque() for _ in logs]
        self.queued = 0
        self.queued_bytes = 0
        self.next_polled = 0
        for log in logs:
            log.reader = self

    def fetchable(self) -> list[int]:
        if self.queued_bytes >= self.settings.queued_bytes:
            return []
        return [index for index, queue in enumerate(self.queues) if len(queue) < self.settings.queued_records]

    def run(self) -> Body:
        me = self.me
        mailbox = self.connection.mailbox
        ordinal = 0
        yield me.start()
        me.woke()
        while True:
            partitions = self.fetchable()
            while not partitions:
                yield me.wait_until(me.env._now + FETCH_QUEUE_BACKOFF_NS)
                me.woke()
                partitions = self.fetchable()
            self.connection.ask(Fetch(self.connection, self, partitions, ordinal))
            while not mailbox:
                yield me.wait()
                me.woke()
            answer = mailbox.popleft()
            work = self.wake.after_sleep(me)
            if work:
                yield me.cpu(work)
            me.home.worked = True
            if answer.records:
                work = self.fetch.work(
                    me.number, ordinal, batches=len(answer.batches), records=answer.records, size=answer.size
                )
            else:
                work = self.fetch_empty.work(me.number, ordinal)
            if work:
                yield me.cpu(work)
            ordinal += 1
            if answer.records:
                for index, records in answer.batches:
                    self.queues[index].extend(records)
                self.queued += answer.records
                self.queued_bytes += answer.size
                self.app.signal()

    def poll(self, limit: int) -> list[int]:
        """Up to `limit` delivered records; the partitions take turns."""
        taken: list[int] = []
        count = len(self.logs)
        first = self.next_polled
        for step in range(count if self.queued else 0):
            index = (first + step) % count
            queue = self.queues[index]
            if not queue:
                continue
            room = min(limit - len(taken), len(queue))
            taken += [queue.popleft() for _ in range(room)]
            self.queued_bytes -= room * self.logs[index].record_bytes
            self.next_polled = index + (0 if queue else 1)
            if len(taken) == limit:
                break
        self.queued -= len(taken)
        return taken


# The application threads


class Facts:
    """What the application threads need to know of the records, and the stamps they leave."""

    def __init__(self, scenario: Scenario, calibration: Any) -> None:
        workload = scenario.workload
        seed = workload.seed
        due = schedule(workload.arrival, workload.warmup_ns + workload.duration_ns, seed)
        if workload.records is not None:
            due = due[: workload.records]
        self.backlog = workload.backlog_records
        self.total = self.backlog + len(due)
        self.points = workload.points
        sizes = calibration.sizes_bytes
        self.input_bytes, self.output_bytes = (
            max(1, round(sizes.get(f"{way}_fixed", 0.0) + sizes.get(f"{way}_per_point", 0.0) * workload.points))
            for way in ("input", "output")
        )
        self.stamps: dict[str, list[int]] = {name: [-1] * self.total for name in STAMPS}
        self.stamps["created"] = [0] * self.backlog + due.tolist()
        self.stamps["partition"] = partition_of(scenario, self.total).tolist()
        self.costs = {name: Cost(calibration, name, seed) for name in COST_NAMES}
        score = score_ns(calibration.score_table, workload.points)
        self.costs["worker.score"] = Cost(calibration, "worker.score", seed, score)


def generator(me: Thread, records: range, producer: Producer, facts: Facts) -> Body:
    due, sent, partition = (facts.stamps[name] for name in ("created", "sent", "partition"))
    wake, each = facts.costs["generator.wake"], facts.costs["generator.record"]
    points, size = facts.points, facts.input_bytes
    yield me.start()
    me.woke()
    for record in records:
        while due[record] > me.env._now:
            yield me.wait_until(due[record])
            me.woke()
        sent[record] = me.env._now
        work = wake.after_sleep(me)
        if work:
            yield me.cpu(work)
        me.home.worked = True
        work = each.work(me.number, record, records=1, points=points, size=size)
        if work:
            yield me.cpu(work)
        producer.enqueue(record, partition[record])


def worker(me: Thread, ordinal: int, consumer: Consumer, producer: Producer, limit: int, facts: Facts) -> Body:
    env = me.env
    stamps = facts.stamps
    partition, worker_of, batch_of = stamps["partition"], stamps["worker"], stamps["batch"]
    fetched, score_begin, score_end = stamps["fetched"], stamps["score_begin"], stamps["score_end"]
    produced, acked = stamps["produced"], stamps["acked"]
    costs = facts.costs
    poll, poll_empty, decode = costs["worker.poll"], costs["worker.poll_empty"], costs["worker.decode"]
    score, encode, produce = costs["worker.score"], costs["worker.encode"], costs["worker.produce"]
    cold = costs["worker.cold"]
    number = me.number
    points, input_bytes, output_bytes = facts.points, facts.input_bytes, facts.output_bytes
    delivered: list[list[int]] = []
    producer.delivered = delivered
    outstanding = polls = 0

    def serve() -> int:
        """The delivery callbacks of every batch that was answered; how many records they were."""
        served = 0
        for records in delivered:
            for record in records:
                acked[record] = env._now
            served += len(records)
        delivered.clear()
        return served

    yield me.start()
    me.woke()
    while True:
        taken = consumer.poll(limit)
        if not taken:
            yield me.wait_until(env._now + DELIVERY_POLL_NS) if outstanding else me.wait()
            timed = me.woke()
            taken = consumer.poll(limit)
            if not taken:
                if timed:
                    work = poll_empty.after_sleep(me)
                    if work:
                        yield me.cpu(work)
                    outstanding -= serve()
                continue
        me.home.worked = True
        work = poll.work(number, polls, records=len(taken), size=len(taken) * input_bytes)
        if work:
            yield me.cpu(work)
        for record in taken:
            fetched[record] = env._now
            worker_of[record] = ordinal
            batch_of[record] = polls
        polls += 1
        work = cold.after_sleep(me)
        if work:
            yield me.cpu(work)
        for record in taken:
            work = decode.work(number, record, records=1, points=points, size=input_bytes)
            if work:
                yield me.cpu(work)
            score_begin[record] = env._now
            work = score.work(number, record, records=1, points=points, size=input_bytes)
            if work:
                yield me.cpu(work)
            score_end[record] = env._now
            work = encode.work(number, record, records=1, points=points, size=output_bytes)
            if work:
                yield me.cpu(work)
            produced[record] = env._now
            work = produce.work(number, record, records=1, points=points, size=output_bytes)
            if work:
                yield me.cpu(work)
            producer.enqueue(record, partition[record])
            outstanding += 1
            if delivered:
                outstanding -= serve()


def collector(me: Thread, consumer: Consumer, facts: Facts) -> Body:
    poll, each, wake = (facts.costs[f"collector.{name}"] for name in ("poll", "record", "wake"))
    polls = 0
    yield me.start()
    me.woke()
    while True:
        taken = consumer.poll(COLLECTOR_POLL_RECORDS)
        if not taken:
            yield me.wait()
            me.woke()
            continue
        work = wake.after_sleep(me)
        if work:
            yield me.cpu(work)
        me.home.worked = True
        work = poll.work(me.number, polls, records=len(taken), size=len(taken) * facts.output_bytes)
        if work:
            yield me.cpu(work)
        work = each.work(me.number, polls, records=len(taken), size=len(taken) * facts.output_bytes)
        if work:
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


# The whole


def assigned(partitions: int, workers: int, worker: int) -> range:
    """The partitions of one worker: consecutive, the first workers one more where they do not divide."""
    each, more = divmod(partitions, workers)
    first = worker * each + min(worker, more)
    return range(first, first + each + (1 if worker < more else 0))


def simulate(scenario: Scenario, calibration: Any) -> dict[str, NDArray[np.int64]]:
    """Every stamp in ns by sequence, with partition, worker and poll ordinal; -1 where it was not reached."""
    workload, settings, workers = scenario.workload, scenario.broker, scenario.engine.parallelism
    facts = Facts(scenario, calibration)
    costs, stamps = facts.costs, facts.stamps
    clockwork = Clockwork(calibration, workload.seed)
    threads: list[Thread] = []
    bodies: list[Body] = []

    def thread() -> Thread:
        threads.append(Thread(clockwork, len(threads)))
        return threads[-1]

    broker = Broker(costs)
    inputs = [Log(facts.input_bytes, stamps["appended"]) for _ in range(settings.partitions)]
    outputs = [Log(facts.output_bytes, stamps["out_appended"]) for _ in range(settings.partitions)]
    lay_backlog(facts, inputs, batch_limit(settings.producer, facts.input_bytes))

    sources = [thread() for _ in range(workload.producers)]
    for first, me in enumerate(sources):
        producer = Producer(thread(), broker, settings.producer, inputs, costs)
        records = range(facts.backlog + first, facts.total, workload.producers)
        bodies += [generator(me, records, producer, facts), producer.run()]
    for _ in range(settings.io_threads):
        broker.threads.append(thread())
        broker.threads[-1].home = broker.threads[0]
        bodies.append(broker.run(broker.threads[-1]))
    for ordinal in range(workers):
        client, app, sink = thread(), thread(), thread()
        logs = [inputs[p] for p in assigned(settings.partitions, workers, ordinal)]
        consumer = Consumer(client, app, broker, settings.consumer, logs, costs)
        producer = Producer(sink, broker, settings.producer, outputs, costs)
        limit = settings.consumer.max_poll_records
        bodies += [consumer.run(), worker(app, ordinal, consumer, producer, limit, facts), producer.run()]
    client, app = thread(), thread()
    consumer = Consumer(client, app, broker, settings.consumer, outputs, costs)
    bodies += [consumer.run(), collector(app, consumer, facts)]
    for part in BACKGROUND_PARTS:
        entry = calibration.background_ns_per_s.get(part)
        if entry and entry.value > 0:
            each = {"generator": workload.producers, "engine": workers}.get(part, 1)
            bodies.append(background(thread(), round(entry.value * each / 100)))

    for body in bodies:
        clockwork.env.process(body)
    clockwork.env.run(until=workload.warmup_ns + workload.duration_ns + workload.drain_ns)
    return {name: np.array(values, np.int64) for name, values in stamps.items()}


def lay_backlog(facts: Facts, logs: list[Log], limit: int) -> None:
    """Puts the backlog into the logs before time 0: in order, in batches of the producer's limit."""
    for log_number, log in enumerate(logs):
        records = [r for r in range(facts.backlog) if facts.stamps["partition"][r] == log_number]
        log.batches = [records[i : i + limit] for i in range(0, len(records), limit)]
    for name in ("sent", "appended"):
        facts.stamps[name][: facts.backlog] = [0] * facts.backlog
