"""Counts a run of a model stream anew, from its topics alone.

Nothing of what the engine counted is read: the records and the models as the broker has them, and which record each
output is of and which model it says.  So a counter of the engine that lies is found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from models.messages import MessageError, decode_descriptor, parse
from real.wire import HEADER_KEY, INPUT_HEADER, OUTPUT_HEADER

Check = Callable[[Any], bool]


@dataclass
class Recount:
    """What the topics say.

    Attributes:
        records: In the topic of records.
        bad: Of them, such that cannot be parsed.
        dropped: Parsed ones without an output.
        scored: Outputs, each record once.
        duplicates: Outputs beyond the first of a record.
        models: In the topic of models.
        unfit: Of them, such that cannot be loaded.
        swaps: Times that a record was scored by another model than the one before it, in a partition and type.
        superseded: Fit models that no record was scored by although a later one's were.
        usage: Records of each model by (name, version), the first output of each.
        disorder: Outputs that stand before one of a record that came before theirs, in their partition; duplicates do
            not count.
        late_drops: Dropped records that came after one of their partition and type that was scored.
    """

    records: int = 0
    bad: int = 0
    dropped: int = 0
    scored: int = 0
    duplicates: int = 0
    models: int = 0
    unfit: int = 0
    swaps: int = 0
    superseded: int = 0
    usage: Counter[tuple[str, int]] = field(default_factory=Counter)
    disorder: int = 0
    late_drops: int = 0


def recount(bootstrap: str, records: str, models: str, outputs: str, fit: Check) -> Recount:
    """Reads three topics and counts.

    Args:
        bootstrap: `host:port` of the broker.
        records: Topic of protobuf records.
        models: Topic of models.
        outputs: Topic of scored records.
        fit: Whether a model message holds a model that can be loaded.

    Raises:
        ValueError: A topic is not there, or holds what is none of the run's.
    """
    found = Recount()
    came = [_input(record, found) for record in read_topic(bootstrap, records)]
    stamps = {sequence for _, sequence, _ in came}
    if len(stamps) != len(came):
        raise ValueError(f"{len(came) - len(stamps)} sequence numbers occur twice in {records}")
    place = {sequence: i for i, (_, sequence, _) in enumerate(came)}
    by = _outputs(bootstrap, outputs, found)
    last: dict[str, int] = {}
    serving: dict[tuple[int, str], tuple[str, int]] = {}
    order: dict[tuple[int, int], int] = {}
    for partition, sequence, kind in came:
        if kind is None:
            continue
        model = by.get(sequence)
        if model is None:
            found.dropped += 1
            found.late_drops += (partition, kind) in serving
            continue
        found.swaps += serving.get((partition, kind)) != model[0]
        serving[partition, kind] = model[0]
        found.usage[model[0]] += 1
        last[kind] = max(last.get(kind, 0), model[0][1])
    for sequence, (_, position) in by.items():
        order[position] = place[sequence]
    for partition in {at[0] for at in order}:
        own = [order[at] for at in sorted(order) if at[0] == partition]
        found.disorder += sum(a > b for a, b in pairwise(own))
    _models(bootstrap, models, fit, found, last)
    return found


def _input(record: Any, found: Recount) -> tuple[int, int, str | None]:
    """Partition, sequence and type (None: bad) of a record."""
    found.records += 1
    sequence = INPUT_HEADER.unpack(dict(record.headers())[HEADER_KEY])[0]
    try:
        kind: str | None = parse("Record", record.value()).data_type
    except MessageError:
        found.bad += 1
        kind = None
    return record.partition(), sequence, kind


def _outputs(bootstrap: str, topic: str, found: Recount) -> dict[int, tuple[tuple[str, int], tuple[int, int]]]:
    """Sequence -> model (name, version) and position (partition, offset) of its first output."""
    by: dict[int, tuple[tuple[str, int], tuple[int, int]]] = {}
    for output in read_topic(bootstrap, topic):
        sequence = OUTPUT_HEADER.unpack(dict(output.headers())[HEADER_KEY])[0]
        scored = parse("Scored", output.value())
        if sequence in by:
            found.duplicates += 1
        else:
            by[sequence] = ((scored.model, scored.version), (output.partition(), output.offset()))
    found.scored = len(by)
    return by


def _models(bootstrap: str, topic: str, fit: Check, found: Recount, last: dict[str, int]) -> None:
    for record in read_topic(bootstrap, topic):
        found.models += 1
        try:
            message = decode_descriptor(record.value())
        except MessageError:
            found.unfit += 1
            continue
        if not fit(message):
            found.unfit += 1
        elif (message.name, message.version) not in found.usage and message.version < last.get(message.type, 0):
            found.superseded += 1


def read_topic(bootstrap: str, topic: str) -> Iterator[Any]:
    """Every record of a topic, partition by partition."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"recount-{topic}", "enable.auto.commit": False})
    try:
        parts: Sequence[int] = list(consumer.list_topics(topic, timeout=30).topics[topic].partitions)
        for number in sorted(parts):
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=30)
            if low:
                raise ValueError(f"{topic}: the first {low} records of partition {number} are gone")
            consumer.assign([TopicPartition(topic, number, low)])
            at: int = low
            while at < high:
                record = consumer.poll(30.0)
                if record is None or record.error():
                    raise ValueError(f"{topic}: record {at} of partition {number} cannot be read")
                at = int(record.offset() or 0) + 1
                yield record
    finally:
        consumer.close()
