"""Intervals hold the truth as often as they say, and the simulator beats what needs none."""

from __future__ import annotations

from pathlib import Path

import pytest

from calibration import recovery
from calibration.baselines import NAMES


def test_a_few_truths_are_recovered_and_kept(tmp_path: Path) -> None:
    """Ten draws, so bounds are loose: a 95 % interval that held 80 % of 300 would be a wrong one."""
    found = recovery.recover(10, seed=1, root=tmp_path, replicates=24)
    whole = recovery.parameters(found)[-1]
    assert whole["draws"] > 300
    assert 0.8 <= whole["inside"] / whole["draws"] <= 0.995
    every = next(row for row in recovery.predictions(found) if row["metric"] == "all")
    assert every["inside"] >= 0.6 * every["predictions"]
    cpu = [row for row in recovery.errors(found) if row["metric"].startswith("cpu_")]
    assert cpu
    for row in cpu:
        assert all(row["simulator"] < row[who] for who in ("constant service", "last value")), row
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / recovery.FOLDER).glob("*.json")}
    assert len(kept) == 10
    assert recovery.recover(10, seed=1, root=tmp_path, replicates=24) == found
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


@pytest.mark.slow
def test_two_hundred_truths(tmp_path: Path) -> None:
    found = recovery.recover(200, seed=1, root=tmp_path)
    assert recovery.judged(found) == []
    assert len([p for one in found for p in one["predictions"]]) >= 150


def draws(inside: int, outside: int) -> list[dict[str, object]]:
    """As many draws of one parameter and one prediction, the truth inside or above."""
    out: list[dict[str, object]] = []
    for k in range(inside + outside):
        held = k < inside
        p = {"metric": "m", "true": 1.0 if held else 9.0, "predicted": 1.0, "low": 0.5, "high": 2.0, "inside": held}
        one = {"true": p["true"], "found": 1.0, "low": 0.5, "high": 2.0, "inside": held}
        out.append({"parameters": {"x": one}, "merged": {}, "predictions": [{**p, "baselines": {NAMES[0]: 0.5}}]})
    return out


def test_coverage_is_judged() -> None:
    assert recovery.judged(draws(182, 18)) == []  # 91 %: right for both
    few = recovery.judged(draws(150, 50))
    assert [line.split(" hold")[0] for line in few] == [
        "the 95 % intervals of parameters",
        "the 90 % intervals of predictions",
    ]
    assert recovery.judged(draws(200, 0))  # intervals that never miss are too wide


def test_a_baseline_that_wins_is_told() -> None:
    found = draws(182, 18)
    for one in found:
        told: list[dict[str, object]] = one["predictions"]  # type: ignore[assignment]
        told[0] |= {"predicted": 1.2, "baselines": {NAMES[1]: 1.0}}
    assert recovery.judged(found) == [f"{NAMES[1]} is nearer to m than the simulator"]


def test_rows_count_what_lies_on_either_side() -> None:
    row = recovery.parameters(draws(3, 2))[0]
    assert row == {"parameter": "x", "draws": 5, "inside": 3, "below": 0, "above": 2}
