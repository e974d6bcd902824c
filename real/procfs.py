"""CPU, run-queue wait and wake-ups of threads, and CPU of cores, as the kernel counts them.

A thread's `schedstat` is in nanoseconds (the ticks of `/proc/PID/stat` are 10 ms); its voluntary context switches are
the times it went to sleep, which is how often it was woken.  A core's CPU is in ticks.  A thread that ends takes its
counts with it, so a process' own CPU clock, which keeps them, tells its CPU where threads are not told apart.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_CPU_CLOCK = 2  # of a process, by the scheduler: CPUCLOCK_SCHED of the kernel
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Times:
    """Of one thread, or summed."""

    cpu_ns: int = 0
    wait_ns: int = 0
    wakeups: int = 0

    def __add__(self, other: Times) -> Times:
        return Times(self.cpu_ns + other.cpu_ns, self.wait_ns + other.wait_ns, self.wakeups + other.wakeups)

    def __sub__(self, other: Times) -> Times:
        return Times(self.cpu_ns - other.cpu_ns, self.wait_ns - other.wait_ns, self.wakeups - other.wakeups)


def threads(pid: int, *, wakeups: bool = True) -> dict[int, Times]:
    """Every thread of a process; empty where the process is gone."""
    found: dict[int, Times] = {}
    try:
        names = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - a hundred threads each second: no objects
    except OSError:
        return found
    for name in names:
        try:
            cpu, wait, _ = _read(f"/proc/{pid}/task/{name}/schedstat").split()
            slept = _voluntary(_read(f"/proc/{pid}/task/{name}/status")) if wakeups else 0
        except (OSError, ValueError):
            continue  # ended meanwhile
        found[int(name)] = Times(int(cpu), int(wait), slept)
    return found


def available_bytes() -> int:
    """Memory that may be had without swapping."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))


def total(times: dict[int, Times]) -> Times:
    """The sum over threads."""
    result = Times()
    for each in times.values():
        result += each
    return result


def spent(before: dict[int, Times], after: dict[int, Times]) -> dict[int, Times]:
    """What each thread used between two readings."""
    return {tid: times - before.get(tid, Times()) for tid, times in after.items()}


def process_cpu_ns(pid: int) -> int | None:
    """CPU of a whole process, threads that ended included; None where it is gone."""
    try:
        return time.clock_gettime_ns((~pid << 3) | _CPU_CLOCK)
    except OSError:
        return None


def rss_bytes(pid: int) -> int:
    """Resident memory; -1 where the process is gone."""
    try:
        return int(_read(f"/proc/{pid}/statm").split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return -1


def start_time(pid: int) -> str | None:
    """A process' start, in ticks since boot: with its number it names a process for good.  None where it is gone."""
    try:
        return _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[19].decode()
    except (OSError, IndexError):
        return None


@dataclass(frozen=True, slots=True)
class Cores:
    """CPU of the host, nanoseconds since boot: used by each core, and stolen from all of them."""

    used_ns: tuple[int, ...]
    steal_ns: int


def cores() -> Cores:
    """The host's cores, now."""
    used, steal = [], 0
    for line in _read("/proc/stat").splitlines():
        if not line.startswith(b"cpu"):
            break
        name, *ticks = line.split()
        user, nice, system, _idle, _iowait, irq, softirq, stolen = (int(t) for t in ticks[:8])
        if name == b"cpu":
            steal = stolen * _TICK_NS
        else:
            used.append((user + nice + system + irq + softirq) * _TICK_NS)
    return Cores(tuple(used), steal)


def _voluntary(status: bytes) -> int:
    at = status.rindex(b"\nvoluntary_ctxt_switches:")
    return int(status[at + 25 : status.index(b"\n", at + 25)])


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.read(fd, 65536)
    finally:
        os.close(fd)
