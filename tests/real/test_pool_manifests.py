"""Manifests of a plan against the part of KubeRay's schema that they use.

The schema is that of `rayservices.ray.io`, version v1 (kuberay, ray-operator/config/crd/bases/ray.io_rayservices.yaml
at commit 026f143), and of `rayclusters.ray.io`, whose spec is the same as `rayClusterConfig`: fields that a manifest of
ours may have, their types, and all that are required.  A field that is not here is taken for a mistake.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from real.errors import RefusedError
from real.pool.manifests import parse, render

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "rayproject/ray:2.40.0-py311"

TEXT = {"type": "string"}
INT32 = {"type": "integer", "format": "int32"}
QUANTITY = {
    "type": "string",  # the schema allows an integer too
    "pattern": r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$",  # noqa: E501
}


def mapping(values: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": values}


def section(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required}


def listing(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


RESOURCES = section(limits=mapping(QUANTITY), requests=mapping(QUANTITY))
CONTAINER = section(("name",), name=TEXT, image=TEXT, resources=RESOURCES)
POD = section(spec=section(("containers",), containers=listing(CONTAINER), nodeSelector=mapping(TEXT)))
HEAD = section(("rayStartParams", "template"), rayStartParams=mapping(TEXT), template=POD)
WORKERS = section(
    ("groupName", "maxReplicas", "minReplicas", "rayStartParams", "template"),
    groupName=TEXT,
    replicas=INT32,
    minReplicas=INT32,
    maxReplicas=INT32,
    rayStartParams=mapping(TEXT),
    template=POD,
)
CLUSTER = section(("headGroupSpec",), rayVersion=TEXT, headGroupSpec=HEAD, workerGroupSpecs=listing(WORKERS))
METADATA = section(("name",), name=TEXT, namespace=TEXT, annotations=mapping(TEXT))
SPECS = {"RayService": section(serveConfigV2=TEXT, rayClusterConfig=CLUSTER), "RayCluster": CLUSTER}

PLAN = {
    "name": "Toy plan",
    "verdict": "PLANNED",
    "reason": "",
    "slo_ms": 250.0,
    "cost_per_h": 3.9,
    "models": {
        "A": {"hardware": "k80", "batch": 16, "replicas": 3},
        "B": {"hardware": "cpu", "batch": 4, "replicas": 2},
        "C.x": {"hardware": "k80", "batch": 1, "replicas": 1},
    },
}


def mistakes(value: Any, schema: dict[str, Any], at: str = "") -> list[str]:
    """What does not fit, as a path and a reason."""
    kinds: dict[str, Any] = {"object": dict, "array": list, "string": str, "integer": int}
    if not isinstance(value, kinds[schema["type"]]) or isinstance(value, bool):
        return [f"{at}: {value!r} is no {schema['type']}"]
    if schema["type"] == "array":
        return [found for i, each in enumerate(value) for found in mistakes(each, schema["items"], f"{at}[{i}]")]
    if schema["type"] == "object":
        of = schema.get("properties", {})
        found = [f"{at}: lacks {name}" for name in schema.get("required", ()) if name not in value]
        for name, each in value.items():
            rule = of.get(name, schema.get("additionalProperties"))
            found += mistakes(each, rule, f"{at}.{name}") if rule else [f"{at}: no field {name}"]
        return found
    if schema.get("format") == "int32" and not -(2**31) <= value < 2**31:
        return [f"{at}: {value} is beyond int32"]
    return [] if re.search(schema.get("pattern", ""), str(value)) else [f"{at}: {value!r} does not fit"]


def whole(kind: str) -> dict[str, Any]:
    return section(
        ("apiVersion", "kind", "metadata", "spec"), apiVersion=TEXT, kind=TEXT, metadata=METADATA, spec=SPECS[kind]
    )


def rendered(plan: dict[str, Any], kind: str = "RayService", **options: Any) -> dict[str, Any]:
    text = render(parse(json.dumps(plan)), kind=kind, image=IMAGE, **options)
    found: dict[str, Any] = json.loads(json.dumps(YAML(typ="safe").load(text)))
    return found


@pytest.mark.parametrize("kind", ["RayService", "RayCluster"])
def test_a_manifest_fits_the_schema(kind: str) -> None:
    found = rendered(PLAN, kind)
    assert mistakes(found, whole(kind)) == []
    assert (found["apiVersion"], found["kind"]) == ("ray.io/v1", kind)
    assert found["metadata"]["name"] == "toy-plan"


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (lambda spec: spec["workerGroupSpecs"][0].pop("groupName"), "lacks groupName"),
        (lambda spec: spec["workerGroupSpecs"][0].update(replicas="3"), "'3' is no integer"),
        (lambda spec: spec.update(workers=[]), "no field workers"),
        (lambda spec: spec["headGroupSpec"]["rayStartParams"].update({"num-cpus": 0}), "0 is no string"),
        (
            lambda spec: spec["headGroupSpec"]["template"]["spec"]["containers"][0]["resources"]["limits"].update(
                memory="4 GB"
            ),
            "'4 GB' does not fit",
        ),
    ],
)
def test_the_schema_finds_mistakes(break_it: Any, reason: str) -> None:
    found = rendered(PLAN, "RayCluster")
    break_it(found["spec"])
    assert any(reason in each for each in mistakes(found, whole("RayCluster")))


def test_groups_have_as_many_workers_as_their_models_have_replicas() -> None:
    groups = rendered(PLAN)["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    assert {group["groupName"]: group["replicas"] for group in groups} == {"k80": 4, "cpu": 2}
    for group in groups:
        assert group["minReplicas"] == group["maxReplicas"] == group["replicas"]
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        assert ("nvidia.com/gpu" in limits) == (group["groupName"] == "k80")
        # Unquoted by a shell it is the JSON that `ray start --resources` takes.
        (resources,) = shlex.split(group["rayStartParams"]["resources"])
        assert json.loads(resources) == {f"hw-{group['groupName']}": 1}


def test_every_model_is_an_application_with_its_replicas_and_batch() -> None:
    config = YAML(typ="safe").load(rendered(PLAN, import_path="apps.{model}:app")["spec"]["serveConfigV2"])
    applications = {each["name"]: each for each in config["applications"]}
    assert list(applications) == ["a", "b", "c-x"]
    assert applications["c-x"]["import_path"] == "apps.C_x:app"
    assert len({each["route_prefix"] for each in applications.values()}) == 3
    assert applications["a"]["deployments"] == [
        {
            "name": "a",
            "num_replicas": 3,
            "max_ongoing_requests": 32,
            "user_config": {"max_batch_size": 16},
            "ray_actor_options": {"num_cpus": 1, "resources": {"hw-k80": 1}, "num_gpus": 1},
        }
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is not JSON"),
        ("[]", "holds 0 points of a sweep"),
        ("{}", "is not what"),
        (json.dumps({**PLAN, "verdict": "INFEASIBLE", "reason": "18 ms at best", "models": None}), "18 ms at best"),
    ],
)
def test_what_holds_no_plan_is_refused(text: str, reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        parse(text)


def test_a_kind_that_is_not_there_is_refused() -> None:
    with pytest.raises(RefusedError, match="RayJob"):
        rendered(PLAN, "RayJob")


def test_from_the_planner_to_the_manifest(tmp_path: Path) -> None:
    def ended(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=120)

    def run(*command: str) -> str:
        done = ended(*command)
        assert done.returncode == 0, done.stderr
        return done.stdout

    plan = tmp_path / "plan.json"
    plan.write_text(run("sim", "plan", "scenarios/plan/toy.yaml", "--no-frontier", "--json"))
    found = json.loads(json.dumps(YAML(typ="safe").load(run("real", "manifests", str(plan)))))
    assert mistakes(found, whole("RayService")) == []
    planned = json.loads(plan.read_text())["models"]
    replicas = sum(group["replicas"] for group in found["spec"]["rayClusterConfig"]["workerGroupSpecs"])
    assert replicas == sum(model["replicas"] for model in planned.values())
    wrong = ended("real", "manifests", str(plan), "-o", str(tmp_path))
    assert (wrong.returncode, wrong.stderr) == (2, f"error: {tmp_path}: cannot be written: Is a directory\n")
