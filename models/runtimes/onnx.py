"""ONNX Runtime: one thread and the CPU unless the environment says otherwise (`models.place`), sequential execution."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.definition import ModelDef, ModelError
from models.place import gpu, threads
from models.runtimes import Runtime

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


class OnnxScorer:
    """A session on one file; its input is the points, its first float32 output the answer."""

    def __init__(self, definition: ModelDef, path: Path) -> None:
        """Loads the file.

        Raises:
            ModelError: The runtime refuses the file.
        """
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads()
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3
        try:
            self._session: Any = ort.InferenceSession(str(path), options, providers=_providers(definition))
        except Exception as error:  # onnxruntime's exceptions have no common public base
            raise ModelError(f"model {definition.name!r}: ONNX Runtime cannot load {path}: {error}") from error
        self._shape = (-1, *definition.input_shape)
        self._input = self._session.get_inputs()[0].name
        # A classifier's labels are integers; its scores are the answer.
        outputs = self._session.get_outputs()
        self._outputs = [next((each for each in outputs if each.type == "tensor(float)"), outputs[0]).name]

    def score(self, x: Floats) -> Floats:
        """See `Scorer.score`."""
        answer: Floats = self._session.run(self._outputs, {self._input: x.reshape(self._shape)})[0]
        return answer.reshape(len(x), -1)


def _providers(definition: ModelDef) -> list[Any]:
    """On a GPU nothing falls back to the CPU unseen."""
    import onnxruntime as ort

    number = gpu()
    if number is None:
        return ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        raise ModelError(f"model {definition.name!r}: this ONNX Runtime knows no GPU: pip install onnxruntime-gpu")
    return [("CUDAExecutionProvider", {"device_id": number})]


RUNTIME = Runtime("onnx", ("onnx",), OnnxScorer)
