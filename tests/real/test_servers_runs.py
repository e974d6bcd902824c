"""Whole runs on the mock broker that score by an external server: accounting, stamps, counts, refusals."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.runs import Run, read_run
from control.batching import Rules
from real.errors import ChildDiedError, RefusedError
from real.procfs import start_time
from real.run import run
from real.servers.base import MARK
from real.servers.played import rules_of
from real.session import Session
from scenarios.keys import keys_of
from scenarios.spec import MS_NS
from tests.real.checks import ordered, sound
from tests.real.conftest import Make

pytestmark = pytest.mark.measures

EXTERNAL = "serving.kind=external"
ASYNC = (EXTERNAL, "serving.client.mode=async")


def accounted(path: Path, sent: int) -> Run:
    """Every record has an outcome, and only one."""
    found = read_run(path)
    counts = found.meta["accounting"]
    outcomes = Counter(found.records["outcome"])
    assert counts["sent"] == sent == sum(outcomes.values())
    for word, n in outcomes.items():
        assert counts[word] == n
    assert found.meta["verdict"] != "INVALID", found.meta["verdict_reason"]
    return found


@pytest.mark.parametrize("protocol", ["oip-http", "oip-grpc"])
def test_a_run_that_calls_our_server_is_whole(make: Make, runs_dir: Path, protocol: str) -> None:
    sets = (EXTERNAL, "serving.runtime=weir", f"serving.client.protocol={protocol}", "engine.parallelism=2")
    found = sound(run(make(*sets), out=runs_dir), sent=600)
    server = found.meta["server"]
    assert (server["server"], server["protocol"]) == ("weir", protocol)
    assert server["ready_s"] > 0
    assert server["calls"] == {**dict.fromkeys(server["calls"], 0), "calls": 600, "answered": 600}
    counters = found.meta["counters"]["server"]
    in_window = found.meta["counters"]["window_ns"] / 1e9 * 200
    assert counters["requests"] == counters["batches"] == pytest.approx(in_window, rel=0.05)
    assert counters["cpu_ns"] > counters["busy_ns"] * 0.2 > 0
    rows = found.host[found.host["name"] == "server"]
    assert (rows["rss_bytes"] > 50e6).all()
    assert len(rows) >= 3


def test_an_external_onnx_is_our_server(make: Make, runs_dir: Path) -> None:
    found = sound(run(make(EXTERNAL, "serving.runtime=onnx", "model=noop"), out=runs_dir), sent=600)
    assert found.meta["server"]["server"] == "weir"


def test_batches_are_the_servers(make: Make, runs_dir: Path) -> None:
    sets = ("serving.batch=8", "serving.batch_delay=20 ms", "serving.client.in_flight=8", "workload.points=3")
    found = sound(run(make(*ASYNC, *sets), out=runs_dir), sent=600)
    counters = found.meta["counters"]["server"]
    assert counters["batches"] * 1.5 < counters["requests"] <= counters["batches"] * 8


def test_several_calls_under_way_keep_the_order_of_outputs(make: Make, runs_dir: Path) -> None:
    """Calls of 20 ms at 200 /s: four at a time on average; one after the other they would do 50 /s."""
    sets = ("model=sleep", "model.base=20 ms", "model.each=0 ms", "serving.workers=16", "serving.client.in_flight=16")
    found = accounted(run(make(*ASYNC, *sets), out=runs_dir), 600)
    assert found.meta["accounting"]["scored"] == 600
    ordered(found.records)
    records = found.records
    begins, ends = np.sort(records["score_begin"]), np.sort(records["score_end"])
    open_at_begin = np.arange(1, 601) - np.searchsorted(ends, begins, side="right")
    assert 1 < open_at_begin.max() <= 16
    assert ((records["score_end"] - records["score_begin"]) >= 20 * MS_NS).all()


@pytest.mark.parametrize("client", [(EXTERNAL,), ASYNC])
def test_records_without_an_answer_in_time_expire(make: Make, runs_dir: Path, client: tuple[str, ...]) -> None:
    sets = ("model=sleep", "model.base=400 ms", "model.each=0 ms", "workload.records=8", "workload.arrival.rate=4 /s")
    scenario = make(*client, *sets, "serving.client.timeout=30 ms", "serving.client.retries=1")
    found = accounted(run(scenario, out=runs_dir), 8)
    assert found.meta["accounting"]["expired"] == 8
    calls = found.meta["server"]["calls"]
    assert (calls["calls"], calls["timeout"], calls["retried"], calls["answered"]) == (16, 16, 8, 0)
    records = found.records
    assert ((records["score_end"] - records["score_begin"]) >= 60 * MS_NS).all()
    assert (records["out_appended"] == -1).all()


@pytest.mark.parametrize("client", [(EXTERNAL,), ASYNC])
def test_a_server_killed_in_mid_run_is_heard(make: Make, runs_dir: Path, client: tuple[str, ...]) -> None:
    """The run ends early and says why; what was called and not answered is counted, and nothing is left behind."""
    killed: list[int] = []

    def kill(line: str, _share: float | None) -> None:
        if line.startswith("load") and "0 of" not in line and not killed:  # outputs flow
            killed.append(server_process())
            os.kill(killed[0], signal.SIGKILL)

    with Session(out=runs_dir, warm_s=0, progress=kill) as session:
        path = session.run(make(*client, "workload.duration=20 s"))
        assert isinstance(session.last_error, ChildDiedError)
        found = read_run(path)
        assert found.meta["reason"] == "error"
        assert "server was killed by signal 9" in found.meta["verdict_reason"]
        counts, outcomes = found.meta["accounting"], Counter(found.records["outcome"])
        assert counts["scored"] > 0
        assert counts["scored"] == outcomes["scored"]
        assert counts.get("lost", 0) == 0
        told = found.meta["server"]["calls"]
        assert told["answered"] >= counts["scored"]
        assert counts.get("failed", 0) <= told["connection"]
        again = sound(session.run(make(*client)), sent=600)  # a new server
        assert again.meta["server"]["calls"]["answered"] == 600


def server_process() -> int:
    """The front of the server that a session of this process has started."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes()
                mine = int((folder / "stat").read_bytes().rpartition(b")")[2].split()[1]) == os.getpid()
            except (OSError, IndexError):
                continue
            if mine and b"real.servers.own.front" in words:
                return int(folder.name)
    raise AssertionError("no server")


