"""Classical models as ONNX graphs, made node by node: no converter, no training library.

Input "input" (batch, values); output "scores" (batch, outputs), float32.  Trees are one node of
`ai.onnx.ml`, which ONNX Runtime has a kernel for; the rest is built of plain operators.
"""

from __future__ import annotations

from functools import singledispatch
from typing import TYPE_CHECKING, Any

from models.classical import Classical, KernelPcaSvm, KernelSvm, Linear, Mlp, Trees

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

#: Old enough for every runtime in use.
OPSET, ML_OPSET, IR_VERSION = 13, 1, 7
_OPERATOR = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh"}


class _Graph:
    """Nodes and constants under way; every method adds a node and gives the name of what it yields."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Any) -> str:
        import numpy as np
        from onnx import numpy_helper

        name = f"c{len(self.constants)}"
        kind = np.int64 if np.asarray(value).dtype.kind == "i" else np.float32
        self.constants.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def node(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        from onnx import helper

        out = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], **attributes))
        return out


def onnx_bytes(model: Classical, name: str) -> bytes:
    """The ONNX file of a model; equal models give equal bytes.

    Args:
        model: Any kind of `models.classical`.
        name: The graph's name.
    """
    from onnx import TensorProto, helper

    graph = _Graph()
    graph.nodes.append(helper.make_node("Identity", [_add(model, graph)], ["scores"]))
    proto = helper.make_model(
        helper.make_graph(
            graph.nodes,
            name,
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", model.values])],
            [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", model.outputs])],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)],
        ir_version=IR_VERSION,
        producer_name="weir",
    )
    return bytes(proto.SerializeToString(deterministic=True))


@singledispatch
def _add(model: Any, graph: _Graph) -> str:
    raise TypeError(f"no ONNX form of {type(model).__name__}")


@_add.register
def _(model: Linear, graph: _Graph) -> str:
    linear = graph.node("Gemm", ["input", graph.constant(model.matrix), graph.constant(model.bias)], transB=1)
    return graph.node("Exp", [linear]) if model.family == "gamma" else linear


@_add.register
def _(model: Mlp, graph: _Graph) -> str:
    h = "input"
    if model.mean is not None and model.scale is not None:
        h = graph.node("Sub", [h, graph.constant(model.mean)])
        h = graph.node("Div", [h, graph.constant(model.scale)])
    for i, (matrix, bias) in enumerate(model.layers):
        h = graph.node("Gemm", [h, graph.constant(matrix), graph.constant(bias)], transB=1)
        if i < len(model.layers) - 1:
            h = graph.node(_OPERATOR[model.between], [h])
    if model.last == "softmax":
        return graph.node("Softmax", [h], axis=1)
    return h if model.last == "identity" else graph.node(_OPERATOR[model.last], [h])


@_add.register
def _(model: Trees, graph: _Graph) -> str:
    nodes: dict[str, list[Any]] = {
        key: []
        for key in ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids", "hitrates")
    }
    targets: dict[str, list[Any]] = {key: [] for key in ("treeids", "nodeids", "ids", "weights")}
    for tree, span in enumerate(model.trees()):
        for node in span:
            inner = bool(model.feature[node] >= 0)
            nodes["treeids"].append(tree)
            nodes["nodeids"].append(node - span.start)
            nodes["featureids"].append(int(model.feature[node]) if inner else 0)
            nodes["values"].append(float(model.threshold[node]))
            nodes["modes"].append("BRANCH_LEQ" if inner else "LEAF")
            nodes["truenodeids"].append(int(model.left[node]) - span.start if inner else 0)
            nodes["falsenodeids"].append(int(model.right[node]) - span.start if inner else 0)
            nodes["hitrates"].append(1.0)
            if not inner:
                for output in range(model.outputs):
                    targets["treeids"].append(tree)
                    targets["nodeids"].append(node - span.start)
                    targets["ids"].append(output)
                    targets["weights"].append(float(model.leaf[node, output]))
    total = graph.node(
        "TreeEnsembleRegressor",
        ["input"],
        domain="ai.onnx.ml",
        n_targets=model.outputs,
        aggregate_function="SUM",
        post_transform="NONE",
        **{f"nodes_{key}": value for key, value in nodes.items()},
        **{f"target_{key}": value for key, value in targets.items()},
    )
    return total if model.last == "identity" else graph.node(_OPERATOR[model.last], [total])


@_add.register
def _(model: KernelSvm, graph: _Graph) -> str:
    # Not the one node SVMRegressor: it adds up thousands of squares one after the other in float32, which costs
    # digits (and time) that a matrix product does not.
    kernel = _rbf(model.support, model.gamma, graph)
    linear = graph.node("MatMul", [kernel, graph.constant(model.dual[:, None])])
    return graph.node("Add", [linear, graph.constant(float(model.bias))])


@_add.register
def _(model: KernelPcaSvm, graph: _Graph) -> str:
    import numpy as np

    kernel = _rbf(model.fitted, model.gamma, graph)
    # Centring: the fitted columns' means, the row's own mean, the mean of all.
    own_mean = graph.node("ReduceMean", [kernel], axes=[1], keepdims=1)
    centred = graph.node("Sub", [kernel, graph.constant(model.row_mean.astype(np.float64) - model.mean)])
    components = graph.node("MatMul", [graph.node("Sub", [centred, own_mean]), graph.constant(model.projection)])
    linear = graph.node("MatMul", [components, graph.constant(model.matrix[:, None])])
    return graph.node("Add", [linear, graph.constant(float(model.bias))])


def _rbf(rows: NDArray[np.float32], gamma: float, graph: _Graph) -> str:
    """The radial kernel of the input and some rows, (batch, rows)."""
    import numpy as np

    # |x - y|^2 = |x|^2 - 2 x.y + |y|^2, so that one matrix product does the work.
    own = graph.node("ReduceSumSquare", ["input"], axes=[1], keepdims=1)
    theirs = (rows.astype(np.float64) ** 2).sum(axis=1)
    cross = graph.node("MatMul", ["input", graph.constant(np.float32(-2.0) * rows.T)])
    square = graph.node("Add", [graph.node("Add", [cross, own]), graph.constant(theirs)])
    return graph.node("Exp", [graph.node("Mul", [square, graph.constant(-gamma)])])
