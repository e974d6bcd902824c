"""Fits a cost model from a profile: CPU first, then waiting, then what is left open.

CPU comes from counted events (`calibration.cpu`).  Latencies (wake-up, timer) come from probes; the network's from
light-load stamps, as what the model without it leaves.  Intervals come from refits of disturbed data
(`calibration.replicates`): they are kept with the calibration, so that predictions carry them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from calibration import baselines
from calibration.cpu import Counts, Model, Seen, fit_cpu, gaps_ns, times
from calibration.profiles import Profile, ProfileError, ProfileRun
from calibration.replicates import Disturbed, plain_fitter
from calibration.residuals import residuals
from calibration.tables import lined
from scenarios.spec import MS_NS
from sim import uncertainty
from sim.costs import Calibration, CpuCost, HostCosts, Latency, Value

#: What a host's slice is where the probe saw none (a host with a core to spare).
_DEFAULT_SLICE_NS = 4 * MS_NS
_PASSES = 3
_MOST_REST = 0.95
#: Refits that the intervals come from.
REPLICATES = 100
#: How far the share of the broker's work behind an answer is moved to see what a share of it does.
_REST_STEP = 0.1
#: Of the variation of single requests: the most that is looked for, and how far it is moved likewise.
_MOST_SPREAD, _SPREAD_STEP = 2.0, 0.15


def fit_profile(profile: Profile, name: str, *, replicates: int = REPLICATES, seed: int = 1) -> Calibration:
    """Fits a calibration.

    Args:
        profile: A complete profile of one host.
        name: The calibration's name.
        replicates: Refits of disturbed data, which the intervals come from and which are kept; 0 for none.
        seed: Of the refits.

    Raises:
        ProfileError: A variation the fit needs is missing.
    """
    host = _host(profile)
    sizes = _sizes(profile)
    records = {r.name: _real_records(r) for r in profile.runs}
    seen = Seen(profile, {}, {r.name: gaps_ns(r, records[r.name]) for r in profile.runs})
    spreads = residuals(profile.runs, records, profile.scenario.model, host.slice_ns)
    model = Model({}, _probed(profile), {}, {}, {}, {}, residual=spreads)
    fitter = plain_fitter(str(profile.path))

    def assemble(model: Model) -> Calibration:
        return _assemble(profile, name, host, sizes, model)

    # Sleeps and how cold a thread comes back from them are counted by the model.  A client library wakes more often
    # than its model does, for its own reasons: that CPU is spread over the wake-ups that the model knows.  The first
    # pass has no costs yet, which changes when threads sleep; the next ones do.
    calibration = assemble(model)
    light = _Light(profile, records)
    for _ in range(_PASSES):
        seen = dataclasses.replace(seen, wakes={r.name: _simulated(r, calibration) for r in profile.runs})
        fit_cpu(seen, model, fitter)
        calibration = _waiting(light, model, assemble)
    model.spread = light.spread(model, assemble)
    calibration = _waiting(light, model, assemble)
    if not replicates:
        return calibration
    return _with_replicates(calibration, seen, model, light, assemble, replicates, seed)


def _with_replicates(
    best: Calibration,
    seen: Seen,
    model: Model,
    light: _Light,
    assemble: Callable[[Model], Calibration],
    replicates: int,
    seed: int,
) -> Calibration:
    """The calibration with what refits of disturbed data say of it.

    A refit changes what the model predicts for the light run: network latency, or the share of the broker's work behind
    an answer, moves with it, in proportion.
    """
    rng = np.random.default_rng(seed)
    disturbed = Disturbed(model.fits, [r.name for r in seen.profile.runs], rng, replicates)
    slope, tail = light.slope(model, assemble), light.tail_slope(model, assemble)
    found = []
    for k in range(replicates):
        one = Model(
            {}, dict(model.latency), {}, {}, {}, {}, model.cold_shape, model.rest_share, model.residual, model.spread
        )
        fit_cpu(seen, one, disturbed.fitter(k))
        noisy = disturbed.as_one_run(assemble(one), k)
        wait, over = light.resampled(rng)
        modelled, modelled_over = light.modelled(noisy)
        gap = wait - modelled
        if tail > 0:
            one.spread = min(_MOST_SPREAD, max(0.0, model.spread + (over - modelled_over) / tail))
        network = one.latency["network"].quantiles_ns[0]
        _settle(one, 2 * network - model.rest_share * slope + gap, slope)
        found.append(assemble(one))
    packed = uncertainty.pack(best, found)
    return dataclasses.replace(
        uncertainty.bounded(best, found),
        fit={**best.fit, "run_noise": disturbed.noise, "run_correlation": disturbed.correlation, "replicates": packed},
    )


def _settle(model: Model, beyond_ns: float, slope: float) -> None:
    """What the stamps hold beyond the model, as network latency; what is missing in them, as work behind an answer."""
    model.latency["network"] = Latency((max(0.0, beyond_ns / 2),))
    _move(model, min(_MOST_REST, max(0.0, -beyond_ns / slope)) if slope > 0 else model.rest_share)


class _Light:
    """The runs at light load without linger, where waiting is read."""

    def __init__(self, profile: Profile, records: dict[str, Any]) -> None:
        self.runs = profile.run("light") or profile.run("linger-0ms")
        if not self.runs:
            raise ProfileError(f"{profile.path}: no light-load run without linger")
        self._waits = [_sent_to_fetched(records[r.name], r) for r in self.runs]
        self.seen_ns, self.over_ns = _middle_and_over(self._waits)

    def resampled(self, rng: np.random.Generator) -> tuple[float, float]:
        """What other such runs may have shown, as far as their own records say."""
        which = rng.integers(0, len(self._waits), len(self._waits))
        return _middle_and_over([rng.choice(self._waits[k], len(self._waits[k])) for k in which])

    def modelled(self, calibration: Calibration) -> tuple[float, float]:
        """What the simulator makes of the runs: the median wait, and by how much the 95th percentile is above it."""
        return _middle_and_over([_sent_to_fetched(_simulate(r, calibration).records, r) for r in self.runs])

    def spread(self, model: Model, assemble: Callable[[Model], Calibration]) -> float:
        """By how much single requests differ: the variation at which the model's waits spread as the stamps do."""

        def over(spread: float) -> float:
            return self.modelled(assemble(dataclasses.replace(model, spread=spread)))[1]

        low, high = 0.0, _MOST_SPREAD
        if over(low) >= self.over_ns:
            return low
        if over(high) <= self.over_ns:
            return high
        for _ in range(7):
            middle = (low + high) / 2
            low, high = (middle, high) if over(middle) < self.over_ns else (low, middle)
        return (low + high) / 2

    def tail_slope(self, model: Model, assemble: Callable[[Model], Calibration]) -> float:
        """By how many ns the spread of the waits grows with the variation of single requests."""
        low, high = max(0.0, model.spread - _SPREAD_STEP), min(_MOST_SPREAD, model.spread + _SPREAD_STEP)
        ends = [self.modelled(assemble(dataclasses.replace(model, spread=x)))[1] for x in (low, high)]
        return max(0.0, (ends[1] - ends[0]) / (high - low))

    def slope(self, model: Model, assemble: Callable[[Model], Calibration]) -> float:
        """By how many ns the runs' wait falls for a whole of the broker's work behind its answers."""
        one = dataclasses.replace(model, cpu=dict(model.cpu))
        at = model.rest_share
        there = at + _REST_STEP if at + _REST_STEP <= _MOST_REST else at - _REST_STEP
        before = self.modelled(assemble(one))[0]
        _move(one, there)
        return max(0.0, (before - self.modelled(assemble(one))[0]) / (there - at))


