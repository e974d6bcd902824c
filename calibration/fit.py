"""Fits a cost model from a profile: CPU first, then waiting, then nothing else.

CPU of each kind of thread is a non-negative sum over counted events.  What our own code does (poll, parse, score,
encode, produce) was read by the thread's CPU clock around each section; the rest are black boxes.  A thread that slept
comes back to cold caches: that is a cost of its own, paid once a wake-up, and is why a record costs less under load.
Latencies (wake-up, timer) come from probes; the network's from light-load stamps, as what the model without it leaves.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from calibration.profiles import Profile, ProfileError, ProfileRun
from calibration.regression import Fit, fit
from scenarios.spec import MS_NS, S_NS
from sim.costs import ZERO, Calibration, CpuCost, HostCosts, Latency, Value

Counts = dict[str, Any]
Row = tuple[list[float], float]
#: What a host's slice is where the probe saw none (a host with a core to spare).
_DEFAULT_SLICE_NS = 4 * MS_NS
_PASSES = 2


@dataclasses.dataclass
class _Model:
    """The pieces of a calibration while it grows."""

    cpu: dict[str, CpuCost]
    latency: dict[str, Latency]
    background: dict[str, Value]
    fits: dict[str, Fit]
    score_table: dict[int, float]
    tables: dict[str, dict[int, float]]


def fit_profile(profile: Profile, name: str) -> Calibration:
    """Fits a calibration.

    Args:
        profile: A complete profile of one host.
        name: The calibration's name.

    Raises:
        ProfileError: A variation the fit needs is missing.
    """
    host = _host(profile)
    sizes = _sizes(profile)
    model = _Model({}, _probed(profile), {}, {}, {}, {})
    wakes: dict[str, Counts] = {r.name: r.counters for r in profile.runs}
    calibration = None
    for _ in range(_PASSES):
        _cpu(profile, model, wakes)
        calibration = _assemble(profile, name, host, sizes, model)
        model.latency["network"] = Latency((_network_ns(profile, calibration),))
        calibration = _assemble(profile, name, host, sizes, model)
        # A client library wakes more often than its model does, for its own reasons: their CPU is spread over the
        # wake-ups that the model knows, so the next pass counts those.
        wakes = {r.name: _simulated(r, calibration) for r in profile.runs}
    assert calibration is not None
    return calibration


# ---------------------------------------------------------------- CPU


def _cpu(profile: Profile, model: _Model, wakes: dict[str, Counts]) -> None:
    runs = profile.runs

    def add(name: str, terms: Sequence[str], rows: Sequence[Row]) -> Fit:
        usable = [row for row in rows if row[1] > 0]
        if len(usable) < 2:
            raise ProfileError(f"{profile.path}: too few runs to fit {name}")
        model.fits[name] = fit(terms, np.asarray([r[0] for r in usable]), np.asarray([r[1] for r in usable]))
        return model.fits[name]

    def seconds(c: Counts) -> float:
        return float(c["window_ns"]) / S_NS

    # The generator's application thread.
    g = add(
        "generator.app",
        ("s", "wake", "record", "byte"),
        [
            ([seconds(r.counters), x["sleeps"], x["records"], x["bytes"]], x["app_cpu_ns"])
            for r in runs
            for x in [r.counters["generator"]]
            if not r.drained
        ],
    )
    model.cpu["generator.wake"] = CpuCost(fixed_ns=g["wake"])
    model.cpu["generator.record"] = CpuCost(fixed_ns=g["record"], byte_ns=g["byte"])

    # Producer clients: the generator's and the worker's are one library.
    rows: list[Row] = []
    for r in runs:
        c, k = r.counters, wakes[r.name]
        parts = [(c["generator"], "client", k["generator"], c["generator"]["bytes"])] if not r.drained else []
        parts.append((c["workers"][0], "producer", k["workers"][0], c["workers"][0]["bytes_out"]))
        for x, word, w, size in parts:
            rows.append(
                ([seconds(c), w[f"{word}_wakeups"], x["produce_requests"], x["records"], size], x[f"{word}_cpu_ns"])
            )
    p = add("producer.client", ("s", "wake", "request", "record", "byte"), rows)
    model.cpu["producer.wake"] = CpuCost(fixed_ns=p["wake"])
    model.cpu["producer.request"] = CpuCost(fixed_ns=p["request"], record_ns=p["record"], byte_ns=p["byte"])

    # Consumer clients: the worker's and the collector's.
    rows = []
    for r in runs:
        c, k = r.counters, wakes[r.name]
        for x, w, size in (
            (c["workers"][0], k["workers"][0], c["workers"][0]["bytes_in"]),
            (c["collector"], k["collector"], c["collector"]["bytes"]),
        ):
            rows.append(
                ([seconds(c), w["consumer_wakeups"], x["fetch_requests"], x["records"], size], x["consumer_cpu_ns"])
            )
    f = add("consumer.client", ("s", "wake", "request", "record", "byte"), rows)
    model.cpu["consumer.wake"] = CpuCost(fixed_ns=f["wake"])
    model.cpu["consumer.fetch"] = CpuCost(fixed_ns=f["request"], record_ns=f["record"], byte_ns=f["byte"])
    model.cpu["consumer.fetch_empty"] = CpuCost(fixed_ns=f["request"])

    # The broker: produce and fetch requests go in pairs, as records in and out do, so each pair has one coefficient.
    rows = []
    for r in runs:
        c = r.counters
        b = c["broker"]
        requests = [c["generator"]["produce_requests"] if not r.drained else 0]
        requests += [w[key] for w in c["workers"] for key in ("produce_requests", "fetch_requests")]
        requests.append(c["collector"]["fetch_requests"])
        if any(n is None for n in requests):
            continue
        # A drained backlog came in before the window; what the generator sends in it comes in.
        records_in = (0 if r.drained else c["generator"]["records"]) + sum(w["records"] for w in c["workers"])
        bytes_in = (0 if r.drained else c["generator"]["bytes"]) + sum(w["bytes_out"] for w in c["workers"])
        records_out, bytes_out = b["records_out"], b["bytes_out"]
        rows.append(([seconds(c), sum(requests), records_in + records_out, bytes_in + bytes_out], b["cpu_ns"]))
    b = add("broker", ("s", "request", "record", "byte"), rows)
    model.cpu["broker.produce"] = CpuCost(fixed_ns=b["request"], record_ns=b["record"], byte_ns=b["byte"])
    model.cpu["broker.fetch"] = CpuCost(fixed_ns=b["request"], record_ns=b["record"], byte_ns=b["byte"])
    model.cpu["broker.fetch_empty"] = CpuCost(fixed_ns=b["request"])

    _worker(profile, model, add)

    # The collector's application thread.
    k_ = add(
        "collector.app",
        ("s", "wake", "record", "byte"),
        [
            ([seconds(r.counters), x["app_wakeups"], x["records"], x["bytes"]], x["app_cpu_ns"])
            for r in runs
            for x in [r.counters["collector"]]
        ],
    )
    model.cpu["collector.wake"] = CpuCost(fixed_ns=k_["wake"])
    model.cpu["collector.record"] = CpuCost(record_ns=k_["record"], byte_ns=k_["byte"])

    other = [r.counters["host"]["other_cpu_ns"] / seconds(r.counters) for r in runs if not r.drained]
    rest = {
        "generator": [r.counters["generator"]["other_cpu_ns"] / seconds(r.counters) for r in runs if not r.drained],
        "engine": [r.counters["workers"][0]["other_cpu_ns"] / seconds(r.counters) for r in runs if not r.drained],
        "collector": [r.counters["collector"]["other_cpu_ns"] / seconds(r.counters) for r in runs if not r.drained],
    }
    model.background = {
        "broker": b["s"],
        "generator": _plus(g["s"], p["s"], _spread(rest["generator"])),
        "engine": _plus(p["s"], f["s"], _spread(rest["engine"])),
        "collector": _plus(k_["s"], f["s"], _spread(rest["collector"])),
        "host": _spread(other),
    }


def _worker(profile: Profile, model: _Model, add: Callable[[str, Sequence[str], Sequence[Row]], Fit]) -> None:
    """The worker's application thread, section by section: hot cost a record, and what a cold start adds a wake-up."""

    def counts(r: ProfileRun) -> tuple[float, float, float, Counts]:
        w = r.counters["workers"][0]
        empty = float(w["polls_empty"])
        taken = float(w["polls"]) - empty
        return min(taken, max(0.0, w["app_wakeups"] - empty)), taken, empty, w

    poll_rows = []
    section_rows: dict[str, list[Row]] = {s: [] for s in ("decode", "encode", "produce")}
    scored: list[Row] = []
    for r in profile.runs:
        cold, taken, empty, w = counts(r)
        poll_rows.append(([empty, cold, taken, float(w["records"]), float(w["bytes_in"])], w["poll_cpu_ns"]))
        for section, rows in section_rows.items():
            size = w["bytes_in"] if section == "decode" else w["bytes_out"]
            rows.append(([cold, float(w["records"]), float(size)], w[f"{section}_cpu_ns"]))
        if r.scenario.model.name == profile.scenario.model.name:
            scored.append(([cold, float(w["records"])], w["score_cpu_ns"]))
    polls = add("worker.poll", ("empty", "cold", "poll", "record", "byte"), poll_rows)
    sections = {s: add(f"worker.{s}", ("cold", "record", "byte"), rows) for s, rows in section_rows.items()}
    score = add("worker.score", ("cold", "record"), scored)
    model.cpu["worker.poll_empty"] = CpuCost(fixed_ns=polls["empty"])
    model.cpu["worker.poll"] = CpuCost(fixed_ns=polls["poll"], record_ns=polls["record"], byte_ns=polls["byte"])
    model.cpu["worker.cold"] = CpuCost(
        fixed_ns=_plus(polls["cold"], score["cold"], *(f["cold"] for f in sections.values()))
    )
    for section, found in sections.items():
        model.cpu[f"worker.{section}"] = CpuCost(fixed_ns=found["record"], byte_ns=found["byte"])
    model.cpu["worker.score"] = CpuCost()
    # Hot costs by points: the microbenchmark's shape, set to what the engine paid at the points it was run at.
    points = profile.scenario.workload.points
    measured = profile.scoring.get(points) or next(iter(profile.scoring.values()))
    extra = score["record"].value - measured["score_ns"]
    model.score_table = {n: max(row["score_ns"] * 0.5, row["score_ns"] + extra) for n, row in profile.scoring.items()}
    for section in ("decode", "encode"):
        size = measured["input_bytes"] if section == "decode" else measured["output_bytes"]
        found = sections[section]
        paid = found["record"].value + found["byte"].value * size
        ratio = paid / measured[f"{section}_ns"]
        model.tables[f"worker.{section}"] = {n: row[f"{section}_ns"] * ratio for n, row in profile.scoring.items()}


