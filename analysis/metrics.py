"""The metrics of a run, by the names of run.json.

Metrics are of the records created in the window [warm-up, warm-up + duration) of `analysis.window`, a backlog's records
apart (where there are no others, the shares of outcomes are the backlog's).  Latency runs from `created`, the scheduled
send time, so that a generator that falls behind makes it longer and not shorter.
A percentile is given only where ten records lie beyond it (p99 from 1,000 records, p99.9 from 10,000), else None.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis import stats
from analysis.columns import OUTCOME_COLUMN, OUTCOMES, STAMP_COLUMNS
from analysis.lag import lag_series
from analysis.records import Columns, chosen, outcome_codes
from analysis.window import in_window, settled, window_ns
from scenarios.metric_names import METRIC_NAMES
from scenarios.spec import MS_NS, S_NS, Bound, Scenario

Ints = NDArray[np.int64]
Metrics = dict[str, float | None]

#: name -> (quantile, fewest records)
PERCENTILES = {
    "p50": (0.50, 20),
    "p90": (0.90, 100),
    "p95": (0.95, 200),
    "p99": (0.99, 1_000),
    "p999": (0.999, 10_000),
}
#: Below this the broker's whole-millisecond clock is too coarse and the delivery callback's is used.
FINE_CLOCK_BELOW_MS = 5.0
#: A drain's rate is read between these fractions of its outputs: neither start-up nor the last poll counts.
DRAIN_FROM, DRAIN_TO = 0.1, 0.9
_FEWEST_DRAINED = 20
#: Outcomes of records that the pipeline turned away or answered too late.
REFUSED = ("dropped_no_model", "dropped_queue", "rejected", "expired")
#: Metric -> the outcomes that it is the share of, of the records that were sent.
SHARES: dict[str, tuple[str, ...]] = {"loss": ("lost",), "refused": REFUSED}
LATENCY_CLOCKS = {"append": "out_appended", "acked": "acked"}


def metrics(
    scenario: Scenario,
    records: Columns,
    counters: Mapping[str, Any] | None = None,
    *,
    lag: tuple[Ints, Ints] | None = None,
) -> Metrics:
    """Every metric of a run; None where the run cannot say.

    Args:
        scenario: What was run.
        records: Columns of records.parquet.
        counters: `counters` of run.json; None or empty where nothing was counted.
        lag: Of `window_lag`, where the caller has it already.

    Returns:
        Metric name (its unit in the name) -> value.
    """
    scenario = settled(scenario, records)
    created, sent = np.asarray(records["created"]), np.asarray(records["sent"])
    out = np.asarray(records["out_appended"])
    begin_ns, end_ns = window_ns(scenario, records)
    inside = in_window(scenario, records)
    count = int(np.count_nonzero(inside))
    seconds = (end_ns - begin_ns) / S_NS
    result: Metrics = {"offered_per_s": None, "achieved_per_s": None}
    if count and seconds > 0:
        first = scenario.workload.backlog_records
        sent_inside = (sent >= begin_ns) & (sent < end_ns)
        if first:
            sent_inside &= np.asarray(records["sequence"]) >= first
        result["offered_per_s"] = count / seconds
        result["achieved_per_s"] = int(np.count_nonzero(sent_inside)) / seconds
    answered = inside & (out >= 0)
    answered_at = chosen(out, answered)
    result["throughput_per_s"] = t_out(answered_at)
    result["throughput_gen_per_s"] = t_gen(chosen(created, answered), answered_at)
    result["drain_throughput_per_s"] = drain_throughput(scenario, records)
    for clock, column in LATENCY_CLOCKS.items():
        stamp = np.asarray(records[column])
        known = inside & (stamp >= 0)
        result |= _distribution(f"latency_{clock}_ms_", (chosen(stamp, known) - chosen(created, known)) / MS_NS)
    lag = (lag or window_lag(scenario, records)) if count else None
    result["lag_slope_per_s"] = lag_slope(*lag).value if lag and len(lag[0]) > 1 else None
    result["lag_max"] = float(lag[1].max()) if lag and len(lag[1]) else None
    known = inside & (sent >= 0)
    late_ms = (chosen(sent, known) - chosen(created, known)) / MS_NS
    result["generator_lag_ms_p99"] = _distribution("", late_ms, ("p99",))["p99"]
    result |= cpu(counters or {})
    codes = chosen(outcome_codes(records[OUTCOME_COLUMN]), accounted(scenario, records))
    for name, words in SHARES.items():
        result[name] = float(np.isin(codes, _codes(words)).mean()) if len(codes) else None
    return result


def accounted(scenario: Scenario, records: Columns) -> NDArray[np.bool_]:
    """Which records the shares are of: those of the window that were sent; a backlog's where nothing else was."""
    inside = in_window(scenario, records)
    if not inside.any() and scenario.workload.backlog_records:
        inside = np.asarray(records["sequence"]) < scenario.workload.backlog_records
    result: NDArray[np.bool_] = inside & (np.asarray(records["sent"]) >= 0)
    return result


