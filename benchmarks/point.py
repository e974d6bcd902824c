"""The point the simulator is timed on: Crayfish's large scalability experiment at 16 tasks, 1.8 million records."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from scenarios.load import load
from scenarios.spec import MS_NS, S_NS, Scenario
from sim.costs import Calibration, CpuCost, HostCosts, Latency, Value

SCENARIO = Path(__file__).resolve().parent.parent / "scenarios" / "scalability.yaml"
TASKS = 16
CORES = 64


def large() -> Scenario:
    """30,000 records a second for a minute, 32 partitions, 16 tasks."""
    return load(SCENARIO, [f"engine.parallelism={TASKS}"])


def cut(scenario: Scenario, load_ns: int) -> Scenario:
    """The same point for a shorter time, without a warm-up."""
    workload = dataclasses.replace(scenario.workload, warmup_ns=0, duration_ns=load_ns, drain_ns=S_NS)
    return dataclasses.replace(scenario, workload=workload)


def crayfish_like() -> Calibration:
    """Round costs of about the size Crayfish's embedded FFNN has: 0.45 ms of a task's CPU a record.  Nobody's host."""

    def value(ns: float) -> Value:
        return Value(ns, ns, ns)

    def cost(us: float = 0.0, *, batch_us: float = 0.0, record_us: float = 0.0) -> CpuCost:
        return CpuCost(value(us * 1e3), value(batch_us * 1e3), value(record_us * 1e3))

    return Calibration(
        name="benchmark",
        created="2000-01-01",
        fingerprint={},
        regime={"engine": "python", "model": "ffnn", "format": "json"},
        cpu={
            "generator.wake": cost(2),
            "generator.record": cost(record_us=8),
            "producer.request": cost(15, record_us=0.5),
            "broker.produce": cost(40, record_us=0.3),
            "broker.fetch": cost(40, batch_us=3, record_us=0.2),
            "broker.fetch_empty": cost(20),
            "consumer.fetch": cost(20, batch_us=2, record_us=0.5),
            "consumer.fetch_empty": cost(10),
            "worker.poll": cost(15),
            "worker.poll_empty": cost(3),
            "worker.decode": cost(record_us=100),
            "worker.encode": cost(record_us=80),
            "worker.produce": cost(record_us=20),
            "collector.poll": cost(10),
            "collector.record": cost(record_us=2),
        },
        latency={"wake": Latency((40e3,)), "timer": Latency((60e3,)), "network": Latency((50e3,))},
        host=HostCosts(CORES, tuple(float(n + 1) for n in range(CORES)), "slices", 3 * MS_NS),
        score_table={1: 250e3},
        sizes_bytes={"input_fixed": 200.0, "input_per_point": 3000.0, "output_fixed": 3400.0},
    )
