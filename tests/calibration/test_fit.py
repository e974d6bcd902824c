"""The whole fit on a profile whose truth is known: one that the simulator made."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from analysis.runs import write_run
from analysis.variations import variations
from calibration.fit import fit_profile
from calibration.profiles import ProfileError, read_profile
from scenarios.load import load, resolved
from scenarios.spec import S_NS, Scenario
from sim.costs import Calibration, CpuCost, HostCosts, Latency, Value
from sim.run import SimResult, simulate

QUICK = Path(__file__).resolve().parents[2] / "scenarios/profile/quick.yaml"


def exactly(ns: float) -> Value:
    """A parameter known exactly."""
    return Value(ns, ns, ns)


def cost(fixed: float = 0, *, record: float = 0, byte: float = 0, cold: float = 0) -> CpuCost:
    """A CPU cost in ns, known exactly."""
    return CpuCost(exactly(fixed), record_ns=exactly(record), byte_ns=exactly(byte), cold_ns=exactly(cold))


REQUEST = cost(150_000, record=2_000, byte=0.5)
TRUTH = Calibration(
    name="truth",
    created="2026-01-01",
    fingerprint={},
    regime={"engine": "python", "model": "ffnn", "format": "json"},
    cpu={
        "generator.wake": cost(20_000),
        "generator.record": cost(15_000, byte=0.3),
        "producer.wake": cost(20_000),
        "producer.request": cost(40_000, record=500, byte=0.4),
        "consumer.wake": cost(20_000),
        "consumer.fetch": cost(40_000, record=500, byte=0.4),
        "consumer.fetch_empty": cost(40_000),
        "broker.produce": REQUEST,
        "broker.fetch": REQUEST,
        "broker.fetch_empty": cost(150_000),
        "worker.poll": cost(15_000),
        "worker.poll_empty": cost(50_000),
        "worker.cold": cost(cold=300_000),
        "worker.decode": cost(20_000, byte=5.0),
        "worker.encode": cost(7_000, byte=0.2),
        "worker.produce": cost(8_000, byte=0.3),
        "collector.wake": cost(40_000),
        "collector.record": cost(record=3_000, byte=0.2),
    },
    latency={"wake": Latency((60_000.0,)), "timer": Latency((100_000.0,)), "network": Latency((70_000.0,))},
    host=HostCosts(2, (1.0, 2.0), "slices", 4_000_000),
    background_ns_per_s={"broker": exactly(3e7)},
    score_table={1: 30_000.0},
    sizes_bytes={"input_fixed": 100, "input_per_point": 8_350, "output_fixed": 200, "output_per_point": 8_330},
)


def as_measured(result: SimResult, scenario: Scenario) -> dict[str, Any]:
    """The run's object as the harness writes it: with the CPU of the worker's sections, and the host's rest."""
    meta: dict[str, Any] = json.loads(json.dumps(result.meta))
    worker = meta["counters"]["workers"][0]
    n, taken = worker["records"], worker["polls"]
    sections = {
        "score_cpu_ns": n * (0.0 if scenario.model.name == "noop" else TRUTH.score_table[1]),
        "encode_cpu_ns": 7_000 * n + 0.2 * worker["bytes_out"],
        "produce_cpu_ns": 8_000 * n + 0.3 * worker["bytes_out"],
        "poll_cpu_ns": 15_000 * taken + 50_000 * worker["polls_empty"],
    }
    sections["decode_cpu_ns"] = worker["app_cpu_ns"] - sum(sections.values())  # and with it what cold caches cost
    worker |= sections
    worker["polls"] += worker["polls_empty"]  # the harness counts every poll
    meta["counters"]["host"] |= {"harness_cpu_ns": 0}
    meta["backend"] = "real"
    return meta


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quick profile of a simulated machine."""
    folder = tmp_path_factory.mktemp("profile")
    base = load(QUICK)
    base = dataclasses.replace(base, workload=dataclasses.replace(base.workload, duration_ns=8 * S_NS))
    runs = []
    for name, scenario in variations(base):
        result = simulate(scenario, TRUTH)
        meta = as_measured(result, scenario)
        runs.append({"name": f"{name}.0", "run": write_run(folder, meta, result.records, result.host).name})
    row = {"decode_ns": 20_000 + 5.0 * 8_450, "score_ns": 30_000.0, "encode_ns": 7_000 + 0.2 * 8_530}
    (folder / "profile.json").write_text(
        json.dumps(
            {
                "schema": 1,
                "kind": "profile",
                "started": "2026-01-01T00:00:00",
                "quick": True,
                "scenario": resolved(base),
                "fingerprint": {},
                "host": {
                    "cores": 2,
                    "curve": [1.0, 2.0],
                    "slice_ns": 4_000_000,
                    "wake_ns": [60_000.0] * 17,
                    "timer_ns": [100_000.0] * 17,
                },
                "scoring": {"1": {**row, "input_bytes": 8_450, "output_bytes": 8_530}},
                "runs": runs,
                "complete": True,
            }
        )
    )
    return folder


def test_points_between_the_fitted_ones_are_predicted(profile: Path) -> None:
    """Paced at a rate not in the profile, and drained at two workers: CPU, throughput and p50 within 8 %."""
    found = fit_profile(read_profile(profile), "found")
    base = dataclasses.replace(load(QUICK), profile=None)
    paced = next(s for name, s in variations(load(QUICK)) if name == "rate-300")
    arrival = dataclasses.replace(paced.workload.arrival, rate_per_s=180.0)
    paced = dataclasses.replace(
        paced, workload=dataclasses.replace(paced.workload, arrival=arrival, duration_ns=10 * S_NS)
    )
    drained = next(s for name, s in variations(load(QUICK)) if name == "drain")
    drained = dataclasses.replace(drained, engine=dataclasses.replace(base.engine, parallelism=2))
    for scenario, names in (
        (paced, ("cpu_us_per_record_engine", "cpu_us_per_record_broker", "latency_acked_ms_p50")),
        (drained, ("cpu_us_per_record_engine", "drain_throughput_per_s")),
    ):
        truth, guess = simulate(scenario, TRUTH).metrics, simulate(scenario, found).metrics
        for name in names:
            assert guess[name] == pytest.approx(truth[name], rel=0.08), name


def test_every_parameter_has_an_interval_around_it(profile: Path) -> None:
    for name, found in fit_profile(read_profile(profile), "found").cpu.items():
        for term in ("fixed_ns", "record_ns", "byte_ns", "cold_ns"):
            value = getattr(found, term)
            assert 0 <= value.lo <= value.value <= value.hi, (name, term)


def test_an_interrupted_profile_is_refused(profile: Path, tmp_path: Path) -> None:
    meta = json.loads((profile / "profile.json").read_text())
    for entry in meta["runs"]:
        (tmp_path / entry["run"]).symlink_to(profile / entry["run"])
    (tmp_path / "profile.json").write_text(json.dumps({**meta, "complete": False}))
    with pytest.raises(ProfileError, match="interrupted"):
        read_profile(tmp_path)


def test_a_folder_without_a_profile_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"no profile\.json"):
        read_profile(tmp_path)
