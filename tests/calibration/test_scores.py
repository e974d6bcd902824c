"""A grid profile's table into a calibration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from calibration.profiles import ProfileError
from calibration.scores import onto, read_cells, scores, write
from sim import costs
from sim.store import load

BASE = load("two-cores")


def cell(batch: int, cpu_ms: list[float], wall_ms: float | None = None, **changes: Any) -> dict[str, Any]:
    services = [
        {
            "verdict": "saturated",
            "reason": "",
            "batch_cpu_ms": {"p50": each},
            "batch_ms": {"p50": each if wall_ms is None else wall_ms},
        }
        for each in cpu_ms
    ]
    key = {"runtime": "onnx", "batch": batch, "replicas": 1, "cpus_per_replica": 1, "devices": [{"name": "cpu"}]}
    data: dict[str, Any] = {
        "schema": 1,
        "label": f"ffnn, batch {batch}",
        "key": key,
        "shape": {"model": "ffnn", "values": 784, "outputs": 10},
        "fingerprint": {name: BASE.fingerprint[name] for name in ("cpu_model", "cores")},
        "repeats": [{"at": f"2026-01-01T00:00:0{k}", "service": service} for k, service in enumerate(services)],
    }
    for name, value in changes.items():
        target = key if name in key else data
        target[name] = value
    return data


def folder(root: Path, *cells: dict[str, Any]) -> Path:
    (root / "cells").mkdir(parents=True)
    for k, each in enumerate(cells):
        (root / "cells" / f"{k}.json").write_text(json.dumps(each))
    return root


def test_a_table_of_medians_with_its_spread_goes_into_a_calibration(tmp_path: Path) -> None:
    cells = read_cells(folder(tmp_path / "p", cell(8, [0.02]), cell(1, [0.010, 0.011, 0.012])))
    found = scores(cells)
    assert found.table_ns == pytest.approx({1: 11_000.0, 8: 20_000.0})
    assert list(found.table_ns) == [1, 8]
    assert [found.low, found.high] == pytest.approx([10 / 11, 12 / 11])
    made = onto(BASE, found, cells, "mine", server=False)
    assert made.score_table == found.table_ns
    assert (made.regime["model"], made.regime["runtime"], made.ranges["points"]) == ("ffnn", "onnx", (1.0, 8.0))
    assert made.cpu == BASE.cpu
    assert made.sizes_bytes == BASE.sizes_bytes
    assert made.held_out == []
    beside = onto(BASE, found, cells, "mine", server=True)
    assert (beside.score_table, beside.server_table) == (BASE.score_table, found.table_ns)


def test_only_cells_of_one_replica_on_the_cpu_count_and_the_newest_of_a_size(tmp_path: Path) -> None:
    older, newer = cell(1, [0.5]), cell(1, [0.01])
    newer["repeats"][0]["at"] = "2026-02-01T00:00:00"
    others = (
        cell(1, [9.0], replicas=2),
        cell(1, [9.0], cpus_per_replica=2),
        cell(1, [9.0], devices=[{"name": "pretended:0"}]),
    )
    cells = read_cells(folder(tmp_path / "p", newer, older, *others))
    assert scores(cells).table_ns == {1: 10_000.0}
    assert scores(cells, cpus=2).table_ns == {1: 9_000_000.0}
    with pytest.raises(ProfileError, match="no cell of one replica of 3 cores"):
        scores(cells, cpus=3)


def test_a_client_bound_cell_is_refused(tmp_path: Path) -> None:
    bad = cell(1, [0.01])
    bad["repeats"][0]["service"] |= {"verdict": "client-bound", "reason": "replicas wait"}
    cells = read_cells(folder(tmp_path / "p", bad, cell(8, [0.02])))
    found = scores(cells)
    assert found.table_ns == {8: 20_000.0}
    assert found.left_out == ("batch 1: client-bound: replicas wait",)
    with pytest.raises(ProfileError, match="nothing of use: batch 1: client-bound"):
        scores(cells[:1])


def test_a_model_that_waits_needs_the_other_clock() -> None:
    cells = [{**cell(1, [0.01], wall_ms=2.5), "file": "0.json"}]
    with pytest.raises(ProfileError, match="uses 0% of its time: it waits; --clock wall"):
        scores(cells)
    assert scores(cells, clock="wall").table_ns == {1: 2_500_000.0}


def test_which_model_must_be_said_where_there_are_several() -> None:
    large = cell(1, [110.0], shape={"model": "resnet50", "values": 150_528, "outputs": 1000})
    cells = [{**each, "file": f"{k}.json"} for k, each in enumerate((cell(1, [0.01]), large))]
    with pytest.raises(ProfileError, match=r"several fit; the profile has: ffnn onnx, resnet50 onnx"):
        scores(cells)
    with pytest.raises(ProfileError, match="none fits"):
        scores(cells, model="vgg19")
    found = scores(cells, model="resnet50")
    # Its records are longer in proportion to its inputs.
    made = onto(BASE, found, cells, "mine", server=False)
    assert made.sizes_bytes["input_per_point"] == pytest.approx(192 * BASE.sizes_bytes["input_per_point"])
    assert made.sizes_bytes["output_per_point"] == pytest.approx(100 * BASE.sizes_bytes["output_per_point"])
    assert made.sizes_bytes["input_fixed"] == BASE.sizes_bytes["input_fixed"]
    assert (made.regime["model"], made.tables_ns) == ("resnet50", {})
    with pytest.raises(ProfileError, match="real grid ffnn"):
        onto(BASE, found, cells[1:], "mine", server=False)


def test_another_hosts_profile_is_refused() -> None:
    cells = [{**cell(1, [0.01], fingerprint={"cpu_model": "another", "cores": 2}), "file": "0.json"}]
    with pytest.raises(ProfileError, match="is of a host of cpu_model"):
        onto(BASE, scores(cells), cells, "mine", server=False)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    profile = folder(tmp_path / "p", cell(1, [0.01]), cell(8, [0.02]))
    asked: dict[str, Any] = {"model": None, "runtime": None, "cpus": 1, "clock": "cpu", "server": False}
    found = write(profile, tmp_path / "mine.json", "two-cores", **asked)
    assert costs.read(tmp_path / "mine.json").score_table == found.table_ns
    with pytest.raises(ProfileError, match="no clock 'sun'; there are cpu, wall"):
        write(profile, tmp_path / "mine.json", "two-cores", **{**asked, "clock": "sun"})
    with pytest.raises(ProfileError, match="no cells with full batches"):
        read_cells(tmp_path)
    (profile / "cells" / "broken.json").write_text("{}")
    with pytest.raises(ProfileError, match=r"broken\.json: no cell of a profile"):
        read_cells(profile)
