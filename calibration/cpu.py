"""CPU of each kind of thread, as a non-negative sum over counted events.

What our own code does (poll, parse, score, encode, produce) was read by the thread's CPU clock around each section; the
rest are black boxes.  A thread that slept comes back to cold caches: that is a cost of its own, paid once a wake-up,
and is why a record costs less under load.  Which events each kind of thread pays for stands here, and nothing else: who
fits, and whether to the data measured or to disturbed ones, is the caller's (`calibration.replicates`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from calibration.profiles import Profile, ProfileRun
from calibration.regression import Fit
from scenarios.spec import MS_NS, S_NS
from sim.costs import ZERO, CpuCost, Latency, Value

Counts = dict[str, Any]
#: Name of the run, events counted, CPU ns.
Row = tuple[str, list[float], float]
#: name of a fit, its terms, its rows -> the fit
Fitter = Callable[[str, Sequence[str], Sequence[Row]], Fit]
#: Runs with fewer records say nothing about the cost of one.
_FEWEST_RECORDS = 100
_SELDOM = 0.1  # sleeps a record
_TAUS_MS = (1.0, 4.0, 16.0)
BY_SIZE = ("decode", "encode")
#: No more of the polling thread's CPU than this is taken for a client's.
_MOST_POLLED = 0.9
_REST_TERMS = ("s", "record", "byte")
_SECTIONS = ("poll", "decode", "score", "encode", "produce")
#: fit -> terms that may be negative: what cold caches cost is one cost, the sum over the sections.
FREE = {f"worker.{section}": ("cold",) for section in _SECTIONS}


@dataclasses.dataclass
class Model:
    """The pieces of a calibration while it grows."""

    cpu: dict[str, CpuCost]
    latency: dict[str, Latency]
    background: dict[str, Value]
    fits: dict[str, Fit]
    score_table: dict[int, float]
    tables: dict[str, dict[int, float]]
    cold_shape: dict[float, float] = dataclasses.field(default_factory=lambda: {4.0 * MS_NS: 1.0})
    rest_share: float = 0.0  # of what the broker does for a request, done once the answer is on its way
    residual: dict[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    spread: float = 0.0  # coefficient of variation of what stamps of single records do not tell


@dataclasses.dataclass(frozen=True)
class Seen:
    """What the fits read.

    Attributes:
        profile: The runs.
        wakes: Run -> the simulator's counters of it: sleeps and coldness of threads that no counter of the run has.
        gaps: Run -> ns that the worker had not worked before each poll that took records.
    """

    profile: Profile
    wakes: Mapping[str, Counts]
    gaps: Mapping[str, Any]

    @property
    def worked(self) -> list[ProfileRun]:
        """The runs with records enough."""
        return [r for r in self.profile.runs if r.counters["workers"][0]["records"] >= _FEWEST_RECORDS]


def fit_cpu(seen: Seen, model: Model, fitter: Fitter) -> None:
    """Fits every cost of every kind of thread into the model.

    Args:
        seen: What was measured and counted.
        model: Grows.
        fitter: Called once a fit.
    """
    profile, wakes = seen.profile, seen.wakes
    runs = profile.runs

    def add(name: str, terms: Sequence[str], rows: Sequence[Row]) -> Fit:
        model.fits[name] = fitter(name, terms, rows)
        return model.fits[name]

    def seconds(c: Counts) -> float:
        return float(c["window_ns"]) / S_NS

    # The generator's application thread.
    g = add(
        "generator.app",
        ("s", "wake", "cold", "record", "byte"),
        [
            (
                r.name,
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

    # Producer clients: the generator's and the worker's are one library, unless the engine brings its own.
    shared = all("engine" in r.counters for r in runs)
    rows: list[Row] = []
    for r in runs:
        c, k = r.counters, wakes[r.name]
        parts = [(c["generator"], "client", k["generator"], c["generator"]["bytes"])] if not r.drained else []
        if not shared:
            parts.append((c["workers"][0], "producer", k["workers"][0], c["workers"][0]["bytes_out"]))
        for x, word, w, size in parts:
            rows.append(
                (
                    r.name,
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
        parts = [(c["collector"], "consumer", k["collector"], c["collector"]["bytes"])]
        if not shared:
            parts.append((c["workers"][0], "consumer", k["workers"][0], c["workers"][0]["bytes_in"]))
        for x, _, w, size in parts:
            rows.append(
                (
                    r.name,
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
        counts = [seconds(c), sum(requests), cold, records_in + records_out, bytes_in + bytes_out]
        rows.append((r.name, counts, b["cpu_ns"]))
    b = add("broker", ("s", "request", "cold", "record", "byte"), rows)
    # What is done for a request once its answer is on its way keeps a core busy and nobody waiting: how much that is
    # shows in the light-load stamps (`_waiting`).
    ahead = 1.0 - model.rest_share
    request = times(b["request"], ahead)
    model.cpu["broker.wake"] = CpuCost(cold_ns=b["cold"])
    model.cpu["broker.produce"] = CpuCost(fixed_ns=request, record_ns=b["record"], byte_ns=b["byte"])
    model.cpu["broker.fetch"] = CpuCost(fixed_ns=request, record_ns=b["record"], byte_ns=b["byte"])
    model.cpu["broker.fetch_empty"] = CpuCost(fixed_ns=request)
    model.cpu["broker.rest"] = CpuCost(fixed_ns=times(b["request"], model.rest_share))

    rest: dict[str, _Beyond] = {}
    if shared:
        rest = {r.name: _beyond(r.counters, wakes[r.name]["workers"][0], p, f) for r in runs}
    if shared or "worker.poll" not in model.fits:  # counted in the runs themselves: no pass changes it
        _worker(seen, model, add, rest)

    # The collector's application thread.
    k_ = add(
        "collector.app",
        ("s", "wake", "cold", "record", "byte"),
        [
            (
                r.name,
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
    rest_of = {
        "generator": [r.counters["generator"]["other_cpu_ns"] / seconds(r.counters) for r in runs if not r.drained],
        "engine": [r.counters["workers"][0]["other_cpu_ns"] / seconds(r.counters) for r in runs if not r.drained],
        "collector": [r.counters["collector"]["other_cpu_ns"] / seconds(r.counters) for r in runs if not r.drained],
    }
    engine = plus(p["s"], f["s"])
    if "engine.rest" in model.fits:
        own, produce = model.fits["engine.rest"], model.cpu["worker.produce"]
        model.cpu["worker.produce"] = CpuCost(
            fixed_ns=plus(produce.fixed_ns, own["record"]), byte_ns=plus(produce.byte_ns, own["byte"])
        )
        engine = plus(engine, own["s"])
    elif not shared:
        engine = plus(p["s"], f["s"], _spread(rest_of["engine"]))
    model.background = {
        "broker": b["s"],
        "generator": plus(g["s"], p["s"], _spread(rest_of["generator"])),
        "engine": engine,
        "collector": plus(k_["s"], f["s"], _spread(rest_of["collector"])),
        "host": _spread(other),
    }


@dataclasses.dataclass(frozen=True)
class _Beyond:
    """What one process of all workers used in a run, apart from its own sections and the clients as simulated.

    Attributes:
        rest_ns: CPU of no section and no client; less than nothing where the clients are cheaper than simulated.
        polled_ns: What the polling thread did of a client's work.
    """

    rest_ns: float
    polled_ns: float


def _beyond(c: Counts, wakes: Counts, producer: Fit, consumer: Fit) -> _Beyond:
    """Splits the CPU of the one process of all workers by counted events.

    Such an engine brings clients of its own, and its library may fetch on the thread that polls; the simulator has
    threads for both, at the price of the library that generator and collector use.  What a thread of its own or the
    polling one used for that is taken off there; what is left (compiler and collector of garbage too) is the rest's.
    """
    w = c["workers"][0]
    seconds = c["window_ns"] / S_NS
    modelled = {}
    for fit, word, requests, size in (
        (producer, "producer", w["produce_requests"], w["bytes_out"]),
        (consumer, "consumer", w["fetch_requests"], w["bytes_in"]),
    ):
        terms = {
            "s": seconds,
            "wake": wakes[f"{word}_wakeups"],
            "cold": wakes[f"{word}_cold"],
            "request": requests or 0,
            "record": w["records"],
            "byte": size,
        }
        modelled[word] = sum(fit[term].value * count for term, count in terms.items())
    rest = w["other_cpu_ns"] + c["engine"]["cpu_ns"]
    polled = 0.0
    for word, cost in modelled.items():
        used = w[f"{word}_cpu_ns"]
        if word == "consumer" and not used:
            used = polled = min(cost, _MOST_POLLED * w["poll_cpu_ns"])
        rest += used - cost
    return _Beyond(float(rest), float(polled))


def _worker(seen: Seen, model: Model, add: Fitter, rest: Mapping[str, _Beyond]) -> None:
    """The worker's application thread, section by section: hot cost a record, and what cold caches add after a sleep.

    Hot and cold costs of parsing and encoding are of the calibration's own model, as one record of it has them.  The
    no-op model's padded records, hot, give the line through the sizes that other models are predicted by.
    """
    profile, runs, gaps = seen.profile, seen.worked, seen.gaps

    def cold(tau_ns: float) -> dict[str, float]:
        return {r.name: float(np.sum(1.0 - np.exp(-gaps[r.name] / tau_ns))) for r in runs}

    # How caches go cold: the whole thread's CPU over a few time constants at once, one of which would be too stiff.
    taus = [tau * MS_NS for tau in _TAUS_MS]
    met = {tau: cold(tau) for tau in taus}
    rows: list[Row] = []
    for r in runs:
        w = r.counters["workers"][0]
        if r.scenario.model == profile.scenario.model:
            counts = [*(met[tau][r.name] for tau in taus), float(w["polls_empty"]), float(w["records"])]
            rows.append((r.name, counts, w["app_cpu_ns"]))
    whole = add("worker.app", (*(f"cold {tau:g} ms" for tau in _TAUS_MS), "empty", "record"), rows)
    weights = [whole[f"cold {tau:g} ms"].value for tau in _TAUS_MS]
    if sum(weights) > 0:
        model.cold_shape = {tau: x / sum(weights) for tau, x in zip(taus, weights, strict=True) if x > 0}
    shaped = {r.name: sum(share * met[tau][r.name] for tau, share in model.cold_shape.items()) for r in runs}
    found = _sections(profile, runs, shaped, add, rest)
    if rest:
        _engine_rest(runs, rest, add)
    polls, score, produce = found["worker.poll"], found["worker.score"], found["worker.produce"]
    model.cpu["worker.poll_empty"] = CpuCost(fixed_ns=polls["empty"])
    model.cpu["worker.poll"] = CpuCost(fixed_ns=polls["poll"], record_ns=polls["record"], byte_ns=polls["byte"])
    cold_ns = max(0.0, sum(found[f"worker.{section}"]["cold"].value for section in _SECTIONS))
    model.cpu["worker.cold"] = CpuCost(cold_ns=Value(cold_ns, cold_ns, cold_ns))
    model.cpu["worker.produce"] = CpuCost(fixed_ns=produce["record"], byte_ns=produce["byte"])
    for section in BY_SIZE:
        line = found[f"worker.{section} by size"]
        model.cpu[f"worker.{section}"] = CpuCost(fixed_ns=line["record"], byte_ns=line["byte"])
    # Hot costs by points: the microbenchmark's shape, set to what the engine paid at the points it was run at.
    measured = profile.scoring.get(profile.scenario.workload.points) or next(iter(profile.scoring.values()))
    extra = score["record"].value - measured["score_ns"]
    model.score_table = {n: max(row["score_ns"] / 2, row["score_ns"] + extra) for n, row in profile.scoring.items()}
    for section in BY_SIZE:
        ratio = found[f"worker.{section}"]["record"].value / measured[f"{section}_ns"]
        model.tables[f"worker.{section}"] = {n: row[f"{section}_ns"] * ratio for n, row in profile.scoring.items()}


def _engine_rest(runs: Sequence[ProfileRun], rest: Mapping[str, _Beyond], add: Fitter) -> None:
    """What one process of all workers used beyond what the simulator has threads for."""
    rows: list[Row] = []
    for r in runs:
        w, seconds = r.counters["workers"][0], r.counters["window_ns"] / S_NS
        size = float(w["bytes_in"] + w["bytes_out"])
        rows.append((r.name, [seconds, float(w["records"]), size], max(rest[r.name].rest_ns, 0.0)))
    if sum(row[2] > 0 for row in rows) > len(_REST_TERMS):
        add("engine.rest", _REST_TERMS, rows)


def _sections(
    profile: Profile,
    runs: Sequence[ProfileRun],
    cold: dict[str, float],
    add: Fitter,
    rest: Mapping[str, _Beyond],
) -> dict[str, Fit]:
    """The fits of the worker's sections, with so much coldness met in each run."""
    polls: list[Row] = []
    produced: list[Row] = []
    own: dict[str, list[Row]] = {s: [] for s in ("decode", "score", "encode")}
    by_size: dict[str, list[Row]] = {s: [] for s in BY_SIZE}
    for r in runs:
        w, met = r.counters["workers"][0], cold[r.name]
        empty, records = float(w["polls_empty"]), float(w["records"])
        polled = w["poll_cpu_ns"] - (rest[r.name].polled_ns if rest else 0.0)
        polls.append((r.name, [empty, met, w["polls"] - empty, records, float(w["bytes_in"])], polled))
        produced.append((r.name, [met, records, float(w["bytes_out"])], w["produce_cpu_ns"]))
        if r.scenario.model == profile.scenario.model:
            for section, rows in own.items():
                rows.append((r.name, [met, records], w[f"{section}_cpu_ns"]))
        elif met <= _SELDOM * records:
            for section, rows in by_size.items():
                size = w["bytes_in"] if section == "decode" else w["bytes_out"]
                rows.append((r.name, [records, float(size)], w[f"{section}_cpu_ns"]))
    found = {
        "worker.poll": add("worker.poll", ("empty", "cold", "poll", "record", "byte"), polls),
        "worker.produce": add("worker.produce", ("cold", "record", "byte"), produced),
    }
    found |= {f"worker.{s}": add(f"worker.{s}", ("cold", "record"), rows) for s, rows in own.items()}
    found |= {
        f"worker.{s} by size": add(f"worker.{s} by size", ("record", "byte"), rows) for s, rows in by_size.items()
    }
    return found


def gaps_ns(run: ProfileRun, records: Any) -> Any:
    """How long the worker had not worked before each poll that took records, inside the counters' window."""
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


def plus(*values: Value) -> Value:
    """Costs that are paid together; their ends are set later, from refits."""
    return Value(sum(v.value for v in values), sum(v.lo for v in values), sum(v.hi for v in values))


def times(v: Value, factor: float) -> Value:
    """A share of a cost."""
    return Value(v.value * factor, v.lo * factor, v.hi * factor)


def _spread(values: Sequence[float]) -> Value:
    """Median and 5 to 95 % of a sample."""
    if not values:
        return ZERO
    low, middle, high = np.quantile(np.asarray(values), (0.05, 0.5, 0.95))
    return Value(float(middle), float(low), float(high))
