"""Costs from production telemetry, where no profile can be run: a Prometheus range, or a CSV of rates, CPU, latency.

Telemetry has no counted events: only how much CPU each part used and how many records came out.  So it cannot say how
a cost divides into requests, polls and bytes; another calibration says that, and telemetry says how much it is on the
machines at hand.  Each part's costs are brought to the CPU seen at the rate seen, by one factor; where the rate varied
enough, what is used at no rate at all is told apart from what a record takes.  What the median latency holds beyond the
model's is the network's.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.fingerprint import fingerprint
from calibration.profiles import ProfileError
from calibration.regression import Fit, fit
from scenarios.spec import MS_NS, S_NS, Arrival, Scenario
from sim.costs import Calibration, CpuCost, Latency, Value
from sim.uncertainty import with_terms

Floats = NDArray[np.float64]
PARTS = ("generator", "broker", "engine", "collector")
#: What is looked for: key -> its name as the harness' own metrics and `calibration export` have it.  The harness tells
#: no CPU by process: what watches processes does, under a name of its own.
NAMES = {
    "records": "weir_run_out_total",
    "latency_p50_ms": "weir_run_latency_acked_ms_p50",
    "latency_p50_s": "",  # in place of milliseconds
    **{f"{part}_cpu_s": f'weir_cpu_seconds_total{{part="{part}"}}' for part in PARTS},
}
#: Those that are no counters, and what brings them to seconds.
_GAUGES = {"latency_p50_ms": 1e-3, "latency_p50_s": 1.0}
#: Columns of a CSV: `time_s`, `records_per_s`, `latency_p50_ms`, and CPU in cores.
COLUMNS = ("time_s", "records_per_s", "latency_p50_ms", *(f"{part}_cpu_cores" for part in PARTS))
#: Costs by the part of the telemetry that scales them; clients are one library, and the engine's count.
_LEADS = {
    "engine": ("worker", "producer", "consumer"),
    "broker": ("broker",),
    "generator": ("generator",),
    "collector": ("collector",),
}
#: Below this much variation of the rate, idle work and a record's cannot be told apart.
_VARIES = 0.2
_TURNS = 4
_FEWEST = 5
_FACTORS = (0.01, 100.0)
_SELECTOR = re.compile(r"^\s*([A-Za-z_:][\w:]*)\s*(?:\{(.*)\})?\s*$")
_LABEL = re.compile(r'\s*(\w+)\s*=\s*"([^"]*)"\s*(?:,|$)')


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Steps of equal standing, none without records.

    Attributes:
        source: File it is from.
        seconds: Length of each step, s.
        rate_per_s: Records out, per step.
        cpu_s: part -> CPU s a second, per step.
        latency_s: Median latency, per step; empty where there is none.
    """

    source: str
    seconds: Floats
    rate_per_s: Floats
    cpu_s: dict[str, Floats]
    latency_s: Floats


