"""`python -m sim` on a cluster scenario: what it prints, what it writes, what it keeps, its exit codes."""

from __future__ import annotations

import dataclasses
import json
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from analysis import cluster
from analysis.__main__ import app as analysis_app
from analysis.cluster_metrics import Trail
from analysis.report import report
from analysis.runs import RunError, find_runs, read_run
from scenarios.cluster_spec import ClusterScenario
from scenarios.load import any_from_resolved, expand_any
from sim import cores
from sim.__main__ import app
from sim.cluster import simulate, sweep
from sim.cluster.run import run
from sim.cluster.sweep import Point
from sim.kept import FOLDER

SCENARIO = """
name: small
workload: {trace: t.csv, seed: 7}
jobs: {count: 3, slo: 720 ms}
cluster: {quota: 7}
policy: aiad
"""
SWEEP = SCENARIO + "sweep: {policy: [aiad, fairshare], workload.seed: [7, 8]}\n"
#: At the top of the object that a run prints.
NAMES = (
    *("violation_rate", "cluster_violation_rate", "lost_utility", "lost_effective_utility"),
    *("mean_ms", "p99_ms", "drops", "replicas_mean"),
)


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    rows = [f"{job},{minute},{200 + 300 * job}" for job in range(3) for minute in range(4)]
    (tmp_path / "t.csv").write_text("\n".join(["job,minute,rate", *rows]) + "\n", encoding="utf-8")
    path = tmp_path / "small.yaml"
    path.write_text(SCENARIO, encoding="utf-8")
    return path


@pytest.fixture
def swept(scenario: Path) -> Path:
    path = scenario.with_name("swept.yaml")
    path.write_text(SWEEP, encoding="utf-8")
    return path


