"""`python -m sim`: what it prints where, what it writes, its exit codes."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from analysis.columns import OUTCOMES
from analysis.runs import find_runs, read_run
from sim import costs, shown, sweeping
from sim.__main__ import app
from sim.warm import small_calibration

ROOT = Path(__file__).resolve().parents[2]

SCENARIO = """
name: small
workload: {arrival: {kind: poisson, rate: 400 /s}, warmup: 0 s, duration: 3 s, drain: 1 s}
broker: {partitions: 4}
"""
SWEEP = SCENARIO + "sweep: {engine.parallelism: [1, 2], repeats: 2}\n"


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def calibration(tmp_path: Path) -> Path:
    path = tmp_path / "small.json"
    costs.write(small_calibration(), path)
    return path


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SCENARIO)
    return path


@pytest.fixture
def swept(tmp_path: Path) -> Path:
    path = tmp_path / "swept.yaml"
    path.write_text(SWEEP)
    return path


def sim(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def ok(result: Any) -> str:
    assert result.exit_code == 0, result.output
    out: str = result.stdout
    return out


def test_run_writes_a_run_like_a_real_one(scenario: Path, calibration: Path, runs_dir: Path) -> None:
    said = json.loads(ok(sim("run", scenario, "--calibration", calibration, "--out", runs_dir, "--json")))
    (path,) = find_runs(runs_dir)
    run = read_run(path)
    assert Path(said["path"]) == path
    assert (run.meta["backend"], run.meta["verdict"]) == ("sim", "STABLE")
    assert said["metrics"] == run.meta["metrics"]
    assert said["calibration"]["name"] == "warm"
    assert said["accounting"]["sent"] == sum(said["accounting"][word] for word in OUTCOMES) == len(run.records)
    assert run.meta["timing"]["events"] > 0


def test_the_first_lines_of_a_run_are_verdict_slo_and_trust(scenario: Path, calibration: Path, runs_dir: Path) -> None:
    slo = "slo.latency_p99=1 s"
    result = sim("run", scenario, "--set", slo, "--calibration", calibration, "--no-write", "-o", runs_dir)
    lines = ok(result).splitlines()
    assert (lines[0], lines[1].split()) == ("SLO met", ["verdict", "STABLE"])
    assert lines[5].startswith("trust        calibration warm (of another host); outside measured range: ")
    assert lines[5].endswith("held-out errors: none yet")
    assert "throughput /s" in "\n".join(lines[6:])
    assert list(runs_dir.iterdir()) == []


def test_a_broken_slo_is_shown_and_no_failure(scenario: Path, calibration: Path) -> None:
    result = sim("run", scenario, "--set", "slo.latency_p99=1 us", "--calibration", calibration, "--no-write")
    assert "SLO broken: latency_p99 <= 0.001: latency_" in ok(result)


def test_a_broken_expect_exits_3(scenario: Path, swept: Path, calibration: Path, tmp_path: Path) -> None:
    expect = ("--set", "expect.throughput=1000 /s", "--calibration", calibration, "-o", tmp_path)
    run = sim("run", scenario, *expect, "--json")
    assert run.exit_code == 3
    assert "expect: throughput >= 1000: throughput_per_s is " in run.stderr
    assert json.loads(run.stdout)["expect_broken"]
    points = sim("sweep", swept, *expect, "--jobs", 1)
    assert points.exit_code == 3
    assert "expect: engine.parallelism 2: throughput >= 1000" in points.stderr


def test_an_invalid_run_exits_1(scenario: Path, calibration: Path) -> None:
    nothing = ("--set", "workload.arrival.rate=0.000001 /s", "--calibration", calibration)
    result = sim("run", scenario, *nothing, "--no-write")
    assert result.exit_code == 1, result.output
    assert result.stdout.splitlines()[1] == "verdict      INVALID: no record was sent"


def test_a_wrong_scenario_exits_2_and_says_where(tmp_path: Path, calibration: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(SCENARIO + "engin: {}\n")
    for command in ("run", "sweep", "capacity"):
        result = sim(command, wrong, "--calibration", calibration)
        assert result.exit_code == 2
        assert result.stderr.startswith(f"{wrong}:5:")
        assert result.stdout == ""


@pytest.mark.parametrize("command", ["run", "sweep", "capacity"])
def test_a_missing_or_foreign_calibration_exits_4(command: str, scenario: Path, tmp_path: Path) -> None:
    missing = sim(command, scenario, "--calibration", "nowhere")
    assert missing.exit_code == 4
    assert "no calibration named nowhere" in missing.stderr
    flink = tmp_path / "flink.json"
    costs.write(dataclasses.replace(small_calibration(), regime={"engine": "flink"}), flink)
    assert sim(command, scenario, "--calibration", flink).exit_code == 4
    other = tmp_path / "other.json"
    costs.write(dataclasses.replace(small_calibration(), fingerprint={"cpu_model": "none such"}), other)
    foreign = sim(command, scenario, "--set", "hosts=this", "--calibration", other)
    assert foreign.exit_code == 4
    assert "of another host" in foreign.stderr
    broken = tmp_path / "broken.json"
    broken.write_text("{}")
    assert sim(command, scenario, "--calibration", broken).exit_code == 4


def test_a_swept_scenario_runs_its_first_point_and_says_so(swept: Path, calibration: Path) -> None:
    result = sim("run", swept, "--calibration", calibration, "--no-write", "--json")
    assert json.loads(ok(result))["parallelism"] == 1
    assert "sweeps engine.parallelism" in result.stderr


def test_simpy_gives_the_same_and_says_that_it_is_slow(scenario: Path, calibration: Path) -> None:
    asked = ("run", scenario, "--set", "workload.duration=1 s", "--calibration", calibration, "--no-write", "--json")
    loop, simpy = sim(*asked), sim(*asked, "--backend", "simpy")
    assert json.loads(ok(simpy))["metrics"] == json.loads(ok(loop))["metrics"]
    assert "readable reference" in simpy.stderr
    assert sim(*asked, "--backend", "other").exit_code == 2


def test_sweep_json_is_a_list_of_points(swept: Path, calibration: Path, tmp_path: Path) -> None:
    asked = ("sweep", swept, "--calibration", calibration, "--out", tmp_path, "--jobs", 1)
    points = json.loads(ok(sim(*asked, "--json")))
    assert [point["engine.parallelism"] for point in points] == [1, 2]
    for point in points:
        assert point["verdict"] == "STABLE"
        assert point["repeats"] == 2
        assert point["calibration"]["name"] == "warm"
        low, middle, high = (point[key]["throughput_per_s"] for key in ("metrics_lo", "metrics", "metrics_hi"))
        assert low < middle < high
    table = ok(sim(*asked))
    assert "trust        calibration warm" in table
    assert "medians of 2 repeats" in table
    assert "STABLE" in table


def test_capacity_searches_both_throughputs(scenario: Path, calibration: Path, tmp_path: Path) -> None:
    asked = ("capacity", scenario, "--calibration", calibration, "--out", tmp_path, "--repeats", 2)
    expect = ("--set", "expect.sustainable_throughput=1000000 /s", "--set", "expect.latency_p99=1 us")
    result = sim(*asked, *expect, "--json")
    assert result.exit_code == 3
    assert result.stderr.count("expect: ") == 1  # latency is of a run, not of a search
    (found,) = json.loads(result.stdout)
    sustainable, drain = found["sustainable"], found["drain"]
    assert sustainable["confirmed"]
    assert "2 of the 5 repeats" in sustainable["reason"]
    assert 0.5 < sustainable["rate_per_s"] / drain["rate_per_s"] < 1.1
    assert found["utilisation"] == pytest.approx(400 / sustainable["rate_per_s"])
    assert {probe["repeat"] for probe in sustainable["probes"]} == {0, 1}
    again = sim(*asked)
    assert "/s, repeat" not in again.stderr  # every probe was kept
    assert "confirmed" in ok(again)
    ramp = sim(*asked, "--set", "workload.arrival={kind: ramp, rate: 1 /s, to_rate: 9 /s}")
    assert ramp.exit_code == 2
    assert "kind ramp" in ramp.stderr


def test_warm_needs_no_calibration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = sim("warm")
    assert ok(result) == ""
    assert "compiled the loop" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_calibrations_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "calibrations").mkdir()
    costs.write(small_calibration(), tmp_path / "calibrations" / "mine.json")
    found = {row["name"]: row for row in json.loads(ok(sim("calibrations", "--json")))}
    assert found["mine"]["host_match"] is False
    assert "mine" in ok(sim("calibrations"))


def test_the_trust_line() -> None:
    here = {"name": "a", "host_match": True, "outside": [], "held_out": []}
    assert shown.trust_line(here) == (
        "calibration a (this host); outside measured range: none; held-out errors: none yet"
    )
    row = {"metric": "throughput", "utilisation_band": "below 0.7", "error": 0.0488, "ceiling": 0.01}
    other = {"name": "a", "host_match": False, "outside": ["points 9 outside 1 to 8"], "held_out": [row]}
    line = shown.trust_line(here, other)
    assert "(of another host); outside measured range: points 9 outside 1 to 8;" in line
    assert line.endswith("throughput at utilisation below 0.7 5.0 % (noise ceiling 1.0 %)")


def test_progress_without_a_terminal_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 1000, 3))
    monkeypatch.setattr("sim.shown.time.monotonic", lambda: float(next(clock)))
    with shown.Progress("simulations") as progress:
        for done in range(5, 11):
            progress(done, 10)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == ["7 of 10 simulations, 0:09 left", "9 of 10 simulations, 0:03 left"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sweep_exits_130_and_says_how_to_go_on(
    number: signal.Signals, swept: Path, calibration: Path, tmp_path: Path
) -> None:
    repeats = 400
    command = [sys.executable, "-m", "sim", "sweep", str(swept), "--set", f"sweep.repeats={repeats}"]
    command += ["--calibration", str(calibration), "--out", str(tmp_path), "--jobs", "2"]
    kept = tmp_path / sweeping.FOLDER
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    began = time.monotonic()
    while time.monotonic() - began < 60 and process.poll() is None and len(list(kept.glob("*.json"))) < 3:
        time.sleep(0.05)
    os.killpg(process.pid, number)  # as a terminal does: every process of the group
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == ""
    assert f"of {2 * repeats} simulations are kept in {kept}; the same command goes on from there" in err
    assert "Traceback" not in err
    assert len(list(kept.glob("*.json"))) >= 3
