"""The metrics of a run whose records are not kept: what `analysis.metrics` says, from blocks of records in passing.

Counts, means, throughputs and the lag are those of the records themselves.  Percentiles come from histograms whose
bins are narrower than 0.4 % of what they hold; a value is where it would be if a bin's values lay evenly in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.accounting import accounting, misplaced
from analysis.lag import lag_series
from analysis.metrics import (
    LATENCY_CLOCKS,
    PERCENTILES,
    SHARES,
    Ints,
    Metrics,
    accounted,
    cpu,
    ended,
    lag_slope,
    per_second,
)
from analysis.records import Columns, chosen
from analysis.window import in_window
from scenarios.spec import MS_NS, S_NS, Scenario

#: A bin is this share of the power of two below it: 1 / 2^8.
_BITS = 8
_BINS = (64 - _BITS) << _BITS
_MEANT = ("sent", "appended", "fetched", "score_end", "out_appended")


class Histogram:
    """Counts of int64 values in bins that grow with them; below 2^9 every value has its own, and so have signs."""

    def __init__(self) -> None:
        self.count, self.total = 0, 0
        self._bins = np.zeros(2 * _BINS, dtype=np.int64)  # negative ones first, the greatest first

    def add(self, values: Ints) -> None:
        """Counts values."""
        if not len(values):
            return
        self.count += len(values)
        self.total += int(values.sum())
        size = np.abs(values)
        # Floats know the power of two exactly below 2^53; beyond, a value may come one bin too high.
        shift = np.maximum(np.frexp(size.astype(np.float64))[1] - 1 - _BITS, 0)
        place = (shift.astype(np.int64) << _BITS) + (size >> shift)
        place = np.where(values < 0, _BINS - 1 - place, _BINS + place)
        self._bins += np.bincount(place, minlength=2 * _BINS)

    @property
    def mean(self) -> float | None:
        """The mean of the values themselves."""
        return self.total / self.count if self.count else None

    def quantile(self, share: float) -> float:
        """As `numpy.quantile`: between two values by their distance."""
        rank = share * (self.count - 1)
        low = int(rank)
        first = self._at(low)
        return first + (rank - low) * (self._at(min(low + 1, self.count - 1)) - first)

    def _at(self, rank: int) -> float:
        """The value of a rank, from 0."""
        sums = np.cumsum(self._bins)
        place = int(np.searchsorted(sums, rank, side="right"))
        inside = (rank - (int(sums[place]) - int(self._bins[place])) + 0.5) / int(self._bins[place])
        if place < _BINS:
            begin, width = _edge(_BINS - 1 - place)
            return -(begin + (1 - inside) * width) if width > 1 else -float(begin)
        begin, width = _edge(place - _BINS)
        return begin + inside * width if width > 1 else float(begin)


def _edge(place: int) -> tuple[int, int]:
    """The least value of a bin, and how many it holds."""
    shift = max((place >> _BITS) - 1, 0)
    return (place - (shift << _BITS)) << shift, 1 << shift


class Tally:
    """What is kept of records that passed: sums, and nothing that grows with their number.

    Attributes:
        counts: Of `accounting.accounting`, so far.
        wrong: Of `accounting.misplaced`: the first record that contradicts its outcome.
    """

    def __init__(self, scenario: Scenario, window: tuple[int, int], workers: int) -> None:
        """Of a run with a fixed warm-up and without a backlog.

        Args:
            scenario: What is run.
            window: Of `window.window_ns`.
            workers: How many score.
        """
        self._scenario, self._window, self._workers = scenario, window, workers
        self.counts: dict[str, int] = {}
        self.wrong: str | None = None
        self._inside = self._sent_inside = self._accounted = self._answered = 0
        self._shares = dict.fromkeys(SHARES, 0)
        self._created: int | None = None  # of the answered records of the window, the first
        self._out: tuple[int, int] | None = None  # first and last
        self._latency = {clock: Histogram() for clock in LATENCY_CLOCKS}
        self._late = Histogram()
        self._lag: tuple[Ints, Ints] | None = None
        self._within = dict.fromkeys(_MEANT, 0)
        self._scored = np.zeros(workers, dtype=np.int64)
        self._busy_ns = np.zeros(workers, dtype=np.int64)
        self._scoring: tuple[int, int] | None = None

    def add(self, records: Columns) -> None:
        """Counts a block of records: the columns of records.parquet."""
        for word, count in accounting(records).items():
            self.counts[word] = self.counts.get(word, 0) + count
        self.wrong = self.wrong or misplaced(records)
        begin, end = self._window
        created, sent, out = (np.asarray(records[c]) for c in ("created", "sent", "out_appended"))
        inside = in_window(self._scenario, records)
        self._inside += int(np.count_nonzero(inside))
        self._sent_inside += int(np.count_nonzero((sent >= begin) & (sent < end)))
        answered = inside & (out >= 0)
        if answered.any():
            self._answered += int(np.count_nonzero(answered))
            at, first = chosen(out, answered), int(chosen(created, answered).min())
            self._created = first if self._created is None else min(first, self._created)
            self._out = _range(self._out, at)
        for clock, column in LATENCY_CLOCKS.items():
            stamp = np.asarray(records[column])
            known = inside & (stamp >= 0)
            self._latency[clock].add(chosen(stamp, known) - chosen(created, known))
        known = inside & (sent >= 0)
        self._late.add(chosen(sent, known) - chosen(created, known))
        which = accounted(self._scenario, records)
        self._accounted += int(np.count_nonzero(which))
        for name in SHARES:
            self._shares[name] += int(np.count_nonzero(which & ended(records, name)))
        times, lag = lag_series(records, begin_ns=begin, end_ns=end)
        self._lag = times, lag if self._lag is None else self._lag[1] + lag
        self._count_work(records, begin, end)

    def _count_work(self, records: Columns, begin: int, end: int) -> None:
        for column in _MEANT:
            stamp = np.asarray(records[column])
            within = (stamp >= max(begin, 0)) & (stamp < end)
            self._within[column] += int(np.count_nonzero(within))
            if column == "score_end":
                self._scored += np.bincount(chosen(np.asarray(records["worker"]), within), minlength=self._workers)
        begun, ended_at, who = (np.asarray(records[c]) for c in ("score_begin", "score_end", "worker"))
        known = (begun >= 0) & (ended_at >= begun) & (who >= 0) & (who < self._workers)
        if known.any():
            begun, ended_at, who = begun[known], ended_at[known], who[known]
            self._busy_ns += np.bincount(who, weights=ended_at - begun, minlength=self._workers).astype(np.int64)
            low, high = int(begun.min()), int(ended_at.max())
            self._scoring = (low, high) if self._scoring is None else _range(self._scoring, np.array([low, high]))

    def within(self, column: str) -> int:
        """Records with this stamp inside the window."""
        return self._within[column]

    @property
    def scored_by(self) -> NDArray[np.int64]:
        """Records that each worker scored inside the window."""
        return self._scored

    def occupied(self) -> dict[int, float]:
        """Share of the time from the first scoring to the last, the window at least, that each worker scored."""
        if self._scoring is None:
            return {}
        whole = max(self._scoring[1] - self._scoring[0], self._window[1] - self._window[0], 1)
        return {i: min(1.0, ns / whole) for i, ns in enumerate(self._busy_ns.tolist())}

    def lag(self) -> tuple[Ints, Ints]:
        """As `metrics.window_lag`."""
        return self._lag if self._lag is not None else (np.zeros(0, np.int64), np.zeros(0, np.int64))

    def metrics(self, counters: Mapping[str, Any]) -> Metrics:
        """As `metrics.metrics`."""
        (begin, end), count = self._window, self._inside
        seconds = (end - begin) / S_NS
        known = bool(count) and seconds > 0
        result: Metrics = {
            "offered_per_s": count / seconds if known else None,
            "achieved_per_s": self._sent_inside / seconds if known else None,
        }
        first, last = self._out or (0, 0)
        result["throughput_per_s"] = per_second(self._answered, first, last) if self._answered > 1 else None
        created = last if self._created is None else self._created
        result["throughput_gen_per_s"] = per_second(self._answered, created, last)
        result["drain_throughput_per_s"] = None
        for clock, found in self._latency.items():
            mean = found.mean
            result[f"latency_{clock}_ms_mean"] = None if mean is None else mean / MS_NS
            result |= {f"latency_{clock}_ms_{word}": _quantile_ms(found, word) for word in PERCENTILES}
        times, lag = self.lag()
        result["lag_slope_per_s"] = lag_slope(times, lag).value if count and len(times) > 1 else None
        result["lag_max"] = float(lag.max()) if count and len(lag) else None
        result["generator_lag_ms_p99"] = _quantile_ms(self._late, "p99")
        result |= cpu(counters)
        for name, ended_so in self._shares.items():
            result[name] = ended_so / self._accounted if self._accounted else None
        return result


def _quantile_ms(found: Histogram, word: str) -> float | None:
    share, fewest = PERCENTILES[word]
    return found.quantile(share) / MS_NS if found.count >= fewest else None


def _range(old: tuple[int, int] | None, values: Ints) -> tuple[int, int]:
    low, high = int(values.min()), int(values.max())
    return (low, high) if old is None else (min(low, old[0]), max(high, old[1]))
