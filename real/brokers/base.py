"""What the harness asks of a broker, whatever it is."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from real.errors import BrokerError, HarnessError
from real.procfs import Times, threads
from real.settings import RECORD_BYTES, common

READY_S = 60.0
_ANSWER_S = 0.5
_QUIET = {"log_level": 0}


class Broker(ABC):
    """A broker of the harness.

    Attributes:
        kind: Its word in a scenario.
        append_clock: `broker` where it stamps records as it appends them, else `collector`.
        groups: Whether workers join a consumer group; else the harness assigns their partitions.
        backlog_limit_bytes: Bytes of unread records a partition keeps; None where the disk is the limit.
        version: Of the broker software, where it is known.
    """

    kind: str
    append_clock = "broker"
    groups = True
    backlog_limit_bytes: int | None = None
    max_partitions: int | None = None
    version: str | None = None

    def __init__(self) -> None:
        self._admin_client: Any = None

    @property
    @abstractmethod
    def bootstrap(self) -> str:
        """`host:port` of a started broker."""

    @abstractmethod
    def start(self) -> None:
        """Starts it and returns when it answers.

        Raises:
            BrokerError: It does not start, or does not answer in time.
        """

    @abstractmethod
    def stop(self) -> None:
        """Ends it."""

    @property
    def pid(self) -> int | None:
        """Its process; None where it is not on this host."""
        return None

    @property
    def gc_logs(self) -> list[Path]:
        """Its logs of garbage collections, the oldest process first; none where it keeps none."""
        return []

    def threads(self, *, wakeups: bool = True) -> dict[int, Times] | None:
        """What its threads used so far; None where that is not known."""
        return None if self.pid is None else threads(self.pid, wakeups=wakeups)

    def go_down(self, *, kill: bool) -> None:
        """Ends it for a while: at once, or asked to.  A scenario's fault, of a broker that the harness started."""
        raise BrokerError(f"a broker of kind {self.kind} is not ours to end")

    def come_back(self) -> None:
        """Starts it again, on the same data and port; returns at once."""
        raise BrokerError(f"a broker of kind {self.kind} is not ours to start")

    def pause(self, *, stop: bool) -> None:
        """Stops it where it stands, or lets it go on."""
        raise BrokerError(f"a broker of kind {self.kind} is not ours to stop")

    def client_overrides(self) -> dict[str, Any]:
        """Consumer properties that this broker needs whatever the scenario says."""
        return {}

    def client_security(self) -> dict[str, Any]:
        """What the harness' own client needs beside to be let in."""
        return {}

    def create_topics(self, names: Sequence[str], partitions: int) -> None:
        """Creates topics stamped by the broker and waits until they can be used.

        Raises:
            BrokerError: The broker refuses.
        """
        from confluent_kafka import KafkaException
        from confluent_kafka.cimpl import NewTopic

        config = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": str(RECORD_BYTES)}
        topics = [NewTopic(name, num_partitions=partitions, replication_factor=1, config=config) for name in names]
        for name, future in self._admin().create_topics(topics, operation_timeout=30).items():
            try:
                future.result(timeout=40)
            except KafkaException as error:
                raise BrokerError(f"topic {name} cannot be created: {error.args[0].str()}") from error
        self._until_led(names, partitions)

    def _until_led(self, names: Sequence[str], partitions: int) -> None:
        from confluent_kafka import KafkaException

        end = time.monotonic() + READY_S
        while time.monotonic() < end:
            try:
                known = self._admin().list_topics(timeout=2).topics
            except KafkaException:
                continue
            found = [known[name].partitions.values() for name in names if name in known]
            if len(found) == len(names) and all(len(p) >= partitions and all(x.leader >= 0 for x in p) for p in found):
                return
            time.sleep(0.02)
        raise BrokerError(f"topics {', '.join(names)} have no leaders after {READY_S:.0f} s")

    def delete_topics(self, names: Sequence[str]) -> None:
        """Deletes topics; one that is gone is no error."""
        from confluent_kafka import KafkaException

        for future in self._admin().delete_topics(list(names), operation_timeout=30).values():
            try:
                future.result(timeout=40)
            except KafkaException:
                continue

    def topic_names(self) -> list[str]:
        """Every topic it has."""
        return list(self._admin().list_topics(timeout=10).topics)

    def _admin(self) -> Any:
        from confluent_kafka.admin import AdminClient

        if self._admin_client is None:
            self._admin_client = AdminClient({**common(self.bootstrap), **_QUIET, **self.client_security()})
        return self._admin_client

    def _until_ready(self, check: Any, what: str, limit_s: float = READY_S) -> None:
        """Asks until it answers; `check` is called in between."""
        from confluent_kafka import KafkaException

        end = time.monotonic() + limit_s
        last = "no answer"
        while time.monotonic() < end:
            check()
            try:
                if self._admin().list_topics(timeout=_ANSWER_S).brokers:
                    return
            except KafkaException as error:
                last = error.args[0].str()
        raise BrokerError(f"{what} does not answer after {limit_s:.0f} s: {last}")


def surely(check: Any) -> None:
    """Runs a supervision check, its failure told as the broker's."""
    try:
        check()
    except HarnessError as error:
        raise BrokerError(str(error)) from error
