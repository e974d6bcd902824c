"""What a cluster scenario means: jobs from entries, models, policies as words, what extends and --set make of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from scenarios import cluster_spec as spec
from scenarios.cluster_load import MODELS
from scenarios.cluster_spec import ClusterScenario, Job, JobModel, PolicyChoice, Service
from scenarios.errors import ScenarioError
from scenarios.load import any_from_resolved, expand_any, load, load_any, resolved

ROOM = Path(__file__).resolve().parents[2] / "scenarios"
HEAD = "workload: {trace: t.csv}\n"


@pytest.fixture(autouse=True)
def _trace(tmp_path: Path) -> None:
    rows = [f"{job},{minute},{10 * job + minute}" for job in range(3) for minute in range(4)]
    (tmp_path / "t.csv").write_text("\n".join(["job,minute,rate", *rows]) + "\n", encoding="utf-8")


def scenario(folder: Path, text: str, *sets: str) -> ClusterScenario:
    path = folder / "s.yaml"
    path.write_text(HEAD + text, encoding="utf-8")
    found = load_any(path, sets)
    assert isinstance(found, ClusterScenario)
    assert any_from_resolved(resolved(found)) == found
    return found


def test_an_entry_alone_is_that_many_jobs(tmp_path: Path) -> None:
    found = scenario(tmp_path, "jobs: {count: 5, slo: 500 ms, weight: 2}\n")
    assert found.jobs == tuple(
        Job(f"job-{i}", JobModel(), slo_s=0.5, weight=2.0, trace=i % 3, replicas=1) for i in range(5)
    )
    assert found.workload == spec.Load(str(tmp_path / "t.csv"))
    assert (found.cluster, found.policy, found.utility, found.seed) == (spec.Cluster(), PolicyChoice(), "latency", 42)


def test_a_list_of_entries_counts_jobs_and_traces_through(tmp_path: Path) -> None:
    found = scenario(
        tmp_path,
        "jobs: [{name: a, replicas: 3}, {count: 2, name: b, trace: 2}, {count: 2}, {trace: 1, model: resnet18}]\n",
    )
    assert [job.name for job in found.jobs] == ["a", "b-0", "b-1", "job-3", "job-4", "job-5"]
    assert [job.trace for job in found.jobs] == [0, 2, 0, 0, 1, 1]
    assert [job.replicas for job in found.jobs] == [3, 1, 1, 1, 1, 1]
    assert found.jobs[5].model.name == "resnet18"


def test_several_models_are_dealt_out_and_an_objective_is_four_planned_times(tmp_path: Path) -> None:
    found = scenario(tmp_path, "jobs: {count: 3, model: [resnet18, resnet34]}\n")
    assert [job.model.name for job in found.jobs] == ["resnet18", "resnet34", "resnet18"]
    assert [job.slo_s for job in found.jobs] == [0.4, 0.72, 0.4]


def test_the_models_there_are() -> None:
    mean = 0.0793 + 0.068581 * math.exp(0.42247**2 / 2)
    assert MODELS["resnet34"].service.mean_s == pytest.approx(mean)
    assert mean == pytest.approx(0.15428, abs=1e-5)
    assert MODELS["resnet18"].service.mean_s == pytest.approx(mean * 100 / 180)
    assert [MODELS[name].planned_s for name in ("resnet34", "resnet18")] == [0.18, 0.1]


def test_models_of_the_file_and_changed_ones(tmp_path: Path) -> None:
    found = scenario(
        tmp_path,
        "models:\n  wait: {service: 10 ms, planned: 12 ms}\n  plain: {planned: 20 ms}\n  resnet34: {planned: 170 ms}\n"
        "  resnet18: {service: {floor: 50 ms}}\njobs: {count: 4, model: [wait, plain, resnet34, resnet18]}\n",
    )
    wait, plain, changed, floored = (job.model for job in found.jobs)
    assert wait == JobModel("wait", Service(0.010), 0.012)
    assert plain == JobModel("plain", Service(0.020), 0.020)
    assert changed == JobModel("resnet34", spec.RESNET34, 0.170)
    base = MODELS["resnet18"].service
    assert floored.service == Service(0.05, base.lognormal_sigma, base.lognormal_scale_s)


def test_a_router_in_one_word_is_constant_and_by_key_is_changed(tmp_path: Path) -> None:
    assert scenario(tmp_path, "jobs: {}\ncluster: {router: 4 ms}\n").cluster.router == Service(0.004)
    found = scenario(tmp_path, "jobs: {}\n", "cluster.router.floor=4 ms").cluster.router
    assert found == Service(0.004, spec.ROUTER.lognormal_sigma, spec.ROUTER.lognormal_scale_s)


@pytest.mark.parametrize(
    ("quota", "policy", "jobs", "start"),
    [(32, "fairshare", 10, 3), (40, "fairshare", 10, 4), (32, "aiad", 10, 1), (10, "fairshare", 10, 1)],
)
def test_fairshare_starts_with_its_share(tmp_path: Path, quota: int, policy: str, jobs: int, start: int) -> None:
    found = scenario(tmp_path, f"jobs: {{count: {jobs}}}\npolicy: {policy}\ncluster: {{quota: {quota}}}\n")
    assert {job.replicas for job in found.jobs} == {start}


WORD = PolicyChoice("aiad")
BOTH = PolicyChoice("aiad", solver="cobyla")


@pytest.mark.parametrize(
    ("written", "sets", "expected"),
    [
        ("policy: aiad", (), WORD),
        ("policy: {name: aiad}", (), WORD),
        ("", ("policy=aiad",), WORD),
        ("", ("policy=aiad", "policy.solver=cobyla"), BOTH),
        ("", ("policy.solver=cobyla", "policy=aiad"), BOTH),
        ("policy: {name: mark, solver: exact}", ("policy=aiad", "policy.solver=cobyla"), BOTH),
        ("policy: {name: mark, solver: cobyla}", ("policy=aiad",), BOTH),
        ("policy: mark", ("policy.solver=cobyla", "policy=aiad"), BOTH),
        ("policy: {name: mark, solver: cobyla}", ("policy={name: aiad}",), WORD),
        ("policy: {solver: cobyla}", ("policy.name=aiad",), BOTH),
        ("policy: mark", ("policy=null",), PolicyChoice()),
        (
            "policy: {name: mark, options: {trials: 1, reactive: false}}",
            (),
            PolicyChoice("mark", options={"trials": 1, "reactive": False}),
        ),
        ("policy: mark", ("policy.options.first_s=1.5",), PolicyChoice("mark", options={"first_s": 1.5})),
    ],
)
def test_a_policy_as_word_and_as_mapping(
    tmp_path: Path, written: str, sets: tuple[str, ...], expected: PolicyChoice
) -> None:
    assert scenario(tmp_path, f"jobs: {{}}\n{written}\n", *sets).policy == expected


@pytest.mark.parametrize(
    ("base", "child", "expected"),
    [
        ("policy: {name: mark, solver: cobyla}", "policy: aiad", BOTH),
        ("policy: aiad", "policy: {solver: cobyla}", BOTH),
        ("policy: mark", "policy: aiad", WORD),
        ("policy: aiad", "policy: null", PolicyChoice()),
    ],
)
def test_a_policy_extends_a_policy(tmp_path: Path, base: str, child: str, expected: PolicyChoice) -> None:
    (tmp_path / "base.yaml").write_text(f"{HEAD}jobs: {{}}\n{base}\n", encoding="utf-8")
    path = tmp_path / "child.yaml"
    path.write_text(f"extends: base.yaml\n{child}\n", encoding="utf-8")
    found = load_any(path)
    assert isinstance(found, ClusterScenario)
    assert found.policy == expected


def points(path: Path, *sets: str) -> list[tuple[dict[str, Any], ClusterScenario]]:
    found = []
    for swept, each in expand_any(path, sets):
        assert isinstance(each, ClusterScenario)
        found.append((swept, each))
    return found


def test_a_sweep_over_policies_quotas_and_seeds(tmp_path: Path) -> None:
    sweep = "sweep: {cluster.quota: [6, 8], policy: [aiad, {name: mark, solver: exact}], workload.seed: [1, 2]}\n"
    first = scenario(tmp_path, "jobs: {count: 3}\npolicy: {solver: cobyla}\n" + sweep)
    assert first.policy == BOTH
    assert (first.cluster.quota, first.workload.seed) == (6, 1)
    found = points(tmp_path / "s.yaml")
    assert [(each.cluster.quota, each.policy, each.workload.seed) for _, each in found] == [
        (quota, policy, seed) for quota in (6, 8) for policy in (BOTH, PolicyChoice("mark")) for seed in (1, 2)
    ]
    assert found[0][0] == {"cluster.quota": 6, "policy": "aiad", "workload.seed": 1}
    assert {each.policy.name for _, each in points(tmp_path / "s.yaml", "policy=ds2")} == {"ds2"}
    assert {each.policy.name for _, each in points(tmp_path / "s.yaml", "policy.name=ds2")} == {"ds2"}
    assert len(points(tmp_path / "s.yaml", "policy=ds2")) == 4


def test_a_share_at_the_start_follows_the_swept_quota(tmp_path: Path) -> None:
    scenario(tmp_path, "jobs: {count: 2}\npolicy: fairshare\nsweep: {cluster.quota: [4, 10]}\n")
    assert [each.jobs[0].replicas for _, each in points(tmp_path / "s.yaml")] == [2, 5]


def test_jobs_of_one_entry_are_swept_and_set(tmp_path: Path) -> None:
    scenario(tmp_path, "jobs: {count: 2}\nsweep: {jobs.slo: [1 s, 2 s], models.resnet34.planned: [100 ms]}\n")
    found = [each.jobs[0] for _, each in points(tmp_path / "s.yaml", "jobs.count=3")]
    assert [(job.slo_s, job.model.planned_s) for job in found] == [(1.0, 0.1), (2.0, 0.1)]


def test_bounds_are_on_the_names_of_the_results(tmp_path: Path) -> None:
    found = scenario(
        tmp_path, "jobs: {}\nexpect: {violation_rate: '< 5 %', p99_ms: 2 s, slo_rate: 0.9, drops: ['>= 0', '< 10']}\n"
    )
    assert [(bound.metric, bound.op, bound.value) for bound in found.expect] == [
        ("violation_rate", "<", 0.05),
        ("p99_ms", "<=", 2000.0),
        ("slo_rate", ">=", 0.9),
        ("drops", ">=", 0.0),
        ("drops", "<", 10.0),
    ]


def test_what_wants_a_pipeline_refuses_a_cluster(tmp_path: Path) -> None:
    scenario(tmp_path, "jobs: {}\n")
    with pytest.raises(ScenarioError, match=r"s\.yaml: is of a cluster"):
        load(tmp_path / "s.yaml")


def test_the_shipped_ones_are_faros() -> None:
    found = {}
    for path in sorted((ROOM / "faro").glob("*.yaml")):
        each = load_any(path)
        assert isinstance(each, ClusterScenario)
        found[path.stem] = each
    shape = {name: (len(each.jobs), each.cluster.quota) for name, each in found.items()}
    assert shape["top9"] == shape["slice"] == (10, 32)
    assert (shape["jobs20"], shape["jobs100"], shape["mixed"]) == ((20, 70), (100, 320), (10, 36))
    assert [job.trace for job in found["jobs100"].jobs] == [i % 10 for i in range(100)]
    assert {job.slo_s for job in found["jobs20"].jobs} == {0.72}
    assert {(i % 2, job.model.name, job.slo_s) for i, job in enumerate(found["mixed"].jobs)} == {
        (0, "resnet18", 0.4),
        (1, "resnet34", 0.72),
    }
    assert (found["slice"].workload.first_minute, found["slice"].workload.minutes) == (190, 45)
    assert found["top9"].policy.name == "faro_fairsum"
