"""`serving.batching` and `serving.cache`: what goes together, what is refused, how it comes back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scenarios.errors import ScenarioError
from scenarios.load import from_resolved, load, resolved
from scenarios.spec import MS_NS, Batching, Cache, Scenario

SENT = "workload: {arrival: {rate: 5 /s}}\n"


def made(tmp_path: Path, serving: str, *sets: str) -> Scenario:
    path = tmp_path / "s.yaml"
    path.write_text(f"{SENT}serving: {{{serving}}}\n", encoding="utf-8")
    return load(path, sets)


@pytest.mark.parametrize(
    "serving",
    [
        "kind: external, batch: 8, batching: {policy: fixed}",
        "kind: external, batch: 8, batching: {policy: eager}",
        "kind: external, batch: 8, batch_delay: 2 ms, batching: {policy: delayed}",
        "kind: external, batch: 8, batching: {policy: aimd, slo: 20 ms}",
        "kind: external, batch: 8, batching: {policy: quantile, slo: 20 ms, samples: 1000}",
        "kind: external, batch: 8, batching: {policy: deadline, slo: 20 ms}",
    ],
)
def test_it_comes_back_equal(tmp_path: Path, serving: str) -> None:
    scenario = made(tmp_path, serving)
    assert scenario.serving.batching.policy is not None
    assert from_resolved(json.loads(json.dumps(resolved(scenario)))) == scenario


@pytest.mark.parametrize(
    "cache", ["{}", "{size: 2 MiB}", "{keys: 50, skew: 0}", "{size: 1 GiB, keys: 1000000, skew: 1.5}"]
)
def test_a_cache_comes_back_equal(tmp_path: Path, cache: str) -> None:
    scenario = made(tmp_path, f"kind: external, cache: {cache}")
    assert scenario.serving.cache is not None
    assert from_resolved(json.loads(json.dumps(resolved(scenario)))) == scenario


def test_a_cache_in_the_spec(tmp_path: Path) -> None:
    assert made(tmp_path, "kind: external").serving.cache is None
    assert made(tmp_path, "kind: external, cache: {}").serving.cache == Cache(32 << 20, 10_000, 1.0)
    assert made(tmp_path, "kind: external", "serving.cache.keys=7").serving.cache == Cache(keys=7)
    with pytest.raises(ScenarioError, match=r"serving\.cache: only an external server has cache"):
        made(tmp_path, "cache: {size: 1 MiB}")


def test_one_value_can_be_set(tmp_path: Path) -> None:
    scenario = made(
        tmp_path, "kind: external, batch: 8, batching: {policy: aimd, slo: 20 ms}", "serving.batching.slo=5 ms"
    )
    assert scenario.serving.batching == Batching("aimd", 5 * MS_NS)


@pytest.mark.parametrize(
    ("serving", "key", "message"),
    [
        ("batching: {policy: aimd, slo: 20 ms}", "serving.batching", "only an external server has batching"),
        ("kind: external, batch: 8, batching: {policy: aimd}", "serving.batching.policy", "needs an slo"),
        ("kind: external, batch: 8, batching: {slo: 20 ms}", "serving.batching.slo", "only the policies aimd, quan"),
        (
            "kind: external, batch: 8, batching: {policy: eager, slo: 20 ms}",
            "serving.batching.slo",
            "only the policies aimd, quantile, deadline go by an slo",
        ),
        (
            "kind: external, batch: 8, batching: {policy: aimd, slo: 20 ms, samples: 600}",
            "serving.batching.samples",
            "only the policy quantile takes samples",
        ),
        ("kind: external, batching: {policy: aimd, slo: 20 ms}", "serving.batch", "the most that a policy may take"),
        (
            "kind: external, batch: 8, batch_delay: 2 ms, batching: {policy: eager}",
            "serving.batch_delay",
            "an eager server does not wait",
        ),
        (
            "kind: external, batch: 8, batching: {policy: delayed}",
            "serving.batching.policy",
            "needs serving.batch_delay",
        ),
        ("kind: external, batch: 8, batching: {policy: aiad, slo: 20 ms}", "serving.batching.policy", "aimd"),
        (
            "kind: external, batch: 8, batching: {policy: quantile, slo: 1 s, samples: 1}",
            "serving.batching.samples",
            "2",
        ),
    ],
)
def test_what_does_not_go_together_names_its_key(tmp_path: Path, serving: str, key: str, message: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        made(tmp_path, serving)
    assert f"{key}: " in str(caught.value)
    assert message in str(caught.value)
