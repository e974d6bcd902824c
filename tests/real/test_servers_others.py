"""Model servers of others, really started; each is skipped by name where it is not installed.

`WEIR_PYTHON_<SERVER>` names the Python that has one, where that is not this one.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from real.errors import ChildDiedError, RefusedError
from real.processes import Supervisor
from real.run import run
from real.servers import SERVERS, server
from real.servers.base import Ask, Server
from real.servers.check import check
from scenarios.spec import Model
from tests.real.checks import sound
from tests.real.conftest import Make

OTHERS = [word for word in SERVERS if word != "weir"]
#: A process of each whose death is the server's, by words of its command line.
VITAL = {
    "mlserver": "mlserver",
    "torchserve": "org.pytorch.serve.ModelServer",
    "triton": "bin/tritonserver",
    "ray-serve": "raylet/raylet",
    "tf-serving-protocol": "real.servers.own.front",
}


@pytest.fixture(params=OTHERS)
def other(request: pytest.FixtureRequest) -> Server:
    found = server(request.param)
    lacking = found.missing()
    if lacking is not None:
        pytest.skip(f"{found.word}: {lacking}")
    return found


def until(condition: Callable[[], Any], limit_s: float = 90.0) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


def test_it_answers_batches_dies_loudly_and_starts_again(other: Server, tmp_path: Path) -> None:
    report = check(other, tmp_path / "models", lambda _line: None)
    assert report.error is None, report.error
    assert report.version
    assert [row.protocol for row in report.rows] == list(other.protocols)
    for row in report.rows:
        assert set(row.p50_ms) == set(row.p50_batched_ms) == {1, 32}
        assert row.together > 1.2, f"{row.protocol}: batches do not pay"
        assert row.killed.get("connection", 0) > 0
        assert row.rss_mb > 50


def test_the_death_of_what_it_lives_by_is_heard(other: Server, tmp_path: Path) -> None:
    before = leftovers()
    with Supervisor() as supervisor:
        ask = Ask(Model("ffnn"), 1, tmp_path / "models")
        running = other.start(ask, supervisor, lambda _line: None)
        (vital, *_) = [
            pid
            for pid in running.pids()
            if VITAL[other.word].encode() in Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
        ]
        os.kill(vital, signal.SIGKILL)
        with pytest.raises(ChildDiedError):
            until(lambda: supervisor.wait(0.05))
        running.stop()
        assert running.pids() == []
    assert leftovers() <= before


def leftovers() -> set[str]:
    """What Triton leaves where nobody can tell it not to."""
    return {str(path) for path in (*Path("/tmp").glob("folder??????"), *Path("/dev/shm").glob("p*"))}


def test_a_supervisor_that_ends_takes_it_along(other: Server, tmp_path: Path) -> None:
    before = leftovers()
    supervisor = Supervisor()
    running = other.start(Ask(Model("ffnn"), 1, tmp_path / "models", workers=2), supervisor, lambda _line: None)
    assert len(running.pids()) >= 2
    supervisor.close()
    until(lambda: running.pids() == [], 30.0)
    until(lambda: leftovers() <= before, 30.0)
    assert not supervisor.directory.exists()


def test_a_run_that_calls_it_is_whole(other: Server, make: Make, runs_dir: Path) -> None:
    sets = ("serving.kind=external", f"serving.runtime={other.word}", "serving.batch=4", "serving.batch_delay=2 ms")
    rate = ("workload.arrival.rate=40 /s", "serving.client.mode=async", "serving.client.timeout=20 s")
    for protocol in other.protocols:
        found = sound(run(make(*sets, *rate, f"serving.client.protocol={protocol}"), out=runs_dir), sent=120)
        assert found.meta["server"]["version"] == other.version()
        assert found.meta["server"]["calls"]["answered"] == 120
        assert found.meta["counters"]["server"]["cpu_ns"] > 0


def test_what_it_does_not_have_is_refused(other: Server, make: Make) -> None:
    base = ("serving.kind=external", f"serving.runtime={other.word}")
    scenario = make(*base, "serving.client.protocol=" + ("ray-http" if other.word != "ray-serve" else "oip-http"))
    with pytest.raises(RefusedError, match=r"serving\.client\.protocol"):
        other.refuse(scenario)
