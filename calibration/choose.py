"""Which points to measure next: those from which the predictions of all others would learn most.

The sets of parameters that a fit keeps say how far each prediction may be off and which go together.  A measurement of
one point, as noisy as runs are, would narrow all predictions that go with it; the next point is the one after which the
predictions' variances, summed in logarithms over all candidates and metrics, are smallest, given those chosen before.
What is wrong with the model itself no such reckoning knows: points far from everything measured are worth a run for
that alone.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.check import DRAIN_METRICS, PACED_METRICS, Point, scenario_at
from scenarios.spec import Check, Scenario
from sim import kept, uncertainty
from sim.costs import Calibration

Floats = NDArray[np.float64]
#: Candidate rates: this many, evenly spaced in the logarithm, from the lowest measured to what the check is about.
_RATES = 5
#: Sets of parameters that speak.
_SETS = 40
#: Relative standard deviation of one run, where the fit does not say.
_NOISE = 0.05


@dataclass(frozen=True, slots=True)
class Choice:
    """A point worth a run.

    Attributes:
        point: What to run.
        widest: The metric whose interval is widest there, and that width: its 90 % interval over its middle.
        gain: Share of all candidates' variance, as it was before this choice, that measuring it would take away.
    """

    point: Point
    widest: tuple[str, float]
    gain: float

    @property
    def why(self) -> str:
        """In words."""
        name, width = self.widest
        return f"{name} there is known to {width:.0%}; a run takes {self.gain:.0%} of what is still open everywhere"


def candidates(base: Scenario, calibration: Calibration) -> list[Point]:
    """Rates and backlogs that a check could run: not those of the fit."""
    settings = base.check or Check()
    low, high = calibration.ranges.get("rate_per_s", (100.0, 400.0))
    high = max(high * 2, *settings.rates_per_s) if settings.rates_per_s else high * 2
    rates = [float(f"{r:.2g}") for r in np.geomspace(low * 0.7, high, _RATES)]
    known = {(r["rate_per_s"], r["parallelism"]) for r in calibration.fit.get("seen", ())}
    levels = sorted({*settings.parallelism, 1, 2})
    found = [Point("rate", n, r) for n in levels for r in dict.fromkeys(rates) if (r, n) not in known]
    return [*found, *(Point("drain", n, None) for n in levels if (None, n) not in known)]


def choose(
    base: Scenario,
    calibration: Calibration,
    count: int,
    *,
    root: Path,
    processes: int | None = None,
    progress: kept.Progress | None = None,
) -> list[Choice]:
    """The points that would teach most, best first, each once.

    Args:
        base: A scenario with a `check:` section.
        calibration: One that keeps sets of parameters.
        count: How many; no more than there are candidates.
        root: Folder of runs: simulations are kept as a sweep's are.
        processes: As of a sweep.
        progress: As of a sweep.

    Raises:
        CalibrationError: It keeps none.
    """
    points = candidates(base, calibration)
    prepared = base if base.check is not None else dataclasses.replace(base, check=Check())
    scenarios: list[tuple[dict[str, Any], Scenario]] = [({}, scenario_at(prepared, p)) for p in points]
    kept_sets = len(uncertainty.sets(calibration))
    sets = min(_SETS, kept_sets) if kept_sets >= uncertainty.FEWEST_SETS else _SETS
    found = uncertainty.samples(
        scenarios, [calibration] * len(points), sets, seed=1, root=root, processes=processes, progress=progress
    )
    owner, names, columns = [], [], []
    for at, (p, metrics) in enumerate(zip(points, found, strict=True)):
        for name in DRAIN_METRICS if p.kind == "drain" else PACED_METRICS:
            values = [m.get(name) for m in metrics]
            if all(v is not None and v > 0 for v in values):
                owner.append(at)
                names.append(name)
                columns.append(np.log(np.asarray(values, dtype=np.float64)))
    samples = np.asarray(columns).T
    widths = [math.expm1(float(np.subtract(*uncertainty.interval(column.tolist())[::-1]))) for column in samples.T]
    covariance = np.cov(samples, rowvar=False)
    noise = float(calibration.fit.get("run_noise") or _NOISE) ** 2
    chosen = []
    for at, gain in greedy(covariance, owner, noise, min(count, len(points))):
        mine = [k for k, who in enumerate(owner) if who == at]
        widest = max(mine, key=lambda k: widths[k])
        chosen.append(Choice(points[at], (names[widest], widths[widest]), gain))
    return chosen


def greedy(covariance: Floats, owner: Sequence[int], noise: float, count: int) -> list[tuple[int, float]]:
    """Points by what measuring them would take of the whole variance, each given those before it.

    Args:
        covariance: Of all predictions, shape (predictions, predictions).
        owner: The point of each prediction.
        noise: Variance of one measurement.
        count: How many points.

    Returns:
        (point, share of the variance left before that it takes away), best first.
    """
    left = covariance.copy()
    chosen: list[tuple[int, float]] = []
    there = list(dict.fromkeys(owner))
    for _ in range(min(count, len(there))):
        whole = float(np.trace(left))
        best: tuple[float, int, Floats] | None = None
        for point in there:
            if point in dict(chosen):
                continue
            mine = [k for k, who in enumerate(owner) if who == point]
            inner = left[np.ix_(mine, mine)] + noise * np.eye(len(mine))
            taken = left[:, mine] @ np.linalg.solve(inner, left[mine, :])
            gain = float(np.trace(taken))
            if best is None or gain > best[0]:
                best = (gain, point, taken)
        assert best is not None
        gain, point, taken = best
        chosen.append((point, gain / whole if whole > 0 else 0.0))
        left = left - taken
    return chosen
