"""A model server on topics that others fill: no run, nothing measured, as long as it is wanted.

The records of one topic (a consumer group shares it) are scored by whatever model the other topic last brought; every
instance reads all of that one.  Outputs go to a third topic, if there is to be one.  The state is told over HTTP.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from models.payload import PayloadError, encode_output, parse_input
from real import settings
from real.errors import BrokerError
from real.model_stream.location import configured_roots
from real.model_stream.publish import Target
from real.model_stream.serving import Serving
from real.model_stream.state_http import StateServer
from real.model_stream.wire import EVENT, EVENT_ROWS, Count
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
        from confluent_kafka import Consumer, KafkaException, Producer

        asked = self._asked
        for topic in filter(None, (asked.records, asked.models, asked.outputs)):
            Target(asked.bootstrap, topic)  # made if it is not there
        member = {} if asked.instance is None else {"group.instance.id": str(asked.instance)}
        consumer = Consumer(
            {
                **member,
                **settings.consumer(asked.bootstrap, ConsumerSettings(), asked.group),
                "enable.auto.commit": True,
                "auto.commit.interval.ms": 1_000,
            }
        )
        try:
            known = consumer.list_topics(asked.models, timeout=_ANSWER_S).topics[asked.models]
        except KafkaException as error:
            raise BrokerError(f"{asked.bootstrap}: {error.args[0].str()}") from None
        self._config["partitions"] = len(known.partitions)
        self._serving = Serving(
            Scenario(model_stream=self._stream),
            self._config,
            asked.instance or 0,
            lambda: time.monotonic_ns() - self._began,
        )
        producer = Producer(settings.producer(asked.bootstrap, ProducerSettings(linger_ns=5 * MS_NS)))
        state = StateServer(self.told, self._instances, asked.host, asked.port, asked.token)
        self._serving.open()
        consumer.subscribe([asked.records])
        say(f"serving {asked.records} by {asked.models}; state at http://{state.host}:{state.port}/v1/state")
        try:
            while not stopping():
                self._serving.between()
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
            producer.flush(10.0)  # before the offsets: nothing is passed over
            consumer.close()
            state.close()

    def told(self) -> dict[str, Any]:
        """Of the models, and of the records."""
        return {**self._serving.told(), **self.counts}

    def _one(self, record: Any, producer: Any) -> None:
        serving, counts = self._serving, self.counts
        counts["records"] += 1
        try:
            message = parse_input("protobuf", record.value() or b"")
        except PayloadError as error:
            counts["bad"] += 1
            self._tell(f"record {record.offset()} of partition {record.partition()} cannot be parsed: {error}")
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
        counts["scored"] += 1
        if self._asked.outputs is not None:
            value = encode_output("protobuf", message, prediction, served.model.which)
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
