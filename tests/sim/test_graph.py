"""Graphs of models: loop and reference against the pipeline written by hand, and what a run tells of its stages."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.runs import read_run
from scenarios.errors import ScenarioError
from scenarios.load import expand, from_resolved, load, resolved
from scenarios.spec import MS_NS, US_NS, Branch, Engine, Scenario, Serving, Stage
from sim import operations as op
from sim import store, system
from sim.__main__ import app
from sim.costs import Calibration
from sim.execution import Execution, LoopExecution
from sim.reference import ReferenceExecution
from sim.run import simulate, write
from sim.stages import CAME
from tests.oracle import families, graph
from tests.sim import pipelines

ROOM = Path(__file__).resolve().parents[2] / "scenarios"
SEEDS = 25
#: Service times of Clipper's log: of the batches that came first, and of all after them.
FIRST_S, EACH_S, OFFERED_PER_S = (4.224, 1.541), 0.128157, 192.9


def random_case(seed: int, *, shared: bool, ties: bool) -> tuple[Scenario, Calibration]:
    """A random graph at random costs; the same for the same numbers."""
    scenario, calibration = families.random_case("brokerless", seed, shared=shared, ties=ties)
    rng = random.Random(f"graph {seed}")
    count = rng.randint(1, 6)
    names = [f"m{k}" for k in range(count)]
    loops = rng.random() < 0.3  # then no record is in two places

    def time_ns(most_us: int) -> int:
        return rng.randrange(most_us // 100) * 100 * US_NS if ties else rng.randrange(most_us * US_NS)

    def ways(k: int) -> tuple[Branch, ...]:
        later = names if loops else names[k + 1 :]
        found, left = [], 0.9
        for _ in range(rng.randrange(4) if later else 0):
            share = rng.choice((0.0, 0.25, rng.random())) * left
            left -= share
            found.append(Branch(tuple(rng.choice(later) for _ in range(1 if loops else rng.choice((1, 2, 3)))), share))
        if found and not loops and rng.random() < 0.5:
            found.append(Branch((later[-1],)))
        return tuple(found)

    def times() -> dict[str, Any]:
        kind = rng.choice(("model", "line", "table"))
        if kind == "model":
            return {}
        if kind == "line":
            return {"base_ns": rng.choice((None, time_ns(4000))), "each_ns": time_ns(1000)}
        return {"table_ns": tuple((n, time_ns(5000)) for n in sorted(rng.sample(range(1, 9), rng.randint(1, 3))))}

    stages = tuple(
        Stage(
            name,
            workers=rng.randint(1, 3),
            batch_records=rng.choice((1, 1, 2, 4, 8)),
            batch_delay_ns=rng.choice((0, 0, time_ns(5000))),
            first_batches_ns=tuple(time_ns(20_000) for _ in range(rng.choice((0, 0, 2)))),
            next=ways(k),
            joins=rng.random() < 0.4,
            queue_records=rng.choice((0, 0, 3, 20)),
            order=rng.choice(("arrival", "created")),
            expiry_ns=rng.choice((0, 0, time_ns(60_000))),
            **times(),
        )
        for k, name in enumerate(names)
    )
    return replace(scenario, engine=Engine(kind="graph"), serving=Serving(), stages=stages), calibration


def assert_all_three_agree(seed: int, *, shared: bool, ties: bool, reference: bool = True) -> tuple[int, set[str]]:
    """Returns how many records were answered, and what became of others."""
    scenario, calibration = random_case(seed, shared=shared, ties=ties)
    by_hand, lost = graph.run(*graph.told(scenario, calibration))
    sys = system.build(scenario, calibration)
    executions: list[Execution] = [LoopExecution(sys)]
    if reference:
        executions.append(ReferenceExecution(sys))
    words = {"dropped": op.DROPPED, "expired": op.LATE}
    for execution in executions:
        execution.advance(sys.horizon_ns)
        pipelines.assert_same_stamps(execution.stamps(), by_hand)
        found = execution.lost()
        assert {int(r): int(found[r]) for r in np.flatnonzero(found)} == {r: words[w] for r, w in lost.items()}
    return int((by_hand["out_appended"] >= 0).sum()), set(lost.values())


@pytest.mark.parametrize("shared", [False, True], ids=["cores-enough", "cores-shared"])
@pytest.mark.parametrize("ties", [False, True], ids=["all-differs", "all-ties"])
def test_random_graphs(shared: bool, ties: bool) -> None:
    results = [assert_all_three_agree(s, shared=shared, ties=ties, reference=s < SEEDS // 3) for s in range(SEEDS)]
    assert sum(answered > 10 for answered, _ in results) > SEEDS // 2
    assert set().union(*(lost for _, lost in results)) == {"dropped", "expired"}


@pytest.mark.parametrize("shared", [False, True], ids=["cores-enough", "cores-shared"])
@given(seed=st.integers(min_value=SEEDS, max_value=1 << 32), ties=st.booleans())
@settings(max_examples=5)
def test_any_graph(shared: bool, seed: int, ties: bool) -> None:
    assert_all_three_agree(seed, shared=shared, ties=ties)


def graph_of(tmp_path: Path, stages: str, *, rate: str = "1 /s", duration: str = "100 ms") -> Scenario:
    path = tmp_path / "graph.yaml"
    path.write_text(
        f"workload: {{arrival: {{rate: {rate}}}, warmup: 0 s, duration: {duration}, drain: 1 s}}\n"
        f"engine: {{kind: graph}}\ncalibration: textbook\nstages:\n{stages}"
    )
    return load(path)


def stamps_without_costs(scenario: Scenario) -> tuple[LoopExecution, dict[str, Any]]:
    nothing = replace(store.choose(scenario), cpu={}, latency={}, background_ns_per_s={})
    sys = system.build(scenario, nothing)
    execution = LoopExecution(sys)
    execution.advance(sys.horizon_ns)
    return execution, execution.stamps()


def test_a_record_waits_for_its_parts(tmp_path: Path) -> None:
    stages = """
  a: {each: 1 ms, next: [{to: [b, c, d]}]}
  b: {each: 10 ms, next: [{to: e}]}
  c: {each: 3 ms, next: [{to: [f, g]}]}
  d: {each: 20 ms}
  e: {each: 2 ms, joins: true}
  f: {each: 5 ms, next: [{to: h}]}
  g: {each: 6 ms, next: [{to: h}]}
  h: {each: 4 ms, joins: true, next: [{to: e}]}
