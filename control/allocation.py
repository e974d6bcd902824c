"""Which job gets how many replicas of a quota: the exact optimum over whole replicas.

A table holds what each job is worth at each number of replicas; more replicas are never worth less.  A plain sum is
maximised by dynamic programming over jobs and replicas.  Objectives that look at the worst and the best job too are
maximised by branch and bound over the two levels between which all jobs lie: given bounds on both, the program again
gives the best sum, and the bounds themselves limit what the spread can be.  Nothing depends on where a search starts.

Objectives of Faro (EuroSys'25, section 3.2): Sum, Fair, FairSum, and the Penalty variants, where a job may drop a
share of its requests for a price.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from control.queueing import PERCENTILE, RHO_MAX, Floats, Kind, drop_penalty, latency_table, utility

Ints = npt.NDArray[np.int64]

#: Shares of requests that a Penalty variant may drop.
DROPS = (0.0, 0.001, *(0.005 * step for step in range(1, 17)), *(0.05 * step for step in range(2, 15)))
_EQUAL = 1e-9


@dataclass(frozen=True, slots=True)
class Goal:
    """What is maximised: total * sum of w u + worst * min u - best * max u, over the utilities u and weights w.

    Attributes:
        total: Factor of the sum.
        worst: Factor of the worst job's utility, times the number of jobs where `per_job`.
        best: Factor of the best job's utility, taken off; likewise.
        per_job: See above.
        worst_first: Instead: the worst utility, and among allocations equal in that the sum.
    """

    total: float = 1.0
    worst: float = 0.0
    best: float = 0.0
    per_job: bool = False
    worst_first: bool = False

    def value(self, utilities: Floats, weights: Floats) -> float:
        """The objective at the jobs' utilities."""
        if self.worst_first:
            return float(utilities.min())
        jobs = len(utilities) if self.per_job else 1
        spread = self.worst * float(utilities.min()) - self.best * float(utilities.max())
        return self.total * float(weights @ utilities) + jobs * spread


SUM = Goal()
#: The worst job as well off as can be.
FAIR = Goal(worst_first=True)
#: The sum, and the worst job counted as often as there are jobs.
FAIR_SUM = Goal(worst=1.0, per_job=True)
#: FairSum as published: it also gains where the best job loses, so with too few replicas "all equally bad" is optimal.
FAIR_SUM_SPREAD = Goal(worst=1.0, best=1.0, per_job=True)
#: Fair as published, the spread alone: "all equally bad" is an optimum.
SPREAD = Goal(total=0.0, worst=1.0, best=1.0)
#: Fair as the original's files for its simulator have it: with the sum.
SUM_SPREAD = Goal(worst=1.0, best=1.0)


@dataclass(frozen=True, slots=True)
class Demand:
    """What the jobs will need.

    Attributes:
        rates: Requests per second, [job, minute].
        service_s: Planned service time, [job].
        slo_s: Latency objective, [job].
        weights: Of each job's utility in the sum, [job].
        running: Replicas that serve now, [job].
        delay: Leading minutes in which a job that grows still has its old replicas.
        least: Replicas that each job has at least, [job].
        kind: Form of the utility.
        alpha: Steepness of the relaxed utility.
        percentile: Of the latency that counts.
        rho_max: Utilisation from which overload is penalised.
    """

    rates: Floats
    service_s: Floats
    slo_s: Floats
    weights: Floats
    running: Ints
    delay: int = 0
    least: Ints | None = None
    kind: Kind = "latency"
    alpha: float = 1.0
    percentile: float = PERCENTILE
    rho_max: float = RHO_MAX

    @property
    def low(self) -> Ints:
        """Replicas of each job at least, 1 where nothing is said."""
        return np.ones(len(self.rates), np.int64) if self.least is None else self.least


