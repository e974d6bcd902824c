"""The engine ray: replicas of a source, a scoring and a sink actor, on a Ray of its own on this machine.

Needs the extra `ray`, in this Python or in the one that `WEIR_PYTHON_RAY` names.  One process starts Ray and the actors
(`real.engines.ray_driver`); the actors are `real.engines.ray_actors`.  What Ray starts is in groups of its own: it is
found, counted and ended by a mark in its environment, and by the reaper's token if the harness is killed.
"""

from __future__ import annotations

import json
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from real import reaper
from real.engines.base import Engine
from real.errors import RefusedError
from real.processes import Process, Supervisor
from real.procfs import Times, rss_bytes, threads
from real.sampler import Part
from real.servers.base import child_environment, end_marked, folder, marked, new_mark
from real.servers.environment import Environment
from real.wire import Slots
from scenarios.spec import Scenario

if TYPE_CHECKING:
    from real.brokers.base import Broker

ACTORS: Final = ("source", "scoring", "sink")
#: What the driver writes of the actors once they are ready, or some cannot be.
REPORT: Final = "ray.json"
#: Ray puts sockets below its folder, and the kernel's paths of sockets are short.
_PLACE_LENGTH: Final = 40
_QUIET: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # A Ray of one machine, which stays on loopback: by default it does so on other systems only.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # A process an actor, started when it is asked for: none ahead of that.
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
}


def reserved(scenario: Scenario) -> float:
    """CPUs that an actor reserves: whole ones from one on, as Ray has it."""
    engine = scenario.engine
    if engine.cpus_times_parallelism is None:
        return engine.cpus_per_actor
    each = engine.cpus_times_parallelism * engine.parallelism
    return each if each < 1 else float(int(each))


class RayEngine(Engine):
    """See the module."""

    shared = True
    ready_s = 180.0  # every actor is a process that imports its runtime

    def __init__(self) -> None:
        super().__init__("ray", "real.engines.ray_driver")
        self.calls_servers = True
        self._marks: dict[int, str] = {}

    def refuse(self, scenario: Scenario) -> None:
        """See `Engine.refuse`."""
        super().refuse(scenario)
        engine = scenario.engine
        for key, cpus in (("cpus_per_actor", reserved(scenario)), ("total_cpus", engine.total_cpus or 0.0)):
            if cpus != int(cpus) and (cpus > 1 or key == "total_cpus"):
                raise RefusedError(f"engine.{key}", f"{cpus:g}; Ray has whole CPUs" + " from one on" * (key[0] == "c"))
        if scenario.serving.kind == "external" and scenario.serving.client.mode != "blocking":
            raise RefusedError("serving.client.mode", f"{scenario.serving.client.mode}; engine ray calls blocking")
        lacking = Environment.of("ray").lacks("ray", "ray")
        if lacking is not None:
            raise RefusedError("engine.kind", f"ray; {lacking}")

    def config(self, scenario: Scenario, broker: Broker, topic_in: str, directory: Path) -> Mapping[str, Any]:
        """See `Engine.config`."""
        cpus = scenario.engine.total_cpus
        return {
            **super().config(scenario, broker, topic_in, directory),
            "run": str(directory),
            "cpus": None if cpus is None else int(cpus),
            "reserved": reserved(scenario),
        }

    def start(self, supervisor: Supervisor, name: str, config: Mapping[str, Any]) -> Process:
        """See `Engine.start`."""
        mark = new_mark(supervisor)
        place = folder(supervisor, mark)
        if len(str(place)) > _PLACE_LENGTH:
            place = Path(tempfile.mkdtemp(prefix="weir-ray-", dir="/tmp"))
            supervisor.remove_too(place)
        # By the secret Ray's own processes know each other; without it Ray would make a lasting one.
        env = {**child_environment(mark, place), **_QUIET, "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        command = [Environment.of("ray").python, "-m", self.module]
        process = supervisor.talking(name, command, {**config, "place": str(place)}, env)
        self._marks[process.pid] = mark
        return process

    def part(self, process: Process, slots: Slots | None) -> Part:
        """See `Engine.part`: Ray's own processes, the driver and the actors."""
        mark = self._marks[process.pid]

        def read(wakeups: bool) -> dict[int, Times]:
            found: dict[int, Times] = {}
            for pid in marked(mark):
                found |= threads(pid, wakeups=wakeups)
            return found

        return Part(None, read, slots, lambda: sum(max(0, rss_bytes(pid)) for pid in marked(mark)))

    def ended(self, process: Process, supervisor: Supervisor) -> None:
        """See `Engine.ended`."""
        mark = self._marks.pop(process.pid, None)
        if mark is not None:
            blocks = reaper.shared(marked(mark))
            end_marked(mark)
            for block in blocks:
                reaper.remove(block)

    def accept(self, scenario: Scenario, directory: Path) -> None:
        """See `Engine.accept`: whether Ray has scheduled every actor."""
        told = json.loads((directory / REPORT).read_text())
        left = told["unscheduled"]
        if left:
            each, cpus = reserved(scenario), told["cpus"]
            key = "cpus_per_actor" if scenario.engine.cpus_times_parallelism is None else "cpus_times_parallelism"
            raise RefusedError(
                f"engine.{key}",
                f"{len(left)} of {len(ACTORS) * scenario.engine.parallelism} actors are not scheduled: each reserves "
                f"{each:g} of {cpus:g} CPUs, and {', '.join(left)} found none; reserve less, or set engine.total_cpus",
            )

    def facts(self, scenario: Scenario) -> Mapping[str, Any]:
        """See `Engine.facts`: a run has all of its actors, or is none."""
        count = scenario.engine.parallelism
        return {"actors": len(ACTORS) * count, "actors_unscheduled": 0, "replicas_working": count}

    def versions(self) -> Mapping[str, str]:
        """See `Engine.versions`."""
        return {"ray": Environment.of("ray").version("ray")}


ENGINE = RayEngine()
