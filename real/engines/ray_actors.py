"""The actors of the engine ray: a source reads and parses, a scoring actor scores, a sink encodes and writes.

Each handles one record at a time.  A record is a call of the next actor; no more than `mailbox` calls of one actor are
under way, and whoever would make one more waits for the oldest: a slow sink holds up scoring, and that the source.
Calls from one actor to another are carried out in order, so records keep theirs.

The three of a replica share its counters, its side file (a row a record, numbered by the source) and a few slots more:
by these the driver says when to start and stop, and the sink how far it is.  An offset is stored when its record is
done with.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from enum import IntEnum
from importlib import import_module
from typing import Any

from real.child import RequestLog, settled_threads, thread_ids
from real.wire import (
    ACKED,
    ACKED_AT,
    HEADER_KEY,
    INPUT_HEADER,
    OUT_BAD,
    OUT_EXPIRED,
    OUT_FAILED,
    OUT_PRODUCED,
    OUTPUT_HEADER,
    WORKER_ROW,
    Rows,
    Slots,
    Work,
)

_IDLE_S = 0.2
_LAST_STATISTICS_S = 0.3

#: row, sequence, created, sent, appended, fetched, poll, partition
Known = tuple[int, int, int, int, int, int, int, int]


class Turn(IntEnum):
    """Slots that the driver and the actors of a replica share."""

    T0 = 0  # the run's start, real-time clock; 0: not yet
    STOP = 1
    ASSIGNED = 2  # the source has its partitions
    DONE = 3  # rows before this one are done with
    SIZE = 4


class Actor:
    """What the three have in common."""

    def __init__(self, config: dict[str, Any]) -> None:
        from models import payload
        from scenarios.load import from_resolved

        self.config, self.index = config, config["index"]
        self.parse, self.encode, self.payload_error = payload.parse_input, payload.encode_output, payload.PayloadError
        self.scenario = from_resolved(config["scenario"])
        self.format = self.scenario.workload.payload.format
        self.slots = Slots(config["slots"], config["slot_count"]).values
        self.turn = Slots(config["turn"], Turn.SIZE).values
        rows = Rows(config["rows"], WORKER_ROW, config["row_count"])
        self.side, self.capacity = rows.buffer, rows.capacity
        self.app, self.client = threading.get_native_id(), list[int]()
        self.ray: Any = import_module("ray")
        self.bound = self.scenario.engine.mailbox
        self.called: deque[Any] = deque()

    def about(self) -> dict[str, Any]:
        """Its process, its own thread and those of its client."""
        return {"pid": os.getpid(), "app": self.app, "client": self.client}

    def now(self) -> int:
        """Nanoseconds since the run's start."""
        return time.time_ns() - int(self.turn[Turn.T0])

    def row(self, row: int, sequence: int, poll: int, stamps: tuple[int, int, int, int], outcome: int) -> None:
        """Writes a record's row: fetched, score_begin, score_end, produced."""
        if row < self.capacity:
            WORKER_ROW.pack_into(self.side, row * WORKER_ROW.size, sequence, poll, *stamps, outcome, -1)

    def hand(self, method: Any, *what: Any) -> None:
        """Calls the next actor once there is room before it."""
        if (self.bound and len(self.called) >= self.bound) or (
            not self.bound and len(self.called) > 1 and self.ray.wait([self.called[0]], timeout=0)[0]
        ):
            self.ray.get(self.called.popleft())
        self.called.append(method.remote(*what))

    def handed(self) -> None:
        """Waits until every call is carried out."""
        while self.called:
            self.ray.get(self.called.popleft())

    def section(self, slot: int, mark: int) -> int:
        """Charges the CPU since `mark` to a counter; returns the thread CPU clock."""
        now = time.thread_time_ns()
        self.slots[slot] += now - mark
        return now


