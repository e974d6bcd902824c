"""Engines in a JVM: whole runs on a real broker, their answers on the wire, what they commit, and their death."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.runs import read_run
from models.payload import decode_output, parse_input, payload_pool
from models.zoo import reference
from real.life import Ending
from real.session import Session
from real.wire import HEADER_KEY, OUTPUT_HEADER, Slots, Work
from scenarios.spec import Scenario
from tests.real.checks import sound
from tests.real.conftest import Harness, Make
from tests.real.test_supervision import died, gone

pytestmark = [pytest.mark.kafka, pytest.mark.measures]

Sets = tuple[str, ...]

STREAMS: Sets = ("engine.kind=kafka-streams", "engine.parallelism=2")
FLINK: Sets = ("engine.kind=flink", "engine.parallelism=2")
PEKKO: Sets = ("engine.kind=pekko", "engine.parallelism=2")
ALONE: Sets = ("engine.kind=pekko", "engine.parallelism=1")
UNCHAINED: Sets = (*FLINK, "engine.chained=false", "engine.buffer_timeout=20 ms")
#: What runs in the JVM: the engine's own main class, and a jar of the engine itself whose version a run tells.
MAIN = {STREAMS: "weir.streams.Main", FLINK: "weir.flink.Main", PEKKO: "weir.pekko.Main"}
SOFTWARE = {STREAMS: "kafka-streams", FLINK: "flink-streaming-java", UNCHAINED: "flink-streaming-java"}
SOFTWARE |= dict.fromkeys((PEKKO, ALONE), "pekko-stream_2.13")


def outputs(session: Session, scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[int, bytes]]:
    """Keeps what a run's output topic holds, by sequence, until it is asked for: the topic goes with the run."""
    found: dict[int, bytes] = {}
    clean = session._clean

    def kept(broker: Any, topics: tuple[str, str], directory: Any) -> None:
        from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

        consumer: Any = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "test"})
        consumer.assign([TopicPartition(topics[1], p, OFFSET_BEGINNING) for p in range(scenario.broker.partitions)])
        while (record := consumer.poll(2.0)) is not None:
            assert not record.error()
            ((key, header),) = record.headers()
            assert key == HEADER_KEY
            found[OUTPUT_HEADER.unpack(header)[0]] = record.value()
        consumer.close()
        clean(broker, topics, directory)

    monkeypatch.setattr(session, "_clean", kept)
    return lambda: found


