"""TensorFlow's models: frozen graphs and SavedModels, of listed operators only.

A TensorFlow graph is a program: some operators read and write files, call Python or load libraries.  So every operator
that could run, of the graph and of the functions it calls, must be on `OPERATORS` before TensorFlow has the graph.
Of a SavedModel that is what its signature reaches, and what restores its variables, which may besides read the
checkpoint (`RESTORING`); what is not reached is never run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

#: The one list, also of the engines in a JVM, whose jars carry it.
LIST = Path(__file__).parents[1] / "jvm/tensorflow/src/main/resources/weir/tensorflow/operators.txt"


def _listed() -> tuple[frozenset[str], frozenset[str]]:
    """The operators that may serve, and those that may restore variables too."""
    lines = [line for line in LIST.read_text(encoding="ascii").splitlines() if not line.startswith("#")]
    serving, _, restoring = "\n".join(lines).partition("[restoring]")
    return frozenset(serving.split()), frozenset(serving.split()) | frozenset(restoring.split())


OPERATORS, RESTORING = _listed()
_SERVE, _MOST_NODES = "serve", 100_000


class GraphError(ValueError):
    """A graph that is not taken."""


class _Graph:
    """The nodes of a graph and of its functions, by name."""

    def __init__(self, graph: Any) -> None:
        self.nodes = {node.name: node for node in graph.node}
        self.functions = {each.signature.name: each for each in graph.library.function}
        count = len(graph.node) + sum(len(each.node_def) for each in graph.library.function)
        if count > _MOST_NODES:
            raise GraphError(f"{count:,} operators, more than {_MOST_NODES:,}")

    def check(self, names: Iterable[str], allowed: frozenset[str]) -> None:
        """Raises `GraphError` for an operator reached from these nodes that is not allowed."""
        todo, seen = [_node(name) for name in names], set()
        called: list[str] = []
        while todo:
            name = todo.pop()
            if name in seen:
                continue
            seen.add(name)
            if name not in self.nodes:
                raise GraphError(f"there is no node {name!r}")
            called += _checked(self.nodes[name], allowed)
            todo += [_node(each) for each in self.nodes[name].input]
        self._functions(called, allowed)

    def _functions(self, called: list[str], allowed: frozenset[str]) -> None:
        seen: set[str] = set()
        while called:
            name = called.pop()
            if name in seen:
                continue
            seen.add(name)
            if name not in self.functions:
                raise GraphError(f"there is no function {name!r}")
            for node in self.functions[name].node_def:
                called += _checked(node, allowed)


def _node(name: str) -> str:
    return name.lstrip("^").partition(":")[0]


def _checked(node: Any, allowed: frozenset[str]) -> list[str]:
    """The functions that a node of an allowed operator names, in whatever attribute."""
    if node.op not in allowed:
        raise GraphError(f"operator {node.op} (node {node.name!r}) is not on the list of those that are taken")
    found = []
    for value in node.attr.values():
        found += [each.name for each in (value.func, *value.list.func) if each.name]
    return found


class TensorFlowModel:
    """A session of one thread over one input and one output."""

    def __init__(self, session: Any, feed: str, fetch: str) -> None:
        self._session, self._feed, self._fetch = session, feed, fetch

    def score(self, x: Floats) -> Floats:
        """float32 (points, values) -> (points, outputs)."""
        points = len(x)
        answer = self._session.run(self._fetch, {self._feed: np.asarray(x, np.float32)})
        found: Floats = np.asarray(answer, np.float32).reshape(points, -1)
        return found


def _session(graph: Any) -> Any:
    import tensorflow as tf

    one = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=1, inter_op_parallelism_threads=1, device_count={"GPU": 0}
    )
    return tf.compat.v1.Session(graph=graph, config=one)


def frozen(data: bytes) -> TensorFlowModel:
    """A frozen graph: its only placeholder is the input, the only node that no other reads the output.

    Raises:
        GraphError: Not such a graph, or one with an operator that is not taken.
    """
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    try:
        definition = tf.compat.v1.GraphDef.FromString(data)
    except DecodeError as error:
        raise GraphError(f"not a TensorFlow graph: {error}") from None
    graph = _Graph(definition)
    graph.check([node.name for node in definition.node], OPERATORS)
    read = {_node(each) for node in definition.node for each in node.input}
    feeds = [node.name for node in definition.node if node.op.startswith("Placeholder")]
    fetches = [node.name for node in definition.node if node.name not in read and node.op != "NoOp"]
    if len(feeds) != 1 or len(fetches) != 1:
        raise GraphError(f"a graph of one placeholder and one result, not of {len(feeds)} and {len(fetches)}")
    made = tf.Graph()
    with made.as_default():
        tf.import_graph_def(definition, name="")
    return TensorFlowModel(_session(made), f"{feeds[0]}:0", f"{fetches[0]}:0")


def saved(folder: Path) -> TensorFlowModel:
    """A SavedModel: the signature of its tag `serve` that has one input and one output.

    Raises:
        GraphError: Not such a model, or one with an operator that is not taken.
    """
    import tensorflow as tf
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    try:
        content = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    except (OSError, DecodeError) as error:
        raise GraphError(f"not a SavedModel: {error}") from None
    metas = [each for each in content.meta_graphs if _SERVE in each.meta_info_def.tags]
    if len(metas) != 1:
        raise GraphError(f"a SavedModel with one graph for serving, not {len(metas)}")
    meta = metas[0]
    feed, fetch = _signature(meta.signature_def)
    graph = _Graph(meta.graph_def)
    graph.check([feed, fetch], OPERATORS)
    restoring = [each for each in (meta.saver_def.restore_op_name, meta.saver_def.filename_tensor_name) if each]
    started = [name for key in ("saved_model_main_op", "legacy_init_op") for name in _collected(meta, key)]
    signed = [
        meta.signature_def[key].outputs.values() for key in meta.signature_def if key.startswith("__saved_model_")
    ]
    started += [each.name for values in signed for each in values if each.name]
    graph.check([*restoring, *started], RESTORING)
    if meta.asset_file_def:
        raise GraphError("a SavedModel with assets is not taken")
    made = tf.Graph()
    session = _session(made)
    with made.as_default():
        tf.compat.v1.saved_model.loader.load(session, [_SERVE], str(folder))
    return TensorFlowModel(session, feed, fetch)


def _collected(meta: Any, key: str) -> list[str]:
    """Names in a collection of a graph; what else it may hold is refused."""
    found = meta.collection_def.get(key)
    if found is None:
        return []
    if found.WhichOneof("kind") != "node_list":
        raise GraphError(f"a collection {key} that is no list of nodes")
    return list(found.node_list.value)


def _signature(signatures: Mapping[str, Any]) -> tuple[str, str]:
    for name in sorted(signatures, key=lambda each: (each != "serving_default", each)):
        found = signatures[name]
        if not name.startswith("__") and len(found.inputs) == len(found.outputs) == 1:
            (source,), (result,) = found.inputs.values(), found.outputs.values()
            return str(source.name), str(result.name)
    raise GraphError("no signature of one input and one output")
