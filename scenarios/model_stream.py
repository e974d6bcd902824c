"""What a stream of models does to a run, in numbers: when each message is sent, and which type each record has.

Both backends read it here, so that their streams are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scenarios.assignment import range_assignment
from scenarios.spec import ModelMessage, ModelStream, Scenario

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_SENT = 1_000_000


@dataclass(frozen=True, slots=True)
class Publication:
    """One message that is sent.

    Attributes:
        ordinal: How many were sent before it.
        at_ns: When, from the run's start.
        message: What.
        version: Its own, or the ordinal from 1.
        partition: Of the topic of models.
    """

    ordinal: int
    at_ns: int
    message: ModelMessage
    version: int
    partition: int


def publications(stream: ModelStream, until_ns: int) -> list[Publication]:
    """All messages of a run in the order they are sent; what is due at `until_ns` (the load's end) or later is not.

    Args:
        stream: The stream.
        until_ns: The end of the load, warm-up included.

    Raises:
        ValueError: More than a million.
    """
    due: list[tuple[int, ModelMessage]] = []
    at, going = stream.first_ns, bool(stream.messages)
    while going:
        for message in stream.messages:
            due.append((at if message.at_ns is None else message.at_ns, message))
            at += stream.every_ns if message.at_ns is None else 0
        going = stream.repeat and at < until_ns
        if len(due) > MAX_SENT:
            raise ValueError(f"more than {MAX_SENT:,} models until the load's end; make model_stream.every longer")
    due = sorted((item for item in due if item[0] < until_ns), key=lambda item: item[0])  # stable: ties as listed
    partitions = stream.topic.partitions
    return [
        Publication(i, time, message, i + 1 if message.version is None else message.version, i % partitions)
        for i, (time, message) in enumerate(due)
    ]


def record_types(scenario: Scenario) -> tuple[str, ...]:
    """The types that records have, in the order of the scenario."""
    if scenario.workload.payload.types:
        return tuple(scenario.workload.payload.types)
    stream = scenario.model_stream
    names = dict.fromkeys(message.type for message in stream.messages) if stream else {}
    return tuple(names) or ("record",)


def type_numbers(scenario: Scenario, records: int) -> NDArray[np.int64]:
    """The type of each record (its place in `record_types`): a draw by its sequence number, by the weights."""
    import numpy as np

    from scenarios.draw_arrays import draw_array
    from scenarios.draws import PURPOSE_TYPE

    weights = list(scenario.workload.payload.types.values())
    if len(weights) < 2:
        return np.zeros(records, dtype=np.int64)
    bounds = np.cumsum(np.asarray(weights) / sum(weights)) * float(1 << 32)
    drawn = draw_array(scenario.workload.seed, 0, np.arange(records, dtype=np.int64), PURPOSE_TYPE, 0)
    return np.minimum(np.searchsorted(bounds, drawn, side="right"), len(weights) - 1).astype(np.int64)


def file_bytes(message: ModelMessage) -> int | None:
    """Size of the file (of all files in the folder) a message's model lies in; None where there is none here."""
    if message.path is None or "://" in message.path or not Path(message.path).exists():
        return None
    path = Path(message.path)
    files = [each for each in path.rglob("*") if each.is_file()] if path.is_dir() else [path]
    return sum(each.stat().st_size for each in files)


def worker_of_each(partitions: int, workers: int) -> list[int]:
    """The worker that reads each partition, and runs its task."""
    return [worker for worker, (_, count) in enumerate(range_assignment(partitions, workers)) for _ in range(count)]


def instance_of_each(workers: int, instances: int) -> list[int]:
    """The instance (process) that each worker belongs to, in ranges as partitions are."""
    return worker_of_each(workers, instances)
