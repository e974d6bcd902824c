"""The preview's scenario: the same in all but its length, as short as can be simulated while a slider moves."""

from __future__ import annotations

import dataclasses
import math

from scenarios.arrivals import schedule
from scenarios.spec import S_NS, Scenario

#: How long a preview may take to simulate; the page has as much again for the rest of 300 ms.
TARGET_S = 0.12
#: Records of a preview: at least, at most, and before anything was timed.
FEWEST, MOST, FIRST = 2_000, 200_000, 30_000
#: Part of the load that is warm-up, where the scenario's own is longer; and the longest drain, by the load.
_WARMUP, _DRAIN = 0.25, 0.5


def load_ns(scenario: Scenario) -> int:
    """Length of the load, warm-up included."""
    return scenario.workload.warmup_ns + scenario.workload.duration_ns


def expected(scenario: Scenario) -> int:
    """About how many records a run has."""
    w, a = scenario.workload, scenario.workload.arrival
    if a.kind == "trace":
        paced: float = len(schedule(a, load_ns(scenario), w.seed, limit=w.records))
    else:
        rate = a.rate_per_s
        if a.kind == "bursty":
            low, high = a.low_factor * a.low_ns, a.high_factor * a.high_ns
            rate *= (low + high) / max(1, a.low_ns + a.high_ns)
        elif a.kind in ("ramp", "square"):
            rate = (rate + (a.to_rate_per_s or rate)) / 2
        paced = rate * load_ns(scenario) / S_NS
    return math.ceil(min(paced, paced if w.records is None else w.records)) + w.backlog_records


def shorter(scenario: Scenario, records: int) -> Scenario:
    """The first so many records of a scenario; the scenario itself where it has no more.

    The load ends where that many are due, at a round time; warm-up, drain and a backlog shrink with it.  A ramp, which
    takes as long as the load, is steeper instead.
    """
    w = scenario.workload
    if expected(scenario) <= records:
        return scenario
    backlog = min(w.backlog_records, records)
    whole = length = load_ns(scenario)
    if w.arrival.kind == "ramp":
        length = _round(max(1, whole * records // expected(scenario)))
    else:
        times = schedule(w.arrival, whole, w.seed, limit=records)
        if len(times) == records:
            length = _round(int(times[-1]))
    warmup = min(w.warmup_ns, round(length * _WARMUP)) if length < whole else w.warmup_ns
    return dataclasses.replace(
        scenario,
        workload=dataclasses.replace(
            w,
            warmup_ns=warmup,
            duration_ns=length - warmup,
            drain_ns=min(w.drain_ns, round(length * _DRAIN)) if length < whole else w.drain_ns,
            backlog_records=backlog,
        ),
    )


def _round(ns: int) -> int:
    """Down to two digits."""
    unit: int = 10 ** max(0, len(str(ns)) - 2)
    return max(1, ns // unit * unit)


class Pace:
    """How many records a preview may have on this machine, by how long the last ones took."""

    def __init__(self) -> None:
        """Nothing was timed yet."""
        self._s_per_record: dict[tuple[str, str], float] = {}

    def records(self, scenario: Scenario) -> int:
        """For a scenario of this engine and serving."""
        per = self._s_per_record.get(_key(scenario))
        return FIRST if per is None else max(FEWEST, min(MOST, int(TARGET_S / per)))

    def took(self, scenario: Scenario, records: int, seconds: float) -> None:
        """A preview of so many records took so long; the latest counts half."""
        if records:
            now = seconds / records
            self._s_per_record[_key(scenario)] = (self._s_per_record.get(_key(scenario), now) + now) / 2


def _key(scenario: Scenario) -> tuple[str, str]:
    return scenario.engine.kind, scenario.serving.kind
