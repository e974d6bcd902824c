"""What stands first of every result, and the summaries for a build server."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from analysis import busy, first_screen, summary
from analysis.first_screen import Screen
from scenarios.errors import ScenarioError
from scenarios.load import load
from scenarios.spec import Bound, Scenario

MET, BROKEN = Bound("latency_p99", "<=", 50.0), Bound("latency_p99", "<=", 5.0)
METRICS: dict[str, float | None] = {
    "offered_per_s": 100.0,
    "latency_append_ms_p99": 12.0,
    "drain_throughput_per_s": None,
}
META = {
    "verdict": "STABLE",
    "verdict_reason": "",
    "metrics": METRICS,
    "backend": "sim",
    "bottleneck": {"name": "broker", "utilisation": 0.93},
    "warmup": {"why": "did not settle"},
}


@pytest.fixture
def scenario(tmp_path: Path) -> Scenario:
    path = tmp_path / "one.yaml"
    path.write_text("workload: {arrival: {rate: 100 /s}, warmup: 0 s, duration: 2 s}\nmodel: ffnn\n")
    return load(path)


def rows(screen: Screen) -> dict[str, str]:
    return {line[:13].strip(): line[13:] for line in screen.lines() if line[:13].endswith(" ")}


def test_a_run() -> None:
    screen = first_screen.of_run(META, [MET], "calibration x")
    assert screen.lines()[0] == "SLO met"
    assert rows(screen) == {
        "verdict": "STABLE",
        "sustainable": "at least the 100 /s offered (sim capacity searches the most)",
        "bottleneck": "broker, 93 % busy; at its limit",
        "interval": "none: one run of one seed; --precision p99=5% replicates until there is one",
        "trust": "calibration x",
        "note": "warm-up: did not settle",
    }
    assert first_screen.of_run(META, [BROKEN], "").slo == ("SLO broken: latency_p99 <= 5: latency_append_ms_p99 is 12",)
    over = {**META, "verdict": "OVERLOADED", "verdict_reason": "lag grows"}
    found = rows(first_screen.of_run(over, [], ""))
    assert found["verdict"] == "OVERLOADED: lag grows"
    assert found["sustainable"].startswith("less than the 100 /s offered")


@pytest.mark.parametrize(
    ("meta", "said"),
    [
        ({"verdict": "INVALID", "metrics": METRICS}, "not known"),
        ({"verdict": "STABLE", "metrics": {"drain_throughput_per_s": 5000.0}}, "5,000 /s out of a backlog"),
    ],
)
def test_what_is_sustained(meta: dict[str, object], said: str) -> None:
    assert first_screen.sustained(meta).startswith(said)


def test_a_sweep_says_where() -> None:
    quiet, full = {"name": "cores", "utilisation": 0.2}, {"name": "broker", "utilisation": 0.97}
    fast = {**METRICS, "offered_per_s": 400.0, "latency_append_ms_p99": 80.0}
    points = [
        ({"rate": "100 /s"}, "STABLE", METRICS, [MET], quiet),
        ({"rate": "400 /s"}, "OVERLOADED", fast, [MET], full),
    ]
    screen = first_screen.of_points(points, 3, "t")
    assert screen.slo == ("SLO broken at 1 of 2 points",)
    assert screen.verdict == "STABLE at 1 of 2, OVERLOADED at 1 of 2"
    assert screen.sustainable.startswith("of the rates swept up to 100 /s at rate 100 /s")
    assert screen.bottleneck == "broker, 97 % busy at rate 400 /s; at its limit"
    assert screen.interval.startswith("medians of 3 repeats")
    assert first_screen.of_points(points[:1], 1, "t").slo == ("SLO met",)


def test_a_check() -> None:
    row = {"kind": "rate", "rate_per_s": 5.0, "parallelism": 1, "metric": "m", "scored": True, "ceiling": 0.01}
    screen = first_screen.of_check([{**row, "error": 0.1, "ok": True}, {**row, "error": 0.3, "ok": False}], "t")
    assert screen.slo == ("bound broken: 1 of 2 errors are above theirs",)
    assert "worst 35 %, m at 5 /s, parallelism 1" in screen.verdict
    assert first_screen.of_check([], "t").slo == ("no bound asked",)


def test_a_cluster_is_judged_by_its_jobs() -> None:
    told = {
        "policy": "aiad",
        "quota": 32,
        "replicas_mean": 31.0,
        "violation_rate": 0.1,
        "lost_utility": 1.5,
        "drops": 3,
    }
    screen = first_screen.of_cluster(told, "t")
    assert screen.slo[0].startswith("SLO broken: 10.000%")
    assert screen.bottleneck == "the quota of 32 replicas, 96.9 % in use; at its limit"
    assert first_screen.of_cluster({**told, "violation_rate": 0.0}, "t").slo == ("SLO met",)


def test_a_task_that_waits_is_busy(scenario: Scenario) -> None:
    """Scoring that takes 90 of every 100 ms and no CPU: the task can take no more than a tenth."""
    begun = np.arange(20) * 100_000_000
    records = {"score_begin": begun, "score_end": begun + 90_000_000, "worker": np.zeros(20, np.int64)}
    counters = {"window_ns": 2_000_000_000, "workers": [{"app_cpu_ns": 10_000_000}], "generator": {"app_cpu_ns": 1}}
    found = busy.bottleneck(scenario, records, counters)
    assert found is not None
    assert found["name"] == "scoring tasks"
    assert found["utilisation"] == pytest.approx(0.9)


def test_a_batch_counts_once() -> None:
    records = {"score_begin": np.zeros(8, np.int64), "score_end": np.full(8, 50), "worker": np.zeros(8, np.int64)}
    assert busy.occupied(records, 2, 100) == {0: 0.5, 1: 0.0}


def test_what_has_no_counters_has_no_bottleneck(scenario: Scenario) -> None:
    assert busy.bottleneck(scenario, {}, None) is None
    assert first_screen.bottleneck(None).startswith("not known")


def cases(scenario: Scenario) -> list[summary.Case]:
    import dataclasses

    asked = dataclasses.replace(scenario, expect=(BROKEN,), slo=(BROKEN,))
    return [
        summary.of_point({"a|b": 1}, "STABLE", METRICS, scenario),
        summary.of_point({"a|b": 2}, "STABLE", METRICS, asked),
        summary.of_point({"a|b": 3}, "INVALID", METRICS, scenario, "no record\x00 <was> sent"),
    ]


def test_junit_is_what_a_build_server_reads(scenario: Scenario) -> None:
    root = ElementTree.fromstring(summary.junit(cases(scenario)).encode())
    assert (root.tag, root.attrib) == ("testsuites", {"tests": "3", "failures": "1", "errors": "1"})
    (suite,) = root
    assert suite.get("name") == "one"
    kinds = [[child.tag for child in case] for case in suite]
    assert kinds == [["system-out"], ["failure", "system-out"], ["error", "system-out"]]
    assert suite[1][0].get("message") == "latency_p99 <= 5: latency_append_ms_p99 is 12"
    assert suite[2][0].get("message") == "no record? <was> sent"


def test_markdown_has_a_line_a_point_and_what_is_broken(scenario: Scenario) -> None:
    lines = summary.markdown(cases(scenario)).splitlines()
    assert lines[0] == "**1 of 3 as expected**"
    assert lines[4] == "| one | a\\|b=1 | ok | STABLE | - | 100 | 12 |"
    assert lines[5].split(" | ")[2:5] == ["failed", "STABLE", "broken"]
    assert "- one, a|b=2: latency_p99 <= 5: latency_append_ms_p99 is 12" in lines


def test_a_file_that_cannot_be_written_is_told_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="cannot be written"):
        summary.check_files(None, tmp_path / "nowhere" / "a.xml")
