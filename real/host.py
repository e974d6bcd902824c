"""Facts of the host that bear on measurements, read from the kernel: nothing is run or written."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path("/")


@dataclass(frozen=True, slots=True)
class Limits:
    """What the control groups of this process allow; None: no limit.

    Attributes:
        cpus: Cores' worth of CPU.
        memory_bytes: Memory.
        throttled: Periods in which the CPU limit stopped it so far; None where that is not told.
    """

    cpus: float | None
    memory_bytes: int | None
    throttled: int | None


def limits(root: Path = ROOT) -> Limits:
    """The tightest limits on the way up this process' control groups, of version 1 and 2."""
    cpus: list[float] = []
    memory: list[int] = []
    throttled: list[int] = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, controllers, path = line.split(":", 2)
        for folder in _folders(root / "sys/fs/cgroup", number, controllers.split(","), path):
            quota, _, period = _text(folder / "cpu.max").strip().partition(" ")
            if quota.isdigit() and period.isdigit():
                cpus.append(int(quota) / int(period))
            old_quota, old_period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
            if old_quota is not None and old_quota > 0 and old_period:
                cpus.append(old_quota / old_period)
            files = (_number(folder / name) for name in ("memory.max", "memory.limit_in_bytes"))
            memory += [most for most in files if most is not None and most < 1 << 60]
            stat = dict(pair.split() for pair in _text(folder / "cpu.stat").splitlines() if len(pair.split()) == 2)
            if "nr_throttled" in stat:
                throttled.append(int(stat["nr_throttled"]))
    return Limits(min(cpus, default=None), min(memory, default=None), max(throttled, default=None))


def _folders(root: Path, number: str, controllers: list[str], path: str) -> list[Path]:
    """Every group from one's own up; in a container the host's path is not there, and the root is one's own."""
    bases = [root] if number == "0" else [root / ",".join(controllers), *(root / name for name in controllers if name)]
    found: dict[Path, None] = {}
    for base in bases:
        own = base / path.strip("/")
        while True:
            if own.is_dir():
                found[own] = None
            if own == base or base not in own.parents:
                break
            own = own.parent
    return list(found)


def governors(root: Path = ROOT) -> list[str]:
    """The frequency governors in use, each once; empty where the kernel has none (in a virtual machine, say)."""
    files = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")
    return sorted({_text(path).strip() for path in files} - {""})


def host_facts(root: Path = ROOT) -> dict[str, Any]:
    """What a profile keeps of its host beside the fingerprint."""
    own = limits(root)
    return {
        "governor": ",".join(governors(root)) or None,
        "cpu_limit": own.cpus,
        "memory_limit_bytes": own.memory_bytes,
        "smt": _text(root / "sys/devices/system/cpu/smt/active").strip() == "1",
        "clock_resolution_ns": clock_resolution_ns(),
    }


def clock_resolution_ns() -> int:
    """The smallest step of the monotonic clock that two readings show."""
    steps = []
    for _ in range(200):
        before = time.monotonic_ns()
        while (now := time.monotonic_ns()) == before:
            pass
        steps.append(now - before)
    return min(steps)


def memory(root: Path = ROOT) -> tuple[int, int, int]:
    """Bytes: all, available, swapped out."""
    rows = {}
    for line in _text(root / "proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        rows[name] = int(rest.split()[0]) * 1024
    swapped = rows.get("SwapTotal", 0) - rows.get("SwapFree", 0)
    return rows.get("MemTotal", 0), rows.get("MemAvailable", 0), swapped


def machine_cores() -> int:
    """Cores of the machine, whatever this process may use."""
    return os.cpu_count() or 1


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.lstrip("-").isdigit() else None
