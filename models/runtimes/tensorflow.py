"""TensorFlow on the CPU: a SavedModel's serving function, a Keras H5 file or a frozen graph; one thread."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.definition import ModelDef, ModelError, need
from models.place import threads
from models.runtimes import Runtime

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

SIGNATURE = "serving_default"


def tensorflow(what: str) -> Any:
    """TensorFlow, quiet, on one thread where no one has used it yet in this process.

    Raises:
        ModelError: It is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    tf = need("tensorflow", "tensorflow", what)
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads())
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:  # its threads are there already: the process had them set up by someone else
        pass
    return tf


class TensorFlowScorer:
    """A loaded SavedModel, H5 file or frozen graph, called as one traced function."""

    def __init__(self, definition: ModelDef, path: Path) -> None:
        """Loads the file.

        Raises:
            ModelError: TensorFlow is not installed, or refuses the file.
        """
        self._tf = tensorflow("runtime tensorflow")
        self._shape = (-1, *definition.input_shape)
        load = self._savedmodel if path.is_dir() else self._graphdef if path.suffix == ".pb" else self._h5
        try:
            self._call: Callable[[Any], Any] = load(path)
        except ModelError:
            raise
        except Exception as error:  # TensorFlow's and Keras' exceptions have no common base
            raise ModelError(f"model {definition.name!r}: TensorFlow cannot load {path}: {error}") from error

    def score(self, x: Floats) -> Floats:
        """See `Scorer.score`."""
        answer: Floats = self._call(self._tf.constant(x.reshape(self._shape))).numpy()
        return answer

    def _savedmodel(self, path: Path) -> Callable[[Any], Any]:
        # The loaded object owns the variables that its functions read.
        self._loaded = self._tf.saved_model.load(str(path))
        function = self._loaded.signatures.get(SIGNATURE)
        if function is None:
            raise ModelError(f"{path} has no signature {SIGNATURE}")
        inputs = list(function.structured_input_signature[1])
        outputs = list(function.structured_outputs)
        if len(inputs) != 1 or not outputs:
            raise ModelError(f"{path}: signature {SIGNATURE} has {len(inputs)} inputs, expected 1")
        name, answer = inputs[0], outputs[0]
        return lambda x: function(**{name: x})[answer]

    def _graphdef(self, path: Path) -> Callable[[Any], Any]:
        tf = self._tf
        graph = tf.compat.v1.GraphDef.FromString(path.read_bytes())
        feeds = [node.name for node in graph.node if node.op == "Placeholder"]
        taken = {name.lstrip("^").partition(":")[0] for node in graph.node for name in node.input}
        ends = [node.name for node in graph.node if node.name not in taken]
        if len(feeds) != 1 or len(ends) != 1:
            raise ModelError(f"{path}: {len(feeds)} placeholders and {len(ends)} ends, expected one of each")
        wrapped = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(graph, name=""), [])
        pruned: Callable[[Any], Any] = wrapped.prune(f"{feeds[0]}:0", f"{ends[0]}:0")
        return pruned

    def _h5(self, path: Path) -> Callable[[Any], Any]:
        keras = need("keras", "tensorflow", "runtime tensorflow")
        tf = self._tf
        loaded = keras.models.load_model(str(path), compile=False)
        batch = tf.TensorSpec((None, *self._shape[1:]), tf.float32)
        traced: Callable[[Any], Any] = tf.function(lambda x: loaded(x, training=False), input_signature=[batch])
        return traced


RUNTIME = Runtime("tensorflow", ("savedmodel", "h5", "graphdef"), TensorFlowScorer, ("tensorflow",), "tensorflow")
