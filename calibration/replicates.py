"""Refits of disturbed data: what else the fitted costs might have been.

What disturbs a run disturbs more than one of its rows: the residuals of different fits, in one run, go together.  That
share is estimated from the residuals themselves, and a refit disturbs the rows of a run together by as much.  How large
the disturbance of a fit is comes from what it leaves over, moderated by what the others leave: a fit of as many rows as
terms leaves nothing over, and is not exact for that.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from calibration.cpu import FREE, Fitter, Row
from calibration.profiles import ProfileError
from calibration.regression import Fit, Floats, disturbed, fit
from sim.costs import Calibration, CpuCost, Value

#: What all fits together leave over counts as so many free rows of each.
_SHARED_FREEDOM = 2
_MOST_CORRELATION = 0.95
#: First word of a cost -> the fit whose noise one run of that part has.
_FIT_OF = {
    "generator": "generator.app",
    "producer": "producer.client",
    "consumer": "consumer.client",
    "broker": "broker",
    "worker": "worker.app",
    "collector": "collector.app",
}


def plain_fitter(where: str) -> Fitter:
    """Fits to the data as measured.

    Args:
        where: Named by the error if there are too few runs.
    """

    def fitted(name: str, terms: Sequence[str], rows: Sequence[Row]) -> Fit:
        usable = usable_rows(rows)
        if len(usable) < 2:
            raise ProfileError(f"{where}: too few runs to fit {name}")
        found = fit(terms, *_arrays(usable), draws=0, free=FREE.get(name, ()))
        return dataclasses.replace(found, runs=tuple(r[0] for r in usable))

    return fitted


def usable_rows(rows: Sequence[Row]) -> list[Row]:
    """Those with CPU."""
    return [row for row in rows if row[2] > 0]


class Disturbed:
    """Fitters of disturbed data, one a replicate.

    Attributes:
        noise: The relative standard deviation that all fits share.
        correlation: Of what disturbs two rows of one run.
    """

    def __init__(self, fits: Mapping[str, Fit], runs: Sequence[str], rng: np.random.Generator, replicates: int) -> None:
        free = [f.noise**2 for f in fits.values() if f.freedom >= _SHARED_FREEDOM]
        self.noise = float(np.sqrt(np.median(free))) if free else 0.0
        self.correlation = _correlation(fits)
        self._together = {run: rng.standard_normal(replicates) for run in runs}
        self._parts = {part: rng.standard_normal(replicates) for part in _FIT_OF}
        self._kept = {name: tuple(f.terms) for name, f in fits.items()}
        self._sizes: dict[str, Floats] = {}
        self._own: dict[str, Floats] = {}
        for name, f in fits.items():
            freedom = f.freedom + _SHARED_FREEDOM
            squares = float(np.sum(np.square(f.left))) if f.freedom else 0.0
            squares += _SHARED_FREEDOM * self.noise**2
            self._sizes[name] = np.sqrt(squares / rng.chisquare(freedom, replicates))
            self._own[name] = rng.standard_normal((replicates, len(f.left)))

    def fitter(self, replicate: int) -> Fitter:
        """Fits to the data as another measurement might have had them."""

        def fitted(name: str, terms: Sequence[str], rows: Sequence[Row]) -> Fit:
            usable = usable_rows(rows)
            counts, cpu = _arrays(usable)
            together = np.asarray([self._together[run][replicate] for run, _, _ in usable])
            own = np.resize(self._own[name][replicate], len(usable))  # a rest may have lost or won a row
            by = np.sqrt(self.correlation) * together + np.sqrt(1 - self.correlation) * own
            other = disturbed(cpu, self._sizes[name][replicate] * by)
            # What cannot be told apart in the data as measured is not told apart by chance.
            return fit(terms, counts, other, draws=0, judged=False, free=FREE.get(name, ()), keep=self._kept[name])

        return fitted

    def as_one_run(self, calibration: Calibration, replicate: int) -> Calibration:
        """A calibration as one run of its host would have it: every part off by what its fit leaves over.

        How much of that is the run's and how much the counter's nobody knows; latencies feel the run's alone.
        """

        def off(name: str) -> float:
            part = name.partition(".")[0]
            return float(np.exp(self._parts[part][replicate] * self._sizes[_FIT_OF[part]][replicate]))

        cpu = {k: _scaled(c, off(k)) if k.partition(".")[0] in _FIT_OF else c for k, c in calibration.cpu.items()}
        return dataclasses.replace(calibration, cpu=cpu)


def _scaled(cost: CpuCost, factor: float) -> CpuCost:
    def scaled(v: Value) -> Value:
        return Value(v.value * factor, v.lo * factor, v.hi * factor)

    return dataclasses.replace(
        cost,
        fixed_ns=scaled(cost.fixed_ns),
        batch_ns=scaled(cost.batch_ns),
        record_ns=scaled(cost.record_ns),
        point_ns=scaled(cost.point_ns),
        byte_ns=scaled(cost.byte_ns),
        cold_ns=scaled(cost.cold_ns),
    )


def _arrays(rows: Sequence[Row]) -> tuple[Floats, Floats]:
    return np.asarray([r[1] for r in rows], dtype=np.float64), np.asarray([r[2] for r in rows], dtype=np.float64)


def _correlation(fits: Mapping[str, Fit]) -> float:
    """How alike residuals of one run are, over all pairs of rows of all fits; between 0 and nearly 1."""
    by_run: defaultdict[str, list[float]] = defaultdict(list)
    for f in fits.values():
        if f.freedom and f.noise > 0:
            for run, left in zip(f.runs, f.left, strict=True):
                by_run[run].append(left / f.noise)
    products = pairs = 0.0
    for found in by_run.values():
        z = np.asarray(found)
        products += float(np.sum(z) ** 2 - np.sum(z * z))
        pairs += len(z) * (len(z) - 1)
    return float(np.clip(products / pairs, 0.0, _MOST_CORRELATION)) if pairs else 0.0
