"""The engine without a broker: generators straight into workers, the simulator's columns, its faults and refusals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.columns import STAMP_COLUMNS
from analysis.runs import Run, read_run
from real.engines.standalone_way import LENGTH, frames
from real.errors import RefusedError
from real.plan import refuse_elsewhere
from real.run import run
from real.wire import INPUT_HEADER
from scenarios.errors import ScenarioError
from tests.real.conftest import Harness, Make
from tests.real.test_supervision import died, gone

ALONE = "engine.kind=standalone"
Start = Callable[..., Harness]


def whole(path: Path, sent: int) -> Run:
    """Nothing lost, and the columns as `sim` fills them without a broker."""
    found = read_run(path)
    counts, records = found.meta["accounting"], found.records
    assert found.meta["verdict"] != "INVALID", found.meta["verdict_reason"]
    assert counts["sent"] == counts["scored"] == len(records) == sent
    assert counts["lost"] == counts["duplicates"] == counts["in_flight"] == 0
    columned(records)
    assert found.meta["append_clock"] == "collector"
    assert not {"broker", "collector"} & set(found.meta["counters"])
    return found


def columned(records: Any) -> None:
    """Every stamp filled, in order; those of a broker are the neighbour's."""
    stamps = records[list(STAMP_COLUMNS)].to_numpy()
    assert (stamps >= 0).all()
    assert (np.diff(stamps, axis=1) >= 0).all()
    assert (records["appended"] == records["sent"]).all()
    assert (records["fetched"] == records["sent"]).all()
    assert (records["acked"] == records["produced"]).all()
    assert (records["out_appended"] == records["produced"]).all()
    assert set(records["partition"]) == set(records["batch"]) == {-1}


def test_records_go_to_the_workers_in_turn(make: Make, runs_dir: Path) -> None:
    sets = (ALONE, "engine.parallelism=2", "workload.producers=2", "workload.duration=1.5 s")
    found = whole(run(make(*sets), out=runs_dir), sent=400)
    place = found.records["sequence"] // 2  # of each of two generators
    assert (found.records["worker"] == place % 2).all()
    counters = found.meta["counters"]
    assert counters["generator"]["records"] > 0
    assert all(worker["app_cpu_ns"] > 0 and worker["records"] > 0 for worker in counters["workers"])
    assert found.meta["metrics"]["cpu_us_per_record_engine"] > 0
    assert found.meta["metrics"]["cpu_us_per_record_broker"] is None
    assert found.meta["versions"]["broker"] == "none"
    assert {"generator.0", "worker.0", "worker.1"} <= set(found.host["name"])


@pytest.mark.parametrize("points", [32, 128])
def test_a_message_holds_many_points(make: Make, runs_dir: Path, points: int) -> None:
    """A message of 128 points is larger than a read, one of all waiting larger than the pipe."""
    sets = (ALONE, f"workload.points={points}", "workload.arrival.rate=40 /s", "workload.duration=1 s")
    whole(run(make(*sets), out=runs_dir), sent=60)


def test_bursts(make: Make, runs_dir: Path) -> None:
    bursts = "{kind: bursty, rate: 50 /s, low_factor: 0.7, high_factor: 1.1, low: 500 ms, high: 500 ms}"
    sets = (ALONE, f"workload.arrival={bursts}", "workload.warmup=0 s", "workload.duration=3 s")
    path = run(make(*sets), out=runs_dir)
    found = whole(path, sent=len(read_run(path).records))
    by_half = np.bincount(found.records["created"] // 500_000_000)
    assert min(by_half[1::2]) > max(by_half[0::2])


def test_the_load_stays_open_loop_and_what_is_left_is_in_flight(make: Make, runs_dir: Path) -> None:
    sets = (ALONE, "workload.arrival.rate=30000 /s", "workload.warmup=0 s", "workload.duration=1 s")
    found = read_run(run(make(*sets, "workload.drain=0 s"), out=runs_dir))
    counts, records = found.meta["accounting"], found.records
    assert found.meta["verdict"] != "INVALID", found.meta["verdict_reason"]
    assert counts["in_flight"] > 0
    assert counts["lost"] == counts["duplicates"] == 0
    assert counts["scored"] + counts["in_flight"] == counts["sent"]
    scored = records[records["outcome"] == "scored"]
    columned(scored)
    assert list(scored["sequence"]) == list(range(len(scored)))  # one pipe, first in, first out


def test_what_cannot_be_parsed_is_bad(make: Make, runs_dir: Path) -> None:
    found = read_run(run(make(ALONE, "workload.duration=0.5 s"), out=runs_dir, poison=[0, 17, 199]))
    counts = found.meta["accounting"]
    assert (counts["sent"], counts["scored"], counts["bad"], counts["lost"]) == (200, 197, 3, 0)
    assert list(found.records.loc[found.records["outcome"] == "bad", "sequence"]) == [0, 17, 199]


def test_a_server_scores_without_a_broker(make: Make, runs_dir: Path) -> None:
    sets = (ALONE, "serving.kind=external", "serving.runtime=weir", "workload.duration=1 s")
    found = whole(run(make(*sets), out=runs_dir), sent=300)
    assert found.meta["server"]["calls"]["answered"] == 300


def test_frames_come_whole_however_they_are_cut() -> None:
    sent = [((i, i + 1, i + 2), bytes([i]) * (i * 37)) for i in range(40)]
    stream = b""
    for stamps, payload in sent:
        header = INPUT_HEADER.pack(*stamps)
        stream += LENGTH.pack(len(header) + len(payload)) + header + payload
    for step in (1, 7, 1000, len(stream)):
        buffer, found = bytearray(), []
        for at in range(0, len(stream), step):
            buffer += stream[at : at + step]
            found += list(frames(buffer))
        assert found == sent
        assert not buffer
    buffer = bytearray(stream)
    taken = frames(buffer)
    assert next(taken) == sent[0]
    taken.close()  # whoever stops has the rest still before it
    assert list(frames(buffer)) == sent[1:]


def test_what_it_does_not_have_is_refused(make: Make) -> None:
    with pytest.raises(ScenarioError, match="has no broker, so no topic that could hold one"):
        make(ALONE, "workload.backlog.records=5")
    with pytest.raises(RefusedError, match=r"serving\.client\.mode: async; engine standalone calls blocking"):
        refuse_elsewhere(make(ALONE, "serving.kind=external", "serving.client.mode=async"))


def test_a_killed_worker_ends_the_run(harness: Start) -> None:
    started = harness("--set", ALONE, "--set", "workload.duration=60 s")
    started.until_loaded()
    found = died(started, "real.engines.standalone\0", b"worker.0")
    assert (found.records["acked"] >= 0).any()


def test_a_killed_harness_leaves_nothing(harness: Start) -> None:
    started = harness("--set", ALONE, "--set", "workload.duration=60 s")
    started.until_loaded()
    family = started.family()
    assert len(family) >= 3  # the reaper, a generator, a worker
    started.popen.kill()
    assert gone(family, 5.0) == []


@pytest.mark.slow
@pytest.mark.measures
@pytest.mark.parametrize("workers", [1, 2])
def test_half_a_minute(make: Make, runs_dir: Path, workers: int) -> None:
    sets = (ALONE, f"engine.parallelism={workers}", "workload.duration=30 s")
    found = whole(run(make(*sets), out=runs_dir), sent=6100)
    assert found.meta["verdict"] == "STABLE", found.meta["verdict_reason"]
