"""Sustainable and drain throughput: one protocol for both backends, which run the probes.

Sustainable throughput is the largest offered rate that is STABLE in every repeat.  The search doubles or halves from
a start until a STABLE rate lies below one that is not (bracket), halves that gap until it is within the tolerance, one
repeat a rate (bisect), then repeats the rate found (confirm); where a repeat is not STABLE it steps down by the
tolerance and confirms anew.  Rates have four digits.  A generator that cannot offer a rate bounds the search like an
overload does, and where that bound is the one that stands, the answer says so: CLIENT-BOUND.

Every probe made is kept in a file, if one is named, so that an interrupted search goes on where it was.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis import stats
from scenarios.spec import S_NS, Arrival, Scenario

TOLERANCE = 0.03
#: Repeats that the protocol asks for; a search with fewer says so.
CONFIRM_REPEATS = 5
MAX_PROBES = 60
#: The time a backlog run has to drain in.
DRAIN_NS = 60 * S_NS
#: Kinds of arrival that one rate describes.
PACED_KINDS = ("constant", "poisson", "gamma", "bursty")

CONFIRMED = "confirmed"
_STABLE, _CLIENT_BOUND, _INVALID = "STABLE", "CLIENT-BOUND", "INVALID"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run said.

    Attributes:
        verdict: Of `columns.VERDICTS`.
        path: The run's folder or identifier; empty where nothing was written.
        metrics: Of run.json.
    """

    verdict: str
    path: str = ""
    metrics: dict[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Probe:
    """One run of a search: the rate offered, which repeat, and what came of it."""

    rate_per_s: float
    repeat: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Sustainable:
    """The answer of a search.

    Attributes:
        rate_per_s: The largest rate found STABLE; None where none was.
        tolerance: The next rate up that is not STABLE is at most this share higher (where `confirmed`).
        repeats: How many repeats confirmed it.
        confirmed: Whether every repeat at `rate_per_s` was STABLE.
        reason: In words, why the search ended.
        probes: Every probe, in the order made, those of an earlier part of the search first.
    """

    rate_per_s: float | None
    tolerance: float
    repeats: int
    confirmed: bool
    reason: str
    probes: tuple[Probe, ...] = ()


@dataclass(frozen=True, slots=True)
class Drain:
    """Drain throughput: median, least and greatest of the repeats; None where a run gave none."""

    rate_per_s: float | None
    lo: float | None
    hi: float | None
    outcomes: tuple[Outcome, ...] = ()


class SearchError(ValueError):
    """What cannot be searched: impossible arguments, arrivals of no one rate, a damaged file of probes."""


class _OutOfProbesError(Exception):
    pass


class _InvalidError(Exception):
    pass


def sustainable(
    probe: Callable[[float, int], Outcome],
    start_per_s: float,
    *,
    tolerance: float = TOLERANCE,
    repeats: int = CONFIRM_REPEATS,
    lowest_per_s: float = 1.0,
    highest_per_s: float = 1e6,
    max_probes: int = MAX_PROBES,
    journal: Path | None = None,
    tell: Callable[[str], None] | None = None,
) -> Sustainable:
    """Searches for the sustainable throughput.

    Args:
        probe: Makes one run, called with the rate to offer and the number of the repeat (its seed goes with it).
        start_per_s: The first rate.
        tolerance: How close the bracket is brought.
        repeats: How many confirm; the first counts, made while bisecting.
        lowest_per_s: No rate below it is tried.
        highest_per_s: No rate above it is tried.
        max_probes: How many runs at most, those in the journal included.
        journal: A JSON file of probes made, read at the start and written after each; name it after what is searched.
        tell: Called with each step in words.

    Raises:
        SearchError: A rate, the tolerance or a count that cannot be; a journal that cannot be read.
    """
    if not 0 < lowest_per_s <= start_per_s <= highest_per_s:
        raise SearchError(
            f"expected 0 < lowest <= start <= highest, got {lowest_per_s}, {start_per_s}, {highest_per_s}"
        )
    if tolerance < 0.001 or repeats < 1 or max_probes < 1:  # rates have four digits
        raise SearchError(f"tolerance {tolerance}, repeats {repeats}, max_probes {max_probes}")
    search = _Search(probe, tolerance, repeats, max_probes, journal, tell or (lambda _text: None))
    rate, confirmed, reason = None, False, ""
    try:
        low, high = search.bracket(_digits(start_per_s), _digits(lowest_per_s), _digits(highest_per_s))
        if low is None:
            reason = f"nothing STABLE down to {lowest_per_s:g} /s"
        else:
            rate = search.confirm(search.bisect(low, high), lowest_per_s)
            confirmed = rate is not None
            reason = CONFIRMED if confirmed else f"no repeat held down to {lowest_per_s:g} /s"
            if confirmed and high is None:
                reason = f"{CONFIRMED}; still STABLE at the highest rate tried"
    except _OutOfProbesError:
        rate, reason = search.best(), f"{max_probes} probes made, not confirmed"
    except _InvalidError as error:
        rate, reason = search.best(), str(error)
    bound = search.bound(rate)
    if bound is not None and bound.outcome.verdict == _CLIENT_BOUND:
        reason += f"; CLIENT-BOUND at {bound.rate_per_s:g} /s: the generator sets this limit"
    if confirmed and repeats < CONFIRM_REPEATS:
        reason += f"; {repeats} of the {CONFIRM_REPEATS} repeats that the protocol asks for"
    return Sustainable(rate, tolerance, repeats, confirmed, reason, tuple(search.probes.values()))


def drain(probe: Callable[[int], Outcome], repeats: int = CONFIRM_REPEATS) -> Drain:
    """Drain throughput: the median of the repeats of a backlog run.

    Args:
        probe: Makes one run of a prefilled backlog, called with the number of the repeat.
        repeats: How many.
    """
    outcomes = tuple(probe(repeat) for repeat in range(repeats))
    rates = [o.metrics.get("drain_throughput_per_s") if o.verdict != _INVALID else None for o in outcomes]
    known = [rate for rate in rates if rate is not None]
    if not known or len(known) < len(rates):
        return Drain(None, None, None, outcomes)
    return Drain(*stats.spread(known), outcomes)


def paced(scenario: Scenario, rate_per_s: float, repeat: int) -> Scenario:
    """The run of one probe: the scenario at that rate, for its whole warm-up and duration; repeat k has seed + k.

    Raises:
        SearchError: Its arrivals are of a kind that no one rate describes.
    """
    w = scenario.workload
    if w.arrival.kind not in PACED_KINDS:
        raise SearchError(f"arrivals of kind {w.arrival.kind} have no one rate to search; use {', '.join(PACED_KINDS)}")
    workload = dataclasses.replace(
        w,
        arrival=dataclasses.replace(w.arrival, rate_per_s=rate_per_s),
        records=None,
        backlog_records=0,
        seed=w.seed + repeat,
    )
    return dataclasses.replace(scenario, workload=workload, sweep={}, repeats=1)


def prefilled(scenario: Scenario, records: int, repeat: int) -> Scenario:
    """The run of one drain: a backlog of so many records and nothing else; repeat k has seed + k."""
    w = scenario.workload
    workload = dataclasses.replace(
        w,
        arrival=Arrival("constant", rate_per_s=0.0),
        records=None,
        backlog_records=records,
        warmup_ns=0,
        duration_ns=S_NS,
        drain_ns=DRAIN_NS,
        seed=w.seed + repeat,
    )
    return dataclasses.replace(scenario, workload=workload, sweep={}, repeats=1)


class _Search:
    """The probes of one search, and its three steps."""

    def __init__(
        self,
        probe: Callable[[float, int], Outcome],
        tolerance: float,
        repeats: int,
        max_probes: int,
        journal: Path | None,
        tell: Callable[[str], None],
    ) -> None:
        self._probe, self._tolerance, self._repeats = probe, tolerance, repeats
        self._max_probes, self._journal, self._tell = max_probes, journal, tell
        self.probes = _read(journal) if journal is not None and journal.exists() else {}

    def bracket(self, rate: float, lowest: float, highest: float) -> tuple[float | None, float | None]:
        """A STABLE rate and one above it that is not; None for one that was not found within the bounds."""
        low = high = None
        while low is None or high is None:
            if self._stable(rate):
                low = rate
                if high is not None or rate >= highest:
                    break
                rate = min(_digits(2 * rate), highest)
            else:
                high = rate
                if low is not None or rate <= lowest:
                    break
                rate = max(_digits(rate / 2), lowest)
        return low, high

    def bisect(self, low: float, high: float | None) -> float:
        """The STABLE end of the bracket, brought within the tolerance of the other."""
        while high is not None and high > low * (1 + self._tolerance):
            middle = _digits(math.sqrt(low * high))
            if self._stable(middle):
                low = middle
            else:
                high = middle
        return low

    def confirm(self, rate: float, lowest: float) -> float | None:
        """The first rate, stepping down by the tolerance, that is STABLE in every repeat; None down to the lowest."""
        while not all(self._stable(rate, repeat) for repeat in range(self._repeats)):
            rate = _digits(rate / (1 + self._tolerance))
            if rate < lowest:
                return None
        return rate

    def best(self) -> float | None:
        """The largest rate with only STABLE repeats below every one that had another."""
        bad = min((p.rate_per_s for p in self.probes.values() if p.outcome.verdict != _STABLE), default=math.inf)
        good = [p.rate_per_s for p in self.probes.values() if p.outcome.verdict == _STABLE and p.rate_per_s < bad]
        return max(good, default=None)

    def bound(self, rate: float | None) -> Probe | None:
        """The probe that was not STABLE at the least rate above this one."""
        above = [
            p for p in self.probes.values() if p.outcome.verdict != _STABLE and (rate is None or p.rate_per_s > rate)
        ]
        return min(above, key=lambda p: p.rate_per_s, default=None)

    def _stable(self, rate: float, repeat: int = 0) -> bool:
        key = (rate, repeat)
        if key not in self.probes:
            if len(self.probes) >= self._max_probes:
                raise _OutOfProbesError
            outcome = self._probe(rate, repeat)
            self._tell(f"{rate:g} /s, repeat {repeat + 1}: {outcome.verdict}")
            if outcome.verdict == _INVALID:  # not kept: going on tries it again
                raise _InvalidError(f"a run at {rate:g} /s is INVALID ({outcome.path or 'not written'})")
            self.probes[key] = Probe(rate, repeat, outcome)
            if self._journal is not None:
                _write(self._journal, self.probes)
        return self.probes[key].outcome.verdict == _STABLE


def _digits(rate_per_s: float) -> float:
    return float(f"{rate_per_s:.4g}")


def _read(path: Path) -> dict[tuple[float, int], Probe]:
    try:
        rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["probes"]
        probes = [Probe(r["rate_per_s"], r["repeat"], Outcome(r["verdict"], r["path"], r["metrics"])) for r in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SearchError(f"{path}: not the probes of a search: {error}") from error
    return {(p.rate_per_s, p.repeat): p for p in probes}


def probe_rows(probes: tuple[Probe, ...] | list[Probe]) -> list[dict[str, Any]]:
    """Probes as JSON objects: rate_per_s, repeat, verdict, path, metrics."""
    return [{"rate_per_s": p.rate_per_s, "repeat": p.repeat, **dataclasses.asdict(p.outcome)} for p in probes]


def _write(path: Path, probes: dict[tuple[float, int], Probe]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps({"schema": 1, "probes": probe_rows(list(probes.values()))}) + "\n", "utf-8")
    temporary.replace(path)
