"""The allocation as Faro's own solver finds it: COBYLA on real numbers of replicas, then repairs to whole ones.

What it finds depends on where it starts, which is the point of having it: results of the original can be reproduced
with it.  Everyone else is better off with `control.allocation`.  One fault is kept on purpose: requests that are
dropped still load the replicas, so in the Penalty variants dropping cannot pay and the accepted shares are noise.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from control.allocation import Demand, Goal, Ints
from control.queueing import Floats, drop_penalty, latency, utility

#: First step of the search, in replicas (and in percent, for accepted shares).
STEP = 3.0
#: A replica goes if the objective falls by no more than this.
TOLERANCE = 1e-4
_DECIMALS = 4

_Cost = Callable[[Floats], float]


def solve(demand: Demand, quota: int, goal: Goal, *, drops: bool = False) -> tuple[Ints, Floats]:
    """One allocation, started from the replicas that run now and from accepting everything.

    Args:
        demand: The jobs; a goal of theirs other than a weighted sum and a spread is not meant here.
        quota: Replicas in all.
        goal: What is maximised.
        drops: Whether accepted shares are variables too.

    Returns:
        Replicas and accepted share of each job.
    """
    from scipy.optimize import minimize

    jobs = len(demand.rates)
    low = demand.low.astype(np.float64)

    def constraints(x: Floats) -> Floats:
        replicas, percent = x[:jobs], x[jobs:]
        return np.concatenate(([quota - replicas.sum()], replicas - low, percent, 100.0 - percent))

    def cost(x: Floats) -> float:
        worth = _utilities(demand, x[:jobs])
        if drops:
            worth = worth * (1 - drop_penalty(1 - x[jobs:] / 100))
        return -goal.value(worth, demand.weights)

    start = np.concatenate((demand.running.astype(np.float64), np.full(jobs if drops else 0, 100.0)))
    found = minimize(
        cost, start, method="cobyla", constraints=[{"type": "ineq", "fun": constraints}], options={"rhobeg": STEP}
    ).x
    percent = found[jobs:]

    def whole(replicas: Floats) -> float:
        return cost(np.concatenate((replicas, percent)))

    replicas = _repair(np.ceil(found[:jobs]), demand, quota, whole)
    replicas = _shrink(replicas, low, quota, whole)
    accept = np.clip(percent / 100, 0.0, 1.0) if drops else np.ones(jobs)
    return replicas.astype(np.int64), accept


def _utilities(demand: Demand, replicas: Floats) -> Floats:
    if (replicas <= 0).any():
        return np.zeros(len(replicas))
    servers = np.repeat(replicas[:, None], demand.rates.shape[1], axis=1)
    if 0 < demand.delay < servers.shape[1]:
        servers[:, : demand.delay] = np.minimum(servers[:, : demand.delay], demand.running[:, None])
    found = latency(demand.rates, servers, demand.service_s[:, None], demand.percentile, demand.rho_max)
    worth = utility(found, demand.slo_s[:, None], demand.kind, demand.alpha)
    return np.asarray(worth.mean(axis=1))


def _repair(replicas: Floats, demand: Demand, quota: int, cost: _Cost) -> Floats:
    """While above the quota: take the replica that costs least, of equals the one that changes least."""
    while replicas.sum() > quota:
        tries = []
        for job in np.flatnonzero(replicas > demand.low):
            fewer = replicas.copy()
            fewer[job] -= 1
            tries.append((round(cost(fewer), _DECIMALS), abs(fewer[job] - demand.running[job]), int(job)))
        if not tries:
            break
        replicas[min(tries)[2]] -= 1
    return replicas


def _shrink(replicas: Floats, low: Floats, quota: int, cost: _Cost) -> Floats:
    """Give back what costs nothing, job by job; then offer all that is free to one job after the other."""
    before, now = cost(replicas), replicas.copy()
    for job in range(len(now)):
        while now[job] > low[job]:
            now[job] -= 1
            after = cost(now)
            if after - before > TOLERANCE:
                now[job] += 1
                break
            before = after
    if (now == replicas).all():
        return replicas
    free = quota - now.sum()
    before = cost(now)
    for job in range(len(now)):
        now[job] += free
        if before - cost(now) > TOLERANCE:
            return _shrink(now, low, quota, cost)
        now[job] -= free
    return now
