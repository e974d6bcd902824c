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
_PASSES = 3
_MOST_REST = 0.95
#: Runs with fewer records say nothing about the cost of one.
_FEWEST_RECORDS = 100
_SELDOM = 0.1  # sleeps a record
_TAUS_MS = (1.0, 4.0, 16.0)
_BY_SIZE = ("decode", "encode")


@dataclasses.dataclass
class _Model:
    """The pieces of a calibration while it grows."""

    cpu: dict[str, CpuCost]
    latency: dict[str, Latency]
    background: dict[str, Value]
    fits: dict[str, Fit]
    score_table: dict[int, float]
    tables: dict[str, dict[int, float]]
    cold_shape: dict[float, float] = dataclasses.field(default_factory=lambda: {4.0 * MS_NS: 1.0})
    rest_share: float = 0.0  # of what the broker does for a request, done once the answer is on its way


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
    # Sleeps and how cold a thread comes back from them are counted by the model.  A client library wakes more often
    # than its model does, for its own reasons: that CPU is spread over the wake-ups that the model knows.  The first
    # pass has no costs yet, which changes when threads sleep; the next ones do.
    calibration = _assemble(profile, name, host, sizes, model)
    for _ in range(_PASSES):
        wakes = {r.name: _simulated(r, calibration) for r in profile.runs}
        _cpu(profile, model, wakes)
        calibration = _waiting(profile, model, lambda: _assemble(profile, name, host, sizes, model))
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
        ("s", "wake", "cold", "record", "byte"),
        [
            (
                [seconds(c), x["sleeps"], wakes[r.name]["generator"]["app_cold"], x["records"], x["bytes"]],
                x["app_cpu_ns"],
            )
            for r in runs
            for c in [r.counters]
            for x in [c["generator"]]
            if not r.drained
        ],
    )
    model.cpu["generator.wake"] = CpuCost(fixed_ns=g["wake"], cold_ns=g["cold"])
    model.cpu["generator.record"] = CpuCost(fixed_ns=g["record"], byte_ns=g["byte"])

    # Producer clients: the generator's and the worker's are one library.
    rows: list[Row] = []
    for r in runs:
        c, k = r.counters, wakes[r.name]
        parts = [(c["generator"], "client", k["generator"], c["generator"]["bytes"])] if not r.drained else []
        parts.append((c["workers"][0], "producer", k["workers"][0], c["workers"][0]["bytes_out"]))
        for x, word, w, size in parts:
            rows.append(
                (
                    [seconds(c), w[f"{word}_wakeups"], w[f"{word}_cold"], x["produce_requests"], x["records"], size],
                    x[f"{word}_cpu_ns"],
                )
            )
    p = add("producer.client", ("s", "wake", "cold", "request", "record", "byte"), rows)
    model.cpu["producer.wake"] = CpuCost(fixed_ns=p["wake"], cold_ns=p["cold"])
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
                (
                    [seconds(c), w["consumer_wakeups"], w["consumer_cold"], x["fetch_requests"], x["records"], size],
                    x["consumer_cpu_ns"],
                )
            )
    f = add("consumer.client", ("s", "wake", "cold", "request", "record", "byte"), rows)
    model.cpu["consumer.wake"] = CpuCost(fixed_ns=f["wake"], cold_ns=f["cold"])
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
        cold = wakes[r.name]["broker"]["cold"]
        rows.append(([seconds(c), sum(requests), cold, records_in + records_out, bytes_in + bytes_out], b["cpu_ns"]))
    b = add("broker", ("s", "request", "cold", "record", "byte"), rows)
    # What is done for a request once its answer is on its way keeps a core busy and nobody waiting: how much that is
    # shows in the light-load stamps (`_waiting`).
    ahead = 1.0 - model.rest_share
    request = _times(b["request"], ahead)
    model.cpu["broker.wake"] = CpuCost(cold_ns=b["cold"])
    model.cpu["broker.produce"] = CpuCost(fixed_ns=request, record_ns=b["record"], byte_ns=b["byte"])
    model.cpu["broker.fetch"] = CpuCost(fixed_ns=request, record_ns=b["record"], byte_ns=b["byte"])
    model.cpu["broker.fetch_empty"] = CpuCost(fixed_ns=request)
    model.cpu["broker.rest"] = CpuCost(fixed_ns=_times(b["request"], model.rest_share))

    if "worker.poll" not in model.fits:  # counted in the runs themselves: no pass changes it
        _worker(profile, model, add)

    # The collector's application thread.
    k_ = add(
        "collector.app",
        ("s", "wake", "cold", "record", "byte"),
        [
            (
                [seconds(c), x["app_wakeups"], wakes[r.name]["collector"]["app_cold"], x["records"], x["bytes"]],
                x["app_cpu_ns"],
            )
            for r in runs
            for c in [r.counters]
            for x in [c["collector"]]
        ],
    )
    model.cpu["collector.wake"] = CpuCost(fixed_ns=k_["wake"], cold_ns=k_["cold"])
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
    """The worker's application thread, section by section: hot cost a record, and what cold caches add after a sleep.

    Hot and cold costs of parsing and encoding are of the calibration's own model, as one record of it has them.  The
    no-op model's padded records, hot, give the line through the sizes that other models are predicted by.
    """
    runs = [r for r in profile.runs if r.counters["workers"][0]["records"] >= _FEWEST_RECORDS]
    gaps = {r.name: _gaps_ns(r) for r in runs}

    def cold(tau_ns: float) -> dict[str, float]:
        return {name: float(np.sum(1.0 - np.exp(-g / tau_ns))) for name, g in gaps.items()}

    # How caches go cold: the whole thread's CPU over a few time constants at once, one of which would be too stiff.
    taus = [tau * MS_NS for tau in _TAUS_MS]
    met = {tau: cold(tau) for tau in taus}
    rows: list[Row] = []
    for r in runs:
        w = r.counters["workers"][0]
        if r.scenario.model.name == profile.scenario.model.name:
            counts = [*(met[tau][r.name] for tau in taus), float(w["polls_empty"]), float(w["records"])]
            rows.append((counts, w["app_cpu_ns"]))
    whole = add("worker.app", (*(f"cold {tau:g} ms" for tau in _TAUS_MS), "empty", "record"), rows)
    weights = [whole[f"cold {tau:g} ms"].value for tau in _TAUS_MS]
    if sum(weights) > 0:
        model.cold_shape = {tau: x / sum(weights) for tau, x in zip(taus, weights, strict=True) if x > 0}
    shaped = {r.name: sum(share * met[tau][r.name] for tau, share in model.cold_shape.items()) for r in runs}
    found = _sections(profile, runs, shaped, add)
    polls, score, produce = found["worker.poll"], found["worker.score"], found["worker.produce"]
    model.cpu["worker.poll_empty"] = CpuCost(fixed_ns=polls["empty"])
    model.cpu["worker.poll"] = CpuCost(fixed_ns=polls["poll"], record_ns=polls["record"], byte_ns=polls["byte"])
    cold_ns = _plus(*(found[f"worker.{s}"]["cold"] for s in ("poll", "decode", "score", "encode", "produce")))
    model.cpu["worker.cold"] = CpuCost(cold_ns=cold_ns)
    model.cpu["worker.produce"] = CpuCost(fixed_ns=produce["record"], byte_ns=produce["byte"])
    for section in _BY_SIZE:
        line = found[f"worker.{section} by size"]
        model.cpu[f"worker.{section}"] = CpuCost(fixed_ns=line["record"], byte_ns=line["byte"])
    # Hot costs by points: the microbenchmark's shape, set to what the engine paid at the points it was run at.
    measured = profile.scoring.get(profile.scenario.workload.points) or next(iter(profile.scoring.values()))
    extra = score["record"].value - measured["score_ns"]
    model.score_table = {n: max(row["score_ns"] / 2, row["score_ns"] + extra) for n, row in profile.scoring.items()}
    for section in _BY_SIZE:
        ratio = found[f"worker.{section}"]["record"].value / measured[f"{section}_ns"]
        model.tables[f"worker.{section}"] = {n: row[f"{section}_ns"] * ratio for n, row in profile.scoring.items()}


