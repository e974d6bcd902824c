"""What every model written by hand stands on: threads, their waiting and waking, hosts, latencies and costs.

One SimPy process is one thread.  Every event is scheduled with its rank (kind, thread, count) as SimPy's priority, so
no order depends on insertion.  On a host whose cores never run out CPU work of w ns is a delay of w ns; on a `Shared`
host the threads at work share a capacity curve evenly.  `docs/simulator.md` says what it all means.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from scenarios.draw_arrays import draw_array
from scenarios.draws import PURPOSE_CPU, PURPOSE_NETWORK, PURPOSE_WAKE, TABLE_BITS, TABLE_SIZE

FRACTION_BITS = 32 - TABLE_BITS
COLD_STEP_BITS = 15
BLOCK_BITS = 8
BLOCK_MASK = (1 << BLOCK_BITS) - 1

KIND_SHIFT = 60
THREAD_SHIFT = 40
DELIVER, TIMER, WAKE, CORE = (kind << KIND_SHIFT for kind in range(4))

Body = Generator[simpy.Event, Any, None]


class Environment(simpy.Environment):
    """SimPy's, of which we ask integer times, and which need not look for failures and stop conditions each step."""

    _now: int

    def run(self, until: Any = None) -> None:
        """Takes every event before `until`."""
        queue, pop = self._queue, heappop
        end = Moment()
        heappush(queue, (until, -1, 0, end))  # type: ignore[misc]  # any rank will do
        while True:
            self._now, _, _, event = pop(queue)  # type: ignore[assignment]  # SimPy's times may be floats
            if event.callbacks:  # at most one: the thread that waits, or what is to be done
                event.callbacks.pop()(event)
            elif event is end:
                return


class Life(simpy.Process):
    """A thread's process, which waits for what is yet to happen only, and whose failures nobody handles."""

    def _resume(self, _event: Any) -> None:
        try:
            event = self._generator.send(None)
        except StopIteration:
            return
        event.callbacks.append(self._resume)


class Moment(simpy.Event):
    """An event that carries its value from the start and happens when it was scheduled."""

    _ok = True
    _value: Any = None

    def __init__(self, value: Any = None, then: Callable[[Any], None] | None = None) -> None:
        self.callbacks: list[Callable[[Any], None]] = [] if then is None else [then]
        if value is not None:
            self._value = value


# What things cost


@dataclass(frozen=True)
class Terms:
    """What a CPU cost is made of: coefficients in 1/1024 ns, factors of its residual in 1/65536."""

    fixed: int = 0
    batch: int = 0
    record: int = 0
    point: int = 0
    byte: int = 0
    cold: int = 0
    residual: tuple[int, ...] = ()
    number: int = 0  # of its draws


class Drawn:
    """A quantile table read at keyed draws, made for many entities at once: a draw depends on nothing but its key."""

    def __init__(self, table: Sequence[int], seed: int, purpose: int, attempt: int) -> None:
        self.table: NDArray[np.int64] = np.asarray(table, np.int64)
        self.constant: int | None = int(table[0]) if (self.table == table[0]).all() else None
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
        return block[entity & BLOCK_MASK]


class Cost:
    """One CPU cost, and the residual that scales each draw."""

    def __init__(self, terms: Terms, seed: int) -> None:
        self.fixed, self.batch, self.record = terms.fixed, terms.batch, terms.record
        self.point, self.byte, self.cold = terms.point, terms.byte, terms.cold
        self.residual = Drawn(terms.residual, seed, PURPOSE_CPU, terms.number) if terms.residual else None

    def work(
        self, thread: int, entity: int, *, batches: int = 0, records: int = 0, points: int = 0, size: int = 0
    ) -> int:
        return self.drawn(
            thread,
            entity,
            self.fixed + self.batch * batches + self.record * records + self.point * points + self.byte * size,
        )

    def of_records(self, points: int, size: int) -> Callable[[int, int], int]:
        """The work of (thread, record) where every record has the same points and bytes."""
        scaled = self.fixed + self.record + self.point * points + self.byte * size
        work = scaled >> 10
        residual = self.residual
        if residual is None:
            return lambda _thread, _record: work
        of = residual.of
        return lambda thread, record: (work * of(thread, record)) >> 16

    def after_sleep(self, thread: Thread) -> int:
        """What a thread pays for its sleeps since it last paid: each of them, and its cold caches once."""
        if not thread.slept:
            return 0
        scaled = self.fixed * thread.slept
        if self.cold:
            gap = min((thread.env._now - thread.home.idle_since) >> COLD_STEP_BITS, TABLE_SIZE - 1)
            scaled += (self.cold * thread.clockwork.coldness[gap]) >> 16
        thread.slept = 0
        return self.drawn(thread.number, thread.wakeups, scaled)

    def drawn(self, thread: int, entity: int, scaled: int) -> int:
        """The work of so many 1/1024 ns, times the residual of its entity."""
        work = scaled >> 10
        if self.residual is None:
            return work
        return (work * self.residual.of(thread, entity)) >> 16


# Threads


