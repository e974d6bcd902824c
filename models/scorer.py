"""Scoring inside the engine's own process: a runtime loads a model's file and answers arrays.

A runtime is one function and one line in `RUNTIMES`, or an entry point in the group `weir.runtimes` (name -> the
function).  Runtimes use one thread (Crayfish's setting): parallelism is the engine's, and a core is one worker's.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from models.definition import ModelDef, ModelError
from models.zoo import export, model

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

ENTRY_POINT_GROUP = "weir.runtimes"


class Scorer(Protocol):
    """Answers points."""

    def score(self, x: Floats) -> Floats:
        """Scores points.

        Args:
            x: float32, (points, values) as decoded from a payload, or (points, *input_shape).

        Returns:
            float32 array (points, outputs).
        """
        ...


class NoopScorer:
    """Answers one zero a point."""

    def score(self, x: Floats) -> Floats:
        """See `Scorer.score`; any number of values a point will do."""
        import numpy as np

        return np.zeros((len(x), 1), np.float32)


class OnnxScorer:
    """ONNX Runtime on the CPU, one thread, sequential execution."""

    def __init__(self, definition: ModelDef, path: Path) -> None:
        """Loads the file.

        Raises:
            ModelError: The runtime refuses the file.
        """
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3
        try:
            self._session: Any = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions have no common public base
            raise ModelError(f"model {definition.name!r}: ONNX Runtime cannot load {path}: {error}") from error
        self._shape = (-1, *definition.input_shape)
        self._input = self._session.get_inputs()[0].name
        self._outputs = [self._session.get_outputs()[0].name]

    def score(self, x: Floats) -> Floats:
        """See `Scorer.score`."""
        answer: Floats = self._session.run(self._outputs, {self._input: x.reshape(self._shape)})[0]
        return answer


def _onnx(definition: ModelDef, model_dir: Path, seed: int) -> Scorer:
    return OnnxScorer(definition, export(definition.name, model_dir, seed))


#: runtime -> (model, folder of model files, seed) -> scorer
RUNTIMES: dict[str, Callable[[ModelDef, Path, int], Scorer]] = {
    "onnx": _onnx,
}


def load_scorer(name: str, runtime: str, model_dir: Path | str, seed: int = 0) -> Scorer:
    """Loads a model into a runtime; the model is exported into `model_dir` where it is not there yet.

    Raises:
        ModelError: Unknown model or runtime, or the runtime refuses the file.
    """
    definition = model(name)
    if definition.build is None:
        return NoopScorer()
    loader = RUNTIMES.get(runtime)
    if loader is None:
        from importlib.metadata import entry_points

        for entry in entry_points(group=ENTRY_POINT_GROUP, name=runtime):
            loader = entry.load()
    if loader is None:
        near = difflib.get_close_matches(runtime, RUNTIMES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ModelError(f"no runtime {runtime!r}; there are {', '.join(RUNTIMES)}{hint}")
    return loader(definition, Path(model_dir), seed)
