"""Faults of a run: a worker's process is killed (SIGKILL) when its time comes, and started again.

The one that comes back is a new process in the place of the old: it is told that it is a restart, joins, and begins at
once.  What the old one had written to its mapped files is still there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from real.processes import Supervisor
from scenarios.spec import S_NS, Fault

if TYPE_CHECKING:
    from real.cast import Cast
    from real.sampler import Sampler

#: After faults a run is over when nothing has moved for so long: records that are read again are counted once more.
QUIET_NS = S_NS


class Faults:
    """See the module."""

    def __init__(self, faults: Sequence[Fault], cast: Cast, supervisor: Supervisor) -> None:
        self._cast, self._supervisor = cast, supervisor
        self._due = sorted(faults, key=lambda each: each.at_ns)
        self._back: list[tuple[int, str]] = []
        self._coming: list[str] = []
        self._dead: set[str] = set()
        self._any = bool(faults)
        self._moved = (0, -1)

    def step(self, now_ns: int, t0_ns: int, sampler: Sampler) -> bool:
        """Does what is due, waiting for nothing.

        Args:
            now_ns: Since the run's start; 0: no further fault, and who is to come back comes now.
            t0_ns: The run's start.
            sampler: Learns of new processes.

        Returns:
            Whether nobody is on the way back.
        """
        while now_ns and self._due and self._due[0].at_ns <= now_ns:
            self._kill(self._due.pop(0), now_ns)
        for entry in [each for each in self._back if not now_ns or each[0] <= now_ns]:
            self._back.remove(entry)
            self._start(entry[1], sampler)
        for name in list(self._coming):
            process = self._cast.parts[name]
            if process.take("ready") is not None:
                process.order("join")
                process.order("start", t0_ns=t0_ns)
                self._coming.remove(name)
        return not self._coming and not self._back

    def _kill(self, fault: Fault, now_ns: int) -> None:
        name = f"worker.{fault.target.partition('-')[2]}"
        name = self._cast.hosts.get(name, name)  # who dies is the process
        if name in self._dead:
            return
        process = self._cast.parts[name]
        self._supervisor.kill([process])
        self._dead.add(name)
        if name in self._coming:
            self._coming.remove(name)
        if fault.restart_ns is not None:
            self._back.append((now_ns + fault.restart_ns, name))

    def _start(self, name: str, sampler: Sampler) -> None:
        from real.sampler import process_part

        self._cast.restart(name)
        self._dead.discard(name)
        self._coming.append(name)
        sampler.parts[name] = process_part(self._cast.parts[name].pid, self._cast.slots.get(name))

    def settled(self, now_ns: int, moved: int) -> bool:
        """Whether every fault is over, and everything read again has come to its end.

        Args:
            now_ns: Since the run's start.
            moved: A count that grows with everything that is handled.
        """
        if not self._any:
            return True
        if moved != self._moved[0]:
            self._moved = (moved, now_ns)
        quiet = now_ns - self._moved[1] >= QUIET_NS
        return quiet and not self._due and not self._back and not self._coming

    def living(self, names: Sequence[str]) -> list[str]:
        """Those that are not dead."""
        return [name for name in names if name not in self._dead]
