"""Faults of every kind: who is hit goes, or stands still, and comes back, and nothing is lost."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.runs import Run, read_run
from real.session import Session
from tests.real.conftest import Harness, Make
from tests.real.test_supervision import died

S_NS = 1_000_000_000
LASTS = ("workload.warmup=0 s", "workload.duration=4 s", "workload.drain=90 s", "deadline=170 s")
SERVED = ("serving.kind=external", "serving.runtime=weir", "serving.client.timeout=3 s", "serving.client.retries=20")
STREAMS = ("engine.kind=kafka-streams", "engine.commit_interval=0.5 s")
FLINK = ("engine.kind=flink", "engine.commit_interval=0.5 s")


def fault(target: str, kind: str, restart: str = "0.5 s") -> str:
    return f"faults=[{{at: 1.5 s, target: {target}, kind: {kind}, restart: {restart}}}]"


def ran(session: Session, scenario: Any) -> Run:
    """A run that went its way and lost nothing."""
    run = read_run(session.run(scenario))
    counts = run.meta["accounting"]
    assert run.meta["reason"] == "complete", run.meta["verdict_reason"]
    assert run.meta["verdict"] != "INVALID", run.meta["verdict_reason"]
    assert (counts["sent"], counts["lost"], counts["in_flight"]) == (800, 0, 0)
    return run


@pytest.mark.kafka
@pytest.mark.parametrize(
    "sets",
    [
        (fault("broker", "pause"),),
        *(
            pytest.param(sets, marks=pytest.mark.slow)
            for sets in (
                (fault("worker-0", "pause"),),
                ("engine.parallelism=2", fault("worker-1", "restart", "0.2 s")),
                ("engine.parallelism=2", fault("engine", "kill")),
                (fault("broker", "kill"),),
                (fault("broker", "restart"),),
            )
        ),
        *(
            pytest.param((*engine, each), marks=pytest.mark.slow)
            for engine in (STREAMS, FLINK)
            for each in (
                fault("worker-0", "pause"),
                fault("engine", "restart"),
                fault("broker", "pause"),
                fault("broker", "kill"),
            )
        ),
    ],
    ids=str,
)
def test_who_comes_back_goes_on_and_nothing_is_lost(make: Make, kafka: Session, sets: tuple[str, ...]) -> None:
    run = ran(kafka, make(*LASTS, *sets))
    assert run.meta["accounting"]["scored"] == 800


def test_a_paused_worker_stands_still(make: Make, mock: Session) -> None:
    begun = ran(mock, make(*LASTS, fault("worker-0", "pause", "1 s"))).records["score_begin"]
    # It is stopped a little after 1.5 s, and for a second: nothing begins in the middle of that.
    assert not begun.between(1.8 * S_NS, 2.3 * S_NS).any()
    assert (begun > 2.3 * S_NS).any()


@pytest.fixture
def mock(runs_dir: Any) -> Any:
    with Session(out=runs_dir, broker="mock", warm_s=0) as session:
        yield session


@pytest.mark.parametrize(("kind", "restart"), [("pause", "0.5 s"), ("kill", "0.1 s")])
def test_a_server_comes_back_on_its_ports(make: Make, mock: Session, kind: str, restart: str) -> None:
    run = ran(mock, make(*LASTS, *SERVED, fault("server", kind, restart)))
    counts, records = run.meta["accounting"], run.records
    assert counts["scored"] + counts["failed"] + counts["expired"] == 800
    late = records[records["created"] > 3.9 * S_NS]
    assert (late["outcome"] == "scored").any()  # it answers again


@pytest.mark.kafka
@pytest.mark.parametrize(
    "sets",
    [
        pytest.param((), marks=pytest.mark.slow),
        *(
            pytest.param((f"engine.kind={kind}",), marks=pytest.mark.slow)
            for kind in ("kafka-streams", "flink", "pekko")
        ),
    ],
    ids=str,
)
def test_a_killed_broker_ends_the_run(harness: Callable[..., Harness], sets: tuple[str, ...]) -> None:
    options = [f"--set={each}" for each in (*sets, "workload.duration=60 s")]
    started = harness("--broker", "kafka", *options)
    started.until_loaded(90)
    died(started, "kafka.Kafka", b"broker", reason="error")


def test_a_full_disk_is_told_before_anything_starts(scenario_file: Path, tmp_path: Path) -> None:
    small = tmp_path / "small-disk"
    small.mkdir()
    unshare = shutil.which("unshare")
    mounted = f"mount -t tmpfs -o size=8m none {small}"
    if unshare is None or subprocess.run([unshare, "-rm", "sh", "-c", mounted], capture_output=True).returncode:
        pytest.skip("no small disk can be mounted here (unshare -rm)")
    run = f"{sys.executable} -m real run {scenario_file} -o {tmp_path / 'runs'}"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [unshare, "-rm", "sh", "-c", f"{mounted} && TMPDIR={small} {run}"], capture_output=True, cwd=root, timeout=120
    )
    assert done.returncode == 2, done.stderr
    assert b"MiB free on its disk; the files of this run need" in done.stderr
    assert b"Traceback" not in done.stderr
