"""Which points teach most, by hand; and what a check measured, kept with its calibration."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from calibration import check
from calibration.choose import candidates, choose, greedy
from scenarios.load import load
from scenarios.spec import Check, Scenario
from sim import costs
from sim.costs import Calibration
from sim.store import CalibrationError


def test_the_widest_of_independent_ones_comes_first() -> None:
    """Independent predictions: a measurement takes v^2 / (v + noise) of its own variance and nothing else."""
    found = greedy(np.diag([1.0, 4.0, 2.0]), [0, 1, 2], 0.5, 3)
    assert [point for point, _ in found] == [1, 2, 0]
    assert found[0][1] == pytest.approx(4.0**2 / 4.5 / 7.0)


def test_what_goes_together_is_measured_once() -> None:
    """Two predictions that are one, and a third of less variance alone: first one of the pair, then the third."""
    covariance = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.9]])
    first, second, third = greedy(covariance, [0, 1, 2], 1e-6, 3)
    assert first[0] in (0, 1)
    assert first[1] == pytest.approx(2.0 / 2.9, rel=1e-4)
    assert second[0] == 2
    assert third[1] < 1.01  # what is left is the noise of the first measurement


def test_points_are_distinct_and_not_the_fits(fitted: Calibration, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "name: c\nworkload: {warmup: 1 s, duration: 2 s}\nmodel: ffnn\n"
        "check: {parallelism: [1], rates: [200 /s], backlog: {records: 500}}\n"
    )
    base = load(path)
    there = candidates(base, fitted)
    assert len(set(there)) == len(there)
    assert not [p for p in there if p.kind == "rate" and p.parallelism == 1 and p.rate_per_s in (100.0, 300.0)]
    found = choose(base, fitted, 3, root=tmp_path, processes=1)
    assert len({one.point for one in found}) == 3
    assert all(one.point in there for one in found)
    assert found[0].gain == max(one.gain for one in found[:1])
    assert all(0 < one.gain < 1 for one in found)
    assert "is known to" in found[0].why


ROW = {
    "kind": "rate",
    "parallelism": 1,
    "rate_per_s": 200.0,
    "metric": "cpu_us_per_record_engine",
    "predicted": 500.0,
    "predicted_lo": 450.0,
    "predicted_hi": 550.0,
    "measured": 510.0,
    "repeats": [505.0, 510.0, 515.0],
}


def test_a_check_is_harvested_once(fitted_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    shutil.copy(fitted_file, path)
    for measured in (510.0, 520.0):  # the same check, taken up again
        own = costs.read(path)
        check.harvest(own, Path("runs/check-x"), [{**ROW, "measured": measured}], str(path), "2026-01-01")
    check.harvest(costs.read(path), Path("runs/check-y"), [ROW], str(path), "2026-01-02")
    first, second = json.loads(path.read_text())["fit"]["harvest"]
    assert (first["check"], second["check"]) == ("check-x", "check-y")
    assert first["rows"][0]["measured"] == 520.0
    assert first["rows"][0]["repeats"] == 3
    assert first["fingerprint"].keys() == {"cpu_model", "cores"}
    assert costs.read(path).cpu == costs.read(fitted_file).cpu  # it predicts as before


def test_another_hosts_measurements_do_not_belong_to_it(fitted: Calibration, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    other = dataclasses.replace(fitted, fingerprint={"cpu_model": "abacus", "cores": 1})
    costs.write(other, path)
    before = path.read_bytes()
    with pytest.raises(CalibrationError, match="another host: cpu_model abacus"):
        check.harvest(other, Path("runs/check-x"), [ROW], str(path), "2026-01-01")
    assert path.read_bytes() == before


def test_rows_have_the_baselines_beside_them(tmp_path: Path, fitted: Calibration) -> None:
    from calibration.show import baseline_table

    base = Scenario(name="c", check=Check(repeats=5, rates_per_s=(200.0,), drain=False))
    log = check.Log(tmp_path, base)
    point = check.Point("rate", 1, 200.0)
    for k in range(5):
        log.add(point, k, Path(f"r{k}"), {"verdict": "STABLE", "metrics": {"cpu_us_per_record_engine": 510.0}})
    forecast = {point: {"cpu_us_per_record_engine": (500.0, 450.0, 550.0)}}
    (row,) = check.compare(base, log, forecast, {1: 5000.0}, fitted.fit["seen"])
    assert row["baselines"].keys() == {"constant service", "straight line", "last value"}
    table = baseline_table([row])
    assert table is not None
    assert table.row_count == 1