def read_prometheus(path: Path, metrics: Mapping[str, str]) -> Telemetry:
    """Reads the answer of `query_range`, all series in one file.

    Args:
        path: `{"status": "success", "data": {"resultType": "matrix", "result": [...]}}`; `result` alone will do.
        metrics: Key of `NAMES` -> selector that replaces it: `name` or `name{label="value"}`.  Series that match one
            selector are summed; a counter that falls began anew.

    Raises:
        ProfileError: It is none, or it lacks the records or all CPU.
    """
    unknown = [key for key in metrics if key not in NAMES]
    if unknown:
        raise ProfileError(f"--metric: no metric {unknown[0]!r}; there are {', '.join(NAMES)}")
    try:
        data = json.loads(path.read_text())
        result = data["data"]["result"] if isinstance(data, dict) else data
        series = [(dict(one["metric"]), [(float(t), float(v)) for t, v in one["values"]]) for one in result]
    except OSError as error:
        raise ProfileError(f"{path}: cannot be read: {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ProfileError(f"{path}: no answer of query_range (a matrix of series): {error}") from error
    found = {}
    for key, selector in {**NAMES, **metrics}.items():
        if not selector:
            continue
        name, labels = _selected(selector)
        mine = [
            values
            for labels_of, values in series
            if labels_of.get("__name__") == name and all(labels_of.get(k) == v for k, v in labels.items())
        ]
        if mine:
            found[key] = mine
    if "records" not in found:
        there = ", ".join(sorted({str(labels.get("__name__")) for labels, _ in series})) or "nothing"
        wanted = {**NAMES, **metrics}["records"]
        raise ProfileError(f"{path}: no series {wanted}; it has {there} (--metric records=NAME)")
    times = np.asarray(sorted({t for values in found["records"] for t, _ in values}))
    if len(times) < _FEWEST + 1:
        raise ProfileError(f"{path}: {len(times)} samples of records; at least {_FEWEST + 1} are needed")
    gaps = np.diff(times)
    grown = {key: _growth(found[key], times) for key in found if key not in _GAUGES}
    latency = np.empty(0)
    for key, scale in _GAUGES.items():
        if key in found:
            at, values = np.asarray(sorted(found[key][0])).T
            latency = np.interp(times[1:], at, values) * scale
    cpu = {part: grown[f"{part}_cpu_s"] / gaps for part in PARTS if f"{part}_cpu_s" in grown}
    return _kept(str(path), gaps, grown["records"] / gaps, cpu, latency)


def read_csv(path: Path) -> Telemetry:
    """Reads a CSV with a header: `time_s`, `records_per_s`, CPU in cores by part, `latency_p50_ms` if there is one.

    Raises:
        ProfileError: It is none, a column is unknown or missing, or a cell is no number (then with its line).
    """
    try:
        with path.open(newline="") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path}: cannot be read: {error}") from error
    header = [name.strip() for name in rows[0]] if rows else []
    for name in header:
        if name not in COLUMNS:
            raise ProfileError(f"{path}, line 1: no column {name!r}; there are {', '.join(COLUMNS)}")
    for name in ("time_s", "records_per_s"):
        if name not in header:
            raise ProfileError(f"{path}, line 1: no column {name}")
    values: dict[str, list[float]] = {name: [] for name in header}
    for line, row in enumerate(rows[1:], 2):
        if len(row) != len(header):
            raise ProfileError(f"{path}, line {line}: {len(row)} cells, the header has {len(header)}")
        for name, cell in zip(header, row, strict=True):
            try:
                number = float(cell)
            except ValueError:
                raise ProfileError(f"{path}, line {line}, {name}: {cell!r} is no number") from None
            if not math.isfinite(number) or number < 0:
                raise ProfileError(f"{path}, line {line}, {name}: {cell} must be a number from 0 up")
            values[name].append(number)
    columns = {name: np.asarray(found) for name, found in values.items()}
    times = columns["time_s"]
    if len(times) < _FEWEST + 1 or (np.diff(times) <= 0).any():
        raise ProfileError(f"{path}: at least {_FEWEST + 1} lines are needed, time_s rising")
    cpu = {part: columns[f"{part}_cpu_cores"][1:] for part in PARTS if f"{part}_cpu_cores" in columns}
    latency = columns["latency_p50_ms"][1:] / 1e3 if "latency_p50_ms" in columns else np.empty(0)
    return _kept(str(path), np.diff(times), columns["records_per_s"][1:], cpu, latency)


def regressions(seen: Telemetry) -> dict[str, Fit]:
    """Part -> CPU ns as `s` (whatever the load, ns a second) and `record`; merged where the rate hardly varied."""
    records = seen.rate_per_s * seen.seconds
    varies = float(np.std(seen.rate_per_s) / np.mean(seen.rate_per_s)) >= _VARIES
    found = {}
    for part, cpu in seen.cpu_s.items():
        used = cpu * seen.seconds * S_NS
        usable = used > 0
        if usable.sum() < 2:
            continue
        counts = np.column_stack([seen.seconds, records])[usable]
        names = ("s", "record")
        keep = names if varies else ("record",)
        found[part] = fit(names, counts, used[usable], keep=keep, judged=len(used) <= 500)
    return found


