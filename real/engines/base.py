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
from real.brokers import security
from real.brokers.base import Broker
from real.errors import RefusedError
from real.processes import Process, Supervisor
from real.sampler import Part, process_part
from real.wire import Slots
from scenarios.spec import MS_NS, Scenario


class Engine:
    """An engine of one Python process a worker: `python -m MODULE CONFIG`, a `real.child`.

    Attributes:
        kind: Its word in a scenario.
        clients: The client profiles it can speak as.
        shared: Whether one process has all workers.
        brokerless: Whether generators hand it records with no broker between, and nothing collects what it makes.
        generator: Module of the load's processes.
        ready_s: How long a process of it may take until it is ready, and then until its partitions are assigned.
    """

    clients: Sequence[str] = ("librdkafka-2",)
    shared = False
    brokerless = False
    generator = "real.generator"
    ready_s = 60.0

    def __init__(self, kind: str, module: str) -> None:
        self.kind, self.module = kind, module
        #: Whether it takes models from a topic, and survives the death of one of its processes.
        self.takes_models = kind == "python"
        #: Whether it can score by an external server.
        self.calls_servers = kind == "python"

    def refuse(self, scenario: Scenario) -> None:
        """Refuses what it cannot run.

        Raises:
            RefusedError: Naming the key.
        """
        if scenario.serving.kind != "embedded":
            self.refuse_server(scenario)
        if scenario.broker.client_profile not in self.clients:
            known = " or ".join(self.clients)
            raise RefusedError(
                "broker.client", f"{scenario.broker.client_profile}; real's clients of engine {self.kind} are {known}"
            )
        if scenario.model_stream is not None:
            if not self.takes_models:
                raise RefusedError("model_stream", f"engine {self.kind} takes no models from a topic here yet")
        elif scenario.serving.kind == "embedded":
            self.refuse_model(scenario)
        self._refuse_secured(scenario)
        if any(fault.target not in ("server", "broker") for fault in scenario.faults) and not self.takes_models:
            raise RefusedError("faults", f"engine {self.kind} is not killed and started again here yet")

    def workers(self, scenario: Scenario) -> int:
        """How many workers it has."""
        return scenario.engine.parallelism

    def _refuse_secured(self, scenario: Scenario) -> None:
        if self.kind == "ray" and scenario.broker.kind == "external" and security.asked() != "PLAINTEXT":
            raise RefusedError(security.PROTOCOL, f"{security.asked()}; engine {self.kind} speaks PLAINTEXT only")

    def refuse_model(self, scenario: Scenario) -> None:
        """Refuses a model that it cannot score in its own process.

        Raises:
            RefusedError: Naming the key.
        """
        from models.definition import ModelError
        from models.scorer import refuse
        from models.zoo import model

        for key, step in (
            ("model", lambda: model(scenario.model)),
            ("serving.runtime", lambda: refuse(scenario.model, scenario.serving.runtime)),
        ):
            try:
                step()
            except ModelError as error:
                raise RefusedError(key, str(error)) from None

    def refuse_server(self, scenario: Scenario) -> None:
        """Refuses an external server that it cannot call, or that is not here.

        Raises:
            RefusedError: Naming the key.
        """
        from real.servers.played import refuse

        if not self.calls_servers:
            raise RefusedError("serving.kind", f"external; engine {self.kind} scores embedded, python calls servers")
        refuse(scenario)

    def prepare(self, supervisor: Supervisor, say: Callable[[str], None]) -> None:
        """Gets what it needs before its first run.

        Raises:
            RefusedError: This machine cannot run it.
            HarnessError: It cannot be had.
        """

    def prepare_for(self, scenario: Scenario, supervisor: Supervisor, say: Callable[[str], None]) -> None:
        """As `prepare`, and what this scenario needs beside."""
        self.prepare(supervisor, say)

    def lay_out(self, scenario: Scenario, directory: Path) -> None:
        """Makes what the load's processes and its own need of each other, before any is started."""

    def config(self, scenario: Scenario, broker: Broker, topic_in: str, directory: Path) -> Mapping[str, Any]:
        """What its processes are told beside topics, counters and side files.

        Args:
            scenario: To run.
            broker: A started one.
            topic_in: Also the name of the consumer group.
            directory: Of the run's files.
        """
        stream = scenario.model_stream
        commit = {
            # Offsets are committed with the store of models where that is kept at commits.
            # ... and after the outputs are flushed where workers may be killed.
            "enable.auto.commit": stream.state.kind != "changelog" if stream is not None else not scenario.faults,
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

    def part(self, process: Process, slots: Slots | None) -> Part:
        """What is sampled of a process of it, and of whatever that started."""
        return process_part(process.pid, slots)

    def ended(self, process: Process, supervisor: Supervisor) -> None:
        """Ends what a process of it, which has ended, started in groups of its own."""

    def facts(self, scenario: Scenario) -> Mapping[str, Any]:
        """What the counters of a run tell of it beside CPU."""
        return {}

    def accept(self, scenario: Scenario, directory: Path) -> None:
        """Once every process is ready: whether its answers are the model's.

        Raises:
            HarnessError: They are not.
        """

    def versions(self) -> Mapping[str, str]:
        """Software it brings."""
        return {}
