"""Costs from telemetry: a run exported gives back its costs; what is no telemetry is refused by name."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from calibration import synthetic, telemetry
from calibration.profiles import ProfileError
from scenarios.load import load
from scenarios.spec import Scenario
from sim import costs
from sim.costs import Calibration
from sim.run import simulate, write

SCENARIO = """name: observed
workload: {arrival: {kind: constant, rate: 250 /s}, warmup: 1 s, duration: 12 s, drain: 1 s}
broker: {kind: kafka, partitions: 4}
engine: {kind: python, parallelism: 1}
model: ffnn
"""
PARTS = ("engine", "broker", "generator", "collector")


@pytest.fixture(scope="module")
def base() -> Calibration:
    """How costs divide: another machine's, its costs up to four times off."""
    return synthetic.truth(np.random.default_rng(77))


@pytest.fixture(scope="module")
def observed(true_costs: Calibration, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Scenario, Path]:
    """Its scenario file, the scenario, and the run's folder."""
    folder = tmp_path_factory.mktemp("observed")
    file = folder / "observed.yaml"
    file.write_text(SCENARIO)
    scenario = load(file)
    return file, scenario, write(simulate(scenario, true_costs), folder)


def off(found: Calibration, true: Calibration, scenario: Scenario) -> dict[str, float]:
    """CPU a record of every part, and p50, over the truth's."""
    guess, real = simulate(scenario, found).metrics, simulate(scenario, true).metrics
    names = [*(f"cpu_us_per_record_{part}" for part in PARTS), "latency_acked_ms_p50"]
    return {name: guess[name] / real[name] for name in names}  # type: ignore[operator]


def test_an_export_gives_back_the_costs(
    observed: tuple[Path, Scenario, Path], base: Calibration, true_costs: Calibration, tmp_path: Path
) -> None:
    """Within 15 %; before, with the base as it is, some are far off."""
    _, scenario, run = observed
    path = tmp_path / "range.json"
    path.write_text(json.dumps(telemetry.export(run)))
    seen = telemetry.read_prometheus(path, {})
    found = telemetry.fit_telemetry(seen, scenario, base, "found", "2026-01-01")
    assert max(abs(np.log(ratio)) for ratio in off(base, true_costs, scenario).values()) > np.log(1.3)
    for name, ratio in off(found, true_costs, scenario).items():
        assert ratio == pytest.approx(1.0, abs=0.15), name


def test_a_rate_that_varies_tells_idle_work_from_a_records() -> None:
    rng = np.random.default_rng(1)
    rate = rng.uniform(50, 500, 60)
    cpu = (0.05 + 300e-6 * rate) * np.exp(rng.normal(0, 0.02, 60))
    seen = telemetry.Telemetry("x", np.full(60, 5.0), rate, {"engine": cpu}, np.empty(0))
    found = telemetry.regressions(seen)["engine"]
    assert found["s"].value == pytest.approx(0.05e9, rel=0.1)
    assert found["record"].value == pytest.approx(300e3, rel=0.05)
    steady = dataclasses.replace(seen, rate_per_s=np.full(60, 200.0), cpu_s={"engine": np.full(60, 0.11)})
    assert telemetry.regressions(steady)["engine"].terms.keys() == {"record"}


def test_a_csv_says_the_same(observed: tuple[Path, Scenario, Path], tmp_path: Path) -> None:
    _, _, run = observed
    path, table = tmp_path / "range.json", tmp_path / "range.csv"
    path.write_text(json.dumps(telemetry.export(run)))
    one = telemetry.read_prometheus(path, {})
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["time_s", "records_per_s", "engine_cpu_cores", "latency_p50_ms"])
        rows.writerow([0, 0, 0, 0])
        at = np.cumsum(one.seconds)
        for t, rate, cpu, latency in zip(at, one.rate_per_s, one.cpu_s["engine"], one.latency_s, strict=True):
            rows.writerow([t, rate, cpu, latency * 1e3])
    other = telemetry.read_csv(table)
    assert other.rate_per_s == pytest.approx(one.rate_per_s)
    assert other.cpu_s["engine"] == pytest.approx(one.cpu_s["engine"])
    assert other.latency_s == pytest.approx(one.latency_s)


