"""What a scaling policy sees, and what it may ask for.

A policy is a pure object: `decide(observation)` returns actions, with their reasons.  It may keep a memory of what it
saw, but has no clock, no I/O and no random state of its own, so one object drives a simulated and a real cluster alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class JobFacts:
    """What does not change about a job."""

    name: str
    slo_s: float
    planned_s: float  # the constant service time policies plan with
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class JobView:
    """One job as seen at a tick."""

    replicas: int  # granted: running, starting and about to start
    running: int  # ready to serve
    busy: bool  # an earlier action is still being carried out
    latency_s: float  # mean of requests finished in the latency window, drops included; 0 without any
    finished: int  # requests finished in the latency window, drops included
    served: int  # of these, not dropped
    slo_rate: float  # share of those within the objective
    rates_per_min: tuple[float, ...]  # complete minutes so far, oldest first
    recent_rate_per_s: float  # arrivals in the last minute, per second
    queued: int  # requests waiting, at the router's head and at replicas
    utilisation: float  # busy share of the running replicas since the last tick
    accept: float = 1.0  # the accept rate in force
    #: most requests in any window of the length, per second, over the last minute or so; InferLine's envelope
    envelope_per_s: dict[float, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Observation:
    """The cluster as seen at a tick."""

    now_s: float
    quota: int
    jobs: tuple[JobView, ...]

    @property
    def free(self) -> int:
        """Replicas of the quota that nobody was granted."""
        return self.quota - sum(job.replicas for job in self.jobs)


@dataclass(frozen=True, slots=True)
class Action:
    """The job shall have so many replicas; the ledger may grant an up-action in part."""

    job: int
    replicas: int
    reason: str
    trials: int = 1  # what was not granted is tried again at so many ticks in all
    accept: float | None = None  # share of requests to accept from now on; None leaves it


class Policy(Protocol):
    """One scaling policy."""

    tick_s: float

    def decide(self, seen: Observation) -> Sequence[Action]:
        """The actions of this tick, possibly none."""
        ...
