"""Perceptrons as frozen TensorFlow graphs and SavedModels, written without TensorFlow.

Both are protocol buffers of a few fields, and constants stand in the graph, so that there are no variables to save.
Only what is needed of the wire format is here: lengths, varints and fixed floats.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.classical import Mlp

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

#: Names that the graph's ends have.
FEED, FETCH = "dense_1_input", "dense_{last}/{what}"
_FLOAT, _INT = 1, 3  # DataType.DT_FLOAT, DT_INT32
_LAST = {"sigmoid": "Sigmoid", "softmax": "Softmax", "identity": "Identity"}
_BETWEEN = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh"}
#: The graph version that the operations are meant in, and the oldest reader that may try.
_PRODUCER, _MIN_CONSUMER = 27, 12


def fetch_of(model: Mlp) -> str:
    """Name of the operation that yields the answer."""
    return FETCH.format(last=len(model.layers), what=_LAST[model.last])


def graph_bytes(model: Mlp, input_shape: Sequence[int] = ()) -> bytes:
    """A frozen `GraphDef`: fed at `FEED` with float (batch, values), fetched at `fetch_of(model)`.

    Args:
        model: A perceptron.
        input_shape: Of one point, where that is not flat; it is made so first.
    """
    fed = (-1, *(input_shape or (model.values,)))
    nodes = [_node("Placeholder", FEED, (), dtype=_type(_FLOAT), shape=_field(7, _shape(fed)))]
    at = FEED
    if len(fed) > 2:
        nodes.append(_integers("flat/shape", (-1, model.values)))
        nodes.append(_node("Reshape", "flat", (at, "flat/shape"), T=_type(_FLOAT), Tshape=_type(_INT)))
        at = "flat"
    if model.mean is not None and model.scale is not None:
        nodes += [_constant("mean", model.mean), _constant("scale", model.scale)]
        nodes += [_node("Sub", "centred", (at, "mean"), T=_type(_FLOAT))]
        nodes += [_node("RealDiv", "standardised", ("centred", "scale"), T=_type(_FLOAT))]
        at = "standardised"
    for i, (matrix, bias) in enumerate(model.layers, 1):
        scope = f"dense_{i}"
        after = _LAST[model.last] if i == len(model.layers) else _BETWEEN[model.between]
        nodes += [_constant(f"{scope}/kernel", matrix.T), _constant(f"{scope}/bias", bias)]
        off = _varint_field(5, 0)
        nodes.append(
            _node(
                "MatMul",
                f"{scope}/MatMul",
                (at, f"{scope}/kernel"),
                T=_type(_FLOAT),
                transpose_a=off,
                transpose_b=off,
            )
        )
        nodes.append(_node("BiasAdd", f"{scope}/BiasAdd", (f"{scope}/MatMul", f"{scope}/bias"), T=_type(_FLOAT)))
        nodes.append(_node(after, f"{scope}/{after}", (f"{scope}/BiasAdd",), T=_type(_FLOAT)))
        at = f"{scope}/{after}"
    versions = _varint_field(1, _PRODUCER) + _varint_field(2, _MIN_CONSUMER)
    return b"".join(_field(1, node) for node in nodes) + _field(4, versions)


def write_saved_model(model: Mlp, folder: Path, input_shape: Sequence[int] = ()) -> None:
    """Writes a SavedModel folder: tag `serve`, signature `serving_default` from `inputs` to `outputs`.

    Args:
        model: A perceptron.
        folder: Made where it is missing.
        input_shape: As in `graph_bytes`.

    Raises:
        OSError: It cannot be written.
    """
    signature = (
        _field(1, _entry("inputs", _tensor_info(f"{FEED}:0", (-1, *(input_shape or (model.values,))))))
        + _field(2, _entry("outputs", _tensor_info(f"{fetch_of(model)}:0", (-1, model.outputs))))
        + _field(3, b"tensorflow/serving/predict")
    )
    info = _field(4, b"serve") + _field(5, b"2.0.0")  # tags, the TensorFlow it is meant for
    served = _field(5, _entry("serving_default", signature))
    meta_graph = _field(1, info) + _field(2, graph_bytes(model, input_shape)) + served
    (folder / "variables").mkdir(parents=True, exist_ok=True)
    (folder / "saved_model.pb").write_bytes(_varint_field(1, 1) + _field(2, meta_graph))


def _constant(name: str, value: NDArray[np.float32]) -> bytes:
    import numpy as np

    content = np.ascontiguousarray(value, "<f4")
    tensor = _varint_field(1, _FLOAT) + _field(2, _shape(content.shape)) + _field(4, content.tobytes())
    return _node("Const", name, (), dtype=_type(_FLOAT), value=_field(8, tensor))


def _integers(name: str, values: Sequence[int]) -> bytes:
    import numpy as np

    content = np.array(values, "<i4")
    tensor = _varint_field(1, _INT) + _field(2, _shape(content.shape)) + _field(4, content.tobytes())
    return _node("Const", name, (), dtype=_type(_INT), value=_field(8, tensor))


def _node(op: str, name: str, inputs: Sequence[str], **attributes: bytes) -> bytes:
    """A NodeDef; attributes are AttrValue messages."""
    body = _field(1, name.encode()) + _field(2, op.encode())
    body += b"".join(_field(3, each.encode()) for each in inputs)
    return body + b"".join(_field(5, _entry(key, value)) for key, value in sorted(attributes.items()))


def _tensor_info(name: str, shape: Sequence[int]) -> bytes:
    return _field(1, name.encode()) + _varint_field(2, _FLOAT) + _field(3, _shape(shape))


def _shape(shape: Sequence[int]) -> bytes:
    return b"".join(_field(2, _varint_field(1, size)) for size in shape)


def _type(number: int) -> bytes:
    return _varint_field(6, number)


def _entry(key: str, value: bytes) -> bytes:
    """An entry of a map from strings to messages."""
    return _field(1, key.encode()) + _field(2, value)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint_field(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # a negative number takes all ten bytes
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
