"""Who plays in a run: its processes and workers, what each is told, and how each is started."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.files import folder
from models.zoo import model
from real import settings
from real.brokers.base import Broker
from real.engines import engine
from real.plan import Plan
from real.processes import Process, Supervisor
from real.wire import GENERATOR_ROW, WORKER_ROW, Coll, Gen, Rows, Slots, Work
from scenarios.assignment import range_assignment
from scenarios.load import resolved
from scenarios.spec import Scenario

if TYPE_CHECKING:
    from real.model_stream.cast import Models
    from real.servers.played import Played

#: The process of an engine that has all workers in one.
ENGINE = "engine"
_SPARE_ROWS = 100_000


def append_clock(scenario: Scenario, broker: Broker) -> str:
    """Whose clock says when an output is out: the broker's as it appends it, or the collector's as it reads it.

    An output of a transaction is appended before that is committed, and nobody who reads what is committed has it yet.
    """
    return "collector" if scenario.engine.delivery == "exactly-once" else broker.append_clock


class Cast:
    """The processes of a run.

    Attributes:
        engine: What scores.
        generators: Names of the load's processes.
        workers: Names of the scoring tasks.
        processes: Names of the engine's processes: the workers' own, or the one that has them all.
        hosts: Worker -> process, where that has others too.
        parts: Name -> process, once started.
        slots: Process or worker -> its counters.
        models: The stream of models, where there is one; set once started.
        server: What scores instead of the engine, where it is external; set once started.
    """

    def __init__(
        self,
        scenario: Scenario,
        plan: Plan,
        supervisor: Supervisor,
        broker: Broker,
        topics: tuple[str, str],
        directory: Path,
    ) -> None:
        self.scenario, self.plan, self.supervisor, self.broker = scenario, plan, supervisor, broker
        self.topics, self.directory = topics, directory
        self.engine = engine(scenario.engine.kind)
        self.generators = [f"generator.{i}" for i in range(scenario.workload.producers)]
        self.workers = [f"worker.{i}" for i in range(self.engine.workers(scenario))]
        self.processes = [ENGINE] if self.engine.shared else self.workers
        self.hosts = dict.fromkeys(self.workers, ENGINE) if self.engine.shared else {}
        self.parts: dict[str, Process] = {}
        self.slots: dict[str, Slots] = {}
        self.models: Models | None = None
        self.server: Played | None = None
        self._told: dict[str, dict[str, Any]] = {}

    def rows(self, name: str) -> Path:
        """The side file of a process or worker."""
        return self.directory / f"{name}.rows"

    def start(self, poison: Sequence[int], say: Callable[[str], None] = lambda _line: None) -> None:
        """Starts them all, an external server first; `poison` as in `Session.run`, `say` is told what takes long."""
        np.save(self.directory / "schedule.npy", self.plan.due)
        np.save(self.directory / "partition.npy", self.plan.partition)
        self.engine.lay_out(self.scenario, self.directory)
        if self.scenario.serving.kind == "external":
            from real.servers.played import Played

            self.server = Played(self.scenario, self.supervisor, self._models_folder())
            self.server.start(say)
        self._load(poison)
        if not self.engine.brokerless:
            self._collector()
        stream = self.scenario.model_stream
        if stream is not None:
            from real.model_stream.cast import PUBLISHER, Models

            self.models = Models(self.scenario, stream, self.plan, self.broker, self.topics[0], self.directory)
            self.parts[PUBLISHER] = self.models.start_publisher(self.supervisor)
        self._engine()

    def restart(self, name: str) -> None:
        """Starts a process of the engine again, after its end; it finds what the one before it counted."""
        told = {**self._told[name], "restarted": True}
        if "models_of" in told:
            told["models_of"] = {**told["models_of"], "restarted": True}
        self.parts[name] = self.engine.start(self.supervisor, name, told)

    def _load(self, poison: Sequence[int]) -> None:
        scenario, n = self.scenario, len(self.plan.due)
        sink = settings.producer(self.broker.bootstrap, scenario.broker.producer)
        common = {
            "topic": self.topics[0],
            "scenario": resolved(scenario),
            "producer": sink,
            "poison": list(poison),
            "schedule": str(self.directory / "schedule.npy"),
            "partition": str(self.directory / "partition.npy"),
            "preload": bool(self.plan.backlog),
        }
        for i, name in enumerate(self.generators):
            own = len(range(i, n, len(self.generators)))
            Rows(self.rows(name), GENERATOR_ROW, own, create=True)
            counted = self._counted(name, Gen.PART)
            told = {**common, **counted, "index": i}
            self.parts[name] = self.supervisor.python(name, self.engine.generator, told)

    def _collector(self) -> None:
        scenario, broker, topic = self.scenario, self.broker, self.topics[1]
        source = settings.consumer(broker.bootstrap, scenario.broker.consumer, f"{topic}-collector")
        config = {
            "topic": topic,
            "partitions": scenario.broker.partitions,
            "records": len(self.plan.due),
            "append_clock": append_clock(scenario, broker),
            "consumer": {**source, **broker.client_overrides(), "isolation.level": "read_committed"},
            **self._counted("collector", Coll.PART),
        }
        self.parts["collector"] = self.supervisor.python("collector", "real.collector", config)

    def _engine(self) -> None:
        scenario, (topic_in, topic_out) = self.scenario, self.topics
        partitions, count = scenario.broker.partitions, len(self.plan.due) + _SPARE_ROWS
        common = {
            "topic_in": topic_in,
            "topic_out": topic_out,
            "partitions": partitions,
            "scenario": resolved(scenario),
            "hold": bool(self.plan.backlog),
            "models": str(self._models_folder()),
            **({} if self.server is None else {"server": self.server.told()}),
            "row_count": count,
            **self.engine.config(scenario, self.broker, topic_in, self.directory),
        }
        workers = []
        shares = range_assignment(partitions, len(self.workers))
        for i, (name, (first, size)) in enumerate(zip(self.workers, shares, strict=True)):
            Rows(self.rows(name), WORKER_ROW, count, create=True)
            own = None if self.broker.groups else list(range(first, first + size))
            models = {} if self.models is None else self.models.told(i, name)
            workers.append({"index": i, "assignment": own, **self._counted(name, Work.PART), **models})
        if self.engine.shared:
            told: list[dict[str, Any]] = [{"workers": workers}]
        else:
            told = workers
        for name, each in zip(self.processes, told, strict=True):
            self._told[name] = self._member(name, {**common, **each})
            self.parts[name] = self.engine.start(self.supervisor, name, self._told[name])

    def _models_folder(self) -> Path:
        return folder(model(self.scenario.model), self.directory.parent / "models")

    def _member(self, name: str, told: dict[str, Any]) -> dict[str, Any]:
        """Where workers are killed and come back: a member of the group that keeps its partitions meanwhile."""
        if self.scenario.faults and self.broker.groups and "consumer" in told:
            told["consumer"] = {**told["consumer"], "group.instance.id": name}
        return told

    def _counted(self, name: str, first_part: int) -> dict[str, Any]:
        """Makes counters; what their owner is told of them and of its side file."""
        path, count = self.directory / f"{name}.slots", first_part + self.scenario.broker.partitions
        self.slots[name] = Slots(path, count, create=True)
        return {"slots": str(path), "slot_count": count, "rows": str(self.rows(name))}
