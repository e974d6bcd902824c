"""The control plane of a pool: the ledger and executors of the simulated cluster, on the wall clock.

A replica that starts is a process that starts: it serves once it has answered a probe, but no sooner than
`cold_start_s` after the decision; 0 means as soon as it is ready.  A worker that lost its replica keeps its process,
warm, until the worker is released; a start on it serves after `hot_start_s`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any

from control.scaling.plane import START, Plane, Worker, ns
from real.pool.provider import Provider
from real.pool.router import Clock, Routers, Seat
from scenarios.cluster_spec import ClusterScenario


class RealPlane(Plane):
    """See the module.  Replicas of the start must be in `requests.ready`.

    Attributes:
        changed: Set when there is an event that was not there before, or when something failed.
        failure: What failed first.
        activations_ns: Of each cold start, from the decision to the probe's answer.
    """

    def __init__(self, scenario: ClusterScenario, requests: Routers, provider: Provider, clock: Clock) -> None:
        self._ready, self._provider, self._clock = requests.ready, provider, clock
        self._seats: dict[Worker, Seat] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.changed = asyncio.Event()
        self.failure: BaseException | None = None
        self.activations_ns: list[int] = []
        super().__init__(scenario, requests)
        for state, router in zip(self.jobs, requests.jobs, strict=True):
            for number, worker in state.running:
                self._seats[worker] = router.seats[number]

    def launch(self, job: int, workers: list[Worker], after_s: float) -> None:
        """See `Plane.launch`; each replica begins to serve by itself."""
        self.jobs[job].starting += len(workers) - 1
        for worker in workers:
            self.begin(self._bring_up(job, worker, self.now_ns, ns(after_s)))

    def released(self, worker: Worker) -> None:
        """See `Plane.released`."""
        seat = self._seats.pop(worker)
        seat.stopped_ns = self._clock.now_ns()
        self.begin(self._end(seat))

    def begin(self, what: Coroutine[Any, Any, None]) -> None:
        """Has something done beside the loop; if it fails, so does the run."""
        task = asyncio.get_running_loop().create_task(what)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.failure = self.failure or task.exception()
            self.changed.set()

    async def _bring_up(self, job: int, worker: Worker, asked_ns: int, after_ns: int) -> None:
        seat = self._seats.get(worker)
        if seat is None:
            replica = await self._provider.start(job)
            now_ns = self._clock.now_ns()
            self.activations_ns.append(now_ns - asked_ns)
            seat = self._seats[worker] = Seat(replica, job, asked_ns, now_ns)
        await asyncio.sleep((asked_ns + after_ns - self._clock.now_ns()) / 1e9)
        self._ready[job].append(seat)
        self.schedule(self._clock.now_ns(), START, partial(self.started, job, [worker]))
        self.changed.set()

    async def _end(self, seat: Seat) -> None:
        while seat.outstanding:  # it drains
            await asyncio.sleep(0.05)
        await self._provider.stop(seat.replica)

    async def close(self) -> None:
        """Ends what is still being done; processes are the provider's."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
