"""Whole runs on a real broker."""

from __future__ import annotations

import pytest

from analysis.runs import read_run
from real.session import Session
from tests.real.checks import sound
from tests.real.conftest import Make

pytestmark = [pytest.mark.kafka, pytest.mark.measures]


def test_a_paced_run_is_whole(make: Make, kafka: Session) -> None:
    found = sound(kafka.run(make()), sent=600)
    assert found.meta["append_clock"] == "broker"
    for column in ("appended", "out_appended"):
        assert (found.records[column] % 1_000_000 == 0).all()  # the run starts at a whole millisecond
    broker = found.meta["counters"]["broker"]
    assert broker["cpu_ns"] > 0
    assert broker["wakeups"] > 0
    assert broker["produce_requests"] > 500
    seconds = found.meta["counters"]["window_ns"] / 1e9
    assert broker["records_in"] == pytest.approx(400 * seconds, rel=0.05)  # each record goes in twice


def test_two_workers_at_800_per_second(make: Make, kafka: Session) -> None:
    found = sound(kafka.run(make("engine.parallelism=2", "workload.arrival.rate=800 /s")), sent=2400)
    assert found.records["worker"].nunique() == 2
    assert found.records.groupby("partition")["worker"].nunique().max() == 1


def test_a_backlog_waits_for_the_start(make: Make, kafka: Session) -> None:
    sets = ("workload.backlog.records=3000", "workload.arrival.rate=0 /s", "engine.parallelism=2")
    found = sound(kafka.run(make(*sets)), sent=3000, stamps=False)
    assert (found.records["fetched"] > 0).all()
    counters = found.meta["counters"]
    assert sum(worker["records"] for worker in counters["workers"]) == 3000
    assert counters["generator"]["records"] == 0


def test_what_is_left_after_the_drain_is_in_flight(make: Make, kafka: Session) -> None:
    sets = ("workload.backlog.records=20000", "workload.arrival.rate=0 /s", "workload.drain=0 s")
    meta = read_run(kafka.run(make(*sets, "workload.warmup=0 s", "workload.duration=0.5 s"))).meta
    counts = meta["accounting"]
    assert meta["verdict"] == "BACKLOGGED", meta["verdict_reason"]
    assert counts["in_flight"] > 0
    assert counts["lost"] == 0
    assert counts["scored"] + counts["in_flight"] == 20000


def test_topics_are_gone_after_a_run(make: Make, kafka: Session) -> None:
    scenario = make("workload.records=50")
    sound(kafka.run(scenario), sent=50)
    names = kafka.broker(kafka.adapted(scenario).broker).topic_names()
    assert not [name for name in names if name.startswith("weir-")]
