"""A stream of models in a run: its topics, its publisher, and what each worker is told of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from real import settings
from real.brokers.base import Broker
from real.engines import engine
from real.errors import RefusedError
from real.model_stream.prepare import Prepared, prepare
from real.model_stream.state_http import check_address, configured_address
from real.model_stream.wire import EVENT, EVENT_ROWS, SENT, Count
from real.processes import Process, Supervisor
from real.wire import Rows, Slots
from scenarios.assignment import range_assignment
from scenarios.model_stream import record_types
from scenarios.spec import MS_NS, ConsumerSettings, ModelStream, ProducerSettings, Scenario

if TYPE_CHECKING:
    from real.plan import Plan

PUBLISHER = "publisher"
#: Models that are due at one time go in one request.
_LINGER_NS = MS_NS


def topics(scenario: Scenario, topic_in: str) -> dict[str, int]:
    """The topics that a stream of models adds to a run, and their partitions; none without one."""
    stream = scenario.model_stream
    if stream is None:
        return {}
    found = {models_topic(topic_in): stream.topic.partitions}
    if stream.state.kind in ("changelog", "record"):
        found[changelog_topic(topic_in)] = scenario.engine.parallelism
    return found


def models_topic(topic_in: str) -> str:
    """The topic of a run's models."""
    return topic_in.removesuffix("-in") + "-models"


def changelog_topic(topic_in: str) -> str:
    """The topic of a run's stores."""
    return topic_in.removesuffix("-in") + "-changelog"


def refuse(scenario: Scenario) -> None:
    """Refuses what a stream of models cannot have for real.

    Raises:
        RefusedError: Naming the key.
    """
    stream = scenario.model_stream
    if stream is None:
        return
    workers = scenario.engine.parallelism
    shared = engine(scenario.engine.kind).shared
    if shared and stream.instances != 1:
        raise RefusedError(
            "model_stream.instances", f"{stream.instances}; engine {scenario.engine.kind} has all its workers in 1"
        )
    if not shared and stream.instances != workers:
        raise RefusedError(
            "model_stream.instances", f"{stream.instances}; the python engine has a process a worker: {workers}"
        )
    host, _, token = configured_address(workers - 1)
    check_address(host, token)
    payload = scenario.workload.payload
    if len(record_types(scenario)) > 1 and payload.format != "protobuf":
        raise RefusedError("workload.payload.format", f"{payload.format}; records of several types are protobuf")
    if payload.format == "protobuf" and scenario.workload.points != 1:
        raise RefusedError("workload.points", f"{scenario.workload.points}; a record in protobuf holds one point")


class Models:
    """The stream of models of one run.

    Attributes:
        slots: Worker -> its counters of models.
    """

    def __init__(
        self, scenario: Scenario, stream: ModelStream, plan: Plan, broker: Broker, topic_in: str, directory: Path
    ) -> None:
        """Exports and lays out what will be sent.

        Raises:
            RefusedError: A model cannot be had.
        """
        self._scenario, self._stream, self._broker, self._topic_in = scenario, stream, broker, topic_in
        self._directory = directory
        folder = directory / "stream"
        self._prepared: Prepared = prepare(
            stream, plan.load_end_ns, scenario.workload.seed, folder, directory.parent / "models"
        )
        (folder / "kept").mkdir()
        (folder / "instances").mkdir()
        self.slots: dict[str, Slots] = {}

    @property
    def sizes_bytes(self) -> tuple[int, ...]:
        """Of the model of each message that is sent, in order; -1 where it lies elsewhere."""
        return self._prepared.sizes_bytes

    @property
    def _folder(self) -> Path:
        return self._directory / "stream"

    def events(self, worker: str) -> Path:
        """The side file of a worker's models."""
        return self._folder / f"{worker}.events"

    @property
    def sent(self) -> Path:
        """The publisher's side file."""
        return self._folder / "sent.rows"

    def start_publisher(self, supervisor: Supervisor) -> Process:
        """Starts the process that sends the models."""
        Rows(self.sent, SENT, self._prepared.sent, create=True)
        config = {
            "topic": models_topic(self._topic_in),
            "prepared": str(self._prepared.folder),
            "rows": str(self.sent),
            "producer": settings.producer(self._broker.bootstrap, ProducerSettings(linger_ns=_LINGER_NS)),
        }
        return supervisor.python(PUBLISHER, "real.model_stream.publisher", config)

    def told(self, index: int, name: str) -> Mapping[str, Any]:
        """What a worker is told."""
        scenario, stream, broker = self._scenario, self._stream, self._broker
        slots = self._folder / f"{name}.models"
        self.slots[name] = Slots(slots, Count.SIZE, create=True)
        Rows(self.events(name), EVENT, EVENT_ROWS, create=True)
        topic, partitions = models_topic(self._topic_in), stream.topic.partitions
        host, port, _ = configured_address(index)
        first, size = range_assignment(partitions, scenario.engine.parallelism)[index]
        source = settings.consumer(broker.bootstrap, ConsumerSettings(), topic)
        return {
            "models_of": {
                "topic": topic,
                "partitions": partitions,
                "group": topic,
                # In a group of its own the broker would share partitions out; without groups it is done by hand.
                "assignment": None if broker.groups else list(range(first, first + size)),
                "consumer": {**source, **broker.client_overrides(), "client.id": f"{index:05d}"},
                "producer": settings.producer(broker.bootstrap, ProducerSettings(linger_ns=0)),
                "changelog": changelog_topic(self._topic_in),
                "kept": str(self._folder / "kept" / name),
                "slots": str(slots),
                "rows": str(self.events(name)),
                "roots": list(self._prepared.roots),
                "instances": str(self._folder / "instances"),
                "state": {"host": host, "port": port},  # its token is read from the environment alone
                "types": len(record_types(scenario)),
                "restarted": False,
            }
        }
