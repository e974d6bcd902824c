"""The wine models: the data, the nine files, what the models are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models import zoo
from models.classical import Mlp, Trees
from models.classical_tensorflow import FEED, fetch_of, graph_bytes
from models.definition import FORMATS, ModelError
from models.wine import KINDS, NINE, TF_CLASSES, export_all, fitted, labels, wines
from models.wine_data import FEATURES, QUALITIES, SHIPPED, wine_rows


def test_the_shipped_data() -> None:
    x, y = wine_rows()
    assert x.shape == (1599, 11) == (1599, len(FEATURES))
    assert dict(zip(*np.unique(y, return_counts=True), strict=True)) == {3: 10, 4: 53, 5: 681, 6: 638, 7: 199, 8: 18}
    assert x[0].tolist() == pytest.approx([7.4, 0.7, 0, 1.9, 0.076, 11, 34, 0.9978, 3.51, 0.56, 9.4])
    assert len(np.unique(np.column_stack([x, y]), axis=0)) == 1359
    assert SHIPPED.with_name("README.md").read_text(encoding="utf-8").count("Cortez") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no rows"),
        ("a;b\n", "no rows"),
        ("1;2\n", "x.csv:1: 2 columns, expected 11 values and a label"),
        (";".join("1" * 12) + "\n" + ";".join(["1"] * 10 + ["x", "5"]), "x.csv:2: 'x', expected a number"),
        (";".join(["nan"] + ["1"] * 11) + "\n" + ";".join(["1"] * 10 + ["nan", "5"]), "x.csv:2: 'nan', expected"),
        (";".join(["1"] * 10 + ["1e39", "5"]), "'1e39', expected a number"),
        (";".join(["1"] * 11 + ["5.5"]), "label '5.5', expected a whole number"),
        (";".join(["1"] * 11 + ["9"]), "quality 9, expected 0 to 8"),
    ],
)
def test_data_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ModelError) as refused:
        wine_rows(path)
    assert message in str(refused.value)


def test_data_that_are_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        wine_rows(tmp_path / "none.csv")
    with pytest.raises(ModelError, match="cannot be read"):
        wine_rows(tmp_path)
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe1;2")
    with pytest.raises(ModelError, match="not a CSV file"):
        wine_rows(tmp_path / "x.csv")


def test_commas_and_a_file_without_names_will_do(tmp_path: Path) -> None:
    lines = SHIPPED.read_text(encoding="utf-8").splitlines()
    path = tmp_path / "x.csv"
    path.write_text("\n".join(lines[1:]).replace(";", ","), encoding="utf-8")
    for a, b in zip(wine_rows(path), wine_rows(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", KINDS)
def test_a_model_has_learned_something_and_says_its_size(name: str) -> None:
    x, y = wine_rows()
    model, classes = fitted(name, 0), KINDS[name].classes
    assert model.parameters == zoo.MODELS[name].parameters
    answer = model.score(x)
    if classes:
        found = np.array([int(each) for each in classes])[answer.argmax(axis=1)]
        assert (found == y).mean() > 0.55 > (y == 5).mean()
        assert len(np.unique(found)) >= 3
    else:
        assert ((answer[:, 0] - y) ** 2).mean() < 0.7 * y.var()
    np.testing.assert_array_equal(answer, fitted(name, 0).score(x))
    assert (fitted(name, 1).score(x) != answer).any()


def test_the_shapes() -> None:
    forest, tree, tf = fitted("wine-forest", 0), fitted("wine-tree-regressor", 0), fitted("wine-tensorflow", 0)
    assert isinstance(forest, Trees)
    assert isinstance(tree, Trees)
    assert len(forest.trees()) == 10
    assert len(tree.feature) == 63
    assert len(fitted("wine-tree-classifier", 0).feature) == 61  # type: ignore[attr-defined]
    assert isinstance(tf, Mlp)
    assert [tuple(matrix.shape) for matrix, _ in tf.layers] == [(12, 11), (8, 12), (9, 8)]
    assert tf.parameters == 329
    assert TF_CLASSES[QUALITIES[0]] == str(QUALITIES[0])


def test_inputs_are_wines() -> None:
    x, _ = wine_rows()
    rows = {row.tobytes() for row in x}
    drawn = zoo.inputs("wine-mlp", 20, 4)
    np.testing.assert_array_equal(drawn, wines(20, 4))
    assert all(row.tobytes() in rows for row in drawn)
    assert (drawn != zoo.inputs("wine-mlp", 20, 5)).any()


def test_nine_files_of_the_sizes_of_a_model_servers_demonstration(tmp_path: Path) -> None:
    files = export_all(tmp_path / "new" / "folder")
    assert [(each.name, each.format) for each in files] == list(NINE)
    assert len({each.path for each in files}) == 9
    assert len({each.format for each in files}) == 5
    for each in files:
        assert each.path.name == f"{each.name}{FORMATS[each.format]}"
        assert each.path.is_dir() == (each.format == "savedmodel")
        assert 1_800 <= each.size_bytes <= 330_000
        assert (each.task == "classifier") == bool(each.classes)
    assert max(each.size_bytes for each in files) > 300_000
    before = {each.path: each.path.stat().st_mtime_ns for each in files}
    again = export_all(tmp_path / "new" / "folder")
    assert [each.size_bytes for each in again] == [each.size_bytes for each in files]
    assert all(each.path.stat().st_mtime_ns > before[each.path] for each in again)
    assert not list((tmp_path / "new" / "folder").glob(".*"))


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        export_all(tmp_path / "file")


def _fields(data: bytes) -> list[tuple[int, int | bytes]]:
    """The fields of a protocol buffer, read by number and length alone."""
    found: list[tuple[int, int | bytes]] = []
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            found.append((key >> 3, varint()))
        else:
            assert key & 7 == 2
            size = varint()
            assert at + size <= len(data)
            found.append((key >> 3, data[at : at + size]))
            at += size
    return found


def test_the_frozen_graph_holds_the_weights_under_its_names() -> None:
    model = fitted("wine-tensorflow", 0)
    assert isinstance(model, Mlp)
    nodes = {}
    for number, node in _fields(graph_bytes(model)):
        if number == 1:
            assert isinstance(node, bytes)
            parts = _fields(node)
            name = next(value for n, value in parts if n == 1)
            nodes[name] = next(value for n, value in parts if n == 2), [value for n, value in parts if n == 3]
            if nodes[name][0] == b"Const" and name == b"dense_2/kernel":
                assert np.ascontiguousarray(model.layers[1][0].T).tobytes() in node
    assert nodes[FEED.encode()] == (b"Placeholder", [])
    assert nodes[fetch_of(model).encode()] == (b"Sigmoid", [b"dense_3/BiasAdd"])
    assert fetch_of(model) == "dense_3/Sigmoid"
    taken = {each for _, inputs in nodes.values() for each in inputs}
    assert taken <= set(nodes)


def test_labels_name_the_data() -> None:
    assert labels("wine-mlp").fields == FEATURES
    assert "Cortez" in labels("wine-linear").origin
