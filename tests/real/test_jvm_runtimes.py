"""Runtimes in the JVM: what each answers is the model's, and what cannot be had is refused by name."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from models.zoo import export
from real.engines import engine, jvm_runtimes
from real.engines.jvm import JvmEngine
from real.errors import HarnessError, RefusedError
from real.processes import Supervisor
from real.session import Session
from real.wire import WORKER_ROW, Rows, Slots, Work
from scenarios.registry import known
from scenarios.spec import Scenario
from tests.real.checks import sound
from tests.real.conftest import Make

HERE = shutil.which("java") is not None and shutil.which("mvn") is not None
needs_java = pytest.mark.skipif(not HERE, reason="needs java and mvn on the PATH")
STREAMS = ("engine.kind=kafka-streams", "broker.kind=kafka")


def trial(scenario: Scenario, **changed: Any) -> JvmEngine:
    """Starts an engine up to where it waits for its topics, which takes no broker, and looks at its trial answers."""
    found = engine(scenario.engine.kind)
    assert isinstance(found, JvmEngine)
    found.refuse(scenario)
    with Supervisor() as supervisor:
        found.prepare_for(scenario, supervisor, print)
        directory = supervisor.directory / "run"
        directory.mkdir()
        broker: Any = SimpleNamespace(bootstrap="127.0.0.1:1")
        config = {**found.config(scenario, broker, "t-in", directory), **changed, "workers": []}
        for i in range(scenario.engine.parallelism):
            slots, rows = directory / f"{i}.slots", directory / f"{i}.rows"
            Slots(slots, Work.PART + scenario.broker.partitions, create=True)
            Rows(rows, WORKER_ROW, 10, create=True)
            config["workers"].append({"index": i, "slots": str(slots), "rows": str(rows)})
        process = found.start(supervisor, "engine", config)
        while process.take("ready") is None:
            if not process.alive():
                raise process.died()
            supervisor.wait(0.05)
        try:
            found.accept(scenario, directory)
        finally:
            supervisor.kill([process])
    return found


#: Of each runtime one model in the default tests; jars of the first two are fetched by Maven, once.
QUICK = (("ffnn", "savedmodel"), ("ffnn", "dl4j"), ("ffnn", "nd4j"), ("wine-forest", "pmml"))
MORE = (
    *(("ffnn", "onnx"), ("ffnn", "tensorflow"), ("wine-mlp", "tensorflow"), ("wine-tensorflow", "savedmodel")),
    *((name, "pmml") for name in ("lightgbm", "wine-glm-gamma", "elastic-net", "wine-tree-classifier")),
)


@needs_java
@pytest.mark.parametrize(
    ("model", "runtime"), [*QUICK, *(pytest.param(*each, marks=pytest.mark.slow) for each in MORE)]
)
def test_a_runtime_answers_what_the_model_does(make: Make, model: str, runtime: str) -> None:
    scenario = make(*STREAMS, "engine.parallelism=2", f"model={model}", f"serving.runtime={runtime}")
    found = trial(scenario)
    jar = jvm_runtimes.RUNTIMES[runtime].jar
    assert found.versions()[f"{jar} (engine)"][:1].isdigit()


@needs_java
@pytest.mark.parametrize(
    ("runtime", "fmt"), [("dl4j", "h5"), pytest.param("tensorflow", "savedmodel", marks=pytest.mark.slow)]
)
def test_another_model_s_answers_are_not_accepted(make: Make, tmp_path: Path, runtime: str, fmt: str) -> None:
    other = export("ffnn", tmp_path, 99, fmt)
    with pytest.raises(HarnessError, match="the engine's runtime does not compute this model"):
        trial(make(*STREAMS, f"serving.runtime={runtime}"), model=str(other))


@needs_java
@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.measures
@pytest.mark.parametrize("runtime", ["tensorflow", "dl4j", "nd4j"])
@pytest.mark.parametrize("kind", ["kafka-streams", "flink", "pekko"])
def test_a_run_with_a_runtime_is_whole(make: Make, kafka: Session, kind: str, runtime: str) -> None:
    sets = (f"engine.kind={kind}", "engine.parallelism=2", f"serving.runtime={runtime}")
    found = sound(kafka.run(make(*sets, "workload.warmup=1 s", "workload.duration=4 s")), sent=1000)
    assert f"{jvm_runtimes.RUNTIMES[runtime].jar} (engine)" in found.meta["versions"]
    assert (found.records.groupby("worker")["partition"].nunique() == 2).all()


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (("serving.runtime=torch",), r"serving\.runtime: torch; engine kafka-streams has onnx, pmml, tensorflow"),
        (("serving.runtime=pmml",), r"model\.name: ffnn comes as onnx, .*; runtime pmml of engine .* scores pmml"),
        (("serving.runtime=dl4j", "model=resnet50"), r"model\.name: resnet50; runtime dl4j reads the H5 layout"),
        (("serving.runtime=tensorflow", "model=elastic-net"), r"model\.name: elastic-net comes as onnx, pmml, npz; "),
    ],
)
def test_a_model_that_a_runtime_does_not_score_is_refused(make: Make, sets: Sequence[str], said: str) -> None:
    with pytest.raises(RefusedError, match=said):
        engine("kafka-streams").refuse_model(make(*STREAMS, *sets))


def test_the_python_engine_has_them_not(make: Make) -> None:
    for word in ("savedmodel", "dl4j", "nd4j"):
        assert word in known("runtimes")
        with pytest.raises(RefusedError, match=rf"serving\.runtime: no runtime '{word}'"):
            engine("python").refuse_model(make(f"serving.runtime={word}"))


def test_native_libraries_of_another_platform_are_refused(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    said = r"serving\.runtime: dl4j; its native libraries are run on linux-x86_64 only, this is .*-riscv64"
    with pytest.raises(RefusedError, match=said):
        engine("kafka-streams").refuse_model(make(*STREAMS, "serving.runtime=dl4j"))
    engine("kafka-streams").refuse_model(make(*STREAMS))


def test_a_runtime_s_jars_are_fetched_when_it_is_asked_for_and_once(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found, said = engine("kafka-streams"), list[str]()
    assert isinstance(found, JvmEngine)
    monkeypatch.setattr(found, "prepare", lambda *_: None)  # the engine's own jars are another matter
    monkeypatch.setattr(found, "_beside", [])
    with Supervisor() as supervisor:
        found.prepare_for(make(*STREAMS), supervisor, said.append)  # ONNX Runtime comes with the engine
        asked = make(*STREAMS, "serving.runtime=dl4j")
        with pytest.raises(RefusedError, match=r"serving\.runtime: the jars of dl4j .* are made by Maven, once"):
            found.prepare_for(asked, supervisor, said.append)
        maven = tmp_path / "bin" / "mvn"
        maven.write_text(
            "#!/bin/sh\nPATH=/usr/bin:/bin\nfor a; do case $a in */pom.xml) d=${a%/*};; esac; done\n"
            'echo "$@" >> "$0.calls"; d=$d/dl4j/target/lib; mkdir -p $d; touch $d/deeplearning4j-modelimport-1.2.jar\n'
        )
        maven.chmod(0o755)
        for _ in range(2):
            found.prepare_for(asked, supervisor, said.append)
    (call,) = (tmp_path / "bin" / "mvn.calls").read_text().splitlines()
    assert "-pl dl4j -am -Djavacpp.platform=linux-x86_64 package" in call
    assert len(said) == 1
    assert "the jars of dl4j" in said[0]
