"""The control plane of a cluster: the quota's ledger, and how replicas come and go.

What happens to replicas is Faro's simulated cluster (EuroSys'25, doi 10.1145/3689031.3696071):

* The ledger grants at a tick: actions that shrink a job first, otherwise in order; one that asks for more than is free
  gets what there is, and the rest is asked again at the next tick while it has trials left.  An action for a job that
  still carries out an earlier one waits for the next tick, or is lost if it has no trial left.
* Each job's executor carries out one action at a time.  A replica needs a worker, one CPU: an idle one that the job
  still holds serves after `hot_start_s`, a new one after `cold_start_s`; without a free CPU it asks again every
  `retry_s`, without end.
* Going down takes the last replicas out at once; they drain what they hold.  Their workers stay with the job until they
  have been idle for `idle_release_s`, which is looked at every `release_check_s`; a job always keeps one worker.

At one instant requests move first; then, in this order: replicas whose start is over begin to serve, the policy
decides, idle workers are released, waiting starts ask again, executors finish and take up new actions; and within
each of these, what was scheduled first.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from control.scaling.observation import Action
from scenarios.cluster_spec import ClusterScenario

# What a control event is, in the order of one instant.
START, TICK, RELEASE, RETRY, DONE, TAKE = range(6)


def ns(seconds: float) -> int:
    """Seconds as whole nanoseconds."""
    return round(seconds * 1e9)


class Scalable(Protocol):
    """The requests, as the plane needs them: at the instant of the event it takes."""

    def free_slots(self, job: int, count: int) -> list[int]:
        """Free slots for so many replicas that start now."""

    def rotate(self, job: int, slots: Sequence[int]) -> None:
        """From now on requests go to these replicas."""

    def accept(self, job: int, share: float) -> None:
        """From now on this share of the job's requests is accepted."""


@dataclass(slots=True, eq=False)
class Worker:
    """One CPU that a job holds."""

    idle_since_ns: int | None = None  # None: a replica runs on it, or is about to


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of one action."""

    at_ns: int
    job: int
    replicas: int  # granted to the job before
    asked: int
    granted: int  # to the job now
    reason: str
    solver_s: float


@dataclass(slots=True)
class _Asked:
    """An action before the ledger: to `target` replicas, or the `more` that a partial grant left open."""

    job: int
    reason: str
    trials: int
    accept: float | None
    solver_s: float
    target: int = 0
    more: int | None = None


@dataclass(slots=True)
class _Granted:
    """An action before a job's executor."""

    target: int
    accept: float | None


@dataclass(slots=True)
class JobState:
    """One job's replicas and workers."""

    granted: int
    workers: list[Worker]
    running: list[tuple[int, Worker]] = field(default_factory=list)  # slot and worker, in order of start
    busy: bool = False
    accept: float = 1.0
    todo: deque[_Granted] = field(default_factory=deque)
    waking: bool = False
    starting: int = 0  # groups of replicas that are on their way, for the action at hand
    missing: int = 0  # replicas of it that found no CPU yet
    changes: list[tuple[int, int]] = field(default_factory=list)  # (ns, running replicas from then on)
    ran_ns: int = 0  # replicas times the time they ran, up to the last change

    def running_time_ns(self, now_ns: int) -> int:
        """Replicas times the time they ran, up to now."""
        at, count = self.changes[-1]
        return self.ran_ns + count * (now_ns - at)


