"""The longest spell of violations, worked by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from analysis.cluster import DROPPED_FULL, SERVED
from analysis.cluster_metrics import Trail, recovery_s
from scenarios.cluster_spec import Cluster, ClusterScenario, Job

S = 1_000_000_000
Request = tuple[float, float, int]  # arrival and latency in seconds, outcome


def found(*jobs: Sequence[Request]) -> float:
    scenario = ClusterScenario(
        jobs=tuple(Job(f"job{k}", slo_s=0.5) for k in range(len(jobs))), cluster=Cluster(latency_window_s=2.0)
    )
    columns = [list(zip(*job, strict=True)) if job else [(), (), ()] for job in jobs]
    arrivals, latencies, outcomes = (
        [np.rint(np.array(job[k], float) * unit).astype(np.int64) for job in columns]
        for k, unit in enumerate((S, S, 1))
    )
    return recovery_s(scenario, Trail(arrivals, latencies, outcomes, [], [], [], 0, 0, 0))


def test_without_violations_there_is_nothing_to_recover_from() -> None:
    assert found([(0.0, 0.5, SERVED), (1.0, 0.1, SERVED)]) == 0.0
    assert found([], []) == 0.0


def test_a_spell_lasts_from_the_first_arrival_to_the_last_reply() -> None:
    # 1.0 to 4.0 + 0.6; the good request between does not end it, the drop counts with its reply.
    spell = [(1.0, 0.9, SERVED), (2.0, 0.4, SERVED), (2.5, 0.01, DROPPED_FULL), (4.0, 0.6, SERVED), (5.0, 0.1, SERVED)]
    assert found(spell) == pytest.approx(3.6)


def test_a_reply_that_overtakes_does_not_shorten_it() -> None:
    assert found([(1.0, 5.0, SERVED), (2.0, 0.6, SERVED)]) == pytest.approx(5.0)


def test_spells_are_apart_when_arrivals_are_further_apart_than_the_window() -> None:
    assert found([(1.0, 0.6, SERVED), (3.0, 0.6, SERVED)]) == pytest.approx(2.6)
    assert found([(1.0, 0.6, SERVED), (3.001, 0.7, SERVED)]) == pytest.approx(0.7)


def test_of_several_jobs_it_is_the_longest() -> None:
    assert found([(1.0, 0.6, SERVED)], [(0.0, 0.9, SERVED)]) == pytest.approx(0.9)
