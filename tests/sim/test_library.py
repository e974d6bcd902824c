"""`from sim import simulate, sweep`: typed results, frames, and an import that stays light."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from scenarios.errors import ScenarioError
from scenarios.load import load
from sim import simulate, sweep
from sim.store import CalibrationError

ROOT = Path(__file__).resolve().parents[2]
SCENARIO = """
name: small
workload: {arrival: {kind: constant, rate: 200 /s}, warmup: 0.5 s, duration: 2 s, drain: 1 s}
broker: {kind: kafka, partitions: 4}
engine: {kind: python, parallelism: 1}
model: ffnn
slo: {latency_p50: 1 s}
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SCENARIO)
    return path


def test_a_run_is_typed_and_has_a_row_a_record(scenario: Path) -> None:
    run = simulate(scenario, {"engine.parallelism": 2}, calibration="two-cores")
    assert (run.verdict, run.slo_broken) == ("STABLE", ())
    assert len(run.records) == 500
    assert set(run.records["outcome"]) == {"scored"}
    assert set(run.records["worker"]) == {0, 1}
    inside = run.records["created"] >= 500_000_000
    assert run.latency_ms[inside].mean() == pytest.approx(run.metrics["latency_acked_ms_mean"])
    assert 0 < run.bottleneck["utilisation"] < 1
    assert str(run).startswith("SLO met\nverdict      STABLE\n")
    assert simulate(load(scenario, ["engine.parallelism=2"]), calibration="two-cores").metrics == run.metrics


def test_a_sweep_is_a_frame_with_a_row_a_point(scenario: Path, tmp_path: Path) -> None:
    sets = ["sweep={engine.parallelism: [1, 2]}", "slo={latency_p50: 1 us}"]
    found = sweep(scenario, sets, calibration="two-cores", runs=tmp_path / "runs", processes=1)
    frame = found.frame
    assert list(frame["engine.parallelism"]) == [1, 2]
    assert list(frame["verdict"]) == ["STABLE", "STABLE"]
    assert list(frame["slo_met"]) == [False, False]
    assert (frame["busy"] > 0).all()
    assert str(found).startswith("SLO broken at 2 of 2 points")
    repeated = sweep(
        scenario, ["sweep={repeats: 2}"], calibration="two-cores", runs=tmp_path / "runs", processes=1
    ).frame
    assert (repeated["throughput_per_s_lo"] <= repeated["throughput_per_s_hi"]).all()


def test_clusters_sweep_too(tmp_path: Path) -> None:
    sets = ["sweep={policy: [fairshare, aiad]}", "workload.minutes=2"]
    frame = sweep(ROOT / "scenarios" / "faro" / "slice.yaml", sets, runs=tmp_path, processes=1).frame
    assert list(frame["policy"]) == ["fairshare", "aiad"]
    assert (frame["violation_rate"] >= 0).all()


def test_errors_are_exceptions(scenario: Path, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="did you mean 'parallelism'"):
        simulate(scenario, {"engine.paralelism": 2})
    with pytest.raises(CalibrationError, match="no calibration named nothing"):
        simulate(scenario, calibration="nothing")
    with pytest.raises(ScenarioError):
        sweep(tmp_path / "nothing.yaml")


def test_importing_it_is_light() -> None:
    heavy = "numpy pandas numba pyarrow scipy simpy matplotlib"
    code = f"import sys; from sim import simulate, sweep; print([n for n in '{heavy}'.split() if n in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
    with pytest.raises(ImportError):
        from sim import nothing  # noqa: F401


@pytest.mark.slow
def test_the_page_runs_as_it_stands(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "library.md").read_text(), re.DOTALL)
    (tmp_path / "page.py").write_text("if __name__ == '__main__':\n" + re.sub("^", "    ", code, flags=re.MULTILINE))
    (tmp_path / "scenarios").symlink_to(ROOT / "scenarios")
    (tmp_path / "calibrations").symlink_to(ROOT / "calibrations")
    environment = {"PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1", "PATH": "/usr/bin:/bin", "HOME": str(Path.home())}
    found = subprocess.run([sys.executable, "page.py"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert "verdict      STABLE" in found.stdout
