"""Whole runs on the mock broker: accounting, stamps, and what the broker cannot do."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.runs import read_run
from real.errors import RefusedError
from real.run import run
from tests.real.checks import sound
from tests.real.conftest import Make

pytestmark = pytest.mark.measures


def test_a_paced_run_is_whole(make: Make, runs_dir: Path) -> None:
    found = sound(run(make(), out=runs_dir), sent=600)
    meta = found.meta
    assert meta["append_clock"] == "collector"
    assert meta["backend"] == "real"
    assert meta["start_epoch_ms"] * 1_000_000 % 1_000_000 == 0
    counters = meta["counters"]
    seconds = counters["window_ns"] / 1e9
    assert seconds == pytest.approx(2.5, abs=0.5)  # on a busy machine an edge is read late, and says so
    assert counters["generator"]["records"] == pytest.approx(200 * seconds, rel=0.05)
    worker = counters["workers"][0]
    assert worker["records"] == pytest.approx(200 * seconds, rel=0.05)
    sections = sum(worker[f"{name}_cpu_ns"] for name in ("poll", "decode", "score", "encode", "produce"))
    assert 0.7 < sections / worker["app_cpu_ns"] <= 1.05
    assert worker["consumer_cpu_ns"] > 0
    assert worker["producer_cpu_ns"] > 0
    assert worker["polls"] > worker["records"] / 500
    assert worker["fetch_requests"] > 0
    assert worker["produce_requests"] > 0
    assert set(found.host["kind"]) == {"core", "process"}
    assert {"generator.0", "worker.0", "collector", "broker", "harness"} <= set(found.host["name"])
    assert set(found.host["second"]) >= {0, 1, 2}
    assert (found.host["cpu_ns"] >= 0).all()


def test_two_workers_share_the_partitions(make: Make, runs_dir: Path) -> None:
    found = sound(run(make("engine.parallelism=2", "workload.arrival.rate=800 /s"), out=runs_dir), sent=2400)
    by_worker = found.records.groupby("worker")["partition"].unique().apply(sorted).to_dict()
    assert by_worker == {0: [0, 1], 1: [2, 3]}


def test_two_producers_share_the_schedule(make: Make, runs_dir: Path) -> None:
    found = sound(run(make("workload.producers=2"), out=runs_dir), sent=600)
    assert found.meta["counters"]["generator"]["records"] > 0


def test_records_end_the_load(make: Make, runs_dir: Path) -> None:
    found = sound(run(make("workload.records=300"), out=runs_dir), sent=300)
    assert found.meta["reason"] == "records"


def test_a_backlog_is_drained(make: Make, runs_dir: Path) -> None:
    sets = ("workload.backlog.records=1000", "workload.arrival.rate=0 /s", "broker.consumer.max_poll_records=50")
    found = sound(run(make(*sets), out=runs_dir), sent=1000, stamps=False)
    records = found.records
    assert (records[["created", "sent", "appended"]] == 0).all().all()
    assert (records["fetched"] > 0).all()
    assert (records.groupby(["worker", "batch"]).size() <= 50).all()
    assert found.meta["metrics"]["drain_throughput_per_s"] > 100


def test_the_noop_model_and_each_payload_serialised(make: Make, runs_dir: Path) -> None:
    sets = ("model=noop", "workload.payload.pad=2 KiB", "workload.payload.format=binary")
    sound(run(make(*sets, "workload.payload.serialise=each"), out=runs_dir), sent=600)


def test_a_payload_that_cannot_be_parsed_is_bad(make: Make, runs_dir: Path) -> None:
    found = read_run(run(make(), out=runs_dir, poison=[0, 17, 599]))
    counts = found.meta["accounting"]
    assert (counts["sent"], counts["scored"], counts["bad"]) == (600, 597, 3)
    assert found.meta["verdict"] != "INVALID", found.meta["verdict_reason"]
    bad = found.records[found.records["outcome"] == "bad"]
    assert list(bad["sequence"]) == [0, 17, 599]
    assert (bad["fetched"] > 0).all()
    assert (bad["out_appended"] == -1).all()


def test_a_backlog_beyond_what_the_mock_keeps_is_invalid(make: Make, runs_dir: Path) -> None:
    sets = ("workload.backlog.records=4000", "workload.arrival.rate=0 /s")
    meta = read_run(run(make(*sets), out=runs_dir)).meta
    assert (meta["verdict"], meta["reason"]) == ("INVALID", "backlog-lost")
    assert "partition" in meta["verdict_reason"]


def test_more_partitions_than_the_mock_has_are_refused(make: Make, runs_dir: Path) -> None:
    with pytest.raises(RefusedError, match=r"broker\.partitions"):
        run(make("broker.partitions=5"), out=runs_dir)


def test_the_deadline_ends_a_run(make: Make, runs_dir: Path) -> None:
    meta = read_run(run(make("deadline=3 s", "workload.duration=60 s"), out=runs_dir)).meta
    assert (meta["verdict"], meta["reason"]) == ("INVALID", "deadline")
    assert meta["accounting"]["scored"] > 0
