"""Many jobs in two or more steps: first groups of neighbours share the quota, then the jobs of each group its part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from control.allocation import Demand, Ints
from control.queueing import Floats

#: From a demand and a quota to replicas and accepted shares.
Solve = Callable[[Demand, int], tuple[Ints, Floats]]


def grouped(demand: Demand, quota: int, groups: int, solve: Solve) -> tuple[Ints, Floats]:
    """An allocation by groups, and groups of groups, until no more than `groups` stand side by side.

    A group has the sum of its jobs' rates and replicas and the mean of their service times, objectives and weights.
    What is left of the quota goes to the groups in proportion to what they were given, by largest remainder.

    Args:
        demand: The jobs.
        quota: Replicas in all.
        groups: At each step, at least 2.
        solve: Solves one step.

    Returns:
        Replicas and accepted share of each job.
    """
    jobs = len(demand.rates)
    if jobs <= groups:
        return solve(demand, quota)
    parts = [_part(demand, members) for members in np.array_split(np.arange(jobs), groups)]
    given, _ = solve(_merged(parts), quota)
    shares = given / given.sum() * quota
    limits = np.floor(shares).astype(np.int64)
    limits[np.argsort(-(shares - limits), kind="stable")[: quota - int(limits.sum())]] += 1
    found = [grouped(part, int(limit), groups, solve) for part, limit in zip(parts, limits, strict=True)]
    return np.concatenate([replicas for replicas, _ in found]), np.concatenate([accept for _, accept in found])


def _part(demand: Demand, members: Ints) -> Demand:
    return replace(
        demand,
        rates=demand.rates[members],
        service_s=demand.service_s[members],
        slo_s=demand.slo_s[members],
        weights=demand.weights[members],
        running=demand.running[members],
        least=demand.low[members],
    )


def _merged(parts: list[Demand]) -> Demand:
    return replace(
        parts[0],
        rates=np.array([part.rates.sum(axis=0) for part in parts]),
        service_s=np.array([part.service_s.mean() for part in parts]),
        slo_s=np.array([part.slo_s.mean() for part in parts]),
        weights=np.array([part.weights.mean() for part in parts]),
        running=np.array([part.running.sum() for part in parts]),
        least=np.array([part.low.sum() for part in parts]),
    )
