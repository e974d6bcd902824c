"""What comes before a JVM engine's first run: Java, Maven, the clients' properties, the trial of its answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.payload import encode_input, encode_output
from models.zoo import reference
from real.counters import Window
from real.engines import engine
from real.engines.answers import INPUTS, check_answers, read_frames, trial_inputs, write_frames, write_trial
from real.engines.jvm import JvmEngine, consumer, producer
from real.errors import HarnessError, RefusedError
from real.processes import Supervisor
from real.procfs import Cores, Times
from real.sampler import Snapshot
from real.session import Session
from scenarios.load import load
from scenarios.spec import Engine, Scenario
from tests.real.conftest import Make

STREAMS = "engine.kind=kafka-streams"


@pytest.fixture
def streams(make: Make) -> Scenario:
    return make(STREAMS, "broker.kind=kafka")


def executable(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("says", "message"),
    [
        (None, r"engine\.kind: kafka-streams needs Java 17 or newer \(no java on the PATH\)"),
        ("echo 'openjdk version \"11.0.2\" 2019-01-15' >&2", r"needs Java 17 or newer \(.*java is 11\.0\.2\)"),
        ("echo 'java version \"1.8.0_402\"' >&2", r"needs Java 17 or newer \(.*java is 1\.8\.0_402\)"),
        ("echo nothing of the kind >&2", "no version that it tells|unknown"),
    ],
)
def test_a_java_that_will_not_do(
    streams: Scenario, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, says: str | None, message: str
) -> None:
    if says is not None:
        executable(tmp_path / "java", says)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RefusedError, match=message):
        engine("kafka-streams").refuse(streams)


def test_without_maven_the_jars_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    message = r"engine\.kind: the jars of engine kafka-streams are made by Maven, once \(no mvn on the PATH\)"
    with Supervisor() as supervisor, pytest.raises(RefusedError, match=message):
        engine("kafka-streams").prepare(supervisor, print)


def test_a_failed_build_tells_what_maven_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    executable(tmp_path / "mvn", "echo no route to anywhere >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with Supervisor() as supervisor, pytest.raises(HarnessError, match=r"(?s)cannot be made.*no route to anywhere"):
        engine("kafka-streams").prepare(supervisor, print)
    assert list((tmp_path / "cache" / "weir" / "jars").iterdir()) == []


def test_jars_are_made_once_and_named_by_their_sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = 'echo once >> "$COUNT"; for pom; do case $pom in */pom.xml) d=${pom%/*};; esac; done'
    executable(tmp_path / "mvn", f"{fake}; d=$d/kafka-streams/target/lib; mkdir -p $d; touch $d/a-1.jar")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("COUNT", str(tmp_path / "count"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    said: list[str] = []
    found = engine("kafka-streams")
    assert isinstance(found, JvmEngine)
    monkeypatch.setattr(found, "_lib", None)
    with Supervisor() as supervisor:
        for _ in range(2):
            found.prepare(supervisor, said.append)
            assert [jar.name for jar in found.lib.iterdir()] == ["a-1.jar"]
    assert len(said) == 1
    assert "(once)" in said[0]
    assert (tmp_path / "count").read_text() == "once\n"
    assert [folder.name for folder in found.lib.parent.iterdir()] == [found.lib.name]  # nothing half-made is left


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ("broker.kind=mock", r"broker\.kind: mock"),
        ("broker.client=librdkafka-2", r"broker\.client: librdkafka-2; real's clients of engine kafka-streams are"),
        ("broker.producer.linger=500 us", r"broker\.producer\.linger"),
        ("broker.producer.batch_records=7", r"broker\.producer\.batch_records: 7; the Java client has no such"),
        ("serving.runtime=torch", r"serving\.runtime: torch"),
    ],
)
def test_what_it_cannot_do_is_refused_by_name(make: Make, change: str, key: str) -> None:
    scenario = make(STREAMS, "broker.kind=kafka", change)
    with pytest.raises(RefusedError, match=key):
        engine("kafka-streams").refuse(scenario)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ("engine.buffer_capacity=10", r"engine\.buffer_capacity"),
        ("engine.buffer_timeout=500 us", r"engine\.buffer_timeout"),
        ("engine.buffer_bytes=5000 B", r"engine\.buffer_bytes: 5000; Flink's are a power of two"),
    ],
)
def test_buffers_that_flink_has_not_are_refused(make: Make, change: str, key: str) -> None:
    scenario = make("engine.kind=flink", "engine.chained=false", "broker.kind=kafka", change)
    with pytest.raises(RefusedError, match=key):
        engine("flink").refuse(scenario)
    engine("flink").refuse(make("engine.kind=flink", "broker.kind=kafka"))


def test_flink_s_buffers_have_room_or_are_refused(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    flink = engine("flink")
    assert isinstance(flink, JvmEngine)
    assert flink.options({"chained": True, "network_mib": 64}) == ()
    assert flink.options({"chained": False, "network_mib": 64}) == ("-XX:MaxDirectMemorySize=1024m",)
    assert flink.options({"chained": False, "network_mib": 2048}) == ("-XX:MaxDirectMemorySize=2304m",)
    # A worker, four sources and four sinks: 128 buffers, of a MiB each.
    scenario = make("engine.kind=flink", "engine.chained=false", "broker.kind=kafka", "engine.buffer_bytes=1 MiB")
    monkeypatch.setattr("real.engines.flink.available_bytes", lambda: 256 << 20)
    flink.refuse(scenario)
    monkeypatch.setattr("real.engines.flink.available_bytes", lambda: 255 << 20)
    message = r"engine\.buffer_bytes: 1048576; .* need 128 MiB, more than half of the 255 MiB free"
    with pytest.raises(RefusedError, match=message):
        flink.refuse(scenario)


def test_a_refusal_starts_nothing(make: Make, tmp_path: Path) -> None:
    with Session(out=tmp_path / "runs") as session:
        with pytest.raises(RefusedError, match=r"broker\.kind: mock"):
            session.run(make(STREAMS))
        assert session.supervisor.processes == []


def test_the_profile_s_settings_reach_the_clients(streams: Scenario, tmp_path: Path) -> None:
    assert producer(streams)["linger.ms"] == 1  # the scenario's
    path = tmp_path / "plain.yaml"
    path.write_text("name: plain\nworkload: {arrival: {kind: constant, rate: 1 /s}}\nengine: {kind: kafka-streams}\n")
    plain = load(path)
    assert producer(plain)["linger.ms"] == 100  # the library's default for its producers
    assert producer(plain)["enable.idempotence"]
    assert consumer(plain)["max.poll.records"] == 1000
    loose = replace(plain, broker=replace(plain.broker, producer=replace(plain.broker.producer, max_in_flight=6)))
    assert not producer(loose)["enable.idempotence"]


class TestAnswers:
    """The trial, with answers made here."""

    @pytest.fixture(params=["json", "binary"])
    def scenario(self, make: Make, request: pytest.FixtureRequest) -> Scenario:
        return make(STREAMS, "broker.kind=kafka", f"workload.payload.format={request.param}")

    def answered(self, scenario: Scenario, *, change: float = 0.0, constant: bool = False) -> list[bytes]:
        fmt, x = scenario.workload.payload.format, trial_inputs(scenario)
        y = reference("ffnn", scenario.workload.seed, x)
        y = np.broadcast_to(y.mean(axis=0), y.shape) if constant else y + np.float32(change) * np.abs(y).max()
        return [encode_output(fmt, encode_input(fmt, x[i : i + 1]), y[i : i + 1]) for i in range(len(x))]

    def test_the_model_s_answers_pass(self, scenario: Scenario, tmp_path: Path) -> None:
        write_trial(tmp_path / "in", scenario)
        assert len(read_frames(tmp_path / "in")) == INPUTS
        write_frames(tmp_path / "out", self.answered(scenario, change=5e-5) * 2)
        check_answers(tmp_path / "out", scenario, 2)

    def test_others_do_not(self, scenario: Scenario, tmp_path: Path) -> None:
        path = tmp_path / "out"
        write_frames(path, self.answered(scenario, change=2e-4))
        with pytest.raises(HarnessError, match="worker 0: the answer to trial input 0 is off by"):
            check_answers(path, scenario, 1)
        write_frames(path, self.answered(scenario) + self.answered(scenario, constant=True))
        with pytest.raises(HarnessError, match="worker 1: the answer"):
            check_answers(path, scenario, 2)
        write_frames(path, self.answered(scenario)[1:])
        with pytest.raises(HarnessError, match="63 trial inputs of 64"):
            check_answers(path, scenario, 1)
        write_frames(path, self.answered(scenario)[::-1])
        with pytest.raises(HarnessError, match="does not repeat its input"):
            check_answers(path, scenario, 1)


def test_a_python_engine_has_a_process_each() -> None:
    assert not engine("python").shared
    assert engine("kafka-streams").shared
    assert engine("flink").shared
    with pytest.raises(RefusedError, match=r"engine\.kind"):
        engine(replace(Engine(), kind="graph").kind)


def test_threads_of_one_process_are_told_apart() -> None:
    def snapshot(at: int, scale: int) -> Snapshot:
        times = {tid: Times(tid * scale, 10 * scale, scale) for tid in (1, 2, 3, 4, 5)}
        slots = {name: [scale] * 20 for name in ("generator.0", "worker.0", "worker.1", "collector")}
        threads = {"engine": times, "generator.0": {}, "collector": {}, "harness": {}}
        return Snapshot(at, threads, slots, {"engine": 100 * scale}, Cores((0,), 0))

    roles = {"worker.0": {"app": [1], "producer": [2]}, "worker.1": {"app": [3], "producer": []}}
    window = Window(snapshot(0, 0), snapshot(1000, 7), roles, dict.fromkeys(("worker.0", "worker.1"), "engine"))
    found = window.counters(1, 2)
    first, second = found["workers"]
    assert (first["app_cpu_ns"], first["producer_cpu_ns"], first["other_cpu_ns"]) == (7, 14, 0)
    assert (second["app_cpu_ns"], second["producer_cpu_ns"], second["run_wait_ns"]) == (21, 0, 70)
    assert found["engine"] == {"cpu_ns": 700 - 7 - 14 - 21, "run_wait_ns": 2 * 70, "wakeups": 2 * 7}
    assert first["fetch_requests"] is None
