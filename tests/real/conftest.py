"""Small scenarios, harnesses started as commands, and one broker for all tests that need a real one."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from real import procfs
from real.procfs import start_time
from real.session import Session
from scenarios.load import load
from scenarios.spec import Scenario

ROOT = Path(__file__).resolve().parents[2]
BASE = """
name: small
workload:
  arrival: {kind: constant, rate: 200 /s}
  warmup: 0.5 s
  duration: 2.5 s
  drain: 5 s
broker: {kind: mock, partitions: 4, producer: {linger: 1 ms}}
engine: {kind: python, parallelism: 1}
model: ffnn
"""

Make = Callable[..., Scenario]
#: What others may take of the machine before a failed measurement says nothing.
_OTHERS_CORES, _STOLEN = 0.3, 0.05
#: What fails sooner measured nothing.
_SHORTEST_NS = 1_000_000_000


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """A test marked `measures` that fails while others use the machine is skipped, and says how much they used."""
    if pyfuncitem.get_closest_marker("measures") is None:
        return (yield)
    cores, ours_ns, began = procfs.cores(), _cpu_ns(), time.monotonic_ns()
    try:
        return (yield)
    except AssertionError:
        now, lasted_ns = procfs.cores(), time.monotonic_ns() - began
        others = (sum(now.used_ns) - sum(cores.used_ns) - (_cpu_ns() - ours_ns)) / lasted_ns
        stolen = (now.steal_ns - cores.steal_ns) / lasted_ns / max(1, len(now.used_ns))
        if lasted_ns > _SHORTEST_NS and (others > _OTHERS_CORES or stolen > _STOLEN):
            pytest.skip(f"disturbed: other processes used {others:.1f} cores, the hypervisor {stolen:.0%}")
        raise


def _cpu_ns() -> int:
    """CPU of this process and everything below it, living or not."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = time.process_time() + ended.ru_utime + ended.ru_stime
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            total += sum(child.cpu_times()[:2])
    return round(total * 1e9)


@pytest.fixture
def scenario_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(BASE)
    return path


@pytest.fixture
def make(scenario_file: Path) -> Make:
    return lambda *sets: load(scenario_file, list(sets))


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A session on a real broker, cold: nothing is measured."""
    with Session(out=tmp_path_factory.mktemp("runs"), broker="kafka", warm_s=0) as session:
        yield session


@dataclass
class Harness:
    """`python -m real run` as a process of its own, its temporary files in a folder of its own."""

    popen: subprocess.Popen[bytes]
    temporary: Path
    runs: Path

    def family(self) -> dict[int, str]:
        """Every process below it, with its start."""
        parents: dict[int, list[int]] = {}
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    parent = int((folder / "stat").read_bytes().rpartition(b")")[2].split()[1])
                except (OSError, IndexError):
                    continue
                parents.setdefault(parent, []).append(int(folder.name))
        found, todo = {}, [self.popen.pid]
        while todo:
            for pid in parents.get(todo.pop(), []):
                found[pid] = start_time(pid) or ""
                todo.append(pid)
        return found

    def child(self, module: str) -> int:
        """The process that runs a module (or class)."""
        for pid in self.family():
            if module.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
        raise AssertionError(f"no process of {module}")

    def until_loaded(self, limit_s: float = 60.0) -> None:
        """Waits until records flow: until the harness says that the load is on."""
        assert self.popen.stderr is not None
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            line = self.popen.stderr.readline()
            assert line, "the harness ended before its load"
            if line.startswith(b"load"):
                time.sleep(0.7)
                return
        raise AssertionError("no load")


@pytest.fixture
def harness(tmp_path: Path, scenario_file: Path) -> Iterator[Callable[..., Harness]]:
    started: list[Harness] = []

    def start(*options: str) -> Harness:
        temporary, runs = tmp_path / f"tmp{len(started)}", tmp_path / "runs"
        temporary.mkdir()
        command = [sys.executable, "-m", "real", "run", str(scenario_file), "-o", str(runs), "--warm", "0", *options]
        popen = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(temporary)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        started.append(Harness(popen, temporary, runs))
        return started[-1]

    yield start
    for each in started:
        if each.popen.poll() is None:
            each.popen.kill()
        each.popen.communicate()
