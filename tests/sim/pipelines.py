"""Pipelines for the tests of the simulator, and how the readings of two executors are compared."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np

from scenarios.spec import MS_NS, US_NS, Hosts, HostSpec, Scenario
from sim import system
from sim.costs import Calibration
from sim.execution import Execution, LoopExecution, ModelsReading
from sim.reference import ReferenceExecution
from sim.system import Int64s, System
from tests.oracle import cases

RANDOM_CASES = 60
#: Every case there is.  Its number decides what a variant makes of it.
CASES = [*cases.lattice(), *((f"random-{seed}", *cases.random_case(seed)) for seed in range(RANDOM_CASES))]
SPLITS: tuple[dict[str, str], ...] = ({"broker": "b"}, {"engine": "b"}, {"generator": "b", "collector": "b"})


def with_cores(calibration: Calibration, cores: int, slice_ns: int) -> Calibration:
    return replace(calibration, host=replace(calibration.host, cores=cores, slice_ns=slice_ns))


def few_cores(scenario: Scenario, calibration: Calibration, seed: int) -> System:
    """The pipeline on one to three cores, which mostly run out."""
    rng = random.Random(seed)
    slice_ns = rng.choice((MS_NS, 3 * MS_NS, 4 * MS_NS, rng.randrange(20 * US_NS, 6 * MS_NS)))
    return system.build(scenario, with_cores(calibration, rng.choice((1, 2, 3)), slice_ns))


def two_hosts(scenario: Scenario, calibration: Calibration, seed: int) -> System:
    """The pipeline with some of its parts on a second host of few cores."""
    rng = random.Random(seed)
    hosts = Hosts(hosts={"b": HostSpec(rng.choice((1, 2)))}, parts=rng.choice(SPLITS))
    return few_cores(replace(scenario, hosts=hosts), calibration, seed + 1)


VARIANTS = {"few-cores": few_cores, "two-hosts": two_hosts}


def small(name: str, *, records: int, backlog: int = 0, cores: int = cases.CORES, slice_ns: int = 3 * MS_NS) -> System:
    """A few records of a lattice case."""
    _, scenario, calibration = next(case for case in CASES if case[0] == name)
    workload = replace(
        scenario.workload,
        arrival=replace(scenario.workload.arrival, rate_per_s=10_000.0),
        records=records,
        backlog_records=backlog,
        warmup_ns=0,
        duration_ns=20 * MS_NS,
        drain_ns=10 * MS_NS,
    )
    return system.build(replace(scenario, workload=workload), with_cores(calibration, cores, slice_ns))


def loop_stamps(sys: System) -> dict[str, Int64s]:
    execution = LoopExecution(sys)
    execution.advance(sys.horizon_ns)
    return execution.stamps()


def readings(execution: Execution) -> dict[str, Any]:
    """All that can be read of a run but its stamps."""
    return {
        "acked": execution.acked(),
        "threads": dict(zip((t.name for t in execution.system.threads), execution.threads(), strict=True)),
        "producers": execution.producers(),
        "consumers": execution.consumers(),
        "services": execution.services(),
    }


def assert_same_stamps(left: dict[str, Int64s], right: dict[str, Int64s]) -> None:
    assert left.keys() == right.keys()
    for name, stamps in left.items():
        other = right[name]
        differ = np.flatnonzero(stamps != other)
        assert not len(differ), (
            f"{name} of {len(differ)} records, first {differ[0]}: {stamps[differ[0]]} and {other[differ[0]]}"
        )


def assert_equal_so_far(left: Execution, right: Execution) -> None:
    assert_same_stamps(left.stamps(), right.stamps())
    assert readings(left) == readings(right)
    assert left.lost().tolist() == right.lost().tolist()
    assert_same_models(left.models(), right.models())
    for k, service in enumerate(left.system.services):
        if service.keeps:
            assert left.visits(k).tolist() == right.visits(k).tolist()


def assert_same_models(left: ModelsReading | None, right: ModelsReading | None) -> None:
    assert (left is None) == (right is None)
    if left is None or right is None:
        return
    assert left.receivers == right.receivers
    assert left.stores == right.stores
    for name in ("deliveries", "scored", "duplicates"):
        assert getattr(left, name).tolist() == getattr(right, name).tolist(), name


def assert_loop_is_reference(sys: System) -> None:
    loop, reference = LoopExecution(sys), ReferenceExecution(sys)
    loop.advance(sys.horizon_ns)
    reference.advance(sys.horizon_ns)
    assert_equal_so_far(loop, reference)