def ended(records: Columns, name: str) -> NDArray[np.bool_]:
    """Which records count as `loss`, or as another metric of `SHARES`."""
    result: NDArray[np.bool_] = np.isin(outcome_codes(records[OUTCOME_COLUMN]), _codes(SHARES[name]))
    return result


def _codes(words: Sequence[str]) -> list[int]:
    return [OUTCOMES.index(word) for word in words]


def window_lag(scenario: Scenario, records: Columns) -> tuple[Ints, Ints]:
    """The lag of the window, sampled each second."""
    begin, end = window_ns(scenario, records)
    return lag_series(records, begin_ns=begin, end_ns=end)


def lag_slope(times_ns: Ints, lag: Ints) -> stats.Slope:
    """Growth of a lag series in records per second, with its block-bootstrap interval."""
    return stats.slope(times_ns / S_NS, lag)


def t_out(out_ns: Ints) -> float | None:
    """Throughput as outputs over the time from the first to the last, `n / (max end - min end)`.

    The service rate, unbiased under overload.  Source: the first release of the Crayfish benchmark's analysis.

    Args:
        out_ns: Output times, nanoseconds.

    Returns:
        Records per second; None for fewer than two outputs, or all at one instant.
    """
    return per_second(len(out_ns), int(out_ns.min()), int(out_ns.max())) if len(out_ns) > 1 else None


def t_gen(created_ns: Ints, out_ns: Ints) -> float | None:
    """Throughput from the first creation to the last output, `n / (max end - min start)`.

    Under overload the first record waited long before it was served, so this reads low: with a quarter of the
    records cut as warm-up, 0.75 mu / (1 - 0.25 mu / lambda).  Source: the second release of the Crayfish
    benchmark's analysis; reported beside `t_out` so that either of its figures can be compared.

    Args:
        created_ns: Creation times of the answered records, nanoseconds.
        out_ns: Their output times.

    Returns:
        Records per second; None without an output.
    """
    return per_second(len(out_ns), int(created_ns.min()), int(out_ns.max())) if len(out_ns) else None


def per_second(count: int, begin_ns: int, end_ns: int) -> float | None:
    """The rate of so many in that time; None where it is none."""
    return count * S_NS / float(end_ns - begin_ns) if end_ns > begin_ns else None


def drain_throughput(scenario: Scenario, records: Columns) -> float | None:
    """The rate out of a prefilled backlog: its records out between 10 % and 90 % of its outputs, over that time.

    Returns:
        Records per second; None without a backlog, for fewer than 20 outputs, or all at one instant.
    """
    backlog = scenario.workload.backlog_records
    if not backlog:
        return None
    out = np.asarray(records["out_appended"])[np.asarray(records["sequence"]) < backlog]
    out = np.sort(out[out >= 0])
    if len(out) < _FEWEST_DRAINED:
        return None
    begin, end = out[round(DRAIN_FROM * len(out)) - 1], out[round(DRAIN_TO * len(out)) - 1]
    if begin == end:
        return None
    return int(np.count_nonzero((out > begin) & (out <= end))) * S_NS / float(end - begin)


def stage_ms(scenario: Scenario, records: Columns) -> Metrics:
    """The median time between successive stamps, milliseconds: `created-sent`, `sent-appended`, ...

    Of the records of the window that have both stamps; of the backlog's where nothing else was sent.  None where no
    record has both.
    """
    inside = in_window(scenario, records)
    if not inside.any() and scenario.workload.backlog_records:
        inside = np.asarray(records["sequence"]) < scenario.workload.backlog_records
    result: Metrics = {}
    for first, second in pairwise(STAMP_COLUMNS):
        a, b = np.asarray(records[first])[inside], np.asarray(records[second])[inside]
        both = (a >= 0) & (b >= 0)
        result[f"{first}-{second}"] = float(np.median(b[both] - a[both])) / MS_NS if both.any() else None
    return result


