"""The compiled loop against SimPy on the same point, interleaved in one run.

The loop simulates the whole point.  SimPy simulates it cut short, twice: as the model that was written by hand for the
tests, which knows one pipeline and no hosts, and as `--backend simpy`, which runs any programs on shared cores as the
loop does.  Every rate is records of the load over the process time of all that is needed to get their stamps.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import point
from scenarios.spec import MS_NS, Scenario
from sim import system
from sim.costs import Calibration
from sim.run import execute, simulate, write
from tests.oracle import python_engine

#: Load that the SimPy model simulates.
ORACLE_NS = 1_600 * MS_NS
#: Load that the reference simulates.
REFERENCE_NS = 400 * MS_NS
PARTS = ("layout", "simulate", "judge", "write")


def benchmark(calibration: Calibration | None = None, rounds: int = 3, tell: Callable[[str], None] = print) -> Any:
    """Times the executors.

    Args:
        calibration: Whose costs; None for the built-in ones.
        rounds: Of each by turns; medians are given.
        tell: Called with each step.

    Returns:
        A JSON-able object: for each part seconds of wall and of process time, records, events, rates, their ratios.
    """
    costs = calibration or point.crayfish_like()
    whole, short = point.large(), point.cut(point.large(), ORACLE_NS)
    equal = _equal(short, costs)
    tell("the loop is compiled; its stamps on the short point " + ("equal SimPy's" if equal else "differ from SimPy's"))
    shorter = point.cut(whole, REFERENCE_NS)
    loop, simpy, reference = [], [], []
    for turn in range(rounds):
        loop.append(_loop(whole, costs))
        simpy.append(_simpy(short, costs))
        reference.append(_reference(shorter, costs))
        tell(
            f"round {turn + 1} of {rounds}: loop {loop[-1]['records_per_s']:,.0f} records/s, "
            f"SimPy by hand {simpy[-1]['records_per_s']:,.0f}, --backend simpy {reference[-1]['records_per_s']:,.0f}"
        )
    fast, slow, slower = _medians(loop), _medians(simpy), _medians(reference)
    return {
        "benchmark": "simulator",
        "calibration": costs.name,
        "rounds": rounds,
        "loop": fast,
        "simpy": slow,
        "reference": slower,
        "ratio": fast["records_per_s"] / slow["records_per_s"],
        "ratio_reference": fast["records_per_s"] / slower["records_per_s"],
        "stamps_equal": equal,
    }


def _loop(scenario: Scenario, costs: Calibration) -> dict[str, float]:
    result = simulate(scenario, costs)
    timing = result.meta["timing"]
    wall, process = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory(prefix="weir-benchmark-") as folder:
        write(result, Path(folder))
        timing |= {"write_s": time.perf_counter() - wall, "write_cpu_s": time.process_time() - process}
    records = len(result.records["sequence"])
    # The same work as SimPy's rate counts: from the scenario to every stamp.
    cpu_s = timing["layout_cpu_s"] + timing["simulate_cpu_s"]
    return {
        **{f"{part}{unit}": timing[f"{part}{unit}"] for part in PARTS for unit in ("_s", "_cpu_s")},
        "records": records,
        "events": timing["events"],
        "events_per_s": timing["events"] / timing["simulate_cpu_s"],
        "records_per_s": records / cpu_s,
    }


def _simpy(scenario: Scenario, costs: Calibration) -> dict[str, float]:
    wall, process = time.perf_counter(), time.process_time()
    stamps = python_engine.simulate(scenario, costs)
    cpu_s = time.process_time() - process
    records = len(stamps["created"])
    return {
        "simulate_s": time.perf_counter() - wall,
        "simulate_cpu_s": cpu_s,
        "records": records,
        "records_per_s": records / cpu_s,
    }


def _reference(scenario: Scenario, costs: Calibration) -> dict[str, float]:
    result = simulate(scenario, costs, backend="simpy")
    timing = result.meta["timing"]
    records = len(result.records["sequence"])
    cpu_s = timing["layout_cpu_s"] + timing["simulate_cpu_s"]
    return {"simulate_cpu_s": cpu_s, "records": records, "records_per_s": records / cpu_s}


def _equal(scenario: Scenario, costs: Calibration) -> bool:
    """Whether both give the same stamps: they do where cores never run out, all that the SimPy model knows."""
    sys = system.build(scenario, costs)
    execution = execute(sys)
    execution.advance(sys.horizon_ns)
    ours, theirs = execution.stamps(), python_engine.simulate(scenario, costs)
    return all(np.array_equal(ours[name], theirs[name]) for name in theirs)


def _medians(rows: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(row[key] for row in rows) for key in rows[0]}
