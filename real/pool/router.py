"""The router of a pool: for each job one queue, tail drop, replicas by turns.

It is the router of the simulated cluster with a clock: a request meets the job's router (one server, first in first
out; it waits out the drawn service time), is admitted or dropped, waits in the queue, is handed to the next replica
that holds fewer than it may, and meets the router again as a reply.  What is drawn is drawn by the same keys, so a
request takes the same service time here and there.  Everything happens in one event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.cluster import DROPPED_FULL, DROPPED_RATE, PENDING, SERVED
from control.scaling.observer import Look
from real.pool.provider import Replica
from scenarios.cluster_draws import (
    PURPOSE_ACCEPT,
    PURPOSE_ROUTER_IN,
    PURPOSE_ROUTER_OUT,
    PURPOSE_SERVICE,
    at,
    quantiles_ns,
    rotation,
)
from scenarios.cluster_spec import ClusterScenario, Service
from scenarios.draws import draw

Int64s = npt.NDArray[np.int64]
_ALL = 1 << 32


class Clock:
    """Nanoseconds since the run's start, on the monotonic clock that the event loop runs by."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.start_ns = 0

    def now_ns(self) -> int:
        """The time."""
        return self.of(round(self._loop.time() * 1e9))

    def of(self, monotonic_ns: int) -> int:
        """A reading of the monotonic clock in the run's time."""
        return monotonic_ns - self.start_ns

    def call_at(self, at_ns: int, what: Callable[[], None]) -> None:
        """Has something done at an instant; at once if that is over."""
        self._loop.call_at((at_ns + self.start_ns) / 1e9, what)


@dataclass(slots=True, eq=False)
class Seat:
    """A replica in the router, and what it did."""

    replica: Replica
    job: int
    asked_ns: int
    ready_ns: int
    outstanding: int = 0
    served: int = 0  # whose replies are out
    first_ns: int | None = None  # when the first answer was there
    stopped_ns: int | None = None
    number: int = -1  # among its job's, once it is taken up


