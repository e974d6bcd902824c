"""The lag rule of KEDA, carried out by a Kubernetes horizontal autoscaler: replicas in proportion to what waits."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from control.scaling.observation import Action, JobFacts, Observation
from control.scaling.simple import MAX_REPLICAS, MIN_REPLICAS, bounded, ticks

_ROUNDING = 1e-9


@dataclass
class Keda:
    """Replicas = requests waiting / threshold, rounded up; down only to the highest of the last recommendations.

    Attributes:
        jobs: The jobs' facts.
        quota: Replicas in all.
        tick_s: Time between observations, seconds.
        polling_s: Time between recommendations, seconds.
        lag_threshold: Waiting requests for each replica.
        tolerance: No change while waiting / (replicas x threshold) is within 1 +- this.
        stabilisation_s: A job shrinks to no fewer replicas than any recommendation of this time, seconds.
        min_replicas: Lower bound of a job; there is no scaling to zero.
        max_replicas: Upper bound of a job.
    """

    jobs: tuple[JobFacts, ...]
    quota: int
    tick_s: float = 10.0
    polling_s: float = 30.0
    lag_threshold: float = 10.0
    tolerance: float = 0.1
    stabilisation_s: float = 300.0
    min_replicas: int = MIN_REPLICAS
    max_replicas: int = MAX_REPLICAS
    _recommended: list[deque[int]] = field(init=False, repr=False)
    _ticks: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        kept = ticks(self.stabilisation_s, self.polling_s)
        self._recommended = [deque(maxlen=kept) for _ in self.jobs]

    def decide(self, seen: Observation) -> Sequence[Action]:
        """At each poll recommend for every job, and act on what the stabilisation leaves of it."""
        self._ticks += 1
        if self._ticks % ticks(self.polling_s, self.tick_s):
            return ()
        actions = []
        for job, (view, recommended) in enumerate(zip(seen.jobs, self._recommended, strict=True)):
            ratio = view.queued / (view.replicas * self.lag_threshold)
            needed = math.ceil(view.queued / self.lag_threshold - _ROUNDING)
            if abs(ratio - 1.0) <= self.tolerance:
                needed = view.replicas
            needed = bounded(needed, self.min_replicas, self.max_replicas)
            recommended.append(needed)
            target = max(needed, min(view.replicas, max(recommended)))
            if target != view.replicas:
                actions.append(Action(job, target, f"{view.queued} wait, {self.lag_threshold:g} for each replica"))
        return actions
