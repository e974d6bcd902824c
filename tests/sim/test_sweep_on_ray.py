"""`sim sweep --on ray`: on two nodes as on one machine, byte for byte, one of them killed, interrupted, refused."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
import pytest

from scenarios import load
from scenarios.spec import Arrival, ModelMessage, ModelStream, Scenario, Workload
from sim import costs, kept, on_ray, on_ray_worker, sweeping
from sim.warm import small_calibration

ROOT = Path(__file__).resolve().parents[2]
SWEEP = """
name: small
workload: {arrival: {kind: poisson, rate: 400 /s}, warmup: 0 s, duration: 3 s, drain: 1 s}
sweep: {zip: {engine.parallelism: [1, 2, 4], broker.partitions: [4, 8, 16]}, workload.points: [1, 8], repeats: 4}
"""
RUNS = 24
PATIENCE_S = 300.0

# Ray leaves open the files that the processes it starts write to.
pytestmark = [
    pytest.mark.filterwarnings(f"ignore::{name}")
    for name in ("ResourceWarning", "pytest.PytestUnraisableExceptionWarning")
]

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="a Ray cluster: pip install 'weir[ray]'")


@dataclasses.dataclass
class Nodes:
    """Two nodes of a cluster on loopback."""

    cluster: Any
    second: Any

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def busy(self) -> list[psutil.Process]:
        """The workers of the second node that run a task."""
        return [each for each in _children(self.raylet()) if _title(each).startswith("ray::simulate")]

    def raylet(self) -> psutil.Process:
        (info,) = self.second.all_processes["raylet"]
        return psutil.Process(info.process.pid)

    def hold(self) -> psutil.Process | None:
        """A worker of the second node, stopped in the middle of a task: it cannot finish it any more."""
        for each in self.busy():
            with _gone():
                each.suspend()
                if _title(each).startswith("ray::simulate"):
                    return each
                each.resume()
        return None

    def kill_second(self) -> None:
        """The node is gone at once, with all it ran."""
        found = _children(self.raylet())
        self.cluster.remove_node(self.second, allow_graceful=False)
        for each in found:
            with _gone():
                each.kill()


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    before = set(psutil.Process().children(recursive=True))
    settings = {"num_cpus": 1, "object_store_memory": 100 << 20, "node_ip_address": "127.0.0.1"}
    cluster: Any = None
    # A short name: sockets lie in it, whose paths may not be long.
    with tempfile.TemporaryDirectory(prefix="weir-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # Else Ray takes a loopback address for the machine's outer one, where nothing of this cluster listens.
        monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                cluster = import_module("ray.cluster_utils").Cluster(
                    initialize_head=True, head_node_args=settings | {"include_dashboard": False}
                )
                second = cluster.add_node(**settings)
            yield Nodes(cluster, second)
        finally:
            started = [each for each in psutil.Process().children(recursive=True) if each not in before]
            if cluster is not None:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    cluster.shutdown()
            _, left = psutil.wait_procs(started, timeout=30)
            for each in left:
                with _gone():
                    each.kill()
            psutil.wait_procs(left, timeout=30)


@pytest.fixture
def asked(tmp_path: Path) -> list[str]:
    """The arguments of a sweep that takes a while but not long."""
    costs.write(small_calibration(), tmp_path / "small.json")
    (tmp_path / "swept.yaml").write_text(SWEEP)
    return ["sweep", str(tmp_path / "swept.yaml"), "--calibration", str(tmp_path / "small.json"), "--json"]


def begin(asked: list[str], out: Path, *more: str) -> subprocess.Popen[bytes]:
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    command = [sys.executable, "-m", "sim", *asked, "-o", str(out), *more]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )


def end(process: subprocess.Popen[bytes]) -> tuple[int, bytes, str]:
    try:
        out, err = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    return process.returncode, out, err.decode()


def local(asked: list[str], out: Path) -> bytes:
    code, printed, said = end(begin(asked, out, "--jobs", "1"))
    assert code == 0, said
    return printed


def files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (out / kept.FOLDER).glob("*.json")}


def until(condition: Callable[[], Any], process: subprocess.Popen[bytes]) -> Any:
    """What the condition gives as soon as it is true; the process must not end before."""
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE_S:
        found = condition()
        if found:
            return found
        if process.poll() is not None:
            pytest.fail(f"it ended before: {process.communicate()}")
        time.sleep(0.01)
    process.kill()
    pytest.fail(f"it never came: {process.communicate()}")


@needs_ray
def test_a_lost_node_is_survived_and_nothing_tells_the_results_from_local_ones(
    nodes: Nodes, asked: list[str], tmp_path: Path
) -> None:
    process = begin(asked, tmp_path / "ray", "--on", "ray", "--ray-address", nodes.address)

    until(nodes.hold, process)
    nodes.kill_second()
    code, printed, said = end(process)
    assert code == 0, said
    assert "was lost; what it had in hand is run again" in said
    assert printed == local(asked, tmp_path / "here")
    assert files(tmp_path / "ray") == files(tmp_path / "here")
    assert len(files(tmp_path / "ray")) == RUNS


@needs_ray
def test_what_an_interrupted_sweep_had_done_is_kept_wherever_it_goes_on(
    nodes: Nodes, asked: list[str], tmp_path: Path
) -> None:
    process = begin(asked, tmp_path / "ray", "--on", "ray", "--ray-address", nodes.address)
    held = until(nodes.hold, process)  # so it cannot be done before it is interrupted
    until(lambda: any((tmp_path / "ray" / kept.FOLDER).glob("*.json")), process)
    process.send_signal(signal.SIGINT)
    code, printed, said = end(process)
    with _gone():
        held.resume()
    assert (code, printed) == (130, b""), said
    assert f"of {RUNS} simulations are kept" in said
    done = files(tmp_path / "ray")
    assert 0 < len(done) < RUNS
    before = {name: (tmp_path / "ray" / kept.FOLDER / name).stat().st_mtime_ns for name in done}
    whole = local(asked, tmp_path / "here")
    code, printed, said = end(begin(asked, tmp_path / "ray", "--on", "ray", "--ray-address", nodes.address))
    assert code == 0, said
    assert printed == whole
    assert files(tmp_path / "ray") == files(tmp_path / "here")
    assert before == {name: (tmp_path / "ray" / kept.FOLDER / name).stat().st_mtime_ns for name in done}


@needs_ray
@pytest.mark.parametrize(
    ("address", "message"),
    [
        (None, "--on ray: which cluster? --ray-address HOST:PORT, or RAY_ADDRESS in the environment"),
        ("local", "--ray-address: 'local' is no address of a cluster; allowed: HOST:PORT"),
        ("here:ninety", "'here:ninety' is no address of a cluster"),
        ("127.0.0.1:{free}", "--ray-address: no Ray cluster at 127.0.0.1:"),
        ("ray://127.0.0.1:{free}", "--ray-address: no Ray cluster at ray://127.0.0.1:"),
    ],
)
def test_no_cluster_is_told_at_once(address: str | None, message: str, asked: list[str], tmp_path: Path) -> None:
    with socket.socket() as free:  # bound, but nobody listens
        free.bind(("127.0.0.1", 0))
        given = [] if address is None else ["--ray-address", address.format(free=free.getsockname()[1])]
        code, printed, said = end(begin(asked, tmp_path / "out", "--on", "ray", *given))
    assert (code, printed) == (2, b"")
    assert message in said
    assert len(said.splitlines()) == 1, said


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is installed: nothing to refuse")
def test_without_ray_it_says_what_to_install(asked: list[str], tmp_path: Path) -> None:
    code, printed, said = end(begin(asked, tmp_path / "out", "--on", "ray", "--ray-address", "127.0.0.1:1"))
    assert (code, printed) == (2, b"")
    assert said == "--on ray: Ray is not installed; pip install 'weir[ray]'\n"


def test_an_address_without_a_cluster_to_go_to_is_refused(asked: list[str], tmp_path: Path) -> None:
    code, _, said = end(begin(asked, tmp_path / "out", "--ray-address", "127.0.0.1:1"))
    assert code == 2
    assert said == "--ray-address: is of --on ray\n"


# ---------------------------------------------------------------- what a worker does, without a cluster


def traced(tmp_path: Path) -> Scenario:
    trace, model = tmp_path / "counts.csv", tmp_path / "model.onnx"
    trace.write_text("".join("40\n" for _ in range(50)))
    model.write_bytes(b"m" * 1000)
    workload = Workload(Arrival("trace", path=str(trace)), warmup_ns=0, drain_ns=10**9, seed=3)
    stream = ModelStream(messages=(ModelMessage("first", path=str(model)),))
    return Scenario(name="small", workload=workload, model_stream=stream)


def test_a_worker_needs_neither_our_folder_nor_the_scenarios_files(tmp_path: Path) -> None:
    """The worker of another machine: a fresh interpreter that has only the text of `on_ray_worker`."""
    trace = tmp_path / "counts.csv"
    trace.write_text("second,records\n" + "".join(f"{at},200\n" for at in range(2)))
    text = "workload: {arrival: {kind: trace, path: counts.csv}, warmup: 0 s, drain: 1 s}\n"
    (tmp_path / "s.yaml").write_text(text)
    scenario = sweeping.seeded(load.load(tmp_path / "s.yaml"), 0)
    calibration = small_calibration()
    name = f"{sweeping.identity(scenario, calibration, 'loop')}.json"
    here = sweeping.run_job(sweeping.Job(scenario, calibration, "loop", tmp_path / "here" / name))
    sent = tmp_path / "sent.pickle"
    contents = on_ray.files_of(scenario)
    assert list(contents) == [str(trace)]
    task = pickle.dumps((sweeping.run_job, sweeping.Job(scenario, calibration, "loop", tmp_path / "no" / name)))
    sources = on_ray_worker.packed(ROOT, kept.ROOMS)
    wanted = on_ray_worker.versions()
    sent.write_bytes(
        pickle.dumps((kept.ROOMS, kept.sources(), wanted, task, list(contents), sources, *contents.values()))
    )
    trace.unlink()
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "bare.py").write_bytes(Path(on_ray_worker.__file__).read_bytes())
    program = "import bare, json, pickle, sys; print(json.dumps(bare.simulate(*pickle.load(open(sys.argv[1], 'rb')))))"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "NUMBA_DISABLE_JIT": "1",  # what is compiled is not what is asked here, and that takes a minute
    }
    done = subprocess.run(
        [sys.executable, "-c", program, str(sent)], cwd=alone, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    kind, found = json.loads(done.stdout)
    assert kind == "done"
    assert json.dumps(found) == json.dumps(here)
    assert not (tmp_path / "no").exists()
    (unpacked,) = (tmp_path / "cache" / "weir").glob("sources-*")
    assert on_ray_worker.digest_of(unpacked, kept.ROOMS) == kept.sources()


def test_a_node_with_other_versions_refuses() -> None:
    wanted = on_ray_worker.versions() | {"numpy": "1.0"}
    kind, why = on_ray_worker.simulate(kept.ROOMS, kept.sources(), wanted, b"", [], b"")
    assert kind == "refused"
    assert "numpy" in why
    assert "not 1.0" in why


def test_of_models_only_the_size_is_sent(tmp_path: Path) -> None:
    scenario = traced(tmp_path)
    found = on_ray.files_of(scenario)
    assert found[str(tmp_path / "model.onnx")] == 1000
    assert found[str(tmp_path / "counts.csv")] == (tmp_path / "counts.csv").read_bytes()
    moved = on_ray_worker.renamed(scenario, {str(tmp_path / "model.onnx"): "/m", str(tmp_path / "counts.csv"): "/c"})
    assert moved.workload.arrival.path == "/c"
    assert moved.model_stream.messages[0].path == "/m"
    assert on_ray_worker.renamed(scenario, {}) == scenario


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


class _gone:  # noqa: N801 - reads like contextlib.suppress
    """Suppresses that a process is no more."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is not None and issubclass(kind, psutil.Error)
