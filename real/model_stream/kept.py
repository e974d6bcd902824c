"""Where a worker keeps its store's state: nowhere, in a topic, or in a file.

- `changelog`: the whole state to a topic of its own, a partition a worker, at each commit.  As in Kafka Streams the
  outputs are flushed first and the offsets committed last, so that what is read again after a death was not counted.
- `record`: the state of a record's type, model and all, with each record; and the model read back from it for the next.
- `snapshot`: the whole state to a file at each update (a swap); as the file is written beside and renamed, a death
  leaves the one before.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from real.model_stream.store import Journal
from real.model_stream.wire import Count

_FLUSH_S = 30.0


class KeptError(Exception):
    """A state that cannot be written."""


class Snapshot:
    """A file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, _key: str, state: bytes) -> None:
        """Keeps a state in the place of the one before."""
        beside = self._path.with_name(f".{self._path.name}.tmp")
        with beside.open("wb") as file:
            file.write(state)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)

    def flush(self) -> None:
        """Nothing is under way."""

    def read(self) -> list[bytes]:
        """What was kept."""
        return [self._path.read_bytes()] if self._path.exists() else []


class Changelog:
    """A partition of a topic; the last state of each key counts."""

    def __init__(
        self,
        topic: str,
        partition: int,
        producer: Callable[[], Any],
        consumer: Callable[[], Any],
        journal: Journal,
        *,
        one: bool,
    ) -> None:
        """Nothing is connected yet.

        Args:
            topic: Of the states.
            partition: Of this worker.
            producer: Makes a Kafka producer.
            consumer: Makes a Kafka consumer.
            journal: Counts bytes.
            one: Whether there is one key only, so that the last state is enough.
        """
        self._topic, self._partition, self._journal, self._one = topic, partition, journal, one
        self._make_producer, self._make_consumer = producer, consumer
        self._producer: Any = None
        self._error: Any = None

    def connect(self) -> None:
        """Connects, so that the first write is like the others."""
        self._producer = self._make_producer()
        self._producer.list_topics(self._topic, timeout=30)

    def write(self, key: str, state: bytes) -> None:
        """Sends a state on its way.

        Raises:
            KeptError: An earlier one was refused.
        """
        name = key.encode()
        while True:
            try:
                self._producer.produce(
                    self._topic, state, name, partition=self._partition, on_delivery=self._acknowledged
                )
                break
            except BufferError:
                self._producer.poll(0.001)
        self._producer.poll(0)
        self._journal.slots[Count.CHANGELOG_BYTES] += len(name) + len(state)
        self._journal.slots[Count.CHANGELOG_WRITES] += 1
        self._refused()

    def flush(self) -> None:
        """Waits until every state is acknowledged.

        Raises:
            KeptError: One was not.
        """
        left = self._producer.flush(_FLUSH_S)
        self._refused()
        if left:
            raise KeptError(f"{left} states are not acknowledged after {_FLUSH_S:.0f} s")

    def _acknowledged(self, error: Any, _message: Any) -> None:
        self._error = self._error or error

    def _refused(self) -> None:
        if self._error is not None:
            raise KeptError(f"the broker refused a state: {self._error}")

    def read(self) -> list[bytes]:
        """The last state of each key."""
        from confluent_kafka import KafkaException, TopicPartition

        consumer = self._make_consumer()
        try:
            low, high = consumer.get_watermark_offsets(TopicPartition(self._topic, self._partition), timeout=30)
            start = max(low, high - 1) if self._one else low
            consumer.assign([TopicPartition(self._topic, self._partition, start)])
            found: dict[bytes, bytes] = {}
            at = start
            while at < high:
                record = consumer.poll(30.0)
                if record is None:
                    raise KeptError(f"{self._topic}: state {at} of {high} cannot be read")
                if record.error():
                    raise KafkaException(record.error())
                found[record.key() or b""] = record.value() or b""
                at = record.offset() + 1
            return list(found.values())
        finally:
            consumer.close()
