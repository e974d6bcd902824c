"""What a check compares, and how it judges: computed by hand, without a run."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest

from calibration import check
from calibration.check import Log, Point
from calibration.show import summarise
from scenarios.spec import S_NS, Arrival, Check, Scenario, Workload
from sim.costs import CPU_COSTS, CpuCost, Value
from sim.warm import small_calibration

RATE, DRAIN, TOP = Point("rate", 1, 300.0), Point("drain", 1, None), Point("sustainable", 1, None)


def base(**settings: object) -> Scenario:
    """A scenario with a check section."""
    section = Check(**{"repeats": 5, "rates_per_s": (300.0,), "sustainable": True, **settings})  # type: ignore[arg-type]
    return Scenario(name="c", workload=Workload(arrival=Arrival("constant", rate_per_s=1.0)), check=section)


def log_with(tmp_path: Path, scenario: Scenario, p50: list[float], top: float = 1000.0) -> Log:
    """A log in which the paced point was measured so."""
    log = Log(tmp_path / "check", scenario)
    for k, value in enumerate(p50):
        log.add(RATE, k, Path(f"run-{k}"), {"verdict": "STABLE", "metrics": {"latency_acked_ms_p50": value}})
    log.data["searches"][TOP.key] = {"rate_per_s": top, "finished": True}
    return log


def rows(log: Log, scenario: Scenario, predicted: float) -> list[check.Row]:
    """The comparison with a prediction of the paced point's p50 and of the sustainable throughput."""
    forecast = {
        RATE: {"latency_acked_ms_p50": (predicted, predicted * 0.9, predicted * 1.1)},
        TOP: {"sustainable_per_s": (1100.0, 1000.0, 1200.0)},
    }
    return list(check.compare(scenario, log, forecast, {1: 1100.0}))


def test_the_points_of_a_section() -> None:
    assert check.points(base(parallelism=(1, 2))) == [
        Point("rate", 1, 300.0),
        Point("rate", 2, 300.0),
        Point("drain", 1, None),
        Point("drain", 2, None),
        Point("sustainable", 1, None),
        Point("sustainable", 2, None),
    ]


def test_error_ceiling_and_utilisation(tmp_path: Path) -> None:
    scenario = base()
    found = rows(log_with(tmp_path, scenario, [10.0, 11.0, 10.0, 9.0, 10.0]), scenario, 12.0)
    p50, top = found
    assert p50["measured"] == 10.0
    assert p50["error"] == pytest.approx(math.log(1.2))
    assert p50["signed"] == pytest.approx(math.log(1.2))
    assert p50["ceiling"] == pytest.approx(0.0)  # the median repeat is 10, and so is the median of the others
    assert p50["utilisation"] == pytest.approx(0.3)
    assert p50["band"] == "below 0.7"
    assert top["error"] == pytest.approx(math.log(1.1))


def test_few_repeats_have_no_ceiling(tmp_path: Path) -> None:
    scenario = base(repeats=2)
    assert rows(log_with(tmp_path, scenario, [10.0, 11.0]), scenario, 12.0)[0]["ceiling"] is None


def test_wild_repeats_are_shown_and_not_scored(tmp_path: Path) -> None:
    scenario = base(max_error={"latency_p50": 0.01})
    row = rows(log_with(tmp_path, scenario, [5.0, 10.0, 20.0, 40.0, 80.0]), scenario, 12.0)[0]
    assert row["ceiling"] > math.log(1.5)
    assert not row["scored"]
    assert row["ok"] is None


@pytest.mark.parametrize(("bound", "ok"), [(0.25, True), (0.1, False)])
def test_a_bound_is_judged(tmp_path: Path, bound: float, ok: bool) -> None:
    scenario = base(max_error={"latency_p50": bound})
    assert rows(log_with(tmp_path, scenario, [10.0] * 5), scenario, 12.0)[0]["ok"] is ok


def test_past_saturation_only_throughput_and_lag_are_compared(tmp_path: Path) -> None:
    scenario = base()
    assert [r["metric"] for r in rows(log_with(tmp_path, scenario, [10.0] * 5, top=200.0), scenario, 12.0)] == [
        "sustainable_per_s"
    ]


def test_a_log_is_taken_up_again(tmp_path: Path) -> None:
    scenario = base()
    log_with(tmp_path, scenario, [10.0, 11.0])
    again = Log(tmp_path / "check", scenario)
    assert again.metrics(RATE, 1) == {"latency_acked_ms_p50": 11.0}
    assert again.metrics(RATE, 2) is None


def test_errors_are_summed_up_by_metric_and_band(tmp_path: Path) -> None:
    scenario = base()
    found = summarise(rows(log_with(tmp_path, scenario, [10.0] * 5), scenario, 12.0))
    assert [(r["metric"], r["utilisation_band"], r["n"]) for r in found] == [
        ("latency_acked_ms_p50", "below 0.7", 1),
        ("sustainable_per_s", "sustainable", 1),
    ]


def test_both_ends_of_a_calibration_enclose_it() -> None:
    """The ends differ in every CPU term and keep residuals; what they predict lies around the prediction."""
    wide = Value(100_000.0, 50_000.0, 200_000.0)
    cost = CpuCost(fixed_ns=wide, cold_ns=wide, residual=(0.5, 1.0, 1.5))
    calibration = dataclasses.replace(small_calibration(), cpu=dict.fromkeys(CPU_COSTS, cost))
    low, high = (check.ends(calibration, which) for which in ("lo", "hi"))
    assert low.cpu["worker.decode"].fixed_ns.value == 50_000.0
    assert high.cpu["worker.decode"].cold_ns.value == 200_000.0
    assert low.cpu["worker.decode"].residual == (0.5, 1.0, 1.5)
    scenario = base(rates_per_s=(50.0,), sustainable=False, drain=False)
    scenario = dataclasses.replace(
        scenario, workload=dataclasses.replace(scenario.workload, warmup_ns=S_NS, duration_ns=4 * S_NS)
    )
    value, lowest, highest = check.predict(scenario, Point("rate", 1, 50.0), calibration)["cpu_us_per_record_engine"]
    assert lowest < value < highest


def test_a_bound_names_the_metric_of_a_row() -> None:
    assert check.column("cpu_per_record_engine") == "cpu_us_per_record_engine"
    assert check.column("drain_throughput") == "drain_throughput_per_s"
    assert check.column("latency_p50") == "latency_acked_ms_p50"
    assert check.column("sustainable_throughput") == "sustainable_per_s"


def test_an_invalid_run_is_made_again(tmp_path: Path) -> None:
    log = Log(tmp_path / "check", base())
    log.add(RATE, 0, Path("run"), {"verdict": "INVALID", "metrics": {"latency_acked_ms_p50": 1.0}})
    assert log.metrics(RATE, 0) is None
