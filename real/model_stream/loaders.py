"""From a model's bytes to something that scores; by format, and without running anything that a model brings.

A model comes from a topic, so from whoever may write there.  Per format:

- `onnx`: parsed first; tensors that lie in other files, operators from elsewhere than ONNX itself, and loops (which may
  never end) are refused; then ONNX Runtime.
- `lightgbm`: LightGBM's text, read by `real.model_stream.lightgbm_text`.
- `pmml`: read by `models.pmml_read`; document types and entities are refused.
- `tensorflow`: a frozen graph; every operator must be on a list (`real.model_stream.tensorflow_graph`) before
  TensorFlow sees it.
- `savedmodel`: a folder, by reference only; the same list.

No format that runs code on loading (pickle, TorchScript, Keras lambdas) is here, and none should be added.  A new one
is a function and a line in `LOADERS`.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.messages import Descriptor
from real.model_stream.location import LocationError, fetch_folder, read

Floats = NDArray[np.float32]
#: A model is at most so large.
MODEL_BYTES = 64 << 20
_ONNX_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
_ONNX_REFUSED = ("Loop", "Scan")


class LoadError(Exception):
    """A model that is not taken; the message says why."""


class Scorer(Protocol):
    """Answers points."""

    def score(self, x: Floats) -> Floats:
        """float32 (points, values) -> (points, outputs)."""
        ...


@dataclass(frozen=True)
class Rules:
    """What is taken.

    Attributes:
        roots: Below which locations are read.
        max_bytes: Of a model.
        formats: That are taken; None: all of `LOADERS`.
    """

    roots: Sequence[str] = ()
    max_bytes: int = MODEL_BYTES
    formats: Sequence[str] | None = None


@dataclass(frozen=True)
class Loaded:
    """A model that scores.

    Attributes:
        message: Where it came from; by value, whatever it was (a folder stays by reference).
        scorer: Answers points.
    """

    message: Descriptor
    scorer: Scorer = field(repr=False)

    @property
    def which(self) -> tuple[str, int]:
        """Name and version, as an output carries them."""
        return self.message.name, self.message.version

    @property
    def size_bytes(self) -> int:
        """Of its file."""
        return len(self.message.data or b"")


class OnnxModel:
    """ONNX Runtime, one thread; the first output that is float32 is the answer, as (points, outputs)."""

    def __init__(self, data: bytes) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 4
        self._session: Any = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or inputs[0].type != "tensor(float)":
            raise LoadError(f"an ONNX model of one float32 input, not of {[each.type for each in inputs]}")
        named = [each.name for each in outputs if each.type == "tensor(float)"]
        if not named:
            raise LoadError("an ONNX model without a float32 output")
        self._input, self._output = inputs[0].name, named[:1]
        inner = list(inputs[0].shape[1:])
        self._shape = (-1, *inner) if all(isinstance(size, int) for size in inner) else None

    def score(self, x: Floats) -> Floats:
        """See `Scorer.score`."""
        points = len(x)
        answer = self._session.run(self._output, {self._input: x if self._shape is None else x.reshape(self._shape)})
        found: Floats = np.asarray(answer[0], np.float32).reshape(points, -1)
        return found


def _onnx_checked(data: bytes) -> None:
    """Raises `LoadError` for what an ONNX model may not hold."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.ModelProto.FromString(data)
    except DecodeError as error:
        raise LoadError(f"not an ONNX model: {error}") from None
    if not model.graph.node:
        raise LoadError("not an ONNX model: it computes nothing")
    todo: list[Any] = [model.graph, *model.functions]
    while todo:
        graph = todo.pop()
        tensors = list(getattr(graph, "initializer", ()))
        tensors += [
            part for sparse in getattr(graph, "sparse_initializer", ()) for part in (sparse.values, sparse.indices)
        ]
        for node in graph.node:
            if node.domain not in _ONNX_DOMAINS and not any(f.domain == node.domain for f in model.functions):
                raise LoadError(f"operator {node.domain}::{node.op_type} is none of ONNX")
            if node.op_type in _ONNX_REFUSED:
                raise LoadError(f"operator {node.op_type}: a loop may never end")
            for attribute in node.attribute:
                tensors += [attribute.t, *attribute.tensors]
                for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                    tensors += [sparse.values, sparse.indices]
                todo += [attribute.g, *attribute.graphs]
        if any(each.external_data or each.data_location == onnx.TensorProto.EXTERNAL for each in tensors):
            raise LoadError("a tensor that lies in another file")


def _onnx(data: bytes) -> Scorer:
    _onnx_checked(data)
    return OnnxModel(data)


def _lightgbm(data: bytes) -> Scorer:
    from real.model_stream.lightgbm_text import LightGbmError, read_model

    try:
        return read_model(data)
    except LightGbmError as error:
        raise LoadError(f"not LightGBM's text: {error}") from None


def _pmml(data: bytes) -> Scorer:
    from models.pmml_read import read_pmml

    found: Scorer = read_pmml(data)
    return found


def _tensorflow(data: bytes) -> Scorer:
    _needs_tensorflow()
    from real.model_stream.tensorflow_graph import frozen

    return frozen(data)


def _needs_tensorflow() -> None:
    if importlib.util.find_spec("tensorflow") is None:
        raise LoadError("TensorFlow is not installed: pip install 'weir[tensorflow]'")


#: format -> bytes to scorer; it raises whatever it likes, which is a load that failed.
LOADERS: dict[str, Callable[[bytes], Scorer]] = {
    "onnx": _onnx,
    "lightgbm": _lightgbm,
    "pmml": _pmml,
    "tensorflow": _tensorflow,
}


def prepare() -> None:
    """Imports what loading needs, so that the first model does not wait for it."""
    import onnx  # noqa: F401
    import onnxruntime  # noqa: F401

    import models.pmml_read  # noqa: F401
    import real.model_stream.lightgbm_text  # noqa: F401


#: Formats that are folders.
FOLDERS = ("savedmodel",)


def load(message: Descriptor, rules: Rules) -> Loaded:
    """Loads a model, by value or by reference.

    Raises:
        LoadError: It is not taken: unknown format, too large, corrupt, not there, or against a format's rules.
    """
    known = [*LOADERS, *FOLDERS] if rules.formats is None else list(rules.formats)
    if message.format not in known:
        raise LoadError(f"model {message.name!r}: unknown format {message.format!r}; there are {', '.join(known)}")
    try:
        if message.format in FOLDERS:
            return _folder(message, rules)
        data = message.data
        if data is None:
            data = read(message.location or "", rules.roots, rules.max_bytes)
        if len(data) > rules.max_bytes:
            raise LoadError(f"{len(data):,} bytes, more than {rules.max_bytes:,}")
        scorer = LOADERS[message.format](data)
    except (LoadError, LocationError) as error:
        raise LoadError(f"model {message.name!r}: {error}") from None
    except Exception as error:  # noqa: BLE001 - whatever a parser or runtime raises, the model is not taken
        raise LoadError(f"model {message.name!r}: {type(error).__name__}: {error}") from None
    kept = Descriptor(
        message.name, message.description, message.type, message.format, data, None, message.version
    )  # by value, so that a restart needs no location
    return Loaded(kept, scorer)


def _folder(message: Descriptor, rules: Rules) -> Loaded:
    if message.location is None:
        raise LoadError("a SavedModel is a folder: it comes by reference")
    _needs_tensorflow()
    from real.model_stream.tensorflow_graph import saved

    with tempfile.TemporaryDirectory(prefix="weir-model-") as folder:
        return Loaded(message, saved(fetch_folder(message.location, rules.roots, rules.max_bytes, Path(folder))))