class Source(Actor):
    """Reads its partitions."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        from confluent_kafka import Consumer

        self.requests = RequestLog("Fetch")
        before = thread_ids()
        self.consumer: Any = Consumer({**config["consumer"], "stats_cb": self.requests})
        self.consumer.list_topics(config["topic_in"], timeout=30)
        self.client = sorted(settled_threads() - before)
        self.pending: deque[tuple[int, int, int]] = deque()
        self.used = 0

    def run(self, scoring: Any) -> dict[str, Any]:
        """Reads from the start to the stop; returns what was committed, and its requests."""
        from confluent_kafka import TopicPartition

        consumer, turn, topic = self.consumer, self.turn, self.config["topic_in"]
        own = [TopicPartition(topic, p) for p in self.config["assignment"]]
        consumer.assign(own)
        if self.config["hold"]:
            consumer.pause(own)
        turn[Turn.ASSIGNED] = 1
        while not turn[Turn.T0] and not turn[Turn.STOP]:
            message = consumer.poll(0.02)
            if message is not None and not message.error():
                raise RuntimeError("a record before the run's start")
        if self.config["hold"] and not turn[Turn.STOP]:
            time.sleep(max(0.0, -self.now() / 1e9))
            consumer.resume(own)
        self._read(scoring)
        self.handed()
        self.ray.get(scoring.finish.remote())
        self._store(self.used)
        return {"committed": self._commit(own), "requests": self.requests.samples}

    def _read(self, scoring: Any) -> None:
        consumer, slots, turn = self.consumer, self.slots, self.turn
        more = self.scenario.broker.consumer.max_poll_records - 1
        poll, mark = 0, time.thread_time_ns()
        while not turn[Turn.STOP]:
            first = consumer.poll(_IDLE_S)
            slots[Work.POLLS] += 1
            if first is None:
                slots[Work.POLLS_EMPTY] += 1
                mark = self.section(Work.POLL_CPU, mark)
                self._store(turn[Turn.DONE])
                continue
            records = [first, *consumer.consume(more, 0)] if more else [first]
            fetched = self.now()
            self.section(Work.POLL_CPU, mark)
            for record in records:
                if turn[Turn.STOP]:
                    break  # read again by whoever comes next: its offset is not stored
                if (error := record.error()) is None:
                    self._one(record, fetched, poll, scoring)
                elif error.fatal() or not (error.retriable() or error.code() < 0):
                    raise RuntimeError(f"the consumer reports {error}")
            self._store(turn[Turn.DONE])
            poll, mark = poll + 1, time.thread_time_ns()

    def _one(self, record: Any, fetched: int, poll: int, scoring: Any) -> None:
        slots, mark = self.slots, time.thread_time_ns()
        data, partition, headers = record.value() or b"", record.partition(), record.headers()
        if not headers or headers[0][0] != HEADER_KEY or len(headers[0][1]) != INPUT_HEADER.size:
            slots[Work.ALIEN] += 1
            return
        sequence, created, sent = INPUT_HEADER.unpack(headers[0][1])
        appended = max(0, record.timestamp()[1] * 1_000_000 - int(self.turn[Turn.T0]))
        slots[Work.RECORDS] += 1
        slots[Work.BYTES_IN] += len(data)
        slots[Work.PART + partition] += len(data)
        row, self.used = self.used, self.used + 1
        self.pending.append((row, partition, record.offset()))
        try:
            message = self.parse(self.format, data)
        except self.payload_error:
            slots[Work.BAD] += 1
            self.row(row, sequence, poll, (fetched, -1, -1, -1), OUT_BAD)
            self.section(Work.DECODE_CPU, mark)
            return
        self.section(Work.DECODE_CPU, mark)
        known: Known = (row, sequence, created, sent, appended, fetched, poll, partition)
        self.hand(scoring.take, known, message)

    def _store(self, done: int) -> None:
        """Lets the offsets of what is done be committed."""
        from confluent_kafka import TopicPartition

        ends: dict[int, int] = {}
        while self.pending and self.pending[0][0] < done:
            _, partition, offset = self.pending.popleft()
            ends[partition] = offset + 1
        if ends:
            topic = self.config["topic_in"]
            self.consumer.store_offsets(offsets=[TopicPartition(topic, p, end) for p, end in ends.items()])

    def _commit(self, own: list[Any]) -> dict[str, int]:
        from confluent_kafka import KafkaException

        try:
            self.consumer.commit(asynchronous=False)
        except KafkaException as error:
            if error.args[0].name() != "_NO_OFFSET":
                raise
        found = self.consumer.committed(own, timeout=10) if own else []
        return {str(each.partition): max(0, each.offset) for each in found}


class Scoring(Actor):
    """Scores records, or has a server score them."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        from models.payload import payload_pool
        from models.scorer import load_scorer

        self.server: Any = None
        if "server" in config:
            from real.servers.scorer import ServerScorer

            self.scorer: Any = ServerScorer.told(config["server"])
            self.server = self.scorer
        else:
            scenario = self.scenario
            self.scorer = load_scorer(
                scenario.model, scenario.serving.runtime, config["models"], scenario.workload.seed
            )
        score = self.scorer.score if self.server is None else self.server.warm
        for data in payload_pool(self.scenario)[:8]:  # the first of the load is like the others
            values = self.parse(self.format, data).values
            score(values if self.server is None else values * 0.5)

    def follow(self, sink: Any) -> None:
        """Who takes what is scored."""
        self.sink = sink

    def take(self, known: Known, message: Any) -> None:
        """Scores a record and hands it on."""
        mark, begin = time.thread_time_ns(), self.now()
        row, sequence, *_, fetched, poll, _ = known
        try:
            prediction = self.scorer.score(message.values)
        except Exception as error:  # noqa: BLE001 - whatever a runtime raises is the record's failure, counted as such
            outcome = OUT_EXPIRED if getattr(error, "expired", False) else OUT_FAILED
            self.slots[Work.FAILED] += 1
            self.row(row, sequence, poll, (fetched, begin, self.now(), -1), outcome)
            self.section(Work.SCORE_CPU, mark)
            return
        end = self.now()
        self.slots[Work.POINTS] += message.points
        self.section(Work.SCORE_CPU, mark)
        self.hand(self.sink.take, known, message, prediction, begin, end)

    def finish(self) -> None:
        """Waits until the sink is done with everything."""
        self.handed()

    def counts(self) -> dict[str, int] | None:
        """Of the calls of a server, where there is one."""
        return None if self.server is None else self.server.counts()