class JobRouter:
    """One job's requests.

    Attributes:
        latency_ns: From the scheduled arrival to the reply, of each request; 0 where it is not out yet.
        outcome: What became of each.
        entered_ns: When each was handed to the router; -1 if it was not yet.
        service_ns: Time each took in its replica.
        seat: Number of the replica that served each; -1 for none.
    """

    def __init__(self, scenario: ClusterScenario, job: int, times: Int64s, clock: Clock) -> None:
        self._clock, self._job, self._seed = clock, job, scenario.seed
        self._times = times.tolist()
        self._slo_ns = round(scenario.jobs[job].slo_s * 1e9)
        self._window_ns = round(scenario.cluster.latency_window_s * 1e9)
        self._concurrency, self._max_queue = scenario.cluster.replica_concurrency, scenario.cluster.max_queue
        self._router = _table(scenario.cluster.router)
        self._service = _table(scenario.jobs[job].model.service)
        self._through: deque[int] = deque()  # at the router; the first is in service
        self._routed_ns = 0
        self._queue: deque[int] = deque()
        self._held: int | None = None  # in hand while every replica is full
        self.seats: list[Seat] = []
        self._turns: list[Seat] = []
        self._turn = self._dealt = 0
        self._accept = _ALL
        self._finished: deque[tuple[int, int, bool, bool]] = deque()  # of the window: when, latency, served, within it
        self._busy_ns = 0
        self._closed = False
        self.left = len(times)
        n = len(times)
        self.latency_ns, self.outcome = np.zeros(n, np.int64), np.full(n, PENDING, np.int64)
        self.entered_ns, self.service_ns = np.full(n, -1, np.int64), np.zeros(n, np.int64)
        self.seat = np.full(n, -1, np.int64)

    # ---------------------------------------------------------------- router

    def arrive(self, i: int) -> None:
        """Request i is there."""
        self.entered_ns[i] = max(0, self._clock.now_ns())
        self._to_router(i, int(self.entered_ns[i]))

    def _to_router(self, i: int, now_ns: int) -> None:
        if self._router is None:
            self._route(i)
            return
        self._through.append(i)
        if len(self._through) == 1:
            self._begin_route(now_ns)

    def _begin_route(self, now_ns: int) -> None:
        assert self._router is not None
        i = self._through[0]
        purpose = PURPOSE_ROUTER_IN if self.outcome[i] == PENDING else PURPOSE_ROUTER_OUT
        # The next begins when the one before was due, not when its timer was noticed: lateness does not add up.
        self._routed_ns = now_ns + at(self._router, draw(self._seed, self._job, i, purpose, 0))
        self._clock.call_at(self._routed_ns, self._end_route)

    def _end_route(self) -> None:
        if self._closed:
            return
        due_ns = self._routed_ns
        i = self._through.popleft()
        if self._through:
            self._begin_route(due_ns)
        self._route(i)

    def _route(self, i: int) -> None:
        if self.outcome[i] == PENDING:
            self._admit(i)
        else:
            self._finish(i)

    def _admit(self, i: int) -> None:
        if self._accept < _ALL and draw(self._seed, self._job, i, PURPOSE_ACCEPT, 0) >= self._accept:
            self._drop(i, DROPPED_RATE)
        elif len(self._queue) > self._max_queue:
            self._drop(i, DROPPED_FULL)
        else:
            self._queue.append(i)
            self._dispatch()

    def _drop(self, i: int, how: int) -> None:
        self.outcome[i] = how
        self._to_router(i, self._clock.now_ns())

    def _finish(self, i: int) -> None:
        now_ns = self._clock.now_ns()
        latency_ns = now_ns - self._times[i]
        self.latency_ns[i] = latency_ns
        served = bool(self.outcome[i] == SERVED)
        if served:
            self.seats[self.seat[i]].served += 1
        self._finished.append((now_ns, latency_ns, served, served and latency_ns <= self._slo_ns))
        self.left -= 1

    def close(self) -> None:
        """The run is over: what is not out by now is pending, and nothing becomes of it any more."""
        self._closed = True
        self.outcome[list(self._through)] = PENDING

    # ---------------------------------------------------------------- replicas

    def _dispatch(self) -> None:
        """Hands requests to replicas by turns, skipping the full ones, until none waits or all are full."""
        while True:
            if self._held is None:
                if not self._queue:
                    return
                self._held = self._queue.popleft()
            n = len(self._turns)
            for step in range(n):
                seat = self._turns[(self._turn + step) % n]
                if seat.outstanding < self._concurrency:
                    self._turn = (self._turn + step + 1) % n
                    break
            else:
                return
            i, self._held = self._held, None
            self._serve(seat, i)

    def _serve(self, seat: Seat, i: int) -> None:
        seat.outstanding += 1
        service_ns = (
            0 if self._service is None else at(self._service, draw(self._seed, self._job, i, PURPOSE_SERVICE, 0))
        )

        def done(began_ns: int, ended_ns: int) -> None:
            seat.outstanding -= 1
            if self._closed:
                return
            if seat.first_ns is None:
                seat.first_ns = self._clock.now_ns()
            self.service_ns[i] = ended_ns - began_ns
            self._busy_ns += ended_ns - began_ns
            self.seat[i] = seat.number
            self.outcome[i] = SERVED
            self._to_router(i, self._clock.now_ns())
            if self._held is not None:
                self._dispatch()

        seat.replica.serve(i, service_ns, done)

    def add(self, seat: Seat) -> int:
        """A replica that is ready; returns its number."""
        if seat.number < 0:
            seat.number = len(self.seats)
            self.seats.append(seat)
        return seat.number

    def rotate(self, numbers: Sequence[int]) -> None:
        """From now on requests go to these replicas by turns; others drain what they hold."""
        order = rotation(self._seed, self._job, self._dealt, len(numbers))
        self._dealt += 1
        self._turns, self._turn = [self.seats[numbers[place]] for place in order], 0
        if self._held is not None:
            self._dispatch()

    def accept(self, share: float) -> None:
        """From now on this share of the requests is accepted."""
        self._accept = round(share * _ALL)

    def look(self) -> Look:
        """What is seen of the job now."""
        before = self._clock.now_ns() - self._window_ns
        while self._finished and self._finished[0][0] <= before:
            self._finished.popleft()
        at_replicas = sum(max(0, seat.outstanding - 1) for seat in self.seats)
        return Look(
            finished=len(self._finished),
            served=sum(served for _, _, served, _ in self._finished),
            latency_ns=sum(latency for _, latency, _, _ in self._finished),
            within=sum(within for _, _, _, within in self._finished),
            queued=len(self._queue) + (self._held is not None) + at_replicas,
            busy_ns=self._busy_ns,
        )


class Routers:
    """The requests of all jobs: what the control plane scales and the observer watches."""

    def __init__(self, scenario: ClusterScenario, times: Sequence[Int64s], clock: Clock) -> None:
        self.jobs = [JobRouter(scenario, job, each, clock) for job, each in enumerate(times)]
        self.ready: list[deque[Seat]] = [deque() for _ in times]  # replicas that wait to be taken up

    @property
    def left(self) -> int:
        """Requests that are not out yet."""
        return sum(job.left for job in self.jobs)

    def free_slots(self, job: int, count: int) -> list[int]:
        """Takes up so many replicas that are ready."""
        return [self.jobs[job].add(self.ready[job].popleft()) for _ in range(count)]

    def rotate(self, job: int, slots: Sequence[int]) -> None:
        """From now on requests go to these replicas."""
        self.jobs[job].rotate(slots)

    def accept(self, job: int, share: float) -> None:
        """From now on this share of the job's requests is accepted."""
        self.jobs[job].accept(share)

    def close(self) -> None:
        """The run is over."""
        for job in self.jobs:
            job.close()

    def look(self, job: int) -> Look:
        """What is seen of a job now."""
        return self.jobs[job].look()


def _table(service: Service) -> Int64s | None:
    """Its quantiles; None where it takes no time."""
    return quantiles_ns(service) if service.mean_s > 0 else None
