"""`python -m sim explore` as it is used: a process that serves, is asked over HTTP, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
SHORT = ["--set", "workload.warmup=2 s", "--set", "workload.duration=8 s"]
START_S = 300.0  # the first one may compile the loop


class Served:
    """A server under test."""

    def __init__(self, *arguments: str, scenario: str = "scenarios/scalability.yaml") -> None:
        command = [sys.executable, "-m", "sim", "explore", scenario, *arguments]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)
        assert self.process.stdout is not None
        timer = threading.Timer(START_S, self.process.kill)
        timer.start()
        self.address = self.process.stdout.readline().strip()
        timer.cancel()
        assert self.address, self.end(signal.SIGKILL)
        self.children = psutil.Process(self.process.pid).children(recursive=True)

    def end(self, how: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        """Its exit code and what it said on stderr; its children must be gone too."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.address + path, timeout=120) as reply:
            return reply.read().decode()

    def open(self, path: str, said: Any, headers: dict[str, str] | None = None) -> Any:
        body = said if isinstance(said, bytes) else json.dumps(said).encode()
        request = urllib.request.Request(
            self.address + path, body, {"Content-Type": "application/json", **(headers or {})}
        )
        return urllib.request.urlopen(request, timeout=120)

    def simulate(self, page: str = "test", **said: Any) -> list[dict[str, Any]]:
        with self.open("simulate", {"page": page, **said}) as reply:
            return [json.loads(line) for line in reply]

    def refused(self, path: str, said: Any = None, headers: dict[str, str] | None = None) -> tuple[int, str]:
        with pytest.raises(urllib.error.HTTPError) as found:
            self.open(path, said, headers).close() if said is not None else self.get(path)
        with found.value as reply:
            return reply.code, reply.read().decode()


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    found = Served(*SHORT)
    yield found
    code, said = found.end()
    lines = [line for line in said.splitlines() if not line.startswith("compiling")]
    assert (code, lines) == (130, ["interrupted"])
    _gone(found.children)


