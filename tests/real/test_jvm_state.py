"""Models from a topic in the JVM, below the engines: what each format answers, and the state over HTTP."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from models.classical import Mlp
from models.classical_tensorflow import _FLOAT, _field, _node, _type, fetch_of, graph_bytes
from models.wine import fitted
from models.zoo import export, inputs, reference
from real.engines import jvm_runtimes
from real.engines.jvm import module
from real.model_stream.state_http import StateServer
from real.processes import Supervisor

HERE = all(shutil.which(each) is not None for each in ("java", "javac", "mvn"))
pytestmark = pytest.mark.skipif(not HERE, reason="needs java, javac and mvn on the PATH")
SOURCES = Path(__file__).parent / "jvm"
MODELS = (
    *(("wine-forest", "lightgbm", "lightgbm"), ("wine-tree-regressor", "lightgbm", "lightgbm")),
    *(("wine-mlp", "graphdef", "tensorflow"), ("wine-tensorflow", "savedmodel", "savedmodel")),
    *(("wine-linear", "pmml", "pmml"), ("wine-mlp", "onnx", "onnx")),
)
WINE = {
    "name": "m",
    "description": 'd "1"',
    "format": "pmml",
    "version": 4,
    "size_bytes": 9,
    "since": 1_700_000_000_123,
}
WINE |= {"usage": 4, "total_ns": 6_000_000, "min_ns": 500_000, "max_ns": 2_500_000}
BEER = {**WINE, "name": "b", "since": 1_700_000_000_100, "usage": 0, "total_ns": 0, "min_ns": 0, "max_ns": 0}
TOLD = {"instance": 3, "models_received": 8, "loaded": 8, "load_failures": 0, "superseded": 1, "swaps": 7}
TOLD |= {"dropped_no_model": 2, "changelog_bytes": 5, "changelog_writes": 1, "restored": 0, "records": 99, "bad": 1}
PATHS = (
    *("/v1/state", "/v1/state/wine", "/stats", "/state", "/state/wine", "/state/beer", "/state/value", "/models"),
    *("/state/modelStore/value", "/state/modelstore/value", "/processors", "/state/instances/other"),
    *("/", "/v1", "/v1/state/tea", "/v1/state/wine/x", "/state/tea", "/state/other/value", "/nothing", "/stats/x"),
)


def class_path(supervisor: Supervisor, out: Path, *parts: str) -> str:
    """Jars of an engine and of parts, and before them what a test's own class is compiled to."""
    folders = [
        module(name, f"the jars of {name}", "engine.kind", supervisor, print) for name in ("kafka-streams", *parts)
    ]
    jars = os.pathsep.join(f"{each}/*" for each in folders)
    files = [str(SOURCES / name) for name in ("Formats.java", "State.java")]
    subprocess.run(["javac", "-d", str(out), "-cp", jars, *files], check=True, timeout=300)
    return f"{out}{os.pathsep}{jars}"


