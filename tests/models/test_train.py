"""Training: what is written, that it can be a scenario's model, and the command around it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from models import scorer, zoo
from models.check import Checked
from models.classical_npz import read_npz
from models.definition import MismatchError, ModelError
from models.train import TRAINABLE, save, synthetic, train
from models.wine import KINDS
from models.wine_data import SHIPPED
from scenarios import spec

ROOT = Path(__file__).resolve().parents[2]


def models(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "models", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def rows(path: Path, width: int, labels: list[int], seed: int = 0, *, first: bool = False) -> Path:
    values = np.random.default_rng(seed).random((len(labels), width)).round(4)
    lines = []
    for row, label in zip(values, labels, strict=True):
        cells = [str(label), *map(str, row)] if first else [*map(str, row), str(label)]
        lines.append(",".join(cells))
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def compared(found: list[Checked], fmt: str) -> set[str]:
    return {each.runtime for each in found if each.fmt == fmt and each.runtime is not None}


@pytest.mark.filterwarnings("ignore")  # TensorFlow's own imports warn of one another
@pytest.mark.parametrize("name", KINDS)
def test_a_wine_model_is_trained_saved_and_scored_again(name: str, tmp_path: Path) -> None:
    trained = train(name)
    assert trained.rows == (1279, 320)
    better = (
        trained.held_out > trained.baseline if trained.metric == "accuracy" else trained.held_out < trained.baseline
    )
    assert better
    found = save(trained, tmp_path)
    assert {each.fmt for each in found} == set(KINDS[name].formats)
    assert compared(found, "onnx") == {"onnx"}
    # The same as the zoo's own, which is fitted on the same rows with the same seed.
    np.testing.assert_allclose(
        trained.model.score(trained.trial), zoo.reference(name, 0, trained.trial), rtol=1e-3, atol=1e-5
    )
    own = spec.Model("file", path=str(tmp_path / f"{name}.onnx"))
    answer = scorer.load_scorer(own, "onnx", tmp_path).score(trained.trial)
    np.testing.assert_allclose(answer, trained.model.score(trained.trial), rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_ffnn_learns_synthetic_classes_and_keeps_its_shape(tmp_path: Path) -> None:
    losses: list[str] = []
    trained = train("ffnn", seed=1, epochs=4, say=losses.append)
    assert len(losses) == 4
    assert trained.held_out > 0.8 > 0.2 > trained.baseline
    assert (trained.definition.parameters, trained.definition.input_shape) == (28_618, (28, 28))
    found = save(trained, tmp_path)
    assert compared(found, "onnx") == {"onnx"}
    session = ort.InferenceSession(str(tmp_path / "ffnn.onnx"), providers=["CPUExecutionProvider"])
    x, y = synthetic(1, 300)
    answer = session.run(None, {session.get_inputs()[0].name: x.reshape(-1, 28, 28)})[0]
    assert (answer.argmax(axis=1) == y).mean() > 0.8
    np.testing.assert_allclose(answer, read_npz(tmp_path / "ffnn.npz").score(x), rtol=1e-3, atol=1e-4)
    assert not list(tmp_path.glob(".*"))


def test_the_same_rows_and_seed_give_the_same_model(tmp_path: Path) -> None:
    data = rows(tmp_path / "x.csv", 784, [i % 10 for i in range(60)])
    once, again, other = (train("ffnn", data, seed, epochs=2) for seed in (3, 3, 4))
    x = once.trial
    np.testing.assert_array_equal(once.model.score(x), again.model.score(x))
    assert (once.model.score(x) != other.model.score(x)).any()


def test_a_label_may_come_first(tmp_path: Path) -> None:
    labels = [i % 3 for i in range(40)]
    last = train("ffnn", rows(tmp_path / "a.csv", 784, labels), epochs=1)
    first = train("ffnn", rows(tmp_path / "b.csv", 784, labels, first=True), epochs=1, label_first=True)
    np.testing.assert_array_equal(first.model.score(first.trial), last.model.score(last.trial))


def test_what_cannot_be_trained(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="'resnet50' is not one to train; there are ffnn, wine-linear"):
        train("resnet50")
    with pytest.raises(ModelError, match="19 rows, at least 20"):
        train("wine-linear", rows(tmp_path / "x.csv", 11, [5] * 19))
    with pytest.raises(ModelError, match="class 10; ffnn has the classes 0 to 9"):
        train("ffnn", rows(tmp_path / "x.csv", 784, [10] * 30))
    with pytest.raises(ModelError, match=r"x.csv: quality 0: this model's classes are 3 to 8"):
        train("wine-forest", rows(tmp_path / "x.csv", 11, [0] * 30))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TRAINABLE[1:])
def test_rows_that_are_all_alike_are_no_failure(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("\n".join([";".join(["1"] * 11 + ["5"])] * 30), encoding="utf-8")
    found = save(train(name, path), tmp_path)
    assert all("tell nothing" in each.note or each.runtime is None for each in found), found


def test_a_format_that_answers_otherwise_is_an_error(tmp_path: Path) -> None:
    from dataclasses import replace

    trained = train("wine-linear")
    honest = trained.definition.formats["onnx"]

    def wrong(seed: int, path: Path) -> None:
        honest(seed, path)
        proto = onnx.load(path)
        bias = next(each for each in proto.graph.initializer if each.dims == [1])
        bias.CopyFrom(onnx.numpy_helper.from_array(np.array([99], np.float32), bias.name))
        onnx.save(proto, path)

    bent = replace(trained, definition=replace(trained.definition, formats={"onnx": wrong}))
    with pytest.raises(MismatchError, match="'wine-linear', onnx in onnx: off by"):
        save(bent, tmp_path)


def test_the_command_trains_and_its_file_is_taken(tmp_path: Path) -> None:
    done = models("train", "wine-forest", "--data", SHIPPED, "-o", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["model"], told["rows_fitted"], told["rows_held_out"]) == ("wine-forest", 1279, 320)
    assert told["held_out"] > told["baseline"]
    assert {each["format"] for each in told["files"]} == {"onnx", "lightgbm", "pmml", "npz"}
    checked = models("check", tmp_path / "wine-forest.onnx", "--json")
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout)["outputs"] == 6
    plain = models("train", "wine-linear", "-o", tmp_path)
    assert "wine-linear: rmse 0.6" in plain.stdout
    assert "320 rows kept out" in plain.stdout


def test_the_command_lists_and_exports(tmp_path: Path) -> None:
    listed = json.loads(models("list", "--json").stdout)
    assert [each["name"] for each in listed] == zoo.names()
    assert next(each for each in listed if each["name"] == "wine-linear")["parameters"] == 12
    assert "wine-linear" in models("list").stdout
    done = models("export", "wine-tree-regressor", "-o", tmp_path, "--format", "all")
    assert done.returncode == 0, done.stderr
    paths = [Path(line) for line in done.stdout.splitlines()]
    assert {path.suffix for path in paths} == {".onnx", ".txt", ".pmml", ".npz"}
    assert all(path.parent == tmp_path and path.is_file() for path in paths)


def test_the_command_checks(tmp_path: Path) -> None:
    done = models("check", "wine-linear", "-o", tmp_path, "--format", "onnx", "--format", "pmml")
    assert done.returncode == 0, done.stderr
    assert [line.split()[:3] for line in done.stdout.splitlines()] == [
        ["wine-linear", "onnx", "onnx"],
        ["wine-linear", "pmml", "pmml"],
    ]
    assert all("off by" in line for line in done.stdout.splitlines())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("export", "wine-lineal"), "did you mean 'wine-linear'"),
        (("export", "noop"), "no file to export"),
        (("export", "noop", "--format", "all"), "no file to export"),
        (("export", "wine-linear", "--format", "h5"), "it has onnx, pmml, npz"),
        (("export", "wine-linear", "--format", "exe"), "no format 'exe'; there are onnx"),
        (("export", "wine-linear", "-o", "/dev/null/x"), "cannot be written"),
        (("check", "noop"), "nothing to compare"),
        (("check", "none.onnx"), "No such file"),
        (("train", "noop", "-o", "x"), "not one to train; there are ffnn"),
        (("train", "wine-mlp", "-o", "x", "--data", "none.csv"), "none.csv: cannot be read"),
        (("train", "ffnn", "-o", "x", "--data", str(SHIPPED)), ":2: 12 columns, expected 784 values and a label"),
        (("train", "wine-linear", "-o", "/dev/null/x"), "cannot be written"),
        (("table", "--write", "none.md"), "none.md"),
    ],
)
def test_the_command_refuses_with_one_line(words: tuple[str, ...], message: str) -> None:
    done = models(*words)
    assert done.returncode == 2, done
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stdout == ""
    assert not (ROOT / "x").exists()
