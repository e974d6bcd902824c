"""`real run --watch`: what is shown of points, and a real run whose numbers can be scraped meanwhile."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from real.sinks.points import Point
from real.watch import State, Watching

pytestmark = pytest.mark.measures

ROOT = Path(__file__).resolve().parents[2]
S = 1_000_000_000


def points(second: int, sent: int, handled: int) -> list[Point]:
    tags = {"scenario": "s", "engine": "python"}
    run = {"sent_total": sent, "out_total": handled, "lag": sent - handled, "latency_acked_ms_p50": 12.5}
    return [
        Point("weir_run", tags, run, second * S),
        Point("weir_worker", {**tags, "worker": "worker.0"}, {"handled_total": handled}, second * S),
        Point(
            "weir_model", {**tags, "worker": "worker.0", "type": "wine", "model": "tree"}, {"version": 3}, second * S
        ),
    ]


def test_rates_lag_latencies_workers_and_models_are_shown() -> None:
    state = State()
    state.take(points(1, 100, 90))
    assert dict(state.rows())["worker.0 /s"] == "-"
    state.take(points(3, 300, 290))
    shown = dict(state.rows())
    assert shown["worker.0 /s"] == "100"
    assert shown["lag"] == "10"
    assert shown["latency ms, p50 | p95 | p99"] == "12.5 | - | -"
    assert shown["worker.0 wine"] == "tree 3"
    assert state.line().startswith("2 s: in /s | out /s: ")


def test_the_next_run_of_a_sweep_begins_anew() -> None:
    state = State()
    state.take(points(1, 100, 90))
    state.take(points(9, 5, 0))
    assert state.began_ns == 9 * S
    assert dict(state.rows())["worker.0 /s"] == "-"


def test_without_a_terminal_there_are_plain_lines() -> None:
    out = io.StringIO()
    with Watching(out) as watching:
        watching("load: 5 of 10", 0.5)
        watching("load: 6 of 10", 0.6)
        watching.put(points(1, 100, 90))
        watching.put(points(2, 200, 190))  # at once: no further line
    assert out.getvalue().splitlines()[0] == "load"
    assert len(out.getvalue().splitlines()) == 2
    assert "\x1b" not in out.getvalue()


def test_on_a_terminal_there_is_a_table() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    with Watching(out) as watching:
        watching.put(points(1, 100, 90))
        watching._live.refresh()
        with watching.hidden():
            pass
    assert "worker.0 wine" in out.getvalue()


def test_a_real_run_is_watched_and_scraped(scenario_file: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "real", "run", str(scenario_file), "--watch", "--warm", "0", "-o", str(tmp_path)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    address, scraped, told = "", "", []
    try:
        for line in process.stderr:
            told.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+/metrics", line):
                address = found[0]
            if "worker.0 /s: " in line:  # the run is on
                with urllib.request.urlopen(address, timeout=60) as answer:
                    scraped = answer.read().decode()
                break
        out, rest = process.communicate(timeout=300)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, "".join(told) + rest
    assert "weir_run_sent_total{" in scraped
    assert 'weir_worker_handled_total{engine="python",scenario="small",worker="worker.0"}' in scraped
    assert "measured, not predicted; librdkafka's mock broker" in out


def test_a_cluster_is_not_watched() -> None:
    command = [sys.executable, "-m", "real", "run", "scenarios/pool/step.yaml", "--watch"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert found.returncode == 2
    assert "--watch: scenarios/pool/step.yaml is a cluster" in found.stderr


@pytest.mark.parametrize("word", ["run", "sweep"])
def test_help_names_it(word: str) -> None:
    command = [sys.executable, "-m", "real", word, "--help"]
    environment = {**os.environ, "COLUMNS": "160"}
    found = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert "--watch" in found.stdout
