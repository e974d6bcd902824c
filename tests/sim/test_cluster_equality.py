"""Loop and control plane against the SimPy model of the same cluster: every latency, decision and observation equal."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.cluster import DROPPED_FULL, DROPPED_RATE
from analysis.cluster_metrics import Trail
from control.scaling.choose import make_policy
from control.scaling.observation import Action
from scenarios import cluster_arrivals as arrivals
from scenarios.cluster_spec import Cluster, ClusterScenario, Job, JobModel, Service
from sim.cluster import reference, simulate
from tests.sim import clusters
from tests.sim.clusters import Int64s, Script


def assert_equal(scenario: ClusterScenario, times: list[Int64s], fast: Script, slow: Script) -> Trail:
    ours = simulate.run(scenario, times, fast)
    theirs = reference.run(scenario, times, slow)
    for job in range(len(times)):
        assert np.array_equal(ours.latencies_ns[job], theirs.latencies_ns[job])
        assert np.array_equal(ours.outcomes[job], theirs.outcomes[job])
    assert clusters.facts(ours) == clusters.facts(theirs)
    assert ours.changes == theirs.changes
    assert (ours.scale_outs, ours.scale_ins, ours.end_ns) == (theirs.scale_outs, theirs.scale_ins, theirs.end_ns)
    assert fast.seen == slow.seen
    return ours


@st.composite
def cases(draw: st.DrawFn) -> tuple[ClusterScenario, list[Int64s], dict[int, list[Action]], float]:
    jobs = draw(st.integers(1, 3))
    chance = np.random.default_rng(draw(st.integers(0, 2**32)))
    start = [int(chance.integers(1, 4)) for _ in range(jobs)]
    halves = st.integers(1, 12).map(lambda n: n / 2)
    cluster = Cluster(
        quota=sum(start) + draw(st.integers(0, 4)),
        cold_start_s=draw(halves),
        hot_start_s=draw(halves),
        idle_release_s=draw(halves),
        release_check_s=draw(halves),
        retry_s=draw(halves),
        max_queue=draw(st.sampled_from([0, 3, 20])),
        replica_concurrency=draw(st.integers(1, 4)),
        latency_window_s=draw(halves),
        rate_bin_s=draw(st.sampled_from([5.0, 7.0])),
    )
    tick_s = draw(st.sampled_from([0.7, 1.0, 2.5]))
    models = (JobModel(), JobModel("small", Service(0.02, 0.6, 0.03), 0.05))
    scenario = ClusterScenario(
        jobs=tuple(Job(f"job{k}", models[k % 2], 0.3, trace=k, replicas=start[k]) for k in range(jobs)),
        cluster=cluster,
        seed=draw(st.integers(0, 2**40)),
    )
    duration_s = 30.0
    times = [
        np.sort(chance.integers(0, int(duration_s * 1e9), int(duration_s * chance.uniform(0.5, 30))))
        for _ in range(jobs)
    ]
    script = {
        tick: [
            Action(
                int(chance.integers(jobs)),
                int(chance.integers(0, 6)),
                f"at {tick}",
                int(chance.integers(1, 6)),
                [None, None, float(chance.uniform(0.5, 1.0))][chance.integers(3)],
            )
            for _ in range(chance.integers(0, 4))
        ]
        for tick in range(1, int(duration_s / tick_s) + 1)
    }
    return scenario, times, script, tick_s


@settings(max_examples=40)
@given(cases())
def test_any_cluster_under_any_script(
    case: tuple[ClusterScenario, list[Int64s], dict[int, list[Action]], float],
) -> None:
    scenario, times, script, tick_s = case
    windows_s = (0.5, 2.0)
    assert_equal(scenario, times, Script(script, tick_s, windows_s), Script(script, tick_s, windows_s))


def test_the_cases_hold_what_they_are_for() -> None:
    """One long case by hand: drops of both kinds, starts hot and cold and late, partial grants, retries."""
    chance = np.random.default_rng(5)
    scenario = clusters.cluster(jobs=3, quota=8, max_queue=5)
    scenario = replace(scenario, jobs=tuple(replace(job, replicas=2) for job in scenario.jobs))
    times = [np.sort(chance.integers(0, 300_000_000_000, count)) for count in (5000, 2500, 2500)]
    script = {
        tick: [
            Action(int(chance.integers(3)), int(chance.integers(1, 7)), "", 3, 0.95 if tick % 3 else None)
            for _ in range(2)
        ]
        for tick in range(1, 30)
    }
    trail = assert_equal(scenario, times, Script(script), Script(script))
    outcomes = np.concatenate(trail.outcomes)
    assert (outcomes == DROPPED_FULL).sum() > 100
    assert (outcomes == DROPPED_RATE).sum() > 100
    assert trail.scale_outs > 5
    assert trail.scale_ins > 5
    assert any(0 < d.granted - d.replicas < d.asked - d.replicas for d in trail.decisions)
    gaps = {b - a for job in trail.changes for (a, _), (b, _) in pairwise(job)}
    assert len(gaps) > 5


def test_three_minutes_of_the_day_under_aiad() -> None:
    scenario = clusters.faro("aiad", 32, 42, first_minute=190, minutes=3)
    times = arrivals.arrivals(arrivals.counts(scenario.workload, scenario.jobs), scenario.workload)
    ours = simulate.run(scenario, times, make_policy(scenario, times))
    theirs = reference.run(scenario, times, make_policy(scenario, times))
    assert clusters.facts(ours) == clusters.facts(theirs)
    assert len(ours.decisions) > 10
    for job in range(10):
        assert np.array_equal(ours.latencies_ns[job], theirs.latencies_ns[job])
