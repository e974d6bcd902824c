"""A block bootstrap of whole runs: how sure each metric of one run is, and how two runs move together.

Records that are near in time wait in one queue, so they are not drawn one by one but in blocks of time (Carlstein
1986), all metrics from the same blocks.  Two runs of one schedule are drawn with the same blocks: what they have in
common then cancels from the difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.difference import Estimate
from analysis.metrics import DRAIN_FROM, DRAIN_TO, LATENCY_CLOCKS, PERCENTILES, SHARES, accounted, ended
from analysis.records import Columns
from analysis.window import in_window, window_ns
from scenarios.spec import MS_NS, S_NS, Scenario

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RESAMPLES = 1000
#: Blocks tried, most first; the first of which neighbours are not correlated are taken.
BLOCKS = (64, 32, 16, 8)
#: A block holds so many records on average at least.
_FEWEST = 10
#: A correlation of neighbours above this many standard errors, as one in ten has by chance, says blocks are too short.
_SIGNIFICANT = 1.28
#: Values of a distribution are kept one by one up to this many, beyond in bins finer towards the tail.
_GRID = 2000


@dataclass(frozen=True, slots=True)
class Blocked:
    """A run cut into blocks; every part says how a metric comes from the weights of its blocks.

    Attributes:
        means: Metric -> sums and counts of each block.
        rates: Metric -> counts of each block.
        percentiles: Metric -> (place in `grids`, quantile).
        grids: Ascending values, and how many of each block are at each.
    """

    means: dict[str, tuple[Floats, Floats]]
    rates: dict[str, Floats]
    percentiles: dict[str, tuple[int, float]]
    grids: list[tuple[Floats, Floats]]

    def drawn(self, weights: Floats, seconds: Mapping[str, float]) -> dict[str, Floats]:
        """Every metric under each row of weights, by block."""
        found: dict[str, Floats] = {}
        with np.errstate(invalid="ignore", divide="ignore"):
            for name, (sums, counts) in self.means.items():
                found[name] = weights @ sums / (weights @ counts)
        for name, counts in self.rates.items():
            found[name] = weights @ counts / seconds[name]
        below = [np.cumsum(weights @ counts, axis=1) for _, counts in self.grids]
        for name, (grid, quantile) in self.percentiles.items():
            found[name] = _read(below[grid], self.grids[grid][0], quantile)
        return found

    def coarse(self, name: str, value: float) -> float:
        """Variance of a percentile for want of values between its neighbours: a clock of milliseconds, say."""
        if name not in self.percentiles:
            return 0.0
        grid = self.grids[self.percentiles[name][0]][0]
        at = min(int(np.searchsorted(grid, value)), len(grid) - 1)
        return float(grid[at] - grid[at - 1]) ** 2 / 12 if at else 0.0


@dataclass(frozen=True, slots=True)
class Cutting:
    """Into how many blocks runs are cut; `long` where neighbours are correlated even in the longest blocks."""

    blocks: int
    long: bool


def cutting(sides: Sequence[tuple[Scenario, Columns]]) -> Cutting | None:
    """The blocks to cut runs into; None where one has too few records for any."""
    fewest = min(int(np.count_nonzero(in_window(*side))) or _drained(*side)[0] for side in sides)
    possible = [n for n in BLOCKS if n * _FEWEST <= fewest]
    for blocks in possible:
        if all(_apart(_latency_means(*side, blocks), blocks) for side in sides):
            return Cutting(blocks, long=False)
    return Cutting(possible[-1], long=True) if possible else None


def estimates(
    a: tuple[Scenario, Columns, Mapping[str, float | None]],
    b: tuple[Scenario, Columns, Mapping[str, float | None]],
    blocks: int,
    *,
    paired: bool,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Every metric that both runs have, with an interval where their records give one.

    Args:
        a: What was run, its records and its metrics.
        b: The other run.
        blocks: How many.
        paired: Whether both have the same schedule, and are drawn with the same blocks.
        resamples: How many.
        seed: Of the draws.
    """
    rng = np.random.default_rng(seed)
    weights = [_weights(rng, resamples, blocks) for _ in range(1 if paired else 2)]
    cut = [_blocked(*side[:2], blocks) for side in (a, b)]
    drawn = [
        each.drawn(w, _seconds(*side)) for each, w, side in zip(cut, (weights[0], weights[-1]), (a, b), strict=True)
    ]
    found: dict[str, Estimate] = {}
    for name, value in a[2].items():
        other = b[2].get(name)
        if value is None or other is None:
            continue
        if name not in drawn[0] or name not in drawn[1]:
            found[name] = Estimate(value, other)
            continue
        both = np.stack([drawn[0][name], drawn[1][name]])
        both = both[:, np.isfinite(both).all(axis=0)]
        cov = np.cov(both) * (blocks / (blocks - 1))
        coarse = [side.coarse(name, at) for side, at in zip(cut, (value, other), strict=True)]
        shared = min(coarse) if value == other else 0.0  # the same rounding on both sides
        found[name] = Estimate(
            value,
            other,
            float(cov[0, 0]) + coarse[0],
            float(cov[1, 1]) + coarse[1],
            float(cov[0, 1]) + shared if paired else 0.0,
            blocks - 1,
        )
    return found


