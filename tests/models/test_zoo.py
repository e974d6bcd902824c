"""The models: sizes, files, and the equality of ONNX Runtime with plain numpy."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from models import scorer, zoo
from models.definition import ModelDef, ModelError
from models.ffnn import weights
from scenarios import registry


def test_ffnn_has_the_published_number_of_parameters(tmp_path: Path) -> None:
    assert zoo.MODELS["ffnn"].parameters == 28_618
    assert sum(w.size + b.size for w, b in weights(3)) == 28_618
    graph = onnx.load(zoo.export("ffnn", tmp_path, 3)).graph
    assert sum(int(np.prod(t.dims)) for t in graph.initializer) == 28_618
    onnx.checker.check_model(str(zoo.export("ffnn", tmp_path, 3)))


@pytest.mark.parametrize("points", [1, 2, 7, 32, 512])
@pytest.mark.parametrize("seed", [0, 9])
def test_onnx_equals_the_numpy_reference(tmp_path: Path, points: int, seed: int) -> None:
    x = zoo.inputs("ffnn", points, seed + 1)
    answer = scorer.load_scorer("ffnn", "onnx", tmp_path, seed).score(x.reshape(points, 784))
    expected = zoo.reference("ffnn", seed, x)
    assert answer.shape == expected.shape == (points, 10)
    assert answer.dtype == expected.dtype == np.float32
    np.testing.assert_allclose(answer, expected, rtol=1e-4, atol=1e-6)


def test_one_scorer_takes_any_batch_size(tmp_path: Path) -> None:
    one = scorer.load_scorer("ffnn", "onnx", tmp_path)
    x = zoo.inputs("ffnn", 9, 4)
    together = one.score(x)
    apart = np.concatenate([one.score(x[:2]), one.score(x[2:3]), one.score(x[3:])])
    np.testing.assert_allclose(together, apart, rtol=1e-4, atol=1e-6)


def test_export_is_cached_repaired_and_seeded(tmp_path: Path) -> None:
    path = zoo.export("ffnn", tmp_path, 1)
    content, written = path.read_bytes(), path.stat().st_mtime_ns
    assert zoo.export("ffnn", tmp_path, 1) == path
    assert path.stat().st_mtime_ns == written
    path.write_bytes(content[:-20])  # damaged
    assert zoo.export("ffnn", tmp_path, 1).read_bytes() == content
    path.with_name(path.name + ".sha256").unlink()  # interrupted before the hash
    assert zoo.export("ffnn", tmp_path, 1).read_bytes() == content
    assert zoo.export("ffnn", tmp_path, 2).read_bytes() != content
    assert not list(tmp_path.glob(".*"))


def test_inputs_are_a_function_of_their_arguments() -> None:
    x = zoo.inputs("ffnn", 3, 5)
    assert x.shape == (3, 28, 28)
    assert x.dtype == np.float32
    assert ((x >= 0) & (x < 1)).all()
    np.testing.assert_array_equal(x, zoo.inputs("ffnn", 3, 5))
    assert (x != zoo.inputs("ffnn", 3, 6)).any()


def test_noop_answers_zeros_and_has_no_file(tmp_path: Path) -> None:
    answer = scorer.load_scorer("noop", "onnx", tmp_path).score(np.ones((4, 3), np.float32))
    np.testing.assert_array_equal(answer, np.zeros((4, 1), np.float32))
    np.testing.assert_array_equal(answer, zoo.reference("noop", 0, zoo.inputs("noop", 4, 0)))
    with pytest.raises(ModelError, match=r"no file"):
        zoo.export("noop", tmp_path, 0)


def test_errors_name_what_was_asked_and_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model 'fnn'.*ffnn, .*noop.*did you mean 'ffnn'"):
        zoo.model("fnn")
    with pytest.raises(ModelError, match=r"no runtime 'onx'.*did you mean 'onnx'"):
        scorer.load_scorer("ffnn", "onx", tmp_path)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")
    with pytest.raises(ModelError, match=r"cannot load .*broken\.onnx"):
        scorer.OnnxScorer(zoo.model("ffnn"), broken)


def test_a_third_party_adds_a_model_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        name = "tiny"
        value = "elsewhere:TINY"

        def load(self) -> ModelDef:
            return ModelDef("tiny", (2,), 1, 0, "sum", lambda _seed, x: x.sum(1, keepdims=True))

    def entry_points(group: str, name: str | None = None) -> list[Entry]:
        return [Entry()] if group == "weir.models" and name in (None, "tiny") else []

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    assert zoo.names() == sorted([*zoo.MODELS, "tiny"])
    assert zoo.reference("tiny", 0, np.array([[1, 2]], np.float32)).tolist() == [[3.0]]


def test_every_module_can_be_imported_first() -> None:
    for module in ("definition", "ffnn", "noop", "zoo", "scorer", "payload", "runtimes", "check", "files", "onnx_file"):
        subprocess.run([sys.executable, "-c", f"import models.{module}"], check=True)


def test_command_line(tmp_path: Path) -> None:
    def call(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "models", *args], capture_output=True, text=True, check=False)

    listed = call("list")
    assert listed.returncode == 0
    assert "28,618 parameters" in listed.stdout
    exported = call("export", "ffnn", "-o", str(tmp_path), "--seed", "4")
    assert exported.returncode == 0
    assert Path(exported.stdout.strip()).exists()
    wrong = call("export", "noop", "-o", str(tmp_path))
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "no file to export" in wrong.stderr


def test_the_words_of_a_scenario_are_what_there_is() -> None:
    assert set(registry.MODELS) == set(zoo.MODELS)
    assert set(registry.RUNTIMES) == set(scorer.RUNTIMES)
