"""Streams of models for tests: small models that anyone can build, and a run whose topics are still there after it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.runs import Run, read_run
from models.messages import Descriptor
from real.model_stream.cast import models_topic
from real.model_stream.loaders import LoadError, Rules, load
from real.model_stream.recount import Recount, recount
from real.session import Session
from scenarios.load import load as load_scenario

#: Two models before a death: what is restored after it is the second, with its description.
BEFORE_A_DEATH = (
    "name: before, path: sum.onnx, type: wine, at: 0.2 s",
    "name: served, path: minus.onnx, type: wine, at: 0.6 s, description: told after the death too",
)
STREAM = """
name: stream
workload:
  arrival: {{kind: constant, rate: {rate} /s}}
  warmup: 0 s
  duration: {duration}
  drain: 8 s
  payload: {{format: protobuf, types: {types}, poison: {poison}}}
broker: {{kind: mock, partitions: {partitions}, producer: {{linger: 1 ms}}}}
engine: {{kind: python, parallelism: {workers}, commit_interval: 200 ms}}
model_stream:
  first: {first}
  every: {every}
  instances: {workers}
  {more}
  messages:
{messages}
{after}
"""


def onnx_model(weights: Any = None, *, outputs: int = 1, pad_bytes: int = 0) -> bytes:
    """An ONNX model of eleven features: their weighted sum (repeated), and as many bytes more as asked for."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    row = np.asarray(weights if weights is not None else np.ones(11), np.float32)
    tensors = [numpy_helper.from_array(np.repeat(row[:, None], outputs, axis=1), "w")]
    nodes = [helper.make_node("MatMul", ["input", "w"], ["output"])]
    if pad_bytes:
        tensors += [
            numpy_helper.from_array(np.arange(pad_bytes // 4, dtype=np.float32), "pad"),
            numpy_helper.from_array(np.zeros(1, np.float32), "zero"),
            numpy_helper.from_array(np.array([0], np.int64), "first"),
        ]
        nodes = [
            helper.make_node("MatMul", ["input", "w"], ["sum"]),
            helper.make_node("Gather", ["pad", "first"], ["one"]),
            helper.make_node("Mul", ["one", "zero"], ["nothing"]),
            helper.make_node("Add", ["sum", "nothing"], ["output"]),
        ]
    graph = helper.make_graph(
        nodes,
        "sum",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [None, 11])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [None, outputs])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def scenario(
    folder: Path,
    messages: Sequence[str],
    *,
    rate: int = 100,
    duration: str = "3 s",
    workers: int = 1,
    partitions: int = 2,
    types: str = "{wine: 1}",
    poison: str = "[]",
    first: str = "0.5 s",
    every: str = "300 ms",
    more: str = "delivery: broadcast",
    after: str = "",
    sets: Sequence[str] = (),
) -> Any:
    """A scenario with a stream of models, its files in `folder`: `sum.onnx` adds features, `minus.onnx` subtracts."""
    (folder / "sum.onnx").write_bytes(onnx_model())
    (folder / "minus.onnx").write_bytes(onnx_model(-np.ones(11)))
    path = folder / "stream.yaml"
    path.write_text(
        STREAM.format(
            rate=rate,
            duration=duration,
            workers=workers,
            partitions=partitions,
            types=types,
            poison=poison,
            first=first,
            every=every,
            more=more,
            messages="\n".join(f"    - {{{each}}}" for each in messages),
            after=after,
        )
    )
    return load_scenario(path, list(sets))


class Keeping(Session):
    """A session that leaves the topics and files of its runs, so that they can be counted anew."""

    def _clean(self, broker: Any, topics: tuple[str, ...], directory: Path) -> None:
        self.topics, self.address = topics, broker.bootstrap

    def recounted(self) -> Recount:
        """Counts the last run anew."""
        topic_in, topic_out = self.topics[:2]
        return recount(self.address, topic_in, models_topic(topic_in), topic_out, fit)


def fit(message: Descriptor) -> bool:
    """Whether a model can be loaded, wherever it lies."""
    location = message.location
    roots = [] if location is None else [location.rpartition("/")[0]]
    try:
        load(message, Rules(roots=roots))
    except LoadError:
        return False
    return True


def ran(session: Session, asked: Any) -> tuple[Run, dict[str, Any]]:
    """A run that went its way, and its `model_stream`."""
    run = read_run(session.run(asked))
    assert run.meta["reason"] in ("complete", "records"), run.meta["verdict_reason"]
    assert run.meta["verdict"] != "INVALID", run.meta["verdict_reason"]
    found: dict[str, Any] = run.meta["model_stream"]
    return run, found


def agrees(run: Run, told: dict[str, Any], counted: Recount, workers: int = 1) -> None:
    """Every counter of a run with broadcast equals what the topics say, exactly."""
    accounting = run.meta["accounting"]
    assert accounting["sent"] == counted.records
    assert accounting["scored"] == counted.scored
    assert accounting["duplicates"] == counted.duplicates
    assert (told["dropped_no_model"], told["bad"]) == (counted.dropped, counted.bad)
    assert counted.disorder == counted.late_drops == 0
    assert told["sent"] == counted.models
    assert told["models_received"] == workers * counted.models
    assert told["load_failures"] == workers * counted.unfit
    assert told["loaded"] == told["models_received"] - told["load_failures"]
    assert len(told["load_ns"]) == told["loaded"]
    assert len(told["swap_gap_ns"]) == told["swaps"]
    for worker in told["workers"]:
        waiting = worker["loaded"] - worker["swaps"] - worker["superseded"]
        assert 0 <= waiting <= 1
        for about in worker["types"].values():
            assert 0 <= about["min_ns"] <= about["total_ns"] / max(1, about["usage"]) <= about["max_ns"]
    used = sum(about["usage"] for worker in told["workers"] for about in worker["types"].values())
    ends = {(about["name"], about["version"]) for worker in told["workers"] for about in worker["types"].values()}
    assert used == sum(counted.usage[each] for each in ends)
