"""The Python engine: poll, and for each record parse, score, encode, produce; one thread, one process a worker.

A poll waits for its first record and takes what else is there, up to `max_poll_records`.  While outputs are not yet
acknowledged the wait is a millisecond, so that delivery callbacks run at least that often; else it is long.  An output
goes to the partition its input came from, which keeps their order.  Offsets are stored after a poll's outputs are
produced and committed every `commit_interval`.

The thread CPU clock is read four times a record, between its sections, and once a poll: 0.2 to 0.4 us each (a system
call), charged to the sections themselves.
"""

from __future__ import annotations

import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

from real.brokers.security import secured
from real.child import Child, RequestLog, main, settle, settled_threads, thread_ids
from real.wire import (
    ACKED,
    ACKED_AT,
    HEADER_KEY,
    INPUT_HEADER,
    OUT_BAD,
    OUT_DROPPED,
    OUT_EXPIRED,
    OUT_FAILED,
    OUT_PRODUCED,
    OUTPUT_HEADER,
    WORKER_ROW,
    Rows,
    Slots,
    Work,
    earlier_rows,
)

_BUSY_S, _IDLE_S = 0.001, 0.2
_FLUSH_S = 60.0  # a broker that is down for a while included
_WORDS = 20  # failures told on stderr


class Worker:
    """One worker process."""

    def __init__(self, child: Child) -> None:
        from models import payload
        from models.scorer import load_scorer
        from scenarios.load import from_resolved

        config = child.config
        self.parse, self.encode, self.payload_error = payload.parse_input, payload.encode_output, payload.PayloadError
        self.child, self.index = child, config["index"]
        self.scenario = from_resolved(config["scenario"])
        self.format = self.scenario.workload.payload.format
        self.topic_in, self.topic_out = config["topic_in"], config["topic_out"]
        model, runtime = self.scenario.model, self.scenario.serving.runtime
        self.models: Any = None  # of a stream of models
        self.server: Any = None  # that scores instead of this process
        if "models_of" in config:
            from real.model_stream.serving import Serving

            told = config["models_of"]
            self.models = Serving(self.scenario, told, self.index, lambda: time.time_ns() - child.t0_ns)
        elif "server" in config:
            from real.servers.scorer import ServerScorer

            self.server = ServerScorer.told(config["server"])
            self.scorer = self.server
        else:
            self.scorer = load_scorer(model, runtime, config["models"], self.scenario.workload.seed)
        self.ahead: Any = None  # calls of a server under way, where there may be several
        if self.server is not None and self.scenario.serving.client.mode == "async":
            from real.servers.ahead import Ahead

            self.ahead = Ahead(self.server.score, self.scenario.serving.client.in_flight)
        self.ends: dict[int, int] = {}  # positions behind what those calls have answered
        self.slots = Slots(config["slots"], config["slot_count"]).values
        rows = Rows(config["rows"], WORKER_ROW, config["row_count"])
        self.side, self.capacity, self.used = rows.buffer, rows.capacity, 0
        #: What an earlier life of this worker, which was killed, has counted: sequence -> outcome.
        self.counted: dict[int, int] = {}
        if config.get("restarted"):
            handled = earlier_rows(config["rows"])
            self.used, self.counted = len(handled), {row[0]: row[6] for row in handled if row[6] != OUT_PRODUCED}
        self.outstanding = 0
        self.told = 0
        self.hold = bool(config["hold"])
        self.requests_in, self.requests_out = RequestLog("Fetch"), RequestLog("Produce")

    def run(self) -> None:
        """The life of a worker."""
        from confluent_kafka import Consumer, Producer

        config = self.child.config
        app, before = threading.get_native_id(), thread_ids()
        self.consumer: Any = Consumer(secured({**config["consumer"], "stats_cb": self.requests_in}))
        self.consumer.list_topics(self.topic_in, timeout=30)
        of_consumer = settled_threads() - before
        self.producer: Any = Producer(secured({**config["producer"], "stats_cb": self.requests_out}))
        self.producer.list_topics(self.topic_out, timeout=30)
        of_producer = settled_threads() - before - of_consumer
        if self.models is not None:
            from real.model_stream.state_http import StateServer, configured_address

            self.models.open()
            instances = Path(config["models_of"]["instances"])
            StateServer(self._told, instances, *configured_address(self.index))
        else:
            self._warm()
        settle()
        self.child.say("ready", app=app, consumer=sorted(of_consumer), producer=sorted(of_producer))
        self.child.order("join").wait()
        if config.get("restarted"):
            self.child.started.wait()  # the load is on: no record is too early
        self._join(config["assignment"])
        self._wait_for_start()
        self._work()
        left = self.producer.flush(10.0)
        if self.models is not None:
            self.models.close()
            self.models.finish()
        committed = self._commit()
        self.child.say(
            "done",
            left=left,
            committed=committed,
            late_threads=sorted(thread_ids() - before - of_consumer - of_producer),
            requests={**self.requests_in.samples, **self.requests_out.samples},
            **({} if self.models is None else {"models": self._told()}),
            **({} if self.server is None else {"calls": self.server.counts()}),
        )
        self.child.stopping.wait()

    def _warm(self) -> None:
        """A few records through parse, score and encode, so that the first of the load is like the others."""
        from models.payload import payload_pool

        for data in payload_pool(self.scenario)[:8]:
            message = self.parse(self.format, data)
            score = self.scorer.score if self.server is None else self.server.warm
            # Other values than the load's: a server's cache would know those already.
            x = message.values if self.server is None else message.values * 0.5
            self.encode(self.format, message, score(x))

    def _join(self, assignment: list[int] | None) -> None:
        from confluent_kafka import TopicPartition

        if assignment is not None:
            self._assigned(self.consumer, [TopicPartition(self.topic_in, p) for p in assignment])
        else:
            self.consumer.subscribe([self.topic_in], on_assign=self._assigned, on_revoke=self._revoked)

    def _assigned(self, consumer: Any, partitions: list[Any]) -> None:
        consumer.assign(partitions)
        if self.hold:
            consumer.pause(partitions)
        self.child.say("assigned", partitions=sorted(p.partition for p in partitions))

    def _revoked(self, _consumer: Any, _partitions: list[Any]) -> None:
        self.child.say("assigned", partitions=[])

    def _wait_for_start(self) -> None:
        """Serves the group until the run starts; a backlog is let through at the start itself."""
        child = self.child
        while not child.started.is_set():
            self._no_record(self.consumer.poll(0.02))
        if self.hold and not child.stopping.is_set():
            time.sleep(max(0.0, (child.t0_ns - time.time_ns()) / 1e9))
            self.hold = False
            self.consumer.resume(self.consumer.assignment())

    def _no_record(self, message: Any) -> None:
        if message is not None and not message.error():
            raise RuntimeError("a record before the run's start")

    def _work(self) -> None:
        from confluent_kafka import TopicPartition

        consumer, producer, slots = self.consumer, self.producer, self.slots
        more = self.scenario.broker.consumer.max_poll_records - 1
        stopping, t0 = self.child.stopping, self.child.t0_ns
        clock, cpu = time.time_ns, time.thread_time_ns
        poll = 0
        if (models := self.models) is not None:
            models.start_commits()
        every_ns = self.scenario.engine.commit_interval_ns if self.scenario.faults and models is None else 0
        commit_at = time.monotonic_ns() + every_ns
        mark = cpu()
        while not stopping.is_set():
            if models is not None:
                if models.commit_due():
                    self._commit_with_state()
                models.between()
                mark = cpu()
            elif every_ns and time.monotonic_ns() >= commit_at:
                self._commit_outputs()
                commit_at = time.monotonic_ns() + every_ns
                mark = cpu()
            if self.ahead is not None:
                mark = self._hand_on()
            first = consumer.poll(_BUSY_S if self.outstanding or self.ahead else _IDLE_S)
            slots[Work.POLLS] += 1
            if first is None:
                slots[Work.POLLS_EMPTY] += 1
                producer.poll(0)
                now = cpu()
                slots[Work.POLL_CPU] += now - mark
                mark = now
                continue
            records = [first, *consumer.consume(more, 0)] if more else [first]
            fetched = clock() - t0
            now = cpu()
            slots[Work.POLL_CPU] += now - mark
            mark = now
            ends: dict[int, int] = {}
            for record in records:
                if record.error():
                    error = record.error()
                    if error.fatal() or not (error.retriable() or error.code() < 0):
                        raise RuntimeError(f"the consumer reports {error}")
                    self._tell(f"the consumer reports {error}")
                    continue
                mark = self._one(record, fetched, poll, mark)
                if self.ahead is None:
                    ends[record.partition()] = record.offset() + 1
                producer.poll(0)
            if ends:
                consumer.store_offsets(offsets=[TopicPartition(self.topic_in, p, end) for p, end in ends.items()])
            poll += 1
        if self.ahead is not None:
            self.ahead.finish()
            self._hand_on()

    def _one(self, record: Any, fetched: int, poll: int, mark: int) -> int:
        """Handles a record; returns the thread CPU clock at its end."""
        slots, cpu, t0 = self.slots, time.thread_time_ns, self.child.t0_ns
        data, partition = record.value() or b"", record.partition()
        headers = record.headers()
        if (models := self.models) is not None and models.waiting:
            models.between()
            mark = cpu()
        if not headers or headers[0][0] != HEADER_KEY or len(headers[0][1]) != INPUT_HEADER.size:
            slots[Work.ALIEN] += 1
            return mark
        sequence, created, sent = INPUT_HEADER.unpack(headers[0][1])
        appended = max(0, record.timestamp()[1] * 1_000_000 - t0)
        slots[Work.RECORDS] += 1
        slots[Work.BYTES_IN] += len(data)
        slots[Work.PART + partition] += len(data)
        fmt = self.format
        try:
            message = self.parse(fmt, data)
        except self.payload_error as error:
            if self._first(sequence, OUT_BAD):
                slots[Work.BAD] += 1
            self._row(sequence, poll, fetched, -1, -1, -1, OUT_BAD)
            self._tell(f"record {sequence} cannot be parsed: {error}")
            return self._section(Work.DECODE_CPU, mark)
        mark = self._section(Work.DECODE_CPU, mark)
        which = ("", 0)
        if models is not None:
            kind = message.record_type or models.only_type
            served = models.current(kind, partition)
            if served is None:
                if self._first(sequence, OUT_DROPPED):
                    models.dropped()
                self._row(sequence, poll, fetched, -1, -1, -1, OUT_DROPPED)
                return self._section(Work.DECODE_CPU, mark)
            self.scorer, which = served.model.scorer, served.model.which
        known = (sequence, created, sent, appended, fetched)
        if self.ahead is not None:
            charged = slots[Work.ENCODE_CPU] + slots[Work.PRODUCE_CPU]  # by the answers that are handed on meanwhile
            self.ahead.put(message.values, partial(self._answered, message, known, poll, partition, record.offset()))
            now = cpu()
            slots[Work.SCORE_CPU] += now - mark - (slots[Work.ENCODE_CPU] + slots[Work.PRODUCE_CPU] - charged)
            return now
        begin = time.time_ns() - t0
        try:
            prediction = self.scorer.score(message.values)
        except Exception as error:  # noqa: BLE001 - whatever a runtime raises is the record's failure, counted as such
            self._unscored(error, sequence, poll, fetched, begin, time.time_ns() - t0)
            return self._section(Work.SCORE_CPU, mark)
        end = time.time_ns() - t0
        mark = self._section(Work.SCORE_CPU, mark)
        if models is not None:
            models.scored(served, kind, partition, record.offset(), end - begin)
        return self._out(message, prediction, which, (*known, begin, end, self.index, poll), partition, mark)

    def _out(
        self, message: Any, prediction: Any, which: tuple[str, int], stamps: tuple[int, ...], partition: int, mark: int
    ) -> int:
        """Encodes and produces an output; returns the thread CPU clock at its end.

        Args:
            message: The input.
            prediction: Its score.
            which: The model's name and version.
            stamps: What the output's header says.
            partition: Of input and output.
            mark: The thread CPU clock.
        """
        slots, cpu = self.slots, time.thread_time_ns
        sequence, _, _, _, fetched, begin, end, _, poll = stamps
        value = self.encode(self.format, message, prediction, which)
        mark = self._section(Work.ENCODE_CPU, mark)
        header = OUTPUT_HEADER.pack(*stamps)
        produced = time.time_ns() - self.child.t0_ns
        row = self._row(sequence, poll, fetched, begin, end, produced, OUT_PRODUCED)
        self._produce(value, partition, [(HEADER_KEY, header)], partial(self._acknowledged, row))
        self.outstanding += 1
        slots[Work.POINTS] += message.points
        slots[Work.BYTES_OUT] += len(value)
        now = cpu()
        slots[Work.PRODUCE_CPU] += now - mark
        return now

    def _unscored(self, error: Exception, sequence: int, poll: int, fetched: int, begin: int, end: int) -> None:
        """Counts a record that got no score; one that a server did not answer in time has expired."""
        outcome = OUT_EXPIRED if getattr(error, "expired", False) else OUT_FAILED
        if self._first(sequence, outcome):
            self.slots[Work.FAILED] += 1
        self._row(sequence, poll, fetched, begin, end, -1, outcome)
        self._tell(f"record {sequence} cannot be scored: {error}")

    def _hand_on(self) -> int:
        """Outputs of the calls whose turn it is; then the positions behind them may be committed.

        Returns the thread CPU clock at its end.
        """
        from confluent_kafka import TopicPartition

        self.ahead.hand_on()
        if self.ends:
            ends = [TopicPartition(self.topic_in, p, end) for p, end in self.ends.items()]
            self.ends.clear()
            self.consumer.store_offsets(offsets=ends)
        return time.thread_time_ns()

    def _answered(
        self, message: Any, known: tuple[int, ...], poll: int, partition: int, offset: int, answer: Any
    ) -> None:
        """A call of several under way is answered, and all before it are."""
        t0 = self.child.t0_ns
        begin, end = answer.begin_ns - t0, answer.end_ns - t0
        if answer.error is not None:
            self._unscored(answer.error, known[0], poll, known[4], begin, end)
        else:
            stamps = (*known, begin, end, self.index, poll)
            self._out(message, answer.scores, ("", 0), stamps, partition, time.thread_time_ns())
        self.ends[partition] = offset + 1

    def _first(self, sequence: int, outcome: int) -> bool:
        """Whether no earlier life of this worker has counted a record's outcome."""
        return not self.counted or self.counted.get(sequence) != outcome

    def _section(self, slot: int, mark: int) -> int:
        now = time.thread_time_ns()
        self.slots[slot] += now - mark
        return now

    def _produce(self, value: bytes, partition: int, headers: list[tuple[str, bytes]], report: Any) -> None:
        while True:
            try:
                self.producer.produce(self.topic_out, value, partition=partition, headers=headers, on_delivery=report)
                return
            except BufferError:
                self.producer.poll(0.001)

    def _row(self, sequence: int, poll: int, fetched: int, begin: int, end: int, produced: int, outcome: int) -> int:
        row = self.used
        if row >= self.capacity:
            return -1  # records handled twice beyond any reason; the outputs still tell
        self.used += 1
        WORKER_ROW.pack_into(
            self.side, row * WORKER_ROW.size, sequence, poll, fetched, begin, end, produced, outcome, -1
        )
        return row

    def _acknowledged(self, row: int, error: Any, _message: Any) -> None:
        now = time.time_ns() - self.child.t0_ns
        self.outstanding -= 1
        if error is not None:
            self.slots[Work.REFUSED] += 1
            self._tell(f"the broker refused an output: {error}")
            return
        self.slots[Work.ACKED] += 1
        if row >= 0:
            ACKED.pack_into(self.side, row * WORKER_ROW.size + ACKED_AT, now)

    def _commit(self) -> dict[str, int]:
        """Commits what is stored; returns the committed position of each partition of its own."""
        own = self.consumer.assignment()
        self._commit_stored()
        found = self.consumer.committed(own, timeout=10) if own else []
        return {str(each.partition): max(0, each.offset) for each in found}

    def _commit_stored(self) -> None:
        from confluent_kafka import KafkaException

        try:
            self.consumer.commit(asynchronous=False)
        except KafkaException as error:
            if error.args[0].name() != "_NO_OFFSET":
                raise

    def _commit_with_state(self) -> None:
        """Outputs, then the models' state, then the offsets: what is read again after a death was not counted."""
        self._flush()
        self.models.commit()
        self._commit()

    def _commit_outputs(self) -> None:
        """Outputs, then offsets, where a worker may be killed: the client alone would commit what is not out yet.

        A broker that does not answer now is asked again at the next commit.
        """
        from confluent_kafka import KafkaException

        self._flush()
        try:
            self._commit_stored()
        except KafkaException as error:
            if error.args[0].fatal() or not (error.args[0].retriable() or error.args[0].code() < 0):
                raise
            self._tell(f"offsets are not committed: {error.args[0].str()}")

    def _flush(self) -> None:
        left = self.producer.flush(_FLUSH_S)
        if left:
            raise RuntimeError(f"{left} outputs are not acknowledged after {_FLUSH_S:.0f} s")

    def _told(self) -> dict[str, Any]:
        """Of the models, and of the records that the worker counts."""
        return {**self.models.told(), "records": self.slots[Work.RECORDS], "bad": self.slots[Work.BAD]}

    def _tell(self, line: str) -> None:
        if self.told < _WORDS:
            self.told += 1
            print(line, file=sys.stderr, flush=True)


def _body(child: Child) -> None:
    Worker(child).run()


if __name__ == "__main__":
    main(_body)
