"""The models of a worker: what serves each type, what waits to, how it was used, and what became of every message.

One thread, the worker's, changes it: `offer` a model that is loaded, `current` before a record, `scored` after it.
So a swap happens between two records, and a record never sees half a model.  `told` may be called by any thread.

A model that is loaded waits (`next`) until the first record of its type comes; a later one that comes before takes its
place, and the first is counted as superseded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, MutableSequence
from dataclasses import dataclass
from typing import Any

from models.messages import MessageError, from_message, message, parse, to_message
from real.model_stream.loaders import Loaded, LoadError
from real.model_stream.wire import EVENT, EVENT_ROWS, FAILED, LOADED, RESTORED, SUPERSEDED, SWAPPED, Count

#: The task of a store that all of a worker's tasks share.
ALL = -1
SCHEMA = 1


class StateError(Exception):
    """Bytes that are no state of a store."""


@dataclass
class Served:
    """A model that serves one type of record.

    Attributes:
        model: It.
        since_ms: When it began to, epoch.
        usage: Records it scored.
        total_ns: Time it took for all of them.
        min_ns: The shortest; 0 before the first.
        max_ns: The longest.
    """

    model: Loaded
    since_ms: int
    usage: int = 0
    total_ns: int = 0
    min_ns: int = 0
    max_ns: int = 0

    def scored(self, took_ns: int) -> None:
        """Counts a record."""
        self.min_ns = min(self.min_ns, took_ns) if self.usage else took_ns
        self.max_ns = max(self.max_ns, took_ns)
        self.usage += 1
        self.total_ns += took_ns


class Journal:
    """What happened to the messages: counters and events in mapped memory."""

    def __init__(self, slots: MutableSequence[int], rows: Any, now_ns: Callable[[], int]) -> None:
        """Over a worker's files.

        Args:
            slots: `Count.SIZE` counters.
            rows: Buffer of `EVENT_ROWS` events.
            now_ns: Time since the run's start.
        """
        self.slots, self._rows, self._now = slots, rows, now_ns

    def event(self, kind: int, at: tuple[int, int], took_ns: int, version: int) -> None:
        """Notes an event of the message at (partition, offset)."""
        row = self.slots[Count.EVENTS]
        if row >= EVENT_ROWS:
            return
        self.slots[Count.EVENTS] = row + 1
        EVENT.pack_into(self._rows, row * EVENT.size, kind, self._now(), *at, took_ns, version)

    def received(self) -> None:
        """A message came."""
        self.slots[Count.RECEIVED] += 1

    def loaded(self, at: tuple[int, int], took_ns: int, version: int) -> None:
        """A model was loaded."""
        self.slots[Count.LOADED] += 1
        self.event(LOADED, at, took_ns, version)

    def failed(self, at: tuple[int, int], took_ns: int, version: int) -> None:
        """A model was not taken."""
        self.slots[Count.LOAD_FAILURES] += 1
        self.event(FAILED, at, took_ns, version)


@dataclass
class _Waiting:
    model: Loaded
    at: tuple[int, int]


class Store:
    """See the module."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._served: dict[tuple[int, str], Served] = {}
        self._next: dict[tuple[int, str], _Waiting] = {}
        self._gap_ns = 0
        #: Whether something changed since the last `stored`.
        self.dirty = False

    def offer(self, task: int, model: Loaded, at: tuple[int, int]) -> None:
        """A model waits to serve its type in a task."""
        key = (task, model.message.type)
        before = self._next.get(key)
        if before is not None:
            self.journal.slots[Count.SUPERSEDED] += 1
            self.journal.event(SUPERSEDED, before.at, 0, before.model.message.version)
        self._next[key] = _Waiting(model, at)
        self.dirty = True

    def stalled(self, took_ns: int) -> None:
        """The data path waited so long for a load; told with the next swap."""
        self._gap_ns += took_ns

    def current(self, task: int, kind: str) -> Served | None:
        """What serves the next record of a type: a model that waits takes over now."""
        key = (task, kind)
        if self._next and key in self._next:
            self._swap(key)
        elif self._gap_ns:
            self._gap_ns = 0
        return self._served.get(key)

    def _swap(self, key: tuple[int, str]) -> None:
        began = time.perf_counter_ns()
        waiting = self._next.pop(key)
        self._served[key] = Served(waiting.model, time.time_ns() // 1_000_000)  # the model before is let go here
        self.dirty = True
        gap, self._gap_ns = self._gap_ns + time.perf_counter_ns() - began, 0
        self.journal.slots[Count.SWAPS] += 1
        self.journal.event(SWAPPED, waiting.at, gap, waiting.model.message.version)

    def reloaded(self, task: int, kind: str, model: Loaded) -> None:
        """The same model, read back from what was kept of it."""
        self._served[(task, kind)].model = model

    def types(self) -> Iterator[tuple[int, str]]:
        """Task and type of everything held."""
        return iter({**self._served, **self._next})

    # -- what is kept -------------------------------------------------------------------------------------------

    def stored(
        self,
        models: Mapping[int, int],
        records: Mapping[int, int],
        only: tuple[int, str] | None = None,
    ) -> bytes:
        """Everything held, as bytes for `restore`.

        Args:
            models: Next offset of each partition of the topic of models.
            records: Next offset of each partition of the topic of records.
            only: This task and type alone.
        """
        state = message("StoredState")(schema=SCHEMA)
        for key in [only] if only is not None else list(self.types()):
            entry = state.models.add(task=key[0], data_type=key[1])
            served, waiting = self._served.get(key), self._next.get(key)
            if served is not None:
                entry.current.CopyFrom(to_message(served.model.message))
                entry.since_ms, entry.usage = served.since_ms, served.usage
                entry.total_ns, entry.min_ns, entry.max_ns = served.total_ns, served.min_ns, served.max_ns
            if waiting is not None:
                entry.next.CopyFrom(to_message(waiting.model.message))
        for field, positions in ((state.model_positions, models), (state.record_positions, records)):
            field.extend(positions.get(p, 0) for p in range(max(positions, default=-1) + 1))
        self.dirty = self.dirty and only is not None
        return bytes(state.SerializeToString())

    def restore(self, data: bytes, load: Callable[[Any], Loaded]) -> tuple[dict[int, int], dict[int, int]]:
        """Takes back what `stored` gave.

        Args:
            data: Its bytes.
            load: A model message's content -> the model.

        Returns:
            Next offsets of the topics' partitions, models and records; one that was 0 is not named.

        Raises:
            StateError: Not such bytes, or of another schema.
        """
        try:
            state = parse("StoredState", data)
        except MessageError as error:
            raise StateError(str(error)) from None
        if state.schema != SCHEMA:
            raise StateError(f"state of schema {state.schema}, this is {SCHEMA}")
        for entry in state.models:
            key = (entry.task, entry.data_type)
            for part in ("current", "next"):
                if not entry.HasField(part):
                    continue
                began = time.perf_counter_ns()
                try:
                    found = load(from_message(getattr(entry, part)))
                except (LoadError, MessageError):
                    self.journal.failed((-1, -1), time.perf_counter_ns() - began, 0)
                    continue
                if part == "next":
                    self._next[key] = _Waiting(found, (-1, -1))
                    continue
                self._served[key] = Served(
                    found, entry.since_ms, entry.usage, entry.total_ns, entry.min_ns, entry.max_ns
                )
                self.journal.slots[Count.RESTORED] += 1
                took = time.perf_counter_ns() - began
                self.journal.event(RESTORED, (-1, -1), took, found.message.version)
        self.dirty = False
        return tuple(  # type: ignore[return-value]
            {p: at for p, at in enumerate(positions) if at}
            for positions in (state.model_positions, state.record_positions)
        )

    # -- what is told -------------------------------------------------------------------------------------------

    def told(self) -> dict[str, dict[str, Any]]:
        """Type -> its model now: the one place that run.json, HTTP and metrics read.

        Tasks that hold models of a type of their own are told together: the latest one's name, their usage summed.
        """
        found: dict[str, dict[str, Any]] = {}
        own: dict[str, Any]
        for (_task, kind), served in list(self._served.items()):
            about = served.model.message
            own = {
                "name": about.name,
                "description": about.description,
                "format": about.format,
                "version": about.version,
                "size_bytes": served.model.size_bytes,
                "since": served.since_ms,
                "usage": served.usage,
                "total_ns": served.total_ns,
                "min_ns": served.min_ns,
                "max_ns": served.max_ns,
            }
            before = found.get(kind)
            if before is not None:
                if before["since"] > own["since"]:
                    own |= {
                        key: before[key] for key in ("name", "description", "format", "version", "size_bytes", "since")
                    }
                lows = [each["min_ns"] for each in (before, own) if each["usage"]]
                own["min_ns"], own["max_ns"] = min(lows, default=0), max(before["max_ns"], own["max_ns"])
                own["usage"] += before["usage"]
                own["total_ns"] += before["total_ns"]
            found[kind] = own
        return found
