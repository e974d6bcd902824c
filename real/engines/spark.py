"""Spark Structured Streaming: a query in local mode (`real/jvm/spark`), its driver and task slots in one JVM.

The driver plans a batch of one task a partition with new records, hands the tasks to free slots, and commits to its
checkpoint when all are done (at least once).  A task reads, scores and writes its records on one thread; which thread
of a slot's that is, Spark decides anew each time.  One producer has the outputs of all tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from real.brokers.base import Broker
from real.engines.jvm import JvmEngine
from real.errors import RefusedError
from scenarios.spec import MS_NS, Engine, Scenario

#: What Spark opens of the JDK's own packages.
_OPEN = (
    *("java.lang", "java.lang.invoke", "java.io", "java.net", "java.nio", "java.util", "java.util.concurrent"),
    *("java.util.concurrent.atomic", "sun.nio.ch", "sun.nio.cs", "sun.security.action", "sun.util.calendar"),
)
#: Set by the connector itself, which refuses them as options.
_CONNECTOR_S = ("auto.offset.reset",)


class Spark(JvmEngine):
    """See the module."""

    ready_s = 180.0  # a session, and a first look at the topic, take seconds where nothing else runs

    def __init__(self) -> None:
        super().__init__("spark", "spark", "weir.spark.Main", ("spark-sql_2.13", "spark-sql-kafka-0-10_2.13"))
        self.takes_models = False

    def workers(self, scenario: Scenario) -> int:
        """See `Engine.workers`: task slots."""
        return scenario.engine.task_slots or scenario.engine.parallelism

    def refuse(self, scenario: Scenario) -> None:
        """See `Engine.refuse`."""
        super().refuse(scenario)
        engine = scenario.engine
        if engine.commit_interval_ns != Engine().commit_interval_ns:
            raise RefusedError("engine.commit_interval", "Spark commits each batch when it is done")
        if scenario.faults:
            raise RefusedError("faults", "engine spark runs without, here")
        for key, value in (("trigger_interval", engine.trigger_interval_ns), ("poll_delay", engine.poll_delay_ns)):
            if value % MS_NS:
                raise RefusedError(f"engine.{key}", "Spark knows whole milliseconds")

    def config(self, scenario: Scenario, broker: Broker, topic_in: str, directory: Path) -> Mapping[str, Any]:
        """See `Engine.config`."""
        engine = scenario.engine
        found = dict(super().config(scenario, broker, topic_in, directory))
        found["consumer"] = {key: value for key, value in found["consumer"].items() if key not in _CONNECTOR_S}
        if engine.max_offsets_per_trigger is not None:
            found["max_offsets_per_trigger"] = engine.max_offsets_per_trigger
        return {
            **found,
            "trigger_interval_ms": engine.trigger_interval_ns // MS_NS,
            "spark": {
                "spark.ui.enabled": "false",
                "spark.driver.host": "127.0.0.1",
                "spark.driver.bindAddress": "127.0.0.1",
                "spark.local.dir": str(directory / "spark-local"),
                "spark.sql.warehouse.dir": str(directory / "spark-warehouse"),
                "spark.sql.streaming.pollingDelay": f"{engine.poll_delay_ns // MS_NS}ms",
                "spark.sql.streaming.stopTimeout": "10s",
            },
        }

    def options(self, config: Mapping[str, Any]) -> Sequence[str]:
        """See `JvmEngine.options`."""
        return tuple(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPEN)


ENGINE = Spark()
