"""Policies that need no forecast: hold, an equal share, and three that react to the observed latency.

The three compare each job's mean latency of the window with its objective at every tick.  A tick above counts up, a
tick at or below counts down, and a change of side starts again at one; when the count has lasted long enough the job
is scaled and counting begins anew.  A window without requests has latency 0 and so counts down.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from control.scaling.observation import Action, JobFacts, JobView, Observation

MIN_REPLICAS = 1
MAX_REPLICAS = 100


def bounded(replicas: int, low: int = MIN_REPLICAS, high: int = MAX_REPLICAS) -> int:
    """The nearest number of replicas within the bounds."""
    return min(max(replicas, low), high)


@dataclass
class Hold:
    """Leaves every job as it is."""

    jobs: tuple[JobFacts, ...]
    quota: int
    tick_s: float = 10.0

    def decide(self, seen: Observation) -> Sequence[Action]:
        """No action, ever."""
        del seen
        return ()


@dataclass
class FairShare:
    """An equal share of the quota for every job, rounded down, whatever the load."""

    jobs: tuple[JobFacts, ...]
    quota: int
    tick_s: float = 10.0

    def decide(self, seen: Observation) -> Sequence[Action]:
        """Each job to floor(quota / jobs), at least 1, where it is not there already."""
        share = bounded(seen.quota // len(self.jobs))
        return [
            Action(job, share, f"equal share of {seen.quota}")
            for job, view in enumerate(seen.jobs)
            if view.replicas != share
        ]


@dataclass
class Streaks:
    """For how many ticks in a row each job's latency has been above its objective (> 0), or not above (< 0).

    Attributes:
        up: Ticks above the objective after which a job is due to grow.
        down: Ticks at or below it after which a job is due to shrink.
    """

    jobs: int
    up: int
    down: int
    counts: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.counts = [0] * self.jobs

    def step(self, job: int, above: bool) -> int:
        """Count one tick: 1 if the job is now due to grow, -1 if it is due to shrink, otherwise 0."""
        count = self.counts[job]
        count = max(count, 0) + 1 if above else min(count, 0) - 1
        due = 1 if count >= self.up else -1 if count <= -self.down else 0
        self.counts[job] = 0 if due else count
        return due


@dataclass
class _Reactive:
    """What the reactive policies share.

    Attributes:
        jobs: The jobs' facts.
        quota: Replicas in all; the ledger enforces it, not the policy.
        tick_s: Time between decisions, seconds.
        up_after_s: Time above the objective before a job grows, seconds.
        down_after_s: Time at or below the objective before a job shrinks, seconds.
        min_replicas: Lower bound of a job.
        max_replicas: Upper bound of a job.
    """

    jobs: tuple[JobFacts, ...]
    quota: int
    tick_s: float = 10.0
    up_after_s: float = 30.0
    down_after_s: float = 600.0
    min_replicas: int = MIN_REPLICAS
    max_replicas: int = MAX_REPLICAS
    _streaks: Streaks = field(init=False, repr=False)

    def __post_init__(self) -> None:
        up, down = (ticks(lasting_s, self.tick_s) for lasting_s in (self.up_after_s, self.down_after_s))
        self._streaks = Streaks(len(self.jobs), up, down)

    def _target(self, view: JobView, facts: JobFacts, due: int) -> int:
        raise NotImplementedError

    def decide(self, seen: Observation) -> Sequence[Action]:
        """Count the tick for every job and scale those that are due."""
        actions = []
        for job, (view, facts) in enumerate(zip(seen.jobs, self.jobs, strict=True)):
            due = self._streaks.step(job, view.latency_s > facts.slo_s)
            if not due:
                continue
            target = bounded(self._target(view, facts, due), self.min_replicas, self.max_replicas)
            if target != view.replicas:
                lasting = self.up_after_s if due > 0 else self.down_after_s
                side = "above" if due > 0 else "not above"
                reason = f"{view.latency_s * 1000:.0f} ms, {side} {facts.slo_s * 1000:.0f} ms for {lasting:.0f} s"
                actions.append(Action(job, target, reason))
        return actions


@dataclass
class Aiad(_Reactive):
    """Additive increase, additive decrease: one replica more or less when due."""

    def _target(self, view: JobView, facts: JobFacts, due: int) -> int:
        del facts
        return view.replicas + due


@dataclass
class Oneshot(_Reactive):
    """In proportion at once, up and down: replicas times latency over objective, rounded up.

    The rule of the Kubernetes horizontal autoscaler, with latency as its metric.
    """

    def _target(self, view: JobView, facts: JobFacts, due: int) -> int:
        del due
        return math.ceil(view.replicas * view.latency_s / facts.slo_s)


def ticks(lasting_s: float, tick_s: float) -> int:
    """How many ticks a time is, at least one."""
    return max(1, round(lasting_s / tick_s))