# ---------------------------------------------------------------- waiting


def _probed(profile: Profile) -> dict[str, Latency]:
    """Wake-up and timer latency, as probed on the idle host; the last quantile, one sample, is left out."""

    def cut(values: Sequence[float]) -> Latency:
        return Latency((*values[:-1], values[-2]))

    return {"wake": cut(profile.host["wake_ns"]), "timer": cut(profile.host["timer_ns"]), "network": Latency((0.0,))}


def _network_ns(profile: Profile, calibration: Calibration) -> float:
    """One way between client and broker: half of what the light-load stamps hold beyond the model without it.

    From `sent` to `fetched` there are two ways, to the broker and from it, and no clock of whole milliseconds.
    """
    light = profile.run("light") or profile.run("linger-0ms")
    if not light:
        raise ProfileError(f"{profile.path}: no light-load run without linger")
    bare = dataclasses.replace(calibration, latency={**calibration.latency, "network": Latency((0.0,))})
    gaps = [_sent_to_fetched(_real_records(r), r) - _sent_to_fetched(_simulate(r, bare).records, r) for r in light]
    return max(0.0, float(np.median(gaps)) / 2)


def _sent_to_fetched(records: Any, run: ProfileRun) -> float:
    sent, fetched = np.asarray(records["sent"]), np.asarray(records["fetched"])
    inside = (fetched >= 0) & (sent >= run.scenario.workload.warmup_ns)
    return float(np.median((fetched - sent)[inside]))


