"""Profiles whose truth is known: costs drawn at random, runs made by the simulator, noise put on what is counted.

A truth has every cost the fit looks for, each within a range of its own; a cost may be zero.  Single records differ
(residuals), and so do runs: in each, every part is off by a share of its own, which its latencies feel too, and every
counter of CPU by another, which only the counter feels.  Produce and fetch requests cost the same, as the fit assumes
(`docs/design.md`): what cannot be told apart cannot be recovered.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from analysis.runs import write_run
from analysis.variations import variations
from scenarios.load import resolved
from scenarios.spec import Scenario
from sim.costs import Calibration, CpuCost, HostCosts, Latency, Value
from sim.run import SimResult, simulate
from sim.uncertainty import lognormal, with_terms

#: Relative standard deviation of a part in one run, and of each counter of CPU beside it.
PART_NOISE, COUNTER_NOISE = 0.03, 0.03
#: Of single records: coefficient of variation.
_RECORD_SPREAD = 0.3
#: A cost that may be missing is, this often.
_MISSING = 0.3
#: cost -> term -> geometric middle, ns; every draw lies within a factor of two of it.  Round numbers, nobody's.
_MIDDLE: dict[str, dict[str, float]] = {
    "generator.wake": {"fixed_ns": 20e3, "cold_ns": 60e3},
    "generator.record": {"fixed_ns": 15e3, "byte_ns": 0.3},
    "producer.wake": {"fixed_ns": 20e3, "cold_ns": 60e3},
    "producer.request": {"fixed_ns": 40e3, "record_ns": 500.0, "byte_ns": 0.4},
    "consumer.wake": {"fixed_ns": 20e3, "cold_ns": 40e3},
    "consumer.fetch": {"fixed_ns": 40e3, "record_ns": 500.0, "byte_ns": 0.4},
    "broker.wake": {"cold_ns": 200e3},
    "broker.produce": {"fixed_ns": 150e3, "record_ns": 2e3, "byte_ns": 0.6},
    "worker.poll": {"fixed_ns": 15e3, "record_ns": 1e3, "byte_ns": 0.3},
    "worker.poll_empty": {"fixed_ns": 50e3},
    "worker.cold": {"cold_ns": 300e3},
    "worker.decode": {"fixed_ns": 20e3, "byte_ns": 4.0},
    "worker.encode": {"fixed_ns": 7e3, "byte_ns": 0.2},
    "worker.produce": {"fixed_ns": 8e3, "byte_ns": 0.3},
    "collector.wake": {"fixed_ns": 30e3, "cold_ns": 60e3},
    "collector.record": {"record_ns": 3e3, "byte_ns": 0.2},
}
_MAY_BE_MISSING = ("cold_ns", "record_ns")
_SCORE_NS, _NETWORK_NS, _BROKER_NS_PER_S = 30e3, 60e3, 25e6
_WAKE_NS, _TIMER_NS, _SLICE_NS = 60e3, 100e3, 4_000_000
_MOST_REST = 0.6
_SIZES = {"input_fixed": 100.0, "input_per_point": 8350.0, "output_fixed": 200.0, "output_per_point": 8330.0}


def truth(rng: np.random.Generator) -> Calibration:
    """Costs drawn at random."""

    def about(middle: float) -> float:
        return float(middle * 2.0 ** rng.uniform(-1.0, 1.0))

    residual = lognormal(_RECORD_SPREAD)
    cpu = {}
    for name, terms in _MIDDLE.items():
        drawn = {
            term: 0.0 if term in _MAY_BE_MISSING and rng.random() < _MISSING else about(middle)
            for term, middle in terms.items()
        }
        cpu[name] = CpuCost(**{term: _exact(x) for term, x in drawn.items()}, residual=residual)
    # Either the network takes time, or part of a request is done once the answer is on its way: stamps show the sum.
    late = rng.random() < 0.5
    network = 0.0 if late else about(_NETWORK_NS)
    request = cpu["broker.produce"].fixed_ns.value
    rest = request * float(rng.uniform(0.1, _MOST_REST)) if late else 0.0
    cpu["broker.produce"] = dataclasses.replace(cpu["broker.produce"], fixed_ns=_exact(request - rest))
    cpu["broker.rest"] = CpuCost(_exact(rest), residual=residual)
    cpu["broker.fetch"] = cpu["broker.produce"]
    cpu["broker.fetch_empty"] = CpuCost(_exact(request - rest), residual=residual)
    cpu["consumer.fetch_empty"] = CpuCost(cpu["consumer.fetch"].fixed_ns, residual=residual)
    cpu["worker.score"] = CpuCost(residual=residual)
    return Calibration(
        name="truth",
        created="2026-01-01",
        fingerprint={},
        regime={"engine": "python", "model": "ffnn", "format": "json"},
        cpu=cpu,
        latency={"wake": Latency((_WAKE_NS,)), "timer": Latency((_TIMER_NS,)), "network": Latency((network,))},
        host=HostCosts(2, (1.0, 2.0), "slices", _SLICE_NS),
        background_ns_per_s={"broker": _exact(about(_BROKER_NS_PER_S))},
        score_table={1: about(_SCORE_NS)},
        sizes_bytes=dict(_SIZES),
    )


def terms(cost: str) -> tuple[str, ...]:
    """The terms of a cost that a truth draws; none of one that is another's by construction."""
    return tuple(_MIDDLE.get(cost, ()))


