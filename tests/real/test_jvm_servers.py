"""Engines in a JVM that call model servers: whole runs on a real broker, what is counted, and the server's death."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from analysis.runs import Run, read_run
from real.engines import engine
from real.engines.jvm import JvmEngine
from real.errors import ChildDiedError, RefusedError
from real.servers import SERVERS, server
from real.session import Session
from scenarios.spec import MS_NS
from tests.real.checks import ordered, sound
from tests.real.conftest import Make
from tests.real.test_servers_runs import server_process

pytestmark = [pytest.mark.kafka, pytest.mark.measures]

Sets = tuple[str, ...]

EXTERNAL = "serving.kind=external"
ASYNC = "serving.client.mode=async"
STREAMS: Sets = ("engine.kind=kafka-streams", "engine.parallelism=2", EXTERNAL)
FLINK: Sets = ("engine.kind=flink", "engine.parallelism=2", EXTERNAL)
UNCHAINED: Sets = (*FLINK, "engine.chained=false", "engine.buffer_timeout=20 ms")
PEKKO: Sets = ("engine.kind=pekko", "engine.parallelism=2", EXTERNAL)
EVERY = {
    "kafka-streams": STREAMS,
    "flink": FLINK,
    "flink-async": (*FLINK, ASYNC),
    "flink-unchained": UNCHAINED,
    "flink-unchained-async": (*UNCHAINED, ASYNC),
    "pekko": PEKKO,
    "pekko-async": (*PEKKO, ASYNC),
}
PACED: Sets = ("workload.warmup=2 s", "workload.duration=8 s")
SHORT: Sets = ("workload.warmup=1 s", "workload.duration=3 s")


def whole(found: Run, word: str, protocol: str, sent: int) -> None:
    """Every call answered, and the server's columns filled as with any engine."""
    told = found.meta["server"]
    assert (told["server"], told["protocol"]) == (word, protocol)
    assert told["calls"] == {**dict.fromkeys(told["calls"], 0), "calls": sent, "answered": sent}
    counters = found.meta["counters"]["server"]
    assert counters["cpu_ns"] > 0
    if word == "weir":
        assert 0 < counters["requests"] == counters["batches"] <= sent
        assert counters["busy_ns"] > 0
    rows = found.host[found.host["name"] == "server"]
    assert (rows["rss_bytes"] > 50e6).all()
    assert len(rows) >= 3


def test_a_run_that_calls_our_server_is_whole(make: Make, kafka: Session) -> None:
    scenario = make(*STREAMS, *SHORT, "serving.client.protocol=oip-grpc")
    whole(sound(kafka.run(scenario), sent=800), "weir", "oip-grpc", 800)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["oip-http", "oip-grpc"])
@pytest.mark.parametrize("name", EVERY)
def test_every_engine_calls_our_server(make: Make, kafka: Session, name: str, protocol: str) -> None:
    scenario = make(*EVERY[name], *PACED, f"serving.client.protocol={protocol}")
    found = sound(kafka.run(scenario), sent=2000, stamps="unchained" not in name)
    whole(found, "weir", protocol, 2000)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["kafka-streams", "flink-async"])
@pytest.mark.parametrize("word", [word for word in SERVERS if word != "weir"])
def test_engines_call_the_servers_of_others(make: Make, kafka: Session, word: str, name: str) -> None:
    other = server(word)
    if (lacking := other.missing()) is not None:
        pytest.skip(f"{word}: {lacking}")
    for protocol in other.protocols:
        sets = (f"serving.runtime={word}", f"serving.client.protocol={protocol}", "serving.client.timeout=30 s")
        # Ray Serve does about 180 calls a second.
        found = sound(kafka.run(make(*EVERY[name], *sets, *PACED, "workload.arrival.rate=50 /s")), sent=500)
        whole(found, word, protocol, 500)