def _real_records(run: ProfileRun) -> Any:
    from analysis.runs import read_run

    return read_run(run.path).records


def _simulate(run: ProfileRun, calibration: Calibration) -> Any:
    from sim.run import simulate

    return simulate(run.scenario, calibration)


def _simulated(run: ProfileRun, calibration: Calibration) -> Counts:
    counters: Counts = _simulate(run, calibration).meta["counters"]
    return counters


# ---------------------------------------------------------------- assembling


def _host(profile: Profile) -> HostCosts:
    host = profile.host
    return HostCosts(
        cores=int(host["cores"]),
        curve=tuple(float(x) for x in host["curve"]),
        discipline="slices",
        slice_ns=round(host["slice_ns"] or _DEFAULT_SLICE_NS),
    )


def _sizes(profile: Profile) -> dict[str, float]:
    """Bytes of a record by points: a line through the microbenchmark's sizes."""
    points = sorted(profile.scoring)
    out = {}
    for direction in ("input", "output"):
        sizes = [profile.scoring[n][f"{direction}_bytes"] for n in points]
        slope = (sizes[-1] - sizes[0]) / (points[-1] - points[0]) if len(points) > 1 else sizes[0] / points[0]
        out[f"{direction}_per_point"] = slope
        out[f"{direction}_fixed"] = max(0.0, sizes[0] - slope * points[0])
    return out


