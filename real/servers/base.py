"""What the harness asks of a model server, whichever it is: start, ready, addresses, stop.

A server is started by `Server.start`, which returns once the server itself says that it is ready (each has an endpoint
or a report of its own for that).  Every process of it is in the supervisor's group or carries the supervisor's token,
and carries a mark of its own beside: what a server starts in groups of its own is found and ended by that.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from control.batching import Rules
from real import reaper
from real.errors import DeadlineError, RefusedError
from real.processes import Process, Supervisor
from real.procfs import Times, rss_bytes, threads
from real.servers.environment import Environment
from real.servers.protocols.base import Address
from real.wire import Slots
from scenarios.spec import Model, Scenario

#: Every process of a server carries this in its environment, with a value of its own.
MARK: Final = "WEIR_SERVER"
#: The name under which a server knows its model.
SERVED_AS: Final = "weir"
READY_S: Final = 180.0  # importing a framework on a busy machine takes most of it
_ENDED_S: Final = 10.0
_ROOT: Final = Path(__file__).resolve().parents[2]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Ask:
    """What is to be served, and how.

    Attributes:
        model: Of the scenario.
        seed: Of the model's weights.
        models: Folder of model files.
        workers: That score, each a batch at a time.
        rules: How many requests they take together.
        points: In one request.
        cache_bytes: Of answers that are kept; None: none.
        runtime: What scores in a server that leaves the choice.
    """

    model: Model
    seed: int
    models: Path
    workers: int = 1
    rules: Rules = field(default_factory=Rules)
    points: int = 1
    cache_bytes: int | None = None
    runtime: str = "onnx"

    def config(self) -> dict[str, Any]:
        """For a process of ours, as JSON."""
        return {
            "model": dataclasses.asdict(self.model),
            "seed": self.seed,
            "models": str(self.models.resolve()),
            "workers": self.workers,
            "batch": self.rules.most,
            "wait_ns": self.rules.wait_ns,
            "points": self.points,
            "runtime": self.runtime,
            "served_as": SERVED_AS,
        }


class Running:
    """A server that is ready.

    Attributes:
        addresses: Protocol -> where.
        process: What was started; its end is the server's.
        slots: Counters (`counts.Served`); None: it has none that we know.
        leaves: Files and folders outside ours that are removed after its end.
        again: Starts it once more at the same addresses, after its end; None: it cannot.
    """

    def __init__(
        self, supervisor: Supervisor, process: Process, mark: str, addresses: Mapping[str, Address], slots: Slots | None
    ) -> None:
        self.supervisor, self.process, self.addresses, self.slots = supervisor, process, dict(addresses), slots
        self._mark = mark
        self.leaves: list[Path] = []
        self.again: Callable[[], Process] | None = None

    def address(self, protocol: str | None) -> Address:
        """Where it is reached, by its first protocol if none is named.

        Raises:
            RefusedError: It does not speak that.
        """
        if protocol is None:
            return next(iter(self.addresses.values()))
        if protocol not in self.addresses:
            raise RefusedError("serving.client.protocol", f"{protocol}; this server speaks {', '.join(self.addresses)}")
        return self.addresses[protocol]

    def pids(self) -> list[int]:
        """Its processes, those it started included."""
        return marked(self._mark)

    def rss_bytes(self) -> int:
        """Resident memory of all its processes; pages that they share count for each."""
        return sum(max(0, rss_bytes(pid)) for pid in self.pids())

    def threads(self, wakeups: bool) -> dict[int, Times] | None:
        """Every thread of every process of it."""
        found: dict[int, Times] = {}
        for pid in self.pids():
            found.update(threads(pid, wakeups=wakeups) or {})
        return found

    def kill(self) -> None:
        """Kills it without a warning; whoever supervises it hears of it."""
        pids = self.pids()
        self.leaves += map(Path, reaper.shared(pids))
        for pid in pids:
            _kill(pid)

    def go_down(self) -> None:
        """Kills it with all it started; its end is no surprise."""
        end_server(self.supervisor, self.process, self._mark, 0.0)

    def come_back(self) -> None:
        """Starts it again at its addresses; returns at once."""
        assert self.again is not None, "refused before"
        self.process = self.again()

    def pause(self, *, stop: bool) -> None:
        """Stops all its processes where they stand, or lets them go on."""
        for pid in self.pids():
            with contextlib.suppress(OSError):  # it ended
                os.kill(pid, signal.SIGSTOP if stop else signal.SIGCONT)

    def stop(self, grace_s: float = 5.0) -> None:
        """Ends it, and whatever it started."""
        end_server(self.supervisor, self.process, self._mark, grace_s)
        for path in self.leaves:
            reaper.remove(str(path))


class Server(ABC):
    """One kind of server.

    Attributes:
        word: In a scenario, `serving.runtime`.
        title: What it is.
        protocols: It speaks, the usual one first.
        extra: Of this project that brings it; empty: it is always there.
        module: That must be there to run it.
        package: Whose version is its version.
        learns: Whether it has the policies that learn from what batches took, and the cache.
        comes_back: Whether it can be started again at the same addresses.
    """

    word = ""
    title = ""
    protocols: Sequence[str] = ()
    extra = ""
    module = ""
    package = ""
    learns = False
    comes_back = False

    @property
    def environment(self) -> Environment:
        """The Python it runs in."""
        return Environment.of(self.word)

    def missing(self) -> str | None:
        """One line on why it cannot be started here; None: it can."""
        return self.environment.lacks(self.module, self.extra)

    def version(self) -> str:
        """Of its software."""
        return self.environment.version(self.package)

    def refuse(self, scenario: Scenario) -> None:
        """Refuses settings that it does not have.

        Raises:
            RefusedError: Naming the key.
        """
        serving, at = scenario.serving, "serving"
        if serving.client.protocol is not None and serving.client.protocol not in self.protocols:
            words = f"{serving.client.protocol}; {self.word} speaks {', '.join(self.protocols)}"
            raise RefusedError(f"{at}.client.protocol", words)
        if not self.learns:
            if serving.batching.policy not in (None, "fixed", "eager", "delayed"):
                words = f"{serving.batching.policy}; {self.word} has a batch and a batch_delay only; weir has policies"
                raise RefusedError(f"{at}.batching.policy", words)
            if serving.cache is not None:
                raise RefusedError(f"{at}.cache", f"{self.word} has none that is used; weir has one")
        lacking = self.missing()
        if lacking is not None:
            raise RefusedError(f"{at}.runtime", lacking)

    @abstractmethod
    def start(self, ask: Ask, supervisor: Supervisor, say: Say) -> Running:
        """Starts it; returns when it is ready.

        Args:
            ask: What is served.
            supervisor: Answers for its processes.
            say: Told what takes long.

        Raises:
            RefusedError: It is not installed.
            HarnessError: It does not start.
        """


def new_mark(supervisor: Supervisor) -> str:
    """A value of `MARK` that no other server has."""
    _marks[0] += 1
    return f"{supervisor.token}-{_marks[0]}"


_marks = [0]


def child_environment(mark: str, directory: Path) -> dict[str, str]:
    """What every server's process finds in its environment: the mark, our modules, one thread, a folder of its own."""
    paths = [str(_ROOT), *(p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p)]
    return {
        MARK: mark,
        "PYTHONPATH": os.pathsep.join(paths),
        "TMPDIR": str(directory),
        **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
        # What frameworks fetch, tell or colour unasked.
        "HF_HUB_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "CUDA_VISIBLE_DEVICES": "",
    }


