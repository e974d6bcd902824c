"""Replicas of Ray Serve: each job is a deployment of which the policy sets the number of replicas.

Our router keeps the queue and hands out no more requests than the replicas may hold together; which of them serves one
is Ray's choice.  Needs the extra `ray`.  Ray runs locally in processes of its own, in the harness' supervision group.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from real.errors import RefusedError
from real.pool.provider import Done, Replica
from real.processes import Supervisor
from real.reaper import TOKEN
from scenarios.cluster_spec import ClusterScenario

_APP = "weir"


class Place:
    """One replica's worth of a deployment."""

    def __init__(self, pool: RayServe, job: int) -> None:
        self._pool, self.job = pool, job

    def serve(self, request: int, service_ns: int, done: Done) -> None:
        """See `Replica.serve`."""
        del request
        self._pool.call(self.job, service_ns, done)


class RayServe:
    """See the module.

    Raises:
        RefusedError: Ray is not installed.
    """

    def __init__(self, scenario: ClusterScenario, supervisor: Supervisor, models: Path | None) -> None:
        try:
            ray, serve = import_module("ray"), import_module("ray.serve")
        except ImportError:
            raise RefusedError("--pool", "Ray Serve is not installed; pip install 'weir[ray]'") from None
        self.versions = {"ray": str(ray.__version__)}
        self._ray, self._serve = ray, serve
        self._scenario, self._models = scenario, models
        self._asked = [0] * len(scenario.jobs)
        self._handles: list[Any] = [None] * len(scenario.jobs)
        self._calls: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._turn = asyncio.Lock()  # one change of a deployment at a time
        # What Ray starts carries the token of our reaper: nothing of it outlives the harness.  By the other Ray's own
        # processes know each other; without it Ray would make a lasting one.
        self._environment = {TOKEN: supervisor.token, "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        os.environ.update(self._environment)
        ray.init(
            num_cpus=scenario.cluster.quota,
            include_dashboard=False,
            log_to_driver=False,
            configure_logging=False,
            _temp_dir=str(supervisor.directory / "ray"),
        )
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        serve.start(proxy_location="Disabled", logging_config={"log_level": "WARNING"})

    async def start(self, job: int) -> Place:
        """See `Provider.start`."""
        self._asked[job] += 1
        async with self._turn:
            await asyncio.to_thread(self._deploy, job)
        await self._handles[job].remote(0)
        return Place(self, job)

    async def stop(self, replica: Replica) -> None:
        """See `Provider.stop`."""
        assert isinstance(replica, Place)
        self._asked[replica.job] -= 1
        async with self._turn:
            await asyncio.to_thread(self._deploy, replica.job)

    def call(self, job: int, service_ns: int, done: Done) -> None:
        """Has a request of a job served by one of its replicas."""
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(self._call(job, service_ns, done))
        self._calls.add(task)
        task.add_done_callback(self._called)

    async def _call(self, job: int, service_ns: int, done: Done) -> None:
        began, ended = await self._handles[job].remote(service_ns)
        done(began, ended)

    def _called(self, task: asyncio.Task[None]) -> None:
        self._calls.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._failure = self._failure or task.exception()

    def check(self) -> None:
        """See `Provider.check`."""
        if self._failure is not None:
            raise self._failure

    async def close(self) -> None:
        """See `Provider.close`."""
        for task in list(self._calls):
            task.cancel()
        await asyncio.to_thread(self._serve.shutdown)
        await asyncio.to_thread(self._ray.shutdown)
        for name in self._environment:
            os.environ.pop(name, None)

    # ---------------------------------------------------------------- deployments

    def _deploy(self, job: int) -> None:
        """Sets the number of replicas of a job's deployment and waits for them; those that are there stay."""
        name = self._scenario.jobs[job].name
        deployment = self._serve.deployment(Scorer, name=name).options(
            num_replicas=self._asked[job],
            max_ongoing_requests=self._scenario.cluster.replica_concurrency,
            ray_actor_options={"num_cpus": 1},
            graceful_shutdown_wait_loop_s=0.1,
        )
        model = None if self._models is None else self._scenario.jobs[job].model.name
        bound = deployment.bind(model, None if self._models is None else str(self._models.resolve()))
        self._handles[job] = self._serve.run(bound, name=f"{_APP}-{name}", route_prefix=None)


class Scorer:
    """What a replica runs: it waits, or scores one point, one request at a time."""

    def __init__(self, model: str | None, models: str | None) -> None:
        self._turn = asyncio.Lock()
        self._score: Any = None
        if model is not None and models is not None:
            from models.scorer import load_scorer
            from models.zoo import inputs

            scorer, point = load_scorer(model, "onnx", models), inputs(model, 1, seed=0)
            self._score = lambda: scorer.score(point)

    async def __call__(self, service_ns: int) -> tuple[int, int]:
        """Serves one request; when its service began and ended, ns on the monotonic clock."""
        async with self._turn:
            began = time.monotonic_ns()
            if self._score is not None:
                self._score()
            elif service_ns > 0:
                await asyncio.sleep(service_ns / 1e9)
            return began, time.monotonic_ns()