@pytest.mark.parametrize("name", ["flink-async", pytest.param("pekko-async", marks=pytest.mark.slow)])
def test_several_calls_under_way_keep_the_order_of_outputs(make: Make, kafka: Session, name: str) -> None:
    """Calls of 20 ms at 200 /s: a task has two at a time on average; one after the other it would do 50 /s."""
    sets = ("model=sleep", "model.base=20 ms", "model.each=0 ms", "serving.workers=16", "serving.client.in_flight=8")
    found = sound(kafka.run(make(*EVERY[name], *sets, *SHORT)), sent=800)
    ordered(found.records)
    most = []
    for _, own in found.records.groupby("worker"):
        begins, ends = np.sort(own["score_begin"]), np.sort(own["score_end"])
        most.append((np.arange(1, len(own) + 1) - np.searchsorted(ends, begins, side="right")).max())
        assert (own["score_end"] - own["score_begin"] >= 20 * MS_NS).all()
    assert 1 < max(most) <= 8


@pytest.mark.slow
@pytest.mark.parametrize("name", ["kafka-streams", "flink-async", "pekko-async"])
def test_records_without_an_answer_in_time_expire(make: Make, kafka: Session, name: str) -> None:
    sets = ("model=sleep", "model.base=400 ms", "model.each=0 ms", "workload.records=8", "workload.arrival.rate=4 /s")
    scenario = make(*EVERY[name], *sets, "serving.client.timeout=30 ms", "serving.client.retries=1")
    found = read_run(kafka.run(scenario))
    assert found.meta["accounting"]["expired"] == 8
    calls = found.meta["server"]["calls"]
    assert (calls["calls"], calls["timeout"], calls["retried"], calls["answered"]) == (16, 16, 8, 0)
    assert ((found.records["score_end"] - found.records["score_begin"]) >= 60 * MS_NS).all()
    assert (found.records["out_appended"] == -1).all()


@pytest.mark.parametrize(
    "name",
    [
        "flink-async",
        *(pytest.param(each, marks=pytest.mark.slow) for each in ("kafka-streams", "flink", "pekko", "pekko-async")),
    ],
)
def test_a_server_killed_in_mid_run_is_heard(make: Make, tmp_path: Path, name: str) -> None:
    """The run ends early and says why; what was called and not answered is counted, and nothing is left behind."""
    killed: list[int] = []

    def kill(line: str, _share: float | None) -> None:
        if line.startswith("load") and "0 of" not in line and not killed:  # outputs flow
            killed.append(server_process())
            os.kill(killed[0], signal.SIGKILL)

    with Session(out=tmp_path / "runs", broker="kafka", warm_s=0, progress=kill) as session:
        path = session.run(make(*EVERY[name], "workload.duration=60 s"))
        assert isinstance(session.last_error, ChildDiedError)
        found = read_run(path)
        assert found.meta["reason"] == "error"
        assert "server was killed by signal 9" in found.meta["verdict_reason"]
        counts, outcomes = found.meta["accounting"], Counter(found.records["outcome"])
        assert 0 < counts["scored"] == outcomes["scored"]
        assert counts.get("lost", 0) == 0
        told = found.meta["server"]["calls"]
        assert told["answered"] >= counts["scored"]
        assert counts.get("failed", 0) <= told["connection"]


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ((*STREAMS, ASYNC), r"serving\.client\.mode: async; engine kafka-streams makes blocking calls"),
        ((*STREAMS, "serving.client.protocol=tfs-grpc"), r"serving\.client\.protocol: tfs-grpc; weir speaks"),
        (
            (*FLINK, ASYNC, "faults=[{at: 1 s, target: worker-0, kind: kill, restart: 0.1 s}]"),
            r"serving\.client\.mode: async; engine flink is killed and started again with blocking calls",
        ),
    ],
)
def test_what_an_engine_cannot_call_is_refused(make: Make, sets: Sets, message: str) -> None:
    scenario = make(*sets, "broker.kind=kafka")
    with pytest.raises(RefusedError, match=message):
        engine(scenario.engine.kind).refuse(scenario)


def test_only_grpc_needs_jars_beside_the_engine_s(make: Make) -> None:
    flink = engine("flink")
    assert isinstance(flink, JvmEngine)
    assert flink.beside(make("engine.kind=flink")) == {}
    assert flink.beside(make(*FLINK)) == {}
    assert flink.beside(make(*FLINK, "serving.client.protocol=oip-grpc")) == {"grpc": "serving.client.protocol"}
    assert list(flink.beside(make(*FLINK, "serving.runtime=tf-serving-protocol"))) == ["grpc"]  # its usual protocol
