"""The words a scenario may use for an engine, a runtime and a model.

Adding one is one line here and one file in the room that implements it.  A package from elsewhere adds a word by an
entry point in the group ``weir.engines``, ``weir.runtimes``, ``weir.servers`` or ``weir.models``; only its name is read
here, nothing is imported.
"""

from __future__ import annotations

ENGINES = ("python", "kafka-streams", "flink", "pekko", "spark", "ray", "standalone", "graph")
RUNTIMES = ("onnx", "torch", "tensorflow", "sklearn", "lightgbm", "pmml")
MODELS = (
    *("ffnn", "resnet50", "vgg19", "inception-v3", "noop", "sleep"),
    *("lightgbm", "kernel-svm", "kpca-svm", "elastic-net"),
    *("wine-linear", "wine-glm-gaussian", "wine-glm-gamma", "wine-tree-regressor", "wine-tree-classifier"),
    *("wine-forest", "wine-mlp", "wine-tensorflow"),
)
#: The name of a model that is a user's own file (`model: {path: my.onnx}`).
OWN_MODEL = "file"
BROKERS = ("kafka", "mock", "external")
#: Model servers that real starts; a runtime's word with an external server means our own server, weir, with it.
SERVERS = ("weir", "mlserver", "torchserve", "ray-serve", "triton", "tf-serving-protocol")
#: Of engines in a JVM alone (`real/engines/jvm_runtimes.py`).
JVM_RUNTIMES = ("savedmodel", "dl4j", "nd4j")
#: Known to calibrations from elsewhere: predicted, but not run here.
FOREIGN_RUNTIMES = ("tf-serving",)
FOREIGN_MODELS: tuple[str, ...] = ()

_BUILT_IN = {
    "engines": ENGINES,
    "runtimes": (*RUNTIMES, *SERVERS, *JVM_RUNTIMES, *FOREIGN_RUNTIMES),
    "models": (*MODELS, OWN_MODEL, *FOREIGN_MODELS),
}


def known(kind: str) -> tuple[str, ...]:
    """Every word of a kind (``engines``, ``runtimes``, ``models``), entry points included."""
    from importlib.metadata import entry_points

    groups = [f"weir.{kind}", *(["weir.servers"] if kind == "runtimes" else [])]
    added = (point.name for group in groups for point in entry_points(group=group))
    return tuple(dict.fromkeys((*_BUILT_IN[kind], *added)))


def is_known(kind: str, word: str) -> bool:
    """Whether a word names something; entry points are only looked at when it is not built in."""
    return word in _BUILT_IN[kind] or word in known(kind)