class Clockwork:
    """What all threads share: SimPy's environment and the latencies."""

    def __init__(
        self, seed: int, wake: Sequence[int], timer: Sequence[int], network: Sequence[int], coldness: Sequence[int]
    ) -> None:
        self.env = Environment(initial_time=0)
        self.seed = seed
        self.wake = Drawn(wake, seed, PURPOSE_WAKE, 0)
        self.timer = Drawn(timer, seed, PURPOSE_WAKE, 0)
        self.network = Drawn(network, seed, PURPOSE_NETWORK, 0)
        self.coldness = coldness


class Shared:
    """A host whose threads at work share its capacity evenly: R[n], in 1/256, for each of n."""

    def __init__(self, env: Environment, curve: Sequence[float]) -> None:
        self.env = env
        self.curve = curve
        self.rates = [0]  # of no thread at work, one, two, ...
        self.virtual = 0  # what each thread at work has got so far, in 1/256 ns
        self.reached = 0  # the time of that
        self.at_work: list[tuple[int, int, Thread]] = []  # a heap of (virtual time of the end, number, thread)
        self.next_end = Moment()

    def add_thread(self) -> None:
        n = len(self.rates)
        self.rates.append(max(1, int(256 * self.curve[min(n, len(self.curve)) - 1] / n)))

    def advance(self) -> None:
        now = self.env._now
        self.virtual += self.rates[len(self.at_work)] * (now - self.reached)
        self.reached = now

    def begin(self, thread: Thread, work: int) -> None:
        self.advance()
        heappush(self.at_work, (self.virtual + (work << 8), thread.number, thread))
        self.look_ahead()

    def look_ahead(self) -> None:
        """The thread that will be through first has the host's one event; the one before is taken back."""
        self.next_end.callbacks.clear()
        if self.at_work:
            end, _, thread = self.at_work[0]
            self.next_end = Moment(None, self.end)
            left = max(0, end - self.virtual)
            thread.schedule(self.next_end, CORE, -(-left // self.rates[len(self.at_work)]))

    def end(self, _event: Moment) -> None:
        self.advance()
        _, _, thread = heappop(self.at_work)
        self.look_ahead()
        thread.through.callbacks.pop()(thread.through)


class Thread:
    """One thread: its number, its counters, and the event it is blocked on, if it is blocked."""

    def __init__(self, clockwork: Clockwork, number: int, host: Shared | None = None) -> None:
        self.host = host
        if host:
            host.add_thread()
        self.clockwork = clockwork
        self.env = clockwork.env
        self.queue: Any = clockwork.env._queue
        self.number = number
        self.owner = number << THREAD_SHIFT
        self.wake_rank = WAKE | self.owner
        self.core_rank = CORE | self.owner
        self.count = 0
        self.wakeups = 0
        self.sent = 0
        self.blocked: Moment | None = None
        self.deadline: int | None = None
        self.signalled = Moment()
        self.through = Moment()  # with its work
        self.slept = 0  # since it last paid for that
        self.home = self  # whose caches it shares
        self.worked = False  # since it last slept
        self.idle_since = 0

    def schedule(self, event: Moment, kind: int, delay: int) -> None:
        heappush(self.queue, (self.env._now + delay, kind | self.owner | self.count, 0, event))
        self.count += 1

    def start(self) -> Moment:
        event = Moment()
        self.schedule(event, WAKE, 0)
        return event

    def wait(self) -> Moment:
        """Blocks until signalled.  `woke` must follow."""
        self.slept += 1
        home = self.home
        if home.worked:
            home.worked, home.idle_since = False, self.env._now
        self.deadline = None
        self.blocked = event = self.signalled
        return event

    def wait_until(self, time: int) -> Moment:
        """Blocks until signalled, or until `time` and the timer's latency have passed.  `woke` must follow."""
        self.slept += 1
        now = self.env._now
        home = self.home
        if home.worked:
            home.worked, home.idle_since = False, now
        self.deadline = time
        self.blocked = event = Moment()
        late = self.clockwork.timer.of(self.number, self.wakeups)
        heappush(self.queue, (max(time, now) + late, self.wake_rank | self.count, 0, event))
        self.count += 1
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
            stale, event = event, self.signalled
            event.callbacks.append(stale.callbacks.pop())
        self.blocked = None
        late = self.clockwork.wake.constant
        if late is None:
            late = self.clockwork.wake.of(self.number, self.wakeups)
        heappush(self.queue, (self.env._now + late, self.wake_rank | self.count, 0, event))
        self.count += 1

    def cpu(self, work: int) -> Moment:
        """The end of so much work, more than 0."""
        event = self.through
        if self.host is None:
            heappush(self.queue, (self.env._now + work, self.core_rank | self.count, 0, event))
            self.count += 1
        else:
            self.host.begin(self, work)
        return event

    def pieces(self, *works: int) -> Sequence[int]:
        """Work with nothing in between, as it is to be done: at once, or one by one where others would see that."""
        if self.host is None:
            whole = sum(works)
            return (whole,) if whole else ()
        return [work for work in works if work]

    def send(self, receive: Callable[[Any], None], message: Any, not_before: int) -> int:
        """Sends a message; returns when it arrives."""
        late = self.clockwork.network.constant
        if late is None:
            late = self.clockwork.network.of(self.number, self.sent)
        arrival = self.env._now + late
        if arrival < not_before:
            arrival = not_before
        self.sent += 1
        heappush(self.queue, (arrival, DELIVER | self.owner | self.count, 0, Moment(message, receive)))
        self.count += 1
        return arrival
