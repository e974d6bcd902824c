"""Classical models as plain data: their answers against closed forms, and equal in every format and runtime."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from models import runtimes, scorer, zoo
from models.check import TOLERANCE, check
from models.classical import Classical, KernelPcaSvm, KernelSvm, Linear, Mlp, Trees
from models.classical_export import Labels, define, write
from models.classical_npz import read_npz, write_npz
from models.definition import FORMATS, ModelDef, ModelError
from models.wine import KINDS

Floats = NDArray[np.float32]

CLIPPER = ("lightgbm", "kernel-svm", "kpca-svm", "elastic-net")
ALL = (*CLIPPER, *KINDS)
PAIRS = [(name, fmt) for name in ALL for fmt in zoo.MODELS[name].formats]


def f32(*values: float) -> Floats:
    return np.array(values, np.float32)


def stump(threshold: float, low: float, high: float, feature: int = 0) -> Trees:
    """One question: `low` where the feature is at most the threshold."""
    return Trees(
        roots=np.array([0]),
        feature=np.array([feature, -1, -1]),
        threshold=np.array([threshold, 0.0, 0.0]),
        left=np.array([1, 1, 2]),
        right=np.array([2, 1, 2]),
        leaf=f32(0, low, high)[:, None],
        width=2,
    )


def test_a_linear_model_and_its_link() -> None:
    matrix, bias = np.array([[2.0, -1.0]], np.float32), f32(0.5)
    x = np.array([[1, 3], [0, 0]], np.float32)
    np.testing.assert_allclose(Linear(matrix, bias).score(x), [[-0.5], [0.5]])
    np.testing.assert_allclose(Linear(matrix, bias, "gamma").score(x), np.exp([[-0.5], [0.5]]), rtol=1e-6)
    assert Linear(matrix, bias).parameters == 3


def test_trees_ask_at_most_and_add_up() -> None:
    tree = stump(0.5, -1, 2)
    x = np.array([[0.5, 9], [np.nextafter(np.float32(0.5), np.float32(1)), 9]], np.float32)
    np.testing.assert_array_equal(tree.score(x), [[-1], [2]])
    assert tree.parameters == 4


def test_a_perceptron_standardises_first() -> None:
    model = Mlp(((np.array([[1.0, 1.0]], np.float32), f32(0.0)),), f32(1, 2), f32(2, 4), "sigmoid")
    # (3 - 1) / 2 + (-2 - 2) / 4 = 0, whose logistic function is a half.
    np.testing.assert_allclose(model.score(np.array([[3, -2]], np.float32)), [[0.5]])
    extreme = model.score(np.array([[1e9, 0], [-1e9, 0]], np.float32))
    np.testing.assert_allclose(extreme, [[1], [0]])


def test_kernel_machines_against_their_sums_written_out() -> None:
    rng = np.random.default_rng(0)
    support, x = rng.random((5, 3), dtype=np.float32), rng.random((4, 3), dtype=np.float32)
    dual, gamma = rng.normal(size=5).astype(np.float32), 0.7
    expected = [
        0.25 + sum(d * np.exp(-gamma * ((p - s) ** 2).sum()) for d, s in zip(dual, support, strict=True)) for p in x
    ]
    np.testing.assert_allclose(KernelSvm(support, dual, 0.25, gamma).score(x)[:, 0], expected, rtol=1e-5)


def test_kernel_components_of_the_fitted_rows_are_their_eigenvectors() -> None:
    """On the rows it was fitted on, the components are not correlated, and their squares add up to the eigenvalues."""
    from models.kpca_svm import COMPONENTS, fitted

    model = fitted(0)
    kernel = np.exp(-model.gamma * ((model.fitted[:, None].astype(float) - model.fitted[None, :8]) ** 2).sum(axis=2))
    centred = kernel.T - model.row_mean - kernel.mean(axis=0)[:, None] + model.mean
    values = centred @ model.projection
    assert values.shape == (8, COMPONENTS)
    np.testing.assert_allclose(model.score(model.fitted[:8])[:, 0], values @ model.matrix + model.bias, rtol=1e-4)
    whole = np.exp(-model.gamma * _squares(model.fitted))
    whole = whole - whole.mean(axis=0) - whole.mean(axis=1, keepdims=True) + whole.mean()
    components = whole @ model.projection
    gram = components.T @ components
    np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-4 * gram.max())
    np.testing.assert_allclose(np.diag(gram), np.linalg.eigvalsh(whole)[::-1][:COMPONENTS], rtol=1e-3)


def _squares(rows: Floats) -> NDArray[np.float64]:
    wide = rows.astype(np.float64)
    own = (wide * wide).sum(axis=1)
    squares: NDArray[np.float64] = own[:, None] - 2 * wide @ wide.T + own
    return squares


@pytest.mark.parametrize("name", ALL)
def test_the_definition_says_what_the_model_is(name: str, tmp_path: Path) -> None:
    definition = zoo.MODELS[name]
    x = zoo.inputs(name, 3, 1)
    assert x.shape == (3, *definition.input_shape)
    assert zoo.reference(name, 0, x).shape == (3, definition.outputs)
    if "npz" in definition.formats:
        model = read_npz(zoo.export(name, tmp_path, 0, "npz"))
        assert (model.values, model.outputs, model.parameters) == (
            definition.values,
            definition.outputs,
            definition.parameters,
        )
        np.testing.assert_array_equal(model.score(x.reshape(3, -1)), zoo.reference(name, 0, x))


@pytest.mark.filterwarnings("ignore")  # TensorFlow's own imports warn of one another
@pytest.mark.parametrize(("name", "fmt"), PAIRS)
def test_every_format_answers_as_the_reference_does(name: str, fmt: str, tmp_path: Path) -> None:
    if not runtimes.scoring(fmt):
        wanted = [each for each in map(runtimes.runtime, runtimes.names()) if fmt in each.formats]
        pytest.skip(f"{fmt}: {' or '.join(each.name for each in wanted)} is not installed")
    for found in check(name, tmp_path, 1, [fmt]):
        assert found.runtime is not None, found.note
    # Values too, where the check itself looks at classes only; any number of points, also of a read-only view.
    x = zoo.trial(name, 1, 33).reshape(33, -1)
    x.flags.writeable = False
    expected = zoo.reference(name, 1, x)
    for each in runtimes.scoring(fmt):
        loaded = scorer.load_scorer(name, each.name, tmp_path, 1, fmt)
        answer = loaded.score(x)
        assert answer.dtype == np.float32
        assert answer.shape == expected.shape
        assert np.abs(answer - expected).max() <= TOLERANCE * np.abs(expected).max()
        apart = np.concatenate([loaded.score(x[i : i + 1]) for i in range(3)])
        np.testing.assert_allclose(apart, answer[:3], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_the_onnx_file_is_a_valid_model_of_one_float_input(name: str, tmp_path: Path) -> None:
    path = zoo.export(name, tmp_path, 0)
    onnx.checker.check_model(str(path))
    graph = onnx.load(path).graph
    assert [(each.name, each.type.tensor_type.elem_type) for each in graph.input] == [("input", 1)]
    assert [(each.name, each.type.tensor_type.elem_type) for each in graph.output] == [("scores", 1)]


@pytest.mark.parametrize("name", CLIPPER)
def test_a_seed_gives_one_model_and_another_seed_another(name: str, tmp_path: Path) -> None:
    once = zoo.export(name, tmp_path / "a", 0).read_bytes()
    assert zoo.export(name, tmp_path / "b", 0).read_bytes() == once
    assert zoo.export(name, tmp_path / "c", 1).read_bytes() != once


@pytest.mark.parametrize("name", CLIPPER)
def test_the_sizes_of_clippers_driver(name: str) -> None:
    assert zoo.MODELS[name].input_shape == ((2048,) if name == "lightgbm" else (4096,))


KINDS_OF: dict[str, Classical] = {
    "linear": Linear(np.ones((1, 2), np.float32), f32(1), "normal"),
    "trees": stump(0.5, -1, 2),
    "mlp": Mlp(
        ((np.ones((3, 2), np.float32), f32(0, 1, 2)), (np.ones((2, 3), np.float32), f32(0, 1))), last="identity"
    ),
    "kernel-svm": KernelSvm(np.ones((2, 2), np.float32), f32(-1, 1), 0.1, 0.2),
    "kernel-pca-svm": KernelPcaSvm(
        np.eye(2, dtype=np.float32), 0.5, f32(0.1, 0.2), 0.3, np.eye(2, dtype=np.float32), f32(1, 2), 0.4
    ),
}


@pytest.mark.parametrize("kind", KINDS_OF)
def test_an_archive_comes_back_as_it_was_and_always_the_same_bytes(kind: str, tmp_path: Path) -> None:
    model = KINDS_OF[kind]
    for name in ("a", "b"):
        write_npz(model, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    back = read_npz(tmp_path / "a")
    assert type(back) is type(model)
    x = np.random.default_rng(0).random((4, 2), dtype=np.float32)
    np.testing.assert_array_equal(back.score(x), model.score(x))


def _archive(path: Path, **arrays: object) -> Path:
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    return path


def test_archives_that_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with pytest.raises(ModelError, match="no archive of weights"):
        read_npz(path)
    path.write_bytes(b"PK\x03\x04 not an archive")
    with pytest.raises(ModelError, match="no archive of weights"):
        read_npz(path)
    with pytest.raises(ModelError, match="kind 'svm'; there are linear, trees"):
        read_npz(_archive(path, kind="svm"))
    with pytest.raises(ModelError, match="do not fit together"):
        read_npz(_archive(path, kind="linear", matrix=f32(1)))
    with pytest.raises(ModelError, match="bias_0 is missing"):
        read_npz(_archive(path, kind="mlp", matrix_0=f32(1)[None]))
    with pytest.raises(ModelError, match=r"no archive of weights: .*allow_pickle"):
        read_npz(_archive(path, kind="linear", matrix=np.array([{}], object)))


def test_an_archive_whose_tree_runs_in_a_circle_is_refused(tmp_path: Path) -> None:
    tree = stump(0.5, 0, 1)
    circle = Trees(tree.roots, tree.feature, tree.threshold, np.array([0, 1, 2]), tree.right, tree.leaf, 2)
    write_npz(circle, tmp_path / "x.npz")
    with pytest.raises(ModelError, match="child comes before its parent"):
        read_npz(tmp_path / "x.npz")


def test_a_file_of_another_model_is_refused(tmp_path: Path) -> None:
    other = zoo.MODELS["wine-mlp"]
    for fmt in ("npz", "pmml", "lightgbm"):
        for runtime in runtimes.scoring(fmt):
            path = tmp_path / f"x{FORMATS[fmt]}"
            write(stump(0.5, -1, 2), fmt, path, Labels("stump", ("a", "b")))
            with pytest.raises(ModelError, match="takes 2 values"):
                runtime.load(other, path)
            path.write_bytes(b"nothing of the kind")
            with pytest.raises(ModelError, match=r"wine-mlp|no archive"):
                runtime.load(other, path)


def _defined(model: Classical, formats: tuple[str, ...]) -> ModelDef:
    labels = Labels("m", tuple(f"x{i}" for i in range(model.values)))
    return define(labels, lambda _seed: model, formats, outputs=model.outputs, parameters=model.parameters, summary="")


@pytest.mark.parametrize("kind", KINDS_OF)
@pytest.mark.parametrize("fmt", ["onnx", "npz", "lightgbm"])
def test_small_models_in_every_format(kind: str, fmt: str, tmp_path: Path) -> None:
    model = KINDS_OF[kind]
    if fmt == "lightgbm" and kind != "trees":
        with pytest.raises(TypeError, match="no lightgbm form"):
            write(model, fmt, tmp_path / "m", Labels("m", ("a", "b")))
        return
    definition = _defined(model, (fmt,))
    path = tmp_path / f"m{FORMATS[fmt]}"
    definition.formats[fmt](0, path)
    x = np.random.default_rng(1).random((9, 2), dtype=np.float32)
    x[0, 0] = 0.5  # a threshold itself
    for runtime in runtimes.scoring(fmt):
        answer = runtime.load(definition, path).score(x)
        np.testing.assert_allclose(answer, model.score(x), rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("between", ["relu", "sigmoid", "tanh"])
@pytest.mark.parametrize("last", ["softmax", "sigmoid", "identity"])
def test_perceptrons_of_every_activation(between: str, last: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    layers = tuple((rng.normal(size=(o, i)).astype("f4"), rng.normal(size=o).astype("f4")) for i, o in ((2, 4), (4, 3)))
    model = Mlp(layers, f32(0.1, 0.2), f32(2, 3), last, between)  # type: ignore[arg-type]
    fmts = ("onnx", "npz", "graphdef", "savedmodel", *(["pmml"] if last == "softmax" else []))
    definition = _defined(model, ()) if last != "softmax" else _classes(model)
    x = rng.normal(size=(7, 2)).astype(np.float32)
    for fmt in fmts:
        path = tmp_path / f"m{FORMATS[fmt]}"
        write(model, fmt, path, Labels("m", ("a", "b"), classes=("p", "q", "r")))
        for runtime in runtimes.scoring(fmt):
            np.testing.assert_allclose(runtime.load(definition, path).score(x), model.score(x), rtol=1e-4, atol=1e-5)


def _classes(model: Mlp) -> ModelDef:
    labels = Labels("m", ("a", "b"), classes=("p", "q", "r"))
    return define(labels, lambda _seed: model, (), outputs=3, parameters=0, summary="")


def test_lightgbm_and_scikit_learn_give_way_by_name(tmp_path: Path) -> None:
    for name, module in (("sklearn", "sklearn"), ("lightgbm", "lightgbm")):
        if importlib.util.find_spec(module) is not None:
            continue
        with pytest.raises(ModelError, match=r"not installed here: pip install 'weir\[classical\]'"):
            scorer.load_scorer("wine-forest", name, tmp_path)
    with pytest.raises(ModelError, match="runtime lightgbm scores lightgbm, model 'wine-linear' comes as onnx, pmml"):
        scorer.load_scorer("wine-linear", "lightgbm", tmp_path)
