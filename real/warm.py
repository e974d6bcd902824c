"""Warms a broker until it is hot: its CPU per record of two successive windows within 5 %.

A broker just started compiles its hot paths while it serves; a run made then measures the compiler.  So a paced stream
of records passes through it, a producer and a consumer in the harness, window by window.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

from real import settings
from real.brokers.base import Broker
from real.processes import Supervisor
from real.procfs import total
from scenarios import spec

WARM_S = 20.0
HOT_WITHIN = 0.05
_WINDOW_S, _RATE_PER_S, _BYTES = 2.0, 1000, 8192


def warm(
    broker: Broker,
    supervisor: Supervisor,
    scenario_settings: spec.Broker,
    limit_s: float,
    progress: Callable[[str, float | None], None],
) -> tuple[list[float], bool]:
    """Warms the broker.

    Args:
        broker: A started one, of a known process.
        supervisor: Notices if it dies.
        scenario_settings: Client settings to warm it with.
        limit_s: After this it is as warm as it gets.
        progress: Told of each window.

    Returns:
        CPU microseconds per record (in and out once) of each window, and whether the last two agree.

    Raises:
        ChildDiedError: The broker died.
    """
    from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

    topic = f"weir-warm-{uuid.uuid4().hex[:6]}"
    broker.create_topics([topic], 1)
    quiet = {"log_level": 0, "statistics.interval.ms": 0}
    producer = Producer({**settings.producer(broker.bootstrap, scenario_settings.producer), **quiet})
    consumer = Consumer({**settings.consumer(broker.bootstrap, scenario_settings.consumer, topic), **quiet})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    windows: list[float] = []
    end = time.monotonic() + limit_s
    value = bytes(range(256)) * (_BYTES // 256)
    try:
        while time.monotonic() < end:
            before, began, sent = _cpu_ns(broker), time.monotonic(), 0
            while (elapsed := time.monotonic() - began) < _WINDOW_S:
                while sent < elapsed * _RATE_PER_S:
                    producer.produce(topic, value, partition=0)
                    sent += 1
                producer.poll(0)
                consumer.consume(500, 0)
                time.sleep(0.001)
            supervisor.check()
            windows.append((_cpu_ns(broker) - before) / max(1, sent) / 1000)
            progress(f"warming the broker: {windows[-1]:.0f} us CPU per record", None)
            if len(windows) > 1 and abs(windows[-1] / windows[-2] - 1) < HOT_WITHIN:
                return windows, True
        return windows, False
    finally:
        producer.flush(10)
        consumer.close()
        broker.delete_topics([topic])


def _cpu_ns(broker: Broker) -> int:
    return total(broker.threads(wakeups=False) or {}).cpu_ns
