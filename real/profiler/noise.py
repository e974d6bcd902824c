"""How sure a figure is, how much of the machine others use, and what the harness itself costs: the noise floor."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from analysis.stats import Interval, bootstrap_interval, t_interval
from real import procfs

if TYPE_CHECKING:
    from real.processes import Supervisor

Floats = npt.NDArray[np.float64]

BLOCKS = 20
_FEWEST = 5
#: Cores that others used during a measurement, from which on it is told.
OTHERS_CORES, STEAL_SHARE = 0.15, 0.01
_TRIPS, _BUSY, _FULL_S = 400, 2_000, 0.25


@dataclass(frozen=True, slots=True)
class Others:
    """What the host did beside the measurement."""

    others_cores: float
    stolen_share: float

    def warnings(self) -> list[str]:
        """In words, with what to do about it."""
        found = []
        if self.others_cores > OTHERS_CORES:
            found.append(f"other processes used {self.others_cores:.2g} cores: end them, or measure again with --fresh")
        if self.stolen_share > STEAL_SHARE:
            found.append(f"the hypervisor took {self.stolen_share:.1%} of the cores: use a machine that is not shared")
        return found


class Beside:
    """Watches what others use: made at the start, asked at the end.

    Args:
        ours_ns: CPU of our own processes but this one, now.
    """

    def __init__(self, ours_ns: int) -> None:
        self._ours = ours_ns + time.process_time_ns()
        self._cores, self._at = procfs.cores(), time.monotonic_ns()

    def told(self, ours_ns: int) -> Others:
        """Since then."""
        now, lasted = procfs.cores(), max(1, time.monotonic_ns() - self._at)
        used = sum(now.used_ns) - sum(self._cores.used_ns)
        ours = ours_ns + time.process_time_ns() - self._ours
        stolen = (now.steal_ns - self._cores.steal_ns) / lasted / max(1, len(now.used_ns))
        return Others(max(0.0, (used - ours) / lasted), stolen)


@dataclass(frozen=True, slots=True)
class Floor:
    """What is measured of a model that does nothing.

    Attributes:
        batch_ns: The replica's clock around it, median.
        between_ns: Between two batches of one order, median: what a full batch costs beyond scoring.
        trip_p50_ns: From the driver to an idle replica and back, median.
        trip_p99_ns: The same, 99th percentile.
        driver_ns: CPU of the driver for each batch, sent one after the other.
        trips_per_s: Batches of one replica, one after the other.
        late_p99_ns: How late requests are sent, 99th percentile.
    """

    batch_ns: float
    between_ns: float
    trip_p50_ns: float
    trip_p99_ns: float
    driver_ns: float
    trips_per_s: float
    late_p99_ns: float

    @property
    def most_per_s(self) -> float:
        """Requests a second that are half of what the harness can have answered one by one."""
        return 0.5 * self.trips_per_s

    def row(self) -> dict[str, float]:
        """For JSON."""
        return asdict(self) | {"most_per_s": self.most_per_s}


def floor(supervisor: Supervisor, cores: tuple[int, ...], models: Path) -> Floor:
    """Measures the noise floor with the no-op model; the caller is where the driver will be.

    Args:
        supervisor: Starts the replica.
        cores: The replica's.
        models: Folder of model files.
    """
    from real.profiler.devices import Device
    from real.profiler.fleet import Fleet
    from real.profiler.open_loop import open_loop
    from real.profiler.service import full_batches
    from scenarios.spec import Model

    model = Model(name="noop")
    with Fleet(supervisor, model, "onnx", batch=1, cores=[cores], devices=[Device()], models=models) as fleet:
        fleet.warm(1, 1.0)
        with fleet.watched():
            # A request each 2 ms: the replica is idle before each.
            alone = open_loop(fleet.links, np.arange(_TRIPS) * 2_000_000, 1)
            busy = open_loop(fleet.links, np.zeros(_BUSY, np.int64), 1)
            full = full_batches(fleet.links, 1, _FULL_S, [10_000.0])
    trips = (alone.done - alone.sent)[_TRIPS // 10 :]
    gaps = full.began[1:] - full.ended[:-1]
    return Floor(
        float(np.median(full.took)),
        float(np.median(gaps)),
        float(np.median(trips)),
        float(np.percentile(trips, 99)),
        busy.driver_ns / _BUSY,
        _BUSY / ((int(busy.done.max()) - int(busy.sent.min())) / 1e9),
        float(np.percentile((alone.sent - alone.due)[_TRIPS // 10 :], 99)),
    )


def block_rates(ended: npt.NDArray[np.int64], blocks: int = BLOCKS) -> list[float]:
    """Answers a second in successive blocks of as many answers, one at least; empty of fewer than five answers."""
    at = np.sort(ended)
    if len(at) < _FEWEST:
        return []
    blocks = min(blocks, len(at) - 1)
    edges = np.linspace(0, len(at) - 1, blocks + 1).astype(np.int64)
    return [float((b - a) / max(1, int(at[b] - at[a])) * 1e9) for a, b in pairwise(edges.tolist())]


def interval(repeats: Sequence[float], blocks: Sequence[Sequence[float]]) -> Interval:
    """The 95 % interval of a figure: from the blocks within runs or from the repeats, whichever is wider.

    What a run's own blocks say is too sure where runs differ from each other; what two repeats say, too unsure.

    Args:
        repeats: The figure of each.
        blocks: The same figure in successive blocks of each.
    """
    mean = float(np.mean(repeats))
    halves = []
    within = [block for each in blocks for block in each]
    if len(within) > 1:
        own = t_interval(within)
        assert own.lo is not None
        assert own.hi is not None
        halves.append((own.hi - own.lo) / 2 * (mean / own.mean if own.mean else 1.0))
    if len(repeats) > 2:
        between = t_interval(repeats)
        assert between.lo is not None
        assert between.hi is not None
        halves.append((between.hi - between.lo) / 2)
    elif len(repeats) == 2:
        halves.append(abs(repeats[0] - repeats[1]) / 2)
    if not halves:
        return Interval(mean, None, None)
    half = max(halves)
    return Interval(mean, mean - half, mean + half)


def percentile_interval(
    values: npt.ArrayLike, percent: float, *, blocks: int = BLOCKS, seed: int = 0
) -> tuple[float, float, float]:
    """A percentile and its 95 % interval by a bootstrap of blocks: neighbours wait in one queue.

    Args:
        values: In the order of time; at least as many as blocks.
        percent: 0 to 100.
        blocks: How many.
        seed: Of the draws.

    Returns:
        (percentile, low, high).
    """
    x = np.asarray(values, np.float64)
    cut = np.array_split(x, min(blocks, len(x)))

    def statistic(drawn: Any, axis: int) -> Floats:
        del axis
        return np.array([np.percentile(np.concatenate([cut[int(k)] for k in row]), percent) for row in drawn])

    low, high = bootstrap_interval(np.arange(len(cut)), statistic, resamples=400, seed=seed)
    return float(np.percentile(x, percent)), low, high
