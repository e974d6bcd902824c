"""What else a calibration's parameters might be, and what a prediction would be then.

A fit keeps refits of disturbed data: whole sets of parameters, each as likely as the others, in which what the data
cannot tell apart moves together.  A prediction simulated with each of them, with the same draws, has the interval that
the parameters leave it; how much one run differs from the next is no part of that, and repeats show it.

The sets are kept in the calibration's `fit` as text, one line a parameter that differs between them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scenarios.spec import Scenario
from sim.costs import Calibration, CpuCost, Latency, Value
from sim.store import CalibrationError

if TYPE_CHECKING:
    from rich.table import Table

    from sim.kept import Progress, Spread

KEY = "replicates"
LEVEL = (0.05, 0.95)
#: With fewer sets the ends of a 90 % interval are no more than the lowest and the highest.
FEWEST_SETS = 19
#: Metrics of the tables: heading by name.
SHOWN = {
    "throughput_per_s": "throughput /s",
    "drain_throughput_per_s": "drain /s",
    "latency_append_ms_p50": "p50 ms",
    "latency_append_ms_p95": "p95 ms",
    "latency_append_ms_p99": "p99 ms",
    "cpu_us_per_record_engine": "engine CPU us",
    "cpu_us_per_record_broker": "broker CPU us",
}
#: Key of `fit`: how much the same work differs from one time to the next, as a coefficient of variation.
SPREAD = "request_spread"
#: Costs whose spread single records' stamps tell (`calibration.residuals`).
STAMPED = ("worker.score", "worker.decode")
_TERMS = tuple(f.name for f in dataclasses.fields(CpuCost) if f.name != "residual")


def spread(cpu: Mapping[str, CpuCost], variation: float) -> dict[str, CpuCost]:
    """Costs with a lognormal residual of that coefficient of variation, where no stamps tell another; 0 for none."""
    residual = lognormal(variation) if variation > 0 else ()
    return {
        name: cost if name in STAMPED and cost.residual else dataclasses.replace(cost, residual=residual)
        for name, cost in cpu.items()
    }


def lognormal(variation: float) -> tuple[float, ...]:
    """Quantiles at 0, 1/16, ..., 1 of a lognormal; read by straight lines between them, as the simulator does, mean 1.

    Args:
        variation: Its coefficient of variation.
    """
    from statistics import NormalDist

    sigma = float(np.sqrt(np.log1p(variation**2)))
    at = np.clip(np.linspace(0.0, 1.0, 17), 1 / 64, 63 / 64)
    quantiles = np.exp([sigma * NormalDist().inv_cdf(float(p)) for p in at])
    mean = float(np.mean((quantiles[1:] + quantiles[:-1]) / 2))
    return tuple(float(q / mean) for q in quantiles)


def parameters(calibration: Calibration) -> dict[str, float]:
    """Every number of a calibration that a fit may leave open, by name (ns, ns an event, ns a second)."""
    found: dict[str, float] = {SPREAD: calibration.fit[SPREAD]} if SPREAD in calibration.fit else {}
    for name, cost in calibration.cpu.items():
        found |= {f"cpu/{name}/{term}": getattr(cost, term).value for term in _TERMS}
    for name, latency in calibration.latency.items():
        if len(latency.quantiles_ns) == 1:
            found[f"latency/{name}"] = latency.quantiles_ns[0]
    found |= {f"background/{part}": v.value for part, v in calibration.background_ns_per_s.items()}
    found |= {f"cold/{tau:g}": share for tau, share in calibration.cold_shape.items()}
    found |= {f"score/{points}": ns for points, ns in calibration.score_table.items()}
    for name, table in calibration.tables_ns.items():
        found |= {f"table/{name}/{points}": ns for points, ns in table.items()}
    return found


def pack(best: Calibration, found: Sequence[Calibration]) -> dict[str, str]:
    """The sets of parameters as text: name -> one number a set, for every parameter that differs anywhere."""
    sets = [parameters(one) for one in found]
    names = dict.fromkeys(name for one in (parameters(best), *sets) for name in one)
    packed = {}
    for name in names:
        values = [one.get(name, 0.0) for one in sets]
        if any(value != parameters(best).get(name, 0.0) for value in values):
            packed[name] = " ".join(f"{value:.5g}" for value in values)
    return packed


def with_terms(cost: CpuCost, terms: Mapping[str, Value]) -> CpuCost:
    """A cost with some of its terms replaced."""
    return CpuCost(**{name: terms.get(name, getattr(cost, name)) for name in _TERMS}, residual=cost.residual)


def sets(calibration: Calibration) -> list[Calibration]:
    """Every set of parameters that is kept with a calibration; empty where none is."""
    packed: Mapping[str, str] = calibration.fit.get(KEY, {})
    if not packed:
        return []
    columns = {name: [float(x) for x in text.split()] for name, text in packed.items()}
    count = len(next(iter(columns.values())))
    bare = dataclasses.replace(calibration, fit={k: v for k, v in calibration.fit.items() if k == SPREAD})
    return [_with(bare, {name: values[k] for name, values in columns.items()}) for k in range(count)]


def draws(calibration: Calibration, count: int, seed: int) -> list[Calibration]:
    """Some of the kept sets, drawn by a seed without putting back.

    Raises:
        CalibrationError: None is kept, or fewer than asked for.
    """
    there = sets(calibration)
    if not there:
        raise CalibrationError(
            f"calibration {calibration.name} keeps no sets of parameters, so its predictions have no intervals; "
            "python -m calibration fit keeps them with every profile it fits"
        )
    if len(there) < count:
        raise CalibrationError(
            f"calibration {calibration.name} keeps {len(there)} sets of parameters, {count} are asked for"
        )
    chosen = np.random.default_rng(seed).permutation(len(there))[:count]
    return [dataclasses.replace(there[k], name=f"{calibration.name}#{k}") for k in sorted(chosen)]


def bounded(best: Calibration, found: Sequence[Calibration]) -> Calibration:
    """A calibration whose parameters have the 90 % intervals of those sets, and shares of its tables likewise."""
    values = [parameters(one) for one in found]

    def between(name: str, value: Value) -> Value:
        low, high = interval([one.get(name, 0.0) for one in values])
        if low == high == value.value:
            return value
        return Value(value.value, min(low, value.value), max(high, value.value))

    names = dict.fromkeys(k for one in (best, *found) for k in one.cpu)
    cpu = {}
    for name in names:
        cost = best.cpu.get(name, CpuCost())
        cpu[name] = with_terms(cost, {term: between(f"cpu/{name}/{term}", getattr(cost, term)) for term in _TERMS})
    shares = {}
    for name, table in (("worker.score", best.score_table), *best.tables_ns.items()):
        lead = "score" if name == "worker.score" else f"table/{name}"
        ends = [
            np.asarray(interval([one.get(f"{lead}/{points}", 0.0) for one in values])) / ns
            for points, ns in table.items()
            if ns > 0
        ]
        if ends:
            shares[name] = [float(min(1.0, *(e[0] for e in ends))), float(max(1.0, *(e[1] for e in ends)))]
    latency = {
        name: list(interval([one[key] for one in values]))
        for name in best.latency
        if (key := f"latency/{name}") in values[0]
    }
    return dataclasses.replace(
        best,
        cpu={k: c for k, c in cpu.items() if c != CpuCost()},
        background_ns_per_s={k: between(f"background/{k}", v) for k, v in best.background_ns_per_s.items()},
        fit={**best.fit, "table_shares": shares, "latency_intervals": latency},
    )


def interval(values: Sequence[float], level: Sequence[float] = LEVEL) -> tuple[float, float]:
    """Both ends: of n values in order, the k-th lies at k / (n + 1)."""
    low, high = np.quantile(np.asarray(values), level, method="weibull")
    return float(low), float(high)


def samples(
    points: Sequence[tuple[Mapping[str, Any], Scenario]],
    calibrations: Sequence[Calibration],
    count: int,
    *,
    seed: int,
    root: Path,
    processes: int | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
    spread: Spread | None = None,
) -> list[list[dict[str, float | None]]]:
    """The metrics of every point by each of `count` sets of parameters; arguments as of `predict`.

    Raises:
        CalibrationError: A calibration keeps too few sets.
    """
    from sim.sweeping import sweep

    spread_out = [one for calibration in calibrations for one in draws(calibration, count, seed)]
    repeated = [point for point in points for _ in range(count)]
    found = sweep(repeated, spread_out, root=root, processes=processes, fresh=fresh, progress=progress, spread=spread)
    return [[one.metrics for one in found[at * count : (at + 1) * count]] for at in range(len(points))]


def predict(
    points: Sequence[tuple[Mapping[str, Any], Scenario]],
    calibrations: Sequence[Calibration],
    count: int,
    *,
    seed: int,
    root: Path,
    processes: int | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
    spread: Spread | None = None,
) -> list[dict[str, Any]]:
    """The 90 % interval of every metric of every point, by simulating it with `count` sets of parameters.

    Every set has the scenario's own seeds: what differs comes of the parameters.

    Args:
        points: Of `scenarios.load.expand`.
        calibrations: One for each point.
        count: How many sets.
        seed: Which.
        root: The folder of runs; simulations are kept as a sweep's are.
        processes: As of a sweep.
        fresh: As of a sweep.
        progress: As of a sweep.
        spread: As of a sweep.

    Returns:
        Of each point `level`, `sets`, `seed`, and `metrics`: name -> [low, high], or None where a set has no value.

    Raises:
        CalibrationError: A calibration keeps too few sets.
    """
    found = samples(
        points,
        calibrations,
        count,
        seed=seed,
        root=root,
        processes=processes,
        fresh=fresh,
        progress=progress,
        spread=spread,
    )
    out = []
    for metrics in found:
        ends: dict[str, list[float] | None] = {}
        for name in metrics[0]:
            values = [m.get(name) for m in metrics]
            known = [v for v in values if v is not None]
            ends[name] = list(interval(known)) if len(known) == len(values) else None
        out.append({"level": round(LEVEL[1] - LEVEL[0], 6), "sets": count, "seed": seed, "metrics": ends})
    return out


def table(rows: Sequence[tuple[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]]]) -> Table:
    """What is predicted and its interval, one line a point.

    Args:
        rows: (swept keys and values, metrics, an item of `predict`) of each point.
    """
    from rich.markup import escape
    from rich.table import Table

    from analysis.text import number

    keys = list(dict.fromkeys(key for swept, _, _ in rows for key in swept))
    shown = [name for name in SHOWN if any(found["metrics"].get(name) for _, _, found in rows)]
    made = Table(title=f"90 % intervals, {rows[0][2]['sets']} sets of parameters", title_justify="left")
    for key in keys:
        made.add_column(escape(key))
    for name in shown:
        made.add_column(SHOWN[name], justify="right")
    for swept, metrics, found in rows:
        cells = []
        for name in shown:
            ends = found["metrics"].get(name)
            cells.append(
                "-" if ends is None else f"{number(metrics.get(name))} ({number(ends[0])} to {number(ends[1])})"
            )
        made.add_row(*(escape(str(swept.get(key, ""))) for key in keys), *cells)
    return made


def _with(calibration: Calibration, values: Mapping[str, float]) -> Calibration:
    """The calibration with these parameters."""
    cpu: dict[str, dict[str, Value]] = {}
    latency, background = dict(calibration.latency), dict(calibration.background_ns_per_s)
    shape, scores = dict(calibration.cold_shape), dict(calibration.score_table)
    tables = {name: dict(table) for name, table in calibration.tables_ns.items()}
    varied = values.get(SPREAD, calibration.fit.get(SPREAD))
    for path, x in values.items():
        kind, _, rest = path.partition("/")
        exact = Value(x, x, x)
        if kind == "cpu":
            name, _, term = rest.partition("/")
            cpu.setdefault(name, {})[term] = exact
        elif kind == "latency":
            latency[rest] = Latency((x,))
        elif kind == "background":
            background[rest] = exact
        elif kind == "cold":
            shape[float(rest)] = x
        elif kind == SPREAD:
            continue
        elif kind == "score":
            scores[int(rest)] = x
        else:
            name, _, points = rest.partition("/")
            tables.setdefault(name, {})[int(points)] = x
    costs = dict(calibration.cpu)
    for name, terms in cpu.items():
        costs[name] = with_terms(costs.get(name, CpuCost()), terms)
    return dataclasses.replace(
        calibration,
        cpu=costs if varied is None else spread(costs, varied),
        latency=latency,
        background_ns_per_s=background,
        cold_shape={tau: share for tau, share in shape.items() if share > 0},
        score_table=scores,
        tables_ns=tables,
    )
