"""A plan as Kubernetes manifests for KubeRay: a worker group for each kind of hardware, an application for each model.

One replica is one pod: a group has as many workers as its models have replicas, each with one unit of a Ray resource
of the hardware, which is what a replica of those models asks for.  Hardware whose name begins with `cpu` gets
CPUs, any other one GPU, on nodes labelled with the hardware.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from real.errors import RefusedError

KINDS = ("RayService", "RayCluster")
API = "ray.io/v1"
#: Label of the nodes that have a kind of hardware.
NODE_LABEL = "weir/hardware"
GPU = "nvidia.com/gpu"
#: Pods' resources; what a model needs beyond them is the operator's to raise.
HEAD: Mapping[str, str] = {"cpu": "2", "memory": "4Gi"}
WORKER: Mapping[str, str] = {"cpu": "1", "memory": "4Gi"}


def parse(text: str) -> dict[str, Any]:
    """What `sim plan --json` printed.

    Raises:
        RefusedError: It is none, or there is no plan in it.
    """
    try:
        plan = json.loads(text)
    except ValueError as error:
        raise RefusedError("plan", f"is not JSON: {error}") from None
    if isinstance(plan, list):
        raise RefusedError("plan", f"holds {len(plan)} points of a sweep; give one")
    if not isinstance(plan, dict) or "models" not in plan or "name" not in plan:
        raise RefusedError("plan", "is not what `sim plan --json` prints")
    if not plan["models"]:
        raise RefusedError("plan", f"there is no plan in it: {plan.get('verdict')}, {plan.get('reason')}")
    return plan


def render(
    plan: Mapping[str, Any],
    *,
    kind: str = "RayService",
    image: str,
    import_path: str = "serving.{model}:app",
    namespace: str = "default",
) -> str:
    """The manifest, as YAML.

    Args:
        plan: As `parse` gives it.
        kind: RayService (cluster and applications) or RayCluster (the cluster alone).
        image: Of every container; a tag names the version of Ray.
        import_path: Of a model's application in that image, `{model}` being the model's name.
        namespace: Of Kubernetes.

    Raises:
        RefusedError: No such kind.
    """
    if kind not in KINDS:
        raise RefusedError("--kind", f"{kind!r} is none of {', '.join(KINDS)}")
    name = _label(str(plan["name"]))
    cluster = _cluster(plan["models"], image)
    spec = (
        cluster if kind == "RayCluster" else {"serveConfigV2": _serve(plan, import_path), "rayClusterConfig": cluster}
    )
    notes = {"cost_per_h", "slo_ms", "percentile", "rate_per_s"} & set(plan)
    metadata = {
        "name": name,
        "namespace": namespace,
        "annotations": {f"weir/{key.replace('_', '-')}": str(plan[key]) for key in sorted(notes)},
    }
    return _yaml({"apiVersion": API, "kind": kind, "metadata": metadata, "spec": spec})


def _cluster(models: Mapping[str, Any], image: str) -> dict[str, Any]:
    replicas: dict[str, int] = {}
    for model in models.values():
        replicas[model["hardware"]] = replicas.get(model["hardware"], 0) + model["replicas"]
    version = re.search(r":(\d+\.\d+\.\d+)", image)
    return {
        **({"rayVersion": version.group(1)} if version else {}),
        "headGroupSpec": {
            "rayStartParams": {"num-cpus": "0", "dashboard-host": "0.0.0.0"},
            "template": _pod("ray-head", image, HEAD),
        },
        "workerGroupSpecs": [_group(hardware, count, image) for hardware, count in replicas.items()],
    }


def _group(hardware: str, count: int, image: str) -> dict[str, Any]:
    resources = dict(WORKER) if _is_cpu(hardware) else {**WORKER, GPU: "1"}
    return {
        "groupName": _label(hardware),
        "replicas": count,
        "minReplicas": count,
        "maxReplicas": count,
        # KubeRay puts this on a command line: the quotes are for the shell.
        "rayStartParams": {"resources": f"'{json.dumps({_resource(hardware): 1})}'"},
        "template": _pod("ray-worker", image, resources, {NODE_LABEL: _label(hardware)}),
    }


def _pod(name: str, image: str, resources: Mapping[str, str], nodes: Mapping[str, str] | None = None) -> dict[str, Any]:
    container = {
        "name": name,
        "image": image,
        "resources": {"limits": dict(resources), "requests": dict(resources)},
    }
    return {"spec": {"containers": [container], **({"nodeSelector": dict(nodes)} if nodes else {})}}


def _serve(plan: Mapping[str, Any], import_path: str) -> str:
    """Ray Serve's own configuration, which the manifest carries as text."""
    models: Mapping[str, Any] = plan["models"]
    applications = [
        {
            "name": _label(model),
            "route_prefix": f"/{_label(model)}",
            "import_path": import_path.replace("{model}", re.sub(r"\W", "_", model)),
            "deployments": [_deployment(model, chosen)],
        }
        for model, chosen in models.items()
    ]
    return _yaml({"applications": applications})


def _deployment(model: str, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """A model's replicas; one batch is in service and the next may fill meanwhile."""
    options: dict[str, Any] = {"num_cpus": 1, "resources": {_resource(chosen["hardware"]): 1}}
    if not _is_cpu(chosen["hardware"]):
        options["num_gpus"] = 1
    return {
        "name": _label(model),
        "num_replicas": chosen["replicas"],
        "max_ongoing_requests": 2 * chosen["batch"],
        "user_config": {"max_batch_size": chosen["batch"]},
        "ray_actor_options": options,
    }


def _is_cpu(hardware: str) -> bool:
    return hardware.lower().startswith("cpu")


def _resource(hardware: str) -> str:
    """The Ray resource of a kind of hardware; not one of Ray's own names."""
    return f"hw-{_label(hardware)}"


def _label(text: str) -> str:
    """As Kubernetes allows names: lower case letters, digits and dashes, at most 63."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].rstrip("-") or "unnamed"


def _yaml(data: Any) -> str:
    from ruamel.yaml import YAML
    from ruamel.yaml.scalarstring import LiteralScalarString

    def literal(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: literal(each) for key, each in value.items()}
        if isinstance(value, Sequence) and not isinstance(value, str):
            return [literal(each) for each in value]
        return LiteralScalarString(value) if isinstance(value, str) and "\n" in value else value

    writer = YAML()
    writer.width = 120
    writer.indent(mapping=2, sequence=4, offset=2)
    out = io.StringIO()
    writer.dump(literal(data), out)
    return out.getvalue()