def test_keys_are_asked_for_as_the_scenario_says(make: Make, runs_dir: Path) -> None:
    found = sound(run(make(EXTERNAL, "serving.cache.keys=40", "serving.cache.skew=1"), out=runs_dir), sent=600)
    counters = found.meta["counters"]["server"]
    keys = keys_of(found.meta["seed"], 600, 40, 1.0)
    # The window begins with the record due at 0.5 s, give or take what a busy machine takes to look.
    counted = [len(set(keys[first:]) - set(keys[:first])) for first in range(60, 200)]
    assert min(counted) <= counters.get("cache_misses", 0) <= max(counted)
    assert counters["cache_hits"] + counters.get("cache_misses", 0) == pytest.approx(500, abs=60)
    assert counters["requests"] == counters.get("cache_misses", 0)


def test_a_killed_harness_leaves_no_server(harness: Any) -> None:
    started = harness("--set", EXTERNAL, "--set", "workload.duration=30 s", "--broker", "mock")
    started.until_loaded()
    family = started.family()
    front = started.child("real.servers.own.front")
    assert MARK.encode() in Path(f"/proc/{front}/environ").read_bytes()
    started.popen.kill()
    started.popen.wait()
    end = time.monotonic() + 30
    while any(start_time(pid) == start for pid, start in family.items()):
        assert time.monotonic() < end
        time.sleep(0.05)
    while list(started.temporary.iterdir()):
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (("serving.runtime=tf-serving",), r"serving\.runtime: real has no server tf-serving; there are weir, mlserver"),
        (("serving.client.protocol=tfs-grpc",), r"serving\.client\.protocol: tfs-grpc; weir speaks oip-http, oip-grpc"),
        (("serving.client.protocol=smtp",), r"serving\.client\.protocol: no protocol smtp"),
        (
            ("serving.runtime=mlserver", "serving.batch=8", "serving.batching={policy: aimd, slo: 20 ms}"),
            r"serving\.batching\.policy: aimd; mlserver has a batch and a batch_delay only",
        ),
        (("serving.runtime=torchserve", "serving.cache.keys=10"), r"serving\.cache: torchserve has none"),
        (("serving.runtime=triton", "model=noop", "workload.payload.pad=1 KiB"), r"workload\.payload\.pad: triton"),
        (("serving.cache.keys=1000000",), r"serving\.cache\.keys: 1,000,000 inputs would take about"),
        (
            ("engine.kind=kafka-streams", "serving.client.mode=async"),
            r"serving\.client\.mode: async; engine kafka-streams makes blocking calls",
        ),
    ],
)
def test_what_is_not_here_is_refused(make: Make, runs_dir: Path, sets: tuple[str, ...], message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        run(make(EXTERNAL, *sets), out=runs_dir)
    assert not list(runs_dir.glob("*"))


def test_a_server_that_is_not_installed_is_refused_in_one_line(
    make: Make, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIR_PYTHON_MLSERVER", "/usr/bin/env")  # a program, and no Python
    with pytest.raises(RefusedError, match=r"serving\.runtime: /usr/bin/env \(WEIR_PYTHON_MLSERVER\) has no mlserver"):
        run(make(EXTERNAL, "serving.runtime=mlserver"), out=runs_dir)
    monkeypatch.setenv("WEIR_PYTHON_MLSERVER", "/no/such/python")
    with pytest.raises(RefusedError, match="WEIR_PYTHON_MLSERVER: '/no/such/python' is no program"):
        run(make(EXTERNAL, "serving.runtime=mlserver"), out=runs_dir)


def test_rules_are_those_that_the_simulator_goes_by(make: Make) -> None:
    def of(*sets: str) -> Rules:
        return rules_of(make(EXTERNAL, *sets).serving)

    assert of() == Rules("eager", 1)
    assert of("serving.batch=8") == Rules("eager", 8)
    assert of("serving.batch=8", "serving.batch_delay=2 ms") == Rules("delayed", 8, 2 * MS_NS)
    assert of("serving.batch=8", "serving.batching.policy=fixed").wait_ns == 100 * MS_NS
    aimd = of("serving.batch=256", "serving.batching={policy: quantile, slo: 20 ms, samples: 600}")
    assert aimd == Rules("quantile", 256, 0, 20 * MS_NS, 600)
