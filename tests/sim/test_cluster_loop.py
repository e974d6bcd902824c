"""The compiled loop against hand-worked cases, closed forms and itself: without the JIT, and cut at any instant."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from analysis.cluster import DROPPED_FULL, DROPPED_RATE, SERVED
from scenarios import cluster_draws as tables
from scenarios.cluster_spec import RESNET34, ROUTER, ClusterScenario, JobModel, Service
from sim.cluster.execution import Requests
from tests.sim import clusters
from tests.sim.clusters import Int64s, at_s, cluster, constant, poisson

NONE_AT_ALL = Service(0.0)


def served(scenario: ClusterScenario, *times: Int64s, replicas: int = 1, accept: float = 1.0) -> Requests:
    """All requests through a fixed number of replicas."""
    requests = Requests(scenario, times)
    for job in range(len(times)):
        requests.rotate(job, requests.free_slots(job, replicas))
        requests.accept(job, accept)
    requests.advance(1 << 61)
    assert requests.finished == requests.total
    return requests


def test_by_hand_one_replica() -> None:
    scenario = cluster(model=constant(0.1), router=Service(0.01))
    requests = served(scenario, at_s(0.0, 0.0, 0.5))
    # 1: router 0-10, replica 10-110, router 110-120.  2: router 10-20, waits, replica 110-210, router 210-220.
    assert (requests.latency_ns(0) / 1e6).tolist() == [120.0, 220.0, 120.0]
    assert requests.outcome(0).tolist() == [SERVED] * 3


def test_by_hand_the_dispatcher_holds_one_and_the_next_is_dropped() -> None:
    scenario = cluster(model=constant(0.1), router=Service(0.01), max_queue=0, replica_concurrency=1)
    requests = served(scenario, at_s(0.0, 0.0, 0.0, 0.0))
    # Admitted at 10, 20, 30, 40: served, held in hand, queued (none waits before it), dropped (one waits), out at 50.
    # The replies: router 110-120, 210-220, 310-320.
    assert (requests.latency_ns(0) / 1e6).tolist() == [120.0, 220.0, 320.0, 50.0]
    assert requests.outcome(0).tolist() == [SERVED, SERVED, SERVED, DROPPED_FULL]


def test_by_hand_drops_reply_through_the_same_router() -> None:
    scenario = cluster(model=constant(0.1), router=Service(0.01))
    requests = served(scenario, at_s(0.0, 0.0, 0.0), accept=0.0)
    # In 0-10, 10-20, 20-30; the first's reply queued at 10, behind the third: out 30-40, 40-50, 50-60.
    assert (requests.latency_ns(0) / 1e6).tolist() == [40.0, 50.0, 60.0]
    assert requests.outcome(0).tolist() == [DROPPED_RATE] * 3


def test_most_that_a_job_can_hold() -> None:
    """All at once: 4 at each replica, 1 in hand, 51 in the queue, and the rest is dropped."""
    scenario = cluster(model=constant(10.0), router=NONE_AT_ALL)
    requests = served(scenario, at_s(*[0.0] * 100), replicas=3)
    assert (requests.outcome(0) == SERVED).sum() == 3 * 4 + 1 + 51


def test_turns_skip_full_replicas() -> None:
    """Two replicas of one place each: the second request does not wait for the first's replica."""
    scenario = cluster(model=constant(1.0), router=NONE_AT_ALL, replica_concurrency=1)
    requests = served(scenario, at_s(0.0, 0.1, 0.2), replicas=2)
    assert (requests.latency_ns(0) / 1e6).tolist() == [1000.0, 1000.0, 1800.0]


def test_accept_rate() -> None:
    scenario = cluster(model=constant(0.0), router=NONE_AT_ALL)
    requests = served(scenario, poisson(1000.0, 100_000), accept=0.97)
    share = (requests.outcome(0) == SERVED).mean()
    assert share == pytest.approx(0.97, abs=4 * math.sqrt(0.97 * 0.03 / 100_000))


