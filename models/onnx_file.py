"""A user's own ONNX file as a model: what it takes and answers is read from the file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.definition import HEAVY_BYTES, ModelDef, ModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

#: What one protobuf message can hold; whatever is larger keeps its weights outside.
MAX_BYTES = 2**31 - 1


def read(path: Path) -> ModelDef:
    """The model in a file: one float32 input with a free batch axis and fixed others, a float32 output.

    Where it has several outputs, the first of float32 is the answer (a classifier's scores, beside its labels).

    Raises:
        ModelError: There is no such file, it is no ONNX, keeps weights in other files, its input or output is not of
            that kind, or ONNX Runtime refuses it.
    """
    try:
        path = path.resolve(strict=True)
        state = path.stat()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ModelError(f"model {path}: {reason}") from None
    if not path.is_file():
        raise ModelError(f"model {path}: not a file")
    if state.st_size > MAX_BYTES:
        raise ModelError(f"model {path}: {state.st_size:,} bytes, at most {MAX_BYTES:,}")
    return _read(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=8)
def _read(path: Path, _changed_ns: int, _size: int) -> ModelDef:
    from models.runtimes.onnx import OnnxScorer

    proto = _parsed(path)
    if not proto.graph.node:
        raise ModelError(f"model {path}: an ONNX file without a graph")
    if any(_outside(tensor) for tensor in _tensors(proto.graph)):
        raise ModelError(f"model {path}: keeps weights in other files (external data); save it as one file")
    stored = {tensor.name for tensor in proto.graph.initializer}
    inputs = [each for each in proto.graph.input if each.name not in stored]
    if len(inputs) != 1:
        raise ModelError(f"model {path}: {len(inputs)} inputs ({', '.join(i.name for i in inputs)}), expected one")
    input_shape = _point(path, f"input {inputs[0].name!r}", inputs[0])
    answer = _answer(path, proto)
    definition = ModelDef(
        name=path.stem,
        input_shape=input_shape,
        outputs=math.prod(_point(path, f"output {answer.name!r}", answer)),
        parameters=sum(math.prod(tensor.dims) for tensor in proto.graph.initializer),
        summary=f"a file of one's own: {path.name}",
        forward=lambda _seed, x: _forward(path, x),
        file=path,
        heavy=path.stat().st_size > HEAVY_BYTES,
    )
    # Whether it is sound, ONNX Runtime says, now rather than in the middle of a run.
    OnnxScorer(definition, path)
    return definition


def answers_first(path: Path) -> bool:
    """Whether the answer is the first output: a reader that looks at no other will do."""
    import onnx

    graph = _parsed(path).graph
    return bool(graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT)


def _parsed(path: Path) -> Any:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        return onnx.load(str(path), load_external_data=False)
    except OSError as error:
        raise ModelError(f"model {path}: {error.strerror}") from None
    except (DecodeError, ValueError, UnicodeDecodeError) as error:
        raise ModelError(f"model {path}: not an ONNX file: {error}") from None


def _tensors(graph: Any) -> Iterator[Any]:
    """Every stored tensor, those in attributes and in the graphs of control flow included."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    yield from _tensors(inner)


def _outside(tensor: Any) -> bool:
    from onnx import TensorProto

    return bool(tensor.data_location == TensorProto.EXTERNAL)


def _answer(path: Path, proto: Any) -> Any:
    """The first float32 output, its shape worked out from the graph where the file does not say it."""
    import onnx

    def first(graph: Any) -> Any | None:
        return next((o for o in graph.output if o.type.tensor_type.elem_type == onnx.TensorProto.FLOAT), None)

    found = first(proto.graph)
    if found is not None and not found.type.tensor_type.HasField("shape"):
        found = first(onnx.shape_inference.infer_shapes(proto).graph)
    if found is None:
        names = ", ".join(each.name for each in proto.graph.output)
        raise ModelError(f"model {path}: none of its outputs ({names}) is a float32 tensor")
    return found


def _point(path: Path, what: str, value: Any) -> tuple[int, ...]:
    """Shape of one point: a tensor's axes after the first, which must be free."""
    import onnx

    tensor = value.type.tensor_type
    if tensor.elem_type != onnx.TensorProto.FLOAT:
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type).lower() if tensor.elem_type else "no tensor"
        raise ModelError(f"model {path}: {what} is {kind}, expected float32 (export with float inputs)")
    if not tensor.HasField("shape"):
        raise ModelError(f"model {path}: {what} has no shape in the file")
    axes = [axis.dim_value if axis.HasField("dim_value") else axis.dim_param or "?" for axis in tensor.shape.dim]
    shown = "x".join(map(str, axes)) or "a scalar"
    if not axes or isinstance(axes[0], int):
        raise ModelError(
            f"model {path}: {what} is {shown}; its first axis must be free, a batch of any size "
            "(export with a dynamic batch axis)"
        )
    fixed = [axis for axis in axes[1:] if isinstance(axis, int) and axis > 0]
    if len(fixed) < len(axes) - 1:
        raise ModelError(f"model {path}: {what} is {shown}; every axis but the first must be fixed")
    return tuple(fixed)


def _forward(path: Path, x: Floats) -> Floats:
    """What ONNX Runtime answers: for a file of one's own there is no other word on what is right."""
    from models.runtimes.onnx import OnnxScorer

    return OnnxScorer(read(path), path).score(x)