def _sections(
    profile: Profile,
    runs: Sequence[ProfileRun],
    cold: dict[str, float],
    add: Callable[[str, Sequence[str], Sequence[Row]], Fit],
) -> dict[str, Fit]:
    """The fits of the worker's sections, with so much coldness met in each run."""
    polls: list[Row] = []
    produced: list[Row] = []
    own: dict[str, list[Row]] = {s: [] for s in ("decode", "score", "encode")}
    by_size: dict[str, list[Row]] = {s: [] for s in _BY_SIZE}
    for r in runs:
        w, met = r.counters["workers"][0], cold[r.name]
        empty, records = float(w["polls_empty"]), float(w["records"])
        polls.append(([empty, met, w["polls"] - empty, records, float(w["bytes_in"])], w["poll_cpu_ns"]))
        produced.append(([met, records, float(w["bytes_out"])], w["produce_cpu_ns"]))
        if r.scenario.model.name == profile.scenario.model.name:
            for section, rows in own.items():
                rows.append(([met, records], w[f"{section}_cpu_ns"]))
        elif met <= _SELDOM * records:
            for section, rows in by_size.items():
                size = w["bytes_in"] if section == "decode" else w["bytes_out"]
                rows.append(([records, float(size)], w[f"{section}_cpu_ns"]))
    found = {
        "worker.poll": add("worker.poll", ("empty", "cold", "poll", "record", "byte"), polls),
        "worker.produce": add("worker.produce", ("cold", "record", "byte"), produced),
    }
    found |= {f"worker.{s}": add(f"worker.{s}", ("cold", "record"), rows) for s, rows in own.items()}
    found |= {
        f"worker.{s} by size": add(f"worker.{s} by size", ("record", "byte"), rows) for s, rows in by_size.items()
    }
    return found