def fit_telemetry(seen: Telemetry, scenario: Scenario, base: Calibration, name: str, when: str) -> Calibration:
    """A calibration with the base's shape and the telemetry's amounts.

    Args:
        seen: What was exported.
        scenario: What ran: its engine, partitions, model, linger, workers.  Its rate is the one seen.
        base: How costs divide.
        name: Of the new calibration.
        when: ISO date.
    """
    from sim.run import simulate

    rate = float(np.average(seen.rate_per_s, weights=seen.seconds))
    arrival = Arrival("constant", rate_per_s=rate)
    workload = dataclasses.replace(scenario.workload, arrival=arrival, backlog_records=0)
    at = dataclasses.replace(scenario, workload=workload, sweep={}, slo=(), expect=(), check=None, profile=None)
    fits = regressions(seen)
    found = base
    for part, f in fits.items():
        if "s" in f.terms and part in ("broker", "engine", "generator", "collector"):
            found = dataclasses.replace(found, background_ns_per_s={**found.background_ns_per_s, part: f["s"]})
    wanted = {part: _per_record(seen, part) for part in fits}
    for _ in range(_TURNS):
        metrics = simulate(at, found, host=False).metrics
        for part, ns in wanted.items():
            has = metrics.get(f"cpu_us_per_record_{part}")
            if has:
                # Only the costs are scaled, not what is used whatever the load; the next turn sees to the rest.
                idle = _idle(found, part) / rate if "s" in fits[part].terms else 0.0
                factor = max(ns - idle, 0.01 * ns) / max(has * 1e3 - idle, 1e-3 * ns)
                found = _scaled(found, part, float(np.clip(factor, *_FACTORS)), idle_too="s" not in fits[part].terms)
    if len(seen.latency_s):
        found = _with_network(found, at, float(np.median(seen.latency_s)))
    spreads = {part: [f["record"].lo, f["record"].value, f["record"].hi] for part, f in fits.items()}
    low, high = float(np.min(seen.rate_per_s)), float(np.max(seen.rate_per_s))
    return dataclasses.replace(
        found,
        name=name,
        created=when,
        fingerprint={**fingerprint(), "versions": base.fingerprint.get("versions", {})},
        regime={**base.regime, "engine": scenario.engine.kind, "model": scenario.model.label},
        ranges={"rate_per_s": (low, high), "parallelism": (float(scenario.engine.parallelism),) * 2},
        held_out=[],
        fit={
            "telemetry": seen.source,
            "onto": base.name,
            "steps": len(seen.seconds),
            "record_ns": spreads,
            "condition": {part: f.condition for part, f in fits.items()},
            "leave_one_out": {part: f.leave_one_out for part, f in fits.items()},
            "merged": {part: {"s": "record"} for part, f in fits.items() if "s" not in f.terms},
        },
    )


def _per_record(seen: Telemetry, part: str) -> float:
    """CPU ns a record over the whole range."""
    return float(np.sum(seen.cpu_s[part] * seen.seconds) / np.sum(seen.rate_per_s * seen.seconds) * S_NS)


def _idle(calibration: Calibration, part: str) -> float:
    value = calibration.background_ns_per_s.get(part)
    return value.value if value else 0.0


def _scaled(calibration: Calibration, part: str, factor: float, *, idle_too: bool) -> Calibration:
    def times(v: Value) -> Value:
        return Value(v.value * factor, v.lo * factor, v.hi * factor)

    def cost(c: CpuCost) -> CpuCost:
        terms = ("fixed_ns", "batch_ns", "record_ns", "point_ns", "byte_ns", "cold_ns")
        return with_terms(c, {term: times(getattr(c, term)) for term in terms})

    leads = _LEADS[part]
    scored = factor if part == "engine" else 1.0
    idle = calibration.background_ns_per_s
    return dataclasses.replace(
        calibration,
        cpu={k: cost(c) if k.partition(".")[0] in leads else c for k, c in calibration.cpu.items()},
        score_table={n: ns * scored for n, ns in calibration.score_table.items()},
        tables_ns={
            k: {n: ns * factor for n, ns in t.items()} if k.partition(".")[0] in leads else t
            for k, t in calibration.tables_ns.items()
        },
        background_ns_per_s={k: times(v) if k == part and idle_too else v for k, v in idle.items()},
    )


def _with_network(calibration: Calibration, scenario: Scenario, seen_s: float) -> Calibration:
    """The network latency at which the model's median is the one seen; 0 where the model is slower without any."""
    from sim.run import simulate

    def at(network_ns: float) -> tuple[Calibration, float]:
        one = dataclasses.replace(calibration, latency={**calibration.latency, "network": Latency((network_ns,))})
        found = simulate(scenario, one, host=False).metrics["latency_acked_ms_p50"]
        return one, (found if found is not None else math.nan) / 1e3

    low, high = 0.0, max(1e5, 1e9 * seen_s)
    if not at(low)[1] < seen_s:
        return at(low)[0]
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if at(middle)[1] < seen_s else (low, middle)
    return at(low)[0]


