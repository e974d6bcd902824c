"""Calls of a server from several threads at a time: how long each took, and what became of those that failed."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from real.servers.protocols import client
from real.servers.protocols.base import Address, CallError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


@dataclass
class Load:
    """Callers that call as fast as they are answered, until a number of calls is made or they are stopped.

    Attributes:
        took_s: Of each call that was answered.
        failed: Kind of failure -> calls.
        elapsed_s: From the first call to the last answer; set at the end.
    """

    address: Address
    x: Floats
    callers: int = 1
    calls: int = 200
    timeout_s: float = 30.0
    took_s: list[float] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)
    elapsed_s: float = 0.0

    def __post_init__(self) -> None:
        self._left = self.calls
        self._lock, self._stopping = threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._call, daemon=True) for _ in range(self.callers)]
        self._began = 0.0

    def start(self) -> Load:
        """Begins."""
        self._began = time.perf_counter()
        for thread in self._threads:
            thread.start()
        return self

    def join(self) -> Load:
        """Waits for the last answer."""
        for thread in self._threads:
            thread.join()
        self.elapsed_s = time.perf_counter() - self._began
        return self

    def stop(self) -> Load:
        """No further call is made."""
        self._stopping.set()
        return self.join()

    @property
    def done(self) -> int:
        """Calls that were answered or failed."""
        with self._lock:
            return len(self.took_s) + self.failed.total()

    @property
    def median_ms(self) -> float:
        """Of the calls that were answered."""
        import numpy as np

        return float(np.median(self.took_s)) * 1e3 if self.took_s else float("nan")

    def _call(self) -> None:
        caller = client(self.address)
        while not self._stopping.is_set():
            with self._lock:
                if self._left == 0:
                    break
                self._left -= 1
            began = time.perf_counter()
            try:
                caller.call(self.x, self.timeout_s)
            except CallError as error:
                with self._lock:
                    self.failed[error.kind] += 1
            else:
                with self._lock:
                    self.took_s.append(time.perf_counter() - began)
        caller.close()
