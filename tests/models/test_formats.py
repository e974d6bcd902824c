"""A model's formats and runtimes: equal answers, and what is said of a runtime that is not there."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models import check as check_module
from models import runtimes, scorer, zoo
from models.check import SPREAD, TOLERANCE, check, compare
from models.definition import ModelDef, ModelError, need
from models.ffnn import network, weights
from models.networks import is_perceptron
from models.runtimes import Runtime

Floats = NDArray[np.float32]

FORMATS: Mapping[str, tuple[str, str]] = {
    "torchscript": ("torch", "torch"),
    "savedmodel": ("tensorflow", "tensorflow"),
    "h5": ("tensorflow", "tensorflow"),
}


def needs(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: pip install 'weir[{package}]'")


def test_onnx_of_ffnn_agrees(tmp_path: Path) -> None:
    (found,) = check("ffnn", tmp_path, 3, ["onnx"])
    assert (found.fmt, found.runtime, found.note) == ("onnx", "onnx", "")
    assert found.error is not None
    assert found.error < TOLERANCE / 10
    assert found.bytes == zoo.export("ffnn", tmp_path, 3).stat().st_size


@pytest.mark.filterwarnings("ignore")  # TensorFlow's and Keras' own imports warn of one another
@pytest.mark.parametrize("fmt", FORMATS)
def test_formats_of_other_frameworks_agree(tmp_path: Path, fmt: str) -> None:
    package, runtime = FORMATS[fmt]
    needs(package)
    (found,) = check("ffnn", tmp_path, 3, [fmt])
    assert (found.fmt, found.runtime) == (fmt, runtime)
    assert found.error is not None
    # Any number of points, also of a read-only view, as a binary payload is.
    x = zoo.inputs("ffnn", 5, 1).reshape(5, 784)
    x.flags.writeable = False
    loaded = scorer.load_scorer("ffnn", runtime, tmp_path, 3, fmt)
    together = loaded.score(x)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.concatenate([loaded.score(x[i : i + 1]) for i in range(5)]), together, atol=1e-5)
    np.testing.assert_allclose(together, zoo.reference("ffnn", 3, x), atol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("fmt", FORMATS)
def test_a_framework_that_is_not_installed_is_named(tmp_path: Path, fmt: str) -> None:
    package, runtime = FORMATS[fmt]
    if importlib.util.find_spec(package) is not None:
        pytest.skip(f"{package} is installed: nothing to refuse")
    asked = rf"{package}, .*not installed.*pip install 'weir\[{package}\]'"
    with pytest.raises(ModelError, match=asked):  # of a perceptron, SavedModel and H5 are written without TensorFlow
        zoo.export("ffnn" if fmt == "torchscript" else "resnet50", tmp_path, 0, fmt)
    with pytest.raises(ModelError, match=asked):
        scorer.load_scorer("ffnn", runtime, tmp_path)
    with pytest.raises(ModelError, match=asked):
        scorer.refuse("ffnn", runtime)
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]
    (found,) = check("ffnn", tmp_path, 0, [fmt])
    assert (found.runtime, found.error) == (None, None)
    assert ("torch" if fmt == "torchscript" else "no runtime installed here scores it") in found.note


def test_a_perceptron_is_written_without_its_frameworks(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="Keras files: pip install h5py")
    layers = [tuple(each) for each in weights(3)]
    with h5py.File(zoo.export("ffnn", tmp_path, 3, "h5")) as file:
        assert file.attrs["keras_version"].startswith("2.")
        root = file["model_weights"]
        assert [name.decode() for name in root.attrs["layer_names"]] == ["flat", *(f"dense{i}" for i in range(1, 6))]
        for i, (matrix, bias) in enumerate(layers, 1):
            group = root[f"dense{i}"]
            names = [name.decode() for name in group.attrs["weight_names"]]
            assert names == [f"dense{i}/kernel:0", f"dense{i}/bias:0"]
            assert np.array_equal(group[names[0]], matrix.T)
            assert np.array_equal(group[names[1]], bias)
    saved = zoo.export("ffnn", tmp_path, 3, "savedmodel") / "saved_model.pb"
    assert layers[0][0].T.tobytes() in saved.read_bytes()
    assert is_perceptron(network())
    assert not is_perceptron(dataclasses.replace(network(), layers=network().layers[:-1]))


def test_resnet50_agrees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two points of a network of fifty layers: all its kinds of layers, at their real sizes."""
    seen: list[Floats] = []
    compare = check_module.compare

    def kept(definition: ModelDef, expected: Floats, answer: Floats, what: str = "") -> float:
        seen.append(expected)
        return compare(definition, expected, answer, what)

    monkeypatch.setattr(check_module, "compare", kept)  # what is written is compared before it appears
    answer = scorer.load_scorer("resnet50", "onnx", tmp_path).score(zoo.trial("resnet50", 0, 2).reshape(2, -1))
    (expected,) = seen
    assert answer.shape == expected.shape == (2, 1000)
    assert float(np.abs(answer - expected).max()) < TOLERANCE / 10 * float(np.abs(expected).max())
    assert 1 < np.abs(expected).max() < 100


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["resnet50", "inception-v3", "vgg19"])
def test_deep_networks_agree_in_every_format_here(tmp_path: Path, name: str) -> None:
    found = check(name, tmp_path)
    assert {each.fmt for each in found} == {"onnx", *FORMATS}
    compared = {each.fmt for each in found if each.error is not None}
    assert compared == {"onnx", *(fmt for fmt, (package, _) in FORMATS.items() if importlib.util.find_spec(package))}