def _blocked(scenario: Scenario, records: Columns, blocks: int) -> Blocked:
    inside = in_window(scenario, records)
    begin, end = window_ns(scenario, records)
    created, sent = np.asarray(records["created"]), np.asarray(records["sent"])
    block = np.clip((created - begin) * blocks // max(1, end - begin), 0, blocks - 1)
    found = Blocked({}, {}, {}, [])
    for clock, column in LATENCY_CLOCKS.items():
        stamp = np.asarray(records[column])
        known = inside & (stamp >= 0)
        _distribution(found, f"latency_{clock}_ms_", block[known], (stamp[known] - created[known]) / MS_NS, blocks)
    known = inside & (sent >= 0)
    _distribution(found, "generator_lag_ms_", block[known], (sent[known] - created[known]) / MS_NS, blocks)
    if inside.any():
        of = accounted(scenario, records)
        for name in SHARES:
            found.means[name] = _sums(block[of], ended(records, name)[of].astype(np.float64), blocks)
    within = (sent >= begin) & (sent < end)
    out = np.asarray(records["out_appended"])
    if inside.any():
        found.rates["offered_per_s"] = _counts(block[inside], blocks)
        found.rates["achieved_per_s"] = _counts((sent[within] - begin) * blocks // (end - begin), blocks)
    for name in ("throughput_per_s", "throughput_gen_per_s"):
        _rate(found, name, out[inside & (out >= 0)], blocks)
    _rate(found, "drain_throughput_per_s", _drained(scenario, records)[1], blocks)
    return found


def _seconds(scenario: Scenario, records: Columns, values: Mapping[str, float | None]) -> dict[str, float]:
    """What the counts of each rate are divided by: nothing drawn makes of it the run's own figure."""
    begin, end = window_ns(scenario, records)
    out = np.asarray(records["out_appended"])
    answered = int(np.count_nonzero(in_window(scenario, records) & (out >= 0)))
    found = dict.fromkeys(("offered_per_s", "achieved_per_s"), (end - begin) / S_NS)
    for name in ("throughput_per_s", "throughput_gen_per_s", "drain_throughput_per_s"):
        count = len(_drained(scenario, records)[1]) if name.startswith("drain") else answered
        found[name] = count / (values.get(name) or 1.0) or 1.0
    return found


def _drained(scenario: Scenario, records: Columns) -> tuple[int, Ints]:
    """How many records of a backlog came out, and when those did that its rate is of."""
    backlog = scenario.workload.backlog_records
    out = np.asarray(records["out_appended"])[np.asarray(records["sequence"]) < backlog]
    out = np.sort(out[out >= 0])
    if not len(out):
        return 0, out
    begin, end = (out[max(0, round(share * len(out)) - 1)] for share in (DRAIN_FROM, DRAIN_TO))
    return len(out), out[(out > begin) & (out <= end)]


def _rate(found: Blocked, name: str, at: Ints, blocks: int) -> None:
    if len(at) > 1 and at.max() > at.min():
        first = int(at.min())
        found.rates[name] = _counts(np.minimum((at - first) * blocks // int(at.max() - first), blocks - 1), blocks)


def _distribution(found: Blocked, lead: str, block: Ints, values: Floats, blocks: int) -> None:
    if not len(values):
        return
    found.means[f"{lead}mean"] = _sums(block, values, blocks)
    carried = {name: quantile for name, (quantile, fewest) in PERCENTILES.items() if len(values) >= fewest}
    if not carried:
        return
    grid = np.unique(values)
    if len(grid) > _GRID:
        tail = 1 - np.logspace(-1, -5, _GRID // 2)
        grid = np.unique(np.quantile(values, np.concatenate([np.linspace(0, 1, _GRID // 2), tail])))
    place = np.minimum(np.searchsorted(grid, values), len(grid) - 1)
    counts = np.bincount(block * len(grid) + place, minlength=blocks * len(grid)).reshape(blocks, len(grid))
    found.grids.append((grid, counts.astype(np.float64)))
    found.percentiles.update({f"{lead}{name}": (len(found.grids) - 1, quantile) for name, quantile in carried.items()})


def _read(below: Floats, grid: Floats, quantile: float) -> Floats:
    """The quantile of each row of cumulated counts, between the values of a grid."""
    wanted = quantile * below[:, -1]
    at = np.minimum((below < wanted[:, None]).sum(axis=1), len(grid) - 1)
    before = np.maximum(at - 1, 0)
    rows = np.arange(len(below))
    low, high = np.where(at > 0, below[rows, before], 0.0), below[rows, at]
    share = np.where(high > low, (wanted - low) / np.where(high > low, high - low, 1.0), 1.0)
    result: Floats = grid[before] + np.clip(share, 0.0, 1.0) * (grid[at] - grid[before])
    return result


def _weights(rng: np.random.Generator, resamples: int, blocks: int) -> Floats:
    return rng.multinomial(blocks, np.full(blocks, 1 / blocks), resamples).astype(np.float64)


def _latency_means(scenario: Scenario, records: Columns, blocks: int) -> Floats:
    """The mean latency in each block; of a drained backlog, the count of outputs."""
    begin, end = window_ns(scenario, records)
    created = np.asarray(records["created"])
    for column in ("acked", "out_appended"):
        stamp = np.asarray(records[column])
        known = in_window(scenario, records) & (stamp >= 0)
        if known.any():
            block = np.minimum((created[known] - begin) * blocks // max(1, end - begin), blocks - 1)
            sums, counts = _sums(block, (stamp[known] - created[known]).astype(np.float64), blocks)
            result: Floats = sums[counts > 0] / counts[counts > 0]
            return result
    drained = Blocked({}, {}, {}, [])
    _rate(drained, "drain", _drained(scenario, records)[1], blocks)
    return drained.rates.get("drain", np.zeros(blocks))


def _apart(means: Floats, blocks: int) -> bool:
    """Whether neighbours are as good as independent."""
    x = means - means.mean()
    spread = float(x @ x)
    return spread == 0 or float(x[1:] @ x[:-1]) / spread <= _SIGNIFICANT / np.sqrt(blocks)


def _sums(block: Ints, values: Floats, blocks: int) -> tuple[Floats, Floats]:
    sums: Floats = np.bincount(block, weights=values, minlength=blocks).astype(np.float64)
    return sums, _counts(block, blocks)


def _counts(block: Any, blocks: int) -> Floats:
    return np.bincount(block, minlength=blocks).astype(np.float64)
