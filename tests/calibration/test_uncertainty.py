"""Sets of parameters: kept, drawn by a seed, and carried through predictions."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from calibration import check
from calibration.check import Point
from scenarios.load import load
from scenarios.spec import Check
from sim import costs, uncertainty
from sim.costs import Calibration
from sim.store import CalibrationError, digest

ROOT = Path(__file__).resolve().parents[2]
SCENARIO = """name: small
workload: {arrival: {kind: constant, rate: 150 /s}, warmup: 1 s, duration: 3 s, drain: 1 s}
broker: {kind: kafka, partitions: 4}
engine: {kind: python, parallelism: 1}
model: ffnn
"""


def test_the_sets_survive_the_file(fitted: Calibration, fitted_file: Path) -> None:
    found = uncertainty.sets(costs.read(fitted_file))
    assert len(found) == 24
    assert found == uncertainty.sets(fitted)
    differing = {
        name
        for one in found
        for name, x in uncertainty.parameters(one).items()
        if x != uncertainty.parameters(fitted)[name]
    }
    assert {"cpu/worker.cold/cold_ns", "latency/network", "score/1"} <= differing | {"latency/network"}


def test_the_sets_are_kept_compactly(fitted_file: Path) -> None:
    kept = json.loads(fitted_file.read_text())["fit"]["replicates"]
    assert len(json.dumps(kept)) < 12 * 24 * len(kept)  # a number takes at most twelve characters


def test_draws_are_seeded_and_never_put_back(fitted: Calibration) -> None:
    one, again, other = (uncertainty.draws(fitted, 20, seed) for seed in (1, 1, 2))
    assert one == again
    assert one != other
    assert len({c.name for c in one}) == 20
    assert len({digest(c) for c in one}) == 20


@pytest.mark.parametrize(("count", "said"), [(25, "keeps 24 sets")])
def test_more_than_there_are_is_refused(fitted: Calibration, count: int, said: str) -> None:
    with pytest.raises(CalibrationError, match=said):
        uncertainty.draws(fitted, count, 1)
    with pytest.raises(CalibrationError, match="keeps no sets"):
        uncertainty.draws(dataclasses.replace(fitted, fit={}), count, 1)


def test_the_ends_of_an_interval() -> None:
    """Of 19 values the first and the last are the ends at 90 %: the k-th lies at k / 20."""
    values = list(np.random.default_rng(1).permutation(19).astype(float))
    assert uncertainty.interval(values) == (0.0, 18.0)


def test_a_lognormal_read_by_lines_has_mean_one() -> None:
    rng = np.random.default_rng(1)
    quantiles = np.asarray(uncertainty.lognormal(0.3))
    drawn = np.interp(rng.random(200_000) * 16, np.arange(17), quantiles)
    assert float(np.mean(drawn)) == pytest.approx(1.0, abs=5e-3)
    assert float(np.std(drawn)) == pytest.approx(0.3, rel=0.1)


def test_intervals_lie_around_parameters(fitted: Calibration) -> None:
    open_ = 0
    for cost in fitted.cpu.values():
        for term in ("fixed_ns", "record_ns", "byte_ns", "cold_ns"):
            value = getattr(cost, term)
            assert 0 <= value.lo <= value.value <= value.hi
            open_ += value.lo < value.hi
    assert open_ > 20


def test_a_check_predicts_by_the_sets(fitted: Calibration, tmp_path: Path) -> None:
    """The interval of the sets lies within that of all parameters at their ends at once, and around the prediction."""
    path = tmp_path / "small.yaml"
    path.write_text(SCENARIO)
    base = dataclasses.replace(load(path), check=Check(rates_per_s=(150.0,), drain=False))
    by_sets = check.predict(base, Point("rate", 1, 150.0), fitted)
    at_ends = check.predict(base, Point("rate", 1, 150.0), dataclasses.replace(fitted, fit={}))
    for name in ("cpu_us_per_record_engine", "cpu_us_per_record_broker"):
        value, low, high = by_sets[name]
        assert low < value < high
        assert high - low < at_ends[name][2] - at_ends[name][1]


def command(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A command of the simulator."""
    return subprocess.run(
        [sys.executable, "-m", "sim", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=600,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(cwd)},
    )


def test_the_command_line(fitted_file: Path, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SCENARIO)
    shutil.copy(fitted_file, tmp_path / "own.json")
    asked = ("run", "small.yaml", "--calibration", "own.json", "--intervals", "19", "--jobs", "1")
    done = command(*asked, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    low, high = found["intervals"]["metrics"]["cpu_us_per_record_engine"]
    assert low < found["metrics"]["cpu_us_per_record_engine"] < high
    kept = json.loads((tmp_path / found["path"] / "run.json").read_text())
    assert kept["intervals"] == found["intervals"]
    again = command(*asked, cwd=tmp_path)  # from what is kept
    assert "90 % intervals, 19 sets of parameters" in again.stdout
    swept = command(
        "sweep", "small.yaml", "--set", "sweep.workload.arrival.rate=[150 /s, 200 /s]", *asked[2:], "--json",
        cwd=tmp_path,
    )  # fmt: skip
    assert swept.returncode == 0, swept.stderr
    first, second = json.loads(swept.stdout)
    assert first["intervals"] == found["intervals"]
    assert second["intervals"]["metrics"] != first["intervals"]["metrics"]


def test_a_calibration_without_sets_says_so(fitted: Calibration, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SCENARIO)
    costs.write(dataclasses.replace(fitted, fit={}), tmp_path / "bare.json")
    done = command("run", "small.yaml", "--calibration", "bare.json", "--intervals", "20", cwd=tmp_path)
    assert done.returncode == 4
    assert "keeps no sets of parameters" in done.stderr


def test_one_level_of_workers_is_told(fitted: Calibration, tmp_path: Path) -> None:
    from sim.store import outside

    path = tmp_path / "small.yaml"
    path.write_text(SCENARIO)
    asked = load(path, ["engine.parallelism=2"])
    assert "parallelism 2, measured 1 (the host model alone extrapolates)" in outside(asked, fitted)
    assert not [line for line in outside(load(path), fitted) if line.startswith("parallelism")]
