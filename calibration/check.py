"""`calibration check`: predictions beside runs that no fit has seen, beside reality's own noise.

The points stand in the scenario's `check:` section, before anything is measured.  Repeats are interleaved over the
points, so that what drifts on the host drifts over all of them.  Every run made is kept, and a check taken up again
goes on where it was.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis import stats
from analysis.fingerprint import IDENTITY, fingerprint
from analysis.search import Outcome, paced, prefilled, sustainable
from calibration import baselines
from calibration.harness import Harness
from scenarios.load import resolved
from scenarios.metric_names import METRIC_NAMES
from scenarios.spec import Scenario
from sim import uncertainty
from sim.costs import Calibration, CpuCost, Value
from sim.run import simulate

Progress = Callable[[str, float | None], None]
Row = dict[str, Any]

#: Fewer repeats than this tell nothing about reality's own spread.
FEWEST_REPEATS_FOR_CEILING = 5
#: Where a metric's own repeats predict each other worse than this, it is shown and not scored.
WORST_CEILING = math.log(1.5)
#: Within the bound, or within this many times the noise ceiling.
CEILING_FACTOR = 1.5
_START_PER_S = 400.0
#: Sets of parameters that a prediction's interval comes from.
_SETS = 40
SUSTAINABLE = "sustainable_per_s"
BANDS = ((0.7, "below 0.7"), (0.95, "0.7 to 0.95"), (math.inf, "above 0.95"))
#: Metrics of paced points; latencies on the delivery callback's clock alone, which no floor to the millisecond blurs.
PACED_METRICS = (
    "throughput_per_s",
    "cpu_us_per_record_engine",
    "cpu_us_per_record_broker",
    "latency_acked_ms_p50",
    "latency_acked_ms_p95",
    "latency_acked_ms_p99",
)
#: Past saturation only throughput and the slope of the lag can be predicted.
SATURATED_METRICS = ("throughput_per_s", "lag_slope_per_s")
DRAIN_METRICS = ("drain_throughput_per_s", "cpu_us_per_record_engine", "cpu_us_per_record_broker")


class CheckError(Exception):
    """A check that cannot be taken up."""


@dataclass(frozen=True, slots=True)
class Point:
    """One configuration that is predicted and run."""

    kind: str  # rate | drain | sustainable
    parallelism: int
    rate_per_s: float | None

    @property
    def key(self) -> str:
        """Its name in check.json."""
        rate = f"-{self.rate_per_s:g}" if self.rate_per_s is not None else ""
        return f"{self.kind}-w{self.parallelism}{rate}"


def points(scenario: Scenario) -> list[Point]:
    """The points of a scenario's `check:` section.

    Raises:
        ValueError: It has none.
    """
    check = scenario.check
    if check is None:
        raise ValueError("the scenario has no check section")
    found = [Point("rate", n, r) for n in check.parallelism for r in check.rates_per_s]
    if check.drain:
        found += [Point("drain", n, None) for n in check.parallelism]
    if check.sustainable:
        found += [Point("sustainable", n, None) for n in check.parallelism]
    return found


def scenario_at(base: Scenario, point: Point, *, rate_per_s: float | None = None, repeat: int = 0) -> Scenario:
    """The scenario of one point; repeat k draws with the seed + k."""
    assert base.check is not None
    engine = dataclasses.replace(base.engine, parallelism=point.parallelism)
    at = dataclasses.replace(base, name=f"{base.name}-{point.key}", engine=engine, check=None, profile=None)
    if point.kind == "drain":
        return prefilled(at, base.check.backlog_records, repeat)
    rate = rate_per_s if rate_per_s is not None else point.rate_per_s
    assert rate is not None
    return paced(at, rate, repeat)


class Log:
    """check.json of a check under way: every run made, so that nothing is measured twice."""

    def __init__(self, folder: Path, base: Scenario) -> None:
        """Opens or begins it."""
        self.folder = folder
        self.file = folder / "check.json"
        folder.mkdir(parents=True, exist_ok=True)
        self.data: dict[str, Any] = {"scenario": resolved(base), "runs": {}, "searches": {}, "rows": []}
        if self.file.exists():
            try:
                self.data = json.loads(self.file.read_text())
            except (OSError, ValueError) as error:
                raise CheckError(f"{self.file}: cannot be read ({error}); --fresh measures again") from error

    def save(self) -> None:
        """Writes it, whole or not at all."""
        temporary = self.folder / ".check.json"
        temporary.write_text(json.dumps(self.data, indent=1) + "\n")
        temporary.replace(self.file)

    def metrics(self, point: Point, repeat: int) -> dict[str, float | None] | None:
        """What one repeat of a point measured, or None if it was not run yet."""
        found: dict[str, Any] | None = self.data["runs"].get(f"{point.key}.{repeat}")
        return None if found is None or found["verdict"] == "INVALID" else found["metrics"]

    def add(self, point: Point, repeat: int, path: Path, meta: dict[str, Any]) -> None:
        """Keeps a run."""
        self.data["runs"][f"{point.key}.{repeat}"] = {
            "run": str(path.name),
            "verdict": meta["verdict"],
            "metrics": meta["metrics"],
        }
        self.save()


def folder_of(base: Scenario, out: Path, broker: str | None = None) -> Path:
    """Where a check keeps its runs: the same points on the same host and broker come back to the same folder.

    Bounds and the calibration are no part of it: they judge and predict runs that were made, they do not change them.
    """
    assert base.check is not None
    runs = resolved(dataclasses.replace(base, check=dataclasses.replace(base.check, max_error={}), calibration=None))
    key = json.dumps([runs, broker, {k: fingerprint()[k] for k in IDENTITY}], sort_keys=True)
    return out / f"check-{base.name}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def check(
    base: Scenario,
    calibration: Calibration,
    *,
    out: Path,
    broker: str | None = None,
    warm_s: float | None = None,
    progress: Progress,
) -> tuple[Path, list[Row]]:
    """Runs what is missing, predicts every point, and compares.

    Args:
        base: A scenario with a `check:` section.
        calibration: What predicts.
        out: Folder of checks and runs.
        broker: Broker kind that overrides the scenario's.
        warm_s: How long warming the broker may take.
        progress: Told of each step.

    Returns:
        The check's folder, and a row for every metric of every point (see `analysis.tables.check_table`).

    Raises:
        HarnessFailedError: A run could not be made; what was done is kept.
    """
    settings = base.check
    assert settings is not None
    log = Log(folder_of(base, out, broker), base)
    todo = points(base)
    runs = [
        (k, p) for k in range(settings.repeats) for p in todo if p.kind != "sustainable" and log.metrics(p, k) is None
    ]
    predicted = {p: predict(base, p, calibration) for p in todo}
    with Harness(log.folder, broker=broker, warm_s=warm_s) as harness:
        for done, (k, p) in enumerate(runs):
            progress(f"{p.key}, repeat {k + 1} of {settings.repeats}", done / len(runs))
            log.add(p, k, *harness.run(scenario_at(base, p, repeat=k)))
        for p in todo:
            if p.kind == "sustainable":
                _search_real(base, p, log, harness, predicted[p][SUSTAINABLE][0], progress)
    capable = {}
    for n in settings.parallelism:
        p = Point("sustainable", n, None)
        capable[n] = predicted[p][SUSTAINABLE][0] if p in predicted else predict_sustainable(base, p, calibration)
    rows = list(compare(base, log, predicted, capable, calibration.fit.get("seen", ())))
    log.data["rows"] = rows
    log.data["calibration"] = calibration.name
    log.save()
    return log.folder, rows


def compare(
    base: Scenario,
    log: Log,
    predicted: dict[Point, dict[str, tuple[float, float, float]]],
    capable: dict[int, float],
    seen: baselines.Seen = (),
) -> Iterator[Row]:
    """A row for every metric of every point: predicted, measured, error, noise ceiling.

    Args:
        base: The check's scenario.
        log: What was measured.
        predicted: Point -> metric -> value, lowest, highest.
        capable: Parallelism -> sustainable throughput as predicted; a measured one takes its place.
        seen: Runs of the fit that the baselines go by.
    """
    settings = base.check
    assert settings is not None
    # A bound on a latency is judged below 0.7 utilisation: nearer to saturation reality itself is not that steady.
    bounds = {column(word): bound for word, bound in settings.max_error.items()}
    capacity = {n: _measured(log, n) or rate for n, rate in capable.items()}
    for p, forecast in predicted.items():
        names: tuple[str, ...]
        if p.kind == "sustainable":
            search = log.data["searches"].get(p.key, {})
            rate = search.get("rate_per_s") if search.get("finished") else None
            names, repeats_of = (SUSTAINABLE,), {SUSTAINABLE: [float(rate)] if rate else []}
        else:
            measured = [m for k in range(settings.repeats) if (m := log.metrics(p, k)) is not None]
            top = capacity.get(p.parallelism)
            saturated = p.kind == "rate" and top is not None and p.rate_per_s is not None and p.rate_per_s > top
            names = DRAIN_METRICS if p.kind == "drain" else SATURATED_METRICS if saturated else PACED_METRICS
            repeats_of = {n: [float(v) for m in measured if (v := m.get(n)) is not None] for n in names}
        top = capacity.get(p.parallelism)
        use = p.rate_per_s / top if p.rate_per_s and top else None
        guesses = baselines.predict(seen, p.rate_per_s, p.parallelism) if p.kind != "sustainable" else {}
        for name in names:
            repeats = repeats_of[name]
            if name not in forecast or not repeats:
                continue
            row = _row(p, name, forecast[name], repeats, use, bounds)
            yield {**row, "baselines": {who: guess[name] for who, guess in guesses.items() if name in guess}}


def _row(
    p: Point,
    name: str,
    forecast: tuple[float, float, float],
    repeats: list[float],
    use: float | None,
    bounds: dict[str, float],
) -> Row:
    value, low, high = forecast
    median = float(np.median(repeats))
    comparable = value > 0 and median > 0
    error = stats.log_error(value, repeats) if comparable else None
    ceiling = stats.noise_ceiling(repeats) if len(repeats) >= FEWEST_REPEATS_FOR_CEILING and comparable else None
    scored = error is not None and (ceiling is None or ceiling <= WORST_CEILING)
    band = None if use is None else next(word for edge, word in BANDS if use < edge)
    bound = bounds.get(name)
    if name.startswith("latency_") and band != BANDS[0][1]:
        bound = None
    ok = None
    if bound is not None and scored and error is not None:
        ok = error <= max(math.log1p(bound), CEILING_FACTOR * (ceiling or 0.0))
    return {
        "kind": p.kind,
        "parallelism": p.parallelism,
        "rate_per_s": p.rate_per_s,
        "metric": name,
        "predicted": value,
        "predicted_lo": low,
        "predicted_hi": high,
        "measured": median,
        "repeats": repeats,
        "error": error,
        "signed": stats.signed_log_error(value, repeats) if comparable else None,
        "ceiling": ceiling,
        "utilisation": use,
        "band": band,
        "scored": scored,
        "ok": ok,
    }


def column(word: str) -> str:
    """The metric of a row that a word of `check.max_error` names; a latency without a clock is the callback's."""
    if word == "sustainable_throughput":
        return SUSTAINABLE
    return METRIC_NAMES[word].column or f"latency_acked_ms_{word.rpartition('_')[2]}"