class Sink(Actor):
    """Writes one record, and waits until it is acknowledged."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        from confluent_kafka import Producer

        self.requests = RequestLog("Produce")
        before = thread_ids()
        self.producer: Any = Producer({**config["producer"], "stats_cb": self.requests})
        self.producer.list_topics(config["topic_out"], timeout=30)
        self.client = sorted(settled_threads() - before)
        self.answered: Any = None

    def take(self, known: Known, message: Any, prediction: Any, begin: int, end: int) -> None:
        """Encodes and writes a record."""
        slots, mark = self.slots, time.thread_time_ns()
        row, sequence, created, sent, appended, fetched, poll, partition = known
        value = self.encode(self.format, message, prediction, ("", 0))
        mark = self.section(Work.ENCODE_CPU, mark)
        header = OUTPUT_HEADER.pack(sequence, created, sent, appended, fetched, begin, end, self.index, poll)
        produced = self.now()
        self.row(row, sequence, poll, (fetched, begin, end, produced), OUT_PRODUCED)
        self.answered = None
        self.producer.produce(
            self.config["topic_out"], value, partition=partition, headers=[(HEADER_KEY, header)], on_delivery=self._told
        )
        while self.answered is None:
            self.producer.poll(_IDLE_S)
        slots[Work.BYTES_OUT] += len(value)
        acked, error = self.answered
        if error is None:
            if row < self.capacity:
                ACKED.pack_into(self.side, row * WORKER_ROW.size + ACKED_AT, acked)
            slots[Work.ACKED] += 1
        else:
            slots[Work.REFUSED] += 1
        self.turn[Turn.DONE] = row + 1
        self.section(Work.PRODUCE_CPU, mark)

    def _told(self, error: Any, _message: Any) -> None:
        self.answered = (self.now(), error)

    def finish(self) -> dict[str, Any]:
        """Its requests."""
        left = self.producer.flush(10.0)
        if left:
            raise RuntimeError(f"{left} outputs are not acknowledged after 10 s")
        self.producer.poll(_LAST_STATISTICS_S)
        return dict(self.requests.samples)
