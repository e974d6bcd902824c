"""The cluster's loop against a per-request SimPy model of the same cluster, interleaved in one run.

The loop simulates six hours of ten jobs under AIAD and 32 replicas; SimPy simulates their first minutes, on which both
give every latency equal.  Each rate is requests over the process time from their arrivals to the last reply, decisions
included.
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.cluster_metrics import Trail
from control.scaling.choose import make_policy
from scenarios import cluster_arrivals as arrivals
from scenarios.cluster_spec import Cluster, ClusterScenario, Job, Load, PolicyChoice
from sim.cluster import reference
from sim.cluster.simulate import run, simulate

TRACE = Path(__file__).resolve().parents[1] / "scenarios" / "faro" / "twitter_top9.csv.gz"
#: Minutes that SimPy simulates.
REFERENCE_MINUTES = 10

Int64s = npt.NDArray[np.int64]


def case() -> ClusterScenario:
    """Ten jobs for six hours, 32 replicas, AIAD."""
    return ClusterScenario(
        workload=Load(trace=str(TRACE)),
        jobs=tuple(Job(f"job{k}", trace=k) for k in range(10)),
        cluster=Cluster(quota=32),
        policy=PolicyChoice(name="aiad"),
    )


def benchmark(rounds: int = 3, tell: Callable[[str], None] = print) -> Any:
    """Times both.

    Args:
        rounds: Of each by turns; medians are given.
        tell: Called with each step.

    Returns:
        A JSON-able object: requests, process time and rate of each, their ratio, and the process's peak memory once it
        had simulated and judged the six hours.
    """
    scenario = case()
    short = replace(scenario, workload=replace(scenario.workload, minutes=REFERENCE_MINUTES))
    whole_times, short_times = _times(scenario), _times(short)
    fast = _timed(run, short, short_times)[0]  # compiles the loop, or finds it compiled
    simulate(scenario)
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    loop_s, all_s, simpy_s, equal = [], [], [], True
    for turn in range(rounds):
        loop_s.append(_timed(run, scenario, whole_times)[1])
        all_s.append(simulate(scenario).cpu_s)
        slow, cpu_s = _timed(reference.run, short, short_times)
        simpy_s.append(cpu_s)
        equal = equal and _equal(fast, slow)
        tell(
            f"round {turn + 1} of {rounds}: loop {_count(whole_times) / loop_s[-1]:,.0f} requests/s, "
            f"SimPy {_count(short_times) / simpy_s[-1]:,.0f}"
        )
    loop = _rate(_count(whole_times), loop_s)
    simpy = _rate(_count(short_times), simpy_s)
    return {
        "benchmark": "cluster",
        "rounds": rounds,
        "loop": loop,
        "loop_with_arrivals_and_metrics": _rate(_count(whole_times), all_s),
        "simpy": simpy,
        "ratio": loop["requests_per_s"] / simpy["requests_per_s"],
        "latencies_equal": equal,
        "peak_bytes": peak_bytes,
    }


def _times(scenario: ClusterScenario) -> list[Int64s]:
    return arrivals.arrivals(arrivals.counts(scenario.workload, scenario.jobs), scenario.workload)


def _timed(how: Callable[..., Trail], scenario: ClusterScenario, times: list[Int64s]) -> tuple[Trail, float]:
    policy = make_policy(scenario, times)
    began = time.process_time()
    trail = how(scenario, times, policy)
    return trail, time.process_time() - began


def _count(times: list[Int64s]) -> int:
    return sum(len(each) for each in times)


def _rate(requests: int, seconds: list[float]) -> dict[str, float]:
    cpu_s = statistics.median(seconds)
    return {"requests": requests, "cpu_s": cpu_s, "requests_per_s": requests / cpu_s}


def _equal(one: Trail, other: Trail) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one.latencies_ns, other.latencies_ns, strict=True))