def _gaps_ns(run: ProfileRun) -> Any:
    """How long the worker had not worked before each poll that took records, inside the counters' window."""
    records = _real_records(run)
    columns = {name: np.asarray(records[name]) for name in ("fetched", "produced", "batch")}
    seen = columns["batch"] >= 0
    order = np.lexsort((columns["produced"][seen], columns["batch"][seen]))
    batch, fetched, produced = (columns[name][seen][order] for name in ("batch", "fetched", "produced"))
    first = np.flatnonzero(np.r_[True, np.diff(batch) > 0])
    last = np.r_[first[1:], len(batch)] - 1
    gaps, at = fetched[first[1:]] - produced[last[:-1]], fetched[first[1:]]
    w = run.scenario.workload
    inside = (at >= w.warmup_ns) & (at < w.warmup_ns + w.duration_ns) if not run.drained else np.ones(len(at), bool)
    return np.maximum(gaps[inside], 0).astype(np.float64)


# ---------------------------------------------------------------- waiting


def _probed(profile: Profile) -> dict[str, Latency]:
    """Wake-up and timer latency, as probed on the idle host; the last quantile, one sample, is left out."""

    def cut(values: Sequence[float]) -> Latency:
        return Latency((*values[:-1], values[-2]))

    return {"wake": cut(profile.host["wake_ns"]), "timer": cut(profile.host["timer_ns"]), "network": Latency((0.0,))}


def _waiting(profile: Profile, model: _Model, assemble: Callable[[], Calibration]) -> Calibration:
    """Network latency, or how much of the broker's work is off the path, from the light-load stamps.

    From `sent` to `fetched` there are two ways, to the broker and from it, and no clock of whole milliseconds.  What
    the stamps hold beyond the model is the network's, half each way.  Where they hold less, CPU that the model puts
    before an answer is spent after it: the share that makes the model agree is moved there.
    """
    light = profile.run("light") or profile.run("linger-0ms")
    if not light:
        raise ProfileError(f"{profile.path}: no light-load run without linger")
    seen = float(np.median([_sent_to_fetched(_real_records(r), r) for r in light]))

    def beyond(rest_share: float) -> float:
        _move(model, rest_share)
        calibration = assemble()
        return seen - float(np.median([_sent_to_fetched(_simulate(r, calibration).records, r) for r in light]))

    model.latency["network"] = Latency((0.0,))
    gap = beyond(0.0)
    if gap >= 0:
        model.latency["network"] = Latency((gap / 2,))
        return assemble()
    low, high = 0.0, _MOST_REST
    if beyond(high) > 0:
        for _ in range(12):
            middle = (low + high) / 2
            low, high = (middle, high) if beyond(middle) < 0 else (low, middle)
    gap = beyond(high)
    if gap > 0:
        model.latency["network"] = Latency((gap / 2,))
    return assemble()


def _move(model: _Model, rest_share: float) -> None:
    """Puts a share of what the broker does for a request behind its answer."""

    def whole(name: str) -> Value:
        kept = model.cpu.get(name, CpuCost()).fixed_ns
        return _times(kept, 1.0 / (1.0 - model.rest_share))

    request = whole("broker.produce")
    model.rest_share = rest_share
    ahead = _times(request, 1.0 - rest_share)
    for name in ("broker.produce", "broker.fetch", "broker.fetch_empty"):
        model.cpu[name] = dataclasses.replace(model.cpu[name], fixed_ns=ahead)
    model.cpu["broker.rest"] = CpuCost(fixed_ns=_times(request, rest_share))


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
        cold_shape=dict(model.cold_shape),
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
            # How far a table of hot costs may be off, as shares of it: the interval of the fit it was set by.
            "table_shares": {k: _shares(fits[k]["record"]) for k in (*model.tables, "worker.score") if k in fits},
        },
    )


def _range(values: Any) -> tuple[float, float]:
    found = [float(v) for v in values]
    return min(found), max(found)


def _plus(*values: Value) -> Value:
    return Value(sum(v.value for v in values), sum(v.lo for v in values), sum(v.hi for v in values))


def _shares(v: Value) -> list[float]:
    return [v.lo / v.value, v.hi / v.value] if v.value > 0 else [1.0, 1.0]


def _times(v: Value, factor: float) -> Value:
    return Value(v.value * factor, v.lo * factor, v.hi * factor)


def _spread(values: Sequence[float]) -> Value:
    """Median and 5 to 95 % of a sample."""
    if not values:
        return ZERO
    low, middle, high = np.quantile(np.asarray(values), (0.05, 0.5, 0.95))
    return Value(float(middle), float(low), float(high))