def _assemble(profile: Profile, name: str, host: HostCosts, sizes: dict[str, float], model: _Model) -> Calibration:
    scenario = profile.scenario
    settings = scenario.profile
    assert settings is not None
    fits = model.fits
    return Calibration(
        name=name,
        created=profile.started[:10],
        fingerprint={**profile.fingerprint, "versions": profile.runs[0].meta["versions"]},
        regime={
            "engine": scenario.engine.kind,
            "runtime": scenario.serving.runtime,
            "model": scenario.model.name,
            "format": scenario.workload.payload.format,
            "broker": profile.runs[0].meta["scenario"]["broker"]["kind"],
        },
        cpu={k: v for k, v in model.cpu.items() if v != CpuCost()},
        latency=dict(model.latency),
        host=host,
        background_ns_per_s={k: v for k, v in model.background.items() if v.value > 0},
        score_table=dict(model.score_table),
        tables_ns={k: dict(v) for k, v in model.tables.items()},
        sizes_bytes=sizes,
        ranges={
            "rate_per_s": (min(settings.rates_per_s), max(settings.rates_per_s)),
            "points": (float(min(profile.scoring)), float(max(profile.scoring))),
            "partitions": _range(r.scenario.broker.partitions for r in profile.runs),
            "linger_ms": _range(r.scenario.broker.producer.linger_ns / MS_NS for r in profile.runs),
            "max_poll_records": _range(r.scenario.broker.consumer.max_poll_records for r in profile.runs),
            "parallelism": _range(r.scenario.engine.parallelism for r in profile.runs),
        },
        fit={
            "profile": profile.path.name,
            "quick": profile.quick,
            "runs": [r.name for r in profile.runs],
            "condition": {k: f.condition for k, f in fits.items()},
            "leave_one_out": {k: f.leave_one_out for k, f in fits.items()},
            "errors": {k: list(f.errors) for k, f in fits.items()},
            "merged": {k: f.merged for k, f in fits.items() if f.merged},
        },
    )


def _range(values: Any) -> tuple[float, float]:
    found = [float(v) for v in values]
    return min(found), max(found)


def _plus(*values: Value) -> Value:
    return Value(sum(v.value for v in values), sum(v.lo for v in values), sum(v.hi for v in values))


def _spread(values: Sequence[float]) -> Value:
    """Median and 5 to 95 % of a sample."""
    if not values:
        return ZERO
    low, middle, high = np.quantile(np.asarray(values), (0.05, 0.5, 0.95))
    return Value(float(middle), float(low), float(high))
