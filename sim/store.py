"""Where calibrations are found, and how far one may be trusted for a scenario."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

from analysis.fingerprint import differences
from scenarios import spec
from scenarios.registry import SERVERS
from scenarios.spec import Scenario
from sim import costs
from sim.costs import Calibration

#: Taken where neither the command line nor the scenario names one.
SHIPPED = "two-cores"
SHIPPED_DIRECTORY = Path(__file__).resolve().parent.parent / "calibrations"


class CalibrationError(Exception):
    """No such calibration, an unreadable one, or one of another host or another system.  Exit code 4."""


def directories() -> list[Path]:
    """Where a calibration's name is looked up, in this order: ./calibrations, then the shipped ones."""
    found = [Path("calibrations"), SHIPPED_DIRECTORY]
    return [d for d in dict.fromkeys(p.resolve() for p in found) if d.is_dir()]


def names() -> list[str]:
    """Every calibration that can be named; FOLDER/REGIME of one that is a folder of one file a regime."""
    files = (p.relative_to(d) for d in directories() for pattern in ("*.json", "*/*.json") for p in d.glob(pattern))
    return sorted({str(p.with_suffix("")) for p in files})


def regimes(name: str) -> list[Path]:
    """The files of a calibration that is a folder of one file a regime; empty where it is none."""
    for d in directories():
        if name and (d / name).is_dir():
            return sorted((d / name).glob("*.json"))
    return []


def find(name: str) -> Path:
    """The file of a calibration, by name or by path.

    Raises:
        CalibrationError: there is none; the message lists those there are.
    """
    if name.endswith(".json"):
        if Path(name).is_file():
            return Path(name)
        raise CalibrationError(f"{name}: no such calibration file")
    for d in directories():
        if (d / f"{name}.json").is_file():
            return d / f"{name}.json"
    there = dict.fromkeys(known.partition("/")[0] for known in names())
    raise CalibrationError(f"no calibration named {name}; there are: {', '.join(there) or 'none'}")