def test_every_format_answers_as_its_model_does_and_the_rest_is_not_taken(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    x = inputs("wine-mlp", 8, 5).astype("<f4").reshape(8, 11)
    (tmp_path / "x").write_bytes(x.tobytes())
    asked = [(word, export(name, folder, 0, fmt)) for name, fmt, word in MODELS]
    mlp = fitted("wine-mlp", 0)
    assert isinstance(mlp, Mlp)
    rounds = _node("Rint", "rounded", (fetch_of(mlp),), T=_type(_FLOAT))  # a whole graph, but for the list
    lines = next(folder.glob("wine-forest*.txt")).read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("left_child="))
    lines[at] = "left_child=" + " ".join("0" for _ in lines[at].split())
    wrong: Sequence[tuple[str, str, bytes, str]] = (
        ("tensorflow", "rounds.pb", graph_bytes(mlp) + _field(1, rounds), "operator Rint"),
        ("tensorflow", "junk.pb", b"\xff\xff", "not a TensorFlow graph"),
        ("savedmodel", "junk.txt", b"x", "no folder with a model in it"),
        ("lightgbm", "circles.txt", "\n".join(lines).encode(), "goes in circles"),
        (
            "lightgbm",
            "none.txt",
            b"tree\nmax_feature_idx=1\nnum_tree_per_iteration=1\nTree=0\nend of trees",
            "num_leaves",
        ),
        ("h5", "keras.h5", b"x", "unknown format 'h5'; there are onnx, pmml, lightgbm, tensorflow, savedmodel"),
    )
    for word, name, data, _ in wrong:
        (folder / name).write_bytes(data)
        asked.append((word, folder / name))
    with Supervisor() as supervisor:
        jars = class_path(supervisor, tmp_path / "classes", "tensorflow")
    command = ["java", "-Xmx512m", *jvm_runtimes.options(["tensorflow"]), "-cp", jars, "weir.models.Formats"]
    words = [str(each) for pair in asked for each in pair]
    env = {**os.environ, **jvm_runtimes.environment(["tensorflow"]), "TMPDIR": str(tmp_path)}
    done = subprocess.run([*command, str(tmp_path / "x"), "8", *words], capture_output=True, env=env, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(said) == len(asked)
    for (name, _, word), found in zip(MODELS, said, strict=False):
        expected = reference(name, 0, x)
        answers = np.array(found["answers"]).reshape(expected.shape)
        np.testing.assert_allclose(answers, expected, rtol=1e-4, atol=1e-5, err_msg=f"{name} {word}")
    for (*_, reason), found in zip(wrong, said[len(MODELS) :], strict=True):
        assert reason in found["refused"]


def get(url: str, method: str = "GET", token: str | None = None) -> tuple[int, str]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(url, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@contextmanager
def telling(jars: str, told: Mapping[str, Any], folder: Path, token: str = "") -> Iterator[str]:
    """A JVM that tells a state; its address."""
    folder.mkdir()
    (folder / "told").write_text(json.dumps(told))
    command = ["java", "-Xmx128m", "-cp", jars, "weir.models.State", str(folder / "told"), str(folder)]
    env = {**os.environ, "WEIR_STATE_TOKEN": token}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"listening\n"
        about = json.loads((folder / "00003.json").read_text())
        yield f"http://{about['host']}:{about['port']}"
        process.stdin.close()
        assert process.wait(60) == 0


def samples(text: str) -> dict[Any, float]:
    families = text_string_to_metric_families(text)
    return {(each.name, *sorted(each.labels.items())): each.value for family in families for each in family.samples}


def test_the_state_over_http_is_the_python_engine_s(tmp_path: Path) -> None:
    with Supervisor() as supervisor:
        jars = class_path(supervisor, tmp_path / "classes")
    for name, types in (("both", {"beer": BEER, "wine": WINE}), ("none", {})):
        told = {**TOLD, "types": types}
        beside = tmp_path / f"python-{name}"
        beside.mkdir()
        python = StateServer(partial(dict, told), beside)
        try:
            with telling(jars, told, tmp_path / name) as base:
                ours = f"http://{python.host}:{python.port}"
                for path in PATHS:
                    expected, found = get(ours + path), get(base + path)
                    assert found[0] == expected[0], path
                    assert json.loads(found[1]) == json.loads(expected[1]), path
                assert samples(get(f"{base}/metrics")[1]) == pytest.approx(samples(get(f"{ours}/metrics")[1]))
                listed = json.loads(get(f"{base}/v1/instances")[1])
                assert listed == json.loads(f"[{(tmp_path / name / '00003.json').read_text()}]")
                assert listed == json.loads(get(f"{base}/state/instances/modelStore")[1])
                for method in ("POST", "PUT", "DELETE", "PATCH"):
                    assert get(f"{base}/v1/state", method)[0] == 405
                assert get(f"{base}/v1/state", "HEAD") == (200, "")
        finally:
            python.close()
    with telling(jars, {**TOLD, "types": {}}, tmp_path / "token", "secret") as base:
        assert [get(f"{base}/metrics", token=each)[0] for each in (None, "wrong", "secret")] == [401, 401, 200]
