"""The simulator's speed, line by line: records a second of each kind of pipeline, and how many times SimPy by hand.

Every rate of the loop is records over the process time of simulating alone; every ratio is of whole rates, layout
included, taken by turns with the model that was written by hand for the tests.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import point
from scenarios.load import load
from scenarios.spec import MS_NS, S_NS, Scenario, Serving
from sim import system
from sim.costs import Calibration, HostCosts
from sim.execution import LoopExecution
from tests.oracle import python_engine

#: Load that SimPy simulates.
ORACLE_NS = 800 * MS_NS
#: A host that everything shares, and that has too few cores for it.
CONTENDED_CORES = 12
LINEAR_NS = (15 * S_NS, 30 * S_NS, 60 * S_NS)
SWEEP_TASKS, SWEEP_SEEDS = (1, 2, 4, 6, 8, 10, 12, 16, 24, 32), (0, 1, 2, 3)
STARTS = 3


def blocking(scenario: Scenario, calibration: Calibration) -> tuple[Scenario, Calibration]:
    """The point with a fast server of eight threads that batch up to sixteen calls, which the tasks wait for."""
    served = dataclasses.replace(scenario, serving=Serving(kind="external", workers=8, batch_records=16))
    return served, dataclasses.replace(calibration, server_table={1: 60e3, 16: 120e3})


def on_one_host(scenario: Scenario, calibration: Calibration, discipline: str) -> tuple[Scenario, Calibration]:
    """The point with all parts on one host of few cores."""
    curve = tuple(float(n + 1) for n in range(CONTENDED_CORES))
    host = HostCosts(CONTENDED_CORES, curve, discipline, 3 * MS_NS)
    return dataclasses.replace(scenario, hosts=type(scenario.hosts)()), dataclasses.replace(calibration, host=host)


def lines(costs: Calibration, rounds: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Measures every line.

    Args:
        costs: Whose costs.
        rounds: Of each by turns; the best is given, for other work on the machine only ever makes one slower.
        tell: Called with each line.

    Returns:
        A JSON-able object by line: rates a CPU second, ratios, or seconds of wall time.
    """
    whole = point.large()
    cases = {
        "embedded": (whole, costs),
        "blocking": blocking(whole, costs),
        "contended": on_one_host(whole, costs, "slices"),
        "contended_evenly": on_one_host(whole, costs, "ps"),
    }
    found: dict[str, Any] = {}
    for name, (scenario, calibration) in cases.items():
        found[name] = _case(scenario, calibration, rounds, by_hand=name != "contended")
        tell(f"{name}: " + ", ".join(f"{key} {value:,.2f}" for key, value in found[name].items()))
    found["linearity"] = _linearity(whole, costs, rounds)
    tell("linearity: CPU ns a record of " + ", ".join(f"{k}: {v:,.0f}" for k, v in found["linearity"].items()))
    found["sweep"] = _sweep(costs)
    tell(f"sweep: {found['sweep']['points']} points in {found['sweep']['wall_s']:.1f} s")
    found["starts"] = _starts()
    tell("starts: " + ", ".join(f"{key} {value:.2f} s" for key, value in found["starts"].items()))
    return found


def _timed(scenario: Scenario, calibration: Calibration) -> tuple[float, float, LoopExecution]:
    """Process seconds to lay out and to simulate, and the execution."""
    began = time.process_time()
    execution = LoopExecution(system.build(scenario, calibration))
    laid_out = time.process_time()
    execution.advance(execution.system.horizon_ns)
    return laid_out - began, time.process_time() - laid_out, execution


def _case(scenario: Scenario, calibration: Calibration, rounds: int, *, by_hand: bool) -> dict[str, float]:
    short = point.cut(scenario, ORACLE_NS)
    _, _, execution = _timed(short, calibration)  # compiled, and on few records
    loop, simpy, equal = [], [], True
    for _ in range(rounds):
        layout_s, simulate_s, whole = _timed(scenario, calibration)
        loop.append((simulate_s, layout_s + simulate_s))
        records, events = whole.acked(), whole.events  # what was not answered did not pass all stages
        if by_hand:
            began = time.process_time()
            theirs = python_engine.simulate(short, calibration)
            simpy.append((time.process_time() - began) / int((theirs["acked"] >= 0).sum()))
            ours = execution.stamps()
            equal = equal and all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    alone, all_s = (min(row[k] for row in loop) for k in (0, 1))
    found = {
        "records": records,
        "records_per_s": records / alone,
        "events_per_record": events / records,
        "with_layout_per_s": records / all_s,
    }
    if by_hand:
        found |= {"simpy_per_s": 1 / min(simpy), "ratio": records / all_s * min(simpy), "stamps_equal": float(equal)}
    return found


def _linearity(scenario: Scenario, costs: Calibration, rounds: int) -> dict[int, float]:
    """CPU ns a record, layout included, by records."""
    found = {}
    for load_ns in LINEAR_NS:
        runs = [_timed(point.cut(scenario, load_ns), costs) for _ in range(rounds)]
        records = runs[0][2].system.records
        found[records] = min(layout_s + simulate_s for layout_s, simulate_s, _ in runs) / records * 1e9
    return found


def _sweep(costs: Calibration) -> dict[str, float]:
    """Wall seconds of forty points of 1.8 million records, on all cores, judged and kept."""
    from sim.sweeping import sweep

    swept = [{"engine.parallelism": n, "workload.seed": seed} for n in SWEEP_TASKS for seed in SWEEP_SEEDS]
    points = [(keys, load(point.SCENARIO, [f"{key}={value}" for key, value in keys.items()])) for keys in swept]
    with tempfile.TemporaryDirectory(prefix="weir-benchmark-") as folder:
        began = time.perf_counter()
        sweep(points, [costs] * len(points), root=Path(folder))
        return {"points": len(points), "wall_s": time.perf_counter() - began}


def _starts() -> dict[str, float]:
    """Wall seconds of processes: the help, and a small run whose loop is compiled already."""
    small = ["run", "scenarios/first_light.yaml", "--json", "--out"]
    found = {}
    with tempfile.TemporaryDirectory(prefix="weir-benchmark-") as folder:
        for name, arguments in (("help", ["--help"]), ("first_run", [*small, folder])):
            spent = []
            for _ in range(STARTS):
                began = time.perf_counter()
                subprocess.run([sys.executable, "-m", "sim", *arguments], check=True, capture_output=True)
                spent.append(time.perf_counter() - began)
            found[name] = min(spent)
    return found
