"""Models of TensorFlow from a topic: what is on the list scores, anything else is refused before TensorFlow has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.messages import Descriptor
from real.model_stream.loaders import Loaded, LoadError, Rules, load
from real.model_stream.prepare import corrupted

tf: Any = pytest.importorskip("tensorflow", reason="models of TensorFlow: pip install 'weir[tensorflow]'")
X = np.ones((2, 11), np.float32)


def frozen(data: bytes) -> Loaded:
    return load(Descriptor("m", "", "wine", "tensorflow", data, None, 1), Rules())


def saved(folder: Path) -> Loaded:
    message = Descriptor("m", "", "wine", "savedmodel", None, str(folder), 1)
    return load(message, Rules(roots=(str(folder.parent),)))


def graph(build: Any) -> bytes:
    with tf.Graph().as_default() as made:
        build(tf.compat.v1.placeholder(tf.float32, [None, 11], name="x"))
    return bytes(made.as_graph_def().SerializeToString())


def export(folder: Path, function: Any, **held: Any) -> Path:
    module = tf.Module()
    for name, value in held.items():
        setattr(module, name, value)
    module.f = tf.function(function, input_signature=[tf.TensorSpec([None, 11], tf.float32)])
    tf.saved_model.save(module, str(folder), signatures=module.f)
    return folder


def test_a_frozen_graph_scores() -> None:
    model = frozen(graph(lambda x: tf.identity(tf.nn.relu(x @ tf.ones((11, 3))), name="y")))
    assert model.scorer.score(X).tolist() == [[11.0] * 3] * 2


def test_the_wine_models_of_tensorflow_score(tmp_path: Path) -> None:
    from models.wine import export_all

    answers = []
    for each in export_all(tmp_path):
        if each.format == "graphdef":
            answers.append(frozen(each.path.read_bytes()).scorer.score(X))
        if each.format == "savedmodel":
            answers.append(saved(each.path).scorer.score(X))
    assert [each.shape for each in answers] == [(2, 9)] * 2
    assert np.allclose(answers[0], answers[1])


def test_a_saved_model_with_variables_scores(tmp_path: Path) -> None:
    weights = tf.Variable(np.full((11, 2), 2, np.float32))
    folder = export(tmp_path / "m", lambda x: {"y": x @ weights}, weights=weights)
    assert saved(folder).scorer.score(X).tolist() == [[22.0, 22.0]] * 2
    with pytest.raises(LoadError, match="comes by reference"):
        load(Descriptor("m", "", "wine", "savedmodel", b"x", None, 1), Rules())


def test_what_reads_writes_or_calls_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "written"

    def writes(x: Any) -> None:
        with tf.control_dependencies([tf.io.write_file(str(target), "x")]):
            tf.identity(x, name="y")

    def calls(x: Any) -> None:
        tf.compat.v1.py_func(lambda a: a, [x], tf.float32, name="y")

    for build, words in ((writes, "WriteFile"), (calls, "PyFunc")):
        with pytest.raises(LoadError, match=words):
            frozen(graph(build))
    folder = export(
        tmp_path / "reads",
        lambda x: {"y": x * float(1) + tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), tf.float32)},
    )
    with pytest.raises(LoadError, match="ReadFile"):
        saved(folder)
    folder = export(tmp_path / "loops", lambda x: {"y": tf.while_loop(lambda _: True, lambda a: (a,), (x,))[0]})
    with pytest.raises(LoadError, match="While"):
        saved(folder)
    assert not target.exists()


def test_what_starts_with_a_model_is_looked_at_too(tmp_path: Path) -> None:
    from tensorflow.core.protobuf import saved_model_pb2

    folder = export(tmp_path / "m", lambda x: {"y": x + 1.0})
    path = folder / "saved_model.pb"
    content = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    meta = content.meta_graphs[0]
    with tf.Graph().as_default() as made:
        tf.io.write_file(str(tmp_path / "written"), "x", name="evil")
    meta.graph_def.node.extend(made.as_graph_def().node)
    meta.collection_def["saved_model_main_op"].node_list.value.append("evil")
    path.write_bytes(content.SerializeToString())
    with pytest.raises(LoadError, match="WriteFile"):
        saved(folder)
    assert not (tmp_path / "written").exists()


def test_a_graph_that_is_none_is_refused(tmp_path: Path) -> None:
    for data in (b"", b"\xff\xff", corrupted(graph(lambda x: tf.identity(x, name="y")))):
        with pytest.raises(LoadError):
            frozen(data)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "saved_model.pb").write_bytes(b"\xff")
    with pytest.raises(LoadError, match="not a SavedModel"):
        saved(tmp_path / "m")