"""
    execution, stamps = stamps_without_costs(graph_of(tmp_path, stages))
    # c is split on: f and g meet at h at 10 ms, and come to e at 14; d ends without joining, at 21, and is waited for.
    assert execution.visits(7)[CAME].tolist() == [10 * MS_NS]
    assert execution.visits(4)[CAME].tolist() == [21 * MS_NS]
    assert stamps["acked"].tolist() == [23 * MS_NS]


def test_a_graph_comes_back_equal() -> None:
    for name in ("engines/graph.yaml", "clipper/overload.yaml"):
        scenario = load(ROOM / name)
        assert from_resolved(resolved(scenario)) == scenario


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ("  a: {next: [{to: z}]}", "no stage is called 'z'"),
        ("  a: {next: [{to: a}]}", "no way from a ever ends"),
        ("  a: {next: [{to: b}, {to: b, share: 0.5}]}\n  b: {}", "only the last way on may leave out its share"),
        ("  a: {next: [{to: b, share: 0.7}, {to: b, share: 0.5}]}\n  b: {}", "the shares add up to 1.2"),
        ("  a: {table: {1: 2 ms}, base: 1 ms}", "a table stands instead of base and each"),
        ("  a: {table: {x: 2 ms}}", "'x' is not the size of a batch"),
        ("  a: {batch_delay: 2 ms}", "a batch of one record is complete at once"),
    ],
)
def test_what_is_wrong_with_stages_is_told(tmp_path: Path, stages: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        graph_of(tmp_path, stages + "\n")


def test_stages_are_of_graphs_only(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    rate = "workload: {arrival: {rate: 5 /s}}\n"
    for text, message in (
        ("stages: {a: {}}\n", "the engine python has no stages"),
        ("engine: {kind: graph}\n", "a graph needs stages"),
        ("engine: {kind: graph}\nstages: {a: {}}\nserving: {kind: external}\n", "serving stays embedded"),
    ):
        path.write_text(rate + text)
        with pytest.raises(ScenarioError, match=message):
            load(path)


def test_settings_of_stages_are_set_and_swept(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("extends: graph.yaml\nsweep: {stages.a.batch: [1, 8], stages.b.workers: [2, 3]}\n")
    graph_of(tmp_path, "  a: {next: [{to: b}]}\n  b: {}\n")
    points = expand(path, ["stages.b.queue=7"])
    found = [[(s.batch_records, s.workers, s.queue_records) for s in scenario.stages] for _, scenario in points]
    assert found == [[(batch, 1, 0), (1, workers, 7)] for batch in (1, 8) for workers in (2, 3)]


def test_a_run_tells_of_its_stages(tmp_path: Path) -> None:
    stages = """
  a: {each: 1 ms, next: [{to: b, share: 0.25}]}
  b: {each: 9 ms, batch: 2, queue: 3}
  c: {}
"""
    scenario = graph_of(tmp_path, stages, rate="500 /s", duration="2 s")
    run = read_run(write(simulate(scenario, store.choose(scenario)), tmp_path))
    told, counts = run.meta["counters"]["stages"], run.meta["accounting"]
    assert list(told) == ["a", "b", "c"]
    assert told["a"]["records"] == counts["sent"] == 1000
    assert told["a"]["batches"] == 1000
    assert told["a"]["utilisation"] == pytest.approx(0.55, abs=0.06)  # and what a request costs beside its time
    assert told["b"]["dropped"] == counts["dropped_queue"] > 0
    assert told["b"]["records"] + told["b"]["dropped"] == pytest.approx(250, abs=50)
    assert 1 < told["b"]["batch_mean"] <= 2
    assert told["c"]["records"] == 0
    assert told["c"]["wait_ms_p99"] is None
    assert counts["scored"] + counts["dropped_queue"] + counts["in_flight"] == counts["sent"]


def test_the_log_of_an_overloaded_server(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    result = CliRunner().invoke(app, ["run", str(ROOM / "clipper" / "overload.yaml"), "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    records = read_run(next(tmp_path.iterdir())).records
    done = records[records["out_appended"] >= 0].sort_values("out_appended", kind="stable")
    latency = ((done["out_appended"] - done["created"]) / 1e9).to_numpy()
    batches = done["batch"].value_counts()
    assert len(done) == 725
    assert len(batches) == 363
    assert batches.mean() == pytest.approx(1.99725, abs=1e-5)
    assert np.median(latency) == pytest.approx(26.97, abs=0.1)
    assert latency.mean() == pytest.approx(26.99, abs=0.1)
    assert latency.max() == pytest.approx(48.3, abs=0.2)
    p99 = [np.percentile(latency[i : i + 50], 99) for i in range(50, 700, 50)]
    assert np.diff(p99) == pytest.approx(2.945, abs=0.03)
