"""Pipelines that reduce to a closed form."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from scenarios.spec import MS_NS, S_NS, Arrival, Broker, ConsumerSettings, Engine, ProducerSettings, Scenario, Workload
from sim import system
from sim.costs import Calibration
from sim.execution import LoopExecution
from tests.oracle import cases
from tests.sim import pipelines

NO_LINGER = ProducerSettings(linger_ns=0)


def pipeline(
    arrival: Arrival,
    *,
    duration_ns: int,
    partitions: int = 1,
    workers: int = 1,
    producer: ProducerSettings = NO_LINGER,
    consumer: ConsumerSettings | None = None,
    **workload: Any,
) -> Scenario:
    load = {"warmup_ns": 0, "drain_ns": S_NS, "partitioner": "round-robin", **workload}
    return Scenario(
        workload=Workload(arrival=arrival, duration_ns=duration_ns, **load),
        broker=Broker(partitions=partitions, producer=producer, consumer=consumer or ConsumerSettings()),
        engine=Engine(parallelism=workers),
    )


def only_scoring(service_ns: int, **other: Any) -> Calibration:
    """Nothing costs anything but to score a record."""
    return cases.calibration({}, score={1: float(service_ns)}, **other)


# One worker is M/D/1


def md1_waits(rate_per_s: float, seed: int) -> tuple[np.ndarray[Any, np.dtype[np.int64]], Any]:
    scenario = pipeline(Arrival(kind="poisson", rate_per_s=rate_per_s), duration_ns=10 * S_NS, seed=seed)
    stamps = pipelines.loop_stamps(system.build(scenario, only_scoring(MS_NS)))
    return stamps["score_begin"] - stamps["created"], stamps


def test_one_worker_serves_as_a_queue_does() -> None:
    waits, stamps = md1_waits(900.0, seed=1)
    expected = 0
    for i, created in enumerate(stamps["created"].tolist()):
        if i:
            expected = max(0, expected + MS_NS - (created - int(stamps["created"][i - 1])))  # Lindley
        assert waits[i] == expected


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_the_mean_wait_is_that_of_pollaczek_and_khinchine(load: float) -> None:
    means = []
    for seed in range(20):
        waits, stamps = md1_waits(1000 * load, seed)
        means.append(waits[stamps["created"] > S_NS].mean() / MS_NS)
    standard_error = np.std(means, ddof=1) / math.sqrt(len(means))
    expected = load / (2 * (1 - load))  # in services
    assert abs(np.mean(means) - expected) < 4 * standard_error
    assert standard_error < 0.1 * expected


# Batches


@pytest.mark.parametrize("late_us", [0, 70])
def test_records_far_apart_wait_for_the_linger_and_the_timer(late_us: int) -> None:
    producer = ProducerSettings(linger_ns=5 * MS_NS)
    scenario = pipeline(Arrival(rate_per_s=20.0), duration_ns=S_NS, producer=producer)
    sys = system.build(scenario, only_scoring(MS_NS, timer=(late_us * 1000.0,)))
    stamps = pipelines.loop_stamps(sys)
    assert len(stamps["sent"]) == 20
    assert set((stamps["appended"] - stamps["sent"]).tolist()) == {5 * MS_NS + late_us * 1000}
    assert set((stamps["out_appended"] - stamps["produced"]).tolist()) == {5 * MS_NS + late_us * 1000}


def test_a_batch_is_what_comes_within_the_linger() -> None:
    producer = ProducerSettings(linger_ns=5 * MS_NS)
    scenario = pipeline(Arrival(rate_per_s=1000.0), duration_ns=60 * MS_NS, producer=producer)
    execution = LoopExecution(sys := system.build(scenario, only_scoring(1000)))
    execution.advance(sys.horizon_ns)
    # The record due at the instant the linger ends is enqueued before the client wakes: 0 ... 5, 6 ... 11, ...
    last = np.arange(60) // 6 * 6 + 5
    assert execution.stamps()["appended"].tolist() == (last * MS_NS).tolist()
    assert execution.producers()[0].requests == 10


@pytest.mark.parametrize(("records", "size"), [(4, 1_000_000), (10_000, 4000)])
def test_a_full_batch_does_not_linger(records: int, size: int) -> None:
    producer = ProducerSettings(linger_ns=50 * MS_NS, batch_records=records, batch_bytes=size)
    scenario = pipeline(Arrival(rate_per_s=1000.0), duration_ns=58 * MS_NS, producer=producer)
    appended = pipelines.loop_stamps(system.build(scenario, only_scoring(1000)))["appended"]
    full = np.arange(56) // 4 * 4 + 3
    assert appended.tolist() == [*(full * MS_NS).tolist(), 106 * MS_NS, 106 * MS_NS]  # records of 1,000 bytes


def test_a_fetch_waits_for_its_bytes_or_its_time() -> None:
    consumer = ConsumerSettings(fetch_min_bytes=3000, fetch_max_wait_ns=100 * MS_NS)
    scenario = pipeline(Arrival(rate_per_s=100.0), duration_ns=80 * MS_NS, consumer=consumer)
    fetched = pipelines.loop_stamps(system.build(scenario, only_scoring(1000)))["fetched"]
    # Three records of 1,000 bytes each time; the last two when the fetch that began at 50 ms is out of patience.
    assert (fetched // MS_NS).tolist() == [20, 20, 20, 50, 50, 50, 150, 150]


# Cores


@pytest.mark.parametrize(("spinners", "cores"), [(2, 2), (3, 2), (5, 2), (2, 1), (5, 4)])
@pytest.mark.parametrize("slice_ns", [MS_NS, 3 * MS_NS])
def test_spinning_threads_share_the_cores_alike(spinners: int, cores: int, slice_ns: int) -> None:
    parts = ("generator", "broker", "engine", "collector", "host")[:spinners]
    work = dict.fromkeys(parts, 1e14)  # more a period than the run is long
    # They begin apart: slices that end at one instant are given on in the order of thread numbers, not in turn.
    costs = only_scoring(0, background=work, timer=tuple(1e6 * i for i in range(17)))
    scenario = pipeline(Arrival(rate_per_s=0.0), duration_ns=10 * S_NS, drain_ns=0)
    sys = system.build(scenario, pipelines.with_cores(costs, cores, slice_ns))
    execution = LoopExecution(sys)
    execution.advance(sys.horizon_ns)
    spun = [r.cpu_ns for t, r in zip(sys.threads, execution.threads(), strict=True) if "background" in t.name]
    waited = [r.wait_ns for t, r in zip(sys.threads, execution.threads(), strict=True) if "background" in t.name]
    assert len(spun) == spinners
    for cpu, wait in zip(spun, waited, strict=True):
        lived = cpu + wait
        assert 0 <= sys.horizon_ns - lived - 10 * MS_NS <= 17 * MS_NS  # they sleep first
        assert cpu == pytest.approx(lived * min(1.0, cores / spinners), abs=17 * MS_NS)


# Draining


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_backlog_drains_at_one_record_a_cost(workers: int) -> None:
    records, cost_ns = 3000, 700_000
    scenario = pipeline(
        Arrival(rate_per_s=0.0), duration_ns=5 * S_NS, partitions=6, workers=workers, backlog_records=records
    )
    stamps = pipelines.loop_stamps(system.build(scenario, only_scoring(cost_ns)))
    assert int(stamps["score_end"].max()) == records // workers * cost_ns
    assert stamps["produced"].tolist() == stamps["score_end"].tolist()


def test_a_drain_pays_for_its_polls_too() -> None:
    records, cost_ns, poll_ns = 1200, 500_000, 90_000
    costs = cases.calibration({"worker.poll": cases.cost(poll_ns)}, score={1: float(cost_ns)})
    scenario = pipeline(
        Arrival(rate_per_s=0.0),
        duration_ns=5 * S_NS,
        backlog_records=records,
        consumer=ConsumerSettings(max_poll_records=100),
    )
    stamps = pipelines.loop_stamps(system.build(scenario, costs))
    assert int(stamps["batch"].max()) == records // 100 - 1
    assert int(stamps["score_end"].max()) == records * cost_ns + records // 100 * poll_ns
