"""`model: {path: ...}`: what is read from a user's file, what is refused, and payloads made for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from models import scorer, zoo
from models.check import check
from models.definition import ModelError
from models.onnx_file import answers_first
from models.payload import parse_input, payload_pool
from scenarios.errors import ScenarioError
from scenarios.load import load
from scenarios.spec import Model, Payload, Scenario, Workload

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
Axes = Sequence[int | str | None] | None


def graph_of(
    axes: Axes = ("n", 3, 2),
    kind: int = FLOAT,
    outputs: Sequence[tuple[str, int, Axes]] = (("sums", FLOAT, ("n", 2)),),
    nodes: Sequence[Any] | None = None,
    inputs: Sequence[str] = ("x",),
) -> Any:
    """Sums over the middle axis, its parts replaceable."""
    made = nodes if nodes is not None else [helper.make_node("ReduceSum", ["x", "axis"], ["sums"], keepdims=0)]
    return helper.make_graph(
        made,
        "sums",
        [helper.make_tensor_value_info(name, kind, axes) for name in inputs],
        [helper.make_tensor_value_info(name, elem, shape) for name, elem, shape in outputs],
        [numpy_helper.from_array(np.array([1], np.int64), "axis")],
    )


def save(path: Path, graph: Any) -> Path:
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    return path


def own(path: Path) -> Model:
    return Model("file", path=str(path))


def test_shapes_are_read_and_the_model_scores(tmp_path: Path) -> None:
    model = own(save(tmp_path / "my sums.onnx", graph_of()))
    definition = zoo.model(model)
    assert (definition.name, definition.input_shape, definition.outputs, definition.parameters) == (
        "my sums",
        (3, 2),
        2,
        1,
    )
    assert definition.scored
    x = zoo.inputs(model, 5, 1)
    assert x.shape == (5, 3, 2)
    answer = scorer.load_scorer(model, "onnx", tmp_path / "unused").score(x.reshape(5, 6))
    np.testing.assert_allclose(answer, x.sum(1), rtol=1e-6)
    np.testing.assert_allclose(zoo.reference(model, 0, x), x.sum(1), rtol=1e-6)
    assert zoo.export(model, tmp_path / "unused") == (tmp_path / "my sums.onnx")
    assert not (tmp_path / "unused").exists()
    (checked,) = check(model, tmp_path)
    assert (checked.runtime, checked.error) == ("onnx", 0)


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    model = own(save(tmp_path / "m.onnx", graph_of()))
    assert zoo.model(model).input_shape == (3, 2)
    save(tmp_path / "m.onnx", graph_of(axes=("n", 17, 2)))
    assert zoo.model(model).input_shape == (17, 2)


def test_a_classifiers_scores_are_its_answer(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ReduceSum", ["x", "axis"], ["sums"], keepdims=0),
        helper.make_node("ArgMax", ["sums"], ["label"], axis=1, keepdims=0),
    ]
    outputs = [("label", INT64, ("n",)), ("sums", FLOAT, ("n", 2))]
    path = save(tmp_path / "c.onnx", graph_of(nodes=nodes, outputs=outputs))
    x = zoo.inputs(own(path), 4, 0)
    np.testing.assert_allclose(scorer.load_scorer(own(path), "onnx", tmp_path).score(x), x.sum(1), rtol=1e-6)
    assert not answers_first(path)
    assert answers_first(save(tmp_path / "d.onnx", graph_of()))


def test_an_output_of_one_axis_is_one_value_a_point(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ReduceSum", ["x", "axis"], ["s"], keepdims=0),
        helper.make_node("ReduceSum", ["s", "axis"], ["sums"], keepdims=0),
    ]
    model = own(save(tmp_path / "m.onnx", graph_of(nodes=nodes, outputs=[("sums", FLOAT, ("n",))])))
    assert zoo.model(model).outputs == 1
    x = zoo.inputs(model, 3, 0)
    np.testing.assert_allclose(zoo.reference(model, 0, x), x.sum((1, 2))[:, None], rtol=1e-6)


def test_an_output_without_a_shape_gets_it_from_the_graph(tmp_path: Path) -> None:
    model = own(save(tmp_path / "m.onnx", graph_of(outputs=[("sums", FLOAT, None)])))
    assert zoo.model(model).outputs == 2


Write = Callable[[Path], object]
WRONG: dict[str, tuple[Write, str]] = {
    "not there": (lambda path: None, "No such file"),
    "a folder": (lambda path: path.mkdir(), "not a file"),
    "empty": (lambda path: path.write_bytes(b""), "an ONNX file without a graph"),
    "no ONNX": (lambda path: path.write_bytes(b"PK\x03\x04 something else"), "not an ONNX file"),
    "unsound": (
        lambda path: save(path, graph_of(nodes=[helper.make_node("NoSuch", ["x"], ["sums"])])),
        "ONNX Runtime cannot load",
    ),
    "fixed batch": (
        lambda path: save(path, graph_of(axes=(1, 3, 2))),
        r"input 'x' is 1x3x2; its first axis must be free",
    ),
    "another free axis": (
        lambda path: save(path, graph_of(axes=("n", "rows", 2))),
        r"input 'x' is nxrowsx2; every axis but the first must be fixed",
    ),
    "unnamed free axis": (lambda path: save(path, graph_of(axes=("n", None, 2))), r"nx\?x2; every axis but the first"),
    "no shape": (lambda path: save(path, graph_of(axes=None)), r"input 'x' has no shape in the file"),
    "doubles": (
        lambda path: save(path, graph_of(kind=TensorProto.DOUBLE, outputs=[("sums", TensorProto.DOUBLE, ("n", 2))])),
        r"input 'x' is double, expected float32",
    ),
    "two inputs": (lambda path: save(path, graph_of(inputs=("x", "y"))), r"2 inputs \(x, y\), expected one"),
    "no float output": (
        lambda path: save(
            path,
            graph_of(
                nodes=[helper.make_node("ArgMax", ["x"], ["sums"], axis=1, keepdims=0)],
                outputs=[("sums", INT64, ("n", 2))],
            ),
        ),
        r"none of its outputs \(sums\) is a float32 tensor",
    ),
    "fixed output": (
        lambda path: save(path, graph_of(outputs=[("sums", FLOAT, (4, 2))])),
        r"output 'sums' is 4x2; its first axis must be free",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_will_not_do_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "m.onnx"
    write, message = WRONG[name]
    write(path)
    with pytest.raises(ModelError, match=message) as caught:
        zoo.model(own(path))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("inside", ["initializer", "attribute", "branch"])
def test_weights_in_other_files_are_refused(tmp_path: Path, inside: str) -> None:
    """Wherever they hide: reading them would read files of the writer's choosing."""
    tensor = numpy_helper.from_array(np.ones(2, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../secret"
    constant = helper.make_node("Constant", [], ["w"], value=tensor)
    graph = graph_of()
    if inside == "initializer":
        graph.initializer.append(tensor)
    elif inside == "attribute":
        graph.node.insert(0, constant)
    else:
        shape = [helper.make_tensor_value_info("w", FLOAT, [2])]
        branch = helper.make_graph([constant], "branch", [], shape)
        flag = helper.make_node("Constant", [], ["flag"], value=numpy_helper.from_array(np.array(True), "f"))
        graph.node.extend([flag, helper.make_node("If", ["flag"], ["w"], then_branch=branch, else_branch=branch)])
    (tmp_path / "secret").write_bytes(b"x" * 8)
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "m.onnx").write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()
    )
    with pytest.raises(ModelError, match=r"keeps weights in other files \(external data\)"):
        zoo.model(own(folder / "m.onnx"))


