"""The parts of the explore page that need no server: controls, questions, previews, what is shown of a run."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scenarios import load
from scenarios.arrivals import schedule
from scenarios.errors import ScenarioError
from scenarios.spec import S_NS, Arrival, Scenario
from sim import store
from sim.counters import Window
from sim.explore import answer, asked, controls
from sim.explore.asked import Asked
from sim.explore.presets import SHIPPED, presets
from sim.explore.shorter import FEWEST, FIRST, MOST, Pace, expected, load_ns, shorter
from sim.run import SimResult, simulate
from sim.warm import SMALL, small_calibration

ROOT = Path(load.__file__).parent
SCALABILITY = ROOT / "scalability.yaml"


def test_values_become_sets() -> None:
    said = {
        "workload.arrival.rate": 250,
        "broker.producer.linger": 2.5,
        "engine.kind": "kafka-streams",
        "slo.latency_p99": 50,
    }
    assert controls.sets(said) == [
        "workload.arrival.rate=250 /s",
        "broker.producer.linger=2.5 ms",
        "engine.kind=kafka-streams",
        "slo.latency_p99=<= 50 ms",
    ]
    assert controls.sets({"slo.latency_p99": None}) == ["slo={}"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hosts": 1}, "no such control"),
        ({"engine.parallelism": "4"}, "not a number"),
        ({"engine.parallelism": True}, "not a number"),
        ({"engine.parallelism": float("nan")}, "not a number"),
        ({"engine.kind": "python, x: {y: z}"}, "not a word"),
        ({"engine.kind": 3}, "not a word"),
    ],
)
def test_what_is_no_value_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        controls.sets(values)


def test_what_cannot_be_gets_the_message_of_a_file() -> None:
    with pytest.raises(ScenarioError, match="must be at least 1") as found:
        asked.understood(asked.from_page(SCALABILITY, (), None, {"values": {"engine.parallelism": 0}}))
    assert found.value.key == "engine.parallelism"
    with pytest.raises(ScenarioError, match="there is no 'mine2'"):
        asked.from_page(SCALABILITY, (), None, {"calibration": "mine2"})
    with pytest.raises(ScenarioError, match="must map"):
        asked.from_page(SCALABILITY, (), None, {"values": [1]})


@pytest.mark.parametrize("file", [path for _, path in presets(SCALABILITY).values()], ids=["own", *SHIPPED])
def test_every_preset_shows_its_own_values_and_changes_nothing_by_them(file: Path) -> None:
    scenario, _, notes = asked.understood(Asked(file))
    assert notes == []
    values = controls.values_of(scenario)
    off = {told["key"] for told in controls.described(scenario) if told["off"]}
    apart = off | {c.key for c in controls.CONTROLS if c.needs[0] and values[c.needs[0]] != c.needs[1]}
    again = {key: value for key, value in values.items() if key not in apart and value is not None}
    assert dataclasses.replace(asked.understood(Asked(file, tuple(controls.sets(again))))[0], hosts=scenario.hosts) == (
        dataclasses.replace(scenario, serving=dataclasses.replace(scenario.serving, workers=_workers(scenario, again)))
    )


def _workers(scenario: Scenario, values: dict[str, Any]) -> int | None:
    return values.get("serving.workers", scenario.serving.workers)


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("scalability.yaml", {}),
        ("scalability.yaml", {"engine.parallelism": 7, "slo.latency_p99": 80, "broker.producer.linger": 2.5}),
        ("scalability.yaml", {"engine.kind": "kafka-streams"}),
        ("scalability.yaml", {"serving.kind": "external", "serving.workers": 3, "serving.batch": 8}),
        ("bursty/large.yaml", {}),
        ("crayfish/flink.yaml", {"serving.runtime": "dl4j", "engine.parallelism": 4}),
        ("engines/graph.yaml", {"workload.arrival.rate": 30}),
    ],
)
def test_the_scenario_as_a_file_is_the_same_scenario(tmp_path: Path, file: str, values: dict[str, Any]) -> None:
    question = asked.from_page(ROOT / file, (), None, {"values": values})
    text = asked.as_yaml(question)
    (tmp_path / "copied.yaml").write_text(text)
    scenario, costs, _ = asked.understood(question)
    copied, copied_costs, _ = asked.understood(Asked(tmp_path / "copied.yaml"))
    assert dataclasses.replace(copied, calibration=None) == dataclasses.replace(scenario, calibration=None)
    assert store.digest(copied_costs) == store.digest(costs)
    assert len(text) < len(json.dumps(load.resolved(scenario)))  # defaults are left out
    assert text.startswith(f"# The same: {asked.command(question, scenario)}\n")


def test_a_calibration_of_another_engine_is_replaced_and_said_so() -> None:
    question = Asked(SCALABILITY, ("engine.kind=kafka-streams",))
    _, costs, notes = asked.understood(question)
    assert costs.regime["engine"] in ("kafka-streams", "any")
    assert [note.startswith("calibration two-cores is of engine python") for note in notes] == [True]
    with pytest.raises(store.CalibrationError, match="is of engine python"):
        asked.understood(dataclasses.replace(question, calibration="two-cores"))


def test_a_preview_is_the_beginning_of_the_run() -> None:
    workload = dataclasses.replace(SMALL.workload, duration_ns=40 * S_NS, backlog_records=0)
    scenario = dataclasses.replace(SMALL, workload=workload)
    short = shorter(scenario, 3_000)
    assert load_ns(short) < load_ns(scenario)
    whole = simulate(scenario, small_calibration(), host=False).records
    preview = simulate(short, small_calibration(), host=False).records
    n = len(preview["created"])
    assert 0 < n <= 3_000
    for name in ("created", "partition"):
        assert np.array_equal(preview[name], whole[name][:n])
    for name in ("sent", "fetched", "score_end", "acked"):
        told = (preview[name] >= 0) & (preview[name] < load_ns(short))  # what comes later may differ: the load ended
        assert told.any()
        assert np.array_equal(preview[name][told], whole[name][:n][told])


@pytest.mark.parametrize(
    "arrival",
    [
        Arrival("constant", 1000.0),
        Arrival("poisson", 1000.0),
        Arrival("bursty", 1000.0),
        Arrival("ramp", 500.0, to_rate_per_s=1500.0),
    ],
)
def test_how_many_records_a_run_has_is_known_beforehand(arrival: Arrival) -> None:
    workload = dataclasses.replace(SMALL.workload, arrival=arrival, warmup_ns=0, duration_ns=150 * S_NS)
    scenario = dataclasses.replace(SMALL, workload=workload)
    real = len(schedule(arrival, load_ns(scenario), 1)) + workload.backlog_records
    assert expected(scenario) == pytest.approx(real, rel=0.02)
    short = shorter(scenario, 5_000)
    assert len(schedule(arrival, load_ns(short), 1)) <= 5_000
    assert shorter(scenario, 10**6) is scenario


def test_a_backlog_is_shortened_too() -> None:
    workload = dataclasses.replace(SMALL.workload, arrival=Arrival("constant", 0.0), backlog_records=50_000)
    short = shorter(dataclasses.replace(SMALL, workload=workload), 2_000)
    assert short.workload.backlog_records == 2_000


def test_previews_keep_to_their_time_on_this_machine() -> None:
    pace = Pace()
    assert pace.records(SMALL) == FIRST
    pace.took(SMALL, 10_000, 1.0)
    slow = pace.records(SMALL)
    assert FEWEST <= slow < FIRST
    for _ in range(20):
        pace.took(SMALL, slow, 0.001)
    assert slow < pace.records(SMALL) <= MOST
    external = dataclasses.replace(SMALL, serving=dataclasses.replace(SMALL.serving, kind="external"))
    assert pace.records(external) == FIRST


def _simulated(scenario: Scenario) -> tuple[SimResult, Window]:
    seen: list[Window] = []
    return simulate(scenario, small_calibration(), observe=seen.append), seen[0]


def test_what_the_page_shows_is_what_the_run_says() -> None:
    bounds = load.load(SCALABILITY, ["slo={latency_p99: '< 1 ms', throughput: '> 1 /s'}"]).slo
    workload = dataclasses.replace(SMALL.workload, duration_ns=10 * S_NS, backlog_records=0)
    scenario = dataclasses.replace(SMALL, slo=bounds, workload=workload)
    result, window = _simulated(scenario)
    found = answer.answer(scenario, result, window, scenario)
    json.dumps(found, allow_nan=False)
    assert found["verdict"] == result.meta["verdict"]
    assert found["metrics"]["throughput_per_s"] == result.metrics["throughput_per_s"]
    assert found["records"] == len(result.records["created"])
    assert [bound["ok"] for bound in found["slo"]] == [False, True]
    assert [bound["line_ms"] for bound in found["slo"]] == [1.0, None]
    at = dict(zip(found["latency"]["q"], found["latency"]["ms"], strict=True))
    assert at[0.5] == pytest.approx(result.metrics["latency_append_ms_p50"], abs=1.0)
    time = found["time"]
    assert {len(series) for series in time.values()} == {answer.SLOTS}
    step_s = time["s"][0]
    assert sum(time["in"]) * step_s == pytest.approx(len(result.records["created"]))
    assert found["workers"] == 2
    names = [row["name"] for row in found["busy"]]
    assert found["bottleneck"]["name"] in names
    assert all(0.0 <= row["utilisation"] <= 1.0 for row in found["busy"])


def test_work_at_hand_is_the_union_of_a_tasks_scorings() -> None:
    _, window = _simulated(dataclasses.replace(SMALL, workload=dataclasses.replace(SMALL.workload, backlog_records=0)))
    begin, end = window.begin.at_ns, window.end.at_ns
    tenth = (end - begin) // 10
    spans = [(0, begin - tenth, begin + tenth), (0, begin, begin + tenth), (0, begin + 2 * tenth, begin + 4 * tenth)]
    spans += [(1, end - tenth, end + tenth), (-1, begin, end)]
    records = dict(zip(("worker", "score_begin", "score_end"), np.array(spans).T, strict=True))
    window.records = records
    first, second = window.sys.workers
    assert answer.at_hand(window) == pytest.approx({first: 0.3, second: 0.1}, abs=1e-6)


def test_how_far_a_preview_was_off() -> None:
    names = dict.fromkeys(answer.SHOWN, 10.0)
    preview = {"metrics": {**names, "latency_p99": None}, "verdict": "STABLE"}
    full = {"metrics": {**names, "latency_p50": 20.0, "latency_p95": 0.0}, "verdict": "OVERLOADED"}
    found = answer.off(preview, full)
    off = {row["metric"]: row["relative"] for row in found["rows"]}
    assert off == {
        "throughput_per_s": 0.0,
        "latency_p50": -0.5,
        "latency_p95": None,
        "latency_p99": None,
        "lag_slope_per_s": None,  # it lies about zero: no ratio says anything
    }
    assert not found["same_verdict"]
