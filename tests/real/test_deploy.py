"""The Dockerfile and the Helm chart: linted, rendered, and checked against what Kubernetes and our commands take."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from real.dashboards import make
from scenarios.load import load

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
CHART, RENDERED = DEPLOY / "helm" / "weir", DEPLOY / "helm" / "rendered"
CASES = ("least", "all")


def helm() -> str:
    """The program; skips where there is none."""
    found = os.environ.get("WEIR_HELM") or shutil.which("helm")
    if found is None:
        pytest.skip("helm is not in PATH, and WEIR_HELM names none")
    return found


def ended(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


# -- images -----------------------------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    text = (DEPLOY / "Dockerfile").read_text()
    lines = [each for each in text.splitlines() if each.strip() and not each.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
    return [(word, rest) for word, _, rest in (each.partition(" ") for each in joined)]


def sent_to_the_build(path: str) -> bool:
    """Whether a path of the repository is in the build's context: the last rule that fits it, or what is above it."""
    above = [path, *(str(each) for each in Path(path).parents if str(each) != ".")]
    sent = True
    for rule in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines():
        if not rule or rule.startswith("#"):
            continue
        pattern = rule.removeprefix("!").removeprefix("**/")
        anywhere = rule.startswith("**/")
        for each in above:
            names = [each, each.rpartition("/")[2]] if anywhere else [each]
            if any(fnmatch(name, pattern) and (anywhere or "/" not in name or "/" in pattern) for name in names):
                sent = rule.startswith("!")
    return sent


def test_hadolint_finds_nothing() -> None:
    if (program := shutil.which("hadolint") or os.environ.get("WEIR_HADOLINT")) is None:
        pytest.skip("hadolint is not in PATH, and WEIR_HADOLINT names none")
    done = ended(program, DEPLOY / "Dockerfile")
    assert (done.returncode, done.stdout) == (0, "")


def test_what_is_copied_is_there_and_is_sent() -> None:
    sources = [
        source
        for word, rest in instructions()
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    ]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert sent_to_the_build(source), source
    rooms = {path.parent.name for path in ROOT.glob("*/__main__.py")} - {"benchmarks", "tests"}
    assert rooms <= set(sources), "a room is missing in the image"
    tracked = ended("git", "ls-files", "real", "sim", "models", "scenarios").stdout.splitlines()
    assert all(sent_to_the_build(path) for path in tracked)


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("real/life.py", True),
        ("weir.py", True),
        (".git/config", False),
        (".venv/bin/python", False),
        ("runs/a/run.json", False),
        ("tests/real/test_deploy.py", False),
        ("real/__pycache__/life.cpython-311.pyc", False),
        ("real/jvm/flink/target/classes/A.class", False),
        ("calibrations/mine.json", False),
    ],
)
def test_nothing_else_is_sent(path: str, sent: bool) -> None:
    assert sent_to_the_build(path) == sent


def test_an_image_runs_as_nobody_special_and_from_the_locks() -> None:
    found = instructions()
    users = [rest for word, rest in found if word == "USER"]
    assert users[-1] == "10001:10001"
    targets = [rest.partition(" AS ")[2] for word, rest in found if word == "FROM"]
    assert targets == ["packages", "weir", "harness"]
    assert all(":" in rest.partition(" AS ")[0] or rest.split()[0] in targets for word, rest in found if word == "FROM")
    (install,) = [rest for word, rest in found if word == "RUN" and "pip install" in rest]
    assert "--require-hashes" in install
    (entry,) = [json.loads(rest) for word, rest in found if word == "ENTRYPOINT"]
    done = ended(sys.executable, *entry[1:], "real", "model-server", "--help")
    assert done.returncode == 0, done.stderr


# -- the chart: shapes ------------------------------------------------------------------------------------------

