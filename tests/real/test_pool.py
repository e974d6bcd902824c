"""A cluster scenario on real replicas: order of events and accounting; nothing is asserted about speed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.cluster import DECISION_COLUMNS, JOB_COLUMNS, JOBS, SERVED
from analysis.cluster_run import ClusterRun, write
from analysis.runs import read_run
from real.errors import ChildDiedError, RefusedError
from real.pool import provider
from real.pool.run import run
from real.pool.shown import beside
from real.processes import Supervisor
from scenarios.cluster_spec import ClusterScenario
from scenarios.load import load_any
from tests.real.conftest import Harness
from tests.real.test_supervision import gone

pytestmark = pytest.mark.measures

ROOT = Path(__file__).resolve().parents[2]
STEP = """
name: small-step
workload: {trace: step.csv, unit: 1 s, seed: 1}
models:
  wait: {service: 10 ms, planned: 10 ms}
  ffnn: {planned: 1 ms}
jobs: {model: wait, slo: 50 ms}
cluster:
  quota: 2
  router: 0 s
  max_queue: 100000
  cold_start: 0 s
  hot_start: 0 s
  tick: 100 ms
  latency_window: 500 ms
  rate_bin: 1 s
policy: {name: aiad, options: {up_after_s: 0.5, down_after_s: 600}}
"""


@pytest.fixture
def step_file(tmp_path: Path) -> Path:
    """A load step to twice what one replica serves."""
    (tmp_path / "step.csv").write_text("job,minute,rate\n0,0,40\n0,1,200\n0,2,200\n0,3,20\n")
    path = tmp_path / "step.yaml"
    path.write_text(STEP)
    return path


def cluster(path: Path, *sets: str) -> ClusterScenario:
    found = load_any(path, sets)
    assert isinstance(found, ClusterScenario)
    return found


def sound(found: ClusterRun, sent: int) -> None:
    """Every request is accounted for, twice."""
    accounting = found.meta["accounting"]
    assert found.meta["verdict"] is None
    assert accounting["sent"] == sent == sum(count for term, count in accounting.items() if term != "sent")
    requests = found.more["requests"]
    served = requests["outcome"] == SERVED
    assert int(served.sum()) == accounting["scored"] == sum(found.more["replicas"]["served"])
    assert bool(np.all(requests["latency"][served] >= requests["service"][served]))
    assert bool(np.all(requests["entered"] >= 0))


def test_a_load_step_brings_a_second_replica(step_file: Path, tmp_path: Path) -> None:
    found = run(cluster(step_file))
    sound(found, 460)
    assert found.meta["accounting"]["scored"] == 460
    decision = next(i for i, granted in enumerate(found.decisions["granted"]) if granted == 2)
    assert found.decisions["from"][decision] == 1
    at_s = found.decisions["at_s"][decision]
    replicas = found.more["replicas"]
    assert replicas["replica"] == [0, 1]
    # Decided, then ready, then the first answer; and none of its requests was answered before.
    assert at_s == pytest.approx(replicas["decided_s"][1], abs=1e-9)
    assert at_s < replicas["ready_s"][1] < replicas["first_answer_s"][1]
    requests = found.more["requests"]
    second = requests["replica"] == 1
    answered_s = (requests["arrival"] + requests["latency"])[second] / 1e9
    assert second.any()
    assert answered_s.min() == pytest.approx(replicas["first_answer_s"][1], abs=1e-3)
    assert bool(np.all(requests["service"] >= 10_000_000))
    assert 1.0 < found.meta["metrics"]["replicas_mean"] < 2.0
    assert found.meta["metrics"]["recovery_s"] > 0
    assert found.meta["timing"]["activation_s"] == pytest.approx(replicas["ready_s"][1] - at_s, abs=1e-6)
    back = read_run(write(found, tmp_path / "runs"))
    assert back.meta["backend"] == "real"
    assert len(back.table(JOBS, JOB_COLUMNS)["requests"]) == 5  # four of the trace, one for gaps that overran the last
    assert len(back.table("decisions", DECISION_COLUMNS)["at_s"]) == len(found.decisions["at_s"])


def test_a_start_takes_at_least_what_is_configured(step_file: Path) -> None:
    found = run(cluster(step_file, "cluster.cold_start=1.5 s"))
    sound(found, 460)
    requests, replicas = found.more["requests"], found.more["replicas"]
    assert replicas["first_answer_s"][1] - replicas["decided_s"][1] >= 1.5
    assert set(requests["replica"].tolist()) <= {0, 1}


def test_what_does_not_fit_the_queue_is_dropped(step_file: Path) -> None:
    found = run(cluster(step_file, "policy={name: none}", "cluster.max_queue=3", "workload.minutes=2"))
    sound(found, 240)
    assert found.meta["accounting"]["dropped_queue"] == found.meta["metrics"]["drops"] > 0


def test_replicas_score_with_a_model_of_the_zoo(step_file: Path) -> None:
    found = run(cluster(step_file, "jobs.model=ffnn", "workload.minutes=1"), score=True)
    sound(found, 40)
    assert "onnxruntime" in found.meta["versions"]
    assert bool(np.all(found.more["requests"]["service"] > 0))


def test_what_cannot_be_run_is_refused(step_file: Path) -> None:
    with pytest.raises(RefusedError, match="no pool 'rey'; there are workers, ray"):
        run(cluster(step_file), pool="rey")
    with pytest.raises(RefusedError, match="the zoo has no model 'wait' to score with"):
        run(cluster(step_file), score=True)
    with pytest.raises(RefusedError, match="more than 512"):
        run(cluster(step_file, "cluster.quota=513"))


def test_a_pool_that_is_not_installed_names_the_extra(step_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RefusedError, match=r"pip install 'weir\[ray\]'"):
        run(cluster(step_file), pool="ray")


def test_replicas_of_ray_serve(step_file: Path) -> None:
    if find_spec("ray") is None:
        pytest.skip("the extra `ray` is not installed")
    # In a process of its own: warnings of Ray's are none of ours.
    out = step_file.parent / "runs"
    options = ["-o", str(out), "--set", "workload.minutes=2", "--pool", "ray", "--json"]
    command = [sys.executable, "-m", "real", "run", str(step_file), *options]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    (path,) = out.iterdir()
    meta = read_run(path).meta
    assert meta["accounting"]["sent"] == meta["accounting"]["scored"] == 240
    assert "ray" in meta["versions"]


def test_a_replica_that_never_listens_is_heard() -> None:
    import asyncio

    from real.pool.workers import Workers

    async def start(supervisor: Supervisor) -> None:
        await Workers(supervisor, ["no-such-model"], ROOT).start(0)

    with Supervisor() as supervisor, pytest.raises(ChildDiedError, match="no model 'no-such-model'"):
        asyncio.run(start(supervisor))


@pytest.fixture
def replaying(step_file: Path, tmp_path: Path) -> Iterator[Harness]:
    """A harness in the middle of its requests."""
    temporary, runs = tmp_path / "tmp", tmp_path / "runs"
    temporary.mkdir()
    popen = subprocess.Popen(
        [sys.executable, "-m", "real", "run", str(step_file), "-o", str(runs), "--set", "workload.unit=20 s"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert popen.stderr is not None
        for line in popen.stderr:
            if line.startswith(b"replaying"):
                break
        else:
            raise AssertionError("the harness ended before its load")
        yield Harness(popen, temporary, runs)
    finally:
        popen.kill()
        popen.communicate()


def test_a_killed_harness_leaves_no_replica(replaying: Harness) -> None:
    harness = replaying
    family = harness.family()
    assert harness.child("real.pool.replica") in family
    harness.popen.kill()
    harness.popen.communicate()
    assert gone(family, 5.0) == []
    end = time.monotonic() + 5
    while list(harness.temporary.glob("weir-*")) and time.monotonic() < end:
        time.sleep(0.02)
    assert list(harness.temporary.glob("weir-*")) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_harness_leaves_nothing(replaying: Harness, number: signal.Signals) -> None:
    harness = replaying
    family = harness.family()
    harness.popen.send_signal(number)
    _, err = harness.popen.communicate(timeout=30)
    assert harness.popen.returncode == 130, err
    assert gone(family, 5.0) == []
    assert list(harness.temporary.glob("weir-*")) == []


def test_a_killed_replica_makes_the_run_invalid(replaying: Harness) -> None:
    harness = replaying
    os.kill(harness.child("real.pool.replica"), signal.SIGKILL)
    _, err = harness.popen.communicate(timeout=30)
    assert harness.popen.returncode == 1
    assert b"replica-1 was killed by signal 9" in err
    (path,) = [p for p in harness.runs.iterdir() if not p.name.startswith(".")]
    meta = read_run(path).meta
    assert (meta["reason"], meta["verdict"]) == ("replica-died", "INVALID")


def test_real_and_simulated_beside_each_other(step_file: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "real", "run", str(step_file), "-o", str(tmp_path / "runs"), "--beside", "--json"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    real, both = map(json.loads, ended.stdout.splitlines())
    assert real["backend"] == "real"
    rows: dict[str, Any] = {row["metric"]: row for row in both["beside"]}
    assert rows["drops"] == {"metric": "drops", "real": 0, "sim": 0, "error": None}
    assert rows["recovery_s"]["real"] == real["recovery_s"]
    simulated = read_run(tmp_path / "runs" / both["sim"]).meta
    assert simulated["backend"] == "sim"
    cold_start_ms = float(simulated["scenario"]["cluster"]["cold_start"].removesuffix("ms"))
    assert cold_start_ms == pytest.approx(real["activation_s"] * 1000, abs=1e-3)


def test_the_error_of_a_simulation_is_a_share_of_the_real_figure() -> None:
    rows = beside({"recovery_s": 2.0, "drops": 0}, {"recovery_s": 2.5, "drops": 3, "mean_ms": 1.0})
    assert rows == [
        {"metric": "drops", "real": 0, "sim": 3, "error": None},
        {"metric": "recovery_s", "real": 2.0, "sim": 2.5, "error": 0.25},
    ]


def test_every_provider_is_named() -> None:
    assert set(provider.PROVIDERS) == {"workers", "ray"}