def _measured(log: Log, parallelism: int) -> float | None:
    """Sustainable throughput at a parallelism, where its search came to an end."""
    found = log.data["searches"].get(Point("sustainable", parallelism, None).key, {})
    return float(found["rate_per_s"]) if found.get("finished") else None


# ---------------------------------------------------------------- predicting


def ends(calibration: Calibration, which: str) -> Calibration:
    """The calibration with every CPU parameter at the `lo` or `hi` end of its interval."""

    def end(v: Value) -> Value:
        x = getattr(v, which)
        return Value(x, x, x)

    def cost(c: CpuCost) -> CpuCost:
        return dataclasses.replace(
            c,
            fixed_ns=end(c.fixed_ns),
            batch_ns=end(c.batch_ns),
            record_ns=end(c.record_ns),
            point_ns=end(c.point_ns),
            byte_ns=end(c.byte_ns),
            cold_ns=end(c.cold_ns),
        )

    shares = calibration.fit.get("table_shares", {})

    def table(name: str, values: dict[int, float]) -> dict[int, float]:
        low, high = shares.get(name, (1.0, 1.0))
        return {n: x * (low if which == "lo" else high) for n, x in values.items()}

    return dataclasses.replace(
        calibration,
        cpu={k: cost(c) for k, c in calibration.cpu.items()},
        background_ns_per_s={k: end(v) for k, v in calibration.background_ns_per_s.items()},
        score_table=table("worker.score", calibration.score_table),
        tables_ns={k: table(k, t) for k, t in calibration.tables_ns.items()},
    )