# ---------------------------------------------------------------- waiting


def _probed(profile: Profile) -> dict[str, Latency]:
    """Wake-up and timer latency, as probed on the idle host; the last quantile, one sample, is left out."""

    def cut(values: Sequence[float]) -> Latency:
        return Latency((*values[:-1], values[-2]))

    return {"wake": cut(profile.host["wake_ns"]), "timer": cut(profile.host["timer_ns"]), "network": Latency((0.0,))}


def _middle_and_over(waits: Sequence[Any]) -> tuple[float, float]:
    """Medians over runs: of the median wait, and of what the 95th percentile is above it."""
    ends = np.asarray([np.quantile(w, (0.5, 0.95)) for w in waits])
    middle, high = np.median(ends, axis=0)
    return float(middle), float(high - middle)


def _waiting(light: _Light, model: Model, assemble: Callable[[Model], Calibration]) -> Calibration:
    """Network latency, or how much of the broker's work is off the path, from the light-load stamps.

    From `sent` to `fetched` there are two ways, to the broker and from it, and no clock of whole milliseconds.  What
    the stamps hold beyond the model is the network's, half each way.  Where they hold less, CPU that the model puts
    before an answer is spent after it: the share that makes the model agree is moved there.
    """

    def beyond(rest_share: float) -> float:
        _move(model, rest_share)
        return light.seen_ns - light.modelled(assemble(model))[0]

    model.latency["network"] = Latency((0.0,))
    gap = beyond(0.0)
    if gap >= 0:
        model.latency["network"] = Latency((gap / 2,))
        return assemble(model)
    low, high = 0.0, _MOST_REST
    if beyond(high) > 0:
        for _ in range(12):
            middle = (low + high) / 2
            low, high = (middle, high) if beyond(middle) < 0 else (low, middle)
    gap = beyond(high)
    if gap > 0:
        model.latency["network"] = Latency((gap / 2,))
    return assemble(model)


