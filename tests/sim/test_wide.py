"""Many partitions to a producer, and several collectors: more than other systems of these tests have.

A producer's lanes are linked where it has more than a few, and looked at in rotation where many are ready at once; a
round of requests passes through a queue that many broker threads serve.
"""

from __future__ import annotations

import pytest

from scenarios.load import load
from sim import store, system
from sim.execution import Execution, LoopExecution
from sim.reference import ReferenceExecution
from tests.oracle import families
from tests.sim import pipelines

FILE = "scenarios/first_light.yaml"
WIDE = (
    *("broker.partitions=40", "broker.io_threads=70", "engine.parallelism=3", "workload.partitioner=round-robin"),
    *(f"hosts.{part}={{cores: 100}}" for part in ("generator", "broker", "engine", "collector")),
)
SHORT = ("workload.warmup=0 s", "workload.duration=1 s", "workload.drain=2 s", "workload.records=600")
RATE = "workload.arrival.rate=30000 /s"
CASES = {
    "waits for company": (),
    "one request at a time": ("broker.producer.max_in_flight=1", "broker.producer.linger=20 ms"),
    "batches of two": ("broker.producer.batch_records=2", "broker.producer.linger=50 ms"),
    "no linger": ("broker.producer.linger=0 ms", "workload.producers=2"),
    "few at a time": ("broker.producer.max_in_flight=2", "workload.producers=3", "broker.producer.linger=1 ms"),
}


def wide(*more: str) -> system.System:
    """A system of one of the cases."""
    return system.build(load(FILE, [*SHORT, *WIDE, RATE, *more]), store.load("textbook"))


def executions(more: tuple[str, ...]) -> tuple[system.System, list[Execution]]:
    """Both, at their end."""
    made = wide(*more)
    both: list[Execution] = [LoopExecution(made), ReferenceExecution(made)]
    for execution in both:
        execution.advance(made.horizon_ns)
    return made, both


@pytest.mark.parametrize("case", CASES)
def test_many_lanes(case: str) -> None:
    made, (loop, reference) = executions(CASES[case])
    pipelines.assert_same_stamps(loop.stamps(), reference.stamps())
    assert loop.threads() == reference.threads()
    assert loop.producers() == reference.producers()
    assert loop.acked() == made.records == 600


@pytest.mark.parametrize("collectors", [2, 7, 41])
def test_collectors_share_the_partitions(collectors: int) -> None:
    made, (loop, reference) = executions((f"workload.collectors={collectors}",))
    pipelines.assert_same_stamps(loop.stamps(), reference.stamps())
    assert loop.threads() == reference.threads()
    assert loop.consumers() == reference.consumers()
    readers = [x for x in made.consumers if x.topic == system.OUTPUT]
    assert len(readers) == collectors
    assert [q for x in readers for q in range(x.first_partition, x.first_partition + x.partitions)] == list(range(40))
    apps = [i for i, t in enumerate(made.threads) if t.name.startswith("collector.app")]
    polls = [loop.threads()[i].polls for i in apps]
    assert len(polls) == collectors
    assert all((n > 0) == (x.partitions > 0) for n, x in zip(polls, readers, strict=True))


def test_by_hand_with_many_lanes() -> None:
    scenario = load(FILE, [*SHORT, *WIDE, RATE, *CASES["few at a time"]])
    calibration = store.load("textbook")
    oracle, told = families.pipeline_of("python", scenario, calibration)
    made = system.build(scenario, calibration)
    loop = LoopExecution(made)
    loop.advance(made.horizon_ns)
    pipelines.assert_same_stamps(loop.stamps(), oracle(told))
