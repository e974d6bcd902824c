"""Every shipped scenario loads, expands, comes back from its resolved form, and fits the JSON Schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from scenarios.arrivals import schedule
from scenarios.json_schema import json_schema
from scenarios.load import any_from_resolved, expand_any, load, load_any, resolved

ROOM = Path(__file__).resolve().parents[2] / "scenarios"
SHIPPED = sorted(ROOM.rglob("*.yaml"))
NAMES = [str(path.relative_to(ROOM)) for path in SHIPPED]

EXPECTED = {
    "first_light.yaml": 1,
    "internet_scale.yaml": 1,
    "scalability.yaml": 6,
    "scalability/large.yaml": 5,
    "scalability/small.yaml": 5,
    "input_rate/debug.yaml": 1,
    "input_rate/small.yaml": 1,
    "input_rate/large.yaml": 3,
    "batch_size/small.yaml": 1,
    "batch_size/large.yaml": 3,
    "bursty/debug.yaml": 1,
    "bursty/large.yaml": 2,
    "profile/ffnn.yaml": 1,
    "profile/quick.yaml": 1,
    "check/python.yaml": 1,
    "check/quick.yaml": 1,
    "demo.yaml": 12,
    "faro/top9.yaml": 1,
    "faro/seeds.yaml": 5,
    "faro/quotas.yaml": 225,
    "faro/jobs20.yaml": 1,
    "faro/jobs100.yaml": 1,
    "faro/mixed.yaml": 1,
    "faro/slice.yaml": 1,
    "pool/slice.yaml": 1,
    "pool/step.yaml": 1,
    "servers/weir.yaml": 1,
    "crayfish/common/protocol.yaml": 1,
    "crayfish/common/batch.yaml": 1,
    "crayfish/flink.yaml": 30,
    "crayfish/flink-32-n-32.yaml": 30,
    "crayfish/kafka-streams.yaml": 12,
    "crayfish/spark.yaml": 12,
    "crayfish/ray.yaml": 12,
    "crayfish/standalone.yaml": 6,
    "crayfish/resnet50.yaml": 18,
    "crayfish/batch-flink.yaml": 50,
    "crayfish/batch-flink-32-n-32.yaml": 50,
    "crayfish/batch-kafka-streams.yaml": 20,
    "crayfish/batch-spark.yaml": 20,
    "crayfish/batch-ray.yaml": 20,
    "crayfish/batch-standalone.yaml": 10,
    "engines/python.yaml": 1,
    "engines/kafka-streams.yaml": 1,
    "engines/pekko.yaml": 1,
    "engines/flink.yaml": 1,
    "engines/flink-unchained.yaml": 1,
    "engines/flink-external.yaml": 1,
    "engines/spark.yaml": 1,
    "engines/ray.yaml": 1,
    "engines/speculative.yaml": 1,
    "engines/standalone.yaml": 1,
    "engines/graph.yaml": 1,
    "clipper/overload.yaml": 1,
    "model_stream/lifecycle.yaml": 1,
    "model_stream/profile.yaml": 1,
    "model_stream/scale_out.yaml": 20,
    "plan/burst.yaml": 1,
    "plan/bursty.yaml": 1,
    "plan/cascade.yaml": 1,
    "plan/ffnn.yaml": 1,
    "plan/ramp.yaml": 1,
    "plan/steady.yaml": 1,
    "plan/toy.yaml": 1,
}


def test_what_is_shipped_is_what_is_expected() -> None:
    assert {name: len(expand_any(ROOM / name)) for name in NAMES} == EXPECTED


@pytest.mark.parametrize("name", NAMES)
def test_loads_and_comes_back(name: str) -> None:
    scenario = load_any(ROOM / name)
    assert any_from_resolved(resolved(scenario)) == scenario
    for _, point in expand_any(ROOM / name)[:20]:
        assert any_from_resolved(resolved(point)) == point
    head = (ROOM / name).read_text(encoding="utf-8").splitlines()[0]
    assert head.startswith("# "), "a header says what it is"


def test_names_are_unique() -> None:
    names = [load_any(path).name for path in SHIPPED]
    assert len(set(names)) == len(names)


def test_the_scalability_scenario_is_crayfishs() -> None:
    scenario = load(ROOM / "scalability.yaml")
    assert scenario.workload.arrival.rate_per_s == 30_000
    assert scenario.broker.partitions == 32
    assert {name: host.cores for name, host in scenario.hosts.hosts.items()} == {
        "generator": 32,
        "broker": 16,
        "engine": 64,
        "collector": 4,
    }
    assert scenario.sweep == {"engine.parallelism": [1, 2, 4, 8, 16, 32]}
    assert scenario.calibration is None


def test_the_bursty_debug_schedule_has_its_bursts() -> None:
    scenario = load(ROOM / "bursty/debug.yaml")
    load_ns = scenario.workload.warmup_ns + scenario.workload.duration_ns
    times = schedule(scenario.workload.arrival, load_ns, 1)
    at_switch = [int((times == at * 10**9).sum()) for at in (12, 15, 27, 30)]
    assert at_switch == [56, 36, 56, 36]


def fits(schema: dict[str, Any], value: Any, root: dict[str, Any], at: str) -> list[str]:
    """What is wrong with a value by the part of JSON Schema that ours uses."""
    if "if" in schema:
        branch = "else" if fits(schema["if"], value, root, at) else "then"
        return fits(schema[branch], value, root, at)
    if "$ref" in schema:
        return fits(root["$defs"][schema["$ref"].rpartition("/")[2]], value, root, at)
    if "anyOf" in schema:
        found = [fits(option, value, root, at) for option in schema["anyOf"]]
        return [] if any(not wrong for wrong in found) else found[0]
    if "enum" in schema or "const" in schema:
        return [] if value in schema.get("enum", [schema.get("const")]) else [f"{at}: {value!r}"]
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool}
    kinds["null"] = type(None)
    declared = schema.get("type", [])
    declared = [declared] if isinstance(declared, str) else declared
    if declared and not any(isinstance(value, kinds[kind]) for kind in declared):  # type: ignore[arg-type]
        return [f"{at}: {value!r} is not {declared}"]
    wrong: list[str] = []
    if isinstance(value, dict):
        wrong += [f"{at}.{key} is missing" for key in schema.get("required", ()) if key not in value]
        properties = schema.get("properties", {})
        for key, inner in value.items():
            more = schema.get("additionalProperties", True)
            if key in properties:
                wrong += fits(properties[key], inner, root, f"{at}.{key}")
            elif more is False:
                wrong.append(f"{at}.{key} is not in the schema")
            elif isinstance(more, dict):
                wrong += fits(more, inner, root, f"{at}.{key}")
    if isinstance(value, list) and "items" in schema:
        for item in value:
            wrong += fits(schema["items"], item, root, f"{at}[]")
    return wrong


@pytest.mark.parametrize("name", NAMES)
def test_fits_the_json_schema(name: str) -> None:
    schema = json_schema()
    data = YAML(typ="safe").load(ROOM / name)
    assert fits(schema, data, schema, "") == []


def test_the_json_schema_refuses_a_wrong_key_and_type() -> None:
    schema = json_schema()
    assert fits(schema, {"engine": {"paralelism": 3}}, schema, "")
    assert fits(schema, {"workload": {"arrival": {"rate": 3}}}, schema, "")
    assert fits(schema, {"slo": {"latency_p98": "3 ms"}}, schema, "")
    assert not fits(schema, {"model": "ffnn", "hosts": {"engine": {"cores": 4}}}, schema, "")
    assert not fits(schema, {"model": {"name": "ffnn"}, "hosts": "this"}, schema, "")
    assert fits(schema, {"jobs": {"count": "three"}}, schema, "")
    assert fits(schema, {"jobs": {}, "policy": "aiadd"}, schema, "") == []  # any word may stand for a mapping
    assert fits(schema, {"jobs": {}, "policy": {"name": "aiadd"}}, schema, "")
    assert fits(schema, {"policy": "aiad"}, schema, ""), "a policy is of a cluster"
    assert not fits(schema, {"extends": "top9.yaml", "policy": {"solver": "cobyla"}}, schema, "")
    assert not fits(schema, {"jobs": [{"model": ["resnet18", "resnet34"]}, {"slo": "1 s"}]}, schema, "")


def test_the_json_schema_states_defaults_with_units() -> None:
    definitions = json_schema()["$defs"]
    assert definitions["Producer"]["properties"]["linger"]["default"] == "5 ms"
    assert definitions["Producer"]["properties"]["batch_bytes"]["default"] == "1 MB"
    assert definitions["Profile"]["properties"]["lingers"]["default"] == ["0 s", "5 ms", "50 ms"]
