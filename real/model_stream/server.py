"""A model server on topics that others fill: no run, nothing measured, as long as it is wanted.

The records of one topic (a consumer group shares it) are scored by whatever model the other topic last brought; every
instance reads all of that one.  Outputs go to a third topic, if there is to be one.  The state is told over HTTP.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from control.selection import Decider
from models.payload import PayloadError, encode_output, parse_input
from real import settings
from real.brokers.security import secured
from real.errors import BrokerError
from real.model_stream.location import configured_roots
from real.model_stream.publish import Target
from real.model_stream.serving import Serving
from real.model_stream.state_http import StateServer
from real.model_stream.wire import EVENT, EVENT_ROWS, Count
from real.sinks import Sinks
from real.sinks.served import ServerPoints
from real.speculative import DEFAULT_TIMEOUT_NS, Speculator
from real.wire import Rows, Slots
from scenarios.spec import MS_NS, ConsumerSettings, ModelStream, ProducerSettings, Scenario, StoreState

_POLL_S, _ANSWER_S = 0.1, 15.0
_TOLD = 20


@dataclass(frozen=True)
class Asked:
    """What a server is to do.

    Attributes:
        bootstrap: `host:port` of the broker.
        records: Topic of protobuf records.
        models: Topic of models.
        outputs: Topic of scored records; None: they go nowhere.
        group: Of the servers that share the records.
        instance: Number of this one among them; one that has a number and is started again within the group's session
            timeout has its partitions back at once.
        load: Whether models load on the data path or beside it.
        restore: Where models come from at the start: what is kept, the whole topic, the next message.
        kept: File that the state is kept in at each swap and at the end; None: nowhere.
        host: Address to tell the state on.
        port: Its port; 0: any that is free.
        token: That requests must carry beyond loopback.
        metrics: Where metrics go (`real.sinks.Sinks`).
        speculation: Decider and most trusted models, where records are scored by all models of their type at once:
            those of type `TYPE/NAME`.
        timeout_ns: How long a decision may take.
    """

    bootstrap: str
    records: str
    models: str
    outputs: str | None = None
    group: str = "wineRecordsGroup"
    instance: int | None = None
    load: Literal["inline", "background"] = "inline"
    restore: Literal["latest", "earliest", "snapshot"] = "latest"
    kept: Path | None = None
    host: str = "127.0.0.1"
    port: int = 0
    token: str | None = None
    metrics: tuple[str, ...] = ()
    speculation: tuple[Decider, tuple[str, ...]] | None = None
    timeout_ns: int = DEFAULT_TIMEOUT_NS


def of_type(kind: str, types: Iterable[tuple[int, str]]) -> list[str]:
    """The types whose models score a type of record when several do: itself, and those below it (`wine/forest`).

    Args:
        kind: Type of a record.
        types: Task and type of everything a store holds.
    """
    return sorted({each for _, each in types if each == kind or each.startswith(f"{kind}/")})


def _partitions(consumer: Any, topic: str) -> int:
    """How many a topic has; one that was made just now is not known everywhere at once.

    Raises:
        BrokerError: The broker does not come to know it.
    """
    end = time.monotonic() + _ANSWER_S
    while True:
        known = consumer.list_topics(topic, timeout=_ANSWER_S).topics[topic]
        if known.error is None and known.partitions:
            return len(known.partitions)
        if time.monotonic() > end:
            raise BrokerError(f"topic {topic}: {known.error or 'it has no partitions'}")
        time.sleep(0.05)


class ModelServer:
    """See the module.

    Attributes:
        counts: `records`, `scored`, `bad`, `failed`.
    """

    def __init__(self, asked: Asked, folder: Path) -> None:
        """Nothing is connected yet.

        Args:
            asked: What to do.
            folder: Empty, for its counters.
        """
        self._asked, self._folder, self._began = asked, folder, time.monotonic_ns()
        self.counts = {"records": 0, "scored": 0, "bad": 0, "failed": 0}
        self._said = 0
        self._points: ServerPoints | None = None
        self._speculator: Speculator | None = None
        if asked.speculation is not None:
            decider, trusted = asked.speculation
            self._speculator = Speculator(decider, asked.timeout_ns, trusted)
            self.counts["undecided"] = 0
        state = StoreState("none" if asked.kept is None else "snapshot")
        stream = ModelStream(state=state, restore=asked.restore, load=asked.load)
        slots, rows = folder / "models", folder / "events"
        Slots(slots, Count.SIZE, create=True)
        Rows(rows, EVENT, EVENT_ROWS, create=True)
        instances = folder / "instances"
        instances.mkdir()
        self._config = {
            "topic": asked.models,
            "group": f"{asked.group}-models",
            "assignment": None,
            "consumer": settings.consumer(asked.bootstrap, ConsumerSettings(), asked.group),
            "kept": str(asked.kept),
            "slots": str(slots),
            "rows": str(rows),
            "roots": configured_roots(),
            "types": 1,
            "restarted": True,  # a topic of others has a past
        }
        self._stream, self._instances = stream, instances

    def serve(self, stopping: Callable[[], bool], say: Callable[[str], None]) -> None:
        """Serves until `stopping` says so.

        Raises:
            BrokerError: The broker does not answer, or refuses a topic.
            RefusedError: The state cannot be told where it is asked to be.
        """
        asked = self._asked
        sinks = Sinks(asked.metrics)
        try:
            self._serve(stopping, say, ServerPoints(sinks, self.told) if sinks.all else None)
        finally:
            for line in sinks.close():
                self._tell(line)
            if self._speculator is not None:
                self._speculator.close()

    def _serve(self, stopping: Callable[[], bool], say: Callable[[str], None], points: ServerPoints | None) -> None:
        from confluent_kafka import Consumer, KafkaException, Producer

        asked, self._points = self._asked, points
        for topic in filter(None, (asked.records, asked.models, asked.outputs)):
            Target(asked.bootstrap, topic)  # made if it is not there
        member = {} if asked.instance is None else {"group.instance.id": str(asked.instance)}
        consumer = Consumer(
            secured(
                {
                    **member,
                    **settings.consumer(asked.bootstrap, ConsumerSettings(), asked.group),
                    "enable.auto.commit": True,
                    "auto.commit.interval.ms": 1_000,
                }
            )
        )
        try:
            self._config["partitions"] = _partitions(consumer, asked.models)
        except KafkaException as error:
            raise BrokerError(f"{asked.bootstrap}: {error.args[0].str()}") from None
        self._serving = Serving(
            Scenario(model_stream=self._stream),
            self._config,
            asked.instance or 0,
            lambda: time.monotonic_ns() - self._began,
        )
        producer = Producer(secured(settings.producer(asked.bootstrap, ProducerSettings(linger_ns=5 * MS_NS))))
        state = StateServer(self.told, self._instances, asked.host, asked.port, asked.token)
        self._serving.open()
        consumer.subscribe([asked.records])
        say(f"serving {asked.records} by {asked.models}; state at http://{state.host}:{state.port}/v1/state")
        try:
            while not stopping():
                self._serving.between()
                if points is not None:
                    points.step()
                record = consumer.poll(_POLL_S)
                producer.poll(0)
                if record is None:
                    continue
                trouble = record.error()
                if trouble is not None:
                    if trouble.fatal():
                        raise BrokerError(f"{asked.records}: {trouble.str()}")
                    continue
                self._one(record, producer)
                consumer.store_offsets(record)
        finally:
            self._serving.close()
            self._serving.finish()
            if points is not None:
                points.last()
            producer.flush(10.0)  # before the offsets: nothing is passed over
            consumer.close()
            state.close()

    def told(self) -> dict[str, Any]:
        """Of the models, and of the records."""
        speculator = self._speculator
        speculative = {} if speculator is None else {"speculative": speculator.told()}
        return {**self._serving.told(), **self.counts, **speculative}

    def _one(self, record: Any, producer: Any) -> None:
        serving, counts = self._serving, self.counts
        counts["records"] += 1
        try:
            message = parse_input("protobuf", record.value() or b"")
        except PayloadError as error:
            counts["bad"] += 1
            self._tell(f"record {record.offset()} of partition {record.partition()} cannot be parsed: {error}")
            return
        if self._speculator is not None:
            self._speculate(self._speculator, message, record, producer)
            return
        served = serving.current(message.record_type, record.partition())
        if served is None:
            serving.dropped()
            return
        began = time.perf_counter_ns()
        try:
            prediction = served.model.scorer.score(message.values)
        except Exception as error:  # noqa: BLE001 - whatever a runtime raises is the record's failure, counted as such
            counts["failed"] += 1
            self._tell(f"record {record.offset()} of partition {record.partition()} cannot be scored: {error}")
            return
        took = time.perf_counter_ns() - began
        serving.scored(served, message.record_type, record.partition(), record.offset(), took)
        self._out(message, prediction, served.model.which, took, record, producer)

    def _speculate(self, speculator: Speculator, message: Any, record: Any, producer: Any) -> None:
        """Scores a record by every model of its type, or of `TYPE/NAME`."""
        serving, kind, partition = self._serving, message.record_type, record.partition()
        found = {each: serving.current(each, partition) for each in of_type(kind, serving.store.types())}
        served = {each: model for each, model in found.items() if model is not None}
        if not served:
            serving.dropped()
            return
        decision = speculator.score({each: model.model.scorer for each, model in served.items()}, message.values)
        for each, took in decision.answered.items():
            serving.scored(served[each], each, partition, record.offset(), took)
        if decision.winner is None:
            self.counts["undecided"] += 1
            return
        which = served[decision.winner].model.which
        self._out(message, decision.output, which, decision.took_ns, record, producer)

    def _out(
        self, message: Any, prediction: Any, which: tuple[str, int], took: int, record: Any, producer: Any
    ) -> None:
        """Counts a scored record and sends it on."""
        self.counts["scored"] += 1
        if self._points is not None:
            self._points.scored(which[0], prediction, took)
        if self._asked.outputs is not None:
            value = encode_output("protobuf", message, prediction, which)
            while True:
                try:
                    producer.produce(self._asked.outputs, value, record.key())
                    return
                except BufferError:
                    producer.poll(0.01)

    def _tell(self, line: str) -> None:
        if self._said < _TOLD:
            self._said += 1
            print(line, file=sys.stderr, flush=True)