def sim(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def ok(result: Any) -> str:
    assert result.exit_code == 0, result.output
    out: str = result.stdout
    return out


def test_one_object_has_the_metrics_at_its_top(scenario: Path, runs_dir: Path) -> None:
    out = ok(sim("run", scenario, "--json", "-o", runs_dir))
    said = json.loads(out)
    assert out.count("\n") == 1
    assert all(isinstance(said[name], int | float) for name in NAMES)
    assert (said["policy"], said["quota"], said["jobs"], said["workload_seed"]) == ("aiad", 7, 3, 7)
    assert said["requests"] == 4 * (200 + 500 + 800)
    assert {"scale_outs", "scale_ins", "decisions", "solver_mean_s", "solver_max_s", "cpu_s", "wall_s"} <= set(said)
    assert 0 <= said["violation_rate"] <= 1
    assert said["expect_broken"] == []


def test_the_run_is_written_with_its_tables(scenario: Path, runs_dir: Path) -> None:
    said = json.loads(ok(sim("run", scenario, "--json", "-o", runs_dir)))
    (path,) = find_runs(runs_dir)
    run = read_run(path)
    assert Path(said["path"]) == path
    assert (run.meta["kind"], run.meta["backend"], run.meta["reason"]) == ("cluster", "sim", "complete")
    assert run.meta["accounting"]["sent"] == sum(n for name, n in run.meta["accounting"].items() if name != "sent")
    found = any_from_resolved(run.meta["scenario"])
    assert isinstance(found, ClusterScenario)
    assert [job.name for job in found.jobs] == ["job-0", "job-1", "job-2"]
    jobs = run.table(cluster.JOBS, cluster.JOB_COLUMNS)
    by_job = jobs.groupby("job")["requests"].sum().tolist()
    assert by_job == [800, 2000, 3200]
    assert jobs["drops"].sum() == said["drops"]
    assert jobs["violations"].sum() / said["requests"] == pytest.approx(said["violation_rate"])
    decisions = run.table(cluster.DECISIONS, cluster.DECISION_COLUMNS)
    assert len(decisions) == said["decisions"] > 0
    assert decisions["reason"].str.len().min() > 0
    assert ((decisions["granted"] >= 1) & (decisions["granted"] <= 7)).all()
    with pytest.raises(RunError, match="has no column nothing"):
        run.table(cluster.JOBS, ("nothing",))


def test_requests_are_accounted_for_by_what_became_of_them(scenario: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sets = ("policy={name: faro_penaltysum, forecast: none}", "cluster.quota=3", "workload.scale=5")
    (_, asked), *_ = expand_any(scenario, sets)
    assert isinstance(asked, ClusterScenario)
    meta = run(asked).meta
    accounting = meta["accounting"]
    assert meta["verdict"] is None
    assert min(accounting[term] for term in ("scored", "dropped_queue", "rejected")) > 0
    assert accounting["in_flight"] == 0
    assert accounting["dropped_queue"] + accounting["rejected"] == meta["metrics"]["drops"]

    through = simulate.run

    def losing(*of: Any) -> Trail:
        trail = through(*of)
        trail.outcomes[0][0] = -1
        return trail

    monkeypatch.setattr(simulate, "run", losing)
    meta = run(asked).meta
    assert (meta["verdict"], meta["verdict_reason"]) == ("INVALID", "the accounting does not add up")


def test_without_write_nothing_is_written(scenario: Path, runs_dir: Path) -> None:
    assert json.loads(ok(sim("run", scenario, "--json", "--no-write", "-o", runs_dir)))["path"] is None
    assert list(runs_dir.iterdir()) == []


def test_the_same_seeds_give_the_same_run(scenario: Path) -> None:
    def metrics(*sets: str) -> list[float]:
        words = [word for each in sets for word in ("--set", each)]
        said = json.loads(ok(sim("run", scenario, "--json", "--no-write", *words)))
        return [said[name] for name in NAMES]

    first = metrics()
    assert metrics() == first
    assert metrics("policy.solver=cobyla", "policy=aiad") == first
    assert metrics("workload.seed=8") != first
    assert metrics("seed=8") != first


def test_a_table_says_the_cluster_first_and_then_each_job(scenario: Path, runs_dir: Path) -> None:
    lines = ok(sim("run", scenario, "-o", runs_dir)).splitlines()
    text = "\n".join(lines)
    assert (lines[0][:12], lines[1][:24]) == ("SLO broken: ", "verdict      policy aiad")
    assert lines[6].strip() == "small"
    assert (
        text.index("cluster violation rate") < text.index("job-0") < text.index("job-2") < text.index("6,000 requests")
    )
    assert lines[-1].startswith(str(runs_dir))


def test_a_broken_expect_exits_3(scenario: Path, swept: Path, tmp_path: Path) -> None:
    expect = ("--set", "expect.lost_utility=< 0", "--set", "expect.p99_ms=< 1 h", "-o", tmp_path)
    run = sim("run", scenario, *expect, "--json")
    assert run.exit_code == 3
    assert run.stderr.splitlines()[-1].startswith("expect: lost_utility < 0: lost_utility is ")
    assert len(json.loads(run.stdout)["expect_broken"]) == 1
    several = sim("sweep", swept, *expect, "--jobs", 1)
    assert several.exit_code == 3
    assert "expect: policy aiad: lost_utility < 0" in several.stderr
    assert "expect: policy fairshare: lost_utility < 0" in several.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--set", "policy=aaid"), "--set: policy.name: 'aaid' is not allowed; did you mean 'aiad'?"),
        (("--set", "policy.options.wings=2"), "policy.options.wings: the policy aiad has no such option"),
        (("--calibration", "two-cores"), "--calibration is for pipelines"),
        (("--backend", "simpy"), "--backend is for pipelines"),
    ],
)
def test_a_wrong_word_exits_2(scenario: Path, words: Sequence[str], told: str) -> None:
    for command in ("run", "sweep"):
        result = sim(command, scenario, *words)
        assert result.exit_code == 2
        assert told in result.stderr
        assert result.stdout == ""


def test_a_capacity_of_a_cluster_exits_2(scenario: Path) -> None:
    result = sim("capacity", scenario)
    assert result.exit_code == 2
    assert "is of a cluster" in result.stderr


