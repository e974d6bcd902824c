"""No process and no file outlives a harness, and whoever dies is heard."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.runs import Run, read_run
from real.errors import ChildDiedError, DeadlineError, HarnessError
from real.processes import Supervisor, stale
from real.procfs import start_time
from real.run import run
from tests.real.checks import sound
from tests.real.conftest import Harness, Make

Start = Callable[..., Harness]


def gone(family: dict[int, str], limit_s: float) -> list[str]:
    """Which of the processes still live after that long."""
    end = time.monotonic() + limit_s
    while True:
        alive = [pid for pid, start in family.items() if start_time(pid) == start and not zombie(pid)]
        if not alive or time.monotonic() > end:
            return [Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode() for pid in alive]
        time.sleep(0.02)


def died(started: Harness, victim: str, said: bytes, reason: str = "worker-died") -> Run:
    """The run of a harness one of whose processes is killed: it says who, keeps what was done and leaves nothing."""
    family = started.family()
    os.kill(started.child(victim), signal.SIGKILL)
    _, err = started.popen.communicate(timeout=120)
    assert started.popen.returncode == 1
    assert said + b" was killed by signal 9" in err
    assert gone(family, 5.0) == []
    (path,) = [p for p in started.runs.iterdir() if not p.name.startswith(".")]
    found = read_run(path)
    assert (found.meta["reason"], found.meta["verdict"]) == (reason, "INVALID")
    assert list(started.temporary.iterdir()) == []
    return found


def zombie(pid: int) -> bool:
    """Dead, and waiting for whoever adopted it."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"Z"
    except (OSError, IndexError):
        return True


def watch(supervisor: Supervisor, limit_s: float = 10.0) -> None:
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        supervisor.wait(0.01)


@pytest.mark.parametrize("broker", ["mock", pytest.param("kafka", marks=pytest.mark.kafka)])
def test_a_killed_harness_leaves_nothing(harness: Start, make: Make, runs_dir: Path, broker: str) -> None:
    started = harness("--broker", broker, "--set", "workload.duration=60 s")
    started.until_loaded()
    family = started.family()
    assert len(family) >= 4  # the reaper, a generator, a worker, the collector
    started.popen.kill()
    assert gone(family, 2.0) == []
    time.sleep(0.1)
    assert list(started.temporary.glob("weir-*")) == []
    if broker == "mock":
        sound(run(make(), out=runs_dir), sent=600)


def test_a_harness_killed_while_it_starts_leaves_nothing(harness: Start) -> None:
    started = harness("--set", "workload.duration=60 s")
    end = time.monotonic() + 30
    while len(started.family()) < 3 and time.monotonic() < end:
        time.sleep(0.005)
    family = started.family()
    started.popen.kill()
    assert gone(family, 2.0) == []
    end = time.monotonic() + 2
    while list(started.temporary.glob("weir-*")) and time.monotonic() < end:
        time.sleep(0.02)
    assert list(started.temporary.glob("weir-*")) == []


def test_a_killed_worker_ends_the_run(harness: Start) -> None:
    started = harness("--set", "workload.duration=60 s")
    started.until_loaded()
    found = died(started, "real.engines.python", b"worker.0")
    assert found.meta["accounting"]["scored"] > 0
    assert (found.records["acked"] >= 0).any()  # the dead worker's side file is there: it is mapped, not buffered


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_partial_and_readable(harness: Start, number: signal.Signals) -> None:
    started = harness("--set", "workload.duration=60 s")
    started.until_loaded()
    family = started.family()
    started.popen.send_signal(number)
    started.popen.communicate(timeout=30)
    assert started.popen.returncode == 130
    assert gone(family, 2.0) == []
    (path,) = started.runs.iterdir()
    assert path.name.endswith(".partial")
    found = read_run(path)
    assert (found.meta["reason"], found.meta["verdict"]) == ("interrupted", "INVALID")
    counts = found.meta["accounting"]
    assert counts["scored"] > 0
    assert counts["lost"] == 0
    assert len(found.records) > 0
    assert list(started.temporary.iterdir()) == []


def test_last_words_are_told() -> None:
    with Supervisor() as supervisor:
        supervisor.spawn("talker", [sys.executable, "-c", "import sys; sys.exit('out of cheese')"])
        with pytest.raises(ChildDiedError, match="out of cheese") as caught:
            watch(supervisor)
    assert (caught.value.name, caught.value.code) == ("talker", 1)


def test_what_is_no_report_is_last_words() -> None:
    speech = """import os; os.write(1, b'{"event": "ready"}\\n# A fatal error\\n'); os.write(2, b'oh\\n'); os.abort()"""
    with Supervisor() as supervisor:
        process = supervisor.talking("talker", [sys.executable, "-c", speech], {})
        with pytest.raises(ChildDiedError, match=r"(?s)signal 6.*oh.*# A fatal error"):
            watch(supervisor)
        assert process.take("ready") == {"event": "ready"}
        supervisor.stop([process])


def test_a_process_that_does_not_stop_is_killed() -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    with Supervisor() as supervisor:
        process = supervisor.spawn("deaf", [sys.executable, "-c", deaf])
        while process.last_words() != "1":
            time.sleep(0.01)
        began = time.monotonic()
        supervisor.stop([process], grace_s=0.2)
        assert time.monotonic() - began < 2
        assert process.popen.returncode == -signal.SIGKILL
        assert supervisor.processes == []


def test_what_a_child_started_dies_too() -> None:
    nested = (
        "import subprocess, sys, time; p = subprocess.Popen(['sleep', '60'], start_new_session=True);"
        " print(p.pid, flush=True); time.sleep(60)"
    )
    supervisor = Supervisor()
    process = supervisor.spawn("parent", [sys.executable, "-c", nested])
    while not process.last_words():
        time.sleep(0.01)
    grandchild = int(process.last_words())
    family = {grandchild: start_time(grandchild) or "", process.pid: start_time(process.pid) or ""}
    supervisor.close()
    assert gone(family, 2.0) == []
    assert not supervisor.directory.exists()


def test_a_lost_reaper_is_noticed() -> None:
    with Supervisor() as supervisor:
        supervisor.check()
        os.kill(supervisor.reaper_pid, signal.SIGKILL)
        with pytest.raises(HarnessError, match="reaper"):
            watch(supervisor)


def test_a_command_that_takes_too_long_is_ended() -> None:
    with Supervisor() as supervisor, pytest.raises(DeadlineError, match="slow"):
        supervisor.run("slow", ["sleep", "60"], 0.2)


def test_stale_folders_are_told_from_living_ones(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    owners = {"dead": (int(done.stdout), "1"), "reused": (os.getpid(), "1"), "alive": (os.getpid(), None)}
    for name, (pid, start) in owners.items():
        folder = tmp_path / f"weir-harness-{name}"
        folder.mkdir()
        (folder / "owner.json").write_text(json.dumps({"pid": pid, "start": start or start_time(pid)}))
    (tmp_path / "weir-harness-new").mkdir()
    assert [path.name for path in stale(tmp_path)] == ["weir-harness-dead", "weir-harness-reused"]
