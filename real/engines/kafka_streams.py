"""Kafka Streams: `parallelism` stream threads in one JVM (`real/jvm/kafka-streams`).

A thread polls, then hands the records one by one through source, scoring and sink; offsets are committed every
`commit_interval` (at least once).
"""

from __future__ import annotations

from real.engines.jvm import JvmEngine


class KafkaStreams(JvmEngine):
    """See the module."""

    modes = (
        "blocking",
    )  # the library hands one record after the other through a task: there is no call to come back to
    clients = ("kafka-streams-3", *JvmEngine.clients)


ENGINE = KafkaStreams("kafka-streams", "kafka-streams", "weir.streams.Main", ("kafka-streams",))