def value_table(demand: Demand, most: int, accept: float = 1.0) -> Floats:
    """Mean utility over the minutes, [job, replicas - 1], never falling with the replicas.

    In the first `delay` minutes a job with more replicas than now is worth what it is with those of now.

    Args:
        demand: The jobs.
        most: Replicas are 1 .. most.
        accept: Share of the requests that is let in.
    """
    found = utility(
        latency_table(demand.rates * accept, demand.service_s, most, demand.percentile, demand.rho_max),
        demand.slo_s[:, None, None],
        demand.kind,
        demand.alpha,
    )
    delay = demand.delay if demand.delay < demand.rates.shape[1] else 0
    if delay:
        now = np.minimum(np.arange(most), np.maximum(demand.running - 1, 0)[:, None])
        early = np.broadcast_to(now[:, None, :], (len(now), delay, most))
        found[:, :delay] = np.take_along_axis(found[:, :delay], early, axis=2)
    return np.maximum.accumulate(found.mean(axis=1), axis=1)


def drop_table(demand: Demand, most: int) -> tuple[Floats, Floats]:
    """What each job is worth at each number of replicas with the share of requests to accept that suits it best.

    Dropping takes load off the replicas and costs the penalty of the share dropped.

    Returns:
        Utilities and accepted shares, both [job, replicas - 1].
    """
    tables = np.stack([value_table(demand, most, 1 - drop) * (1 - drop_penalty(drop)) for drop in DROPS])
    best = (tables > tables.max(axis=0) - _EQUAL).argmax(axis=0)  # the least share of those that are equal
    values = np.take_along_axis(tables, best[None], axis=0)[0]
    return np.maximum.accumulate(values, axis=1), 1 - np.asarray(DROPS)[best]


def allocate(
    values: Floats,
    quota: int,
    goal: Goal = SUM,
    weights: Floats | None = None,
    least: Ints | None = None,
    tolerance: float = _EQUAL,
) -> Ints:
    """The best allocation.

    Args:
        values: Utility of each job at each number of replicas, [job, replicas - 1], never falling.
        quota: Replicas in all; where it does not suffice for the least, the least is the answer.
        goal: What is maximised.
        weights: Of each job in the sum; 1 by default.
        least: Replicas of each job at least; 1 by default.
        tolerance: As many replicas stay free as the objective allows when it may fall by so much.

    Returns:
        Replicas of each job.
    """
    jobs, most = values.shape
    least = np.ones(jobs, np.int64) if least is None else np.minimum(least, most)
    if quota <= least.sum():
        return least
    search = _Search(values, np.ones(jobs) if weights is None else weights, quota, goal, least, tolerance)
    if goal.worst_first:
        return search.worst_first()
    if goal.worst == goal.best == 0:
        return search.best_sum(search.least, search.enough)[1]
    return search.best_between()


