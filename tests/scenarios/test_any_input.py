"""Whatever is written in a file or a `--set`: the answer is a scenario or a `ScenarioError`, no other exception."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scenarios.errors import ScenarioError
from scenarios.load import expand, from_resolved, load, resolved
from scenarios.schema import dotted_keys, sweepable

ROOM = Path(__file__).resolve().parents[2] / "scenarios"
WORDS = sorted({part for key in dotted_keys() for part in key.split(".")})
VALUES = [
    "5 ms",
    "5 /s",
    "3 KiB",
    "this",
    "all",
    "ffnn",
    "gamma",
    "trace",
    "<",
    "> 5 ms",
    "%",
    "x",
    "",
    "none.csv",
    "{",
    "../..",
]

leaves = (
    st.none() | st.booleans() | st.integers(-5, 10**20) | st.floats() | st.sampled_from(VALUES) | st.text(max_size=5)
)
trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)
sections = st.fixed_dictionaries(
    {},
    optional={key: trees for key in dotted_keys() if "." not in key}
    | {"workload": st.fixed_dictionaries({"arrival": trees})},
)
sweeps = st.dictionaries(st.sampled_from([*sweepable(), "repeats", "hosts.x.y"]), trees, max_size=3)


@given(sections, sweeps)
@settings(max_examples=400)
def test_any_data(data: dict[str, Any], sweep: dict[str, Any]) -> None:
    with contextlib.suppress(ScenarioError):
        scenario = from_resolved(data | ({"sweep": sweep} if sweep else {}))
        assert from_resolved(resolved(scenario)) == scenario


@given(st.data())
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_damage_to_a_shipped_file(tmp_path: Path, data: st.DataObject) -> None:
    name = data.draw(
        st.sampled_from(["first_light.yaml", "scalability.yaml", "check/python.yaml", "profile/ffnn.yaml"])
    )
    text = (ROOM / name).read_text(encoding="utf-8")
    at = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.integers(0, 12))
    piece = data.draw(
        st.sampled_from([*VALUES, ":", "\n", "  ", "- ", "[", "}", "&a ", "*a", "\t", "'", "!!x ", "\x00", "---\n"])
    )
    path = tmp_path / "s.yaml"
    path.write_text(text[:at] + piece + text[at + cut :], encoding="utf-8")
    with contextlib.suppress(ScenarioError):
        expand(path)


@given(
    st.sampled_from([*dotted_keys(), "sweep.workload.points", "a..b", ".", "hosts"]),
    st.sampled_from(VALUES) | st.text(max_size=6),
)
@settings(max_examples=300)
@pytest.mark.parametrize("name", ["scalability.yaml", "check/quick.yaml"])
def test_any_set(name: str, key: str, value: str) -> None:
    with contextlib.suppress(ScenarioError):
        load(ROOM / name, [f"{key}={value}"])
