"""Faults of a run: who is killed, paused or asked to end when its time comes, and comes back.

A process of the engine that comes back is a new one in the place of the old: it is told that it is a restart, joins,
and begins at once.  What the old one had written to its mapped files is still there.  A broker comes back on its data
and its ports, a server on its ports.  A pause stops a process with all it started (SIGSTOP), and lets it go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from real.processes import Supervisor
from real.sampler import Part
from scenarios.spec import S_NS, Fault, Scenario

if TYPE_CHECKING:
    from real.brokers.base import Broker
    from real.cast import Cast
    from real.sampler import Sampler

#: After faults a run is over when nothing has moved for so long: records that are read again are counted once more.
QUIET_NS = S_NS
SERVER, BROKER = "server", "broker"
#: Who is asked to end has so long; then it is killed.
_ENDING_NS = 30 * S_NS

Took = Callable[[str, dict[str, Any]], None]


def refuse(scenario: Scenario) -> None:
    """Refuses faults that cannot be had for real.

    Raises:
        RefusedError: Naming the key.
    """
    from real.engines import engine
    from real.errors import RefusedError
    from real.servers import server

    for i, fault in enumerate(scenario.faults):
        key, part = f"faults[{i}].target", fault.target.partition("-")[0]
        if part == "generator":
            raise RefusedError(key, f"{fault.target}; real breaks workers, instances, the engine, a server, the broker")
        if part == BROKER:
            if scenario.broker.kind != "kafka" or engine(scenario.engine.kind).brokerless:
                raise RefusedError(key, f"broker; real breaks its own (kafka), no {scenario.broker.kind}")
            if fault.kind == "kill" and fault.restart_ns is None:
                raise RefusedError(key, "broker; no run goes on without one: give restart")
        if part == SERVER:
            back = fault.kind != "pause" and (fault.restart_ns is not None or fault.kind == "restart")
            if back and not server(scenario.serving.runtime).comes_back:
                word = scenario.serving.runtime
                raise RefusedError(key, f"server; {word} cannot come back on its ports: kill it for good, or pause")


class Faults:
    """See the module."""

    def __init__(
        self, faults: Sequence[Fault], cast: Cast, supervisor: Supervisor, broker: Broker, took: Took | None = None
    ) -> None:
        """Nothing is due yet.

        Args:
            faults: In any order.
            cast: Who plays.
            supervisor: Answers for them.
            broker: The run's.
            took: Told what an engine's process reports as it ends.
        """
        self._cast, self._supervisor, self._broker = cast, supervisor, broker
        self._took: Took = took or (lambda _name, _event: None)
        self._due = sorted(faults, key=lambda each: each.at_ns)
        self._back: list[tuple[int, str]] = []  # when, who
        self._paused: list[tuple[int, str]] = []
        self._ending: dict[str, tuple[int, int]] = {}  # who -> until when it may take, when it is to be back
        self._coming: list[str] = []
        self._dead: set[str] = set()
        self._any = bool(faults)
        self._moved = (0, -1)

    def step(self, now_ns: int, t0_ns: int, sampler: Sampler) -> bool:
        """Does what is due, waiting for nothing.

        Args:
            now_ns: Since the run's start; 0: no further fault, and who is to come back comes now.
            t0_ns: The run's start.
            sampler: Learns of new processes.

        Returns:
            Whether nobody is on the way back.
        """
        while now_ns and self._due and self._due[0].at_ns <= now_ns:
            fault = self._due.pop(0)
            for name in self._struck(fault):
                self._strike(fault, name, now_ns)
        for name, (limit_ns, back_ns) in list(self._ending.items()):
            self._end(name, limit_ns, back_ns, now_ns)
        for entry in [each for each in self._paused if not now_ns or each[0] <= now_ns]:
            self._paused.remove(entry)
            self._signal(entry[1], stop=False)
        for entry in [each for each in self._back if not now_ns or each[0] <= now_ns]:
            self._back.remove(entry)
            self._start(entry[1], sampler)
        for name in list(self._coming):
            process = self._cast.parts[name]
            if process.take("ready") is not None:
                process.order("join")
                process.order("start", t0_ns=t0_ns)
                self._coming.remove(name)
        return not self._coming and not self._back and not self._paused and not self._ending

    def _struck(self, fault: Fault) -> list[str]:
        part, _, number = fault.target.partition("-")
        if part in (SERVER, BROKER):
            return [part]
        if part == "engine":
            return list(self._cast.processes)
        name = f"worker.{number}"
        return [self._cast.hosts.get(name, name)]  # who dies is the process

    def _strike(self, fault: Fault, name: str, now_ns: int) -> None:
        if name in self._dead or name in self._ending or any(name == each for _, each in self._paused):
            return
        back_ns = None if fault.restart_ns is None else now_ns + fault.restart_ns
        if fault.kind == "pause":
            assert back_ns is not None  # the scenario's rules
            self._signal(name, stop=True)
            self._paused.append((back_ns, name))
        elif fault.kind == "restart" and name not in (SERVER, BROKER) and name not in self._coming:
            process = self._cast.parts[name]
            process.expected = True
            process.order("stop")
            self._ending[name] = (now_ns + _ENDING_NS, back_ns or now_ns)
        else:
            self._kill(name, asked=fault.kind == "restart")
            if fault.kind == "restart" or back_ns is not None:
                self._back.append((back_ns or now_ns, name))

    def _end(self, name: str, limit_ns: int, back_ns: int, now_ns: int) -> None:
        """A process that was asked to end: once it has said what it knows it goes."""
        process = self._cast.parts[name]
        event = process.take("done")
        if event is not None:
            self._took(name, event)
        elif process.alive() and now_ns and now_ns < limit_ns:
            return
        del self._ending[name]
        self._kill(name)
        self._back.append((back_ns, name))

    def _kill(self, name: str, *, asked: bool = False) -> None:
        self._dead.add(name)
        if name == BROKER:
            self._broker.go_down(kill=not asked)
        elif name == SERVER:
            assert self._cast.server is not None
            self._cast.server.go_down()
        else:
            self._supervisor.kill([self._cast.parts[name]])
            if name in self._coming:
                self._coming.remove(name)

    def _signal(self, name: str, *, stop: bool) -> None:
        if name in self._dead:
            return
        if name == SERVER:
            assert self._cast.server is not None
            self._cast.server.pause(stop=stop)
        elif name == BROKER:
            self._broker.pause(stop=stop)
        else:
            self._supervisor.pause(self._cast.parts[name], stop=stop)

    def _start(self, name: str, sampler: Sampler) -> None:
        from real.sampler import process_part

        self._dead.discard(name)
        if name == BROKER:
            self._broker.come_back()
            sampler.parts[BROKER] = Part(self._broker.pid, lambda wakeups: self._broker.threads(wakeups=wakeups))
            return
        if name == SERVER:
            assert self._cast.server is not None
            self._cast.server.come_back()
            return
        self._cast.restart(name)
        self._coming.append(name)
        sampler.parts[name] = process_part(self._cast.parts[name].pid, self._cast.slots.get(name))

    def settled(self, now_ns: int, moved: int) -> bool:
        """Whether every fault is over, and everything read again has come to its end.

        Args:
            now_ns: Since the run's start.
            moved: A count that grows with everything that is handled.
        """
        if not self._any:
            return True
        if moved != self._moved[0]:
            self._moved = (moved, now_ns)
        quiet = now_ns - self._moved[1] >= QUIET_NS
        return quiet and not (self._due or self._back or self._coming or self._paused or self._ending)

    def living(self, names: Sequence[str]) -> list[str]:
        """Those that are not dead."""
        return [name for name in names if name not in self._dead]
