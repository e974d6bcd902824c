"""What holds of every run, whatever the pipeline."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios.assignment import range_assignment
from scenarios.spec import MS_NS, S_NS, Arrival, Broker, Engine, Scenario
from sim import operations, system
from sim.costs import Calibration
from sim.execution import LoopExecution
from sim.system import Int64s, System
from tests.oracle import cases
from tests.sim import pipelines

#: A record meets them in this order, each no earlier than the one before.
CHAIN = ("created", "sent", "appended", "fetched", "score_begin", "score_end", "produced", "out_appended")
DELIVERED = ("produced", "out_appended", "acked")
ANY_CASE = given(
    seed=st.integers(min_value=0, max_value=1 << 32),
    variant=st.sampled_from(("cores-enough", *pipelines.VARIANTS)),
)
EXAMPLES = settings(max_examples=40)


def build(seed: int, variant: str) -> System:
    scenario, calibration = cases.random_case(seed)
    if variant in pipelines.VARIANTS:
        return pipelines.VARIANTS[variant](scenario, calibration, seed)
    return system.build(scenario, calibration)


def run(sys: System, until_ns: int | None = None) -> LoopExecution:
    execution = LoopExecution(sys)
    execution.advance(sys.horizon_ns if until_ns is None else until_ns)
    return execution


@ANY_CASE
@EXAMPLES
def test_causality(seed: int, variant: str) -> None:
    stamps = run(build(seed, variant)).stamps()
    assert (stamps["created"] >= 0).all()
    for chain in (CHAIN, DELIVERED):
        for earlier, later in pairwise(chain):
            reached = stamps[later] >= 0
            assert (stamps[earlier][reached] >= 0).all(), f"{later} without {earlier}"
            assert (stamps[earlier][reached] <= stamps[later][reached]).all(), f"{later} before {earlier}"


@ANY_CASE
@EXAMPLES
def test_conservation(seed: int, variant: str) -> None:
    sys = build(seed, variant)
    execution = run(sys)
    assert execution.acked() == (execution.stamps()["acked"] >= 0).sum()
    for minute in range(1, 61):  # a client whose queue of a few records is full pauses for a second, again and again
        execution.advance(sys.horizon_ns + minute * 60 * S_NS)
        if execution.acked() == sys.records:
            break
    assert execution.acked() == sys.records
    stamps = execution.stamps()
    for name in CHAIN:
        assert (stamps[name] >= 0).all(), name
    np.testing.assert_array_equal(stamps["worker"] >= 0, stamps["fetched"] >= 0)
    # Every producer client sent requests for what it enqueued, and no request was empty.
    requests = [client.requests for client in execution.producers()]
    assert sum(requests[: len(sys.generators)]) <= sys.records - sys.backlog
    assert sum(requests[len(sys.generators) :]) <= sys.records
    assert all(client.requests > client.empty for client in execution.consumers()[-1:] if sys.records)


@ANY_CASE
@EXAMPLES
def test_cores_are_not_used_twice(seed: int, variant: str) -> None:
    sys = build(seed, variant)
    threads = run(sys).threads()
    for number, host in enumerate(sys.hosts):
        used = sum(reading.cpu_ns for t, reading in zip(sys.threads, threads, strict=True) if t.host == number)
        assert used <= host.cores * sys.horizon_ns
        if host.cores >= len(sys.threads):
            # Nobody queues, so all a thread waited is the latency of its wake-ups.
            assert all(reading.wait_ns <= reading.wakeups * int(sys.wake.max()) for reading in threads)


def in_order_of(key: Int64s, then: Int64s) -> bool:
    """Whether what is later by the one is not earlier by the other."""
    reached = (key >= 0) & (then >= 0)
    order = np.lexsort((then[reached], key[reached]))
    return bool((np.diff(then[reached][order]) >= 0).all())


@ANY_CASE
@EXAMPLES
def test_partitions_keep_order(seed: int, variant: str) -> None:
    sys = build(seed, variant)
    stamps = run(sys, sys.horizon_ns + S_NS).stamps()
    sequence = np.arange(sys.records)
    generator = np.where(sequence < sys.backlog, -1, (sequence - sys.backlog) % len(sys.generators))
    workers = dict(enumerate(range_assignment(sys.partitions, len(sys.workers))))
    for partition in range(sys.partitions):
        here = stamps["partition"] == partition
        for g in range(-1, len(sys.generators)):
            one = here & (generator == g)
            assert in_order_of(sequence[one], stamps["appended"][one])
        chain = ("appended", "fetched", "score_begin", "score_end", "produced", "out_appended")
        for earlier, later in pairwise(chain):
            assert in_order_of(stamps[earlier][here], stamps[later][here]), f"{later} of partition {partition}"
        readers = set(stamps["worker"][here].tolist()) - {-1}
        assert readers <= {w for w, (first, n) in workers.items() if first <= partition < first + n}


def test_littles_law() -> None:
    scenario, calibration = busy()
    sys = system.build(scenario, pipelines.with_cores(calibration, 2, 3 * MS_NS))
    execution = LoopExecution(sys)
    created = sys.created
    sampled = []
    for at in range(0, sys.horizon_ns, MS_NS):
        execution.advance(at)
        sampled.append(int(np.searchsorted(created, at)) - execution.acked())
    execution.advance(sys.horizon_ns)
    stamps = execution.stamps()
    assert execution.acked() == sys.records
    seconds_in_system = (stamps["acked"] - stamps["created"]).mean() / S_NS
    per_second = sys.records / (sys.horizon_ns / S_NS)
    assert np.mean(sampled) == pytest.approx(per_second * seconds_in_system, rel=0.01)
    assert np.mean(sampled) > 1


def busy() -> tuple[Scenario, Calibration]:
    """A minute at 300 records a second, random costs and latencies."""
    scenario, calibration = cases.random_case(3)
    workload = replace(
        scenario.workload,
        arrival=Arrival(kind="poisson", rate_per_s=300.0),
        points=1,
        warmup_ns=0,
        duration_ns=60 * S_NS,
        drain_ns=5 * S_NS,
        records=None,
        backlog_records=0,
    )
    return replace(scenario, workload=workload), calibration


# Other pipelines


def with_workers(scenario: Scenario, workers: int) -> Scenario:
    return replace(scenario, engine=Engine(parallelism=workers))


@pytest.mark.parametrize("seed", range(12))
def test_more_workers_drain_no_slower(seed: int) -> None:
    scenario, calibration = cases.random_case(seed)
    workload = replace(
        scenario.workload,
        arrival=Arrival(rate_per_s=0.0),
        backlog_records=1200,
        records=None,
        partitioner="round-robin",
        duration_ns=20 * S_NS,
    )
    # Defaults: a client whose queue is full pauses for a second, and then nothing can be said.
    scenario = replace(scenario, workload=workload, broker=Broker(partitions=12))
    ends = []
    for workers in (1, 2, 3, 4, 6, 12):
        stamps = pipelines.loop_stamps(system.build(with_workers(scenario, workers), calibration))
        assert (stamps["score_end"] >= 0).all()
        ends.append(int(stamps["score_end"].max()))
    assert ends == sorted(ends, reverse=True)


@pytest.mark.parametrize("seed", range(12))
def test_draws_are_common(seed: int) -> None:
    scenario, calibration = cases.random_case(seed)
    stamps = pipelines.loop_stamps(system.build(scenario, calibration))
    wider = replace(scenario, broker=replace(scenario.broker, partitions=scenario.broker.partitions + 1))
    more = with_workers(scenario, scenario.engine.parallelism + 1)
    for other in (wider, more):
        np.testing.assert_array_equal(
            stamps["created"], pipelines.loop_stamps(system.build(other, calibration))["created"]
        )
    # Nothing a worker does reaches the generators, which burn what they burnt, where cores do not run out.
    np.testing.assert_array_equal(stamps["sent"], pipelines.loop_stamps(system.build(more, calibration))["sent"])


def slower(sys: System, times: int) -> System:
    """The same system with every time constant so many times as long."""
    costs = tuple(
        replace(c, **{name: times * getattr(c, name) for name in ("fixed", "batch", "record", "point", "byte")})
        for c in sys.costs
    )
    programs = {
        t.program: tuple((code, times * a if code == operations.SLEEP else a, b, c) for code, a, b, c in t.program)
        for t in sys.threads
    }
    times_ns = (
        *("wake", "timer", "network", "created", "linger_ns", "fetch_max_wait_ns", "fetch_backoff_ns"),
        *("delivery_poll_ns", "load_ns", "horizon_ns"),
    )
    return replace(
        sys,
        hosts=tuple(replace(host, slice_ns=times * host.slice_ns) for host in sys.hosts),
        threads=tuple(replace(t, program=programs[t.program]) for t in sys.threads),
        costs=costs,
        **{name: times * getattr(sys, name) for name in times_ns},
    )


@pytest.mark.parametrize("variant", ["cores-enough", *pipelines.VARIANTS])
@pytest.mark.parametrize("number", range(len(cases.lattice())))
def test_time_has_no_scale(number: int, variant: str) -> None:
    _, scenario, calibration = pipelines.CASES[number]  # its times are multiples, so that nothing is rounded
    if variant in pipelines.VARIANTS:
        sys = pipelines.VARIANTS[variant](scenario, calibration, number)
    else:
        sys = system.build(scenario, calibration)
    stamps = pipelines.loop_stamps(sys)
    for times in (2, 3):
        longer = pipelines.loop_stamps(slower(sys, times))
        for name in (*CHAIN, "acked"):
            np.testing.assert_array_equal(longer[name], np.where(stamps[name] < 0, -1, times * stamps[name]), name)
        for name in ("partition", "worker", "batch"):
            np.testing.assert_array_equal(longer[name], stamps[name])
