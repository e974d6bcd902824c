"""What the scenario says of its clients, in librdkafka's words; the one place where client properties are set.

A latency of whole milliseconds is at stake, so what would add one is named here: Nagle's algorithm is off (the
client's default in 2.x, said aloud), and statistics come often enough to place requests inside a window.
"""

from __future__ import annotations

from typing import Any

from scenarios.spec import MS_NS, ConsumerSettings, ProducerSettings

#: How often a client reports its request counts; the counts at a window's edge lie between two reports.
STATISTICS_MS = 250
#: A record is at most so large, for clients and topics: Crayfish's own setting.
RECORD_BYTES = 52_428_800

Config = dict[str, Any]


def common(bootstrap: str) -> Config:
    """Properties of every client."""
    return {
        "bootstrap.servers": bootstrap,
        "socket.nagle.disable": True,
        "enable.metrics.push": False,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 500,
        "broker.address.family": "v4",
    }


def producer(bootstrap: str, settings: ProducerSettings) -> Config:
    """A producer's properties."""
    return {
        **common(bootstrap),
        "linger.ms": settings.linger_ns / MS_NS,
        "batch.size": settings.batch_bytes,
        "batch.num.messages": settings.batch_records,
        "max.in.flight.requests.per.connection": settings.max_in_flight,
        "acks": settings.acks,
        "compression.type": settings.compression,
        "message.max.bytes": RECORD_BYTES,
        "message.timeout.ms": 120_000,
        "statistics.interval.ms": STATISTICS_MS,
        "queue.buffering.max.messages": 100_000,
        "queue.buffering.max.kbytes": 1_048_576,
    }


def consumer(bootstrap: str, settings: ConsumerSettings, group: str) -> Config:
    """A consumer's properties; nothing is committed unless the caller says so."""
    return {
        **common(bootstrap),
        "group.id": group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",
        "partition.assignment.strategy": "range",
        "fetch.min.bytes": settings.fetch_min_bytes,
        "fetch.wait.max.ms": max(0, round(settings.fetch_max_wait_ns / MS_NS)),
        "fetch.max.bytes": max(settings.fetch_max_bytes, settings.partition_fetch_bytes),
        "max.partition.fetch.bytes": settings.partition_fetch_bytes,
        "queued.min.messages": min(settings.queued_records, 10_000_000),
        "queued.max.messages.kbytes": max(1, settings.queued_bytes // 1024),
        "statistics.interval.ms": STATISTICS_MS,
    }