TEXT: dict[str, Any] = {"type": str}
WHOLE: dict[str, Any] = {"type": int}
TRUTH: dict[str, Any] = {"type": bool}
NAME: dict[str, Any] = {"type": str, "pattern": r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"}
QUANTITY: dict[str, Any] = {"type": (str, int), "pattern": r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?"}
ANYTHING: dict[str, Any] = {"type": object}


def texts(values: dict[str, Any] = TEXT) -> dict[str, Any]:
    return {"type": dict, "values": values}


def fields(needed: tuple[str, ...] = (), **known: Any) -> dict[str, Any]:
    return {"type": dict, "known": known, "needed": needed}


def listing(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": list, "items": items}


def one_of(*words: str) -> dict[str, Any]:
    return {"type": str, "pattern": "|".join(map(re.escape, words))}


LABEL = {"type": str, "pattern": r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?"}
METADATA = fields(("name",), name=NAME, labels=texts(LABEL), namespace=NAME)
KEYED = fields(("name", "key"), name=NAME, key=TEXT)
RESOURCES = fields(requests=texts(QUANTITY), limits=texts(QUANTITY))
SECCOMP = fields(("type",), type=one_of("RuntimeDefault"))
PROBE = fields(("tcpSocket",), tcpSocket=fields(("port",), port=TEXT), periodSeconds=WHOLE, failureThreshold=WHOLE)
CONTAINER = fields(
    ("name", "image", "securityContext", "resources"),
    name=NAME,
    image={"type": str, "pattern": r"[a-z0-9./-]+:[A-Za-z0-9_.-]+"},
    imagePullPolicy=one_of("Always", "IfNotPresent", "Never"),
    command=listing(TEXT),
    args=listing(TEXT),
    env=listing(fields(("name",), name=TEXT, value=TEXT, valueFrom=fields(secretKeyRef=KEYED))),
    ports=listing(fields(("containerPort",), name=NAME, containerPort=WHOLE)),
    resources=RESOURCES,
    securityContext=fields(
        allowPrivilegeEscalation=TRUTH, readOnlyRootFilesystem=TRUTH, capabilities=fields(drop=listing(TEXT))
    ),
    startupProbe=PROBE,
    livenessProbe=PROBE,
    volumeMounts=listing(fields(("name", "mountPath"), name=NAME, mountPath=TEXT, readOnly=TRUTH)),
)
VOLUME = fields(
    ("name",),
    name=NAME,
    emptyDir=fields(),
    configMap=fields(("name",), name=NAME),
    persistentVolumeClaim=fields(("claimName",), claimName=NAME, readOnly=TRUTH),
)
POD = fields(
    ("containers",),
    automountServiceAccountToken=TRUTH,
    containers=listing(CONTAINER),
    imagePullSecrets=listing(fields(("name",), name=NAME)),
    nodeSelector=texts(),
    restartPolicy=one_of("Always", "Never", "OnFailure"),
    securityContext=fields(
        runAsNonRoot=TRUTH, runAsUser=WHOLE, runAsGroup=WHOLE, fsGroup=WHOLE, seccompProfile=SECCOMP
    ),
    terminationGracePeriodSeconds=WHOLE,
    tolerations=listing(fields(key=TEXT, operator=one_of("Exists", "Equal"), value=TEXT, effect=TEXT)),
    volumes=listing(VOLUME),
)
TEMPLATE = fields(("metadata", "spec"), metadata=fields(("labels",), labels=texts(LABEL)), spec=POD)
SELECTOR = fields(("matchLabels",), matchLabels=texts(LABEL))
CLAIM = fields(
    ("metadata", "spec"),
    metadata=METADATA,
    spec=fields(("accessModes", "resources"), accessModes=listing(TEXT), storageClassName=NAME, resources=RESOURCES),
)
KINDS: dict[tuple[str, str], dict[str, Any]] = {
    ("v1", "Secret"): fields(("stringData",), type=TEXT, stringData=texts()),
    ("v1", "ConfigMap"): fields(("data",), data=texts()),
    ("v1", "Service"): fields(
        ("spec",),
        spec=fields(
            ("selector", "ports"),
            clusterIP=TEXT,
            selector=texts(LABEL),
            ports=listing(fields(("port",), name=NAME, port=WHOLE, targetPort=TEXT)),
        ),
    ),
    ("apps/v1", "Deployment"): fields(
        ("spec",),
        spec=fields(
            ("selector", "template"),
            replicas=WHOLE,
            strategy=fields(("type",), type=one_of("Recreate", "RollingUpdate")),
            selector=SELECTOR,
            template=TEMPLATE,
        ),
    ),
    ("apps/v1", "StatefulSet"): fields(
        ("spec",),
        spec=fields(
            ("selector", "template", "serviceName"),
            replicas=WHOLE,
            serviceName=NAME,
            podManagementPolicy=one_of("Parallel", "OrderedReady"),
            selector=SELECTOR,
            template=TEMPLATE,
            volumeClaimTemplates=listing(CLAIM),
        ),
    ),
    ("batch/v1", "Job"): fields(("spec",), spec=fields(("template",), backoffLimit=WHOLE, template=TEMPLATE)),
    ("monitoring.coreos.com/v1", "ServiceMonitor"): fields(
        ("spec",),
        spec=fields(
            ("selector", "endpoints"),
            selector=SELECTOR,
            endpoints=listing(
                fields(port=NAME, path=TEXT, interval=TEXT, authorization=fields(credentials=KEYED, type=TEXT))
            ),
        ),
    ),
}


def mistakes(value: Any, shape: dict[str, Any], at: str = "") -> list[str]:
    """What does not fit, as a path and a reason."""
    if not isinstance(value, shape["type"]) or (isinstance(value, bool) and shape["type"] not in (bool, object)):
        return [f"{at}: {value!r} is no {shape['type']}"]
    if "items" in shape:
        return [found for i, each in enumerate(value) for found in mistakes(each, shape["items"], f"{at}[{i}]")]
    if "values" in shape:
        return [found for key, each in value.items() for found in mistakes(each, shape["values"], f"{at}.{key}")]
    if "known" in shape:
        found = [f"{at}: lacks {name}" for name in shape["needed"] if name not in value]
        for key, each in value.items():
            known = shape["known"].get(key)
            found += [f"{at}: no field {key}"] if known is None else mistakes(each, known, f"{at}.{key}")
        return found
    if "pattern" in shape and not re.fullmatch(shape["pattern"], str(value)):
        return [f"{at}: {value!r} does not fit"]
    return []


def manifest_mistakes(manifest: Any) -> list[str]:
    """What of a manifest does not fit its kind."""
    kind = (manifest.get("apiVersion"), manifest.get("kind"))
    if kind not in KINDS:
        return [f"no kind {kind}"]
    rest = {key: each for key, each in manifest.items() if key not in ("apiVersion", "kind", "metadata")}
    return mistakes(manifest.get("metadata"), METADATA, "metadata") + mistakes(rest, KINDS[kind])


def manifests(case: str) -> list[Any]:
    found = YAML(typ="safe").load_all((RENDERED / f"{case}.yaml").read_text())
    return [json.loads(json.dumps(each)) for each in found if each is not None]


def of_kind(case: str, kind: str, name: str = "") -> list[Any]:
    return [m for m in manifests(case) if m["kind"] == kind and name in m["metadata"]["name"]]


def pods(case: str) -> list[Any]:
    return [m["spec"]["template"]["spec"] for m in manifests(case) if "template" in m.get("spec", {})]


# -- the chart: what it renders ---------------------------------------------------------------------------------


def test_what_is_rendered_is_of_this_chart() -> None:
    digest = ended(sys.executable, DEPLOY / "render.py", "--digest").stdout.strip()
    assert re.fullmatch("[0-9a-f]{64}", digest)
    for case in CASES:
        first = (RENDERED / f"{case}.yaml").read_text().partition("\n")[0]
        assert first.endswith(f"sha256:{digest}"), "the chart has changed: python deploy/render.py"


@pytest.mark.parametrize("case", CASES)
def test_helm_lints_it_and_renders_the_same(case: str, tmp_path: Path) -> None:
    program = helm()
    values = [*("--set", "kafka.bootstrap=kafka:9092", "--set", "modelServer.token.value=change-me")]
    if case == "all":
        values = ["--values", str(DEPLOY / "helm" / "all.yaml")]
    done = ended(program, "lint", "--strict", CHART, "--kube-version", "1.29.0", *values)
    assert done.returncode == 0, done.stdout + done.stderr
    done = ended(program, "template", "release", CHART, "--kube-version", "1.29.0", *values)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (RENDERED / f"{case}.yaml").read_text().partition("\n")[2]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["modelServer.token.value=x"], "kafka.bootstrap"),
        (["kafka.bootstrap=k:9092"], "modelServer.token"),
        (["kafka.bootstrap=k:9092", "modelServer.token.value=x", "modelServer.load=sometimes"], "load"),
        (["kafka.bootstrap=k:9092", "modelServer.token.value=x", "modelServer.replica=2"], "replica"),
        (["kafka.bootstrap=k:9092", "modelServer.enabled=false", "run.enabled=true"], "run.scenario"),
        (["kafka.bootstrap=k:9092", "modelServer.enabled=false", "publishers.models.enabled=true"], "publishers.claim"),
    ],
)
def test_helm_refuses_what_cannot_be(options: list[str], words: str) -> None:
    sets = [word for each in options for word in ("--set", each)]
    done = ended(helm(), "template", "release", CHART, "--kube-version", "1.29.0", *sets)
    assert done.returncode != 0
    assert words in done.stderr


@pytest.mark.parametrize("case", CASES)
def test_every_manifest_fits_its_kind(case: str) -> None:
    found = manifests(case)
    names = [(m["kind"], m["metadata"]["name"]) for m in found]
    assert len(names) == len(set(names))
    assert {m["metadata"]["name"]: wrong for m in found if (wrong := manifest_mistakes(m))} == {}
    if case == "all":
        kinds = {m["kind"] for m in found} | {m["kind"] for m in manifests("least")}
        assert kinds == {kind for _, kind in KINDS}, "a kind that nothing renders is not checked"


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (lambda m: m["spec"].pop("serviceName"), "lacks serviceName"),
        (lambda m: m["spec"].update(replicas="1"), "is no <class 'int'>"),
        (lambda m: m["spec"].update(volumes=[]), "no field volumes"),
        (lambda m: m["metadata"].update(name="Upper_Case"), "does not fit"),
        (lambda m: m["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"].update(memory="2 GB"), "2 GB"),
        (lambda m: m.update(apiVersion="apps/v1beta1"), "no kind"),
    ],
)
def test_the_shapes_find_mistakes(break_it: Any, reason: str) -> None:
    (found,) = of_kind("least", "StatefulSet")
    break_it(found)
    assert any(reason in each for each in manifest_mistakes(found))


