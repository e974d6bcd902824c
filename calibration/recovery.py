"""Whether the intervals mean what they say: truths drawn, profiles simulated, fitted, and the truth looked for.

Of every draw: for each parameter whether the true one lies inside the fit's 95 % interval, and for the metrics of a
point that is not in the fit whether what the truth gives there lies inside the 90 % interval of the prediction; beside
it what the baselines say (`calibration.baselines`).  Finished draws are kept.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis import stats
from analysis.search import prefilled
from analysis.variations import variations
from calibration import baselines, synthetic
from scenarios.load import load
from scenarios.spec import Scenario
from sim import kept, uncertainty
from sim.costs import Calibration

BASE = Path(__file__).resolve().parent.parent / "scenarios/profile/quick.yaml"
FOLDER = Path(".cache") / "recover"
_LEVEL_95 = (0.025, 0.975)
#: One interval of parameters and one of predictions cover, within these shares, what they should.
PARAMETERS_COVER, PREDICTIONS_COVER = (0.90, 0.98), (0.85, 0.95)
PACED = ("cpu_us_per_record_engine", "cpu_us_per_record_broker", "latency_acked_ms_p50", "latency_acked_ms_p95")
DRAINED = ("drain_throughput_per_s", "cpu_us_per_record_engine", "cpu_us_per_record_broker")
_RATES = (120.0, 900.0)  # log-uniform; the profile's are 100 and 300
_REQUEST = "cpu/broker request/fixed_ns"
#: fit -> term -> the parameter that it is; of fits whose terms may be merged.
_TERMS = {
    "generator.app": {
        "wake": "cpu/generator.wake/fixed_ns",
        "cold": "cpu/generator.wake/cold_ns",
        "record": "cpu/generator.record/fixed_ns",
        "byte": "cpu/generator.record/byte_ns",
    },
    "producer.client": {
        "wake": "cpu/producer.wake/fixed_ns",
        "cold": "cpu/producer.wake/cold_ns",
        "request": "cpu/producer.request/fixed_ns",
        "record": "cpu/producer.request/record_ns",
        "byte": "cpu/producer.request/byte_ns",
    },
    "consumer.client": {
        "wake": "cpu/consumer.wake/fixed_ns",
        "cold": "cpu/consumer.wake/cold_ns",
        "request": "cpu/consumer.fetch/fixed_ns",
        "record": "cpu/consumer.fetch/record_ns",
        "byte": "cpu/consumer.fetch/byte_ns",
    },
    "broker": {
        "s": "background/broker",
        "request": _REQUEST,
        "cold": "cpu/broker.wake/cold_ns",
        "record": "cpu/broker.produce/record_ns",
        "byte": "cpu/broker.produce/byte_ns",
    },
    "collector.app": {
        "wake": "cpu/collector.wake/fixed_ns",
        "cold": "cpu/collector.wake/cold_ns",
        "record": "cpu/collector.record/record_ns",
        "byte": "cpu/collector.record/byte_ns",
    },
    "worker.poll": {
        "empty": "cpu/worker.poll_empty/fixed_ns",
        "poll": "cpu/worker.poll/fixed_ns",
        "record": "cpu/worker.poll/record_ns",
        "byte": "cpu/worker.poll/byte_ns",
    },
}
_KEYS = ("parameters", "merged", "predictions")


@dataclass(frozen=True, slots=True)
class Draw:
    """One truth, and the file that keeps what became of it."""

    number: int
    seed: int
    replicates: int
    file: Path


def recover(
    draws: int,
    *,
    seed: int,
    root: Path,
    replicates: int = 60,
    processes: int | None = None,
    fresh: bool = False,
    progress: kept.Progress | None = None,
) -> list[dict[str, Any]]:
    """Draws truths, and looks for them.

    Args:
        draws: How many.
        seed: Of all of them; draw k is the same whatever their number.
        root: Folder of runs.
        replicates: Refits a fit, and simulations a prediction.
        processes: None for as many as there are cores.
        fresh: Makes anew what is kept.
        progress: Told of each finished draw.
    """
    sources = hashlib.sha256(
        b"".join(p.read_bytes() for p in sorted(Path(__file__).parent.glob("*.py"))) + BASE.read_bytes()
    ).hexdigest()
    jobs = [
        Draw(k, seed, replicates, root / FOLDER / f"{kept.identity('recover', k, seed, replicates, sources)}.json")
        for k in range(draws)
    ]
    return kept.results(one, jobs, _KEYS, processes=processes, fresh=fresh, progress=progress)


def one(draw: Draw) -> dict[str, Any]:
    """One draw; called in a worker.  Keeps and returns `parameters`, `merged`, `predictions`."""
    from calibration.fit import fit_profile
    from calibration.profiles import read_profile
    from sim.run import simulate

    rng = np.random.default_rng([draw.seed, draw.number])
    base = load(BASE)
    true = synthetic.truth(rng)
    with tempfile.TemporaryDirectory(prefix="weir-recover-") as folder:
        profile = read_profile(synthetic.write_profile(Path(folder), base, true, rng))
        found = fit_profile(profile, "found", replicates=draw.replicates, seed=draw.number)
    point = _point(base, rng)
    drained = point.workload.backlog_records > 0
    rate = None if drained else point.workload.arrival.rate_per_s
    sets = [simulate(point, c, host=False).metrics for c in uncertainty.sets(found)]
    best, is_true = simulate(point, found, host=False).metrics, simulate(point, true, host=False).metrics
    guesses = baselines.predict(found.fit["seen"], rate, point.engine.parallelism)
    predictions = []
    for name in DRAINED if drained else PACED:
        values = [m[name] for m in sets]
        actual, value = is_true[name], best[name]
        if actual is None or value is None or None in values:
            continue
        low, high = uncertainty.interval([v for v in values if v is not None])
        predictions.append(
            {
                "metric": name,
                "where": "drained" if drained else f"{rate:.0f} /s",
                "parallelism": point.engine.parallelism,
                "true": actual,
                "predicted": value,
                "low": low,
                "high": high,
                "inside": low <= actual <= high,
                "baselines": {who: guess[name] for who, guess in guesses.items() if name in guess},
            }
        )
    return kept.keep(
        draw.file,
        {"parameters": _compared(true, found), "merged": found.fit["merged"], "predictions": predictions},
    )


def _point(base: Scenario, rng: np.random.Generator) -> Scenario:
    """One that no fit has seen: another rate, or a backlog drained by two workers."""
    plain = dict(variations(base))
    parallelism = int(rng.integers(1, 3))
    if rng.random() < 0.3:
        assert base.profile is not None
        one = prefilled(plain["drain"], base.profile.backlog_records, 0)
        parallelism = 2
    else:
        one = plain["rate-300"]
        rate = float(np.exp(rng.uniform(*np.log(_RATES))))
        arrival = dataclasses.replace(one.workload.arrival, rate_per_s=rate)
        one = dataclasses.replace(one, workload=dataclasses.replace(one.workload, arrival=arrival))
    workload = dataclasses.replace(one.workload, seed=int(rng.integers(1, 2**31)))
    engine = dataclasses.replace(one.engine, parallelism=parallelism)
    return dataclasses.replace(one, workload=workload, engine=engine)


def _compared(true: Calibration, found: Calibration) -> dict[str, dict[str, float | bool]]:
    """Of every parameter that a fit looks for: the true one, the found one, its interval at 95 %."""
    sets = [_own(one) for one in uncertainty.sets(found)]
    expected, best = _own(true), _own(found)
    gone = []
    for fit, shares in found.fit["merged_shares"].items():
        names = _TERMS.get(fit, {})
        for term, into in shares.items():
            gone.append(names.get(term))
            for other, events in into.items():  # the other's cost has the merged one's in it
                if term in names and other in names:
                    expected[names[other]] += events * expected[names[term]]
    out = {}
    for name in expected:
        if name in gone:
            continue
        if any(name in one for one in sets) or name in best:
            low, high = uncertainty.interval([one.get(name, 0.0) for one in sets], _LEVEL_95)
            low, high = min(low, best.get(name, 0.0)), max(high, best.get(name, 0.0))
            out[name] = {
                "true": expected[name],
                "found": best.get(name, 0.0),
                "low": low,
                "high": high,
                "inside": bool(low <= expected[name] <= high),
            }
    return out


def _own(calibration: Calibration) -> dict[str, float]:
    """Parameters by name, each once: those that are another's by construction are left out."""
    every = uncertainty.parameters(calibration)
    request = every.get("cpu/broker.produce/fixed_ns", 0.0) + every.get("cpu/broker.rest/fixed_ns", 0.0)
    found = {_REQUEST: request}
    for name, value in every.items():
        kind, _, rest = name.partition("/")
        cost, _, term = rest.partition("/")
        if kind == "cpu":
            if term in synthetic.terms(cost) and name != "cpu/broker.produce/fixed_ns":
                found[name] = value
        elif name in ("latency/network", "background/broker", "score/1"):
            found[name] = value
    return found


