"""What must hold of any pipeline: two hundred generated ones, each engine family in every situation.

Conservation, Little's law, order, causality, work conservation (but where a server is told to wait), and progress.
How often each situation was met is printed at the end of the run.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise, product

import numpy as np
import pytest

from scenarios.spec import MS_NS, S_NS, US_NS, ConsumerSettings, Scenario
from sim import arena, system
from sim.costs import Calibration
from sim.execution import LoopExecution
from sim.system import System
from tests.conftest import COVERAGE
from tests.oracle import families
from tests.sim import pipelines

#: Engine family -> the kinds of pipeline that stand for it.
KINDS = {
    "poll loop": ("python", "poll-loop"),
    "dataflow": ("dataflow-chained", "dataflow"),
    "micro-batch": ("micro-batch",),
    "actors": ("actors",),
    "none": ("brokerless",),
}
TIMES = 5
CHAIN = ("created", "sent", "appended", "fetched", "score_begin", "score_end", "produced", "out_appended", "acked")
#: A client whose queue of a record is full looks again after a second.
UNTIL_NS = 900 * S_NS
#: Looks at the run: enough to see a queue, few enough to be quick.
LOOKS = 40
#: Events that one record, or one thread in one ms, may give rise to: far above what any does.
EVENTS_OF_RECORD, EVENTS_OF_THREAD_MS = 400, 200


@dataclass(frozen=True)
class Situation:
    """What a generated pipeline has to have."""

    family: str
    serving: str  # embedded | external
    bounded: bool  # a queue on the way to scoring that fills up
    cut: bool  # the run is stopped by control events at random instants

    def __str__(self) -> str:
        words = (self.family, self.serving, "bounded" if self.bounded else "unbounded", "cut" if self.cut else "whole")
        return ", ".join(words)


SITUATIONS = [Situation(*each) for each in product(KINDS, ("embedded", "external"), (False, True), (False, True))]


def generated(situation: Situation, number: int) -> tuple[System, random.Random]:
    """The pipeline of a situation by its number, and what draws on."""
    rng = random.Random(f"{situation} {number}")
    while True:
        kinds = KINDS[situation.family]
        kind = kinds[-1] if situation.bounded else rng.choice(kinds)
        scenario, calibration = families.random_case(kind, rng.randrange(1 << 32), shared=rng.random() < 0.4)
        if scenario.serving.kind != situation.serving or not scenario.engine.parallelism:
            continue
        made = _made(situation, scenario, calibration, rng)
        if made.workers and made.records > 20:
            return made, rng


def _made(situation: Situation, scenario: Scenario, calibration: Calibration, rng: random.Random) -> System:
    """The system, its queues bounded or not, on hosts of slices now and then."""
    engine, most = scenario.engine, rng.randint(1, 4)
    consumer = replace(scenario.broker.consumer, queued_bytes=ConsumerSettings().queued_bytes, queued_records=100_000)
    engine = replace(engine, buffer_capacity=0, max_offsets_per_trigger=None, cpus_per_actor=0.0)
    if situation.bounded:
        # What is queued in a consumer is bounded in records; it looks again after its back-off, of a second at most.
        consumer = replace(consumer, queued_records=most)
        engine = replace(engine, buffer_capacity=most, max_offsets_per_trigger=most)
    if calibration.host.discipline == "slices" and rng.random() < 0.5:
        calibration = pipelines.with_cores(calibration, rng.randint(1, 3), rng.choice((MS_NS, 300 * US_NS)))
    broker = replace(scenario.broker, consumer=consumer)
    made = system.build(replace(scenario, engine=engine, broker=broker), calibration)
    if situation.bounded and situation.family in ("actors", "none"):  # their mailboxes have no bound of their own
        made = replace(made, exchanges=tuple(replace(x, capacity=most) for x in made.exchanges))
    return made


@pytest.mark.parametrize("number", range(TIMES))
@pytest.mark.parametrize("situation", SITUATIONS, ids=str)
def test_what_must_hold(situation: Situation, number: int) -> None:
    sys, rng = generated(situation, number)
    execution = LoopExecution(sys)
    looks = sorted(rng.randrange(sys.horizon_ns) for _ in range(LOOKS)) if situation.cut else []
    seen = []
    for at in looks:
        before = execution.events
        execution.advance(at)
        seen.append((at, execution.acked()))
        assert execution.events - before <= allowed_events(sys)
        assert_no_core_is_idle_while_threads_queue(execution)
        assert_no_server_is_idle_while_requests_queue(execution)
    for until in range(sys.horizon_ns, UNTIL_NS, 20 * S_NS):
        execution.advance(until)
        if execution.acked() == sys.records:
            break
    assert_all_are_answered_in_order(sys, execution)
    assert_cores_are_not_used_twice(sys, execution)
    stamps = execution.stamps()
    if looks:  # Little's law, at every look: how many are inside is how long each was
        whole = LoopExecution(sys)
        whole.advance(execution._until_ns)
        pipelines.assert_equal_so_far(execution, whole)
        for at, answered in seen:
            assert answered == int((stamps["acked"] < at).sum()), at
    COVERAGE["generated pipelines"][str(situation)] += 1


def allowed_events(sys: System) -> int:
    """More events than this between two looks are no progress."""
    return EVENTS_OF_RECORD * sys.records + EVENTS_OF_THREAD_MS * len(sys.threads) * (1 + sys.horizon_ns // MS_NS)


def states(execution: LoopExecution) -> list[int]:
    return [execution._thread(t, arena.T_STATE) for t in range(len(execution.system.threads))]


def assert_no_core_is_idle_while_threads_queue(execution: LoopExecution) -> None:
    state = states(execution)
    for number, host in enumerate(execution.system.hosts):
        here = Counter(state[i] for i, t in enumerate(execution.system.threads) if t.host == number)
        if host.shares is None and here[arena.QUEUED]:
            assert here[arena.RUNNING] == host.cores


def assert_no_server_is_idle_while_requests_queue(execution: LoopExecution) -> None:
    """Where nothing is waited for: every request wakes a thread, so as many as queue are on their way to take."""
    state = states(execution)
    for service, reading in zip(execution.system.services, execution.services(), strict=True):
        if service.delay_ns:
            continue
        idle = [
            t
            for t in service.threads
            if state[t] == arena.BLOCKED and execution._thread(t, arena.T_SIGNALLED) == arena.FAR
        ]
        coming = [t for t in set(service.threads) - set(idle) if execution._thread(t, arena.T_TAKEN) == arena.NONE]
        assert not idle or reading.queued <= len(coming)


def assert_all_are_answered_in_order(sys: System, execution: LoopExecution) -> None:
    assert execution.acked() == sys.records
    stamps = execution.stamps()
    for earlier, later in pairwise(CHAIN):
        if {earlier, later} == {"out_appended", "acked"}:
            continue  # the collector may have it before the engine hears of it
        assert (stamps[later] >= 0).all(), later
        assert (stamps[earlier] <= stamps[later]).all(), f"{later} before {earlier}"
    assert (stamps["produced"] <= stamps["acked"]).all()
    if sys.broker_threads:
        for partition in range(sys.partitions):
            here = stamps["partition"] == partition
            order = np.lexsort((stamps["fetched"][here], stamps["appended"][here]))
            assert (np.diff(stamps["fetched"][here][order]) >= 0).all()
    assert (stamps["worker"] >= 0).all()


def assert_cores_are_not_used_twice(sys: System, execution: LoopExecution) -> None:
    threads = execution.threads()
    for number, host in enumerate(sys.hosts):
        used = sum(reading.cpu_ns for t, reading in zip(sys.threads, threads, strict=True) if t.host == number)
        capacity = host.cores if host.shares is None else max(n * s for n, s in enumerate(host.shares, 1)) / 256
        assert used <= capacity * execution._until_ns + len(sys.threads)


def test_every_situation_is_generated() -> None:
    assert len(SITUATIONS) * TIMES == 200
