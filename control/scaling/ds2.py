"""DS2 (OSDI'18): as many replicas as the true processing rate of one says, in one step.

A replica's true rate is what it served divided by the time it was busy, so it does not depend on how loaded it is;
the observed rate of an idle or a starved replica says nothing of the kind.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from control.scaling.observation import Action, JobFacts, Observation
from control.scaling.simple import MAX_REPLICAS, MIN_REPLICAS, bounded, ticks

_ROUNDING = 1e-9


@dataclass
class Ds2:
    """Replicas = arrivals / (true rate of a replica x target utilisation), rounded up.

    Attributes:
        jobs: The jobs' facts.
        quota: Replicas in all.
        tick_s: Time between observations, seconds.
        interval_s: Time between decisions, seconds.
        window_s: Time over which `served` is counted, seconds: the cluster's latency window.
        target_utilisation: Share of the time that a replica shall be busy; 1 is DS2's own.
        min_replicas: Lower bound of a job.
        max_replicas: Upper bound of a job.
    """

    jobs: tuple[JobFacts, ...]
    quota: int
    tick_s: float = 10.0
    interval_s: float = 60.0
    window_s: float = 30.0
    target_utilisation: float = 0.7
    min_replicas: int = MIN_REPLICAS
    max_replicas: int = MAX_REPLICAS
    _busy_s: list[deque[float]] = field(init=False, repr=False)
    _ticks: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        window = ticks(self.window_s, self.tick_s)
        self._busy_s = [deque(maxlen=window) for _ in self.jobs]

    def decide(self, seen: Observation) -> Sequence[Action]:
        """Keep the busy time of every job; at each interval scale those that are idle otherwise."""
        for busy_s, view in zip(self._busy_s, seen.jobs, strict=True):
            busy_s.append(view.utilisation * view.running * self.tick_s)
        self._ticks += 1
        if self._ticks % ticks(self.interval_s, self.tick_s):
            return ()
        actions = []
        for job, (view, facts, busy_s) in enumerate(zip(seen.jobs, self.jobs, self._busy_s, strict=True)):
            useful_s = self._useful_s(busy_s)
            true_rate = view.served / useful_s if useful_s > 0 and view.served else 1.0 / facts.planned_s
            needed = math.ceil(view.recent_rate_per_s / (true_rate * self.target_utilisation) - _ROUNDING)
            target = bounded(needed, self.min_replicas, self.max_replicas)
            if target != view.replicas and not view.busy:
                reason = f"{view.recent_rate_per_s:.1f}/s arrive, a busy replica serves {true_rate:.1f}/s"
                actions.append(Action(job, target, reason))
        return actions

    def _useful_s(self, busy_s: deque[float]) -> float:
        """Busy time within the window, which need not be a whole number of ticks."""
        whole = self.window_s / (len(busy_s) * self.tick_s) if len(busy_s) == busy_s.maxlen else 1.0
        return sum(busy_s) * whole
