"""From a cluster scenario and its requests to its policy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from control.scaling import registry
from control.scaling.observation import JobFacts, Policy
from control.scaling.observer import per_bin
from control.scaling.plane import ns
from scenarios import cluster_arrivals as arrivals
from scenarios.cluster_spec import ClusterScenario

Int64s = npt.NDArray[np.int64]


def make_policy(scenario: ClusterScenario, times: list[Int64s]) -> Policy:
    """The scenario's policy, told what it may know: the jobs, earlier days, and for an oracle the requests to come.

    Raises:
        ValueError: As `registry.make` tells it; or DS2 is told another window than the cluster's latency window.
    """
    facts = tuple(JobFacts(job.name, job.slo_s, job.model.planned_s, job.weight) for job in scenario.jobs)
    bins = [per_bin(each, ns(scenario.cluster.rate_bin_s)) for each in times]
    oracle = np.zeros((len(bins), max(len(each) for each in bins)))
    for row, each in zip(oracle, bins, strict=True):
        row[: len(each)] = each * (60.0 / scenario.cluster.rate_bin_s)
    earlier = arrivals.history(scenario.workload, scenario.jobs)
    choice = replace(scenario.policy, options=_of_the_cluster(scenario) | scenario.policy.options)
    return registry.make(choice, facts, scenario.cluster.quota, earlier, oracle, scenario.workload.first_minute)


def _of_the_cluster(scenario: ClusterScenario) -> dict[str, Any]:
    """What the policy must know of the cluster: its tick, and for DS2 the window its requests are counted over."""
    found = {"tick_s": scenario.cluster.tick_s}
    if scenario.policy.name == "ds2":
        found["window_s"] = window_s = scenario.cluster.latency_window_s
        told = scenario.policy.options.get("window_s", window_s)
        if told != window_s:
            raise ValueError(f"option 'window_s' of policy ds2: {told!r} is not the latency window, {window_s:g} s")
    return found