def within_4_standard_errors(values: Int64s, expected: float) -> None:
    means = (values[: len(values) // 50 * 50].reshape(50, -1) / 1e9).mean(axis=1)
    assert abs(means.mean() - expected) < 4 * means.std(ddof=1) / math.sqrt(50)


@pytest.mark.parametrize("rho", [0.3, 0.7])
def test_m_d_1(rho: float) -> None:
    scenario = cluster(model=constant(0.1), router=NONE_AT_ALL, max_queue=1 << 40)
    requests = served(scenario, poisson(rho / 0.1, 500_000))
    within_4_standard_errors(requests.latency_ns(0), 0.1 + 0.1 * rho / (2 * (1 - rho)))


def test_m_g_1_of_the_lognormal_service() -> None:
    """Pollaczek-Khinchine: W = rate E[S^2] / (2 (1 - rho))."""
    mean, rate = RESNET34.mean_s, 4.5
    variance = (RESNET34.lognormal_scale_s * math.exp(RESNET34.lognormal_sigma**2 / 2)) ** 2
    variance *= math.exp(RESNET34.lognormal_sigma**2) - 1
    scenario = cluster(router=NONE_AT_ALL, max_queue=1 << 40)
    requests = served(scenario, poisson(rate, 500_000))
    waiting = rate * (variance + mean**2) / (2 * (1 - rate * mean))
    within_4_standard_errors(requests.latency_ns(0), mean + waiting)


def test_unloaded_latency_is_two_routers_and_a_service() -> None:
    requests = served(cluster(), at_s(*range(0, 20_000, 2)))
    within_4_standard_errors(requests.latency_ns(0), 2 * ROUTER.mean_s + RESNET34.mean_s)


@pytest.mark.parametrize("service", [RESNET34, ROUTER, Service(0.0, 0.5, 1.0)])
def test_table_has_the_moments_of_its_distribution(service: Service) -> None:
    table = tables.quantiles_ns(service)
    assert (np.diff(table) >= 0).all()
    # Of a piecewise linear quantile function: each cell is uniform between its ends.
    low, high = table[:-1] / 1e9 - service.floor_s, table[1:] / 1e9 - service.floor_s
    mean = float(((low + high) / 2).mean())
    second = float(((low * low + low * high + high * high) / 3).mean())
    expected = service.mean_s - service.floor_s
    assert mean == pytest.approx(expected, rel=2e-5)
    sd = expected * math.sqrt(math.exp(service.lognormal_sigma**2) - 1)
    assert math.sqrt(second - mean**2) == pytest.approx(sd, rel=5e-5)
    assert table[2048] == round((service.floor_s + service.lognormal_scale_s) * 1e9)  # the median
    assert tables.at(table, 2048 << 20) == table[2048]


def test_a_constant_has_a_flat_table() -> None:
    assert set(tables.quantiles_ns(Service(0.25)).tolist()) == {250_000_000}


def test_a_run_cut_at_any_instant_is_the_same_run() -> None:
    scenario = cluster(jobs=2)
    times = [poisson(6.0, 3000, seed) for seed in (1, 2)]
    whole = served(scenario, *times)
    cut = Requests(scenario, times)
    for job in range(2):
        cut.rotate(job, cut.free_slots(job, 1))
    for until in np.random.default_rng(3).integers(0, int(times[0][-1]), 400):
        cut.advance(int(until))
        cut.look(0)
    cut.advance(1 << 61)
    for job in range(2):
        assert np.array_equal(cut.latency_ns(job), whole.latency_ns(job))


def test_what_a_job_draws_does_not_depend_on_the_others() -> None:
    times = [poisson(6.0, 1000, seed) for seed in (1, 2)]
    both = served(cluster(jobs=2), *times)
    alone = served(cluster(jobs=1), times[0])
    assert np.array_equal(both.latency_ns(0), alone.latency_ns(0))
    other = served(replace(cluster(jobs=1), seed=2), times[0])
    assert not np.array_equal(other.latency_ns(0), alone.latency_ns(0))


def test_slots_grow_and_keep_what_they_hold() -> None:
    """Going from 3 to 40 replicas and back to 1, each held request is served once."""
    model = JobModel("slow", Service(5.0), 5.0)
    requests = Requests(cluster(model=model, router=NONE_AT_ALL), [at_s(*np.arange(0, 60, 0.05))])
    running: list[int] = []
    for step, replicas in enumerate((3, 40, 1, 30, 70, 2)):
        requests.advance(step * 3_000_000_000)
        if replicas > len(running):
            running += requests.free_slots(0, replicas - len(running))
        assert len(set(running)) == len(running)
        running = running[:replicas]
        requests.rotate(0, running)
    requests.advance(1 << 61)
    assert requests.finished == requests.total
    assert (requests.latency_ns(0)[requests.outcome(0) == SERVED] >= 5e9).all()


def test_without_the_jit() -> None:
    program = (
        "import json; from sim import jit; from tests.sim.test_cluster_loop import *\n"
        "r = served(cluster(jobs=2), *[poisson(12.0, 300, seed) for seed in (1, 2)], replicas=2, accept=0.9)\n"
        "print(json.dumps([jit.JIT_OFF, *(r.latency_ns(k).tolist() for k in (0, 1)), list(r.look(0))]))"
    )
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(clusters.ROOT)}
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=clusters.ROOT, env=environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    off, *latencies, look = json.loads(ran.stdout)
    assert off
    compiled = served(cluster(jobs=2), *[poisson(12.0, 300, seed) for seed in (1, 2)], replicas=2, accept=0.9)
    assert latencies == [compiled.latency_ns(k).tolist() for k in (0, 1)]
    assert look == list(compiled.look(0))
