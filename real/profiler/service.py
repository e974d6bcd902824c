"""Full batches: every replica scores one batch after the other, and its own clock says how long each took."""

from __future__ import annotations

import select
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from real.profiler.wire import Link

Int64s = npt.NDArray[np.int64]

#: An order keeps a replica busy for so long: then neither the socket nor the driver is in the way.
_ORDER_NS = 60_000_000
_MOST_TIMES = 2_000
_DEPTH = 2  # orders a replica holds: it never waits for the next
_LOOK_S = 0.5


@dataclass(frozen=True, slots=True)
class Batches:
    """Batches in the order of their answers.

    Attributes:
        replica: Which scored it.
        began: ns since the start.
        ended: ns since the start.
        cpu: ns of CPU.
        idle: ns that its replica had nothing to do before it.
        wall_s: From the start to the last answer.
    """

    replica: Int64s
    began: Int64s
    ended: Int64s
    cpu: Int64s
    idle: Int64s
    wall_s: float

    @property
    def took(self) -> Int64s:
        """What each took, ns."""
        return self.ended - self.began

    def rates_per_s(self, replicas: int) -> list[float]:
        """Batches a second of each replica, from its first batch's beginning to its last one's end."""
        found = []
        for k in range(replicas):
            own = self.replica == k
            if not own.any():
                found.append(0.0)
                continue
            found.append(int(own.sum()) / ((int(self.ended[own].max()) - int(self.began[own].min())) / 1e9))
        return found

    def starved(self, replicas: int) -> float:
        """Share of the time that replicas wait for the driver, the worst one's; the wait for the first order apart."""
        shares = [0.0]
        for k in range(replicas):
            own = self.replica == k
            if own.any():
                span = int(self.ended[own].max()) - int(self.began[own].min())
                shares.append(float(self.idle[own][1:].sum()) / max(1, span))
        return max(shares)

    def busy(self, replicas: int) -> float:
        """Share of the time that replicas score, the shortest-handed one's."""
        shares = []
        for k in range(replicas):
            own = self.replica == k
            if not own.any():
                return 0.0
            span = int(self.ended[own].max()) - int(self.began[own].min())
            shares.append(float(self.took[own].sum()) / max(1, span))
        return min(shares)


def full_batches(links: Sequence[Link], batch: int, duration_s: float, batch_ns: Sequence[float]) -> Batches:
    """Keeps replicas busy with full batches for a time; what would not end in time is not begun.

    Args:
        links: The replicas.
        batch: Points of a batch.
        duration_s: For how long; one batch a replica is scored whatever it takes.
        batch_ns: What a batch takes each replica, roughly.

    Raises:
        HungUpError: A replica is gone.
    """
    rows: list[tuple[int, int, int, int, int]] = []
    start = time.monotonic_ns()
    end = start + int(duration_s * 1e9)
    took = [max(1.0, each) for each in batch_ns]
    given: list[dict[int, int]] = [{} for _ in links]  # order -> times
    numbers, scored = 0, [0] * len(links)
    places = {link.fileno(): k for k, link in enumerate(links)}

    def feed(k: int) -> None:
        nonlocal numbers
        while len(given[k]) < _DEPTH:
            left = (end - time.monotonic_ns()) / took[k] - sum(given[k].values())
            times = min(max(1, int(_ORDER_NS / took[k])), _MOST_TIMES, int(left))
            if times < 1 and (scored[k] or given[k]):
                return
            given[k][numbers] = max(1, times)
            links[k].send(numbers, batch, max(1, times))
            numbers += 1

    for k in range(len(links)):
        feed(k)
    while any(given):
        ready, _, _ = select.select([link for link in links if link.waiting], [], [], _LOOK_S)
        for link in ready:
            k = places[link.fileno()]
            for answer in link.read():
                del given[k][answer.number]
                scored[k] += len(answer.stamps)
                for i, (began, ended, cpu) in enumerate(answer.stamps):
                    rows.append((k, began - start, ended - start, cpu, 0 if i else answer.idle_ns))
                own = [ended - began for began, ended, _ in answer.stamps]
                took[k] = max(1.0, (answer.stamps[-1][1] - answer.stamps[0][0]) / len(own))
            feed(k)
    table = np.asarray(rows, np.int64).reshape(-1, 5)
    wall_s = (time.monotonic_ns() - start) / 1e9
    return Batches(table[:, 0], table[:, 1], table[:, 2], table[:, 3], table[:, 4], wall_s)