def _kept(source: str, seconds: Floats, rate: Floats, cpu: Mapping[str, Floats], latency: Floats) -> Telemetry:
    busy = (rate > 0) & (seconds > 0)
    if busy.sum() < _FEWEST:
        raise ProfileError(f"{source}: {int(busy.sum())} steps with records; at least {_FEWEST} are needed")
    if not cpu:
        raise ProfileError(f"{source}: CPU of no part ({', '.join(PARTS)})")
    latency = latency[busy] if len(latency) else latency
    return Telemetry(source, seconds[busy], rate[busy], {k: v[busy] for k, v in cpu.items()}, latency)


def _selected(selector: str) -> tuple[str, dict[str, str]]:
    match = _SELECTOR.match(selector)
    labels: dict[str, str] = {}
    rest = (match.group(2) or "").strip() if match else ""
    while match and rest:
        label = _LABEL.match(rest)
        if label is None:
            match = None
            break
        labels[label.group(1)] = label.group(2)
        rest = rest[label.end() :].strip()
    if match is None:
        raise ProfileError(f'--metric: {selector!r} is no selector such as name{{label="value"}}')
    return match.group(1), labels


def _growth(series: Sequence[Sequence[tuple[float, float]]], times: Floats) -> Floats:
    """How much counters grew between the times, summed; one that falls began anew at 0."""
    whole = np.zeros(len(times) - 1)
    for values in series:
        at, count = np.asarray(sorted(values), dtype=np.float64).T
        steps = np.diff(count, prepend=count[0])
        steps[steps < 0] = count[steps < 0]
        risen = np.cumsum(steps)
        whole += np.diff(np.interp(times, at, risen))
    return whole


# ---------------------------------------------------------------- exporting


def export(run: Path, step_s: int = 1) -> dict[str, Any]:
    """A run as Prometheus would answer `query_range` for it, with the names of `NAMES`.

    Args:
        run: Folder of a run, real or simulated.
        step_s: Between two samples.

    Raises:
        RunError: It is no run.
        ProfileError: It is too short, or it has no CPU by process.
    """
    from analysis.runs import read_run

    found = read_run(run)
    records, host = found.records, found.host
    out, created, acked = (np.asarray(records[name]) for name in ("out_appended", "created", "acked"))
    second, kind, name, cpu = (np.asarray(host[column]) for column in ("second", "kind", "name", "cpu_ns"))
    own = kind == "process"
    if not own.any():
        raise ProfileError(f"{run}: host.parquet has no CPU by process")
    begin, end = int(second[own].min()), int(second[own].max()) + 1
    times = np.arange(begin, end + 1, step_s)
    if len(times) < _FEWEST + 1:
        raise ProfileError(f"{run}: {end - begin} s are too short for steps of {step_s} s")
    epoch = found.meta["start_epoch_ms"] / 1e3

    def matrix(metric: dict[str, str], values: Any) -> dict[str, Any]:
        samples = [[epoch + float(t), f"{v:.9g}"] for t, v in zip(times, values, strict=True)]
        return {"metric": metric, "values": samples}

    done = np.sort(out[out >= 0])
    result = [matrix({"__name__": NAMES["records"]}, np.searchsorted(done, times * S_NS))]
    for part in PARTS:
        words = ("worker", "engine") if part == "engine" else (part,)
        mine = own & np.isin([str(n).partition(".")[0] for n in name], words)
        if mine.any():
            used = [float(np.sum(cpu[mine & (second < t)])) / S_NS for t in times]
            result.append(matrix({"__name__": "weir_cpu_seconds_total", "part": part}, used))
    answered = acked >= 0
    at, latency = acked[answered], (acked - created)[answered]
    medians, last = [], 0.0
    for t in times:
        inside = latency[(at >= (t - step_s) * S_NS) & (at < t * S_NS)]
        last = float(np.median(inside)) / MS_NS if len(inside) else last
        medians.append(last)
    result.append(matrix({"__name__": NAMES["latency_p50_ms"]}, medians))
    return {"status": "success", "data": {"resultType": "matrix", "result": result}}
