"""Supervision: every process of a run in a group of its own, none of which outlives the harness.

The reaper (`real.reaper`) is started before anything else and ends whatever is left however the harness dies.  A child
reports on its stdout, takes orders on its stdin and keeps its last words on stderr, in the supervisor's temporary
folder.  A child that ends unasked is an error that carries those words.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from real import reaper
from real.brokers.security import PREFIX as PREFIX_OF_SECRETS
from real.errors import ChildDiedError, DeadlineError, HarnessError
from real.procfs import start_time

PREFIX = "weir-harness-"
OWNER_FILE = "owner.json"
_LAST_WORDS = 4_000
_STOP_S = 5.0


class Process:
    """One child of the harness.

    Attributes:
        name: Its role.
        pid: Its number, also its group's.
        events: Reports not yet taken, oldest first.
        expected: True once its end is no surprise.
    """

    def __init__(self, name: str, popen: subprocess.Popen[bytes], log: Path) -> None:
        self.name, self.pid, self.log = name, popen.pid, log
        self.events: list[dict[str, Any]] = []
        self.expected = False
        self.popen = popen
        self._buffer = self._stray = b""

    def order(self, name: str, **fields: Any) -> None:
        """Sends an order; a process that is gone takes none (its end is noticed elsewhere)."""
        if self.popen.stdin is None:
            return
        try:
            self.popen.stdin.write(json.dumps({"order": name, **fields}).encode() + b"\n")
            self.popen.stdin.flush()
        except OSError:
            return

    def read(self) -> bool:
        """Takes what it reported; False at the end of its stdout."""
        assert self.popen.stdout is not None
        try:
            data = os.read(self.popen.stdout.fileno(), 1 << 16)
        except BlockingIOError:
            return True
        if not data:
            return False
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            if line.startswith(b"{"):
                self.events.append(json.loads(line))
            else:  # a virtual machine that crashes says so on stdout
                self._stray = (self._stray + line + b"\n")[-_LAST_WORDS:]
        return True

    def take(self, event: str) -> dict[str, Any] | None:
        """Removes and returns the oldest report of that name."""
        for i, found in enumerate(self.events):
            if found["event"] == event:
                return self.events.pop(i)
        return None

    def alive(self) -> bool:
        """Whether it still runs."""
        return self.popen.poll() is None

    def last_words(self) -> str:
        """The end of its stderr, and of what it said on stdout that is no report."""
        try:
            words = self.log.read_bytes()[-_LAST_WORDS:]
        except OSError:
            words = b""
        return (words + self._stray).decode(errors="replace").strip()

    def died(self) -> ChildDiedError:
        """Its end as an error."""
        code = self.popen.wait()
        if self.popen.stdout is not None:
            self.read()
        return ChildDiedError(self.name, code, self.last_words())


class Supervisor:
    """Starts processes and answers for them.

    Attributes:
        directory: Temporary folder of this harness; removed at the end whatever happens.
        processes: The living, and those whose end has not been taken.
    """

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix=PREFIX))
        owner = {"pid": os.getpid(), "start": start_time(os.getpid())}
        (self.directory / OWNER_FILE).write_text(json.dumps(owner))
        self._token = secrets.token_hex(8)
        self._selector = selectors.DefaultSelector()
        self.processes: list[Process] = []
        self._more: list[Path] = []
        self._hands_on = False
        self._serial = 0
        self._reaper = subprocess.Popen(
            [sys.executable, "-I", "-S", reaper.__file__, self._token],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._tell(f"dir {self.directory}")

    @property
    def token(self) -> str:
        """What the environment of whatever is to end with the harness carries under `reaper.TOKEN`."""
        return self._token

    @property
    def reaper_pid(self) -> int:
        """The reaper's process."""
        return self._reaper.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def spawn(self, name: str, command: Sequence[str], *, env: Mapping[str, str] | None = None) -> Process:
        """Starts a command that does not talk (the broker); its output is its last words."""
        return self._start(name, command, env or {}, talks=False)

    def run(self, name: str, command: Sequence[str], limit_s: float) -> str:
        """Runs a command to its end.

        Returns:
            What it said (the end of it).

        Raises:
            ChildDiedError: It failed.
            DeadlineError: It took longer than that.
        """
        process = self.spawn(name, command)
        process.expected = True
        try:
            code = process.popen.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise DeadlineError(f"{name} took longer than {limit_s:.0f} s:\n{process.last_words()}") from None
        finally:
            self.kill([process])
        if code:
            raise process.died()
        return process.last_words()

    def python(self, name: str, module: str, config: Mapping[str, Any]) -> Process:
        """Starts `python -m module` with a configuration (`directory` is added to it)."""
        root = str(Path(__file__).resolve().parents[1])
        paths = [root, *(p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p)]
        # One thread for numerical libraries: parallelism is the engine's.
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        env = {"PYTHONPATH": os.pathsep.join(paths), **threads}
        return self.talking(name, [sys.executable, "-m", module], config, env)

    def talking(
        self, name: str, command: Sequence[str], config: Mapping[str, Any], env: Mapping[str, str] | None = None
    ) -> Process:
        """Starts a command that takes orders and reports; its last argument is the configuration, with `directory`."""
        self._serial += 1
        path = self.directory / f"{self._serial}-{name}.json"
        path.write_text(json.dumps({**config, "name": name, "directory": str(self.directory)}))
        # What a library leaves in the temporary folder goes with ours.
        return self._start(name, [*command, str(path)], {"TMPDIR": str(self.directory), **(env or {})}, talks=True)

    def _start(self, name: str, command: Sequence[str], env: Mapping[str, str], *, talks: bool) -> Process:
        self._serial += 1
        log = self.directory / f"{self._serial}-{name}.log"
        with log.open("wb") as file:
            popen = subprocess.Popen(
                command,
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE if talks else file,
                stderr=file,
                env={**self._environment(talks), **env, reaper.TOKEN: self._token},
                process_group=0,
            )
        self._tell(f"group {popen.pid}")
        process = Process(name, popen, log)
        self.processes.append(process)
        if popen.stdout is not None:
            os.set_blocking(popen.stdout.fileno(), False)
            self._selector.register(popen.stdout, selectors.EVENT_READ, process)
        return process

    def hand_on(self, secrets_too: bool) -> None:
        """Whether processes that talk find the secrets of clients in their environment, from now on."""
        self._hands_on = secrets_too

    def _environment(self, talks: bool) -> dict[str, str]:
        handed = talks and self._hands_on
        return {name: value for name, value in os.environ.items() if handed or not name.startswith(PREFIX_OF_SECRETS)}

    def wait(self, timeout_s: float) -> None:
        """Takes reports for at most that long, returning after the first; notices ends.

        Raises:
            ChildDiedError: A process ended unasked.
        """
        if not self._selector.get_map():
            time.sleep(max(0.0, timeout_s))
        else:
            for key, _ in self._selector.select(max(0.0, timeout_s)):
                if not key.data.read():
                    self._selector.unregister(key.fileobj)
        self.check()

    def check(self) -> None:
        """Raises `ChildDiedError` for a process that ended unasked."""
        for process in self.processes:
            if not process.expected and not process.alive():
                raise process.died()
        if self._reaper.poll() is not None:
            raise HarnessError("the reaper process is gone: nothing would clean up after a killed harness")

    def stop(self, processes: Sequence[Process], *, grace_s: float = _STOP_S, term: bool = True) -> None:
        """Ends processes: asked first (SIGTERM where `term`), then killed with their group."""
        for process in processes:
            process.expected = True
            if term and process.alive():
                _signal(process.pid, signal.SIGTERM)
        end = time.monotonic() + grace_s
        for process in processes:
            try:
                process.popen.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                _signal(process.pid, signal.SIGKILL)
                process.popen.wait()
            _signal(process.pid, signal.SIGKILL)  # what it may have started in its group
            self._forget(process)

    def kill(self, processes: Sequence[Process]) -> None:
        """Ends processes at once."""
        for process in processes:
            process.expected = True
            _signal(process.pid, signal.SIGKILL)
        self.stop(processes, term=False)

    def pause(self, process: Process, *, stop: bool) -> None:
        """Stops a process with its group where it stands, or lets it go on."""
        _signal(process.pid, signal.SIGSTOP if stop else signal.SIGCONT)

    def remove_too(self, path: Path) -> None:
        """Has a file or folder that a process of ours made elsewhere removed at the end, however that comes."""
        self._more.append(path)
        self._tell(f"dir {path}")

    def _forget(self, process: Process) -> None:
        if process not in self.processes:
            return
        self.processes.remove(process)
        self._hang_up(process)
        self._tell(f"ended {process.pid}")

    def _hang_up(self, process: Process) -> None:
        for pipe in (process.popen.stdin, process.popen.stdout):
            if pipe is None:
                continue
            if pipe in self._selector.get_map():
                self._selector.unregister(pipe)
            try:
                pipe.close()
            except OSError:
                continue  # an order it never read

    def _tell(self, line: str) -> None:
        assert self._reaper.stdin is not None
        try:
            self._reaper.stdin.write(line.encode() + b"\n")
            self._reaper.stdin.flush()
        except OSError as error:
            raise HarnessError("the reaper process is gone") from error

    def close(self) -> None:
        """Ends everything and removes the temporary folder."""
        self._more += map(Path, reaper.shared(reaper.marked(self._token)))
        for process in list(self.processes):
            process.expected = True
            _signal(process.pid, signal.SIGKILL)
        for process in list(self.processes):
            process.popen.wait()
            self._hang_up(process)
        shutil.rmtree(self.directory, ignore_errors=True)
        for path in self._more:
            reaper.remove(str(path))
        assert self._reaper.stdin is not None
        with contextlib.suppress(OSError):  # gone before us, with nothing left to end
            self._reaper.stdin.close()
        try:
            self._reaper.wait(2 * _STOP_S)
        except subprocess.TimeoutExpired:
            self._reaper.kill()
            self._reaper.wait()
        self._selector.close()


def stale(root: Path | None = None) -> list[Path]:
    """Temporary folders of harnesses that are gone."""
    found = []
    for folder in sorted((root or Path(tempfile.gettempdir())).glob(f"{PREFIX}*")):
        try:
            owner = json.loads((folder / OWNER_FILE).read_text())
            if start_time(int(owner["pid"])) != owner["start"]:
                found.append(folder)
        except (OSError, ValueError, KeyError, TypeError):
            continue  # being made, or not ours
    return found


def _signal(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except OSError:
        return  # gone
