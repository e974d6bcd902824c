"""Pekko Streams: `parallelism` streams in one JVM (`real/jvm/pekko`), with Pekko's connector for Kafka.

A stream is fused: source, scoring, encoding and producing run on one thread of its own, like a poll loop's; the actor
of its consumer polls on another.  An offset is committed once its output is acknowledged, every `commit_interval` (at
least once).
"""

from __future__ import annotations

from real.engines.jvm import JvmEngine


class Pekko(JvmEngine):
    """See the module."""

    modes = ("blocking", "async")
    clients = ("kafka-java-3",)


ENGINE = Pekko("pekko", "pekko", "weir.pekko.Main", ("pekko-stream_2.13", "pekko-connectors-kafka_2.13"))
