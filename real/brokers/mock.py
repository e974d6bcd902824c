"""librdkafka's mock cluster, inside the harness' own process: for tests and for a machine without Java.

No ground for measurements: it stamps nothing (the collector's clock stands in), and keeps only about 5 MB of a
partition, dropping older records it has acknowledged.  A run whose backlog comes near that is ended as INVALID.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from real.brokers.base import Broker
from real.child import settled_threads, thread_ids
from real.errors import BrokerError
from real.processes import Supervisor
from real.procfs import Times, threads
from scenarios import spec

BACKLOG_LIMIT_BYTES = 4_000_000
FETCH_WAIT_MS = 5
_PARTITIONS = 4


def make(settings: spec.Broker, supervisor: Supervisor, say: Callable[[str], None]) -> Broker:
    """See `real.brokers.make`."""
    return Mock()


class Mock(Broker):
    """See the module."""

    kind = "mock"
    append_clock = "collector"
    groups = False  # a join takes its fixed 3 s
    backlog_limit_bytes = BACKLOG_LIMIT_BYTES
    max_partitions = _PARTITIONS

    def __init__(self) -> None:
        super().__init__()
        self._cluster: Any = None
        self._threads: set[int] = set()
        self._address = ""

    @property
    def bootstrap(self) -> str:
        """See `Broker.bootstrap`."""
        return self._address

    def start(self) -> None:
        """See `Broker.start`."""
        from confluent_kafka import KafkaException, Producer, libversion

        before = thread_ids()
        self._cluster = Producer({"test.mock.num.brokers": 1, "log_level": 0})
        try:
            known = self._cluster.list_topics(timeout=10).brokers
        except KafkaException as error:
            raise BrokerError(f"the mock cluster does not answer: {error.args[0].str()}") from error
        self._address = ",".join(str(each).rpartition("/")[0] or f"{each.host}:{each.port}" for each in known.values())
        self._threads = settled_threads() - before
        self.version = f"librdkafka {libversion()[0]} mock"

    def stop(self) -> None:
        """See `Broker.stop`."""
        self._admin_client = None
        self._cluster = None

    def threads(self, *, wakeups: bool = True) -> dict[int, Times] | None:
        """See `Broker.threads`."""
        own = threads(os.getpid(), wakeups=wakeups)
        return {tid: times for tid, times in own.items() if tid in self._threads}

    def client_overrides(self) -> dict[str, Any]:
        """See `Broker.client_overrides`."""
        return {"fetch.wait.max.ms": FETCH_WAIT_MS}

    def create_topics(self, names: Sequence[str], partitions: int) -> None:
        """See `Broker.create_topics`."""
        from confluent_kafka import KafkaException

        end = time.monotonic() + 10
        for name in names:
            while time.monotonic() < end:  # a topic comes into being when it is asked for
                try:
                    topic = self._cluster.list_topics(name, timeout=2).topics[name]
                except KafkaException:
                    continue
                if len(topic.partitions) >= partitions:
                    break
                time.sleep(0.02)
            else:
                raise BrokerError(f"the mock cluster did not make topic {name}")

    def delete_topics(self, names: Sequence[str]) -> None:
        """See `Broker.delete_topics`."""
        return  # it cannot; the next run's topics have other names
