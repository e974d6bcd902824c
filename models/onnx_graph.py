"""A network as an ONNX file, written node by node: no training framework takes part."""

from __future__ import annotations

from typing import Any

from models.layers import (
    INPUT,
    Add,
    AveragePool,
    BatchNorm,
    Concat,
    Conv,
    Dense,
    Flatten,
    GlobalAverage,
    Layer,
    MaxPool,
    Network,
    Pair,
    Relu,
    Weights,
)

#: Old enough for every runtime in use; from 15 on a normalisation without training says so itself.
OPSET, IR_VERSION = 15, 8
OUTPUT = "logits"
_CHANNELS_FIRST = "channels_first"


def build(network: Network, weights: Weights) -> bytes:
    """The file: input "input" (batch, *input_shape), output "logits" (batch, outputs), batch axis dynamic."""
    from onnx import TensorProto, helper, numpy_helper

    last = network.layers[-1].name
    names = {INPUT: _CHANNELS_FIRST if network.is_image else INPUT, last: OUTPUT}
    nodes: list[Any] = []
    if network.is_image:
        nodes.append(helper.make_node("Transpose", [INPUT], [_CHANNELS_FIRST], perm=[0, 3, 1, 2]))
    for layer in network.layers:
        operator, arrays, attributes = _operator(layer)
        inputs = [names.get(name, name) for name in layer.inputs] + [f"{layer.name}.{what}" for what in arrays]
        nodes.append(helper.make_node(operator, inputs, [names.get(layer.name, layer.name)], **attributes))
        if isinstance(layer, GlobalAverage):  # (channels, 1, 1) in ONNX
            flat = names.get(layer.name, layer.name)
            nodes[-1].output[0] = f"{layer.name}_1x1"
            nodes.append(helper.make_node("Flatten", [f"{layer.name}_1x1"], [flat], axis=1))
    graph = helper.make_graph(
        nodes,
        network.name,
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", *network.input_shape])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", network.outputs])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    proto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="weir"
    )
    return bytes(proto.SerializeToString(deterministic=True))


def _operator(layer: Layer) -> tuple[str, tuple[str, ...], dict[str, Any]]:
    """Operator, the weights it reads in its order, and attributes."""
    if isinstance(layer, Conv):
        stride = [layer.stride, layer.stride]
        attributes: dict[str, Any] = {"kernel_shape": list(layer.kernel), "strides": stride, "pads": _pads(layer.pad)}
        return "Conv", ("kernel", "bias") if layer.bias else ("kernel",), attributes
    if isinstance(layer, BatchNorm):
        return "BatchNormalization", ("scale", "shift", "mean", "variance"), {"epsilon": layer.epsilon}
    if isinstance(layer, Relu):
        return "Relu", (), {}
    if isinstance(layer, MaxPool):
        size, stride = [layer.kernel] * 2, [layer.stride] * 2
        return "MaxPool", (), {"kernel_shape": size, "strides": stride, "pads": _pads((layer.pad, layer.pad))}
    if isinstance(layer, AveragePool):
        pads = _pads((layer.kernel // 2, layer.kernel // 2))
        return "AveragePool", (), {"kernel_shape": [layer.kernel] * 2, "pads": pads, "count_include_pad": 0}
    if isinstance(layer, GlobalAverage):
        return "GlobalAveragePool", (), {}
    if isinstance(layer, Add):
        return "Add", (), {}
    if isinstance(layer, Concat):
        return "Concat", (), {"axis": 1}
    if isinstance(layer, Flatten):
        return "Flatten", (), {"axis": 1}
    if isinstance(layer, Dense):
        return "Gemm", ("matrix", "bias"), {"transB": 1}
    raise TypeError(f"ONNX has no {type(layer).__name__} here")


def _pads(pad: Pair) -> list[int]:
    return [pad[0], pad[1], pad[0], pad[1]]
