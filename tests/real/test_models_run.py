"""Models of a run: a user's own file, one that waits, and what is refused before anything starts."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from real.engines import engine
from real.errors import RefusedError
from real.plan import refuse_elsewhere
from real.run import run
from real.session import Session
from tests.real.checks import sound
from tests.real.conftest import Make

pytestmark = pytest.mark.measures


def own_file(path: Path, batch: str | int = "n") -> Path:
    """A matrix over an image of 4 x 3 x 2, three outputs."""
    weights = numpy_helper.from_array(np.random.default_rng(0).random((24, 3), np.float32), "w")
    nodes = [helper.make_node("Flatten", ["image"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["out"])]
    graph = helper.make_graph(
        nodes,
        "own",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 4, 3, 2])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [batch, 3])],
        [weights],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    return path


@pytest.mark.parametrize("fmt", ["json", "binary"])
def test_a_file_of_ones_own_scores_a_run(make: Make, tmp_path: Path, runs_dir: Path, fmt: str) -> None:
    path = own_file(tmp_path / "own.onnx")
    sets = (f"model.path={path}", f"workload.payload.format={fmt}", "workload.points=2", "workload.records=200")
    found = sound(run(make(*sets), out=runs_dir), sent=200)
    assert found.meta["scenario"]["model"] == {"name": "file", "path": str(path)}
    if fmt == "binary":  # header and float32: 2 points of 24 values, in the outputs 2 of 3 more
        size = 28 + 4 * 2 * (24 + 3)
        worker = found.meta["counters"]["workers"][0]
        assert worker["bytes_out"] == worker["records"] * size


def test_the_sleeping_model_takes_its_time(make: Make, runs_dir: Path) -> None:
    sets = ("model.name=sleep", "model.base=6 ms", "model.each=1 ms", "workload.points=3", "workload.records=100")
    found = sound(run(make(*sets, "workload.arrival.rate=40 /s"), out=runs_dir), sent=100)
    took = found.records["score_end"] - found.records["score_begin"]
    assert took.min() >= 9_000_000 - 1_000_000  # the wall clock of the stamps may be slewed
    worker = found.meta["counters"]["workers"][0]
    assert worker["score_cpu_ns"] < 0.5 * 9_000_000 * worker["records"], "it computes while it should wait"


@pytest.mark.kafka
def test_a_java_engine_scores_a_file_of_ones_own(kafka: Session, make: Make, tmp_path: Path) -> None:
    """The trial before the load holds its answers against ONNX Runtime's here."""
    sets = ("engine.kind=kafka-streams", "broker.kind=kafka", f"model.path={own_file(tmp_path / 'own.onnx')}")
    sound(kafka.run(make(*sets, "workload.points=2", "workload.records=200")), sent=200)


def refused(make: Make, *sets: str) -> str:
    with pytest.raises(RefusedError) as caught:
        refuse_elsewhere(make(*sets))
    return str(caught.value)


def test_what_cannot_be_scored_here_is_refused(make: Make, tmp_path: Path) -> None:
    assert refused(make, f"model.path={tmp_path / 'none.onnx'}").startswith("model: model ")
    fixed = own_file(tmp_path / "fixed.onnx", batch=1)
    assert "its first axis must be free" in refused(make, f"model.path={fixed}")
    own = own_file(tmp_path / "own.onnx")
    assert refused(make, f"model.path={own}", "serving.runtime=torch").startswith(
        "serving.runtime: runtime torch scores torchscript, model 'own' comes as onnx"
    )


@pytest.mark.parametrize("package", ["torch", "tensorflow"])
def test_a_runtime_that_is_not_installed_is_refused(make: Make, package: str) -> None:
    if importlib.util.find_spec(package) is not None:
        pytest.skip(f"{package} is installed: nothing to refuse")
    message = refused(make, f"serving.runtime={package}")
    assert message.startswith(f"serving.runtime: runtime {package} needs {package}, not installed here: pip install")


def test_java_engines_refuse_what_they_cannot_load(make: Make, tmp_path: Path) -> None:
    def told(*sets: str) -> str:
        with pytest.raises(RefusedError) as caught:
            engine("kafka-streams").refuse_model(make("engine.kind=kafka-streams", *sets))
        return str(caught.value)

    assert told("model=sleep") == "model.name: sleep; engine kafka-streams has no such model"
    assert told("serving.runtime=torch") == (
        "serving.runtime: torch; engine kafka-streams has onnx, pmml, tensorflow, savedmodel, dl4j, nd4j"
    )
    assert "No such file" in told(f"model.path={tmp_path / 'none.onnx'}")
    engine("kafka-streams").refuse_model(
        make("engine.kind=kafka-streams", f"model.path={own_file(tmp_path / 'o.onnx')}")
    )
    engine("kafka-streams").refuse_model(make("engine.kind=kafka-streams", "model=noop"))
