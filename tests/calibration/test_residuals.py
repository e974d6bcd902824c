"""The spread of single records, from stamps made with a known one."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calibration.profiles import ProfileRun
from calibration.residuals import residuals
from scenarios.spec import Scenario

SLICE_NS = 4e6


def run(name: str, rng: np.random.Generator, count: int, *, waits: int, mean_ns: float) -> tuple[ProfileRun, Any]:
    """Records of one worker in polls of ten: scoring gamma with a variation of 0.5, parsing constant."""
    took = rng.gamma(4.0, mean_ns / 4.0, count).round().astype(np.int64)
    parse = np.full(count, 20_000)
    begin = np.cumsum(took + parse) - took
    records = {
        "score_begin": begin,
        "score_end": begin + took,
        "produced": begin + took,
        "batch": np.arange(count) // 10,
        "worker": np.zeros(count, np.int64),
    }
    meta = {"counters": {"workers": [{"app_cpu_ns": 10**9, "run_wait_ns": waits}]}}
    return ProfileRun(name, Path(name), Scenario(), meta), records


def test_the_spread_is_found_and_has_mean_one() -> None:
    rng = np.random.default_rng(1)
    one, records = run("a", rng, 20_000, waits=0, mean_ns=50_000.0)
    found = residuals([one], {"a": records}, Scenario().model, SLICE_NS)
    quantiles = np.asarray(found["worker.score"])
    assert float(np.mean((quantiles[1:] + quantiles[:-1]) / 2)) == pytest.approx(1.0)
    drawn = np.interp(rng.random(100_000) * 16, np.arange(17), quantiles)
    assert float(np.std(drawn)) == pytest.approx(0.5, rel=0.1)
    assert found["worker.decode"] == pytest.approx([1.0] * 17)


def test_runs_whose_worker_waited_for_a_core_do_not_speak_first() -> None:
    rng = np.random.default_rng(2)
    calm, a = run("a", rng, 2_000, waits=0, mean_ns=50_000.0)
    crowded, b = run("b", rng, 2_000, waits=10**9, mean_ns=50_000.0)
    b = {**b, "score_end": b["score_end"] + rng.integers(0, 2, 2_000) * 1_500_000}
    both = residuals([crowded, calm], {"a": a, "b": b}, Scenario().model, SLICE_NS)
    alone = residuals([calm], {"a": a}, Scenario().model, SLICE_NS)
    assert both["worker.score"] == alone["worker.score"]


def test_what_differs_between_runs_is_no_spread_of_records() -> None:
    rng = np.random.default_rng(3)
    runs = [run(str(k), rng, 900, waits=k, mean_ns=40_000.0 * (1 + k)) for k in range(2)]
    found = residuals([r for r, _ in runs], {r.name: x for r, x in runs}, Scenario().model, SLICE_NS)
    drawn = np.interp(rng.random(100_000) * 16, np.arange(17), found["worker.score"])
    assert float(np.std(drawn)) == pytest.approx(0.5, rel=0.15)


def test_too_few_records_have_no_tail() -> None:
    one, records = run("a", np.random.default_rng(4), 500, waits=0, mean_ns=50_000.0)
    assert residuals([one], {"a": records}, Scenario().model, SLICE_NS) == {}


def test_another_models_runs_are_left_out() -> None:
    one, records = run("a", np.random.default_rng(5), 5_000, waits=0, mean_ns=50_000.0)
    other = dataclasses.replace(Scenario().model, name="noop")
    assert residuals([one], {"a": records}, other, SLICE_NS) == {}
