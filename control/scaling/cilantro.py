"""Cilantro (OSDI'23): divide the quota by what was learned of each job's reward at each load on a replica.

Nothing is known of a job beforehand.  Each round adds what was seen: the load on a replica and the share of requests
within the objective.  The reward is taken to fall with the load, and loads never seen to be as good as the nearest
lower one that was, so what is unknown is tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from control.allocation import SUM, allocate
from control.queueing import Floats
from control.scaling.observation import Action, JobFacts, Observation
from control.scaling.simple import MAX_REPLICAS, ticks


@dataclass
class Learned:
    """The reward of one job as a falling function of the load on a replica, learned in bins.

    Attributes:
        width: Of a bin, requests per second and replica.
        bins: How many; the last holds everything beyond.
        forget: Weight that an observation keeps when another of its bin comes.
    """

    width: float
    bins: int
    forget: float
    weight: Floats = field(init=False)
    total: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.weight, self.total = np.zeros(self.bins), np.zeros(self.bins)

    def _bin(self, load: Floats) -> Floats:
        return np.minimum((load / self.width).astype(np.int64), self.bins - 1)

    def learn(self, load: float, reward: float) -> None:
        """Add one observation."""
        at = int(self._bin(np.array([load]))[0])
        self.weight[at] = self.weight[at] * self.forget + 1.0
        self.total[at] = self.total[at] * self.forget + reward

    def reward(self, load: Floats) -> Floats:
        """The expected reward at each load."""
        curve = np.ones(self.bins)
        known = np.flatnonzero(self.weight)
        if len(known):
            falling = _falling(self.total[known] / self.weight[known], self.weight[known])
            before = np.searchsorted(known, np.arange(self.bins), side="right") - 1
            curve = np.where(before >= 0, falling[before], 1.0)
        return np.asarray(curve[self._bin(load).astype(np.int64)])


def _falling(values: Floats, weights: Floats) -> Floats:
    """The nearest sequence that never rises, in weighted least squares (pool adjacent violators)."""
    pools: list[list[float]] = []  # mean, weight, length
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        pools.append([value, weight, 1])
        while len(pools) > 1 and pools[-2][0] < pools[-1][0]:
            last, before = pools.pop(), pools.pop()
            both = before[1] + last[1]
            pools.append([(before[0] * before[1] + last[0] * last[1]) / both, both, before[2] + last[2]])
    return np.repeat([pool[0] for pool in pools], [int(pool[2]) for pool in pools])


@dataclass
class Cilantro:
    """The sum of the jobs' utilities under the learned rewards, every round.

    Attributes:
        jobs: The jobs' facts.
        quota: Replicas in all.
        tick_s: Time between observations, seconds.
        round_s: Time between decisions, seconds.
        threshold: Share of requests within the objective from which a job's utility is 1; below it is linear.
        bin_per_s: Width of the bins of load, requests per second and replica.
        max_per_s: Where the last bin begins.
        forget: Weight that an observation keeps when another of its bin comes.
        max_replicas: Upper bound of a job.
    """

    jobs: tuple[JobFacts, ...]
    quota: int
    tick_s: float = 10.0
    round_s: float = 20.0
    threshold: float = 0.99
    bin_per_s: float = 0.5
    max_per_s: float = 20.0
    forget: float = 0.9
    max_replicas: int = MAX_REPLICAS
    _learned: list[Learned] = field(init=False, repr=False)
    _ticks: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        bins = round(self.max_per_s / self.bin_per_s) + 1
        self._learned = [Learned(self.bin_per_s, bins, self.forget) for _ in self.jobs]

    def decide(self, seen: Observation) -> Sequence[Action]:
        """Learn at every round, then allocate."""
        self._ticks += 1
        if self._ticks % ticks(self.round_s, self.tick_s):
            return ()
        for view, learned in zip(seen.jobs, self._learned, strict=True):
            if view.finished and view.running and not view.busy:
                learned.learn(view.recent_rate_per_s / view.running, view.slo_rate)
        replicas = np.arange(1, max(1, min(seen.quota - len(self.jobs) + 1, self.max_replicas)) + 1)
        values = np.array(
            [
                np.minimum(learned.reward(view.recent_rate_per_s / replicas) / self.threshold, 1.0)
                for view, learned in zip(seen.jobs, self._learned, strict=True)
            ]
        )
        weights = np.array([facts.weight for facts in self.jobs])
        wanted = allocate(np.maximum.accumulate(values, axis=1), seen.quota, SUM, weights)
        actions = []
        for job, (view, target) in enumerate(zip(seen.jobs, wanted.tolist(), strict=True)):
            if target != view.replicas:
                reason = f"reward {values[job, target - 1]:.2f} learned for {view.recent_rate_per_s / target:.1f}/s"
                actions.append(Action(job, target, f"{reason} on a replica"))
        return actions
