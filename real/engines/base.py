"""What the harness asks of an engine, whatever it is.

An engine has `parallelism` workers, its scoring tasks, each with counters (`real.wire.Work`) and a side file of its
own.  They live in processes: one each (the Python engine), or all in one (its tasks are threads).  A process
reports `ready` once it could work, takes `join` and reports `assigned` whenever a worker's partitions change, works
from `start`, and after `stop` flushes, commits and reports `done`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from real import settings
from real.brokers.base import Broker
from real.errors import RefusedError
from real.processes import Process, Supervisor
from scenarios.spec import MS_NS, Scenario


class Engine:
    """An engine of one Python process a worker: `python -m MODULE CONFIG`, a `real.child`.

    Attributes:
        kind: Its word in a scenario.
        clients: The client profiles it can speak as.
        shared: Whether one process has all workers.
    """

    clients: Sequence[str] = ("librdkafka-2",)
    shared = False

    def __init__(self, kind: str, module: str) -> None:
        self.kind, self.module = kind, module

    def refuse(self, scenario: Scenario) -> None:
        """Refuses what it cannot run.

        Raises:
            RefusedError: Naming the key.
        """
        if scenario.serving.kind != "embedded":
            raise RefusedError("serving.kind", f"{scenario.serving.kind}; real has no server yet, it scores embedded")
        if scenario.broker.client_profile not in self.clients:
            known = " or ".join(self.clients)
            raise RefusedError(
                "broker.client", f"{scenario.broker.client_profile}; real's clients of engine {self.kind} are {known}"
            )

    def prepare(self, supervisor: Supervisor, say: Callable[[str], None]) -> None:
        """Gets what it needs before its first run.

        Raises:
            RefusedError: This machine cannot run it.
            HarnessError: It cannot be had.
        """

    def config(self, scenario: Scenario, broker: Broker, topic_in: str, directory: Path) -> Mapping[str, Any]:
        """What its processes are told beside topics, counters and side files.

        Args:
            scenario: To run.
            broker: A started one.
            topic_in: Also the name of the consumer group.
            directory: Of the run's files.
        """
        commit = {
            "enable.auto.commit": True,
            "auto.commit.interval.ms": max(1, round(scenario.engine.commit_interval_ns / MS_NS)),
        }
        source = settings.consumer(broker.bootstrap, scenario.broker.consumer, topic_in)
        return {
            "consumer": {**source, **broker.client_overrides(), **commit},
            "producer": settings.producer(broker.bootstrap, scenario.broker.producer),
        }

    def start(self, supervisor: Supervisor, name: str, config: Mapping[str, Any]) -> Process:
        """Starts a process of it."""
        return supervisor.python(name, self.module, config)

    def accept(self, scenario: Scenario, directory: Path) -> None:
        """Once every process is ready: whether its answers are the model's.

        Raises:
            HarnessError: They are not.
        """

    def versions(self) -> Mapping[str, str]:
        """Software it brings."""
        return {}
