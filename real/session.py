"""A session: one broker, started once and warmed, that serves many runs.

    with Session(out=Path("runs")) as session:
        for scenario in scenarios:
            path = session.run(scenario)

Runs of a session share nothing but the broker: each has its own processes and its own topics, deleted after it.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import socket
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from real import brokers
from real.brokers.base import Broker
from real.brokers.none import NoBroker
from real.engines import engine
from real.errors import ChildDiedError, HarnessError
from real.life import Ending, Life, Progress
from real.model_stream.cast import topics as model_topics
from real.plan import Plan, plan, refuse_broker, refuse_elsewhere, refuse_full
from real.processes import OWNER_FILE, Supervisor
from real.sinks import Sinks
from real.warm import WARM_S, warm
from scenarios import spec
from scenarios.spec import Scenario


class Session:
    """See the module.

    Attributes:
        out: Folder of runs.
        broker_kind: Overrides `broker.kind` of the scenarios.
        last_error: What ended the last run early; None where it went its way.
    """

    def __init__(
        self,
        *,
        out: Path,
        broker: str | None = None,
        bootstrap: str | None = None,
        warm_s: float = WARM_S,
        progress: Progress | None = None,
        metrics: Sequence[str] = (),
    ) -> None:
        """Nothing is started yet.

        Args:
            out: Folder of runs.
            broker: Broker kind that overrides the scenarios'.
            bootstrap: Address of an external broker that overrides the scenarios'.
            warm_s: How long warming the broker may take; 0 leaves it cold.
            progress: Called with what is being done, and its share of the whole where that is known.
            metrics: Where metrics of the runs go meanwhile (`real.sinks.Sinks`); opened with the session.
        """
        self.out, self.broker_kind, self._bootstrap, self._warm_s = Path(out), broker, bootstrap, warm_s
        self._progress: Progress = progress or (lambda _text, _fraction: None)
        self._supervisor: Supervisor | None = None
        self._metrics, self.sinks = tuple(metrics), Sinks()
        self._broker: Broker | None = None
        self._broker_key: tuple[Any, ...] = ()
        self._broker_timing: dict[str, Any] = {}
        self.last_error: BaseException | None = None

    def __enter__(self) -> Self:
        self.sinks = Sinks(self._metrics)
        self._supervisor = Supervisor()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._supervisor is not None
        try:
            if self._broker is not None:
                self._broker.stop()
        finally:
            for line in self.sinks.close():
                self._progress(line, None)
            self._supervisor.close()
            self._broker = self._supervisor = None

    @property
    def supervisor(self) -> Supervisor:
        """The session's supervisor.

        Raises:
            RuntimeError: Outside the `with` block.
        """
        if self._supervisor is None:
            raise RuntimeError("a session is used inside its with block")
        return self._supervisor

    def broker(self, settings: spec.Broker) -> Broker:
        """The session's broker for these settings, started and warm.

        One with other threads or another address takes the place of the one before.

        Raises:
            RefusedError: This machine cannot run it.
            BrokerError: It does not start.
        """
        key = (settings.kind, settings.io_threads, settings.network_threads, settings.bootstrap)
        if self._broker is not None and key == self._broker_key:
            return self._broker
        self._drop_broker()
        self._progress(f"starting the {settings.kind} broker", None)
        began = time.monotonic()
        found = brokers.make(settings, self.supervisor, lambda line: self._progress(line, None))
        self._broker, self._broker_key = found, key
        found.start()
        self._broker_timing = {"broker_start_s": time.monotonic() - began}
        if self._warm_s > 0 and found.pid is not None:
            began = time.monotonic()
            windows, hot = warm(found, self.supervisor, settings, self._warm_s, self._progress)
            self._broker_timing |= {
                "warm_s": time.monotonic() - began,
                "warm_us_per_record": [round(each, 1) for each in windows],
                "warm_hot": hot,
            }
        return found

    def run(self, scenario: Scenario, *, poison: Sequence[int] = ()) -> Path:
        """Makes one run and writes it.

        Args:
            scenario: What to run; its sweep is not looked at.
            poison: Sequence numbers whose payload is cut to a stub that no engine can parse (fault injection).

        Returns:
            The run's folder; `<id>.partial` where it was interrupted (then `last_error` is the KeyboardInterrupt).

        Raises:
            RefusedError: It cannot be run here.
            ScenarioError: Its trace cannot be read.
            HarnessError: It did not get as far as its start.
            KeyboardInterrupt: Interrupted before its start.
        """
        scenario = self.adapted(scenario)
        refuse_elsewhere(scenario)
        planned = plan(scenario)
        refuse_full(scenario, len(planned.due), (self.supervisor.directory, self.out))
        found = engine(scenario.engine.kind)
        found.prepare_for(scenario, self.supervisor, lambda line: self._progress(line, None))
        began = time.monotonic()
        broker: Broker = NoBroker() if found.brokerless else self.broker(scenario.broker)
        refuse_broker(scenario, broker.max_partitions)
        topics = self._topics()
        directory = self.supervisor.directory / f"run-{topics[0].rpartition('-')[0][-6:]}"
        directory.mkdir()
        broker.create_topics(topics, scenario.broker.partitions)
        more = model_topics(scenario, topics[0])
        try:
            for name, partitions in more.items():
                broker.create_topics([name], partitions)
            life = Life(
                *(scenario, planned, self.supervisor, broker, topics, directory),
                poison=poison,
                progress=self._progress,
                sinks=self.sinks if self.sinks.all else None,
            )
            ending = life.go()
            of_broker = self._broker_timing if broker is self._broker else {}
            ending.timing = {**of_broker, **ending.timing, "total_s": time.monotonic() - began}
            self.last_error = ending.error
            if isinstance(ending.error, ChildDiedError) and ending.error.name == "broker":
                self._drop_broker()
            return self._write(scenario, planned, life, ending, broker)
        finally:
            self._clean(broker, (*topics, *more), directory)

    def _drop_broker(self) -> None:
        if self._broker is not None:
            self._broker.stop()
            self._broker = None

    def adapted(self, scenario: Scenario) -> Scenario:
        """The scenario with the session's own broker kind and address, where it has them."""
        changes: dict[str, Any] = {}
        if self.broker_kind is not None and self.broker_kind != scenario.broker.kind:
            changes = {"kind": self.broker_kind, "bootstrap": None}
        if self._bootstrap is not None:
            changes["bootstrap"] = self._bootstrap
        return dataclasses.replace(scenario, broker=dataclasses.replace(scenario.broker, **changes))

    def _write(self, scenario: Scenario, planned: Plan, life: Life, ending: Ending, broker: Broker) -> Path:
        from real.result import write

        self._progress("writing the run", None)
        return write(self.out, scenario, planned, life, ending, broker)

    def _clean(self, broker: Broker, topics: tuple[str, ...], directory: Path) -> None:
        shutil.rmtree(directory, ignore_errors=True)
        if broker is not self._broker:
            return  # it is gone, and its data with it
        try:
            self.supervisor.check()
            broker.delete_topics(topics)
        except HarnessError:
            self._drop_broker()  # the next run gets a new one

    def _topics(self) -> tuple[str, str]:
        """Names that say whose they are, so that `clean` can tell the topics of dead harnesses."""
        owner = json.loads((self.supervisor.directory / OWNER_FILE).read_text())
        host = re.sub(r"[^A-Za-z0-9]", "", socket.gethostname())[:64]
        name = f"weir-{host}-{owner['pid']}-{owner['start']}-{uuid.uuid4().hex[:6]}"
        return f"{name}-in", f"{name}-out"
