"""The collector: reads the output topic and keeps, of each output, its stamps and the time it was appended.

Where the broker does not stamp, the time the collector received the output stands in.  It counts how many different
records came out, so that the harness knows when a run is drained.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

from real.brokers.security import secured
from real.child import Child, RequestLog, main, settle, settled_threads
from real.wire import COLLECTOR_ROW, HEADER_KEY, OUTPUT_HEADER, Coll, Slots

_WAIT_S = 0.1
_FLUSH_ROWS = 10_000
_MORE = 999  # records taken beyond the first when they are there


class Collector:
    """The collector process."""

    def __init__(self, child: Child) -> None:
        config = child.config
        self.child, self.topic = child, config["topic"]
        self.slots = Slots(config["slots"], config["slot_count"]).values
        self.broker_stamps = config["append_clock"] == "broker"
        self.seen = bytearray(config["records"])
        self.rows = bytearray()
        self.requests = RequestLog("Fetch")

    def run(self) -> None:
        """The life of the collector."""
        from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

        config = self.child.config
        self.consumer: Any = Consumer(secured({**config["consumer"], "stats_cb": self.requests}))
        self.consumer.list_topics(self.topic, timeout=30)
        self.consumer.assign([TopicPartition(self.topic, p, OFFSET_BEGINNING) for p in range(config["partitions"])])
        self.consumer.poll(0)
        settle()
        app = threading.get_native_id()
        self.child.say("ready", app=app, consumer=sorted(settled_threads() - {app}))
        with Path(config["rows"]).open("wb", buffering=0) as file:
            self._collect(file)
            file.write(self.rows)
        self.child.say("done", requests=self.requests.samples)

    def _collect(self, file: Any) -> None:
        consumer, slots, stopping = self.consumer, self.slots, self.child.stopping
        limit = _FLUSH_ROWS * COLLECTOR_ROW.size
        while not stopping.is_set():
            first = consumer.poll(_WAIT_S)
            slots[Coll.POLLS] += 1
            if first is None:
                slots[Coll.POLLS_EMPTY] += 1
                continue
            received = time.time_ns()
            self._take(first, received)
            for record in consumer.consume(_MORE, 0):
                self._take(record, received)
            if len(self.rows) >= limit:
                file.write(self.rows)
                self.rows.clear()

    def _take(self, record: Any, received: int) -> None:
        slots = self.slots
        error = record.error()
        if error:
            if error.fatal():
                raise RuntimeError(f"the consumer reports {error}")
            print(f"the consumer reports {error}", file=sys.stderr, flush=True)
            return
        headers = record.headers()
        if not headers or headers[0][0] != HEADER_KEY or len(headers[0][1]) != OUTPUT_HEADER.size:
            slots[Coll.ALIEN] += 1
            return
        stamps = OUTPUT_HEADER.unpack(headers[0][1])
        out = (record.timestamp()[1] * 1_000_000 if self.broker_stamps else received) - self.child.t0_ns
        size, partition, sequence = len(record), record.partition(), stamps[0]
        self.rows += COLLECTOR_ROW.pack(*stamps, partition, out)
        slots[Coll.RECORDS] += 1
        slots[Coll.BYTES] += size
        slots[Coll.PART + partition] += size
        if 0 <= sequence < len(self.seen) and not self.seen[sequence]:
            self.seen[sequence] = 1
            slots[Coll.UNIQUE] += 1


def _body(child: Child) -> None:
    Collector(child).run()


if __name__ == "__main__":
    main(_body)
