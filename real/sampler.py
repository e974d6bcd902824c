"""What a run used: every thread at the edges of the window, every process and core each second.

Both are read by the harness from outside, so a process under measurement spends nothing on being measured.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from real.procfs import Cores, Times, cores, process_cpu_ns, rss_bytes, total
from real.procfs import threads as threads_of
from real.wire import Slots

ThreadReader = Callable[[bool], dict[int, Times] | None]


@dataclass(frozen=True)
class Part:
    """A process of the run: where its threads and counters are read."""

    pid: int | None
    read: ThreadReader
    slots: Slots | None = None
    rss: Callable[[], int] | None = None  # of one that is several processes


@dataclass(frozen=True)
class Snapshot:
    """Everything countable at one instant.

    Attributes:
        at_ns: Real-time clock.
        threads: Part -> thread -> times; a part whose threads are unknown is absent.
        slots: Part -> its counters.
        cpu_ns: Part -> CPU of its whole process; a part that is no process of its own is absent.
        cores: The host's cores.
    """

    at_ns: int
    threads: dict[str, dict[int, Times]]
    slots: dict[str, list[int]]
    cpu_ns: dict[str, int]
    cores: Cores


def process_part(pid: int, slots: Slots | None = None) -> Part:
    """A part that is a process of its own."""
    return Part(pid, lambda wakeups: threads_of(pid, wakeups=wakeups), slots)


def counted_part(slots: Slots) -> Part:
    """A part that counts and has no process of its own: its threads are another's."""
    return Part(None, lambda _wakeups: None, slots)


def _cpu_ns(part: Part) -> int | None:
    return None if part.pid is None else process_cpu_ns(part.pid)


class Sampler:
    """Samples a set of parts."""

    def __init__(self, parts: Mapping[str, Part]) -> None:
        self.parts = {**parts, "harness": process_part(os.getpid())}
        self._rows: list[tuple[int, str, str, int, int, int]] = []
        self._last: tuple[Cores, dict[str, Times]] | None = None

    def snapshot(self) -> Snapshot:
        """Every thread and counter, now."""
        threads = {}
        slots = {name: part.slots.copy() for name, part in self.parts.items() if part.slots is not None}
        at, host = time.time_ns(), cores()
        cpu = {name: used for name, part in self.parts.items() if (used := _cpu_ns(part)) is not None}
        for name, part in self.parts.items():
            found = part.read(True)
            if found is not None:
                threads[name] = found
        return Snapshot(at, threads, slots, cpu, host)

    def second(self, ended: int) -> None:
        """Takes the sample at the end of a second of the run; the first call only sets the start."""
        host, times = cores(), {}
        for name, part in self.parts.items():
            found = part.read(False)
            if found:
                times[name] = dataclasses.replace(total(found), cpu_ns=_cpu_ns(part) or total(found).cpu_ns)
        if self._last is not None and ended >= 0:
            before_cores, before = self._last
            for number, (now, then) in enumerate(zip(host.used_ns, before_cores.used_ns, strict=False)):
                self._rows.append((ended, "core", str(number), max(0, now - then), -1, -1))
            for name, now_times in times.items():
                used = now_times - before.get(name, Times())
                pid, resident = self.parts[name].pid, self.parts[name].rss
                rss = rss_bytes(pid) if pid is not None else resident() if resident is not None else -1
                # A thread that ended took its waiting with it: never below zero.
                self._rows.append((ended, "process", name, max(0, used.cpu_ns), max(0, used.wait_ns), rss))
        self._last = (host, times)

    def table(self) -> dict[str, object]:
        """The columns of host.parquet."""
        columns: list[list[object]] = [list(column) for column in zip(*self._rows, strict=True)]
        columns = columns or [[] for _ in range(6)]
        second, kind, name, cpu, wait, rss = columns
        numbers = {"second": second, "cpu_ns": cpu, "wait_ns": wait, "rss_bytes": rss}
        return {**{key: np.array(values, np.int64) for key, values in numbers.items()}, "kind": kind, "name": name}