@pytest.mark.parametrize("case", CASES)
def test_selectors_find_their_pods_and_mounts_their_volumes(case: str) -> None:
    labelled = [m["spec"]["template"]["metadata"]["labels"] for m in manifests(case) if "template" in m.get("spec", {})]
    for m in manifests(case):
        selector = m.get("spec", {}).get("selector")
        if selector is None:
            continue
        wanted = selector.get("matchLabels", selector).items()
        if m["kind"] == "ServiceMonitor":
            assert any(wanted <= s["metadata"]["labels"].items() for s in of_kind(case, "Service"))
        else:
            assert sum(wanted <= labels.items() for labels in labelled) == 1, m["metadata"]["name"]
    for m in manifests(case):
        if "template" in m.get("spec", {}):
            pod = m["spec"]["template"]["spec"]
            volumes = {v["name"] for v in pod["volumes"]}
            volumes |= {claim["metadata"]["name"] for claim in m["spec"].get("volumeClaimTemplates", [])}
            assert {v["name"] for c in pod["containers"] for v in c["volumeMounts"]} == volumes
    (server,) = of_kind(case, "StatefulSet")
    (service,) = of_kind(case, "Service")
    assert server["spec"]["serviceName"] == service["metadata"]["name"]


@pytest.mark.parametrize("case", CASES)
def test_no_pod_may_more_than_it_needs(case: str) -> None:
    for pod in pods(case):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in pod["containers"]:
            allowed = container["securityContext"]
            assert allowed["readOnlyRootFilesystem"] is True
            assert allowed["allowPrivilegeEscalation"] is False
            assert allowed["capabilities"]["drop"] == ["ALL"]
            assert "memory" in container["resources"]["limits"]
            assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}