# ---------------------------------------------------------------- summing up


def parameters(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row a parameter: how many draws, how many with the truth inside, below and above; then all together."""
    names = dict.fromkeys(name for one in found for name in one["parameters"])
    rows = []
    for name in names:
        mine = [one["parameters"][name] for one in found if name in one["parameters"]]
        rows.append(
            {
                "parameter": name,
                "draws": len(mine),
                "inside": sum(m["inside"] for m in mine),
                "below": sum(m["true"] < m["low"] for m in mine),
                "above": sum(m["true"] > m["high"] for m in mine),
            }
        )
    whole = {"parameter": "all", **{k: sum(r[k] for r in rows) for k in ("draws", "inside", "below", "above")}}
    return [*rows, whole]


def predictions(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row a metric: predictions, how many intervals hold the truth, Wilson's interval of that share; then two more.

    Predictions of one draw share its fit, so all of them tell less than their number: `one of each draw` counts one
    alone, taken in turn, and is what is judged.
    """
    every = [p for one in found for p in one["predictions"]]
    alone = [one["predictions"][k % len(one["predictions"])] for k, one in enumerate(found) if one["predictions"]]
    groups = {name: [p for p in every if p["metric"] == name] for name in dict.fromkeys(p["metric"] for p in every)}
    groups |= {"all": every, "one of each draw": alone}
    rows = []
    for name, mine in groups.items():
        inside = sum(p["inside"] for p in mine)
        low, high = stats.wilson(inside, len(mine)) if mine else (0.0, 1.0)
        rows.append({"metric": name, "predictions": len(mine), "inside": inside, "wilson": [low, high]})
    return rows


def errors(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row a metric: the median |ln(predicted / true)| of the simulator and of every baseline, and how many it has."""
    every = [p for one in found for p in one["predictions"] if p["true"] > 0]
    rows = []
    for name in dict.fromkeys(p["metric"] for p in every):
        mine = [p for p in every if p["metric"] == name]
        row: dict[str, Any] = {
            "metric": name,
            "points": len(mine),
            "simulator": _median(mine, lambda p: p["predicted"]),
        }
        for who in baselines.NAMES:
            row[who] = _median(mine, lambda p, who=who: p["baselines"].get(who))
        rows.append(row)
    return rows


def judged(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is not as it should be, in words; empty where all is."""
    said = []
    whole = parameters(found)[-1]
    share = whole["inside"] / whole["draws"]
    if not PARAMETERS_COVER[0] <= share <= PARAMETERS_COVER[1]:
        said.append(f"the 95 % intervals of parameters hold the truth in {share:.1%}, not in 90 to 98 %")
    row = predictions(found)[-1]
    low, high = row["wilson"]
    if high < PREDICTIONS_COVER[0] or low > PREDICTIONS_COVER[1]:
        said.append(
            f"the 90 % intervals of predictions hold the truth in {row['inside']} of {row['predictions']} "
            f"(Wilson {low:.1%} to {high:.1%}), not in 85 to 95 %"
        )
    for error in errors(found):
        nearer = [who for who in baselines.NAMES if error[who] is not None and error[who] < error["simulator"]]
        said += [f"{who} is nearer to {error['metric']} than the simulator" for who in nearer]
    return said


def _median(rows: Sequence[Mapping[str, Any]], value: Any) -> float | None:
    known = [abs(math.log(x / p["true"])) for p in rows if (x := value(p)) is not None and x > 0]
    return float(np.median(known)) if known else None
