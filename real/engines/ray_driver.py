"""The process that has the engine ray: starts Ray on this machine and the actors on it, and watches both.

    python -m real.engines.ray_driver CONFIG

Actors are made in the order replica by replica, source, scoring, sink.  One is scheduled once Ray has the CPUs that it
reserves; when all that are scheduled are up and no more fit, those that are left are told by name.
"""

from __future__ import annotations

import json
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from real.child import Child, main
from real.engines.ray import ACTORS, REPORT
from real.engines.ray_actors import Scoring, Sink, Source, Turn
from real.procfs import start_time
from real.wire import Slots
from scenarios.assignment import range_assignment

_LOOK_S = 0.2
#: After so long without a new one, actors that are not ready will not be, whatever Ray says of its CPUs.
_QUIET_S = 120.0
_OBJECTS_BYTES = 256 << 20
_CLASSES: dict[str, Any] = dict(zip(ACTORS, (Source, Scoring, Sink), strict=True))


class Driver:
    """See the module."""

    def __init__(self, child: Child) -> None:
        self.child, config = child, child.config
        self.ray: Any = import_module("ray")
        self.workers = config["workers"]
        self.actors: list[dict[str, Any]] = []
        self.turns: list[Any] = []
        self.pids: dict[str, tuple[int, str | None]] = {}
        self.ray.init(
            address="local",
            num_cpus=config["cpus"],
            num_gpus=0,
            include_dashboard=False,
            log_to_driver=False,
            configure_logging=False,
            object_store_memory=_OBJECTS_BYTES,
            _node_ip_address="127.0.0.1",
            _temp_dir=f"{config['place']}/r",
        )

    def run(self) -> None:
        """The life of the engine."""
        child, ray = self.child, self.ray
        about = self._make()
        if about is None:
            child.say("ready", app=threading.get_native_id())  # the report says why there is no run
            child.stopping.wait()
            return
        for i, replica in enumerate(self.actors):
            ray.get(replica["scoring"].follow.remote(replica["sink"]))
            for word in ACTORS:
                pid = about[i][word]["pid"]
                self.pids[f"{word}.{i}"] = (pid, start_time(pid))
        child.say("ready", app=threading.get_native_id())
        child.order("join").wait()
        running = [replica["source"].run.remote(replica["scoring"]) for replica in self.actors]
        while not all(turn[Turn.ASSIGNED] for turn in self.turns):
            self._watch(running, 0.01)
        for worker in self.workers:
            child.say("assigned", worker=worker["index"], partitions=worker["assignment"])
        while not child.started.wait(0.0):
            self._watch(running, 0.01)
        for turn in self.turns:
            turn[Turn.T0] = child.t0_ns
        while not child.stopping.is_set():
            self._watch(running, _LOOK_S)
        for turn in self.turns:
            turn[Turn.STOP] = 1
        self._done(about, running)
        child.stopping.wait()

    def _make(self) -> list[dict[str, Any]] | None:
        """Makes the actors; what each is, or None where some cannot be scheduled."""
        config, each = self.child.config, self.child.config["reserved"]
        common = {key: value for key, value in config.items() if key != "workers"}
        shares = range_assignment(config["partitions"], len(self.workers))
        for worker, (first, size) in zip(self.workers, shares, strict=True):
            path = Path(config["run"]) / f"worker.{worker['index']}.turn"
            self.turns.append(Slots(path, Turn.SIZE, create=True).values)
            worker["assignment"] = list(range(first, first + size))
            told = {**common, **worker, "turn": str(path)}
            made = {}
            for word, kind in _CLASSES.items():
                options = {"num_cpus": each, "max_restarts": 0, "max_task_retries": 0}
                made[word] = self.ray.remote(kind).options(**options).remote(told)
            self.actors.append(made)
        asked = {(i, word): replica[word].about.remote() for i, replica in enumerate(self.actors) for word in ACTORS}
        left = self._unscheduled(asked, each)
        report = {"unscheduled": [f"{word}.{i}" for i, word in left], "cpus": self._cpus(self.ray.cluster_resources())}
        (Path(config["run"]) / REPORT).write_text(json.dumps(report))
        if left:
            return None
        return [{word: self.ray.get(asked[i, word]) for word in ACTORS} for i in range(len(self.actors))]

    def _unscheduled(self, asked: dict[tuple[int, str], Any], each: float) -> list[tuple[int, str]]:
        """Waits until every actor has answered, or no more can; those that have not."""
        ray = self.ray
        total, up, changed = self._cpus(ray.cluster_resources()), -1, time.monotonic()
        while True:
            refs = list(asked.values())
            ready = ray.wait(refs, num_returns=len(refs), timeout=_LOOK_S, fetch_local=False)[0]
            ray.get(ready)  # one that could not be made says why
            left = [name for name, ref in asked.items() if ref not in ready]
            if not left or self.child.stopping.is_set():
                return left
            if len(ready) != up:
                up, changed = len(ready), time.monotonic()
            free = self._cpus(ray.available_resources())
            settled = abs(total - free - up * each) < 1e-3  # all that have their CPUs are up
            if (each > 0 and settled and free + 1e-3 < each) or time.monotonic() - changed > _QUIET_S:
                return left

    @staticmethod
    def _cpus(resources: dict[str, float]) -> float:
        return float(resources.get("CPU", 0.0))

    def _watch(self, running: list[Any], wait_s: float) -> None:
        """Looks whether all are alive, for so long.

        Raises:
            RuntimeError: An actor is gone, or failed.
        """
        for name, (pid, start) in self.pids.items():
            if start_time(pid) != start:
                raise RuntimeError(f"actor {name} (process {pid}) is gone")
        ended = self.ray.wait(running, timeout=wait_s, fetch_local=False)[0]
        if ended:
            self.ray.get(ended)
            raise RuntimeError("a source ended before it was told to")

    def _done(self, about: list[dict[str, Any]], running: list[Any]) -> None:
        """Tells what the actors have counted."""
        waiting = list(running)
        while waiting:
            waiting = self.ray.wait(waiting, timeout=_LOOK_S, fetch_local=False)[1]
        read = self.ray.get(running)
        wrote = self.ray.get([replica["sink"].finish.remote() for replica in self.actors])
        calls = self.ray.get([replica["scoring"].counts.remote() for replica in self.actors])
        roles: list[dict[str, Any]] = []
        committed: dict[str, int] = {}
        for mine, source, sink, called in zip(about, read, wrote, calls, strict=True):
            app = [mine[word]["app"] for word in ACTORS]
            client = {"consumer": mine["source"]["client"], "producer": mine["sink"]["client"]}
            more = {} if called is None else {"calls": called}
            roles.append({"app": app, **client, "requests": {**source["requests"], **sink}, **more})
            committed |= source["committed"]
        self.child.say("done", workers=roles, committed=committed)


def _body(child: Child) -> None:
    Driver(child).run()


if __name__ == "__main__":
    main(_body)
