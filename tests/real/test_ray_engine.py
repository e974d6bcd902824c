"""The engine ray: whole runs, back-pressure, reservations, and the deaths of its parts.

Needs Ray in this Python, or in the one that `WEIR_PYTHON_RAY` names; what needs it is skipped by name elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from analysis.runs import read_run
from real.engines.ray import RayEngine, reserved
from real.errors import RefusedError
from real.run import run
from real.servers.environment import Environment
from real.session import Session
from scenarios.spec import Engine, Scenario
from tests.real.checks import sound
from tests.real.conftest import Harness, Make
from tests.real.test_supervision import gone

Start = Callable[..., Harness]
LACKING = Environment.of("ray").lacks("ray", "ray")
needs_ray = pytest.mark.skipif(LACKING is not None, reason=str(LACKING))
RAY = ("engine.kind=ray", "broker.producer.linger=0 ms")
UNTIL_LOADED_S = 240.0


@needs_ray
def test_two_replicas_share_the_partitions(make: Make, runs_dir: Path) -> None:
    found = sound(run(make(*RAY, "engine.parallelism=2"), out=runs_dir), sent=600)
    by_worker = found.records.groupby("worker")["partition"].unique().apply(sorted).to_dict()
    assert by_worker == {0: [0, 1], 1: [2, 3]}
    counters = found.meta["counters"]
    told = {key: counters["engine"][key] for key in ("actors", "actors_unscheduled", "replicas_working")}
    assert told == {"actors": 6, "actors_unscheduled": 0, "replicas_working": 2}
    assert found.meta["metrics"]["actors_unscheduled"] == 0
    assert counters["engine"]["cpu_ns"] > 0
    for worker in counters["workers"]:
        sections = [worker[f"{name}_cpu_ns"] for name in ("poll", "decode", "score", "encode", "produce")]
        assert min(sections) > 0
        assert worker["app_cpu_ns"] > 0
        assert worker["records"] > 0
        assert worker["consumer_cpu_ns"] > 0
        assert worker["producer_cpu_ns"] > 0
        assert worker["fetch_requests"] > 0
        assert worker["produce_requests"] > 0
    assert found.meta["versions"]["ray"]


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize("points", [1, 32, 128])
def test_a_message_holds_many_points(make: Make, runs_dir: Path, points: int) -> None:
    sets = (*RAY, f"workload.points={points}", "workload.arrival.rate=40 /s", "workload.duration=1 s")
    sound(run(make(*sets), out=runs_dir), sent=60)


@needs_ray
@pytest.mark.slow
def test_bursts(make: Make, runs_dir: Path) -> None:
    bursts = "{kind: bursty, rate: 50 /s, low_factor: 0.7, high_factor: 1.1, low: 500 ms, high: 500 ms}"
    sets = (*RAY, f"workload.arrival={bursts}", "workload.warmup=0 s", "workload.duration=3 s")
    path = run(make(*sets), out=runs_dir)
    found = sound(path, sent=len(read_run(path).records))
    by_half = np.bincount(found.records["created"] // 500_000_000)
    assert min(by_half[1::2]) > max(by_half[0::2])


@needs_ray
def test_a_backlog_is_drained_with_few_records_under_way(make: Make, runs_dir: Path) -> None:
    """Back-pressure: a source is never more than the two mailboxes, and what is in the actors' hands, ahead."""
    sets = (*RAY, "engine.mailbox=3", "workload.backlog.records=400", "workload.arrival.rate=0 /s")
    made = make(*sets, "broker.consumer.max_poll_records=1", "workload.payload.format=binary")
    found = read_run(run(made, out=runs_dir, poison=[7]))
    counts, records = found.meta["accounting"], found.records
    assert found.meta["verdict"] != "INVALID", found.meta["verdict_reason"]
    assert (counts["sent"], counts["scored"], counts["bad"]) == (400, 399, 1)
    assert counts["lost"] == counts["duplicates"] == counts["in_flight"] == 0
    assert found.meta["metrics"]["drain_throughput_per_s"] > 0
    done = records[records["outcome"] == "scored"].sort_values("fetched")
    fetched, acked = done["fetched"].to_numpy(), np.sort(done["acked"].to_numpy())
    under_way = np.arange(1, len(fetched) + 1) - np.searchsorted(acked, fetched)
    assert under_way.max() <= 2 * 3 + 2


@needs_ray
def test_actors_that_find_no_cpu_end_the_run(make: Make, runs_dir: Path) -> None:
    sets = (*RAY, "engine.parallelism=2", "engine.cpus_per_actor=1", "engine.total_cpus=4")
    with pytest.raises(RefusedError) as caught:
        run(make(*sets), out=runs_dir)
    assert str(caught.value).startswith(
        "engine.cpus_per_actor: 2 of 6 actors are not scheduled: each reserves 1 of 4 CPUs, "
        "and scoring.1, sink.1 found none"
    )


