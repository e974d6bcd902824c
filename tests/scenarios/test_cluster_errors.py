"""Each kind of mistake in a cluster scenario, told at its line and column with what is allowed."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scenarios.cluster_schema import ClusterFile
from scenarios.errors import ScenarioError
from scenarios.load import any_from_resolved, expand_any, load_any, resolved
from scenarios.schema import dotted_keys, sweepable

ROOM = Path(__file__).resolve().parents[2] / "scenarios"
LOAD = "workload: {trace: t.csv}\n"
ONE = LOAD + "jobs: {}\n"

CASES = {
    "no trace": ("jobs: {}\nworkload: {seed: 3}\n", (2, 11, "workload.trace"), "is missing"),
    "no load": ("jobs: {}\n", (1, 1, "workload"), "is missing"),
    "no jobs": (LOAD + "cluster: {quota: 3}\n", (1, 1, "jobs"), "is missing"),
    "jobs without anything": (LOAD + "jobs:\n", (3, 1, "jobs"), "empty, not a mapping of count, name, model"),
    "empty list of jobs": (LOAD + "jobs: []\n", (2, 7, "jobs"), "must hold at least one value"),
    "no such file": ("jobs: {}\nworkload: {trace: u.csv}\n", (2, 19, "workload.trace"), "no such file"),
    "unknown key of a job": (LOAD + "jobs: {cuont: 3}\n", (2, 8, "jobs.cuont"), "did you mean 'count'?"),
    "unknown key of a job in a list": (LOAD + "jobs:\n  - {}\n  - {slow: 1 s}\n", (4, 6, "jobs[1].slow"), "'slo'?"),
    "no unit": (
        LOAD + "jobs: {slo: 720}\n",
        (2, 13, "jobs.slo"),
        "720 has no unit; a duration needs one of ns, us, ms",
    ),
    "unknown model": (
        LOAD + "jobs: {model: resnet43}\n",
        (2, 15, "jobs.model"),
        "did you mean 'resnet34'? allowed: re",
    ),
    "unknown model of several": (
        LOAD + "jobs: [{model: [resnet18, vgg]}]\n",
        (2, 27, "jobs[0].model[1]"),
        "no model is called 'vgg'; allowed: resnet18, resnet34",
    ),
    "model without a planned time": (
        ONE + "models: {m: {service: 3 ms}}\n",
        (3, 13, "models.m"),
        "write planned: 180 ms",
    ),
    "model that takes no time": (
        ONE + "models: {m: {service: 0 s, planned: 1 s}}\n",
        (3, 23, "models.m.service"),
        "no time",
    ),
    "unknown key of a model": (
        ONE + "models: {m: {plan: 3 ms}}\n",
        (3, 14, "models.m.plan"),
        "did you mean 'planned'?",
    ),
    "unknown policy": (
        ONE + "policy: aaid\n",
        (3, 9, "policy.name"),
        "'aaid' is not allowed; did you mean 'aiad'? allow",
    ),
    "unknown key of the policy": (
        ONE + "policy: {sovler: exact}\n",
        (3, 10, "policy.sovler"),
        "did you mean 'solver'?",
    ),
    "unknown solver": (ONE + "policy: {solver: best}\n", (3, 18, "policy.solver"), "allowed: exact, cobyla"),
    "unknown option of the policy": (
        ONE + "policy: {name: aiad, options: {up_aftr_s: 3}}\n",
        (3, 32, "policy.options.up_aftr_s"),
        "the policy aiad has no such option; did you mean 'up_after_s'? allowed: down_after_s",
    ),
    "option of another policy": (
        ONE + "policy: {name: aiad, options: {trials: 3}}\n",
        (3, 32, "policy.options.trials"),
        "the policy aiad has no such option",
    ),
    "option beyond its bound": (
        ONE + "policy: {name: cilantro, options: {forget: 1.5}}\n",
        (3, 44, "policy.options.forget"),
        "1.5 is above 1",
    ),
    "option without end": (
        ONE + "policy: {options: {groups: 1" + 400 * "0" + "}}\n",
        (3, 28, "policy.options.groups"),
        "is not a number",
    ),
    "option of a policy that is swept": (
        ONE + "policy: {options: {trials: 3}}\nsweep: {policy.name: [mark, aiad]}\n",
        (4, 29, "sweep.policy.name[1]"),
        "policy.options.trials: the policy aiad has no such option",
    ),
    "slack is no number": (ONE + "policy: {slack: 1}\n", (3, 17, "policy.slack"), "neither true nor false"),
    "quantile beyond 1": (ONE + "policy: {quantile: 50}\n", (3, 20, "policy.quantile"), "at most 0.999"),
    "key of another section": (ONE + "quota: 3\n", (3, 1, "quota"), "did you mean 'cluster.quota'?"),
    "key of a pipeline": (ONE + "engine: {}\n", (3, 1, "engine"), "unknown key; allowed: extends, name, workload"),
    "fewer replicas than jobs": (
        LOAD + "jobs: {count: 5}\ncluster: {quota: 4}\n",
        (3, 18, "cluster.quota"),
        "4 replicas are fewer than one for each of 5 jobs",
    ),
    "more at the start than the quota": (
        LOAD + "jobs: {count: 2, replicas: 3}\ncluster: {quota: 5}\n",
        (2, 7, "jobs"),
        "6 replicas at the start, more than the quota of 5",
    ),
    "one name twice": (
        LOAD + "jobs: [{name: a}, {name: a}]\n",
        (2, 26, "jobs[1].name"),
        "another job is called 'a' too",
    ),
    "too many jobs": (LOAD + "jobs: {count: 3000}\n", (2, 1, "jobs"), "3,000 jobs, more than 2,000"),
    "trace number": (LOAD + "jobs: {trace: 2}\n", (2, 15, "jobs.trace"), "the trace file has 2 jobs, numbered from 0"),
    "first minute": (
        "workload: {trace: t.csv, first_minute: 3}\njobs: {}\n",
        (1, 40, "workload.first_minute"),
        "the trace ends after 3 minutes",
    ),
    "minutes": (
        "workload: {trace: t.csv, first_minute: 1, minutes: 3}\njobs: {}\n",
        (1, 52, "workload.minutes"),
        "the trace has 2 minutes from minute 1",
    ),
    "too much": (
        "workload: {trace: t.csv, scale: 1e6}\njobs: {count: 900}\ncluster: {quota: 900}\n",
        (1, 19, "workload.trace"),
        "requests, more than 500,000,000; play fewer minutes",
    ),
    "another history": (
        "workload: {trace: t.csv, history: h.csv}\njobs: {}\n",
        (1, 35, "workload.history"),
        "has 1 jobs, the trace 2",
    ),
    "unknown metric": (ONE + "expect: {loss: 0}\n", (3, 10, "expect.loss"), "unknown metric"),
    "bound without its unit": (
        ONE + "expect: {p99_ms: 3}\n",
        (3, 18, "expect.p99_ms"),
        "a bound is written '<= 50 ms'",
    ),
    "unknown key to sweep": (ONE + "sweep: {quota: [3]}\n", (3, 9, "sweep.quota"), "did you mean 'cluster.quota'?"),
    "wrong policy in a sweep": (ONE + "sweep: {policy: [aiad, x]}\n", (3, 24, "sweep.policy[1]"), "'x' is not allowed"),
}


@pytest.fixture(autouse=True)
def _files(tmp_path: Path) -> None:
    rows = [f"{job},{minute},5" for job in range(2) for minute in range(3)]
    (tmp_path / "t.csv").write_text("\n".join(["job,minute,rate", *rows]) + "\n", encoding="utf-8")
    (tmp_path / "h.csv").write_text("job,day,minute,rate\n0,1,0,5\n", encoding="utf-8")


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_told_where_it_is(tmp_path: Path, name: str) -> None:
    text, place, message = CASES[name]
    path = tmp_path / "s.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ScenarioError) as caught:
        load_any(path)
    error = caught.value
    assert (error.line, error.column, error.key) == place, str(error)
    assert message in error.message
    assert not error.more


@pytest.mark.parametrize(
    ("given_", "told"),
    [
        ("policy=aaid", "--set: policy.name: 'aaid' is not allowed; did you mean 'aiad'?"),
        ("cluster.quota=many", "--set: cluster.quota: 'many' is not a count"),
        ("policy.solver.deep=3", "--set: policy.solver"),
        ("workload.trace=none.csv", "--set: workload.trace: no such file"),
        ("jobs.0.slo=3", "--set: jobs.0: unknown key"),
    ],
)
def test_a_wrong_set_is_told(given_: str, told: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        load_any(ROOM / "faro" / "top9.yaml", [given_])
    assert str(caught.value).startswith(told)


def test_a_wrong_line_of_a_trace_is_told(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("job,minute,rate\n0,0,x\n", encoding="utf-8")
    path = tmp_path / "s.yaml"
    path.write_text(ONE, encoding="utf-8")
    with pytest.raises(ScenarioError, match=r"t\.csv:2: rate 'x' is not a whole number"):
        load_any(path)


VALUES = ["5 ms", "aiad", "resnet18", "t.csv", "<", "> 5 ms", "x", "", "{", "[1]", "0", "-1", "null", "{name: aiad}"]
leaves = st.none() | st.booleans() | st.integers(-5, 10**20) | st.floats() | st.sampled_from(VALUES)
KEYS = dotted_keys(ClusterFile)
WORDS = sorted({part for key in KEYS for part in key.split(".")})
trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=10,
)
sections = st.fixed_dictionaries(
    {"jobs": trees}, optional={key: trees for key in KEYS if "." not in key and key != "jobs"}
)
sweeps = st.dictionaries(st.sampled_from([*sweepable(ClusterFile), "repeats", "models.x.y"]), trees, max_size=3)


@given(sections, sweeps, st.booleans())
@settings(max_examples=300)
def test_any_data(data: dict[str, Any], sweep: dict[str, Any], loaded: bool) -> None:
    if loaded:
        data = data | {"workload": {"trace": str(ROOM / "faro" / "twitter_top9.csv.gz")}}
    with contextlib.suppress(ScenarioError):
        found = any_from_resolved(data | ({"sweep": sweep} if sweep else {}))
        assert any_from_resolved(resolved(found)) == found


@given(st.data())
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_damage_to_a_shipped_file(tmp_path: Path, data: st.DataObject) -> None:
    folder = ROOM / "faro"
    text = (folder / data.draw(st.sampled_from(["top9.yaml", "mixed.yaml", "slice.yaml"]))).read_text(encoding="utf-8")
    text = text.replace("extends: ", f"extends: {folder}/").replace("twitter", f"{folder}/twitter")
    at, cut = data.draw(st.integers(0, len(text))), data.draw(st.integers(0, 12))
    piece = data.draw(st.sampled_from([*VALUES, ":", "\n", "  ", "- ", "[", "}", "&a ", "*a", "\t", "'", "---\n"]))
    path = tmp_path / "s.yaml"
    path.write_text(text[:at] + piece + text[at + cut :], encoding="utf-8")
    with contextlib.suppress(ScenarioError):
        expand_any(path)


@given(st.sampled_from([*KEYS, "models.x", "policy.options.x", "sweep.policy"]), st.sampled_from(VALUES))
@settings(max_examples=300)
def test_any_set(key: str, value: str) -> None:
    with contextlib.suppress(ScenarioError):
        load_any(ROOM / "faro" / "top9.yaml", [f"{key}={value}"])
