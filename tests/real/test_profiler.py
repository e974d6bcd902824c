"""The profiler on real replicas.  What is asserted holds on a loaded machine: against what the replicas' clocks say."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from real.child import exact_timers
from real.errors import ChildDiedError, HarnessError
from real.processes import Process, Supervisor
from real.profiler import cores, devices, run, shown
from real.profiler.cell import measure, slope, tried
from real.profiler.convergence import State
from real.profiler.fleet import Fleet
from real.profiler.grid import Asked, Cell, cells
from real.profiler.noise import Beside, Floor, floor
from real.profiler.open_loop import open_loop
from real.profiler.run import CELLS
from real.profiler.search import search
from scenarios.spec import Model
from tests.real.conftest import ROOT
from tests.real.test_supervision import gone, zombie

pytestmark = pytest.mark.measures

HERE = tuple(sorted(os.sched_getaffinity(0)))
FLOOR = Floor(400.0, 600.0, 1e5, 1e6, 5e4, 5_000.0, 1e6)
#: As shares of the sleep model's own time, wake-ups on a loaded machine count for less.
SLOW = Model(name="sleep", base_ns=20_000_000, each_ns=5_000_000)


@pytest.fixture(scope="module")
def supervisor() -> Iterator[Supervisor]:
    exact_timers()
    with Supervisor() as started:
        yield started


def cell(batch: int, replicas: int, model: Model | None = None, **fields: Any) -> Cell:
    if replicas > len(HERE):
        pytest.skip(f"{replicas} replicas of one core each need as many cores, this machine lends {len(HERE)}")
    pinning = cores.pinning((), HERE, HERE, allow_overlap=True)
    usual = {"duration_s": 1.0, "warmup_s": 0.5, "cool_down_s": 0.0}
    asked = Asked(models=((model or Model(name="sleep"), "none"),), pinning=pinning, **{**usual, **fields})
    (found,) = cells(replace(asked, batches=(batch,), replicas=(replicas,)))
    return found


def fleet(supervisor: Supervisor, of: Cell, folder: Path, runtime: str = "onnx") -> Fleet:
    return Fleet(supervisor, of.model, runtime, batch=of.batch, cores=of.cores, devices=of.devices, models=folder)


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("batch", [1, 8])
def test_full_batches_have_the_throughput_that_their_service_time_allows(
    supervisor: Supervisor, tmp_path: Path, batch: int, replicas: int
) -> None:
    nominal_ms = 2 + 0.5 * batch
    found = cell(batch, replicas, measures=("service",))
    best = 0.0
    for _ in range(5):  # between two batches a loaded machine may do something else
        got = measure(found, supervisor, tmp_path, FLOOR, lambda _step: None)
        service = got["service"]
        assert got["affinity"] == [[core] for core in HERE[:replicas]]
        assert service["lasted_s"] < found.asked.duration_s + 1.0
        assert service["batch_ms"]["min"] >= nominal_ms
        expected = replicas * batch / service["batch_ms"]["mean"] * 1e3
        assert service["capacity_per_s"] == pytest.approx(expected, rel=0.2)
        assert service["throughput_per_s"] <= replicas * batch / nominal_ms * 1e3 * 1.001
        best = max(best, service["throughput_per_s"] / service["capacity_per_s"])
        if best > 0.92:
            break
    assert best > 0.92
    assert [each["batches"] > 0 for each in service["by_replica"]] == [True] * replicas
    assert sum(each["batches"] for each in service["by_replica"]) == service["batches"]


def test_what_a_quiet_machine_must_show(supervisor: Supervisor, tmp_path: Path) -> None:
    """R.B/t(B) of t = 2 + 0.5 n ms, within 8 %."""
    for batch in (1, 8):
        got = measure(cell(batch, 1, measures=("service",)), supervisor, tmp_path, FLOOR, lambda _step: None)
        service = got["service"]
        if service["beside"]["others_cores"] > 0.3:
            pytest.skip(f"other processes use {service['beside']['others_cores']:.1f} cores")
        assert service["throughput_per_s"] == pytest.approx(batch / (2 + 0.5 * batch) * 1e3, rel=0.08)


def test_under_overload_latency_grows_by_one_less_mu_over_lambda(supervisor: Supervisor, tmp_path: Path) -> None:
    found = cell(8, 1, SLOW, duration_s=4.0)
    rate = 4 * 8 / 0.060
    with fleet(supervisor, found, tmp_path) as replicas, replicas.watched():
        run = open_loop(replicas.links, (np.arange(int(4 * rate)) * 1e9 / rate).astype(np.int64), 8, duration_s=4.0)
    counts = run.accounting()
    assert counts["unsent"] == 0
    assert counts["sent"] == counts["scored"] + counts["in_queue"] == len(run.due)
    assert counts["in_queue"] > 0
    assert run.lasted_ns < 5e9
    assert set(run.sizes[1:].tolist()) == {8}  # it is full, always
    mu = 8 / (np.diff(run.batch_began).mean() / 1e9)
    got = slope(run)
    assert got is not None
    assert got == pytest.approx(1 - mu / rate, abs=0.03)
    assert got == pytest.approx(0.75, abs=0.06)


def test_the_search_on_a_real_replica(supervisor: Supervisor, tmp_path: Path) -> None:
    found = cell(8, 1, SLOW, duration_s=1.8, trial=16)
    capacity = 8 / 0.060
    with fleet(supervisor, found, tmp_path) as replicas:
        before = Beside(sum(replicas.cpu_ns()))
        for start in (1_000.0, 15.0, 1_000.0):  # from far above, from far below; again, if something disturbed it
            with replicas.watched():
                got = search(start, lambda rate: tried(found, replicas, rate), width=1.08, most=16)
            assert got.steps[0].rate_per_s == start
            assert {step.state for step in got.steps} & {State.LOW, State.CONVERGED}
            assert got.rate_per_s is not None
            if got.rate_per_s == pytest.approx(capacity, rel=0.1):
                return
        others = before.told(sum(replicas.cpu_ns())).others_cores
    if others > 0.3:
        pytest.skip(f"other processes use {others:.1f} cores: the replica cannot reach its capacity")
    pytest.fail(f"{got.rate_per_s:.1f}/s of {capacity:.1f}/s")


def test_a_pretended_device_is_faster_and_the_rest_is_the_cpu(supervisor: Supervisor, tmp_path: Path) -> None:
    found = cell(8, min(2, len(HERE)), SLOW, gpus=devices.pretended_gpus((0,), 4.0), measures=("service",))
    got = measure(found, supervisor, tmp_path, FLOOR, lambda _step: None)
    means = [each["mean_ms"] for each in got["service"]["by_replica"]]
    assert means[0] == pytest.approx(15.0, abs=10.0)
    assert all(mean >= 60.0 for mean in means[1:])


def test_a_model_of_the_zoo_by_its_runtime(supervisor: Supervisor, tmp_path: Path) -> None:
    found = replace(cell(4, 1, Model(name="ffnn"), duration_s=0.5), runtime="onnx")
    got = measure(found, supervisor, tmp_path, FLOOR, lambda _step: None)
    assert set(got) >= {"service", "latency", "warm", "versions", "load_s", "affinity"}
    assert "onnxruntime" in got["versions"]
    latency = got["latency"]
    counts = latency["accounting"]
    assert counts["sent"] == counts["scored"] + counts["in_queue"]
    assert latency["latency_ms"]["p50"] > 0
    assert got["service"]["batch_cpu_ms"]["p50"] > 0
    json.dumps({name: value for name, value in got.items() if name != "_runs"})


def test_a_model_that_cannot_be_loaded_says_so(supervisor: Supervisor, tmp_path: Path) -> None:
    of = cell(1, 1)
    with pytest.raises(ChildDiedError, match="no runtime 'onyx'"):
        fleet(supervisor, replace(of, model=Model(name="ffnn")), tmp_path, runtime="onyx")
    assert supervisor.processes == []


def test_a_replica_that_is_killed_is_heard(supervisor: Supervisor, tmp_path: Path) -> None:
    of = cell(1, 1, SLOW)
    with fleet(supervisor, of, tmp_path) as replicas:
        process: Process = supervisor.processes[0]
        os.kill(process.pid, signal.SIGKILL)
        end = time.monotonic() + 10
        while not zombie(process.pid) and time.monotonic() < end:
            time.sleep(0.01)
        with pytest.raises(HarnessError, match="replica-0 was killed by signal 9"), replicas.watched():
            open_loop(replicas.links, [0, 1], 1)


def test_a_cell_that_fails_does_not_end_the_grid(tmp_path: Path) -> None:
    pinning = cores.pinning((), HERE, HERE[:1], allow_overlap=True)
    models = ((Model(name="ffnn"), "onyx"), (Model(name="sleep"), "none"))
    asked = Asked(models, pinning, duration_s=0.2, warmup_s=0.2, cool_down_s=0.0, repeats=1, measures=("service",))
    before = os.sched_getaffinity(0)
    bad, good = run.run(asked, out=tmp_path / "grid", models=tmp_path)
    assert os.sched_getaffinity(0) == before
    assert bad.data is None
    assert "no runtime 'onyx'" in bad.error
    assert good.data is not None
    assert good.error == ""
    rows = shown.rows([bad, good])
    assert [row["verdict"] == "failed" for row in rows] == [True, False]
    assert shown.table(rows).row_count == 2


def test_the_noise_floor(supervisor: Supervisor, tmp_path: Path) -> None:
    found = floor(supervisor, HERE[:1], tmp_path)
    assert 0 < found.batch_ns <= found.trip_p50_ns <= found.trip_p99_ns
    assert found.most_per_s > 0
    assert set(found.row()) >= {"driver_ns", "most_per_s"}


# -- the command


def command(out: Path, *options: str) -> list[str]:
    models = ("--models", str(out.parent / "models"))
    usual = (
        "--warmup",
        "0.3 s",
        "--cool-down",
        "0 s",
        "--repeats",
        "1",
        "--allow-overlap",
        "--model-cpus",
        str(HERE[0]),
    )
    return [sys.executable, "-m", "real", "grid", "-o", str(out), *models, *usual, *options]


def grid(out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(out, *options), cwd=ROOT, capture_output=True, text=True, timeout=120)


def measured(done: subprocess.CompletedProcess[str]) -> bool:
    """Whether every cell was measured; on a loaded machine one may be refused as client-bound, which it then is."""
    return done.returncode == 0 or (
        done.returncode == 1 and "client-bound" in done.stderr and "failed" not in done.stderr
    )


def repeats(out: Path) -> dict[str, list[str]]:
    """When each cell's repeats were made."""
    read = {path.name: json.loads(path.read_text()) for path in (out / CELLS).glob("*.json")}
    return {name: [repeat["at"] for repeat in data["repeats"]] for name, data in read.items()}