def resolve(word: str, values: Mapping[str, float | None]) -> tuple[str, float | None]:
    """The metric that a bound's word means, and its value.

    `latency_p99` is the append clock's, or the delivery callback's where the append clock says less than 5 ms (and
    the callback was measured); other words name one metric, which may also be named in full.

    Returns:
        (metric name, value or None).
    """
    if word.startswith("latency_") and f"latency_append_ms_{word[8:]}" in values:
        append, acked = f"latency_append_ms_{word[8:]}", f"latency_acked_ms_{word[8:]}"
        coarse, fine = values[append], values.get(acked)
        if fine is not None and (coarse is None or coarse < FINE_CLOCK_BELOW_MS):
            return acked, fine
        return append, coarse
    known = METRIC_NAMES.get(word)
    name = known.column if known is not None and known.column else word
    if name not in values and f"{word}_per_s" in values:
        name = f"{word}_per_s"
    return name, values.get(name)


def bound_broken(bounds: Iterable[Bound], values: Mapping[str, float | None]) -> list[str]:
    """One line for each bound that does not hold; a metric without a value breaks its bound.

    Args:
        bounds: Of `expect` or `slo`, in the metric's own unit (ms, records per second).
        values: Of `metrics`.
    """
    broken = []
    for bound in bounds:
        name, value = resolve(bound.metric, values)
        if value is None:
            broken.append(f"{bound.metric} {bound.op} {bound.value:g}: {name} has no value in this run")
        elif not _OPERATORS[bound.op](value, bound.value):
            broken.append(f"{bound.metric} {bound.op} {bound.value:g}: {name} is {value:.6g}")
    return broken


_OPERATORS = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
}


def _distribution(prefix: str, values: NDArray[np.float64], percentiles: Sequence[str] = tuple(PERCENTILES)) -> Metrics:
    """Mean and percentiles; `values` comes back in another order."""
    result: Metrics = {f"{prefix}mean": float(values.mean()) if len(values) else None}
    carried = [name for name in percentiles if len(values) >= PERCENTILES[name][1]]
    wanted = [PERCENTILES[name][0] for name in carried]
    found = np.quantile(values, wanted, overwrite_input=True) if carried else np.empty(0)
    result |= {f"{prefix}{name}": None for name in percentiles}
    result |= {f"{prefix}{name}": float(value) for name, value in zip(carried, found, strict=True)}
    return result


def cpu(counters: Mapping[str, Any]) -> Metrics:
    """CPU microseconds per record of the counters' window.

    The generator's and the collector's are per record of their own; the engine's and the broker's per record that
    the workers processed (each passes the broker twice).  A part whose CPU was not counted is left out of nothing:
    the metric is None.  So is that of a server, or of actors, that a pipeline does not have.
    """
    workers: Sequence[Mapping[str, Any]] = counters.get("workers") or []
    engine = _total(workers, ("app_cpu_ns", "consumer_cpu_ns", "producer_cpu_ns", "other_cpu_ns"))
    processed = _total(workers, ("records",))
    generator, collector = counters.get("generator") or {}, counters.get("collector") or {}
    shared, server = counters.get("engine") or {}, counters.get("server") or {}
    if engine is not None:  # what reads and writes for all workers alike
        engine += shared.get("cpu_ns", 0)
    unscheduled = shared.get("actors_unscheduled")
    return {
        "cpu_us_per_record_generator": _per(
            _total([generator], ("app_cpu_ns", "client_cpu_ns", "other_cpu_ns")), generator.get("records")
        ),
        "cpu_us_per_record_broker": _per((counters.get("broker") or {}).get("cpu_ns"), processed),
        "cpu_us_per_record_engine": _per(engine, processed),
        "cpu_us_per_record_server": _per(server.get("cpu_ns"), processed),
        "cpu_us_per_record_collector": _per(
            _total([collector], ("app_cpu_ns", "consumer_cpu_ns", "other_cpu_ns")), collector.get("records")
        ),
        "actors_unscheduled": None if unscheduled is None else float(unscheduled),
    }


def _total(parts: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> float | None:
    values = [part.get(key) for part in parts for key in keys]
    if not values or any(v is None for v in values):
        return None
    return float(sum(v for v in values if v is not None))


def _per(cpu_ns: float | None, records: float | None) -> float | None:
    return None if cpu_ns is None or not records else cpu_ns / records / 1_000
