"""The replicas of one cell: started on their cores, ready, warm, and gone when the cell is done."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from real.errors import DeadlineError, HarnessError
from real.processes import Process, Supervisor
from real.procfs import process_cpu_ns
from real.profiler.cores import allowed, listed
from real.profiler.devices import Device
from real.profiler.wire import HungUpError, Link, connect
from scenarios.spec import Model

READY_S = 900.0  # the largest models are exported by the first replica that needs them
_LOOK_S = 0.5
_AGREE, _LEAST_BATCHES, _BLOCK_NS = 0.05, 3, 200_000_000


class Fleet:
    """Replicas of one model, ready to score.

    Attributes:
        links: One to each replica.
        ready: What each said when it was: how long it loaded, versions.
        affinity: The cores each may use, read back from the kernel.
        started_s: How long all of it took.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        model: Model,
        runtime: str,
        *,
        batch: int,
        cores: Sequence[tuple[int, ...]],
        devices: Sequence[Device],
        models: Path,
        seed: int = 0,
    ) -> None:
        """Starts them.

        Raises:
            ChildDiedError: One ended, with its last words: the runtime is missing, or refuses the model.
            DeadlineError: One did not become ready.
            HarnessError: One is not on its cores.
        """
        self._supervisor = supervisor
        self._processes: list[Process] = []
        self.links: list[Link] = []
        began = time.monotonic()
        try:
            for k, (own, device) in enumerate(zip(cores, devices, strict=True)):
                # Short: a Unix socket's path has at most a hundred bytes or so.
                path = supervisor.directory / f"p{time.monotonic_ns():x}.{k}"
                config = {
                    "socket": str(path),
                    "model": dataclasses.asdict(model),
                    "runtime": runtime,
                    "models": str(models.resolve()),
                    "seed": seed,
                    "batch": batch,
                    "cores": own,
                    "device": device.name,
                    "speed": device.speed,
                }
                process = supervisor.python(f"replica-{k}", "real.profiler.replica", config)
                self._processes.append(process)
                if k == 0:  # the model's file is exported once
                    self.ready = [self._ready(process)]
                    self.links.append(connect(path))
                else:
                    self.ready.append(self._ready(process))
                    self.links.append(connect(path))
            self.affinity = [allowed(process.pid) for process in self._processes]
            for process, own, is_on in zip(self._processes, cores, self.affinity, strict=True):
                if is_on != own:
                    raise HarnessError(
                        f"{process.name} is to be on core {listed(own)}, not {listed(is_on) if is_on else 'several'}"
                    )
        except BaseException:
            self.close()
            raise
        self.started_s = time.monotonic() - began

    def _ready(self, process: Process) -> dict[str, Any]:
        end = time.monotonic() + READY_S
        while (said := process.take("ready")) is None:
            if time.monotonic() > end:
                raise DeadlineError(f"{process.name} is not ready after {READY_S:.0f} s")
            self._supervisor.wait(_LOOK_S)
        return said

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def warm(self, batch: int, limit_s: float) -> list[dict[str, float]]:
        """Has every replica score until two successive blocks take the same within 5 %, or the time is up.

        Returns:
            For each: `batches`, `first_ms` (the first batch), `batch_ms` (median of the last block), `settled`.
        """
        return [self._warmed(link, batch, limit_s / len(self.links)) for link in self.links]

    def _warmed(self, link: Link, batch: int, limit_s: float) -> dict[str, float]:
        end = time.monotonic() + limit_s
        first = took = float(self.ask(link, batch, 1)[0])
        before, count, settled = 0.0, 1, False
        while count < _LEAST_BATCHES or (not settled and time.monotonic() + took / 1e9 < end):
            block = self.ask(link, batch, max(1, min(1000, int(_BLOCK_NS / max(took, 1.0)))))
            count += len(block)
            took = statistics.median(block)
            settled = before > 0 and abs(took - before) <= _AGREE * before
            before = took
        return {"batches": count, "first_ms": first / 1e6, "batch_ms": took / 1e6, "settled": settled}

    def ask(self, link: Link, points: int, times: int) -> list[int]:
        """Has one replica score, and waits: ns of each time."""
        with self.watched():
            link.send(0, points, times)
            while not (answers := link.read()):
                pass
        return [ended - began for began, ended, _ in answers[0].stamps]

    def cpu_ns(self) -> list[int]:
        """CPU of each replica so far."""
        return [process_cpu_ns(process.pid) or 0 for process in self._processes]

    def watched(self) -> _Watched:
        """A context in which a replica that hangs up is told as what became of it."""
        return _Watched(self._supervisor, self._processes)

    def close(self) -> None:
        """Ends the replicas."""
        for process in self._processes:
            process.expected = True
        for link in self.links:
            link.close()
        # A replica in the middle of a long batch would not see that its driver is gone.
        self._supervisor.kill(self._processes)
        self._processes, self.links = [], []


class _Watched:
    def __init__(self, supervisor: Supervisor, processes: Sequence[Process]) -> None:
        self._supervisor, self._processes = supervisor, processes

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if not isinstance(error, HungUpError):
            return
        end = time.monotonic() + 5.0
        while time.monotonic() < end:  # its socket ends before the process does
            self._supervisor.wait(0.02)
        raise HarnessError("a replica hung up and still runs") from None
