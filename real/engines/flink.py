"""Flink: a cluster within one JVM (`real/jvm/flink`), `parallelism` scoring tasks.

Chained, a task reads, scores and writes on one thread, and polls on another.  Else sources decode, scoring tasks score
and sinks encode, each a task of its own; records go from one to the next in rotation.  Offsets are committed with
checkpoints, every `commit_interval` (at least once).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from real.brokers.base import Broker
from real.engines.jvm import JvmEngine
from real.errors import RefusedError
from real.procfs import available_bytes
from scenarios.spec import MS_NS, Scenario

#: Network memory: so many buffers a channel, as many again, and not less than Flink's own least.
_BUFFERS_A_CHANNEL, _LEAST_MIB = 8, 64
_SMALLEST_BUFFER = 4096
#: Memory outside the heap: what a JVM with our heap has anyway, or the network's and this much for everybody else.
_DIRECT_MIB, _BESIDE_NETWORK_MIB = 1024, 256


class Flink(JvmEngine):
    """See the module."""

    modes = ("blocking", "async")

    def refuse(self, scenario: Scenario) -> None:
        """See `Engine.refuse`."""
        super().refuse(scenario)
        engine = scenario.engine
        again = restarts(scenario)
        if again and scenario.serving.kind == "external" and scenario.serving.client.mode == "async":
            # Checkpoints hold the open questions, and a job that is started again begins at the broker's offsets.
            raise RefusedError(
                "serving.client.mode", "async; engine flink is killed and started again with blocking calls"
            )
        if engine.chained:
            return
        if scenario.model_stream is not None:
            raise RefusedError("engine.chained", "false; models from a topic need operators that are chained")
        if again:
            raise RefusedError("faults", "engine flink is killed and started again with chained operators only")
        if engine.buffer_capacity is not None:
            raise RefusedError("engine.buffer_capacity", "Flink has as many records under way as its buffers hold")
        if engine.buffer_timeout_ns % MS_NS:
            raise RefusedError("engine.buffer_timeout", "Flink knows whole milliseconds")
        size = engine.buffer_bytes
        if size < _SMALLEST_BUFFER or size & (size - 1):
            raise RefusedError("engine.buffer_bytes", f"{size}; Flink's are a power of two from {_SMALLEST_BUFFER} on")
        network, free = _network_mib(scenario), available_bytes() >> 20
        if network > free // 2:
            message = f"{size}; the tasks' channels need {network} MiB, more than half of the {free} MiB free here"
            raise RefusedError("engine.buffer_bytes", message)

    def config(self, scenario: Scenario, broker: Broker, topic_in: str, directory: Path) -> Mapping[str, Any]:
        """See `Engine.config`."""
        engine, partitions = scenario.engine, scenario.broker.partitions
        sources, sinks = engine.source_parallelism or partitions, engine.sink_parallelism or partitions
        return {
            **super().config(scenario, broker, topic_in, directory),
            "chained": engine.chained,
            "source_parallelism": sources,
            "sink_parallelism": sinks,
            "buffer_timeout_ms": engine.buffer_timeout_ns // MS_NS,
            "buffer_bytes": engine.buffer_bytes,
            "network_mib": _network_mib(scenario),
        }

    def options(self, config: Mapping[str, Any]) -> Sequence[str]:
        """See `JvmEngine.options`: room for the buffers, which are outside the heap."""
        if config["chained"]:
            return ()
        return (f"-XX:MaxDirectMemorySize={max(_DIRECT_MIB, config['network_mib'] + _BESIDE_NETWORK_MIB)}m",)


def restarts(scenario: Scenario) -> bool:
    """Whether a fault has the engine start again."""
    return any(fault.kind != "pause" and fault.target not in ("server", "broker") for fault in scenario.faults)


def _network_mib(scenario: Scenario) -> int:
    """Memory of the buffers between tasks."""
    engine, partitions = scenario.engine, scenario.broker.partitions
    sources, sinks = engine.source_parallelism or partitions, engine.sink_parallelism or partitions
    channels = 0 if engine.chained else engine.parallelism * (sources + sinks)
    return max(_LEAST_MIB, 2 * _BUFFERS_A_CHANNEL * channels * engine.buffer_bytes >> 20)


ENGINE = Flink("flink", "flink", "weir.flink.Main", ("flink-streaming-java", "flink-connector-kafka"))
