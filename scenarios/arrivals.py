"""When every record of a load is due, and which partition it goes to: the same for both backends.

A schedule is an int64 array of nanoseconds since the load began, ascending, all before the horizon; a record's
sequence number is its index.  Nothing here is drawn from a stream: gap r is a function of (seed, r), so a longer
horizon only adds records, and the schedule of a rate is that of another rate stretched.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from scenarios import traces
from scenarios.draw_arrays import Int64s, draw_array, uniform
from scenarios.draws import PURPOSE_GAP, PURPOSE_PARTITION
from scenarios.spec import S_NS, Arrival, Scenario

GENERATOR = 0  # component of the draws

_INT64 = 2**63
_BLOCK = 1 << 16


def schedule(
    arrival: Arrival, horizon_ns: int, seed: int, *, producer: int = 0, producers: int = 1, limit: int | None = None
) -> Int64s:
    """Due times of the records of a load, in ns since it began.

    Args:
        arrival: The arrival process.
        horizon_ns: Length of the load; every time is below it.
        seed: ``workload.seed``.
        producer: Which producer's share to give: the records whose sequence is this modulo `producers`.
        producers: How many producers share the schedule.
        limit: At most this many records in all (``workload.records``); the rest is not computed where that is cheap.

    Returns:
        int64, ascending.

    Raises:
        ScenarioError: The trace file cannot be read.
    """
    if horizon_ns <= 0 or (limit is not None and limit <= 0):
        return np.empty(0, dtype=np.int64)
    times = _KINDS[arrival.kind](arrival, horizon_ns, seed, limit)
    return times[:limit][producer::producers]


def partition_of(scenario: Scenario, n: int) -> Int64s:
    """Partition of each of the first n records by sequence (a backlog's come first).

    Returns:
        int64 of shape (n,), each from 0 to ``broker.partitions`` - 1.
    """
    return partition_from(scenario, 0, n)


def partition_from(scenario: Scenario, first: int, n: int) -> Int64s:
    """Partition of each of the n records from sequence `first` on, as `partition_of` has them."""
    sequence = np.arange(first, first + n, dtype=np.int64)
    if scenario.workload.partitioner == "round-robin":
        return sequence % scenario.broker.partitions
    return draw_array(scenario.workload.seed, GENERATOR, sequence, PURPOSE_PARTITION, 0) % scenario.broker.partitions


def evenly(rate_per_s: float, length_ns: int, limit: int | None = None) -> Int64s:
    """Record i at floor(i / rate), exactly, for all i / rate below `length_ns`.

    The rate counts as the decimal number it is written as: 0.1 /s is one record each 10,000,000,000 ns.
    """
    if rate_per_s <= 0:
        return np.empty(0, dtype=np.int64)
    gap = S_NS / Fraction(repr(float(rate_per_s)))
    n = math.ceil(length_ns / gap)
    n = n if limit is None else min(n, limit)
    return _even(gap, 0, n)


def _even(gap: Fraction, begin: int, end: int) -> Int64s:
    """Floor(i * gap) for i from `begin` to `end`, exactly."""
    n = end - begin
    whole, rest = divmod(gap.numerator, gap.denominator)  # gap = whole + rest / denominator
    # Blocks keep index * rest inside int64; a rate of few digits needs one.
    block = max(1, min(n, (_INT64 - gap.denominator) // max(rest, 1) - 1))
    times = np.empty(n, dtype=np.int64)
    for first in range(0, n, block):
        index = np.arange(min(block, n - first), dtype=np.int64)
        start, carried = divmod((begin + first) * gap.numerator, gap.denominator)
        times[first : first + len(index)] = start + index * whole + (index * rest + carried) // gap.denominator
    return times


def _constant(arrival: Arrival, horizon_ns: int, seed: int, limit: int | None) -> Int64s:
    return evenly(arrival.rate_per_s, horizon_ns, limit)


def _poisson(arrival: Arrival, horizon_ns: int, seed: int, limit: int | None) -> Int64s:
    return _renewal(arrival.rate_per_s, horizon_ns, seed, limit, _gap_of(arrival))


def _gamma(arrival: Arrival, horizon_ns: int, seed: int, limit: int | None) -> Int64s:
    return _renewal(arrival.rate_per_s, horizon_ns, seed, limit, _gap_of(arrival))


def _gap_of(arrival: Arrival) -> Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]:
    """What maps uniforms to gaps of mean 1: of a Poisson or a gamma process."""
    if arrival.kind == "poisson":
        return lambda u: -np.log1p(-u)
    from scipy.special import gammaincinv

    cv = 1.0 if arrival.cv is None else arrival.cv
    shape = 1.0 / (cv * cv)

    def gap(u: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        quantiles: npt.NDArray[np.float64] = gammaincinv(shape, u) / shape
        return quantiles

    return gap


def _renewal(
    rate_per_s: float,
    horizon_ns: int,
    seed: int,
    limit: int | None,
    gap: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]],
) -> Int64s:
    """Independent gaps of mean 1 / rate: `gap` maps uniforms to gaps of mean 1.  Gap r is keyed by record r."""
    if rate_per_s <= 0:
        return np.empty(0, dtype=np.int64)
    mean_ns = S_NS / rate_per_s
    expected = int(horizon_ns / mean_ns)
    block = min(expected + 4 * math.isqrt(expected) + 64, 1 << 22)
    blocks: list[Int64s] = []
    last, first = 0, 0
    while last < horizon_ns and (limit is None or first < limit):
        times = last + _cumulative(_gaps(first, block, mean_ns, horizon_ns, seed, gap), horizon_ns)
        blocks.append(times)
        last, first = int(times[-1]), first + block
        block = _BLOCK
    merged = np.concatenate(blocks)
    return merged[: int(np.searchsorted(merged, horizon_ns))]


def _gaps(
    first: int,
    count: int,
    mean_ns: float,
    horizon_ns: int,
    seed: int,
    gap: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]],
) -> Int64s:
    """The gaps before `count` records from sequence `first` on."""
    u = uniform(draw_array(seed, GENERATOR, np.arange(first, first + count, dtype=np.int64), PURPOSE_GAP, 0))
    return np.rint(np.minimum(gap(u) * mean_ns, float(horizon_ns))).astype(np.int64)


def _cumulative(gaps: Int64s, horizon_ns: int) -> Int64s:
    """Running sums, cut after the first that reaches the horizon (so they stay inside int64)."""
    rough = np.cumsum(gaps.astype(np.float64))
    cut = int(np.searchsorted(rough, 2.0 * horizon_ns)) + 1
    sums: Int64s = np.cumsum(gaps[:cut])
    return sums


def _bursty(arrival: Arrival, horizon_ns: int, seed: int, limit: int | None) -> Int64s:
    """Crayfish's bursts: a low and a high phase by turns, each with a limiter of its own.

    A limiter that idled keeps the permits of at most `limiter_credit` (Guava's keeps 1 s).  So at a switch the records
    of that time come at once, and the phase goes on at its rate: record i of a phase of rate R that begins at T is due
    at T + max(0, i / R - credit).  The first low phase meets a new limiter, which holds nothing.
    """
    phases: list[Int64s] = []
    start, found, at = 0, 0, 0
    while start < horizon_ns and (limit is None or found < limit):
        low = at % 2 == 0
        length = arrival.low_ns if low else arrival.high_ns
        idle = 0 if at == 0 else (arrival.high_ns if low else arrival.low_ns)
        credit = min(arrival.limiter_credit_ns, idle)
        rate = float(
            Fraction(repr(arrival.rate_per_s)) * Fraction(repr(arrival.low_factor if low else arrival.high_factor))
        )
        times = start + np.maximum(evenly(rate, length + credit) - credit, 0)
        phases.append(times)
        start, found, at = start + length, found + len(times), at + 1
    merged = np.concatenate(phases)
    return merged[: int(np.searchsorted(merged, horizon_ns))]


def _ramp(arrival: Arrival, horizon_ns: int, seed: int, limit: int | None) -> Int64s:
    """Record i where the integral of the rate, linear from one end of the load to the other, reaches i.

    With r0 t + (r1 - r0) t^2 / 2H = i: t = 2 i / (r0 + sqrt(r0^2 + 2 i (r1 - r0) / H)).
    """
    begin, end = arrival.rate_per_s, arrival.to_rate_per_s or 0.0
    horizon_s = horizon_ns / S_NS
    n = math.ceil((begin + end) / 2 * horizon_s)
    n = n if limit is None else min(n, limit)
    index = np.arange(n, dtype=np.float64)
    root = np.sqrt(np.maximum(begin * begin + 2 * index * (end - begin) / horizon_s, 0.0))
    with np.errstate(invalid="ignore"):
        seconds = np.where(index == 0, 0.0, 2 * index / (begin + root))
    times = np.maximum.accumulate((seconds * S_NS).astype(np.int64)) if n else np.empty(0, dtype=np.int64)
    return times[: int(np.searchsorted(times, horizon_ns))]


def _square(arrival: Arrival, horizon_ns: int, seed: int, limit: int | None) -> Int64s:
    """Record i where the integral of the rate, by turns `rate` and `to_rate` for half a period each, reaches i."""
    low, high = arrival.rate_per_s, arrival.to_rate_per_s or 0.0
    assert arrival.period_ns is not None, "the schema gives a square wave its period"
    half_s = arrival.period_ns / 2 / S_NS
    each = (low + high) * half_s  # records of one period
    if each <= 0:
        return np.empty(0, dtype=np.int64)
    n = math.ceil(horizon_ns / arrival.period_ns * each + each) + 1
    n = n if limit is None else min(n, limit)
    index = np.arange(n, dtype=np.float64)
    periods = np.floor(index / each)
    inside = np.maximum(index - periods * each, 0.0)
    first = low * half_s
    with np.errstate(divide="ignore", invalid="ignore"):
        seconds = np.where(inside < first, inside / low, half_s + (inside - first) / high)
    offsets = np.minimum((seconds * S_NS).astype(np.int64), arrival.period_ns - 1)
    times = np.maximum.accumulate(periods.astype(np.int64) * arrival.period_ns + offsets)
    return times[: int(np.searchsorted(times, horizon_ns))]


def _trace(arrival: Arrival, horizon_ns: int, seed: int, limit: int | None) -> Int64s:
    """A file's counts, spread evenly inside their intervals, or its gaps.  Where the file ends the load ends."""
    assert arrival.path is not None, "the schema gives a trace its path"
    values = traces.read(arrival.path, arrival.trace_kind)
    if arrival.trace_kind == "gaps":
        unit_ns = arrival.interval_ns / arrival.scale
        gaps = np.rint(np.minimum(values * unit_ns, float(horizon_ns))).astype(np.int64)
        times = _cumulative(gaps, horizon_ns)
        return times[: int(np.searchsorted(times, horizon_ns))]
    values = values[: math.ceil(horizon_ns / arrival.interval_ns)]
    # Scaled counts are whole again by rounding the running total, so no record is lost to rounding each.
    totals = np.floor(np.cumsum(values) * arrival.scale + 1e-9).astype(np.int64)
    counts = np.diff(totals, prepend=0)
    begins = np.repeat(np.arange(len(counts), dtype=np.int64) * arrival.interval_ns, counts)
    rank = np.arange(len(begins), dtype=np.int64) - np.repeat(totals - counts, counts)
    each = np.repeat(counts, counts)
    step, rest = np.divmod(arrival.interval_ns, each)
    spread: Int64s = begins + rank * step + rank * rest // each
    return spread[: int(np.searchsorted(spread, horizon_ns))]


def blocks(arrival: Arrival, horizon_ns: int, seed: int, *, size: int, limit: int | None = None) -> Iterator[Int64s]:
    """The times of `schedule` in blocks of at most `size`, none of them empty.

    Of constant, Poisson and gamma processes no more than a block is in memory; of the others it is the whole schedule,
    8 bytes a record.

    Raises:
        ScenarioError: The trace file cannot be read.
    """
    if arrival.kind == "constant" and arrival.rate_per_s > 0 and horizon_ns > 0:
        gap = S_NS / Fraction(repr(float(arrival.rate_per_s)))
        n = math.ceil(horizon_ns / gap)
        n = n if limit is None else min(n, limit)
        for first in range(0, n, size):
            yield _even(gap, first, min(first + size, n))
    elif arrival.kind in ("poisson", "gamma") and arrival.rate_per_s > 0 and horizon_ns > 0:
        last, first, inverse = 0, 0, _gap_of(arrival)
        while limit is None or first < limit:
            count = size if limit is None else min(size, limit - first)
            gaps = _gaps(first, count, S_NS / arrival.rate_per_s, horizon_ns, seed, inverse)
            times = last + _cumulative(gaps, horizon_ns)
            inside = int(np.searchsorted(times, horizon_ns))
            if inside:
                yield times[:inside]
            if inside < count:
                return
            last, first = int(times[-1]), first + count
    else:
        whole = schedule(arrival, horizon_ns, seed, limit=limit)
        for first in range(0, len(whole), size):
            yield whole[first : first + size]


_KINDS: dict[str, Callable[[Arrival, int, int, int | None], Int64s]] = {
    "constant": _constant,
    "poisson": _poisson,
    "gamma": _gamma,
    "bursty": _bursty,
    "ramp": _ramp,
    "square": _square,
    "trace": _trace,
}