def write_profile(folder: Path, base: Scenario, true: Calibration, rng: np.random.Generator) -> Path:
    """Has the simulator make the runs of a profile, with noise, each with a seed of its own.

    Args:
        folder: Of the profile.
        base: A scenario with a `profile:` section.
        true: The costs.
        rng: Of noise and seeds.

    Returns:
        The folder.
    """
    runs = []
    for name, scenario in variations(base):
        workload = dataclasses.replace(scenario.workload, seed=int(rng.integers(1, 2**31)))
        one = dataclasses.replace(scenario, workload=workload)
        shifted = _shifted(true, rng)
        result = simulate(one, shifted)
        meta = as_measured(result, one, shifted, rng)
        runs.append({"name": f"{name}.0", "run": write_run(folder, meta, result.records, result.host).name})
    size_in, size_out = (_SIZES[f"{d}_fixed"] + _SIZES[f"{d}_per_point"] for d in ("input", "output"))
    decode, encode = true.cpu["worker.decode"], true.cpu["worker.encode"]
    row = {
        "decode_ns": decode.fixed_ns.value + decode.byte_ns.value * size_in,
        "score_ns": true.score_table[1],
        "encode_ns": encode.fixed_ns.value + encode.byte_ns.value * size_out,
        "input_bytes": size_in,
        "output_bytes": size_out,
    }
    host = {
        "cores": true.host.cores,
        "curve": list(true.host.curve),
        "slice_ns": true.host.slice_ns,
        "wake_ns": [true.latency["wake"].quantiles_ns[0]] * 17,
        "timer_ns": [true.latency["timer"].quantiles_ns[0]] * 17,
    }
    meta = {
        "schema": 1,
        "kind": "profile",
        "started": "2026-01-01T00:00:00",
        "quick": True,
        "scenario": resolved(base),
        "fingerprint": {},
        "host": host,
        "scoring": {"1": row},
        "runs": runs,
        "complete": True,
    }
    (folder / "profile.json").write_text(json.dumps(meta))
    return folder


def as_measured(
    result: SimResult, scenario: Scenario, true: Calibration, rng: np.random.Generator | None = None
) -> dict[str, Any]:
    """The run's object as the harness writes it: with the CPU of the worker's sections, and the host's rest.

    Args:
        result: A simulated run.
        scenario: What was run.
        true: Its costs.
        rng: Of the counters' noise; None for none.
    """
    meta: dict[str, Any] = json.loads(json.dumps(result.meta))
    counters = meta["counters"]
    worker = counters["workers"][0]
    records, polls = worker["records"], worker["polls"]
    cpu = true.cpu

    def paid(name: str, times: float, bytes_: float = 0.0, of: float = 0.0) -> float:
        c = cpu.get(name, CpuCost())
        return c.fixed_ns.value * times + c.record_ns.value * of + c.byte_ns.value * bytes_

    scored = 0.0 if scenario.model.label == "noop" else true.score_table[1]
    sections = {
        "score_cpu_ns": records * scored,
        "encode_cpu_ns": paid("worker.encode", records, worker["bytes_out"]),
        "produce_cpu_ns": paid("worker.produce", records, worker["bytes_out"]),
        "poll_cpu_ns": paid("worker.poll", polls, worker["bytes_in"], records)
        + paid("worker.poll_empty", worker["polls_empty"]),
    }
    # And with it what cold caches cost.
    sections["decode_cpu_ns"] = max(1.0, worker["app_cpu_ns"] - sum(sections.values()))

    def off() -> float:
        return 1.0 if rng is None else float(np.exp(rng.normal(0.0, COUNTER_NOISE)))

    sections = {name: x * off() for name, x in sections.items()}
    worker |= {**sections, "app_cpu_ns": sum(sections.values())}
    worker["polls"] += worker["polls_empty"]  # the harness counts every poll
    for part in (counters["generator"], worker, counters["broker"], counters["collector"]):
        for key in ("client_cpu_ns", "consumer_cpu_ns", "producer_cpu_ns", "cpu_ns"):
            if key in part:
                part[key] *= off()
    for part in (counters["generator"], counters["collector"]):
        part["app_cpu_ns"] *= off()
    counters["host"] |= {"harness_cpu_ns": 0}
    meta["backend"] = "real"
    return meta


def _shifted(true: Calibration, rng: np.random.Generator) -> Calibration:
    """The costs as one run has them."""
    parts = dict.fromkeys(name.partition(".")[0] for name in true.cpu)
    off = {part: float(np.exp(rng.normal(0.0, PART_NOISE))) for part in parts}

    def scaled(name: str, c: CpuCost) -> CpuCost:
        f = off[name.partition(".")[0]]
        terms = {t.name: _exact(getattr(c, t.name).value * f) for t in dataclasses.fields(c) if t.name != "residual"}
        return with_terms(c, terms)

    return dataclasses.replace(
        true,
        cpu={name: scaled(name, c) for name, c in true.cpu.items()},
        score_table={n: ns * off["worker"] for n, ns in true.score_table.items()},
    )


def _exact(x: float) -> Value:
    return Value(x, x, x)