def test_an_interrupted_grid_keeps_what_is_done_and_goes_on_from_there(tmp_path: Path) -> None:
    out = tmp_path / "grid"
    options = ("sleep", "--batch_sizes", "1", "2", "3", "--duration", "1", "--measure", "service")
    (tmp_path / "tmp").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    popen = subprocess.Popen(
        command(out, *options), cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        end = time.monotonic() + 60
        while not list((out / CELLS).glob("sleep*.json")) and time.monotonic() < end:
            time.sleep(0.02)
        popen.send_signal(signal.SIGINT)
        _, err = popen.communicate(timeout=30)
    finally:
        popen.kill()
        popen.communicate()
    assert popen.returncode == 130, err
    assert b"the same command goes on from there" in err
    assert list((tmp_path / "tmp").glob("weir-*")) == []
    before = repeats(out)
    assert 1 <= len(before) < 3
    done = grid(out, *options, "--json")
    assert measured(done), done.stderr
    after = repeats(out)
    assert len(after) == 3
    assert {name: after[name] for name in before} == before
    told = json.loads(done.stdout)
    assert [row["batch"] for row in told["cells"]] == [1, 2, 3]
    assert {row["file"] for row in told["cells"]} == set(after)
    again = grid(out, *options)
    assert measured(again), again.stderr
    assert "measuring" not in again.stderr
    assert repeats(out) == after
    assert "off by" in again.stdout  # the line through the three batch sizes


def test_a_killed_grid_leaves_no_process(tmp_path: Path) -> None:
    from tests.real.conftest import Harness

    out = tmp_path / "grid"
    popen = subprocess.Popen(command(out, "sleep", "--duration", "60"), cwd=ROOT, stderr=subprocess.PIPE)
    try:
        assert popen.stderr is not None
        for text in popen.stderr:
            if text.startswith(b"1 of 1"):
                break
        harness = Harness(popen, tmp_path, out)
        end = time.monotonic() + 30
        while len(harness.family()) < 2 and time.monotonic() < end:
            time.sleep(0.02)
        family = harness.family()
        assert len(family) >= 2  # the reaper and a replica
        popen.kill()
        assert gone(family, 5.0) == []
    finally:
        popen.kill()
        popen.communicate()


def test_a_client_bound_measurement_is_refused(tmp_path: Path) -> None:
    done = grid(
        tmp_path / "grid",
        "noop",
        "--batch-sizes",
        "1",
        "--duration",
        "0.5",
        "--measure",
        "latency",
        "--rate",
        "900000 /s",
    )
    assert done.returncode == 1
    assert "client-bound: noop none, batch 1" in done.stderr
    assert "refused" in done.stderr


def test_an_overloaded_cell_has_clippers_dump(tmp_path: Path) -> None:
    from real.profiler.dump import broken

    out = tmp_path / "grid"
    model = "sleep:base=4 ms,each=1 ms"
    done = grid(out, model, "--batch-sizes", "4", "--duration", "3", "--measure", "service,overload", "--json")
    if done.returncode == 1 and "client-bound" in done.stderr and "other processes used" in done.stderr:
        pytest.skip("other processes keep the driver from its core: the run is refused, as it should be")
    assert done.returncode == 0, done.stderr
    (path,) = (out / "clipper").glob("*.json")
    found = json.loads(path.read_text())
    assert found["node_configs"][0]["num_replicas"] == 1
    assert broken(found) == []
    (row,) = json.loads(done.stdout)["cells"]
    assert row["overload"]["p99_rises"] is True


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["ffn"], "MODELS: no model 'ffn'"),
        (["sleep", "--batch-sizes", "two"], "--batch-sizes: 'two' is no whole number"),
        (["sleep", "--duration", "1 h 3"], "--duration: "),
        (["sleep", "--num-replicas", "999999"], "--num-replicas: 999999 is not from 1 to 512"),
        (["sleep", "--num-replicas", "2"], "do not fit the models' 1 cores"),
        (["sleep", "--precision", "much"], "--precision: 'much' is no share"),
        (["sleep", "--model-gpus", "77"], "--model-gpus: no GPU 77"),
        (["sleep", "--driver-cpus", "99999"], "--driver-cpus: "),
    ],
)
def test_bad_options_are_told_in_one_line(tmp_path: Path, options: list[str], message: str) -> None:
    done = grid(tmp_path / "grid", *options)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "grid").exists()


def test_results_of_another_host_are_not_mixed_in(tmp_path: Path) -> None:
    out = tmp_path / "grid"
    options = ("sleep", "--duration", "0.2", "--measure", "service")
    assert measured(grid(out, *options))
    (path,) = (out / CELLS).glob("*.json")
    data = json.loads(path.read_text())
    data["fingerprint"]["cpu_model"] = "another"
    path.write_text(json.dumps(data))
    done = grid(out, *options)
    assert done.returncode == 2
    assert "was measured on another host (cpu_model another" in done.stderr
    path.write_text("{")
    assert "cannot be read" in grid(out, *options).stderr
    assert measured(grid(out, *options, "--fresh"))