def load(name: str) -> Calibration:
    """Reads a calibration by name or path.

    Raises:
        CalibrationError: there is none, or its file cannot be read as one.
    """
    path = find(name)
    try:
        return costs.read(path)
    except (OSError, KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise CalibrationError(f"{path}: not a calibration: {type(error).__name__}: {error}") from error


def choose(scenario: Scenario, override: str | None = None) -> Calibration:
    """The command line's calibration, else the scenario's, else the shipped one.

    Raises:
        CalibrationError: it is missing, of another engine, or foreign where the scenario predicts this host.
    """
    name = override or scenario.calibration or SHIPPED
    calibration = _of_regimes(name, scenario) if regimes(name) else load(name)
    engine = calibration.regime.get("engine")
    if engine not in (scenario.engine.kind, costs.ANY_ENGINE):
        raise CalibrationError(
            f"calibration {calibration.name} is of engine {engine}, the scenario of {scenario.engine.kind}"
        )
    foreign = differences(calibration.fingerprint)
    if scenario.hosts.predicts_this_host and foreign:
        raise CalibrationError(
            f"hosts: this: calibration {calibration.name} is of another host: {'; '.join(foreign)}. "
            "Measure this one: python -m real profile scenarios/profile/ffnn.yaml"
        )
    return calibration


def _of_regimes(name: str, scenario: Scenario) -> Calibration:
    """Of a folder of regimes, the one that was measured at the scenario's engine, runtime, model and rate.

    A regime of no engine's, runtime's or model's own has no such key.  Where several remain, the nearest in rate.
    """
    rate = max(scenario.workload.arrival.rate_per_s, 1e-9)
    asked = {
        "engine": scenario.engine.kind,
        "chained": scenario.engine.chained,
        "runtime": scenario.serving.runtime,
        "model": scenario.model.label,
    }
    found = []
    for path in regimes(name):
        calibration = load(str(path))
        if all(calibration.regime.get(key, word) == word for key, word in asked.items()):
            low, high = calibration.ranges.get("rate_per_s", (rate, rate))
            found.append((max(0.0, math.log(max(low, 1e-9) / rate), math.log(rate / max(high, 1e-9))), calibration))
    if not found:
        words = ", ".join(f"{key} {word}" for key, word in asked.items())
        raise CalibrationError(f"calibration {name} has no regime of {words}")
    return min(found, key=lambda item: item[0])[1]


def outside(scenario: Scenario, calibration: Calibration) -> list[str]:
    """Settings of the scenario beyond what the calibration measured, in words."""
    settings = {
        "rate_per_s": scenario.workload.arrival.rate_per_s,
        "points": float(scenario.workload.points),
        "partitions": float(scenario.broker.partitions),
        "linger_ms": scenario.broker.producer.linger_ns / 1e6,
        "max_poll_records": float(scenario.broker.consumer.max_poll_records),
        "parallelism": float(scenario.engine.parallelism),
    }
    said = ["everything (round numbers)"] if calibration.regime.get("engine") == costs.ANY_ENGINE else []
    for key, value in settings.items():
        low, high = calibration.ranges.get(key, (value, value))
        if key == "parallelism" and low == high != value:
            # One level of workers says nothing of what a second one costs: only who shares which cores does.
            said.append(f"parallelism {value:g}, measured {low:g} (the host model alone extrapolates)")
        elif value and not low <= value <= high:
            said.append(f"{key} {value:g} outside {low:g} to {high:g}")
    for key, value_ in (("model", scenario.model.label), ("format", scenario.workload.payload.format)):
        if calibration.regime.get(key) != value_:
            said.append(f"{key} {value_}, measured {calibration.regime.get(key)}")
    runtime = scenario.serving.runtime
    if scenario.serving.kind == "embedded" and calibration.regime.get("runtime", runtime) != runtime:
        said.append(f"runtime {runtime}, measured {calibration.regime['runtime']}")
    w, b = scenario.workload, scenario.broker
    plain: dict[str, tuple[str, str]] = {
        "acks": (b.producer.acks, "all"),
        "compression": (b.producer.compression, "none"),
    }
    plain["serialise"] = (w.payload.serialise, "pool")
    if scenario.serving.kind == "external":
        client, usual = scenario.serving.client, spec.ServingClient()
        plain["client mode"] = (client.mode, usual.mode)
        plain["client timeout"] = (f"{client.timeout_ns / 1e9:g} s", f"{usual.timeout_ns / 1e9:g} s")
        plain["client retries"] = (str(client.retries), str(usual.retries))
        if scenario.serving.runtime in SERVERS:
            said.append("calls never time out or fail")
    if scenario.engine.delivery == "exactly-once":
        said.append("exactly-once (only what is lost or twice; times and CPU predicted as at-least-once)")
    if scenario.model_stream is not None:
        said += _models_unmeasured(scenario, calibration)
    said += [f"{key} {asked} (predicted as {base})" for key, (asked, base) in plain.items() if asked != base]
    measured = calibration.regime.get("broker")
    if measured is not None and measured != b.kind:
        said.append(f"broker {b.kind}, measured {measured}")
    cores = max((h.cores for h in scenario.hosts.hosts.values()), default=calibration.host.cores)
    if cores > calibration.host.cores:
        said.append(f"{cores} cores, measured {calibration.host.cores} (in proportion)")
    return said


def _models_unmeasured(scenario: Scenario, calibration: Calibration) -> list[str]:
    """Which costs of models that change are not measured."""
    from sim.pipelines.models import unmeasured

    said = unmeasured(calibration.models, calibration.cpu, scenario)
    payload = scenario.workload.payload.format
    known = payload != "protobuf" or "input_protobuf" in calibration.sizes_bytes
    return said if known else [*said, "record size in protobuf not measured (predicted as in json)"]


def trust(scenario: Scenario, calibration: Calibration) -> dict[str, Any]:
    """What a prediction says of its calibration: name, match with this host, what is outside, held-out errors."""
    return {
        "name": calibration.name,
        "digest": digest(calibration),
        "created": calibration.created,
        "host_match": not differences(calibration.fingerprint),
        "outside": outside(scenario, calibration),
        "held_out": calibration.held_out,
    }


def digest(calibration: Calibration) -> str:
    """Identifies what a calibration predicts; the errors kept with it are no part of that."""
    text = json.dumps({**costs.to_json(calibration), "held_out": None}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
