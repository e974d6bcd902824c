"""The reference's time, and its hosts: who holds a core until when.

`docs/simulator.md` says it in words, sections "Events and the order of ties", "Hosts: slices" and "Hosts: processor
sharing".
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, cast

import simpy
from simpy.events import EventPriority

DELIVER, TIMER, WAKE, CORE = range(4)  # kinds of event, in the order of ties
UNITS = 256  # of virtual time, a ns


class State(enum.Enum):
    """What a thread is doing."""

    BLOCKED, WAKING, QUEUED, RUNNING, HALTED = range(5)


@dataclass(eq=False, kw_only=True)
class HostThread:
    """What time and its host know of a thread."""

    number: int
    host: Host
    process: simpy.Event  # what its SimPy process waits for: to go on with the program
    state: State = State.WAKING
    events: int = 0  # scheduled so far
    generation: int = 0
    remaining: int = 0  # work left, ns; under processor sharing all of the operation under way
    finish: int = 0  # under processor sharing: the virtual time at which it is done
    used: int = 0  # of its slice, while it queues
    slice_start: int = 0
    run_start: int = 0  # since when it was not charged
    began: int = -1  # when it began the operation it works on, if it held its core then
    core_at: int = 0  # when its CORE event is
    queued_at: int = 0
    window: int = 0  # `current` was charged in this window (of one slice's length), `previous` in the one before
    current: int = 0
    previous: int = 0
    cpu: int = 0  # run, ns
    wait: int = 0  # queued, ns

    def step_back(self) -> None:
        """Called when the thread is preempted at the very instant it began its work."""


T = TypeVar("T", bound=HostThread)


class Moment(simpy.Event):
    """An event that calls a function when its time has come."""

    def __init__(self, env: simpy.Environment, action: Callable[[], None]) -> None:
        super().__init__(env)
        self._ok = True
        self._value = None
        self.callbacks.append(lambda _: action())


class Clock:
    """SimPy's environment, where events at one instant are in the order of kind, owner thread, the owner's count.

    Ranks begin above SimPy's own priorities, so a process that may go on does so before any other event.
    """

    def __init__(self) -> None:
        self.env = simpy.Environment(initial_time=0)

    @property
    def now(self) -> int:
        """Nanoseconds since the start of the load; no float enters it."""
        return cast(int, self.env.now)

    def at(self, time: int, kind: int, owner: HostThread, action: Callable[[], None]) -> None:
        """Schedules an event."""
        rank = (kind << 60) | ((owner.number + 1) << 38) | owner.events
        owner.events += 1
        self.env.schedule(Moment(self.env, action), EventPriority(rank), time - self.now)

    def at_unless_stale(self, time: int, kind: int, thread: T, action: Callable[[T], None]) -> None:
        """Schedules an event of a thread, to be ignored if the thread's generation has moved on by then."""
        generation = thread.generation
        self.at(time, kind, thread, lambda: action(thread) if thread.generation == generation else None)