def folder(supervisor: Supervisor, mark: str) -> Path:
    """A new folder for the files of one server; short, since some put sockets there."""
    found = supervisor.directory / f"s{mark.rpartition('-')[2]}"
    found.mkdir()
    return found


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody has now, all different."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in held]
    finally:
        for each in held:
            each.close()


def wait_ready(supervisor: Supervisor, process: Process, mark: str, probe: Callable[[], Any], what: str) -> Any:
    """Waits until a probe finds something.

    Raises:
        ChildDiedError: A process ended first.
        DeadlineError: It took too long; the server is ended then.
    """
    end = time.monotonic() + READY_S
    try:
        while not (found := probe()):
            if time.monotonic() > end:
                words = process.last_words()
                raise DeadlineError(f"{what} is not ready after {READY_S:.0f} s; its last words:\n{words}")
            supervisor.wait(0.05)
    except BaseException:
        end_server(supervisor, process, mark, 0.0)
        raise
    return found


def end_server(supervisor: Supervisor, process: Process, mark: str, grace_s: float) -> None:
    """Asks a server's process to end, then kills it and every process with its mark."""
    blocks = reaper.shared(marked(mark))
    supervisor.stop([process], grace_s=grace_s, term=grace_s > 0)
    end_marked(mark)
    for block in blocks:
        reaper.remove(block)


def end_marked(mark: str) -> None:
    """Kills every process that carries a mark."""
    end = time.monotonic() + _ENDED_S
    while (left := marked(mark)) and time.monotonic() < end:
        for pid in left:
            _kill(pid)
        time.sleep(0.01)


def marked(mark: str) -> list[int]:
    """Processes that carry a server's mark, those that have ended but were not waited for left out."""
    wanted, found = f"{MARK}={mark}\0".encode(), []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                if wanted in Path(entry.path, "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue  # ended, or another user's
    return found


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        return  # gone