def test_a_model_that_is_off_is_told(tmp_path: Path) -> None:
    definition = zoo.model("ffnn")
    expected = zoo.reference("ffnn", 0, zoo.trial("ffnn", 0))
    assert len(expected) == 64
    scale = float(np.abs(expected).max())
    assert float(np.ptp(expected, axis=0).max()) > SPREAD * scale
    assert compare(definition, expected, expected + np.float32(0.9 * TOLERANCE * scale)) < TOLERANCE
    for wrong, message in (
        (expected + np.float32(2 * TOLERANCE * scale), r"model 'ffnn', here: off by 0.0002 of the largest answer"),
        (expected[::-1], "off by"),
        (np.full_like(expected, np.nan), "off by"),
        (expected[:, :9], r"answers of shape \(64, 9\), expected \(64, 10\)"),
    ):
        with pytest.raises(ModelError, match=message):
            compare(definition, expected, wrong, "here")
    constant = np.repeat(expected[:1], 64, 0)
    with pytest.raises(ModelError, match="tell nothing"):
        compare(definition, constant, constant)
    with pytest.raises(ModelError, match="no file"):
        check("noop", tmp_path)


def test_a_file_that_answers_otherwise_never_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    definition = zoo.model("ffnn")
    wrong = dataclasses.replace(definition, forward=lambda seed, x: definition.forward(seed + 1, x))
    monkeypatch.setitem(zoo.MODELS, "ffnn", wrong)
    with pytest.raises(ModelError, match="model 'ffnn', onnx in onnx: off by"):
        zoo.export("ffnn", tmp_path, 0)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


def test_classes_are_compared_by_label() -> None:
    definition = ModelDef("c", (2,), 3, 0, "", lambda _seed, x: x, answers="classes")
    expected = np.array([[3, 1, 0], [0, 2, 1], [0.4, 0.3, 0.3]], np.float32)
    assert compare(definition, expected, expected * 7 + 1) == 0
    with pytest.raises(ModelError, match="1 of 3 labels differ"):
        compare(definition, expected, np.array([[3, 1, 0], [0, 2, 1], [0, 1, 0]], np.float32))
    with pytest.raises(ModelError, match="all are of class 0"):
        compare(definition, expected[[0, 2]], expected[[0, 2]])
    labels = np.array([[5], [6], [5]], np.float32)
    one = ModelDef("c", (2,), 1, 0, "", lambda _seed, x: x, answers="classes")
    assert compare(one, labels, labels + np.float32(0.1)) == 0


def test_a_runtime_from_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import importlib.metadata

    loaded: list[Path] = []

    def load(definition: ModelDef, path: Path) -> scorer.Scorer:
        loaded.append(path)
        return scorer.OnnxScorer(definition, path)

    class Entry:
        name, value = "other", "elsewhere:OTHER"

        def load(self) -> object:
            return held[0]

    held: list[object] = [Runtime("other", ("onnx",), load)]

    def entry_points(group: str, name: str | None = None) -> list[Entry]:
        return [Entry()] if group == "weir.runtimes" and name in (None, "other") else []

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    assert runtimes.names()[-1] == "other"
    assert "other" in [each.name for each in runtimes.scoring("onnx")]
    scorer.load_scorer("ffnn", "other", tmp_path, 2)
    assert loaded == [zoo.export("ffnn", tmp_path, 2)]
    held[0] = "not a runtime"
    with pytest.raises(ModelError, match="is str, not a Runtime"):
        scorer.load_scorer("ffnn", "other", tmp_path, 2)


def test_what_cannot_be_scored_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"runtime onnx scores onnx, model 'ffnn' comes as onnx, .*; h5 was asked for"):
        scorer.load_scorer("ffnn", "onnx", tmp_path, fmt="h5")
    with pytest.raises(ModelError, match=r"no format 'onx'; there are onnx"):
        zoo.export("ffnn", tmp_path, 0, "onx")
    with pytest.raises(ModelError, match=r"has no file to export as pmml: it has onnx"):
        zoo.export("ffnn", tmp_path, 0, "pmml")


def test_a_library_that_does_not_load_is_told_from_one_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "broken_library_a.py").write_text("import no_such_part_of_it\n")
    (tmp_path / "broken_library_b.py").write_text("raise ImportError('libx.so: cannot open')\n")
    with pytest.raises(ModelError, match="x: broken_library_a does not load: No module named 'no_such_part_of_it'"):
        need("broken_library_a", "e", "x")
    with pytest.raises(ModelError, match=r"x: broken_library_b does not load: libx\.so"):
        need("broken_library_b", "e", "x")
    with pytest.raises(ModelError, match=r"x needs broken_library_c, .* pip install 'weir\[e\]'"):
        need("broken_library_c", "e", "x")
