"""A real Apache Kafka broker: one KRaft node on the loopback interface, its data in the harness' temporary folder.

The C1 compiler alone (`TieredStopAtLevel=1`) is a choice: the broker is hot within seconds and its cost per record
then stays, where C2 keeps changing it for minutes; it costs more per record than a server that has run for hours.
Whatever is measured here is measured with these options, and `run.json` says so.
"""

from __future__ import annotations

import base64
import os
import shutil
import socket
import uuid
from collections.abc import Callable
from pathlib import Path

from real import gc_logs
from real.brokers.base import Broker, surely
from real.brokers.jars import jars, java
from real.processes import Process, Supervisor
from scenarios import spec

JVM_OPTIONS = ("-Xmx512m", "-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
#: Compiler threads stay, so that their CPU is still there to be read.
_OBSERVABLE = ("-XX:-UseDynamicNumberOfCompilerThreads",)
#: A group's first join waits this long for the other workers, so that they are assigned at once.
JOIN_DELAY_MS = 300
RETENTION_BYTES = 2 << 30  # a partition; a run that overflows it shows its loss
_LOGGING = ("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true")
_FORMAT_S = 60
_STOP_S = 10.0


def make(settings: spec.Broker, supervisor: Supervisor, say: Callable[[str], None]) -> Broker:
    """See `real.brokers.make`."""
    _java()
    return Kafka(settings, supervisor, say)


def properties(settings: spec.Broker, data: Path, port: int, controller_port: int) -> dict[str, object]:
    """`server.properties`."""
    listeners = {"PLAINTEXT": port, "CONTROLLER": controller_port}
    return {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "listeners": ",".join(f"{name}://127.0.0.1:{number}" for name, number in listeners.items()),
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": data,
        "num.io.threads": settings.io_threads,
        "num.network.threads": settings.network_threads,
        "auto.create.topics.enable": "false",
        "offsets.topic.num.partitions": 1,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.num.partitions": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        # A transaction whose owner is gone is ended within a second of its timeout, not within ten.
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1_000,
        "share.coordinator.state.topic.num.partitions": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "group.initial.rebalance.delay.ms": JOIN_DELAY_MS,
        "log.cleaner.enable": "false",
        "log.retention.bytes": RETENTION_BYTES,
        "log.segment.bytes": 256 << 20,
        "log.retention.check.interval.ms": 30_000,
        "log.segment.delete.delay.ms": 1_000,
    }


class Kafka(Broker):
    """See the module."""

    kind = "kafka"

    def __init__(self, settings: spec.Broker, supervisor: Supervisor, say: Callable[[str], None]) -> None:
        super().__init__()
        self._settings, self._supervisor, self._say = settings, supervisor, say
        self._process: Process | None = None
        self._port = 0

    @property
    def bootstrap(self) -> str:
        """See `Broker.bootstrap`."""
        return f"127.0.0.1:{self._port}"

    @property
    def gc_logs(self) -> list[Path]:
        """See `Broker.gc_logs`."""
        return gc_logs.of(self._folder)

    @property
    def pid(self) -> int | None:
        """See `Broker.pid`."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """See `Broker.start`."""
        lib = jars("broker", self._supervisor, self._say)
        self.version = next((j.stem.rpartition("-")[2] for j in lib.glob("kafka-clients-*.jar")), None)
        folder = self._supervisor.directory / f"kafka-{uuid.uuid4().hex[:6]}"
        folder.mkdir()
        self._folder = folder
        self._port, controller_port = _free_ports(2)
        config = folder / "server.properties"
        settings = properties(self._settings, folder / "data", self._port, controller_port)
        config.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        base = [_java(), *JVM_OPTIONS, *_OBSERVABLE, *_LOGGING, "-cp", f"{lib}{os.sep}*"]
        storage = [*base, "kafka.tools.StorageTool", "format", "-t", _cluster_id(), "-c", str(config)]
        surely(lambda: self._supervisor.run("broker-format", storage, _FORMAT_S))
        self._command = [base[0], gc_logs.option(folder), *base[1:], "kafka.Kafka", str(config)]
        self._process = self._supervisor.spawn("broker", self._command)
        self._until_ready(lambda: surely(self._supervisor.check), "the broker")

    def go_down(self, *, kill: bool) -> None:
        """See `Broker.go_down`."""
        assert self._process is not None
        if kill:
            self._supervisor.kill([self._process])
        else:
            self._supervisor.stop([self._process], grace_s=_STOP_S)

    def come_back(self) -> None:
        """See `Broker.come_back`."""
        self._process = self._supervisor.spawn("broker", self._command)

    def pause(self, *, stop: bool) -> None:
        """See `Broker.pause`."""
        assert self._process is not None
        self._supervisor.pause(self._process, stop=stop)

    def stop(self) -> None:
        """See `Broker.stop`."""
        self._admin_client = None
        if self._process is not None:
            self._supervisor.stop([self._process], grace_s=_STOP_S)
            self._process = None
            shutil.rmtree(self._folder, ignore_errors=True)


def _java() -> str:
    return java("broker.kind", "kafka", "; --broker mock needs none")


def _cluster_id() -> str:
    while True:
        word = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not word.startswith("-"):  # the tool would take it for an option
            return word


def _free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that are free now, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