def matrix(*series: tuple[dict[str, str], list[float]]) -> dict[str, Any]:
    """An answer of query_range, one sample each ten seconds."""
    result = [{"metric": m, "values": [[10.0 * k, str(v)] for k, v in enumerate(values)]} for m, values in series]
    return {"status": "success", "data": {"resultType": "matrix", "result": result}}


def test_names_labels_sums_and_counters_that_begin_anew(tmp_path: Path) -> None:
    path = tmp_path / "range.json"
    out = [float(100 * k) for k in range(8)]
    restarted = [0.0, 10.0, 20.0, 5.0, 15.0, 25.0, 35.0, 45.0]  # from 20 it fell: 5 more
    path.write_text(
        json.dumps(
            matrix(
                ({"__name__": "out_total", "topic": "a"}, out),
                ({"__name__": "out_total", "topic": "b"}, out),
                ({"__name__": "out_total", "topic": "c", "job": "x"}, [7.0 * v for v in out]),
                ({"__name__": "cpu_total", "job": "x"}, restarted),
                ({"__name__": "cpu_total", "job": "y"}, out),
            )
        )
    )
    names = {"records": 'out_total{topic="a"}', "engine_cpu_s": 'cpu_total{job="x"}'}
    seen = telemetry.read_prometheus(path, names)
    assert seen.rate_per_s == pytest.approx([10.0] * 7)
    assert seen.cpu_s["engine"] == pytest.approx([1.0, 1.0, 0.5, 1.0, 1.0, 1.0, 1.0])
    summed = telemetry.read_prometheus(path, {**names, "records": "out_total"})
    assert summed.rate_per_s == pytest.approx([90.0] * 7)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({}, r"no series weir_run_out_total; it has out_total"),
        ({"rows": "x"}, r"no metric 'rows'; there are records"),
        ({"records": "out_total{"}, "is no selector"),
        ({"records": "out_total"}, "CPU of no part"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, names: dict[str, str], said: str) -> None:
    path = tmp_path / "range.json"
    path.write_text(json.dumps(matrix(({"__name__": "out_total"}, [float(k) for k in range(9)]))))
    with pytest.raises(ProfileError, match=said):
        telemetry.read_prometheus(path, names)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: no column time_s"),
        ("time_s,records_per_s,rate\n", "line 1: no column 'rate'; there are time_s"),
        ("time_s,records_per_s\n1,2,3\n", "line 2: 3 cells, the header has 2"),
        ("time_s,records_per_s\n1,x\n", "line 2, records_per_s: 'x' is no number"),
        ("time_s,records_per_s\n1,-2\n", "must be a number from 0 up"),
        ("time_s,records_per_s\n1,2\n", "at least 6 lines"),
    ],
)
def test_a_csv_that_is_wrong_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(ProfileError, match=said):
        telemetry.read_csv(path)


def test_the_commands(observed: tuple[Path, Scenario, Path], base: Calibration, tmp_path: Path) -> None:
    from calibration.__main__ import app

    file, _, run = observed
    costs.write(base, tmp_path / "base.json")
    runner, exported, made = CliRunner(), tmp_path / "range.json", tmp_path / "made.json"
    done = runner.invoke(app, ["export", str(run), "-o", str(exported)])
    assert done.exit_code == 0, done.output
    asked = ["fit", "--prometheus", str(exported), "-o", str(made), "--onto", str(tmp_path / "base.json")]
    assert runner.invoke(app, asked).exit_code == 2  # what ran?
    done = runner.invoke(app, [*asked, "--scenario", str(file)])
    assert done.exit_code == 0, done.output
    assert costs.read(made).fit["onto"] == "truth"
    assert runner.invoke(app, ["fit", "-o", "x"]).exit_code == 2
    assert runner.invoke(app, ["fit", str(run), "--csv", "x.csv", "-o", "x"]).exit_code == 2
