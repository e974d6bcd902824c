"""The words a scenario may use for an engine, a runtime and a model.

Adding one is one line here and one file in the room that implements it.  A package from elsewhere adds a word by an
entry point in the group ``weir.engines``, ``weir.runtimes`` or ``weir.models``; only its name is read here, nothing
is imported.
"""

from __future__ import annotations

ENGINES = ("python", "kafka-streams", "flink", "spark", "ray", "standalone", "graph")
RUNTIMES = ("onnx",)
MODELS = ("ffnn", "noop")
BROKERS = ("kafka", "mock", "external")
#: Known to calibrations from elsewhere: predicted, but not run here.
FOREIGN_RUNTIMES = ("savedmodel", "dl4j", "tf-serving", "torchserve")
FOREIGN_MODELS = ("resnet50",)

_BUILT_IN = {"engines": ENGINES, "runtimes": (*RUNTIMES, *FOREIGN_RUNTIMES), "models": (*MODELS, *FOREIGN_MODELS)}


def known(kind: str) -> tuple[str, ...]:
    """Every word of a kind (``engines``, ``runtimes``, ``models``), entry points included."""
    from importlib.metadata import entry_points

    added = (point.name for point in entry_points(group=f"weir.{kind}"))
    return tuple(dict.fromkeys((*_BUILT_IN[kind], *added)))


def is_known(kind: str, word: str) -> bool:
    """Whether a word names something; entry points are only looked at when it is not built in."""
    return word in _BUILT_IN[kind] or word in known(kind)
