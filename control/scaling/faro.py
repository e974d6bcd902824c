"""Faro: all jobs at once, for the utility their forecast load would leave them (EuroSys'25).

Each plan estimates every job's tail latency at every number of replicas over the next minutes, turns it into utility
and divides the quota for the objective.  Replicas that bring nothing are given back; while some are free, the plan is
made again for a higher quantile of the load.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from control import allocation
from control.allocation import Demand, Goal, Ints
from control.queueing import PERCENTILE, RHO_MAX, Floats, Kind, latency, utility
from control.scaling import cobyla
from control.scaling.groups import grouped
from control.scaling.hybrid import Hybrid
from control.scaling.observation import Action, JobView, Observation

Objective = Literal["sum", "fair", "fairsum"]
Solver = Literal["exact", "cobyla"]

#: What each objective maximises here, and as published.
_GOALS: dict[str, tuple[Goal, Goal]] = {
    "sum": (allocation.SUM, allocation.SUM),
    "fair": (allocation.FAIR, allocation.SPREAD),
    "fairsum": (allocation.FAIR_SUM, allocation.FAIR_SUM_SPREAD),
}


@dataclass(frozen=True, slots=True)
class _Solution:
    replicas: Ints
    accept: Floats
    expected: list[Floats]  # requests per minute
    quantile: float


@dataclass
class Faro(Hybrid):
    """One of the five objectives.

    Attributes:
        objective: `sum` of the utilities; `fair`: the worst one; `fairsum`: both.
        drops: Whether a job may drop a share of its requests for a penalty.
        solver: `exact`, or `cobyla`, which also brings the original's objectives and treatment of drops.
        published: The objectives as published, with the exact solver too.
        fair_with_sum: Whether the published Fair has the sum in it, as the original's files for its simulator say, or
            is the spread alone, as those for its real cluster do.
        utility: Form of the utility: `latency` is relaxed, `latency_step` all or nothing.
        alpha: Steepness of the relaxed form.
        percentile: Of the latency that must be within the objective.
        rho_max: Utilisation from which overload is penalised.
        quantile: Of each minute's load that is planned for.
        slack: Whether a plan that leaves replicas free is made again for a higher quantile.
        quantile_step: By how much higher.
        quantile_max: Up to where.
        transfer_s: Time until a replica serves when it must be taken from another job, seconds; whole minutes count.
        start_s: Time until a replica serves when one is free, seconds.
        tolerance: What the objective may lose by giving replicas back.
        groups: Jobs share the quota by so many groups; 0: all at once.
    """

    objective: Objective = "fairsum"
    drops: bool = False
    solver: Solver = "exact"
    published: bool = False
    fair_with_sum: bool = False
    utility: Kind = "latency"
    alpha: float = 1.0
    percentile: float = PERCENTILE
    rho_max: float = RHO_MAX
    quantile: float = 0.6
    slack: bool = True
    quantile_step: float = 0.1
    quantile_max: float = 0.9
    transfer_s: float = 65.0
    start_s: float = 35.0
    tolerance: float = 1e-4
    groups: int = 0

    def _plan(self, seen: Observation) -> Sequence[Action]:
        found = self._solution(seen)
        worth = self._worth(found)
        actions = []
        for job, view in enumerate(seen.jobs):
            target = min(max(int(found.replicas[job]), self.min_replicas), self.max_replicas)
            accept = float(found.accept[job]) if self.drops else None
            moved = target != view.replicas
            # The original changes the accepted share only together with the replicas.
            if moved or (self.solver == "exact" and accept is not None and abs(accept - view.accept) > 1e-9):
                rate = float(found.expected[job].mean()) / 60.0
                reason = f"{self.objective}: utility {worth[job]:.2f} at {rate:.1f}/s, quantile {found.quantile:.1f}"
                actions.append(Action(job, target, reason, self.trials, accept))
        return actions

    def _solution(self, seen: Observation) -> _Solution:
        """The plan at the quantile, or at the highest one that still leaves replicas free."""
        expected, forecast = self._expected(seen, self.quantile)
        found = self._solve(seen, expected, self.quantile)
        steps = round((self.quantile_max - self.quantile) / self.quantile_step) if self.slack and forecast else 0
        for step in range(1, steps + 1):
            if found.replicas.sum() >= seen.quota:
                break
            quantile = self.quantile + step * self.quantile_step
            expected, _ = self._expected(seen, quantile)
            if all(np.array_equal(new, old) for new, old in zip(expected, found.expected, strict=True)):
                break
            higher = self._solve(seen, expected, quantile)
            if higher.replicas.sum() >= seen.quota:
                break
            found = higher
        return found

    def _solve(self, seen: Observation, expected: list[Floats], quantile: float) -> _Solution:
        demand = self._demand(seen, expected)
        if self.groups:
            replicas, accept = grouped(demand, seen.quota, max(self.groups, 2), self._allocate)
        else:
            replicas, accept = self._allocate(demand, seen.quota)
        return _Solution(replicas, accept, expected, quantile)

    def _allocate(self, demand: Demand, quota: int) -> tuple[Ints, Floats]:
        free = quota - int(demand.running.sum())
        demand = replace(demand, delay=int((self.start_s if free > 0 else self.transfer_s) // 60.0))
        goal = self._goal()
        if self.solver == "cobyla":
            return cobyla.solve(demand, quota, goal, drops=self.drops)
        most = max(1, quota - int(demand.low.sum()) + int(demand.low.max()))
        if self.drops:
            values, accept = allocation.drop_table(demand, most)
        else:
            values = allocation.value_table(demand, most)
            accept = np.ones_like(values)
        replicas = allocation.allocate(values, quota, goal, demand.weights, demand.low, self.tolerance)
        return replicas, accept[np.arange(len(values)), replicas - 1]

    def _goal(self) -> Goal:
        ours, published = _GOALS[self.objective]
        if not (self.published or self.solver == "cobyla"):
            return ours
        return allocation.SUM_SPREAD if self.objective == "fair" and self.fair_with_sum else published

    def _demand(self, seen: Observation, expected: list[Floats]) -> Demand:
        minutes = max(len(counts) for counts in expected)
        rates = np.array([self._padded(counts, minutes) for counts in expected]) / 60.0
        return Demand(
            rates=rates,
            service_s=np.array([facts.planned_s for facts in self.jobs]),
            slo_s=np.array([facts.slo_s for facts in self.jobs]),
            weights=np.array([facts.weight for facts in self.jobs]),
            running=np.array([self._now(view) for view in seen.jobs]),
            kind=self.utility,
            alpha=self.alpha,
            percentile=self.percentile,
            rho_max=self.rho_max,
        )

    def _now(self, view: JobView) -> int:
        """Replicas that count as there: the original's solver does not see those that are still starting."""
        return max(view.running, 1)

    def _padded(self, counts: Floats, minutes: int) -> Floats:
        """A job of which fewer minutes are known than of others: its mean for the rest; the original takes none."""
        rest = 0.0 if self.solver == "cobyla" else float(counts.mean())
        return np.concatenate((counts, np.full(minutes - len(counts), rest)))

    def _worth(self, found: _Solution) -> Floats:
        """Utility that the plan promises each job."""
        worth = []
        for counts, replicas, accept, facts in zip(
            found.expected, found.replicas, found.accept, self.jobs, strict=True
        ):
            there = latency(counts * accept / 60.0, replicas, facts.planned_s, self.percentile, self.rho_max)
            worth.append(float(utility(there, facts.slo_s, self.utility, self.alpha).mean()))
        return np.array(worth)
