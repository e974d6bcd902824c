"""The smallest resource that meets the SLO: the search on made-up answers, and on pipelines whose answer is known."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from analysis.search import SearchError
from scenarios.load import load
from sim import costs, demand, sweeping
from sim.__main__ import app
from sim.demand import Probe
from sim.warm import small_calibration

# A task scores for 2 ms, so 1,300 records a second need three.
SCENARIO = """
name: scoring
workload: {arrival: {kind: poisson, rate: 1300 /s}, warmup: 1 s, duration: 4 s, drain: 1 s}
broker: {partitions: 24, producer: {linger: 1 ms}}
"""


def answering(met: Callable[[int, int], bool]) -> tuple[demand.Runs, list[tuple[int, int]]]:
    """Runs that say what a function says, and the list that tells which were made."""
    made: list[tuple[int, int]] = []

    def runs(asked: Sequence[tuple[int, int]]) -> list[Probe]:
        made.extend(asked)
        return [Probe(v, k, "STABLE" if met(v, k) else "OVERLOADED", (), {}) for v, k in asked]

    return runs, made


@pytest.mark.parametrize("least", [1, 3])
def test_the_least_value_that_is_met_is_found_whatever_it_is(least: int) -> None:
    for threshold in range(1, 70):
        runs, made = answering(lambda value, _repeat, t=threshold: value >= t)  # type: ignore[misc]
        value, reason, probes = demand.search(runs, least, 64, 5)
        assert len(made) == len(set(made)) == len(probes)
        if threshold > 64:
            assert value is None
            assert reason.startswith("not met up to 64")
            continue
        assert value == max(threshold, least)
        assert reason.startswith("confirmed")
        assert {(value, k) for k in range(5)} <= set(made)
        assert value == least or (value - 1, 0) in made
        assert value == 64 or (value + 1, 0) in made
        assert demand.contradictions(probes) == []


def test_a_value_that_fails_in_one_repeat_is_not_enough() -> None:
    runs, made = answering(lambda value, repeat: value >= (12 if repeat == 3 else 9))
    value, _, probes = demand.search(runs, 1, 64, 5)
    assert value == 12
    assert (11, 3) in made
    assert demand.contradictions(probes) == []
    runs, _ = answering(lambda _value, repeat: repeat == 0)
    value, reason, _ = demand.search(runs, 1, 4, 2)
    assert (value, reason) == (None, "no value up to 4 is met in every repeat")


def test_more_that_does_worse_is_told() -> None:
    # Half of the values above the threshold fail: a search finds one that is met, and says what contradicts it.
    runs, _ = answering(lambda value, _repeat: value == 4 or value >= 20)
    value, _, probes = demand.search(runs, 1, 64, 1)
    assert value == 4
    assert demand.contradictions(probes) == ["repeat 1: 4 is met and 5 is not"]


def test_what_cannot_be_searched_is_refused() -> None:
    runs, _ = answering(lambda _value, _repeat: True)
    for least, most, repeats in ((0, 4, 1), (5, 4, 1), (1, 4, 0)):
        with pytest.raises(SearchError):
            demand.search(runs, least, most, repeats)


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    scenario, calibration = tmp_path / "scoring.yaml", tmp_path / "slow.json"
    scenario.write_text(SCENARIO)
    costs.write(replace(small_calibration(cores=64), score_table={1: 2e6}), calibration)
    return [str(scenario), "--calibration", str(calibration), "-o", str(tmp_path / "runs"), "--jobs", "1"]


def sim(*said: str) -> Any:
    return CliRunner().invoke(app, list(said))


def test_demand_for_scoring_tasks_is_what_their_load_needs(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["demand", *words, "--for", "engine.parallelism", "--repeats", "2", "--json"]
    first = sim(*asked)
    assert first.exit_code == 0, first.output
    (said,) = json.loads(first.stdout)
    assert (said["for"], said["demand"], said["monotone"]) == ("engine.parallelism", 3, True)
    assert "the scenario has no slo" in said["reason"]
    assert {(p["value"], p["repeat"]) for p in said["probes"]} >= {(1, 0), (2, 0), (3, 0), (3, 1), (4, 0)}
    assert [p["met"] for p in said["probes"] if p["value"] < 3] == [False, False]

    # What was simulated is kept: the same search makes no run.
    def never(_job: sweeping.Job) -> dict[str, Any]:
        raise AssertionError("simulated again")

    monkeypatch.setattr(sweeping, "run_job", never)
    assert sim(*asked).stdout == first.stdout


def test_a_tighter_slo_needs_more(words: list[str]) -> None:
    slo = ["--set", "slo.latency_p99=25 ms", "--set", "workload.duration=2 s"]
    result = sim("demand", *words, "--for", "engine.parallelism", "--repeats", "1", "--json", *slo)
    assert result.exit_code == 0, result.output
    (said,) = json.loads(result.stdout)
    assert said["demand"] > 3
    below = [p for p in said["probes"] if p["value"] == said["demand"] - 1]
    assert below
    assert not below[0]["met"]
    assert "latency_p99 <= 25" in " ".join(below[0]["broken"])


def test_the_resources_of_a_scenario_are_those_that_it_has(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    broker = ["broker.partitions", "broker.io_threads", "broker.network_threads"]
    parallel = ["engine.source_parallelism", "engine.sink_parallelism"]
    for text, keys in (
        ("engine: {kind: flink}\n", ["engine.parallelism", *broker]),
        ("engine: {kind: flink, chained: false}\n", ["engine.parallelism", *parallel, *broker]),
        ("engine: {kind: spark}\n", ["engine.parallelism", "engine.task_slots", *broker]),
        ("engine: {kind: ray}\nhosts: {engine: {cores: 4}}\n", None),
        ("engine: {kind: standalone}\nserving: {kind: external}\n", ["engine.parallelism", "serving.workers"]),
        (
            "engine: {kind: graph}\nstages: {a: {next: [{to: b}]}, b: {}}\nhosts: {engine: {cores: 4}}\n",
            ["stages.a.workers", "stages.b.workers", "hosts.engine.cores"],
        ),
    ):
        path.write_text("workload: {arrival: {rate: 5 /s}}\n" + text)
        ray = ["engine.parallelism", "engine.total_cpus", *broker, "hosts.engine.cores"]
        allowed = demand.resources(load(path))
        assert allowed == (keys or ray)
        for key in allowed:
            load(path, [f"{key}=2"])
    assert "no stage" in sim("run", str(path), "--set", "stages.nope.workers=2").stderr


def test_each_point_of_a_sweep_has_its_own_demand(words: list[str]) -> None:
    scenario = Path(words[0])
    scenario.write_text(SCENARIO + "sweep: {workload.arrival.rate: [400 /s, 800 /s]}\n")
    result = sim("demand", *words, "--for", "engine.parallelism", "--repeats", "1")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "SLO met with engine.parallelism 1 to 2"
    assert lines[6].startswith("workload.arrival.rate 400 /s: engine.parallelism 1 (confirmed")
    assert lines[7].startswith("workload.arrival.rate 800 /s: engine.parallelism 2 (confirmed")
    assert lines[7].endswith("monotone on 4 probes: yes")


def test_what_is_no_resource_is_refused(words: list[str]) -> None:
    for key in (
        *("engine.nothing", "engine.kind", "engine.commit_interval", "workload.seed", "stages.nope.workers"),
        *("engine.task_slots", "serving.workers", "cluster.quota"),
    ):
        result = sim("demand", *words, "--for", key)
        assert result.exit_code == 2
        assert f"--for: {key}: is no resource of this scenario" in result.stderr
        assert "allowed: engine.parallelism, broker.partitions" in result.stderr
    assert sim("demand", *words, "--for", "engine.parallelism", "--least", "5", "--most", "4").exit_code == 2
