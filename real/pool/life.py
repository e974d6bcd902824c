"""The life of a cluster's real run: replicas up, requests on their schedule, the policy at its ticks, the last out."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.cluster_metrics import Trail
from control.scaling.observation import Policy
from control.scaling.observer import Observer
from control.scaling.plane import TICK, ns
from real.errors import HarnessError
from real.loop import in_loop
from real.pool.plane import RealPlane
from real.pool.provider import Provider
from real.pool.router import Clock, Routers, Seat
from scenarios.cluster_spec import ClusterScenario

Int64s = npt.NDArray[np.int64]
#: progress(seconds so far, seconds in all)
Progress = Callable[[float, float], None]

DRAIN_S = 60.0  # after the last arrival a run goes on for at most this long
_LEAD_NS = 50_000_000
_CHECK_S = 0.25


@dataclass(frozen=True, slots=True)
class Lived:
    """What happened.

    Attributes:
        trail: What became of every request and replica.
        routers: Requests and replicas in detail.
        activations_s: Of each replica that was started in the run, from the decision until it was ready.
        start_s: Of each replica of the beginning, until it was ready.
        error: What ended the run early; None where it went its way.
    """

    trail: Trail
    routers: Routers
    activations_s: list[float]
    start_s: list[float]
    error: HarnessError | None = None


def live(
    scenario: ClusterScenario,
    times: list[Int64s],
    policy: Policy,
    make_provider: Callable[[], Provider],
    progress: Progress | None = None,
) -> Lived:
    """Makes one run.

    Args:
        scenario: What to run.
        times: When requests of each job are to arrive, ns since the start.
        policy: Scales.
        make_provider: Gives where replicas come from; called in the event loop.
        progress: Called now and then.

    Raises:
        HarnessError: A replica of the beginning died or did not become ready.
    """
    return in_loop(lambda: _live(scenario, times, policy, make_provider, progress))


async def _live(
    scenario: ClusterScenario,
    times: list[Int64s],
    policy: Policy,
    make_provider: Callable[[], Provider],
    progress: Progress | None,
) -> Lived:
    provider = make_provider()
    try:
        return await _Life(scenario, times, policy, provider, progress).go()
    finally:
        await provider.close()


class _Life:
    def __init__(
        self,
        scenario: ClusterScenario,
        times: list[Int64s],
        policy: Policy,
        provider: Provider,
        progress: Progress | None,
    ) -> None:
        self._scenario, self._times, self._policy, self._provider = scenario, times, policy, provider
        self._progress = progress
        self._clock = Clock(asyncio.get_running_loop())
        self._routers = Routers(scenario, times, self._clock)
        self._observer = Observer(scenario.cluster, times, getattr(policy, "envelope_windows_s", ()))
        self._solver_s: list[float] = []
        self._last_ns = max((int(each[-1]) for each in times if len(each)), default=0)

    async def go(self) -> Lived:
        began = time.monotonic()
        start_s = await asyncio.gather(
            *(self._first(job, began) for job, spec in enumerate(self._scenario.jobs) for _ in range(spec.replicas))
        )
        for seats in self._routers.ready:
            for seat in seats:
                seat.asked_ns = seat.ready_ns = 0
        self._clock.start_ns = time.monotonic_ns() + _LEAD_NS
        self._plane = plane = RealPlane(self._scenario, self._routers, self._provider, self._clock)
        self._schedule_tick(ns(self._policy.tick_s))
        error: HarnessError | None = None
        try:
            plane.begin(self._arrivals())
            await self._control()
        except HarnessError as ended:
            error = ended
        finally:
            await plane.close()
            self._routers.close()
        activations_s = [each / 1e9 for each in plane.activations_ns]
        return Lived(self._trail(), self._routers, activations_s, list(start_s), error)

    async def _first(self, job: int, began: float) -> float:
        replica = await self._provider.start(job)
        self._routers.ready[job].append(Seat(replica, job, 0, 0))
        return time.monotonic() - began

    async def _arrivals(self) -> None:
        """Hands every request to its router at its time, whatever became of those before: open loop."""
        whose = np.concatenate([np.full(len(each), job) for job, each in enumerate(self._times)])
        which = np.concatenate([np.arange(len(each)) for each in self._times])
        when = np.concatenate(self._times)
        order = np.argsort(when, kind="stable")
        for at_ns, job, i in zip(when[order].tolist(), whose[order].tolist(), which[order].tolist(), strict=True):
            early_ns = at_ns - self._clock.now_ns()
            if early_ns > 0:
                await asyncio.sleep(early_ns / 1e9)
            self._routers.jobs[job].arrive(i)

    async def _control(self) -> None:
        """Takes the plane's events at their times until the last request is out."""
        plane, clock = self._plane, self._clock
        give_up_ns = self._last_ns + ns(DRAIN_S)
        while self._routers.left > 0 and clock.now_ns() < give_up_ns:
            while plane.next_ns <= clock.now_ns():
                plane.step()
            self._provider.check()
            if plane.failure is not None:
                raise plane.failure
            wait_s = min(_CHECK_S, (plane.next_ns - clock.now_ns()) / 1e9)
            # Not wait_for: before Python 3.12 it swallows an interruption that comes with the change it waits for.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, wait_s)):
                    await plane.changed.wait()
            plane.changed.clear()

    # ---------------------------------------------------------------- the policy

    def _schedule_tick(self, at_ns: int) -> None:
        self._plane.schedule(at_ns, TICK, lambda: self._plane.begin(self._tick(at_ns)))

    async def _tick(self, at_ns: int) -> None:
        """Observes now and decides beside the loop: thinking takes time, and requests do not wait for it."""
        plane = self._plane
        seen = self._observer.observe(self._routers, plane.jobs, self._clock.now_ns())
        began = time.perf_counter()
        actions = await asyncio.to_thread(self._policy.decide, seen)
        took_s = time.perf_counter() - began
        if actions:
            self._solver_s.append(took_s)
        plane.now_ns = max(plane.now_ns, self._clock.now_ns())
        plane.decide(actions, took_s)
        every_ns = ns(self._policy.tick_s)
        missed = max(0, (self._clock.now_ns() - at_ns) // every_ns)
        self._schedule_tick(at_ns + (1 + missed) * every_ns)
        plane.changed.set()
        if self._progress is not None:
            last_s = self._last_ns / 1e9
            self._progress(min(self._clock.now_ns() / 1e9, last_s), last_s)

    # ---------------------------------------------------------------- afterwards

    def _trail(self) -> Trail:
        routers, plane = self._routers.jobs, self._plane
        ends = (a + b for a, b in zip(self._times, (router.latency_ns for router in routers), strict=True) if len(a))
        return Trail(
            arrivals=self._times,
            latencies_ns=[router.latency_ns for router in routers],
            outcomes=[router.outcome for router in routers],
            changes=[state.changes for state in plane.jobs],
            decisions=plane.decisions,
            solver_s=self._solver_s,
            scale_outs=plane.scale_outs,
            scale_ins=plane.scale_ins,
            end_ns=max((int(end.max()) for end in ends), default=0),
        )


def replica_rows(routers: Routers) -> dict[str, list[Any]]:
    """Columns of replicas.parquet: a row for each replica process, times in seconds since the run's start."""
    seats = [(job, seat) for job, router in enumerate(routers.jobs) for seat in router.seats]
    return {
        "job": [job for job, _ in seats],
        "replica": [seat.number for _, seat in seats],
        "decided_s": [seat.asked_ns / 1e9 for _, seat in seats],
        "ready_s": [seat.ready_ns / 1e9 for _, seat in seats],
        "first_answer_s": [None if seat.first_ns is None else seat.first_ns / 1e9 for _, seat in seats],
        "stopped_s": [None if seat.stopped_ns is None else seat.stopped_ns / 1e9 for _, seat in seats],
        "served": [seat.served for _, seat in seats],
    }


def request_rows(lived: Lived) -> dict[str, Any]:
    """Columns of requests.parquet: a row for each request, ns since the run's start."""
    routers, times = lived.routers.jobs, lived.trail.arrivals
    lengths = [len(each) for each in times]
    return {
        "job": np.repeat(np.arange(len(times)), lengths),
        "request": np.concatenate([np.arange(n) for n in lengths]),
        "arrival": np.concatenate(times),
        "entered": np.concatenate([router.entered_ns for router in routers]),
        "latency": np.concatenate([router.latency_ns for router in routers]),
        "service": np.concatenate([router.service_ns for router in routers]),
        "outcome": np.concatenate([router.outcome for router in routers]),
        "replica": np.concatenate([router.seat for router in routers]),
    }
