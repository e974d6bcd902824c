"""From a cluster scenario and its requests to its policy."""

from __future__ import annotations

from dataclasses import replace

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
    """The scenario's policy, told what it may know: the jobs, earlier days, and for an oracle the requests to come."""
    facts = tuple(JobFacts(job.name, job.slo_s, job.model.planned_s, job.weight) for job in scenario.jobs)
    bins = [per_bin(each, ns(scenario.cluster.rate_bin_s)) for each in times]
    oracle = np.zeros((len(bins), max(len(each) for each in bins)))
    for row, each in zip(oracle, bins, strict=True):
        row[: len(each)] = each * (60.0 / scenario.cluster.rate_bin_s)
    earlier = arrivals.history(scenario.workload, scenario.jobs)
    choice = replace(scenario.policy, options={"tick_s": scenario.cluster.tick_s, **scenario.policy.options})
    return registry.make(choice, facts, scenario.cluster.quota, earlier, oracle, scenario.workload.first_minute)
