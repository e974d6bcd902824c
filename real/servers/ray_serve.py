"""Ray Serve: a deployment whose replicas take raw float32 over HTTP."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from real.processes import Supervisor
from real.servers.base import Ask, Running, Say, Server, free_ports
from real.servers.ours import start_ours


class RayServe(Server):
    """See the module."""

    word = "ray-serve"
    title = "Ray Serve"
    protocols: Sequence[str] = ("ray-http",)
    extra = "ray"
    module = "ray.serve"
    package = "ray"

    def missing(self) -> str | None:
        """See `Server.missing`."""
        return self.environment.lacks("ray", self.extra)

    def start(self, ask: Ask, supervisor: Supervisor, say: Say) -> Running:
        """See `Server.start`."""
        say("starting Ray Serve, which takes half a minute")
        (port,) = free_ports(1)
        # By the secret Ray's own processes know each other; without it Ray would make a lasting one.
        told = {"RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}
        return start_ours(self, "real.servers.hosts.ray_app", ask, supervisor, {"port": port}, told)


SERVER = RayServe()
