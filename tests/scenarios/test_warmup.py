"""`workload.warmup`: a time, or a rule that finds it."""

from __future__ import annotations

from pathlib import Path

import pytest

from scenarios.errors import ScenarioError
from scenarios.json_schema import json_schema
from scenarios.load import expand, from_resolved, load, resolved
from scenarios.spec import S_NS


def write(folder: Path, warmup: str, more: str = "") -> Path:
    path = folder / "s.yaml"
    path.write_text(f"workload: {{arrival: {{rate: 5 /s}}, warmup: {warmup}, duration: 20 s}}\n{more}")
    return path


@pytest.mark.parametrize("rule", ["auto", "first-quarter"])
def test_a_rule_cuts_out_of_the_duration(tmp_path: Path, rule: str) -> None:
    scenario = load(write(tmp_path, rule))
    assert (scenario.workload.warmup_rule, scenario.workload.warmup_ns) == (rule, 0)
    assert scenario.workload.duration_ns == 20 * S_NS
    assert resolved(scenario)["workload"]["warmup"] == rule
    assert from_resolved(resolved(scenario)) == scenario


def test_a_time_stays_one(tmp_path: Path) -> None:
    scenario = load(write(tmp_path, "3 s"))
    assert (scenario.workload.warmup_rule, scenario.workload.warmup_ns) == ("fixed", 3 * S_NS)


def test_it_can_be_swept_and_set(tmp_path: Path) -> None:
    points = expand(write(tmp_path, "0 s", "sweep: {workload.warmup: [auto, 5 s]}\n"))
    assert [each.workload.warmup_rule for _, each in points] == ["auto", "fixed"]
    assert load(write(tmp_path, "auto"), ["workload.warmup=2 s"]).workload.warmup_ns == 2 * S_NS


@pytest.mark.parametrize("wrong", ["automatic", "5", "[auto]", "90000 h"])
def test_anything_else_says_what_there_is(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(ScenarioError, match=r"workload.warmup: .*auto, first-quarter"):
        load(write(tmp_path, wrong))


def test_a_profile_needs_a_time(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"workload.warmup: .*give a time"):
        load(write(tmp_path, "auto", "profile: {quick: true}\n"))


def test_the_json_schema_knows_the_words() -> None:
    found = json_schema()["$defs"]["Workload"]["properties"]["warmup"]
    assert {"enum": ["auto", "first-quarter"]} in found["anyOf"]
    assert found["default"] == "5 s"
