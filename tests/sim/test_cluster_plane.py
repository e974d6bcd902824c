"""How replicas come and go, worked by hand: grants, cold and hot starts, release, retries, and what is seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.cluster_metrics import Trail
from control.scaling.choose import make_policy
from control.scaling.observation import Action
from scenarios.cluster_spec import Load, PolicyChoice, Service
from sim.cluster import simulate
from tests.sim.clusters import Script, at_s, cluster, constant, facts

S = 1_000_000_000
LONG = at_s(0.0, 200.0)  # keeps the run going


def run(script: Script, *, quota: int, replicas: tuple[int, ...] = (1, 1)) -> Trail:
    scenario = cluster(jobs=len(replicas), model=constant(0.1), quota=quota, router=Service(0.0))
    jobs = tuple(replace(job, replicas=n) for job, n in zip(scenario.jobs, replicas, strict=True))
    return simulate.run(replace(scenario, jobs=jobs), [LONG] * len(replicas), script)


def test_cold_start_release_and_retry() -> None:
    """A CPU moves from one job to another in 30 s of idling and 35 s of cold start.

    10: job 0 asks 3, 1 is free: granted 2, a new worker, up at 45.  20: the rest is asked again, the executor is busy,
    no trial is left.  50: job 0 back to 1; the worker idles.  60: job 1 asks 2, the ledger has 1, but no CPU is free:
    again at 65, 70, 75, 80.  80: the worker has idled 30 s, its CPU is released, then taken: up at 115.
    """
    script = Script(
        {1: [Action(0, 3, "a", trials=2)], 5: [Action(0, 1, "b")], 6: [Action(1, 2, "c")], 10: [Action(1, 3, "d")]}
    )
    trail = run(script, quota=3)
    assert trail.changes == [[(0, 1), (45 * S, 2), (50 * S, 1)], [(0, 1), (115 * S, 2)]]
    assert facts(trail) == [
        (10 * S, 0, 1, 3, 2, "a"),
        (20 * S, 0, 2, 3, 2, "a"),
        (50 * S, 0, 2, 1, 1, "b"),
        (60 * S, 1, 1, 2, 2, "c"),
        (100 * S, 1, 2, 3, 2, "d"),  # still waiting for its CPU: lost
    ]
    assert (trail.scale_outs, trail.scale_ins) == (2, 1)
    busy = [view.busy for view in (seen.jobs[0] for seen in script.seen)]
    assert busy[:7] == [False, True, True, True, False, False, False]  # up at 45, down at 50 for 3 s


def test_hot_start_on_a_worker_that_is_still_held() -> None:
    script = Script({1: [Action(0, 1, "")], 3: [Action(0, 3, "")]})
    trail = run(script, quota=3, replicas=(2, 1))
    # 10: down to 1.  30: 2 of 3 granted (2 free in the ledger is 1: quota 3 - 1 - 1); idle for 20 s: up at 33.
    assert trail.changes == [[(0, 2), (10 * S, 1), (33 * S, 2)], [(0, 1)]]


def test_hot_and_cold_of_one_action() -> None:
    script = Script({1: [Action(0, 1, "")], 2: [Action(0, 4, "")]})
    trail = run(script, quota=5, replicas=(2, 1))
    # 20: three more: the worker idle since 10 is up at 23, the two new ones at 55.
    assert trail.changes[0] == [(0, 2), (10 * S, 1), (23 * S, 2), (55 * S, 4)]


def test_release_keeps_one_worker_and_waits_for_30_s() -> None:
    script = Script({1: [Action(0, 0, "")], 2: [Action(1, 3, "")]})
    trail = run(script, quota=4, replicas=(3, 1))
    # Down to 1 (never 0): two CPUs idle since 10, released at 40; asked for from 20 on every 5 s, got at 40, up at 75.
    assert trail.changes == [[(0, 3), (10 * S, 1)], [(0, 1), (75 * S, 3)]]


def test_who_gives_comes_before_who_takes() -> None:
    script = Script({1: [Action(0, 2, "up"), Action(1, 1, "down"), Action(2, 2, "up too")]})
    trail = run(script, quota=4, replicas=(1, 2, 1))
    assert facts(trail) == [(10 * S, 1, 2, 1, 1, "down"), (10 * S, 0, 1, 2, 2, "up"), (10 * S, 2, 1, 2, 1, "up too")]


def test_what_is_left_of_a_grant_is_asked_again() -> None:
    """Job 0 wants 3 of a full quota; at 30 job 1 gives one back, at the tick at which the third trial is."""
    script = Script({1: [Action(0, 3, "want", trials=3)], 3: [Action(1, 1, "give")]})
    trail = run(script, quota=4, replicas=(1, 3))
    assert [d[:5] for d in facts(trail)] == [
        (10 * S, 0, 1, 3, 1),
        (20 * S, 0, 1, 3, 1),
        (30 * S, 1, 3, 1, 1),
        (30 * S, 0, 1, 3, 3),
    ]


def test_accept_rate_alone_is_carried_out() -> None:
    script = Script({1: [Action(0, 1, "", accept=0.0)]})
    trail = run(script, quota=2)
    assert trail.outcomes[0].tolist() == [1, 3]  # served; dropped by the rate
    assert [seen.jobs[0].accept for seen in script.seen[:2]] == [1.0, 0.0]


def test_what_is_seen() -> None:
    """One replica, 2 s of service, no router; five requests at 1, 2, 3, 4 and 61 s."""
    scenario = cluster(model=constant(2.0), router=Service(0.0), slo_s=4.0, quota=3)
    script = Script(tick_s=10.0, envelope_windows_s=(2.5,))
    simulate.run(scenario, [at_s(1, 2, 3, 4, 61)], script)
    first, second = (seen.jobs[0] for seen in script.seen[:2])
    # Out at 3, 5, 7, 9: latencies 2, 3, 4, 5.
    assert (first.finished, first.latency_s, first.slo_rate) == (4, 3.5, 0.75)
    assert first.utilisation == pytest.approx(0.8)
    assert second.utilisation == 0.0
    assert first.recent_rate_per_s == 0.4
    assert first.envelope_per_s == {2.5: 3 / 2.5}
    assert (first.replicas, first.running, first.queued) == (1, 1, 0)
    assert script.seen[0].free == 2
    assert [seen.jobs[0].finished for seen in script.seen] == [4, 4, 4, 0, 0, 0]  # 3 is out of the window at 33
    assert [seen.jobs[0].rates_per_min for seen in script.seen[4:]] == [(), (4.0,)]


def test_start_must_fit_the_quota() -> None:
    with pytest.raises(ValueError, match="quota"):
        run(Script(), quota=2, replicas=(2, 1))
    with pytest.raises(ValueError, match="1 or more"):
        run(Script(), quota=2, replicas=(0, 1))


def test_a_load_without_requests(tmp_path: Path) -> None:
    (tmp_path / "none.csv").write_text("job,minute,rate\n0,0,0\n0,1,0\n")
    scenario = cluster()
    scenario = replace(
        scenario, workload=Load(trace=str(tmp_path / "none.csv")), policy=PolicyChoice("aiad", forecast="none")
    )
    found = simulate.simulate(scenario)
    assert found.requests == 0
    assert found.jobs["utility"].tolist() == [1.0, 1.0]
    assert found.metrics["lost_utility"] == 0.0
    assert found.metrics["violation_rate"] == 0.0


def test_policies_tick_as_the_cluster_does() -> None:
    scenario = replace(cluster(tick_s=2.5), policy=PolicyChoice("aiad"))
    assert make_policy(scenario, [LONG]).tick_s == 2.5
    told = replace(scenario, policy=PolicyChoice("aiad", options={"tick_s": 20.0}))
    assert make_policy(told, [LONG]).tick_s == 20.0


def test_ds2_takes_the_cluster_s_latency_window() -> None:
    """5/s of 100 ms keep a replica busy half the time: one is enough, however long finished requests are looked at."""
    times = at_s(*np.arange(0, 300, 0.2))
    for window_s in (30.0, 60.0, 45.0):
        scenario = cluster(model=constant(0.1), router=Service(0.0), latency_window_s=window_s, quota=8)
        scenario = replace(scenario, policy=PolicyChoice("ds2", options={"target_utilisation": 0.45}))
        trail = simulate.run(scenario, [times], make_policy(scenario, [times]))
        assert {(each.asked, each.reason) for each in trail.decisions} == {
            (2, "5.0/s arrive, a busy replica serves 10.0/s")
        }, window_s
    other = replace(scenario, policy=PolicyChoice("ds2", options={"window_s": 30}))
    with pytest.raises(ValueError, match="30 is not the latency window, 45 s"):
        make_policy(other, [times])
    same = replace(scenario, policy=PolicyChoice("ds2", options={"window_s": 45}))
    make_policy(same, [times])


def test_dropped_requests_are_finished_but_not_served() -> None:
    scenario = cluster(model=constant(2.0), router=Service(0.0), max_queue=0, replica_concurrency=1)
    script = Script()
    simulate.run(scenario, [at_s(1, 1, 1, 1, 1, 61)], script)
    # One is served, one in hand, one queued; two are dropped at once.
    views = [seen.jobs[0] for seen in script.seen[:4]]
    assert [(view.finished, view.served) for view in views] == [(5, 3), (5, 3), (5, 3), (0, 0)]