def test_a_sweep_is_a_list_of_means_over_seeds(swept: Path, scenario: Path, tmp_path: Path) -> None:
    found = json.loads(ok(sim("sweep", swept, "-o", tmp_path / "a", "--json", "--jobs", 1)))
    assert [(each["policy"], each["seeds"]) for each in found] == [("aiad", [7, 8]), ("fairshare", [7, 8])]
    one = [
        json.loads(ok(sim("run", scenario, "--json", "--no-write", "--set", f"workload.seed={seed}")))
        for seed in (7, 8)
    ]
    for name in NAMES:
        assert found[0][name] == pytest.approx((one[0][name] + one[1][name]) / 2)
        assert found[0]["sd"][name] == pytest.approx(abs(one[0][name] - one[1][name]) / 2**0.5)
    told = ok(sim("sweep", swept, "-o", tmp_path / "a"))
    assert told.startswith("SLO broken at 2 of 2 points\nverdict      the least utility is lost at policy fairshare")
    table = told[told.index("┏") :]
    assert "means of 2 runs" in told
    assert table.index("aiad") < table.index("fairshare")


def clusters(path: Path) -> list[tuple[dict[str, Any], ClusterScenario]]:
    return [(swept, each) for swept, each in expand_any(path) if isinstance(each, ClusterScenario)]


def test_repeats_move_both_seeds(swept: Path) -> None:
    _, base = clusters(swept)[0]
    moved = sweep.seeded(base, 3)
    assert (moved.workload.seed, moved.seed) == (10, 45)
    assert sweep.seeded(base, 0).seed == base.seed


def test_what_is_kept_is_not_simulated_again(swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    spread = cores.spread

    def counted(function: Any, jobs: Sequence[Any], processes: int | None) -> Any:
        asked.append(len(jobs))
        return spread(function, jobs, 1)

    def run() -> list[Point]:
        return sweep.sweep(clusters(swept), root=tmp_path / "runs")

    monkeypatch.setattr(cores, "spread", counted)
    first = run()
    kept = sorted((tmp_path / "runs" / FOLDER).iterdir())
    assert len(kept) == 4
    assert run() == first
    kept[0].unlink()
    kept[1].write_text("{")
    again = run()
    assert [point.metrics["lost_utility"] for point in again] == [point.metrics["lost_utility"] for point in first]
    swept.with_name("t.csv").write_text("job,minute,rate\n" + "".join(f"{job},0,90\n" for job in range(3)))
    run()
    assert asked == [4, 0, 2, 4]


def test_a_run_is_known_by_what_is_run_not_by_its_name_or_place(swept: Path, tmp_path: Path) -> None:
    _, base = clusters(swept)[0]
    other = tmp_path / "elsewhere.csv"
    other.write_bytes(Path(base.workload.trace).read_bytes())
    same = dataclasses.replace(
        base, name="other", repeats=4, workload=dataclasses.replace(base.workload, trace=str(other))
    )
    assert sweep.identity(same) == sweep.identity(base)
    others = [
        dataclasses.replace(base, seed=1),
        dataclasses.replace(base, utility="latency_step"),
        dataclasses.replace(base, jobs=base.jobs[:2]),
        dataclasses.replace(base, policy=dataclasses.replace(base.policy, options={"x": 1})),
        dataclasses.replace(base, workload=dataclasses.replace(base.workload, history=str(other))),
    ]
    assert len({sweep.identity(each) for each in (base, *others)}) == 1 + len(others)


def test_the_report_shows_the_run(scenario: Path, swept: Path, runs_dir: Path, tmp_path: Path) -> None:
    for policy in ("aiad", "fairshare"):
        ok(sim("run", scenario, "--set", f"policy={policy}", "-o", runs_dir))
    paths = [str(path) for path in find_runs(runs_dir)]
    out = tmp_path / "r.html"
    done = CliRunner().invoke(analysis_app, ["report", *paths, "-o", str(out)])
    assert ok(done).strip() == str(out)
    html = out.read_text(encoding="utf-8")
    assert html.count("<svg") == 2 * (1 + 3)
    assert html.count("aiad, quota 7, seed 7") >= 2
    with pytest.raises(ValueError, match="a report of their own"):
        report([paths[0]], [{"kind": "drain", "metric": "x", "parallelism": 1}], out)
    assert "http" not in html
    shown = ok(CliRunner().invoke(analysis_app, ["show", paths[0]]))
    assert "cluster violation rate" in shown
    assert "job-2" in shown
    told = json.loads(ok(CliRunner().invoke(analysis_app, ["show", paths[0], "--json"])))
    assert told["policy"] in ("aiad", "fairshare")
    assert told["lost_utility"] >= 0
