"""What models of a stream take to load and to score, from runs of them into a calibration."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from calibration import loads
from calibration.profiles import ProfileError
from scenarios import load
from scenarios.model_stream import publications
from sim import costs, run, store
from sim.costs import Calibration

SCENARIO = Path(__file__).resolve().parents[2] / "scenarios" / "model_stream" / "profile.yaml"
LOAD_NS = {"wine-linear": 300_000.0, "wine-forest": 9_000_000.0}
SCORE_NS = {"wine-linear": 40_000.0, "wine-forest": 170_000.0}
SIZE_BYTES = {"wine-linear": 2_700.0, "wine-forest": 324_400.0}


@pytest.fixture(scope="module")
def base() -> Calibration:
    return dataclasses.replace(store.load("textbook"), models={})


@pytest.fixture(scope="module")
def simulated(base: Calibration, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models whose costs are known, in turns."""
    known = {
        name: {"size_bytes": SIZE_BYTES[name], "load_ns": LOAD_NS[name], "score_ns": SCORE_NS[name]} for name in LOAD_NS
    }
    asked = load.load(SCENARIO)
    stream = asked.model_stream
    assert stream is not None
    stream = dataclasses.replace(stream, messages=tuple(m for m in stream.messages if m.model in known))
    asked = dataclasses.replace(asked, model_stream=stream)
    result = run.simulate(asked, dataclasses.replace(base, models=known))
    return run.write(result, tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def measured(simulated: Path, base: Calibration) -> Path:
    """The same as a real run would tell it: with the journal of its worker, on the calibration's host."""
    meta = json.loads((simulated / "run.json").read_text())
    told = meta["model_stream"]
    asked = load.from_resolved(meta["scenario"])
    assert asked.model_stream is not None
    sent = publications(asked.model_stream, asked.workload.duration_ns)
    assert told["sizes_bytes"] == [SIZE_BYTES[each.message.name] for each in sent]
    told["workers"][0]["events"] = [
        {"event": event, "at_ns": each.at_ns + 20_000_000, "took_ns": took, "version": each.version}
        for each, took in zip(sent, told["load_ns"], strict=True)
        for event in ("loaded", "swapped")
    ]
    meta |= {"backend": "real", "fingerprint": dict(base.fingerprint)}
    copy = simulated.parent / "real"
    copy.mkdir()
    (copy / "run.json").write_text(json.dumps(meta))
    (copy / "records.parquet").write_bytes((simulated / "records.parquet").read_bytes())
    return copy


def test_costs_of_models_are_found_again(measured: Path, base: Calibration, tmp_path: Path) -> None:
    costs.write(dataclasses.replace(base, name="before", models={"other": {"load_ns": 1.0}}), tmp_path / "before.json")
    made = loads.write([measured], tmp_path / "made.json", str(tmp_path / "before.json"))
    assert made.models["other"] == {"load_ns": 1.0}
    for name, load_ns in LOAD_NS.items():
        found = made.models[name]
        assert found["load_ns"] == pytest.approx(load_ns, rel=1e-3)
        assert found["score_ns"] == pytest.approx(SCORE_NS[name], rel=1e-3)
        assert found["size_bytes"] == SIZE_BYTES[name]
    assert store.load(str(tmp_path / "made.json")).models == made.models
    assert made.fit["loads"] == {"onto": "before", "runs": ["real"]}


def test_what_is_no_measurement_is_refused(simulated: Path, measured: Path, base: Calibration, tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="no real run with a model_stream"):
        loads.onto(base, [simulated], "mine")
    with pytest.raises(ProfileError, match="elsewhere"):
        loads.onto(base, [tmp_path / "elsewhere"], "mine")
    foreign = dataclasses.replace(base, fingerprint={**base.fingerprint, "cpu_model": "another"})
    with pytest.raises(ProfileError, match="host of cpu_model another"):
        loads.onto(foreign, [measured], "mine")
