"""What an engine's worker does about models: receive, load, swap, keep, restore, tell.

The worker's thread calls `between` before each record and whenever a poll came back empty, `current` for the model of a
record, `scored` after it, and `commit_due`/`commit` for a store that is kept at commits.  A thread of its own receives
the messages; with `load: background` it loads them too, else the worker's thread does, and its records wait.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.messages import Descriptor, MessageError, decode_descriptor
from real.brokers.security import secured
from real.model_stream.kept import Changelog, Snapshot
from real.model_stream.loaders import Loaded, LoadError, Rules, load, prepare
from real.model_stream.store import ALL, Journal, Served, StateError, Store
from real.model_stream.wire import EVENT, EVENT_ROWS, Count
from real.wire import Rows, Slots
from scenarios.model_stream import record_types
from scenarios.spec import Scenario

_POLL_S = 0.1
_MORE = 99  # messages taken beyond the first when they are there
_TOLD = 20
Place = tuple[int, int]


class Serving:
    """The models of one worker.

    Attributes:
        store: What serves.
        commits: Whether offsets are committed with the store, at `commit_due`.
        only_type: Of records that do not tell theirs.
    """

    def __init__(self, scenario: Scenario, config: dict[str, Any], index: int, now_ns: Callable[[], int]) -> None:
        """For a worker.

        Args:
            scenario: With a stream of models.
            config: What the harness says: `topic`, `partitions`, `group`, `assignment`, `consumer`, `producer`,
                `changelog`, `kept`, `slots`, `rows`, `roots`, `restarted`.
            index: Of the worker.
            now_ns: Time since the run's start.
        """
        stream = scenario.model_stream
        assert stream is not None
        self._stream, self._config, self.index, self._now = stream, config, index, now_ns
        slots = Slots(config["slots"], Count.SIZE).values
        self._journal = Journal(slots, Rows(config["rows"], EVENT, EVENT_ROWS).buffer, now_ns)
        self.store = Store(self._journal)
        self.slots = slots
        self._rules = Rules(roots=tuple(config["roots"]))
        self._own_task = stream.store == "task" and stream.delivery == "group"
        self._background = stream.load == "background"
        #: Messages of the receiver that the worker's thread has not taken; with background, models loaded.
        self._inbox: deque[tuple[Place, Descriptor | Loaded | None]] = deque()
        self._positions: dict[int, int] = {}
        self._counted: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._consumer: Any = None
        self._said = 0
        self._error: BaseException | None = None
        self._kind = stream.state.kind
        self.commits = self._kind == "changelog"
        self.only_type = record_types(scenario)[0]
        self._kept = self._keeper()
        self._due = 0

    def _keeper(self) -> Snapshot | Changelog | None:
        config = self._config
        if self._kind == "none":
            return None
        if self._kind == "snapshot":
            return Snapshot(Path(config["kept"]))

        def producer() -> Any:
            from confluent_kafka import Producer

            return Producer(secured(config["producer"]))

        def consumer() -> Any:
            from confluent_kafka import Consumer

            return Consumer(secured({**config["consumer"], "group.id": f"{config['changelog']}-{self.index}"}))

        one = self._kind == "changelog" or config["types"] == 1
        return Changelog(config["changelog"], self.index, producer, consumer, self._journal, one=one)

    # -- the beginning and the end ------------------------------------------------------------------------------

    def open(self) -> None:
        """Connects, restores where this is a restart, and begins to receive."""
        from confluent_kafka import Consumer

        prepare()
        if isinstance(self._kept, Changelog):
            self._kept.connect()
        restored: dict[int, int] | None = None
        if self._config["restarted"] and self._stream.restore == "snapshot":
            restored = self._restore()
        group = self._stream.delivery == "group"
        name = self._config["group"] if group else f"{self._config['group']}-{self.index}"
        self._consumer = Consumer(secured({**self._config["consumer"], "group.id": name}))
        self._consumer.list_topics(self._config["topic"], timeout=30)
        if group and self._config["assignment"] is None:
            self._consumer.subscribe(
                [self._config["topic"]],
                on_assign=lambda consumer, parts: consumer.assign(self._placed(parts, restored)),
            )
        else:
            own = self._config["assignment"] if group else range(self._config["partitions"])
            self._consumer.assign(self._placed(self._parts(own), restored))
        self._thread = threading.Thread(target=self._receive, name="models", daemon=True)
        self._thread.start()

    def _parts(self, numbers: Any) -> list[Any]:
        from confluent_kafka import TopicPartition

        return [TopicPartition(self._config["topic"], p) for p in numbers]

    def _placed(self, parts: list[Any], restored: dict[int, int] | None) -> list[Any]:
        """Where reading begins: at first with the first message, after a restart as `restore` says."""
        from confluent_kafka import OFFSET_BEGINNING, OFFSET_END

        for part in parts:
            if not self._config["restarted"] or self._stream.restore == "earliest":
                part.offset = OFFSET_BEGINNING
            elif restored is None:
                part.offset = OFFSET_END
            else:
                part.offset = restored.get(part.partition, OFFSET_BEGINNING)
        return parts

    def _restore(self) -> dict[int, int]:
        assert self._kept is not None
        models: dict[int, int] = {}
        for state in self._kept.read():
            try:
                of_models, of_records = self.store.restore(state, lambda message: load(message, self._rules))
            except StateError as error:
                self._tell(f"a kept state is not taken: {error}")
                continue
            for found, into in ((of_models, models), (of_records, self._counted)):
                for partition, at in found.items():
                    into[partition] = max(at, into.get(partition, 0))
        self._positions, self._ends = dict(models), dict(self._counted)
        return models

    def close(self) -> None:
        """Ends receiving."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(10.0)

    # -- the receiver's thread ----------------------------------------------------------------------------------

    def _receive(self) -> None:
        try:
            while not self._stopping.is_set():
                first = self._consumer.poll(_POLL_S)
                if first is None:
                    continue
                came = []
                for record in (first, *self._consumer.consume(_MORE, 0)):
                    if not record.error():
                        came.append(self._came(record))
                    elif record.error().fatal():
                        raise RuntimeError(f"the consumer of models reports {record.error()}")
                    if self._background:  # what is loaded serves; it does not wait for the loads after it
                        self._inbox.extend(came)
                        came = []
                self._inbox.extend(came)  # at once: what came together is taken together
        except BaseException as error:  # noqa: BLE001 - the worker's thread raises it
            self._error = error

    def _came(self, record: Any) -> tuple[Place, Descriptor | Loaded | None]:
        place: Place = (record.partition(), record.offset())
        self._journal.received()
        try:
            message = decode_descriptor(record.value() or b"")
        except MessageError as error:
            self._journal.failed(place, 0, 0)
            self._tell(f"model message {place[1]}: {error}")
            return place, None
        return place, self._load(place, message) if self._background else message

    def _load(self, place: Place, message: Descriptor) -> Loaded | None:
        """Loads a model and counts it; None where it is not taken."""
        began = time.perf_counter_ns()
        try:
            found = load(message, self._rules)
        except LoadError as error:
            self._journal.failed(place, time.perf_counter_ns() - began, message.version)
            self._tell(str(error))
            return None
        self._journal.loaded(place, time.perf_counter_ns() - began, message.version)
        return found

    # -- the worker's thread ------------------------------------------------------------------------------------

    @property
    def waiting(self) -> bool:
        """Whether a message came that `between` has not seen."""
        return bool(self._inbox) or self._error is not None

    def between(self) -> None:
        """Takes what came: loads it here unless that is done beside; the swap comes with the next record."""
        if self._error is not None:
            raise self._error
        while self._inbox:
            place, found = self._inbox.popleft()
            if isinstance(found, Descriptor):
                began = time.perf_counter_ns()
                found = self._load(place, found)
                self.store.stalled(time.perf_counter_ns() - began)
            self._positions[place[0]] = place[1] + 1
            if found is not None:
                self.store.offer(place[0] if self._own_task else ALL, found, place)

    def current(self, kind: str, partition: int) -> Served | None:
        """What scores a record."""
        task = partition if self._own_task else ALL
        swaps = self.slots[Count.SWAPS]
        found = self.store.current(task, kind)
        if self._kind == "snapshot" and self.slots[Count.SWAPS] != swaps:
            self._write("state")
        return found

    def dropped(self) -> None:
        """Counts a record without a model."""
        self.slots[Count.DROPPED] += 1

    def scored(self, served: Served, kind: str, partition: int, offset: int, took_ns: int) -> None:
        """Counts a record; one that a restored state has counted already is not counted again."""
        if offset >= self._counted.get(partition, 0):
            served.scored(took_ns)
        self._ends[partition] = offset + 1
        self.store.dirty = True
        if self._kind == "record":
            task = partition if self._own_task else ALL
            self._write(f"{task}/{kind}", only=(task, kind))
            self.store.reloaded(task, kind, load(served.model.message, self._rules))

    def start_commits(self) -> None:
        """The first commit comes an interval from now."""
        self._due = time.monotonic_ns() + self._stream.state.commit_ns

    def commit_due(self) -> bool:
        """Whether the store is to be committed now."""
        return self.commits and time.monotonic_ns() >= self._due

    def commit(self) -> None:
        """Keeps the store; its caller has flushed the outputs, and commits the offsets after."""
        if self.store.dirty:
            self._write("state")
            assert self._kept is not None
            self._kept.flush()
        self.start_commits()

    def _write(self, key: str, only: tuple[int, str] | None = None) -> None:
        assert self._kept is not None
        self._kept.write(key, self.store.stored(self._positions, self._ends, only))

    def finish(self) -> None:
        """At the end: what is under way is kept."""
        if self._kept is None:
            return
        if self._kind != "record" and self.store.dirty:
            self._write("state")
        self._kept.flush()

    def told(self) -> dict[str, Any]:
        """Counters and models as they are now: what HTTP, metrics and the report of the worker read."""
        count = self.slots
        return {
            "instance": self.index,
            "models_received": count[Count.RECEIVED],
            "loaded": count[Count.LOADED],
            "load_failures": count[Count.LOAD_FAILURES],
            "superseded": count[Count.SUPERSEDED],
            "swaps": count[Count.SWAPS],
            "dropped_no_model": count[Count.DROPPED],
            "changelog_bytes": count[Count.CHANGELOG_BYTES],
            "changelog_writes": count[Count.CHANGELOG_WRITES],
            "restored": count[Count.RESTORED],
            "types": self.store.told(),
        }

    def _tell(self, line: str) -> None:
        if self._said < _TOLD:
            self._said += 1
            print(line, file=sys.stderr, flush=True)