class Host(ABC):
    """Lets threads run."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    @abstractmethod
    def ready(self, t: HostThread) -> None:
        """A thread woke; its process goes on when it runs."""

    @abstractmethod
    def work(self, t: HostThread, work: int) -> None:
        """The thread begins a CPU operation of `work` > 0 ns; its process goes on when that is done."""

    @abstractmethod
    def release(self, t: HostThread) -> None:
        """The thread gives up its core: it is blocked, or it halted."""

    @abstractmethod
    def cpu(self, t: HostThread, now: int) -> int:
        """What the thread ran until now, ns, where no event is between the last one and now."""


class Sharing(Host):
    """Processor sharing: n threads at work advance evenly, each by shares[n - 1] units of work a ns."""

    def __init__(self, clock: Clock, shares: tuple[int, ...]) -> None:
        super().__init__(clock)
        self.shares = shares
        self.at_work: list[HostThread] = []
        self.virtual = 0  # units of work that a thread at work all the time has behind it
        self.brought_to = 0  # when that was so
        self.next: HostThread | None = None  # whose CORE event is pending

    def ready(self, t: HostThread) -> None:
        """A thread woke: it runs at once."""
        t.state = State.RUNNING
        t.process.succeed()

    def work(self, t: HostThread, work: int) -> None:
        """The thread begins a CPU operation: all others at work slow down."""
        self._bring_to_now()
        t.remaining, t.finish = work, self.virtual + UNITS * work
        self.at_work.append(t)
        self._schedule_next()

    def release(self, t: HostThread) -> None:
        """A thread that does not work takes nothing from the others."""

    def cpu(self, t: HostThread, now: int) -> int:
        """All it completed, and its share of the operation under way."""
        if t not in self.at_work:
            return t.cpu
        done = (self._virtual_at(now) - (t.finish - UNITS * t.remaining)) // UNITS
        return t.cpu + min(done, t.remaining)

    def _core(self, t: HostThread) -> None:
        """CORE: the work is complete."""
        self._bring_to_now()
        self.at_work.remove(t)
        t.cpu += t.remaining
        t.remaining = 0
        self._schedule_next()
        t.process.succeed()

    def _schedule_next(self) -> None:
        """The thread that will be the first to finish has the host's only CORE event."""
        if self.next:
            self.next.generation += 1
        self.next = min(self.at_work, key=lambda t: (t.finish, t.number), default=None)
        if self.next:
            left = max(0, self.next.finish - self.virtual)
            takes = -(-left // self._share())
            self.clock.at_unless_stale(self.clock.now + takes, CORE, self.next, self._core)

    def _bring_to_now(self) -> None:
        self.virtual, self.brought_to = self._virtual_at(self.clock.now), self.clock.now

    def _virtual_at(self, now: int) -> int:
        return self.virtual + self._share() * (now - self.brought_to)

    def _share(self) -> int:
        return self.shares[len(self.at_work) - 1] if self.at_work else 0


class Slices(Host):
    """Cores, one run queue, and the slices that share them."""

    def __init__(self, clock: Clock, cores: int, slice_ns: int) -> None:
        super().__init__(clock)
        self.idle = cores
        self.slice_ns = slice_ns
        self.running: list[HostThread] = []
        self.queue: deque[HostThread] = deque()

    def ready(self, t: HostThread) -> None:
        """A thread woke: it takes an idle core, or that of the thread that used most of its slice, or queues."""
        t.remaining = t.used = 0
        t.queued_at = self.clock.now
        if self.idle:
            self.idle -= 1
            self._takes_core(t)
            t.process.succeed()
            return
        if 2 * self._recent(t) < self.slice_ns:
            victim = max(self.running, key=lambda v: (self._used(v), -v.number))
            victim.used = self._used(victim)
            self._charge(victim)
            if victim.began == self.clock.now:
                victim.step_back()
            self._leaves_core(victim)
            self.queue.appendleft(victim)
            self._grant(t)
        else:
            t.state = State.QUEUED
            self.queue.append(t)
        self._cut_slices()

    def work(self, t: HostThread, work: int) -> None:
        """The thread begins a CPU operation of `work` > 0 ns; its process goes on when that is done."""
        t.remaining = work
        t.began = -1
        if self.queue and self._slice_end(t) == self.clock.now:
            self._rotate(t)
        else:
            t.began = t.run_start = self.clock.now
            self._schedule_core(t)

    def release(self, t: HostThread) -> None:
        """The thread gives up its core: it is blocked, or it halted."""
        self.running.remove(t)
        if self.queue:
            self._grant(self.queue.popleft())
        else:
            self.idle += 1

    def cpu(self, t: HostThread, now: int) -> int:
        """What it was charged, and what it ran since."""
        return t.cpu + (now - t.run_start if t.state is State.RUNNING else 0)

    def _core(self, t: HostThread) -> None:
        """CORE: the work is complete, or the slice ended."""
        self._charge(t)
        if t.remaining == 0:
            t.process.succeed()
        elif self.queue:
            self._rotate(t)
        else:
            self._schedule_core(t)

    def _rotate(self, t: HostThread) -> None:
        """The thread goes to the tail of the run queue, and the head runs."""
        t.used = 0
        self._leaves_core(t)
        self.queue.append(t)
        self._grant(self.queue.popleft())
        self._cut_slices()

    def _grant(self, t: HostThread) -> None:
        t.wait += self.clock.now - t.queued_at
        self._takes_core(t)
        self._schedule_core(t)

    def _takes_core(self, t: HostThread) -> None:
        t.state = State.RUNNING
        t.slice_start = self.clock.now - t.used
        t.run_start = self.clock.now
        self.running.append(t)

    def _leaves_core(self, t: HostThread) -> None:
        t.state = State.QUEUED
        t.queued_at = self.clock.now
        t.generation += 1
        self.running.remove(t)

    def _cut_slices(self) -> None:
        """Somebody queues now: whoever runs gets its CORE event at its slice end, if that is earlier."""
        for t in sorted(self.running, key=lambda t: t.number):
            if t.core_at > self._slice_end(t):
                t.generation += 1
                self._schedule_core(t)

    def _schedule_core(self, t: HostThread) -> None:
        t.core_at = t.run_start + t.remaining
        if self.queue:
            t.core_at = min(t.core_at, self._slice_end(t))
        self.clock.at_unless_stale(t.core_at, CORE, t, self._core)

    def _slice_end(self, t: HostThread) -> int:
        """When the thread's slice ends; a slice that ends at this very instant does so now."""
        while t.slice_start + self.slice_ns < self.clock.now:
            t.slice_start += self.slice_ns
        return t.slice_start + self.slice_ns

    def _used(self, t: HostThread) -> int:
        return (self.clock.now - t.slice_start) % self.slice_ns

    def _charge(self, t: HostThread) -> None:
        """Accounts for what the thread ran since it was charged last."""
        ran = self.clock.now - t.run_start
        t.cpu += ran
        t.remaining -= ran
        t.run_start = self.clock.now
        window = self.clock.now // self.slice_ns
        if window == t.window:
            t.current += ran
        else:
            t.previous = t.current if window == t.window + 1 else 0
            t.current = ran
            t.window = window

    def _recent(self, t: HostThread) -> int:
        """What the thread ran of late, as far as it was charged."""
        age = self.clock.now // self.slice_ns - t.window
        if age == 0:
            return t.current + t.previous
        return t.current if age == 1 else 0
