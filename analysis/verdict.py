"""The verdict on a run, the first that holds: INVALID, CLIENT-BOUND, OVERLOADED, BACKLOGGED, STABLE.

INVALID: the run ended other than by its load, or the accounting does not add up.  CLIENT-BOUND: the generator
achieved less than 99 % of what it offered.  OVERLOADED: the lag of the window grows by more than 1 % of the offered
rate, and the interval of its slope is above zero.  BACKLOGGED: records were left after the drain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from analysis.accounting import accounting, misplaced, violation
from analysis.busy import bottleneck
from analysis.metrics import Ints, Metrics, lag_slope, metrics, window_lag
from analysis.records import Columns
from analysis.window import after, cut, window_ns
from scenarios.spec import S_NS, Scenario

#: Ways for a run to end that leave it valid.
VALID_REASONS = ("complete", "records")
CLIENT_SHARE = 0.99
OVERLOAD_SHARE = 0.01
#: Where the window is shorter than two blocks no interval can be had, and only this much growth says anything.
OVERLOAD_SHARE_SHORT = 0.10


def verdict(
    scenario: Scenario,
    records: Columns,
    values: Metrics,
    counts: dict[str, int],
    reason: str = "complete",
    *,
    lag: tuple[Ints, Ints] | None = None,
) -> tuple[str, str]:
    """Judges a run.

    Args:
        scenario: What was run.
        records: Columns of records.parquet.
        values: Of `metrics.metrics`.
        counts: Of `accounting.accounting`.
        reason: Why the run ended, of `columns.REASONS`.
        lag: Of `metrics.window_lag`, where the caller has it already.

    Returns:
        (verdict of `columns.VERDICTS`, why in one sentence; empty for STABLE).
    """
    return judged(
        values,
        counts,
        reason,
        lag=lambda: lag or window_lag(scenario, records),
        wrong=lambda: misplaced(records),
        window=lambda: window_ns(scenario, records),
    )


def judged(
    values: Metrics,
    counts: dict[str, int],
    reason: str,
    *,
    lag: Callable[[], tuple[Ints, Ints]],
    wrong: Callable[[], str | None],
    window: Callable[[], tuple[int, int]],
) -> tuple[str, str]:
    """Judges a run by what is asked of its records: `window_lag`, `misplaced` and `window_ns`; else as `verdict`."""
    if reason not in VALID_REASONS:
        return "INVALID", f"the run ended early: {reason}"
    if counts["sent"] == 0:
        return "INVALID", "no record was sent"
    invalid = violation(counts) or wrong()
    if invalid:
        return "INVALID", invalid
    offered, achieved = values["offered_per_s"], values["achieved_per_s"]
    if offered is not None and achieved is not None:
        begin_ns, end_ns = window()
        # One record may be due on one side of the window's edge and sent on the other.
        missing = round((offered - achieved) * (end_ns - begin_ns) / S_NS)
        if achieved < CLIENT_SHARE * offered and missing > 1:
            return "CLIENT-BOUND", f"achieved {achieved:.6g} of {offered:.6g} records/s offered"
        overload = _overload(*lag(), offered)
        if overload:
            return "OVERLOADED", overload
    if counts["in_flight"]:
        return "BACKLOGGED", f"{counts['in_flight']} records left after the drain"
    return "STABLE", ""


def evaluate(
    scenario: Scenario,
    records: Columns,
    counters: Mapping[str, Any] | None = None,
    *,
    reason: str = "complete",
    busiest: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What run.json says of its records: `reason`, `verdict`, `verdict_reason`, `metrics`, and so on.

    Args:
        scenario: What was run.
        records: Its records.
        counters: What was counted of the window.
        reason: Why it ended.
        busiest: Its `bottleneck`, where that is known; else it is found by the counters.
    """
    found = cut(scenario, records)
    scenario = after(scenario, found)
    lag = window_lag(scenario, records)
    values, counts = metrics(scenario, records, counters, lag=lag), accounting(records)
    word, why = verdict(scenario, records, values, counts, reason, lag=lag)
    return {
        "reason": reason,
        "verdict": word,
        "verdict_reason": why,
        "metrics": values,
        "accounting": counts,
        "warmup": found.told(),
        "bottleneck": bottleneck(scenario, records, counters) if busiest is None else busiest,
    }


def summary(meta: Mapping[str, Any]) -> dict[str, Any]:
    """One object for `--json`: what a run was, its verdict, metrics and accounting, without the bulk of run.json."""
    scenario = meta.get("scenario") or {}
    return {
        **{key: meta.get(key) for key in ("id", "name", "backend", "started", "seed", "reason")},
        **{key: meta.get(key) for key in ("verdict", "verdict_reason", "calibration", "append_clock")},
        "parallelism": (scenario.get("engine") or {}).get("parallelism"),
        "warmup": meta.get("warmup"),
        "bottleneck": meta.get("bottleneck"),
        "metrics": dict(meta.get("metrics") or {}),
        "accounting": dict(meta.get("accounting") or {}),
    }


def _overload(times: Ints, lag: Ints, offered_per_s: float) -> str | None:
    if len(times) < 2:
        return None
    growth = lag_slope(times, lag)
    if growth.lo is None:
        if growth.value <= OVERLOAD_SHARE_SHORT * offered_per_s:
            return None
        return f"lag grows by {growth.value:.4g} records/s (window too short for an interval)"
    if growth.value <= OVERLOAD_SHARE * offered_per_s or growth.lo <= 0:
        return None
    return f"lag grows by {growth.value:.4g} records/s (95 % interval {growth.lo:.4g} to {growth.hi:.4g})"