class Plane:
    """Ledger, executors and workers of every job.

    Args:
        scenario: The cluster's mechanics and what each job starts with.
        requests: What is scaled.

    Raises:
        ValueError: The jobs start with more replicas than the quota has, or with none.
    """

    def __init__(self, scenario: ClusterScenario, requests: Scalable) -> None:
        self._cluster = scenario.cluster
        self._requests = requests
        self._events: list[tuple[int, int, int, Callable[[], None]]] = []
        self._count = 0
        self.now_ns = 0
        self._waiting: list[_Asked] = []
        self.decisions: list[Decision] = []
        self.scale_outs = 0
        self.scale_ins = 0
        start = [job.replicas for job in scenario.jobs]
        if min(start, default=1) < 1 or sum(start) > scenario.cluster.quota:
            raise ValueError(f"jobs start with {sum(start)} replicas, each with 1 or more: the quota is less")
        self.jobs = [JobState(n, [Worker() for _ in range(n)]) for n in start]
        self._free_cpus = self._free = scenario.cluster.quota - sum(start)
        for job, state in enumerate(self.jobs):
            self._begin(job, list(state.workers))
        self.schedule(ns(self._cluster.release_check_s), RELEASE, self._release)

    # ---------------------------------------------------------------- events

    def schedule(self, at_ns: int, rank: int, what: Callable[[], None]) -> None:
        """Has something done at an instant, in its place among what happens there."""
        heapq.heappush(self._events, (at_ns, rank, self._count, what))
        self._count += 1

    @property
    def next_ns(self) -> int:
        """When the next event is."""
        return self._events[0][0]

    def step(self) -> None:
        """Takes the next event; the requests must have been advanced to it."""
        self.now_ns, _, _, what = heapq.heappop(self._events)
        what()

    # ---------------------------------------------------------------- the ledger

    def decide(self, actions: Sequence[Action], solver_s: float) -> None:
        """The policy's actions of this tick, behind what earlier ones left open."""
        asked = self._waiting + [
            _Asked(x.job, x.reason, x.trials, x.accept, solver_s, target=x.replicas) for x in actions
        ]
        self._waiting = []
        for each in sorted(asked, key=lambda x: self._target(x) >= self.jobs[x.job].granted):
            self._grant(each)

    def _target(self, asked: _Asked) -> int:
        if asked.more is not None:
            return self.jobs[asked.job].granted + asked.more
        return max(1, asked.target)

    def _grant(self, asked: _Asked) -> None:
        state = self.jobs[asked.job]
        before, target = state.granted, self._target(asked)
        if state.busy:
            asked.trials -= 1
            if asked.trials > 0:
                self._waiting.append(asked)
            self._decided(asked, before, target, before)
            return
        granted = min(target, before + self._free)
        if granted < target and asked.trials > 1:
            rest = _Asked(
                asked.job, asked.reason, asked.trials - 1, asked.accept, asked.solver_s, more=target - granted
            )
            self._waiting.append(rest)
        if granted != before or asked.accept is not None:
            self._free -= granted - before
            state.granted = granted
            state.todo.append(_Granted(granted, asked.accept))
            if not state.waking:
                state.waking = True
                self.schedule(self.now_ns, TAKE, partial(self._take, asked.job))
        self._decided(asked, before, target, granted)

    def _decided(self, asked: _Asked, before: int, target: int, granted: int) -> None:
        self.decisions.append(Decision(self.now_ns, asked.job, before, target, granted, asked.reason, asked.solver_s))

    # ---------------------------------------------------------------- executors

    def _take(self, job: int) -> None:
        """The job's executor takes up its next action."""
        state = self.jobs[job]
        state.waking = state.busy = bool(state.todo)
        if not state.todo:
            return
        action = state.todo.popleft()
        if action.accept is not None:
            state.accept = action.accept
            self._requests.accept(job, action.accept)
        change = action.target - len(state.running)
        if change > 0:
            state.missing = change
            self._ask(job)
        elif change < 0:
            self._remove(job, -change)
            self.schedule(self.now_ns + ns(self._cluster.hot_start_s), DONE, partial(self._take, job))
        else:
            self.schedule(self.now_ns, DONE, partial(self._take, job))

    def _ask(self, job: int) -> None:
        """Finds workers for the replicas that lack one: idle ones of the job, then free CPUs."""
        state = self.jobs[job]
        hot = [worker for worker in state.workers if worker.idle_since_ns is not None][: state.missing]
        cold = [Worker() for _ in range(min(state.missing - len(hot), self._free_cpus))]
        for worker in hot:
            worker.idle_since_ns = None
        state.workers += cold
        self._free_cpus -= len(cold)
        self.scale_outs += len(hot) + len(cold)
        state.missing -= len(hot) + len(cold)
        for workers, after_s in ((hot, self._cluster.hot_start_s), (cold, self._cluster.cold_start_s)):
            if workers:
                state.starting += 1
                self.launch(job, workers, after_s)
        if state.missing > 0:
            self.schedule(self.now_ns + ns(self._cluster.retry_s), RETRY, partial(self._ask, job))

    def launch(self, job: int, workers: list[Worker], after_s: float) -> None:
        """Replicas start on these workers and serve after so long; a real cluster's do when they are ready."""
        self.schedule(self.now_ns + ns(after_s), START, partial(self.started, job, workers))

    def started(self, job: int, workers: list[Worker]) -> None:
        """The start of one group of replicas is over."""
        state = self.jobs[job]
        self._begin(job, workers)
        state.starting -= 1
        if state.starting == 0 and state.missing == 0:
            self.schedule(self.now_ns, DONE, partial(self._take, job))

    # ---------------------------------------------------------------- replicas and workers

    def _begin(self, job: int, workers: list[Worker]) -> None:
        """Replicas on these workers begin to serve."""
        slots = self._requests.free_slots(job, len(workers))
        self.jobs[job].running += zip(slots, workers, strict=True)
        self._rotate(job)

    def _remove(self, job: int, count: int) -> None:
        """The last replicas go; their workers are idle from now on, though they still drain."""
        state = self.jobs[job]
        for _ in range(count):
            _, worker = state.running.pop()
            worker.idle_since_ns = self.now_ns
        self.scale_ins += count
        self._rotate(job)

    def _rotate(self, job: int) -> None:
        state = self.jobs[job]
        self._requests.rotate(job, [slot for slot, _ in state.running])
        if state.changes:
            state.ran_ns = state.running_time_ns(self.now_ns)
        state.changes.append((self.now_ns, len(state.running)))

    def released(self, worker: Worker) -> None:
        """A worker has given its CPU back; a real cluster ends its process."""

    def _release(self) -> None:
        """Workers that were idle for long enough give their CPU back."""
        for state in self.jobs:
            for worker in list(state.workers):
                since = worker.idle_since_ns
                idle = since is not None and self.now_ns - since >= ns(self._cluster.idle_release_s)
                if idle and len(state.workers) > 1:
                    state.workers.remove(worker)
                    self._free_cpus += 1
                    self.released(worker)
        self.schedule(self.now_ns + ns(self._cluster.release_check_s), RELEASE, self._release)
