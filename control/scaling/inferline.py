"""InferLine's tuner on every job: up at once when a window of the envelope exceeds the plan, down with patience.

The tuner keeps to a plan, and a cluster of jobs brings none.  So each job is planned for here: the busiest minute of
the sample is its rate, the fewest replicas with a tail latency within the objective its plan, and Poisson arrivals at
that rate its envelope, since counts per minute say nothing of shorter windows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from control.envelope import Planned, Rules, Tuner, windows
from control.queueing import PERCENTILE, Floats, latency_table
from control.scaling.observation import Action, JobFacts, JobView, Observation
from control.scaling.simple import MAX_REPLICAS, MIN_REPLICAS, bounded


@dataclass
class InferLine:
    """One tuner a job.

    Attributes:
        jobs: The jobs' facts.
        quota: Replicas in all.
        history: Requests per minute of earlier days, [job, day, minute]: the last day is the sample.  Without it the
            sample is the first minute.
        tick_s: Time between decisions, seconds.
        deviations: The planned envelope is so many standard deviations of a Poisson count above the mean.
        settle_s: No shrinking so soon after a change, seconds.
        window_s: Shrinking goes by the highest rate in windows of about this length, seconds.
        matched: Whether growth goes by the exceeded window's own ratio rather than by its rate, as if that lasted.
        min_replicas: Lower bound of a job.
        max_replicas: Upper bound of a job.
    """

    jobs: tuple[JobFacts, ...]
    quota: int
    history: Floats | None = None
    tick_s: float = 10.0
    deviations: float = 4.0
    settle_s: float = 15.0
    window_s: float = 5.0
    matched: bool = False
    min_replicas: int = MIN_REPLICAS
    max_replicas: int = MAX_REPLICAS
    _tuners: dict[int, Tuner] = field(default_factory=dict, init=False, repr=False)

    @property
    def envelope_windows_s(self) -> tuple[float, ...]:
        """Lengths of windows that observations shall have the envelope for."""
        shortest = min(facts.planned_s for facts in self.jobs)
        return tuple(sorted({*windows(shortest), self.window_s}))

    def decide(self, seen: Observation) -> Sequence[Action]:
        """Plan the jobs that can be planned for by now, follow the plans of the others."""
        actions = []
        for job, view in enumerate(seen.jobs):
            tuner = self._tuners.get(job)
            if tuner is None:
                tuner = self._plan(job, view)
                if tuner is None:
                    continue
                self._tuners[job] = tuner
                tuner.changed_s = seen.now_s
                wanted, reason = tuner.planned.replicas[0], f"planned for {tuner.planned.rate:.1f}/s"
            else:
                recent = self._recent(view)
                found, reason = tuner.decide(seen.now_s, view.envelope_per_s, recent, [view.replicas])
                wanted = found[0]
            target = bounded(wanted, self.min_replicas, self.max_replicas)
            if target != view.replicas:
                actions.append(Action(job, target, reason))
        return actions

    def _plan(self, job: int, view: JobView) -> Tuner | None:
        if self.history is not None:
            rate = float(np.max(self.history[job][-1])) / 60.0
        elif view.rates_per_min:
            rate = view.rates_per_min[0] / 60.0
        else:
            return None
        if rate <= 0 or not view.envelope_per_s:
            return None
        service_s = self.jobs[job].planned_s
        latency = latency_table(np.array([rate]), np.array([service_s]), self.max_replicas, PERCENTILE)[0]
        replicas = min(int((latency > self.jobs[job].slo_s).sum()) + 1, self.max_replicas)
        envelope = poisson_envelope(rate, view.envelope_per_s, self.deviations)
        planned = Planned(rate, envelope, (1.0,), (1.0 / service_s,), (replicas,))
        return Tuner(planned, Rules(settle_s=self.settle_s, window_s=self.window_s, matched=self.matched))

    def _recent(self, view: JobView) -> float:
        nearest = min(view.envelope_per_s, key=lambda length_s: abs(length_s - self.window_s), default=None)
        return view.recent_rate_per_s if nearest is None else view.envelope_per_s[nearest]


def poisson_envelope(rate: float, lengths_s: Iterable[float], deviations: float) -> dict[float, float]:
    """Window -> rate + deviations x sqrt(rate / window), and at least one request more than the mean in a window."""
    return {length: rate + max(deviations * math.sqrt(rate / length), 1.0 / length) for length in sorted(lengths_s)}