def _move(model: Model, rest_share: float) -> None:
    """Puts a share of what the broker does for a request behind its answer."""

    def whole(name: str) -> Value:
        kept = model.cpu.get(name, CpuCost()).fixed_ns
        return times(kept, 1.0 / (1.0 - model.rest_share))

    request = whole("broker.produce")
    model.rest_share = rest_share
    ahead = times(request, 1.0 - rest_share)
    for name in ("broker.produce", "broker.fetch", "broker.fetch_empty"):
        model.cpu[name] = dataclasses.replace(model.cpu[name], fixed_ns=ahead)
    model.cpu["broker.rest"] = CpuCost(fixed_ns=times(request, rest_share))


def _sent_to_fetched(records: Any, run: ProfileRun) -> Any:
    sent, fetched = np.asarray(records["sent"]), np.asarray(records["fetched"])
    inside = (fetched >= 0) & (sent >= run.scenario.workload.warmup_ns)
    return (fetched - sent)[inside]


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


def _assemble(profile: Profile, name: str, host: HostCosts, sizes: dict[str, float], model: Model) -> Calibration:
    scenario = profile.scenario
    settings = scenario.profile
    assert settings is not None
    fits = model.fits
    lines = {k: lined(table) for k, table in (("worker.score", model.score_table), *model.tables.items())}
    return Calibration(
        name=name,
        created=profile.started[:10],
        fingerprint={**profile.fingerprint, "versions": profile.runs[0].meta["versions"]},
        regime={
            "engine": scenario.engine.kind,
            "runtime": scenario.serving.runtime,
            "model": scenario.model.label,
            "format": scenario.workload.payload.format,
            "broker": profile.runs[0].meta["scenario"]["broker"]["kind"],
        },
        cpu={
            k: dataclasses.replace(v, residual=model.residual.get(k, v.residual))
            for k, v in ({"worker.score": CpuCost()} | uncertainty.spread(model.cpu, model.spread)).items()
            if dataclasses.replace(v, residual=()) != CpuCost() or k in model.residual
        },
        latency=dict(model.latency),
        host=host,
        background_ns_per_s={k: v for k, v in model.background.items() if v.value > 0},
        cold_shape=dict(model.cold_shape),
        score_table=lines["worker.score"][0],
        tables_ns={k: lines[k][0] for k in model.tables},
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
            "merged_shares": {k: f.shares for k, f in fits.items() if f.shares},
            "merged": {k: f.merged for k, f in fits.items() if f.merged},
            uncertainty.SPREAD: model.spread,
            "seen": baselines.seen(profile.runs),
            "line_errors": {k: error for k, (_, error) in lines.items() if error is not None},
        },
    )


def _range(values: Any) -> tuple[float, float]:
    found = [float(v) for v in values]
    return min(found), max(found)