def _gone(children: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []


def kinds(told: list[dict[str, Any]]) -> list[str]:
    return [kind for kind in dict.fromkeys(each["kind"] for each in told) if kind != "progress"]


def test_it_serves_the_page_and_what_it_begins_with(served: Served) -> None:
    assert served.address.startswith("http://127.0.0.1:")
    assert "<title>Weir: explore</title>" in served.get("")
    for path in ("static/explore.js", "static/plots.js", "static/explore.css", "static/uplot/uPlot.iife.min.js"):
        assert served.get(path)
    start = json.loads(served.get("start"))
    assert start["name"] == "scalability"
    assert start["values"]["workload.arrival.rate"] == 30_000
    assert {"two-cores", "textbook"} <= set(start["calibrations"])
    assert json.loads(served.get("start?preset=bursty/debug.yaml"))["name"] == "bursty-debug"
    assert served.refused("start?preset=../x")[0] == 400


def test_a_preview_comes_first_then_the_full_run_and_how_far_off_it_was(served: Served) -> None:
    told = served.simulate(values={"engine.parallelism": 4, "slo.latency_p99": 50})
    assert kinds(told) == ["preview", "full"]
    preview, full = told[0], told[-1]
    assert preview["simulated_s"] < preview["of_s"] == full["simulated_s"] == 10.0
    assert preview["records"] < full["records"] == 300_000
    rows = {row["metric"]: row for row in full["off"]["rows"]}
    p99 = rows["latency_p99"]
    assert p99["preview"] == preview["metrics"]["latency_p99"]
    assert p99["full"] == full["metrics"]["latency_p99"]
    assert p99["relative"] == pytest.approx(p99["preview"] / p99["full"] - 1)
    assert [bound["line_ms"] for bound in full["slo"]] == [50.0]
    assert "--set engine.parallelism=4" in preview["command"]


def test_what_was_run_before_is_not_run_again(served: Served) -> None:
    first = served.simulate(values={"engine.parallelism": 3})[-1]
    again = served.simulate(values={"engine.parallelism": 3})
    assert [each["kind"] for each in again] == ["preview", "full"]  # no progress: nothing was simulated in full
    assert again[-1]["metrics"] == first["metrics"]


def test_the_full_run_is_the_one_of_the_command_line(served: Served, tmp_path: Path) -> None:
    full = served.simulate(preset="first_light.yaml")[-1]
    command = [sys.executable, "-m", "sim", "run", "scenarios/first_light.yaml", "--json", "-o", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["metrics"]["throughput_per_s"] == full["metrics"]["throughput_per_s"]


def test_a_question_that_cannot_be_is_told_with_its_control(served: Served) -> None:
    told = served.simulate(values={"engine.parallelism": 0})
    assert kinds(told) == ["wrong"]
    assert told[0]["keys"] == ["engine.parallelism"]
    assert "must be at least 1" in told[0]["message"]
    assert (
        "is of engine python" in served.simulate(values={"engine.kind": "flink"}, calibration="two-cores")[0]["message"]
    )
    assert "no such control" in served.simulate(values={"hosts": 3})[0]["message"]
    assert "there is no 'x'" in served.simulate(preset="x")[0]["message"]
    assert kinds(served.simulate(preset="first_light.yaml"))[-1] == "full"  # the next one is answered


def test_a_long_run_waits_to_be_asked_for(served: Served) -> None:
    told = served.simulate(values={"workload.arrival.rate": 900_000})
    assert kinds(told) == ["preview", "held"]
    assert told[-1]["records"] == 9_000_000
    told = served.simulate(values={"workload.arrival.rate": 1e8}, anyway=True)
    assert kinds(told)[0] in ("preview", "wrong")
    if kinds(told)[0] == "preview":
        assert "GiB are free" in told[-1]["message"]


def test_the_next_question_of_a_page_ends_its_last(served: Served) -> None:
    long = {"workload.arrival.rate": 99_000, "engine.parallelism": 8, "workload.seed": 5}
    with served.open("simulate", {"page": "one", "values": long}) as reply:
        assert json.loads(reply.readline())["kind"] == "preview"
        told = served.simulate("one", preset="first_light.yaml")
        assert kinds(told)[-1] == "full"
        assert [json.loads(line)["kind"] for line in reply if b'"full"' in line] == []


def test_the_scenario_is_given_as_a_file(served: Served, tmp_path: Path) -> None:
    with served.open("scenario", {"values": {"engine.parallelism": 9}}) as reply:
        text = reply.read().decode()
    (tmp_path / "copied.yaml").write_text(text)
    command = [sys.executable, "-m", "scenarios", "validate", str(tmp_path / "copied.yaml")]
    assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 0
    assert "parallelism: 9" in text
    assert served.refused("scenario", {"values": {"engine.parallelism": 0}})[0] == 400


def test_only_its_own_page_is_answered(served: Served) -> None:
    assert served.refused("simulate", {}, {"Content-Type": "text/plain"})[0] == 415
    assert served.refused("simulate", b"{", None)[0] == 400
    assert served.refused("simulate", [1], None)[0] == 400
    assert served.refused("simulate", {}, {"Host": "weir.example"})[0] == 400
    assert served.refused("static/../server.py")[0] == 404
    port = int(served.address.rsplit(":", 1)[1].strip("/"))
    listening = [c.laddr for c in psutil.Process(served.process.pid).net_connections() if c.status == "LISTEN"]
    assert [(a.ip, a.port) for a in listening] == [("127.0.0.1", port)]


def test_a_simulating_process_that_dies_is_told_and_replaced(served: Served) -> None:
    for child in psutil.Process(served.process.pid).children():
        child.kill()
        child.wait(60)
    _until(lambda: kinds(served.simulate(preset="first_light.yaml"))[-1] == "full")
    served.children = psutil.Process(served.process.pid).children()
    assert len(served.children) >= 1


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline


def test_nothing_outlives_a_server_that_is_killed() -> None:
    found = Served("--json")
    found.address = json.loads(found.address)["address"]
    assert len(found.children) == 2
    with found.open("simulate", {"page": "p", "values": {"engine.parallelism": 2}}) as reply:
        reply.readline()
        assert found.end(signal.SIGKILL)[0] == -signal.SIGKILL
    _gone(found.children)


def test_ctrl_c_while_it_simulates_ends_all_of_it() -> None:
    found = Served()
    with found.open("simulate", {"page": "p", "values": {"engine.parallelism": 2}}) as reply:
        reply.readline()
        code, said = found.end()
    assert code == 130
    assert "Traceback" not in said
    _gone(found.children)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere.yaml"], 2, "nowhere.yaml"),
        (["scenarios/faro/top9.yaml"], 2, "is of a cluster"),
        (["scenarios/scalability.yaml", "--set", "engine.parallelism=0"], 2, "must be at least 1"),
        (["scenarios/scalability.yaml", "--calibration", "nobodys"], 4, "no calibration named nobodys"),
    ],
)
def test_wrong_use_is_told_before_anything_is_served(arguments: list[str], code: int, message: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sim", "explore", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_busy_port_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "sim", "explore", "scenarios/first_light.yaml", "--port", str(port)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, env=dict(os.environ))
    assert done.returncode == 2
    assert f"--port: {port}: " in done.stderr
    assert "--port 0 takes any free one" in done.stderr