@pytest.mark.parametrize("case", CASES)
def test_our_commands_take_what_a_container_says(case: str) -> None:
    """Each option is one of the command's; what it needs from elsewhere (a broker) is not asked here."""
    seen = 0
    for pod in pods(case):
        for container in pod["containers"]:
            command, args = container.get("command"), container["args"]
            if command is not None:
                shell = command[2]
                assert shell.startswith("exec python -m weir ")
                words = [*shell.split()[4:6]]
                options = ["--instance", *(each.partition("=")[0] for each in args)]
            else:
                words = [each for each in args if not each.startswith(("-", "/"))]
                options = [each.partition("=")[0] for each in args if each.startswith("--")]
            done = subprocess.run(
                [sys.executable, "-m", "weir", *words, "--help"],
                cwd=ROOT,
                env={**os.environ, "COLUMNS": "200", "TERM": "dumb"},
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert done.returncode == 0, done.stderr
            for option in options:
                assert re.search(rf"{option}\b", done.stdout), (words, option)
            seen += 1
    assert seen == {"least": 1, "all": 5}[case]


def test_the_servers_number_is_its_pods(tmp_path: Path) -> None:
    """The shell line of the stateful set, run by a shell with a `python` that says what it was given."""
    (server,) = of_kind("all", "StatefulSet")
    (container,) = server["spec"]["template"]["spec"]["containers"]
    (tmp_path / "python").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "python").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "HOSTNAME": "release-weir-server-2"}
    command = [*container["command"], *container["args"]]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    said = done.stdout.splitlines()
    assert said[:6] == ["-m", "weir", "real", "model-server", "--instance", "2"]
    assert said[6:] == container["args"]


def test_scenarios_of_jobs_are_scenarios(tmp_path: Path) -> None:
    for name in ("run", "simulate"):
        (found,) = [m for m in of_kind("all", "ConfigMap", f"-{name}") if "scenario.yaml" in m["data"]]
        path = tmp_path / f"{name}.yaml"
        path.write_text(found["data"]["scenario.yaml"])
        assert load(path, []).workload.arrival.rate_per_s == 200


def test_the_charts_dashboards_are_ours() -> None:
    (found,) = of_kind("all", "ConfigMap", "-dashboard")
    for kind in make.KINDS:
        assert (CHART / "dashboards" / f"{kind}.json").read_text() == make.text(kind), "cp real/dashboards/*.json there"
        assert json.loads(found["data"][f"weir-{kind}.json"]) == make.dashboard(kind)