def predict(base: Scenario, p: Point, calibration: Calibration) -> dict[str, tuple[float, float, float]]:
    """Metric -> predicted value, and both ends of its 90 % interval.

    The interval is by the sets of parameters that the calibration keeps.  Where it keeps none, and of a search for
    sustainable throughput, the ends are those with every parameter at the end of its own interval: too wide.
    """
    kept = uncertainty.sets(calibration)[:_SETS] if p.kind != "sustainable" else []
    if len(kept) >= uncertainty.FEWEST_SETS:
        at = scenario_at(base, p)
        best = simulate(at, calibration, host=False).metrics
        sets = [simulate(at, one, host=False).metrics for one in kept]
        named: dict[str, tuple[float, float, float]] = {}
        for name in (*PACED_METRICS, *SATURATED_METRICS, *DRAIN_METRICS):
            value, values = best.get(name), [m.get(name) for m in sets]
            if value is not None and None not in values:
                named[name] = (value, *uncertainty.interval([v for v in values if v is not None]))
        return named
    variants = (calibration, ends(calibration, "lo"), ends(calibration, "hi"))
    if p.kind == "sustainable":
        rates = [predict_sustainable(base, p, c) for c in variants]
        return {SUSTAINABLE: (rates[0], min(rates), max(rates))}
    found = [simulate(scenario_at(base, p), c).metrics for c in variants]
    out = {}
    for name in {*PACED_METRICS, *SATURATED_METRICS, *DRAIN_METRICS}:
        values = [m.get(name) for m in found]
        known = [v for v in values if v is not None]
        if values[0] is not None:
            out[name] = (values[0], min(known), max(known))
    return out


