"""Where replicas come from, as the router and the control plane see it.

A provider is one file with a class of these methods and one line in `PROVIDERS`: our own worker processes, Ray Serve.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from real.errors import RefusedError
from scenarios.cluster_spec import ClusterScenario

if TYPE_CHECKING:
    from real.processes import Supervisor

#: done(service began, service ended), ns on the monotonic clock
Done = Callable[[int, int], None]


class Replica(Protocol):
    """One replica that is ready."""

    def serve(self, request: int, service_ns: int, done: Done) -> None:
        """Has a request served; `done` is called in the loop when it is."""
        ...


class Provider(Protocol):
    """Starts and stops replicas; used from one event loop."""

    versions: dict[str, str]

    async def start(self, job: int) -> Replica:
        """Starts a replica of a job; returns when a probe was answered.

        Raises:
            HarnessError: It died or did not become ready.
        """
        ...

    async def stop(self, replica: Replica) -> None:
        """Ends a replica that holds no request."""
        ...

    def check(self) -> None:
        """Looks after the replicas, now and then.

        Raises:
            HarnessError: One is gone that nobody ended.
        """
        ...

    async def close(self) -> None:
        """Ends every replica."""
        ...


def make(kind: str, scenario: ClusterScenario, supervisor: Supervisor, *, score: bool) -> Provider:
    """The provider of a kind.

    Args:
        kind: A key of `PROVIDERS`.
        scenario: Whose jobs are served.
        supervisor: Answers for the processes.
        score: Score with the zoo's model of the name of a job's model, instead of waiting out its service time.

    Raises:
        RefusedError: No such kind, what it needs is not installed, or the zoo has no such model.
    """
    if kind not in PROVIDERS:
        raise RefusedError("--pool", f"no pool {kind!r}; there are {', '.join(PROVIDERS)}")
    if score:
        from models.zoo import names

        for job in scenario.jobs:
            if job.model.name not in names():
                message = f"the zoo has no model {job.model.name!r} to score with; it has {', '.join(names())}"
                raise RefusedError(f"jobs.{job.name}.model", message)
    # A model's file is exported by the first replica that needs it, and goes with the harness.
    return PROVIDERS[kind](scenario, supervisor, supervisor.directory / "models" if score else None)


def _workers(scenario: ClusterScenario, supervisor: Supervisor, models: Path | None) -> Provider:
    from real.pool.workers import Workers

    return Workers(supervisor, [job.model.name for job in scenario.jobs], models)


def _ray(scenario: ClusterScenario, supervisor: Supervisor, models: Path | None) -> Provider:
    from real.pool.ray_serve import RayServe

    return RayServe(scenario, supervisor, models)


PROVIDERS: dict[str, Callable[..., Provider]] = {
    "workers": _workers,
    "ray": _ray,
}
