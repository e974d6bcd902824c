"""Two levels: a plan every few minutes, and between plans one replica more for jobs that are late all the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from control.forecast import Forecaster
from control.queueing import Floats
from control.scaling.observation import Action, JobFacts, JobView, Observation
from control.scaling.simple import MAX_REPLICAS, MIN_REPLICAS, ticks

_SLACK_S = 1e-6


@dataclass
class Hybrid:
    """What planning policies share: when they plan, what they plan for, and the reactive level.

    The first plan is made at `first_s`, the others at the multiples of `period_s`.  At a tick with a plan the reactive
    level rests and forgets what it counted.  At the others it counts, for each job that is not still carrying out an
    action, the ticks with a mean latency above the objective; `up_after_s` of them, in a row or not, make one replica.

    Attributes:
        jobs: The jobs' facts.
        quota: Replicas in all.
        forecaster: Of the requests to come; None: plans go by what was observed since the last one.
        tick_s: Time between decisions, seconds.
        first_s: Time of the first plan, seconds.
        period_s: Time between plans, seconds.
        trials: Ticks at which a plan's action is tried while it was not granted in full.
        reactive: Whether there is a reactive level.
        up_after_s: Time above the objective, since the last plan or increase, before a job grows, seconds.
        in_a_row: Whether that time must not be interrupted.
        min_replicas: Lower bound of a job.
        max_replicas: Upper bound of a job.
    """

    jobs: tuple[JobFacts, ...]
    quota: int
    forecaster: Forecaster | None = None
    tick_s: float = 10.0
    first_s: float = 60.0
    period_s: float = 300.0
    trials: int = 5
    reactive: bool = True
    up_after_s: float = 30.0
    in_a_row: bool = False
    min_replicas: int = MIN_REPLICAS
    max_replicas: int = MAX_REPLICAS
    _next_s: float = field(init=False, repr=False)
    _late: list[int] = field(init=False, repr=False)
    _read: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        self._next_s = self.first_s
        self._late = [0] * len(self.jobs)

    def decide(self, seen: Observation) -> Sequence[Action]:
        """A plan when one is due, otherwise the reactive level."""
        if seen.now_s < self._next_s - _SLACK_S:
            return self._react(seen) if self.reactive else ()
        self._next_s = (math.floor((seen.now_s + _SLACK_S) / self.period_s) + 1) * self.period_s
        self._late = [0] * len(self.jobs)
        actions = self._plan(seen)
        self._read = max((len(view.rates_per_min) for view in seen.jobs), default=0)
        return actions

    def _plan(self, seen: Observation) -> Sequence[Action]:
        raise NotImplementedError

    def _react(self, seen: Observation) -> Sequence[Action]:
        actions = []
        for job, (view, facts) in enumerate(zip(seen.jobs, self.jobs, strict=True)):
            if view.busy:
                continue
            if view.latency_s > facts.slo_s:
                self._late[job] += 1
            elif self.in_a_row:
                self._late[job] = 0
            if self._late[job] < ticks(self.up_after_s, self.tick_s):
                continue
            self._late[job] = 0
            if view.replicas < self.max_replicas:
                reason = (
                    f"{view.latency_s * 1000:.0f} ms, above {facts.slo_s * 1000:.0f} ms for {self.up_after_s:.0f} s"
                )
                actions.append(Action(job, view.replicas + 1, reason))
        return actions

    def _expected(self, seen: Observation, quantile: float) -> tuple[list[Floats], bool]:
        """Requests in each minute to plan for, per minute, and whether any of it is a forecast.

        Where there is no forecast, what was observed since the last plan stands for what comes.
        """
        found, any_forecast = [], False
        for job, view in enumerate(seen.jobs):
            ahead = self.forecaster.forecast(job, view.rates_per_min, quantile) if self.forecaster else None
            any_forecast |= ahead is not None
            found.append(self._observed(view) if ahead is None else ahead)
        return found, any_forecast

    def _observed(self, view: JobView) -> Floats:
        counts = view.rates_per_min[self._read :] or (view.recent_rate_per_s * 60.0,)
        return np.asarray(counts, dtype=np.float64)
