"""Publishers of models and of records for any broker, as commands use them: one message, or one each interval."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.messages import FORMATS, Descriptor, encode_descriptor
from real import settings
from real.brokers.security import secured
from real.errors import BrokerError, RefusedError
from real.model_stream.loaders import FOLDERS, MODEL_BYTES
from real.model_stream.prepare import exported, suffix_format

_UNITS_S = {
    "ms": 1e-3,
    "millisecond": 1e-3,
    "s": 1.0,
    "second": 1.0,
    "m": 60.0,
    "minute": 60.0,
    "h": 3600.0,
    "hour": 3600.0,
}
_INTERVAL = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*")
_ANSWER_S = 15.0
_PARTITIONS = 1


def interval_s(key: str, text: str) -> float:
    """Seconds of "1 second", "5 minutes", "100 ms" or, as in Lightbend's configuration, "250" (milliseconds).

    Raises:
        RefusedError: Naming the key.
    """
    match = _INTERVAL.fullmatch(text.lower())
    unit = match[2] if match else ""
    for word in (unit, unit.removesuffix("s"), unit or "ms"):
        if match is not None and word in _UNITS_S:
            return float(match[1]) * _UNITS_S[word]
    raise RefusedError(key, f"{text!r} is no interval; write for instance '1 second', '5 minutes' or '100 ms'")


@dataclass(frozen=True)
class Sent:
    """A message that the broker has.

    Attributes:
        topic: Where.
        partition: Of it.
        offset: In that.
        size_bytes: Of the message.
    """

    topic: str
    partition: int
    offset: int
    size_bytes: int


class Target:
    """A topic of a broker, made if it is not there."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        """Connects.

        Raises:
            BrokerError: The broker does not answer, or refuses the topic.
        """
        from confluent_kafka import KafkaException, Producer
        from confluent_kafka.admin import AdminClient
        from confluent_kafka.cimpl import NewTopic

        self.topic = topic
        quiet = secured({**settings.common(bootstrap), "log_level": 0})
        admin = AdminClient(quiet)
        try:
            known = admin.list_topics(timeout=_ANSWER_S).topics
            if topic not in known:
                new = NewTopic(topic, _PARTITIONS, 1, config={"max.message.bytes": str(settings.RECORD_BYTES)})
                admin.create_topics([new], operation_timeout=30)[topic].result(timeout=35)
        except KafkaException as error:
            if error.args[0].name() != "TOPIC_ALREADY_EXISTS":
                raise BrokerError(f"{bootstrap}, topic {topic}: {error.args[0].str()}") from None
        except TimeoutError:
            raise BrokerError(f"{bootstrap} does not make the topic {topic}: no answer") from None
        self._producer: Any = Producer(
            {**quiet, "acks": "all", "message.max.bytes": settings.RECORD_BYTES, "message.timeout.ms": 30_000}
        )

    def send(self, data: bytes, key: str | None = None) -> Sent:
        """Sends a message and waits for the broker's word; those of one key keep their order.

        Raises:
            BrokerError: It was not taken.
        """
        from confluent_kafka import KafkaException

        said: list[tuple[Any, Any]] = []
        try:
            self._producer.produce(
                self.topic, data, key, on_delivery=lambda error, message: said.append((error, message))
            )
        except KafkaException as error:  # larger than any message may be
            raise BrokerError(f"topic {self.topic}: {error.args[0].str()}") from None
        while not said:
            self._producer.poll(0.1)
        refusal, message = said[0]
        if refusal is not None:
            raise BrokerError(f"topic {self.topic}: {refusal.str()}")
        return Sent(self.topic, message.partition(), message.offset(), len(data))


def model_message(
    source: str,
    *,
    kind: str,
    fmt: str | None = None,
    name: str | None = None,
    description: str = "",
    version: int = 1,
    by_reference: bool = False,
    seed: int = 1,
    cache: Path | None = None,
) -> Descriptor:
    """The message of a model.

    Args:
        source: A file, an address (by reference), or a registered model.
        kind: Type of records that it scores.
        fmt: Of the model; None: told by the file's name, of a registered model ONNX.
        name: Of the model; None: the file's or the model's.
        description: Of the model.
        version: Of the model.
        by_reference: The message says where the model lies.
        seed: Of a registered model's weights.
        cache: Where registered models are exported to.

    Raises:
        RefusedError: No such file or model, an unknown format, or too large.
    """
    path = Path(source)
    if "://" not in source and not path.exists():
        if "/" in source or path.suffix or cache is None:
            raise RefusedError(source, "no such file")
        path = exported(source, source, fmt or "onnx", seed, cache)
        name = name or source
    guessed = fmt or suffix_format(Path(source.rstrip("/")) if "://" in source else path)
    if guessed not in FORMATS:
        said = f"no format {fmt!r}" if fmt else "its name does not tell its format"
        raise RefusedError(source, f"{said}; give --format, one of {', '.join(FORMATS)}")
    named = name or Path(source.rstrip("/")).stem
    if "://" in source:
        if not by_reference:
            raise RefusedError(source, "an address is sent by reference: --by reference")
        return Descriptor(named, description, kind, guessed, None, source, version)
    if path.is_dir() and not (path / "saved_model.pb").is_file():
        raise RefusedError(source, "a folder without saved_model.pb is no SavedModel")
    if by_reference:
        return Descriptor(named, description, kind, guessed, None, path.resolve().as_uri(), version)
    if path.is_dir() or guessed in FOLDERS:
        raise RefusedError(source, "a folder is sent by reference: --by reference")
    if path.stat().st_size > MODEL_BYTES:
        raise RefusedError(source, f"{path.stat().st_size:,} bytes; a model has at most {MODEL_BYTES:,}")
    return Descriptor(named, description, kind, guessed, path.read_bytes(), None, version)


def model_files(directory: Path) -> list[Path]:
    """The models of a folder, by name.

    Raises:
        RefusedError: There is none.
    """
    if not directory.is_dir():
        raise RefusedError(str(directory), "no such folder")
    found = [each for each in sorted(directory.iterdir()) if each.is_file() and suffix_format(each) is not None]
    found += [each for each in sorted(directory.iterdir()) if (each / "saved_model.pb").is_file()]
    if not found:
        raise RefusedError(
            str(directory), "no model in it: *.onnx, *.pmml, *.xml, *.txt, *.pb or a SavedModel's folder"
        )
    return found


def cycled_models(files: Sequence[Path], kind: str) -> Iterator[bytes]:
    """The messages of files, begun again after the last, each with the next version."""
    version = 0
    while True:
        for path in files:
            version += 1
            folder = path.is_dir()
            yield encode_descriptor(
                model_message(str(path), kind=kind, version=version, by_reference=folder, description=path.name)
            )


def read_source(path: Path) -> Any:
    """The rows of a data file, as `models.records.read_rows`.

    Raises:
        RefusedError: It cannot be read.
    """
    from models.records import SourceError, read_rows

    try:
        return read_rows(path)
    except SourceError as error:
        raise RefusedError("", str(error)) from None


def cycled_records(rows: Any, kind: str) -> Iterator[bytes]:
    """Rows as records stamped with the present, begun again after the last."""
    from models.records import encode_record

    while True:
        for row in rows:
            yield encode_record(row, kind, time.time_ns() // 1_000_000)


def publish(
    target: Target,
    messages: Iterator[bytes],
    *,
    key: str | None = None,
    every_s: float,
    first_s: float = 0.0,
    count: int | None = None,
    say: Callable[[Sent], None] | None = None,
) -> int:
    """Sends a message each interval, on an absolute schedule; returns how many.

    Raises:
        BrokerError: One was not taken.
    """
    start, done = time.monotonic() + first_s, 0
    while count is None or done < count:
        time.sleep(max(0.0, start + done * every_s - time.monotonic()))
        sent = target.send(next(messages), key)
        done += 1
        if say is not None:
            say(sent)
    return done
