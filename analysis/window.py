"""Which records the metrics are of, and how the warm-up before them is found.

`workload.warmup` is a time before the duration, or a rule that cuts the warm-up out of the duration once the run is
over.  `auto`: MSER-5 on two series, the latency of the records created in each slot of the load and the records out in
it; the later of the two truncation points holds.  `first-quarter`: a quarter of the answered records, in the order of
their creation; where a pipeline keeps their order that is the cut of the Crayfish benchmark.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis import stats
from analysis.records import Columns
from scenarios.spec import S_NS, Scenario

#: Slots of the load that a series has at most, and records a slot holds on average at least.
SLOTS, SLOT_RECORDS = 500, 4
#: Nothing is looked for in fewer records.
FEWEST = 50 * SLOT_RECORDS
_QUARTER = 4


@dataclass(frozen=True, slots=True)
class Cut:
    """What a rule cut.

    Attributes:
        rule: Of `workload.warmup`.
        at_ns: Where the window begins.
        settled: False where no steady state was found: half of the load was cut, and that may not be enough.
        by: Of `auto`, series -> where it says the warm-up ends, seconds.
        why: One sentence where there is something to say; else empty.
    """

    rule: str
    at_ns: int
    settled: bool = True
    by: dict[str, float] = dataclasses.field(default_factory=dict)
    why: str = ""

    def told(self) -> dict[str, Any]:
        """`warmup` of run.json."""
        return {
            "rule": self.rule,
            "cut_s": self.at_ns / S_NS,
            "settled": self.settled,
            "by_s": dict(self.by),
            "why": self.why,
        }


def window_ns(scenario: Scenario, records: Columns) -> tuple[int, int]:
    """The window of the metrics; it ends with the load where `workload.records` ended that early.

    Returns:
        (begin, end), nanoseconds since the run's start.
    """
    load = settled(scenario, records).workload
    begin, end = load.warmup_ns, load.warmup_ns + load.duration_ns
    if load.records is None:
        return begin, end
    created = np.asarray(records["created"])[np.asarray(records["sequence"]) >= load.backlog_records]
    if len(created) > 1 and len(created) >= load.records:
        end = end_of(begin, end, len(created), int(created.min()), int(created.max()))
    return begin, end


def end_of(begin: int, end: int, count: int, first: int, last: int) -> int:
    """The end of a window [begin, end) whose load ends with the last of `count` records, due from `first` to `last`.

    The load lasts one mean gap beyond its last record, as it would if another followed.
    """
    return max(begin, min(end, last + (last - first) // (count - 1)))


def in_window(scenario: Scenario, records: Columns) -> NDArray[np.bool_]:
    """Which records the metrics are of."""
    load = settled(scenario, records).workload
    begin, end = load.warmup_ns, load.warmup_ns + load.duration_ns
    created = np.asarray(records["created"])
    inside: NDArray[np.bool_] = (created >= begin) & (created < end)
    if load.backlog_records:
        inside &= np.asarray(records["sequence"]) >= load.backlog_records
    return inside


def settled(scenario: Scenario, records: Columns) -> Scenario:
    """The scenario with the warm-up that its rule cuts from these records; itself where that is fixed."""
    return scenario if scenario.workload.warmup_rule == "fixed" else after(scenario, cut(scenario, records))


def after(scenario: Scenario, found: Cut) -> Scenario:
    """The scenario with a fixed warm-up where a cut was found; the load ends when it did."""
    load = scenario.workload
    if load.warmup_rule == "fixed":
        return scenario
    fixed = dataclasses.replace(
        load, warmup_rule="fixed", warmup_ns=found.at_ns, duration_ns=max(1, load.duration_ns - found.at_ns)
    )
    return dataclasses.replace(scenario, workload=fixed)


def cut(scenario: Scenario, records: Columns) -> Cut:
    """What the scenario's rule cuts from these records.

    Args:
        scenario: What was run.
        records: Columns of records.parquet; `sequence`, `created`, `acked` and `out_appended` are read.
    """
    load = scenario.workload
    if load.warmup_rule == "fixed":
        return Cut("fixed", load.warmup_ns)
    if load.warmup_rule == "auto":
        return _found(scenario, records)
    answered = (np.asarray(records["out_appended"]) >= 0) & (np.asarray(records["sequence"]) >= load.backlog_records)
    created = np.sort(np.asarray(records["created"])[answered])
    at = int(created[len(created) // _QUARTER]) if len(created) >= _QUARTER else 0
    return Cut("first-quarter", min(at, load.duration_ns - 1))


def edges_ns(scenario: Scenario, due: Columns) -> list[int]:
    """Every instant at which `auto` may cut; known before the run, so that counters can be read there.

    Args:
        scenario: What is to be run.
        due: `sequence` and `created` of its records.
    """
    if scenario.workload.warmup_rule == "fixed":
        return []
    end, slots, _ = _slots(scenario, due)
    return [_edge(end, slots, at) for at in range(0, slots // 2 + 1, stats.MSER_BATCH)]


def _found(scenario: Scenario, records: Columns) -> Cut:
    end, slots, inside = _slots(scenario, records)
    if not slots:
        return Cut("auto", 0, settled=False, why=f"fewer than {FEWEST} records: no warm-up was looked for")
    created = np.asarray(records["created"])
    answer = np.asarray(records["acked"])
    answer = np.where(answer >= 0, answer, np.asarray(records["out_appended"]))
    known = inside & (answer >= 0)
    if np.count_nonzero(known) < FEWEST:
        return Cut("auto", 0, settled=False, why=f"fewer than {FEWEST} answers: no warm-up was looked for")
    series = {
        "latency": _means(created[known] * slots // end, answer[known] - created[known], slots),
        "throughput": np.bincount(answer[known & (answer < end)] * slots // end, minlength=slots).astype(np.float64),
    }
    found = {name: stats.mser(values) for name, values in series.items()}
    at = max(each.cut for each in found.values())
    restless = [name for name, each in found.items() if not each.settled]
    why = f"{' and '.join(restless)} did not settle in the first half of the load" if restless else ""
    by = {name: _edge(end, slots, each.cut) / S_NS for name, each in found.items()}
    return Cut("auto", _edge(end, slots, at), settled=not restless, by=by, why=why)


def _slots(scenario: Scenario, records: Columns) -> tuple[int, int, NDArray[np.bool_]]:
    """(end of the load, number of slots or 0 for too few records, which records are of the load)."""
    whole = after(scenario, Cut("", 0))
    inside = in_window(whole, records)
    count = int(np.count_nonzero(inside))
    slots = min(SLOTS, count // SLOT_RECORDS) // stats.MSER_BATCH * stats.MSER_BATCH if count >= FEWEST else 0
    return window_ns(whole, records)[1], slots, inside


def _edge(end_ns: int, slots: int, slot: int) -> int:
    """The first instant of a slot."""
    return -(-slot * end_ns // slots) if slots else 0


def _means(slot: Any, values: Any, slots: int) -> NDArray[np.float64]:
    """The mean in each slot; an empty slot repeats the one before, those before the first record the first."""
    counts = np.bincount(slot, minlength=slots)
    sums = np.bincount(slot, weights=values, minlength=slots)
    last = np.maximum.accumulate(np.where(counts > 0, np.arange(slots), 0))
    last[: int(np.argmax(counts > 0))] = int(np.argmax(counts > 0))
    result: NDArray[np.float64] = sums[last] / counts[last]
    return result