def predict_sustainable(base: Scenario, p: Point, calibration: Calibration) -> float:
    """Sustainable throughput as the simulator has it, by the protocol of real runs."""

    def probe(rate: float, repeat: int) -> Outcome:
        meta = simulate(scenario_at(base, p, rate_per_s=rate, repeat=repeat), calibration).meta
        return Outcome(verdict=meta["verdict"], metrics=meta["metrics"])

    assert base.check is not None
    return sustainable(probe, _START_PER_S, repeats=base.check.repeats).rate_per_s or 0.0


def _search_real(base: Scenario, p: Point, log: Log, harness: Harness, start: float, progress: Progress) -> None:
    settings = base.check
    assert settings is not None
    if log.data["searches"].get(p.key, {}).get("finished"):
        return

    def probe(rate: float, repeat: int) -> Outcome:
        progress(f"{p.key}: {rate:.0f} records/s, repeat {repeat + 1}", None)
        path, meta = harness.run(scenario_at(base, p, rate_per_s=rate, repeat=repeat))
        return Outcome(verdict=meta["verdict"], path=str(path.name), metrics=meta["metrics"])

    found = sustainable(probe, start or _START_PER_S, repeats=settings.repeats, journal=log.folder / f"{p.key}.json")
    answer = {k: v for k, v in dataclasses.asdict(found).items() if k != "probes"}
    # A search that did not come to its end is taken up again by the next check; its journal has what was run.
    log.data["searches"][p.key] = {**answer, "finished": found.confirmed}
    log.save()


def keep_errors(calibration: Calibration, rows: Sequence[Row], name: str | None) -> None:
    """Writes a check's errors into the calibration's file, where its trust line finds them."""
    from calibration.show import summarise
    from sim import costs, store

    costs.write(dataclasses.replace(calibration, held_out=summarise(rows)), store.find(name or store.SHIPPED))


def harvest(calibration: Calibration, folder: Path, rows: Sequence[Row], name: str | None, when: str) -> None:
    """Writes what a check measured into the calibration's file, with where it is from; the same check takes its place.

    Args:
        calibration: What predicted.
        folder: Of the check.
        rows: Its rows.
        name: Of the calibration's file.
        when: ISO date.

    Raises:
        CalibrationError: The calibration is of another host than this one.
    """
    from analysis.fingerprint import differences
    from sim import costs, store

    foreign = differences(calibration.fingerprint)
    if foreign:
        raise store.CalibrationError(
            f"--harvest: calibration {calibration.name} is of another host: {'; '.join(foreign)}; "
            "measurements of this one do not belong to it"
        )
    kept = ("kind", "parallelism", "rate_per_s", "metric", "predicted", "predicted_lo", "predicted_hi", "measured")
    taken = {
        "check": folder.name,
        "date": when,
        "calibration": store.digest(calibration),
        "fingerprint": {key: fingerprint()[key] for key in IDENTITY},
        "rows": [{**{key: row[key] for key in kept}, "repeats": len(row["repeats"])} for row in rows],
    }
    others = [one for one in calibration.fit.get("harvest", ()) if one["check"] != folder.name]
    fit = {**calibration.fit, "harvest": [*others, taken]}
    costs.write(dataclasses.replace(calibration, fit=fit), store.find(name or store.SHIPPED))