class _Search:
    """One instance of the problem."""

    def __init__(self, values: Floats, weights: Floats, quota: int, goal: Goal, least: Ints, tolerance: float) -> None:
        self.values, self.weights, self.quota, self.goal = values, weights, quota, goal
        self.gains = weights[:, None] * values
        self.tolerance = tolerance
        self.least = least
        self.jobs = np.arange(len(values))
        #: Beyond these replicas a job gains nothing.
        self.enough = np.maximum(self.low(values[:, -1] - _EQUAL), least)

    def low(self, level: Floats | float) -> Ints:
        """The fewest replicas at which each job is worth a level."""
        short = self.values < np.broadcast_to(level, (len(self.values),))[:, None]
        return np.asarray(np.maximum(short.sum(axis=1) + 1, self.least), np.int64)

    def high(self, level: float) -> Ints:
        """The most replicas at which each job is worth no more than a level, among those that still gain."""
        return np.asarray(np.minimum((self.values <= level + _EQUAL).sum(axis=1), self.enough), np.int64)

    def best_sum(self, low: Ints, high: Ints) -> tuple[float, Ints]:
        """The largest weighted sum with each job's replicas within bounds, and the replicas.

        best[e] is the most that the jobs so far can have with e replicas above their lower bounds.
        """
        room = int(min(self.quota - low.sum(), (high - low).sum()))
        best = np.zeros(room + 1)
        chosen = np.zeros((len(low), room + 1), np.int64)
        index = np.arange(room + 1)
        for job, (first, last) in enumerate(zip(low.tolist(), high.tolist(), strict=True)):
            width = min(last - first, room)
            gains = self.gains[job, first - 1 : first + width]
            if not width:
                best = best + gains[0]
                continue
            padded = np.concatenate((np.full(width, -np.inf), best))
            windows = np.lib.stride_tricks.sliding_window_view(padded, width + 1)[:, ::-1]
            options = windows + gains
            chosen[job] = options.argmax(axis=1)
            best = options[index, chosen[job]]
        left = int((best >= best[-1] - self.tolerance).argmax())
        replicas = low.copy()
        for job in range(len(low) - 1, -1, -1):
            replicas[job] += chosen[job, left]
            left -= chosen[job, left]
        return float(best[-1]), replicas

    def levels(self) -> Floats:
        """Every value that a job can have within the quota, ascending."""
        most = np.minimum(self.enough, self.quota - self.least.sum() + self.least)
        inside = (self.jobs[:, None] >= 0) & (np.arange(1, self.values.shape[1] + 1) <= most[:, None])
        return np.unique(self.values[inside])

    def highest_worst(self, levels: Floats) -> int:
        """Index of the highest level that every job can reach at once."""
        reachable, beyond = 0, len(levels)
        while beyond - reachable > 1:
            middle = (reachable + beyond) // 2
            low = self.low(levels[middle])
            fits = low.sum() <= self.quota and bool((low <= self.values.shape[1]).all())
            reachable, beyond = (middle, beyond) if fits else (reachable, middle)
        return reachable

    def worst_first(self) -> Ints:
        """The worst utility as high as can be; the rest of the quota to the sum."""
        levels = self.levels()
        low = self.low(levels[self.highest_worst(levels)])
        return self.best_sum(low, np.maximum(self.enough, low))[1]

    def best_between(self) -> Ints:
        """Branch and bound over boxes: the worst utility in one range of levels, the best in another."""
        goal, levels = self.goal, self.levels()
        jobs = len(self.values) if goal.per_job else 1
        worst_factor, best_factor = jobs * goal.worst, jobs * goal.best
        share = goal.total * float(self.weights.sum())
        best, answer = -np.inf, self.least
        boxes: list[tuple[float, int, int, int, int]] = []

        def put(worst: tuple[int, int], top: tuple[int, int], above: float) -> None:
            """Bound a box and keep it if it may hold something better."""
            nonlocal best, answer
            top = (max(top[0], worst[0]), top[1])
            if top[0] > top[1]:
                return
            highest = worst_factor * levels[worst[1]]
            # No utility is above the best one's, so the sum is at most share x that.
            at = levels[top[1] if share > best_factor else top[0]]
            bound = min(above, highest + (share - best_factor) * at)
            if bound <= best + _EQUAL:
                return
            low, high = self.low(levels[worst[0]]), self.high(levels[top[1]])
            if (low > high).any() or low.sum() > self.quota:
                return
            total, replicas = self.best_sum(low, high)
            bound = min(bound, goal.total * total + highest - best_factor * levels[top[0]])
            found = goal.value(self.values[self.jobs, replicas - 1], self.weights)
            if found > best:
                best, answer = found, replicas
            if bound > best + _EQUAL:
                heapq.heappush(boxes, (-bound, *worst, *top))

        put((0, self.highest_worst(levels)), (0, len(levels) - 1), np.inf)
        while boxes:
            bound, w0, w1, t0, t1 = heapq.heappop(boxes)
            if -bound <= best + _EQUAL:
                break
            if w0 == w1 and (not goal.best or t0 == t1):
                continue
            if w0 < w1 and (not goal.best or t0 == t1 or levels[w1] - levels[w0] >= levels[t1] - levels[t0]):
                middle = (w0 + w1) // 2
                put((middle + 1, w1), (t0, t1), -bound)
                put((w0, middle), (t0, t1), -bound)
            else:
                middle = (t0 + t1) // 2
                put((w0, w1), (t0, middle), -bound)
                put((w0, w1), (middle + 1, t1), -bound)
        return answer
