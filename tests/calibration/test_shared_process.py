"""Engines that have all workers in one process: all the CPU it used is somewhere in the fit."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from calibration.fit import fit_profile
from calibration.profiles import Profile, ProfileRun
from sim.run import simulate

IDLE_NS_PER_S, RECORD_NS = 40e6, 60e3


def as_one_process(run: ProfileRun) -> ProfileRun:
    """The run as an engine would have it that fetches on the polling thread and collects garbage beside it."""
    meta: dict[str, Any] = json.loads(json.dumps(run.meta))
    counters = meta["counters"]
    (worker,) = counters["workers"]
    worker["poll_cpu_ns"] += worker["consumer_cpu_ns"]
    worker["app_cpu_ns"] += worker["consumer_cpu_ns"]
    worker["consumer_cpu_ns"] = 0
    beside = IDLE_NS_PER_S * counters["window_ns"] / 1e9 + RECORD_NS * worker["records"]
    counters["engine"] = {"cpu_ns": beside, "run_wait_ns": 0, "wakeups": 0}
    return dataclasses.replace(run, meta=meta)


@pytest.mark.parametrize("name", ["rate-100", "rate-300"])
def test_the_process_uses_what_it_used(synthetic_profile: Profile, name: str) -> None:
    shared = dataclasses.replace(synthetic_profile, runs=tuple(map(as_one_process, synthetic_profile.runs)))
    found = fit_profile(shared, "shared", replicates=0)
    assert found.background_ns_per_s["engine"].value > 0.5 * IDLE_NS_PER_S
    (run,) = shared.run(name)
    worker, beside = run.counters["workers"][0], run.counters["engine"]
    keys = ("app_cpu_ns", "consumer_cpu_ns", "producer_cpu_ns", "other_cpu_ns")
    used = (sum(worker[key] for key in keys) + beside["cpu_ns"]) / worker["records"] / 1e3
    assert simulate(run.scenario, found).metrics["cpu_us_per_record_engine"] == pytest.approx(used, rel=0.15)
