"""The process of a run that sends its models, each when it is due.

A message's `at` is counted from the run's start.  What was sent, and where the broker put it, is kept in a side file.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from real.brokers.security import secured
from real.child import Child, RequestLog, exact_timers, main, settle
from real.model_stream.prepare import CONTENT_FILE, INDEX_FILE
from real.model_stream.wire import SENT
from real.wire import Rows

_NAP_S = 0.1


class Publisher:
    """See the module."""

    def __init__(self, child: Child) -> None:
        self.child, config = child, child.config
        folder = Path(config["prepared"])
        self._plan = orjson.loads((folder / INDEX_FILE).read_bytes())
        self._content = (folder / CONTENT_FILE).read_bytes()
        self._rows = Rows(config["rows"], SENT, len(self._plan)).buffer
        self._requests = RequestLog("Produce")
        self._refused = 0

    def run(self) -> None:
        """The life of the publisher."""
        from confluent_kafka import Producer

        config, child = self.child.config, self.child
        producer: Any = Producer(secured({**config["producer"], "stats_cb": self._requests}))
        producer.list_topics(config["topic"], timeout=30)
        exact_timers()
        settle()
        child.say("ready")
        child.started.wait()
        for i, entry in enumerate(self._plan):
            while (left := entry["at"] - (time.time_ns() - child.t0_ns)) > 0 and not child.stopping.is_set():
                time.sleep(min(left / 1e9, _NAP_S))
                producer.poll(0)
            if child.stopping.is_set():
                break
            data = self._content[entry["from"] : entry["from"] + entry["size"]]
            now = time.time_ns() - child.t0_ns
            SENT.pack_into(self._rows, i * SENT.size, entry["at"], now, -1, len(data))
            report = partial(self._acknowledged, i, entry["at"], now, len(data))
            producer.produce(config["topic"], data, partition=entry["partition"], on_delivery=report)
            producer.poll(0)
        left = producer.flush(10.0)
        if left or self._refused:
            raise RuntimeError(f"{left} model messages are not acknowledged, {self._refused} were refused")
        child.say("sent", left=left)
        child.stopping.wait()
        child.say("done", requests=self._requests.samples)

    def _acknowledged(self, i: int, at: int, sent: int, size: int, error: Any, message: Any) -> None:
        if error is not None:
            self._refused += 1
            return
        SENT.pack_into(self._rows, i * SENT.size, at, sent, message.offset(), size)


def _body(child: Child) -> None:
    Publisher(child).run()


if __name__ == "__main__":
    main(_body)
