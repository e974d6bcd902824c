"""The load generator: sends each record when it is due, on an absolute schedule.

A record's `created` is the time it was due, whatever the generator did; when it falls behind, the records that are
due are sent at once and `sent` tells how late.  Between records it sleeps (no busy waiting: it would take a core from
what is measured), with timers exact to a microsecond.  A backlog is sent before the run's start, as fast as it goes,
and reported once every record of it is acknowledged; its stamps read 0, as they lie before the start.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import Any

from real.brokers.security import secured
from real.child import Child, RequestLog, exact_timers, main, settle, settled_threads
from real.wire import ACK_AT, ACK_ROW, ACKNOWLEDGED, GENERATOR_ROW, HEADER_KEY, INPUT_HEADER, REFUSED, Gen, Rows, Slots

_NAP_S = 0.1  # longest sleep between two services of the delivery reports
_POISON = 3  # a poisoned payload is cut to this many bytes


class Generator:
    """One producer of the load: the records r of the schedule with r % producers == index."""

    def __init__(self, child: Child) -> None:
        import numpy as np

        from models.payload import payload_pool
        from scenarios.load import from_resolved

        config = child.config
        self.child, self.index, self.topic = child, config["index"], config["topic"]
        self.scenario = from_resolved(config["scenario"])
        workload = self.scenario.workload
        due = np.load(config["schedule"], mmap_mode="r")
        partition = np.load(config["partition"], mmap_mode="r")
        mine = np.arange(config["index"], len(due), workload.producers)
        self.sequences, self.due, self.partitions = mine.tolist(), due[mine].tolist(), partition[mine].tolist()
        self.backlog = int(np.count_nonzero(mine < workload.backlog_records))
        self.slots = Slots(config["slots"], config["slot_count"]).values
        self.rows = Rows(config["rows"], GENERATOR_ROW, len(mine)).buffer
        self.pool = payload_pool(self.scenario)
        places = mine  # in the pool, begun again at its end
        if workload.payload.format == "protobuf":
            from models.records import pool_places

            places = pool_places(self.scenario, len(self.pool), len(due))[mine]
        elif self.scenario.serving.cache is not None:  # what the records ask about
            from scenarios.keys import keys_of

            cache = self.scenario.serving.cache
            keys = replace(workload, payload=replace(workload.payload, pool=cache.keys))
            self.pool = payload_pool(replace(self.scenario, workload=keys))
            places = keys_of(workload.seed, len(due), cache.keys, cache.skew)[mine]
        self.places = places.tolist()
        self.poison = frozenset([*config["poison"], *workload.payload.poison])
        self.requests = RequestLog("Produce")
        self.each = workload.payload.serialise == "each"

    def run(self) -> None:
        """The life of a generator."""
        from confluent_kafka import Producer

        self.producer: Any = Producer(secured({**self.child.config["producer"], "stats_cb": self.requests}))
        self.producer.list_topics(self.topic, timeout=30)
        if self.child.config["preload"]:
            self.child.order("preload").wait()
            self._backlog()
            self.child.say("preloaded", records=self.backlog)
        exact_timers()
        settle()
        self.child.say("ready", app=_own_thread(), client=sorted(settled_threads() - {_own_thread()}))
        self.child.started.wait()
        self._load()
        left = self.producer.flush(30.0)
        self.child.say("sent", left=left)
        while not self.child.stopping.wait(0.05):
            self.producer.poll(0)
        self.producer.poll(0)
        self.child.say("done", requests=self.requests.samples)

    def _backlog(self) -> None:
        for i in range(self.backlog):
            self._send(i, 0, 0)
            self.producer.poll(0)
        while self.producer.flush(1.0) and not self.child.stopping.is_set():
            continue
        refused = self.slots[Gen.REFUSED]
        if refused:
            raise RuntimeError(f"the broker refused {refused} records of the backlog")

    def _load(self) -> None:
        t0, due, slots, serve = self.child.t0_ns, self.due, self.slots, self.producer.poll
        stopping = self.child.stopping
        for i in range(self.backlog, len(due)):
            at = due[i]
            now = time.time_ns() - t0
            while now < at:
                slots[Gen.SLEEPS] += 1
                time.sleep(min((at - now) / 1e9, _NAP_S))
                serve(0)
                now = time.time_ns() - t0
            self._send(i, at, now)
            serve(0)
            if stopping.is_set():
                return

    def _send(self, i: int, created: int, sent: int) -> None:
        sequence, partition, slots = self.sequences[i], self.partitions[i], self.slots
        value = self._payload(i, created)
        header = [(HEADER_KEY, INPUT_HEADER.pack(sequence, created, sent))]
        size = len(value)
        GENERATOR_ROW.pack_into(self.rows, i * GENERATOR_ROW.size, sent, 0, -1, -1)
        report = partial(self._acknowledged, i, partition, size)
        while True:
            try:
                self.producer.produce(self.topic, value, partition=partition, headers=header, on_delivery=report)
                break
            except BufferError:  # the client's queue is full: wait for room, as a blocking client would
                slots[Gen.QUEUE_FULL] += 1
                self.producer.poll(0.001)
        slots[Gen.RECORDS] += 1
        slots[Gen.BYTES] += size

    def _payload(self, i: int, created: int) -> bytes:
        sequence = self.sequences[i]
        value = self.pool[self.places[i] % len(self.pool)]
        if self.each:
            from models.payload import encode_input, parse_input, restamp

            fmt = self.scenario.workload.payload.format
            stamp = (self.child.t0_ns + created) // 1_000_000
            if fmt == "protobuf":  # its type stays
                value = restamp(fmt, value, stamp)
            else:
                value = encode_input(fmt, parse_input(fmt, value).values, stamp)
        return bytes(value[:_POISON] if sequence in self.poison else value)

    def _acknowledged(self, i: int, partition: int, size: int, error: Any, message: Any) -> None:
        if error is not None:
            self.slots[Gen.REFUSED] += 1
            ACK_ROW.pack_into(self.rows, i * GENERATOR_ROW.size + ACK_AT, REFUSED, -1, -1)
            return
        kind, stamp = message.timestamp()
        ACK_ROW.pack_into(
            self.rows, i * GENERATOR_ROW.size + ACK_AT, ACKNOWLEDGED, message.offset(), stamp if kind == 2 else -1
        )
        self.slots[Gen.ACKED] += 1
        self.slots[Gen.PART + partition] += size


def _own_thread() -> int:
    import threading

    return threading.get_native_id()


def _body(child: Child) -> None:
    Generator(child).run()


if __name__ == "__main__":
    main(_body)
