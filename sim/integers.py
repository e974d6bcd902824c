"""A calibration's numbers as the integers of a system: costs, quantile tables, shares of a core.

Nothing here is measured: every cost comes from the calibration.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from scenarios.draws import TABLE_SIZE
from scenarios.spec import Scenario
from sim.costs import BACKGROUND_PARTS, CPU_COSTS, SERVER_SCORE, Calibration, CpuCost
from sim.system import COLD_STEP_BITS, COST_BITS, RESIDUAL_BITS, Cost, Int64s

NO_MODEL = "noop"  # scores nothing, whatever model was measured
#: A thread's share of a core is in 1/256 under processor sharing.
SHARE_BITS = 8


def spread_quantiles(quantiles: tuple[float, ...], scale: float = 1.0) -> Int64s:
    """Brings evenly spaced quantiles, or one constant, to TABLE_SIZE integers by linear interpolation."""
    q = np.asarray(quantiles if len(quantiles) > 1 else (quantiles[0], quantiles[0]), dtype=np.float64)
    at = np.arange(TABLE_SIZE) * ((len(q) - 1) / (TABLE_SIZE - 1))
    table: Int64s = np.round(np.interp(at, np.arange(len(q)), q) * scale).astype(np.int64)
    return table


def at_points(table: dict[int, float], points: int) -> float:
    """CPU ns of a record of `points`: log-log inside the measured table, in proportion outside it."""
    if not table:
        return 0.0
    if points in table:
        return table[points]
    known = sorted(table)
    if points < known[0]:
        return table[known[0]] * points / known[0]
    if points > known[-1]:
        return table[known[-1]] * points / known[-1]
    right = next(k for k in known if k > points)
    left = known[known.index(right) - 1]
    if table[left] <= 0 or table[right] <= 0:
        return table[left] + (points - left) / (right - left) * (table[right] - table[left])
    share = (math.log(points) - math.log(left)) / (math.log(right) - math.log(left))
    return math.exp(math.log(table[left]) + share * (math.log(table[right]) - math.log(table[left])))


def latency(calibration: Calibration, name: str) -> Int64s:
    """The quantile table of a latency; without one, 0."""
    entry = calibration.latency.get(name)
    return spread_quantiles(entry.quantiles_ns if entry else (0.0,))


def _scaled(x: float) -> int:
    return round(x * (1 << COST_BITS))


def cost(c: CpuCost | None, measured_ns: float | None = None) -> Cost:
    """A cost in integers; `measured_ns` stands in for its fixed and byte terms."""
    c = c or CpuCost()
    residual = spread_quantiles(c.residual, float(1 << RESIDUAL_BITS)) if c.residual else None
    fixed, byte = (c.fixed_ns.value, c.byte_ns.value) if measured_ns is None else (measured_ns, 0.0)
    return Cost(
        fixed=_scaled(fixed),
        batch=_scaled(c.batch_ns.value),
        record=_scaled(c.record_ns.value),
        point=_scaled(c.point_ns.value),
        byte=_scaled(byte),
        cold=_scaled(c.cold_ns.value),
        residual=residual,
    )


def coldness(shape: dict[float, float]) -> Int64s:
    """The share of a cold cost by the gap since a thread worked last."""
    gaps = np.arange(TABLE_SIZE, dtype=np.float64) * (1 << COLD_STEP_BITS)
    gone = sum(share * (1.0 - np.exp(-gaps / tau_ns)) for tau_ns, share in shape.items())
    table: Int64s = np.round(gone * float(1 << RESIDUAL_BITS)).astype(np.int64)
    return table


def costs(scenario: Scenario, calibration: Calibration, processes: Mapping[str, int]) -> list[Cost]:
    """Every cost a program may name: those of `CPU_COSTS`, backgrounds, then a server's by the size of its batch.

    Args:
        scenario: What is run.
        calibration: Where the costs come from.
        processes: How many processes a part has, where its background is that of one process.
    """
    points, model = scenario.workload.points, scenario.model.label
    # Tables are of the calibration's own model; another model has the line through the sizes.
    tables = dict(calibration.tables_ns) if calibration.regime.get("model") == model else {}
    tables["worker.score"] = {} if model == NO_MODEL else calibration.score_table
    out = [cost(calibration.cpu.get(k), at_points(tables[k], points) if k in tables else None) for k in CPU_COSTS]
    for part in BACKGROUND_PARTS:
        value = calibration.background_ns_per_s.get(part)
        work = round(value.value * processes.get(part, 1) / 100) if value else 0
        out.append(Cost(work << COST_BITS, 0, 0, 0, 0, 0, None))
    if scenario.serving.kind == "external":
        table = {} if model == NO_MODEL else calibration.server_table or calibration.score_table
        per_batch = calibration.cpu.get(SERVER_SCORE)
        sizes = range(1, scenario.serving.batch_records + 1)
        out += [cost(per_batch, at_points(table, n * points)) for n in sizes]
    return out


def shares(curve: tuple[float, ...], threads: int, cores: int | None = None) -> tuple[int, ...]:
    """What each of n = 1, 2, ... threads at work gets of a core.

    Args:
        curve: c(1), c(2), ...: cores' worth of work that n threads get done; at its last value beyond its end.
        threads: How many there are.
        cores: No more than these.
    """
    most = math.inf if cores is None else float(cores)
    capacity = [min(curve[min(n, len(curve)) - 1], most) for n in range(1, threads + 1)]
    return tuple(max(1, math.floor((1 << SHARE_BITS) * c / n)) for n, c in enumerate(capacity, 1))
