"""sleep: never early, by its own times or the scenario's."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from models import scorer, zoo
from models.definition import ModelError
from models.sleep import BASE_NS, EACH_NS
from scenarios.load import from_resolved, load
from scenarios.spec import Model


@pytest.mark.parametrize(
    ("model", "points", "least_ns"),
    [
        ("sleep", 1, 2_500_000),
        ("sleep", 9, 6_500_000),
        (Model("sleep"), 2, BASE_NS + 2 * EACH_NS),
        (Model("sleep", base_ns=0, each_ns=3_000_000), 4, 12_000_000),
        (Model("sleep", base_ns=7_000_000), 1, 7_000_000 + EACH_NS),
    ],
)
def test_it_waits_at_least_what_it_says(tmp_path: Path, model: str | Model, points: int, least_ns: int) -> None:
    loaded = scorer.load_scorer(model, "a runtime that nobody reads", tmp_path)
    x = np.zeros((points, 784), np.float32)
    took, busy = [], []
    for _ in range(5):
        began, cpu = time.monotonic_ns(), time.thread_time_ns()
        answer = loaded.score(x)
        took.append(time.monotonic_ns() - began)
        busy.append(time.thread_time_ns() - cpu)
        assert answer.shape == (points, 1)
        assert not answer.any()
    assert min(took) >= least_ns
    assert min(busy) < least_ns / 2, "it computes while it should wait"
    assert not list(tmp_path.iterdir())


def test_its_times_stand_in_the_scenario(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("workload: {arrival: {rate: 5 /s}}\nmodel: {name: sleep, base: 1 ms, each: 200 us}\n")
    scenario = load(path)
    assert scenario.model == Model("sleep", base_ns=1_000_000, each_ns=200_000)
    assert scenario.model.label == "sleep base 1 ms each 0.2 ms"
    from scenarios.load import resolved

    assert from_resolved(json.loads(json.dumps(resolved(scenario)))) == scenario
    path.write_text("workload: {arrival: {rate: 5 /s}}\nmodel: sleep\n")
    assert load(path).model == Model("sleep")
    assert load(path).model.label == "sleep"


def test_it_has_no_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no file to export as onnx"):
        zoo.export("sleep", tmp_path)