def until_acknowledged(started: Harness, limit_s: float = 30.0) -> None:
    """Waits until the broker answered for an output: a JVM just started is slow."""
    end = time.monotonic() + limit_s
    for path in started.temporary.glob("weir-*/run-*/worker.*.slots"):
        slots = Slots(path, path.stat().st_size // 8)
        while not slots.values[Work.ACKED]:
            assert time.monotonic() < end, "no output"
            time.sleep(0.02)


def committed(session: Session, monkeypatch: pytest.MonkeyPatch) -> list[dict[int, int]]:
    """The committed positions of each run made from now on."""
    found: list[dict[int, int]] = []
    write = session._write

    def kept(scenario: Any, planned: Any, life: Any, ending: Ending, broker: Any) -> Path:
        found.append(ending.committed)
        return write(scenario, planned, life, ending, broker)

    monkeypatch.setattr(session, "_write", kept)
    return found


def answer_as_the_model(answers: dict[int, bytes], scenario: Scenario, count: int) -> None:
    """Every record's output holds its input and what the model says of it."""
    pool = [parse_input("json", data) for data in payload_pool(scenario)]
    expected = reference("ffnn", scenario.workload.seed, np.concatenate([each.values for each in pool]))
    assert len(answers) == count
    for sequence, data in answers.items():
        output, i = decode_output("json", data), sequence % len(pool)
        assert np.array_equal(output.values, pool[i].values)
        assert output.prediction is not None
        assert np.abs(output.prediction[0] - expected[i]).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize(
    "sets",
    [STREAMS, FLINK, UNCHAINED, PEKKO, pytest.param(ALONE, marks=pytest.mark.slow)],
    ids=["kafka-streams", "flink", "flink-unchained", "pekko", "pekko-alone"],
)
def test_a_paced_run_is_whole_and_its_answers_are_the_model_s(
    make: Make, kafka: Session, monkeypatch: pytest.MonkeyPatch, sets: Sets
) -> None:
    scenario = make(*sets, "workload.warmup=1 s", "workload.duration=5 s")
    answers, positions = outputs(kafka, scenario, monkeypatch), committed(kafka, monkeypatch)
    chained = sets is not UNCHAINED
    found = sound(kafka.run(scenario), sent=1200, stamps=chained)
    records, meta = found.records, found.meta
    if not chained:  # tasks overtake each other; every stamp is there none the less
        columns = ("sent", "appended", "fetched", "score_begin", "score_end", "produced", "acked", "out_appended")
        assert (records[["worker", "batch", *columns]] >= 0).all().all()
    assert sum(positions[0].values()) == 1200
    partitions = records.groupby("worker")["partition"].nunique().to_dict()
    assert partitions == ({0: 4} if sets is ALONE else {0: 2, 1: 2} if chained else {0: 4, 1: 4})
    assert f"{SOFTWARE[sets]} (engine)" in meta["versions"]
    counters = meta["counters"]
    begun = records["score_begin"].between(1e9, 1e9 + counters["window_ns"]).sum()  # edges are read a little late
    assert sum(worker["records"] for worker in counters["workers"]) == pytest.approx(begun, rel=0.1)
    for worker in counters["workers"]:
        sections = sum(worker[f"{name}_cpu_ns"] for name in ("poll", "decode", "score", "encode", "produce"))
        assert 0.7 < sections / worker["app_cpu_ns"] <= 1.05
        if chained:
            assert min(worker[key] for key in ("producer_cpu_ns", "fetch_requests", "produce_requests", "polls")) > 0
    assert counters["engine"]["cpu_ns"] > 0
    assert meta["metrics"]["cpu_us_per_record_engine"] > 0
    answer_as_the_model(answers(), scenario, 1200)


@pytest.mark.parametrize("sets", [STREAMS, FLINK, PEKKO], ids=["kafka-streams", "flink", "pekko"])
def test_a_binary_backlog_waits_for_the_start_and_stubs_are_bad(make: Make, kafka: Session, sets: Sets) -> None:
    load = ("workload.backlog.records=3000", "workload.arrival.rate=0 /s", "workload.payload.format=binary")
    found = read_run(kafka.run(make(*sets, *load), poison=[5, 2999]))
    counts, records = found.meta["accounting"], found.records
    assert found.meta["verdict"] != "INVALID", found.meta["verdict_reason"]
    assert (counts["sent"], counts["scored"], counts["bad"]) == (3000, 2998, 2)
    assert counts["lost"] == counts["duplicates"] == counts["in_flight"] == 0
    assert list(records[records["outcome"] == "bad"]["sequence"]) == [5, 2999]
    assert (records["fetched"] > 0).all()


@pytest.mark.parametrize(
    "sets",
    [STREAMS, pytest.param(FLINK, marks=pytest.mark.slow), pytest.param(PEKKO, marks=pytest.mark.slow)],
    ids=["kafka-streams", "flink", "pekko"],
)
def test_what_is_left_after_the_drain_is_in_flight(make: Make, kafka: Session, sets: Sets) -> None:
    load = ("workload.backlog.records=30000", "workload.arrival.rate=0 /s", "workload.drain=0 s")
    meta = read_run(kafka.run(make(*sets, *load, "workload.warmup=0 s", "workload.duration=0.5 s"))).meta
    counts = meta["accounting"]
    assert meta["verdict"] == "BACKLOGGED", meta["verdict_reason"]
    assert counts["in_flight"] > 0
    assert counts["lost"] == counts["duplicates"] == 0
    assert counts["scored"] + counts["in_flight"] == 30000


def started_with(harness: Callable[..., Harness], sets: Sets) -> Harness:
    options = [f"--set={each}" for each in (*sets, "workload.duration=60 s")]
    started = harness("--broker", "kafka", *options)
    started.until_loaded(90)
    return started


@pytest.mark.parametrize("sets", [STREAMS, FLINK, PEKKO], ids=["kafka-streams", "flink", "pekko"])
def test_a_killed_jvm_ends_the_run(harness: Callable[..., Harness], sets: Sets) -> None:
    started = started_with(harness, sets)
    until_acknowledged(started)
    found = died(started, MAIN[sets], b"engine")
    assert (found.records["acked"] >= 0).any()  # the side files are mapped


@pytest.mark.parametrize("sets", [STREAMS, FLINK, PEKKO], ids=["kafka-streams", "flink", "pekko"])
def test_a_killed_harness_leaves_no_jvm(harness: Callable[..., Harness], sets: Sets) -> None:
    started = started_with(harness, sets)
    family = started.family()
    assert started.child(MAIN[sets]) in family
    started.popen.kill()
    assert gone(family, 5.0) == []
    time.sleep(0.2)
    assert list(started.temporary.glob("weir-*")) == []