@needs_ray
@pytest.mark.kafka
@pytest.mark.slow
def test_what_is_left_after_the_drain_is_in_flight(make: Make, kafka: Session) -> None:
    sets = (*RAY, "workload.backlog.records=20000", "workload.arrival.rate=0 /s", "workload.drain=0 s")
    meta = read_run(kafka.run(make(*sets, "workload.warmup=0 s", "workload.duration=0.5 s"))).meta
    counts = meta["accounting"]
    assert meta["verdict"] == "BACKLOGGED", meta["verdict_reason"]
    assert counts["in_flight"] > 0
    assert counts["lost"] == counts["duplicates"] == 0
    assert counts["scored"] + counts["in_flight"] == 20000


@needs_ray
@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.measures
@pytest.mark.parametrize("workers", [1, 2])
def test_half_a_minute(make: Make, kafka: Session, workers: int) -> None:
    sets = (*RAY, f"engine.parallelism={workers}", "workload.warmup=2 s", "workload.duration=30 s")
    found = sound(kafka.run(make(*sets)), sent=6400)
    assert found.meta["append_clock"] == "broker"


@needs_ray
@pytest.mark.slow
def test_a_server_scores_for_the_actors(make: Make, runs_dir: Path) -> None:
    sets = (*RAY, "serving.kind=external", "serving.runtime=weir", "workload.duration=1 s")
    found = sound(run(make(*sets), out=runs_dir), sent=300)
    assert found.meta["server"]["calls"]["answered"] == 300


def actors(started: Harness) -> dict[str, int]:
    """Processes of actors by name, and Ray's own."""
    found = {}
    for pid, name in ((pid, Path(f"/proc/{pid}/cmdline")) for pid in started.family()):
        words = name.read_bytes().split(b"\0")[0].decode()
        for word in ("ray::Source", "ray::Scoring", "ray::Sink", "raylet", "gcs_server"):
            if word in words:
                found[word] = pid
    return found


def listening(family: dict[int, str]) -> set[str]:
    """Addresses on which processes take connections; one of IPv4 is told as such on a socket of IPv6 too."""
    found: set[str] = set()
    for pid in family:
        with contextlib.suppress(psutil.Error):
            ports = psutil.Process(pid).net_connections(kind="inet")
            found |= {each.laddr.ip.removeprefix("::ffff:") for each in ports if each.status == psutil.CONN_LISTEN}
    return found


@needs_ray
@pytest.mark.parametrize("part", ["ray::Scoring", pytest.param("raylet", marks=pytest.mark.slow)])
def test_the_death_of_a_part_ends_the_run(harness: Start, part: str) -> None:
    started = harness(*(f"--set={each}" for each in (*RAY, "workload.duration=120 s")))
    started.until_loaded(UNTIL_LOADED_S)
    family = started.family()
    os.kill(actors(started)[part], signal.SIGKILL)
    _, err = started.popen.communicate(timeout=120)
    assert started.popen.returncode == 1
    assert b"engine ended with exit code 1" in err or b"engine was killed" in err, err
    assert gone(family, 5.0) == []
    (path,) = [p for p in started.runs.iterdir() if not p.name.startswith(".")]
    found = read_run(path)
    assert (found.meta["reason"], found.meta["verdict"]) == ("worker-died", "INVALID")
    assert (found.records["acked"] >= 0).any()
    assert list(started.temporary.iterdir()) == []


@needs_ray
def test_a_killed_harness_leaves_nothing_of_ray(harness: Start) -> None:
    started = harness(*(f"--set={each}" for each in (*RAY, "workload.duration=120 s")))
    started.until_loaded(UNTIL_LOADED_S)
    family = started.family()
    assert {"ray::Source", "ray::Scoring", "ray::Sink", "raylet", "gcs_server"} <= set(actors(started))
    assert listening(family) <= {"127.0.0.1", "::1"}
    started.popen.kill()
    assert gone(family, 5.0) == []
    end = time.monotonic() + 60
    while list(started.temporary.glob("weir-*")):
        assert time.monotonic() < end, "its folder is left"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        (Engine("ray", cpus_per_actor=1.5), r"engine\.cpus_per_actor: 1\.5; Ray has whole CPUs from one on"),
        (Engine("ray", total_cpus=2.5), r"engine\.total_cpus: 2\.5; Ray has whole CPUs"),
    ],
)
def test_what_ray_cannot_reserve_is_refused(engine: Engine, message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        RayEngine().refuse(Scenario(engine=engine))


def test_what_an_actor_reserves() -> None:
    assert reserved(Scenario(engine=Engine("ray", cpus_per_actor=0.5))) == 0.5
    assert reserved(Scenario(engine=Engine("ray", parallelism=2, cpus_times_parallelism=0.25))) == 0.5
    assert reserved(Scenario(engine=Engine("ray", parallelism=8, cpus_times_parallelism=0.33))) == 2.0


@pytest.mark.skipif(LACKING is None, reason="Ray is here")
def test_without_ray_it_says_how_to_get_it() -> None:
    with pytest.raises(RefusedError, match=r"engine\.kind: ray; ray is not installed: pip install 'weir\[ray\]'"):
        RayEngine().refuse(Scenario(engine=Engine("ray")))