@pytest.mark.parametrize("fmt", ["json", "binary"])
def test_payloads_are_of_the_files_shape(tmp_path: Path, fmt: str) -> None:
    model = own(save(tmp_path / "m.onnx", graph_of()))
    workload = Workload(points=3, seed=9, payload=Payload(format=fmt, pool=4))  # type: ignore[arg-type]
    pool = payload_pool(Scenario(model=model, workload=workload))
    assert len(pool) == 4
    values = np.concatenate([parse_input(fmt, data).values for data in pool])
    np.testing.assert_allclose(values.reshape(12, 3, 2), zoo.inputs(model, 12, 9), rtol=1e-6)


BASE = "workload: {arrival: {rate: 5 /s}}\n"


def test_a_scenario_names_it_relative_to_itself(tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    save(folder / "m.onnx", graph_of())
    (folder / "s.yaml").write_text(BASE + "model: {path: m.onnx}\n")
    model = load(folder / "s.yaml").model
    assert (model.name, model.label) == ("file", "file m")
    assert zoo.model(model).input_shape == (3, 2)
    (tmp_path / "s.yaml").write_text(BASE + "model: vgg19\n")
    over = load(tmp_path / "s.yaml", [f"model.path={folder / 'm.onnx'}"]).model
    assert (over.name, zoo.model(over).name) == ("file", "m")


@pytest.mark.parametrize(
    ("model", "key", "message"),
    [
        ("file", "model", r"a model of one's own is its file; write path: my\.onnx"),
        ("{path: ''}", "model.path", "at least 1 character"),
        ("{name: ffnn, base: 2 ms}", "model.base", "only the model sleep has base"),
        ("{path: m.onnx, each: 2 ms}", "model.each", "only the model sleep has each"),
        ("{name: sleep, base: 2}", "model.base", "unit"),
    ],
)
def test_a_model_section_that_means_nothing_is_told(tmp_path: Path, model: str, key: str, message: str) -> None:
    (tmp_path / "s.yaml").write_text(BASE + f"model: {model}\n")
    with pytest.raises(ScenarioError, match=message) as caught:
        load(tmp_path / "s.yaml")
    assert f"{key}: " in str(caught.value)
