"""A run in a window of its records: the stamps and the counts of one that keeps them all, percentiles within 0.5 %."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from analysis.accounting import accounting
from analysis.metrics import metrics
from analysis.tally import Histogram, Tally
from analysis.window import window_ns
from scenarios import arrivals
from scenarios.load import load as load_scenario
from scenarios.spec import MS_NS, S_NS, Arrival, Scenario, Workload
from sim import bounded, bounded_run, store, system
from sim.__main__ import app
from sim.bounded import BoundedExecution
from sim.costs import Calibration
from sim.execution import LoopExecution
from sim.run import columns, simulate
from sim.system import Int64s, UnsupportedError
from tests.oracle import families

FIRST_LIGHT = Path("scenarios/first_light.yaml")
KINDS = ("python", "poll-loop", "dataflow-chained", "dataflow", "actors")
ARRIVALS = [
    Arrival(kind="constant", rate_per_s=997.0),
    Arrival(kind="poisson", rate_per_s=1003.0),
    Arrival(kind="gamma", rate_per_s=1009.0, cv=2.0),
    Arrival(kind="square", rate_per_s=400.0, to_rate_per_s=1500.0, period_ns=S_NS // 4),
    Arrival(kind="ramp", rate_per_s=10.0, to_rate_per_s=1500.0),
]


def generated(kind: str) -> tuple[Scenario, Calibration]:
    """The first generated pipeline of a kind that has no backlog and the like, with far more records than a window."""
    for seed in range(60):
        scenario, calibration = families.random_case(kind, seed, shared=seed % 3 == 0)
        scenario = longer(scenario)
        try:
            bounded.build(scenario, calibration)
        except UnsupportedError:
            continue
        return scenario, calibration
    raise AssertionError(kind)


def longer(scenario: Scenario) -> Scenario:
    load = replace(
        scenario.workload,
        arrival=Arrival(kind="poisson", rate_per_s=2000.0),
        records=None,
        warmup_ns=200 * MS_NS,
        duration_ns=1300 * MS_NS,
        drain_ns=S_NS,
    )
    return replace(scenario, workload=load)


class Kept:
    """What a bounded run handed on."""

    def __init__(self) -> None:
        self.blocks: list[dict[str, Int64s]] = []
        self.next = 0

    def take(self, stamps: dict[str, Int64s], first: int) -> None:
        assert first == self.next, "records come in order, each once"
        self.next += len(stamps["created"])
        self.blocks.append({name: values.copy() for name, values in stamps.items()})

    def whole(self) -> dict[str, Int64s]:
        return {name: np.concatenate([b[name] for b in self.blocks]) for name in self.blocks[0]}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("window", [16, 300])
def test_the_stamps_of_a_window_are_those_of_the_whole_run(kind: str, window: int) -> None:
    scenario, calibration = generated(kind)
    whole, kept = LoopExecution(system.build(scenario, calibration)), Kept()
    execution = BoundedExecution(scenario, bounded.build(scenario, calibration), kept.take, window=window)
    for at in (whole.system.horizon_ns // 3, whole.system.horizon_ns):
        whole.advance(at)
        execution.advance(at)
        assert execution.threads() == whole.threads()
        assert execution.producers() == whole.producers()
        assert execution.consumers() == whole.consumers()
        assert execution.services() == whole.services()
        assert execution.acked() == whole.acked()
    execution.finish()
    assert len(kept.blocks) > 2, "the window never moved"
    assert execution.total == whole.system.records
    for name, values in whole.stamps().items():
        assert np.array_equal(kept.whole()[name], values), name


def test_a_window_grows_with_the_backlog_and_not_with_the_run() -> None:
    scenario = longer(load_scenario(FIRST_LIGHT))
    calibration = store.load(store.SHIPPED)
    windows = []
    for rate in (500.0, 20_000.0):  # the second is beyond what two workers can do
        for seconds in (1, 3):
            arrival = replace(scenario.workload.arrival, rate_per_s=rate)
            load = replace(scenario.workload, arrival=arrival, duration_ns=seconds * S_NS, drain_ns=MS_NS)
            asked = replace(scenario, workload=load)
            sys = bounded.build(asked, calibration)
            execution = BoundedExecution(asked, sys, lambda _stamps, _first: None, window=256)
            execution.advance(sys.horizon_ns)
            windows.append(execution.window)
    assert windows[0] == windows[1]
    assert windows[1] < windows[2] < windows[3]


@pytest.mark.parametrize("kind", KINDS)
def test_run_json_of_generated_scenarios(kind: str) -> None:
    scenario, calibration = generated(kind)
    assert_same(simulate(scenario, calibration).meta, bounded_run.simulate(scenario, calibration, window=128).meta)


@pytest.mark.parametrize("records", [None, 3001])
@pytest.mark.parametrize("arrival", ARRIVALS, ids=lambda each: each.kind)
def test_run_json_of_every_load(arrival: Arrival, records: int | None) -> None:
    scenario, calibration = generated("python")
    scenario = replace(
        scenario, workload=replace(scenario.workload, arrival=arrival, records=records, duration_ns=4 * S_NS)
    )
    assert_same(simulate(scenario, calibration).meta, bounded_run.simulate(scenario, calibration, window=128).meta)


def assert_same(whole: dict[str, Any], counted: dict[str, Any]) -> None:
    for key in ("accounting", "counters", "warmup", "verdict", "reason", "calibration", "notes", "scenario"):
        assert counted[key] == whole[key], key
    assert counted["bottleneck"]["name"] == whole["bottleneck"]["name"]
    assert counted["metrics"].keys() == whole["metrics"].keys()
    for name, value in whole["metrics"].items():
        found = counted["metrics"][name]
        if value is None or not (name.startswith("latency_") or name == "generator_lag_ms_p99"):
            assert found == value, name
        elif name.endswith("_mean"):
            assert found == pytest.approx(value, rel=1e-9), name
        else:
            assert found == pytest.approx(value, rel=0.005, abs=1e-6), name
    assert whole["accounting"]["sent"] > 1000


@pytest.mark.parametrize("arrival", ARRIVALS, ids=lambda each: each.kind)
@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 20])
@pytest.mark.parametrize("limit", [None, 1, 77])
def test_blocks_of_a_schedule_are_the_schedule(arrival: Arrival, size: int, limit: int | None) -> None:
    whole = arrivals.schedule(arrival, S_NS, 3, limit=limit)
    blocks = list(arrivals.blocks(arrival, S_NS, 3, size=size, limit=limit))
    assert all(0 < len(block) <= size for block in blocks)
    assert np.array_equal(np.concatenate(blocks), whole)


def test_partitions_of_a_part_are_those_of_the_whole() -> None:
    scenario = Scenario(name="x", workload=Workload())
    whole = arrivals.partition_of(scenario, 500)
    assert np.array_equal(arrivals.partition_from(scenario, 123, 200), whole[123:323])


@pytest.mark.parametrize("scale", [1, 1000, 10**6, 2**30])
def test_quantiles_of_a_histogram(scale: int) -> None:
    values = (np.random.default_rng(scale).exponential(1.0, 20_000) * 300 * scale).astype(np.int64) - 5 * scale
    found = Histogram()
    for part in np.array_split(values, 7):
        found.add(part)
    assert found.count == len(values)
    assert found.mean == pytest.approx(float(values.astype(float).mean()), rel=1e-9)
    for share in (0.0, 0.01, 0.5, 0.9, 0.999, 1.0):
        assert found.quantile(share) == pytest.approx(float(np.quantile(values, share)), rel=0.004, abs=0.5)


def test_small_values_are_exact() -> None:
    found, values = Histogram(), np.arange(-511, 512)
    found.add(values)
    for share in (0.0, 0.25, 0.5, 0.77, 1.0):
        assert found.quantile(share) == float(np.quantile(values, share))


def test_a_record_that_contradicts_its_outcome_is_told() -> None:
    scenario, calibration = generated("python")
    sys = system.build(scenario, calibration)
    execution = LoopExecution(sys)
    execution.advance(sys.horizon_ns)
    records = columns(sys, execution.stamps(), execution.lost())
    tally = Tally(scenario, window_ns(scenario, records), len(sys.workers))
    tally.add(records)
    assert tally.wrong is None
    assert tally.counts == accounting(records)
    assert tally.metrics({})["lag_max"] == metrics(scenario, records)["lag_max"]
    records["outcome"][5] = -1
    tally.add(records)
    assert tally.wrong == "accounting: record 5 was sent and has no outcome"


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (["workload.backlog.records=100"], "workload.backlog: not with --records none"),
        (["workload.warmup=auto"], "workload.warmup: not with --records none"),
        (["engine.kind=spark", "calibration=textbook"], "micro-batches: not with --records none"),
    ],
)
def test_what_needs_every_record_is_refused(sets: list[str], said: str) -> None:
    words = [word for each in sets for word in ("--set", each)]
    result = CliRunner().invoke(app, ["run", str(FIRST_LIGHT), "--records", "none", "--no-write", *words])
    assert result.exit_code == 2
    assert said in result.output


@pytest.mark.parametrize("words", [["--backend", "simpy"], ["--replications", "3"], ["--intervals", "19"]])
def test_options_that_need_records_are_refused(words: list[str]) -> None:
    result = CliRunner().invoke(app, ["run", str(FIRST_LIGHT), "--records", "none", *words])
    assert result.exit_code == 2
    assert "--records: none: does not go with" in " ".join(result.output.split())


def test_the_command_writes_a_run_without_records(tmp_path: Path) -> None:
    from analysis.runs import read_run

    sets = ["--set", "workload.duration=2s", "--set", "workload.warmup=1s"]
    result = CliRunner().invoke(app, ["run", str(FIRST_LIGHT), "--records", "none", "-o", str(tmp_path), *sets])
    assert result.exit_code == 0, result.output
    run = read_run(next(tmp_path.glob("*first-light*")))
    assert run.meta["records"] == "none"
    assert run.meta["accounting"]["scored"] == 600
    assert len(run.records) == 0
    assert len(run.host) > 0
    assert store.load(store.SHIPPED).name == run.meta["calibration"]["name"]
