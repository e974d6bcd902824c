"""ffnn: the feed-forward network of the Crayfish benchmark, 784-32-32-32-32-10 with ReLU between, raw logits.

28,618 parameters and about 57 thousand floating point operations a point: a model so small that (de)serialisation
and the clients cost more than scoring does.  Weights are drawn uniform in +-1/sqrt(fan in), the usual initialisation.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from models.definition import ModelDef

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

WIDTHS = (784, 32, 32, 32, 32, 10)
#: Old enough for every runtime in use; Gemm, Relu and Flatten mean the same since.
OPSET, IR_VERSION = 13, 7


def weights(seed: int) -> list[tuple[Floats, Floats]]:
    """The layers' (matrix (fan out, fan in), bias (fan out)), drawn from the seed."""
    import numpy as np

    rng = np.random.default_rng([seed, 0xFF])
    layers = []
    for fan_in, fan_out in pairwise(WIDTHS):
        bound = 1.0 / math.sqrt(fan_in)
        matrix = rng.uniform(-bound, bound, (fan_out, fan_in)).astype(np.float32)
        layers.append((matrix, rng.uniform(-bound, bound, fan_out).astype(np.float32)))
    return layers


def build(seed: int) -> bytes:
    """The ONNX file: input "input" (batch, 28, 28), output "logits" (batch, 10), batch axis dynamic."""
    from onnx import TensorProto, helper, numpy_helper

    nodes = [helper.make_node("Flatten", ["input"], ["h0"], axis=1)]
    initializers = []
    layers = weights(seed)
    for i, (matrix, bias) in enumerate(layers):
        last = i == len(layers) - 1
        initializers += [numpy_helper.from_array(matrix, f"w{i}"), numpy_helper.from_array(bias, f"b{i}")]
        out = "logits" if last else f"z{i}"
        nodes.append(helper.make_node("Gemm", [f"h{i}", f"w{i}", f"b{i}"], [out], transB=1))
        if not last:
            nodes.append(helper.make_node("Relu", [out], [f"h{i + 1}"]))
    graph = helper.make_graph(
        nodes,
        "ffnn",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 28, 28])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", WIDTHS[-1]])],
        initializers,
    )
    proto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="weir"
    )
    return bytes(proto.SerializeToString(deterministic=True))


def forward(seed: int, x: Floats) -> Floats:
    """The same network in numpy."""
    import numpy as np

    h = x.reshape(len(x), -1)
    layers = weights(seed)
    for i, (matrix, bias) in enumerate(layers):
        h = h @ matrix.T + bias
        if i < len(layers) - 1:
            h = np.maximum(h, np.float32(0))
    return h


FFNN = ModelDef(
    name="ffnn",
    input_shape=(28, 28),
    outputs=WIDTHS[-1],
    parameters=sum(i * o + o for i, o in pairwise(WIDTHS)),
    summary="784-32-32-32-32-10, ReLU between, raw logits",
    build=build,
    forward=forward,
)
