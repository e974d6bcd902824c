"""Compiles the loop into its cache, by simulating a small pipeline that needs no calibration file."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

from scenarios.spec import MS_NS, S_NS, Arrival, Broker, Engine, Scenario, Workload
from sim.costs import CPU_COSTS, Calibration, CpuCost, HostCosts, Latency, Value

SMALL = Scenario(
    name="warm",
    workload=Workload(Arrival("poisson", rate_per_s=200.0), warmup_ns=0, duration_ns=S_NS, backlog_records=20),
    broker=Broker(partitions=2),
    engine=Engine(parallelism=2),
)


def small_calibration(cores: int = 2) -> Calibration:
    """Costs that are nobody's: 10 us each, with a residual."""
    each = CpuCost(fixed_ns=Value(10_000.0, 10_000.0, 10_000.0), residual=(0.5, 1.0, 1.5))
    return Calibration(
        name="warm",
        created="2000-01-01",
        fingerprint={},
        regime={"engine": "python"},
        cpu=dict.fromkeys(CPU_COSTS, each),
        latency={name: Latency((50_000.0,)) for name in ("wake", "timer", "network")},
        host=HostCosts(cores, tuple(float(n + 1) for n in range(cores)), "slices", 3 * MS_NS),
        score_table={1: 10_000.0},
        sizes_bytes={"input_fixed": 1000.0, "output_fixed": 1000.0},
    )


def warm() -> str:
    """Simulates and writes the small pipeline; says what was done, in one line."""
    import numba

    from sim.cluster import loop as cluster_loop
    from sim.run import simulate, write

    began = time.perf_counter()
    result = simulate(SMALL, small_calibration())
    cluster_loop.warm()
    ran = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="weir-warm-") as folder:
        write(result, Path(folder))
    cache = Path(numba.config.CACHE_DIR)  # type: ignore[attr-defined]  # numba sets it as it starts
    for other in cache.parent.glob("numba-*"):  # of sources that are no more
        if other != cache:
            shutil.rmtree(other, ignore_errors=True)
    return f"compiled the loop, or found it compiled, in {ran - began:.1f} s: {cache}"
