"""The pool's router under a clock of our own is the simulated cluster, request for request."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from analysis.cluster import DROPPED_FULL, DROPPED_RATE, PENDING, SERVED
from control.scaling.observation import Action
from control.scaling.observer import Observer
from control.scaling.plane import TICK, Plane, ns
from real.pool.router import Clock, JobRouter, Routers, Seat
from scenarios.cluster_spec import ClusterScenario
from sim.cluster import simulate
from tests.sim.clusters import Script, at_s, cluster, constant, poisson

Int64s = npt.NDArray[np.int64]


class Ticking(Clock):
    """A clock that jumps from one timer to the next."""

    def __init__(self) -> None:
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._now = self._count = 0

    def now_ns(self) -> int:
        return self._now

    def call_at(self, at_ns: int, what: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (at_ns, self._count, what))
        self._count += 1

    def run_until(self, at_ns: int) -> None:
        while self._timers and self._timers[0][0] <= at_ns:
            self._now, _, what = heapq.heappop(self._timers)
            what()
        self._now = max(self._now, at_ns)


class OneByOne:
    """A replica that serves in order, one at a time."""

    def __init__(self, clock: Ticking) -> None:
        self._clock, self._free_ns = clock, 0

    def serve(self, request: int, service_ns: int, done: Callable[[int, int], None]) -> None:
        began = max(self._free_ns, self._clock.now_ns())
        self._free_ns = ended = began + service_ns
        self._clock.call_at(ended, lambda: done(began, ended))


class Pool(Routers):
    """Replicas are there when the plane wants them."""

    def __init__(self, scenario: ClusterScenario, times: Sequence[Int64s], clock: Ticking) -> None:
        super().__init__(scenario, times, clock)
        self._clock = clock
        for router, each in zip(self.jobs, times, strict=True):
            for i, at_ns in enumerate(each.tolist()):
                clock.call_at(at_ns, self.arriving(router, i))

    @staticmethod
    def arriving(router: JobRouter, i: int) -> Callable[[], None]:
        return lambda: router.arrive(i)

    def free_slots(self, job: int, count: int) -> list[int]:
        for _ in range(count):
            self.ready[job].append(Seat(OneByOne(self._clock), job, 0, 0))
        return super().free_slots(job, count)


def pooled(scenario: ClusterScenario, times: list[Int64s], script: Script) -> tuple[Pool, Plane]:
    clock = Ticking()
    pool = Pool(scenario, times, clock)
    plane = Plane(scenario, pool)
    observer = Observer(scenario.cluster, times)

    def tick() -> None:
        plane.decide(script.decide(observer.observe(pool, plane.jobs, plane.now_ns)), 0.0)
        plane.schedule(plane.now_ns + ns(script.tick_s), TICK, tick)

    plane.schedule(ns(script.tick_s), TICK, tick)
    while True:
        clock.run_until(plane.next_ns)
        if pool.left == 0:
            return pool, plane
        plane.step()


MOVES = {
    2: [Action(0, 3, "more"), Action(1, 2, "more", accept=0.9)],
    7: [Action(0, 5, "more than there is", trials=3)],
    12: [Action(0, 1, "less"), Action(1, 4, "more")],
    16: [Action(0, 4, "again, some warm")],
}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_request_has_the_simulated_latency_and_outcome(seed: int) -> None:
    scenario = cluster(2, quota=6, seed=seed, max_queue=20)
    times = [poisson(18.0, 3_000, seed), poisson(9.0, 1_500, seed + 100)]
    expected_script, script = Script(MOVES), Script(MOVES)
    expected = simulate.run(scenario, times, expected_script)
    pool, plane = pooled(scenario, times, script)
    for job, router in enumerate(pool.jobs):
        assert np.array_equal(router.outcome, expected.outcomes[job])
        assert np.array_equal(router.latency_ns, expected.latencies_ns[job])
        assert plane.jobs[job].changes == expected.changes[job]
    assert {SERVED, DROPPED_FULL, DROPPED_RATE} == set(np.concatenate([each.outcome for each in pool.jobs]).tolist())
    alike = [[replace(view, utilisation=0.0) for view in seen.jobs] for seen in script.seen]
    assert alike == [[replace(view, utilisation=0.0) for view in seen.jobs] for seen in expected_script.seen]


def test_a_router_without_a_service_time_is_not_waited_for() -> None:
    scenario = cluster(model=constant(0.01), router=constant(0.0).service, max_queue=0, replica_concurrency=1)
    # One in service, one in hand, one in the queue: the fourth of four at once is dropped.
    pool, _ = pooled(scenario, [at_s(1.0, 1.0, 1.0, 1.0)], Script())
    assert pool.jobs[0].outcome.tolist() == [SERVED, SERVED, SERVED, DROPPED_FULL]
    assert pool.jobs[0].latency_ns.tolist() == [10_000_000, 20_000_000, 30_000_000, 0]


def test_without_a_replica_requests_wait() -> None:
    scenario = cluster(model=constant(0.01), router=constant(0.0).service)
    clock = Ticking()
    pool = Pool(scenario, [at_s(1.0)], clock)
    clock.run_until(ns(5.0))
    assert pool.jobs[0].outcome.tolist() == [PENDING]
    assert pool.look(0).queued == 1
    pool.rotate(0, pool.free_slots(0, 1))
    clock.run_until(ns(6.0))
    assert pool.jobs[0].latency_ns.tolist() == [ns(4.01)]


def test_replies_that_are_not_out_when_the_run_ends_are_pending() -> None:
    """Each takes 1 s at the router, 1 s at the replica, and 1 s at the router again."""
    scenario = cluster(model=constant(1.0), router=constant(1.0).service)
    clock = Ticking()
    pool = Pool(scenario, [at_s(0.0, 3.0)], clock)
    pool.rotate(0, pool.free_slots(0, 1))
    router = pool.jobs[0]
    clock.run_until(ns(5.5))
    assert router.outcome.tolist() == [SERVED, SERVED]
    pool.close()
    clock.run_until(ns(9.0))
    assert router.outcome.tolist() == [SERVED, PENDING]
    assert router.latency_ns.tolist() == [ns(3.0), 0]
    assert (router.left, router.seats[0].served) == (1, 1)


def test_what_a_replica_answers_after_the_end_is_pending() -> None:
    scenario = cluster(model=constant(1.0), router=constant(0.0).service)
    clock = Ticking()
    pool = Pool(scenario, [at_s(0.0)], clock)
    pool.rotate(0, pool.free_slots(0, 1))
    clock.run_until(ns(0.5))
    pool.close()
    clock.run_until(ns(2.0))
    assert pool.jobs[0].outcome.tolist() == [PENDING]
    assert pool.jobs[0].seats[0].outstanding == 0
