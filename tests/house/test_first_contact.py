"""What a newcomer meets in the first ten minutes: each message says what is wrong, where, and what to do."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCENARIO = """
name: small
workload: {arrival: {kind: constant, rate: 200 /s}, warmup: 0.5 s, duration: 2 s, drain: 5 s}
broker: {kind: kafka, partitions: 4, producer: {linger: 1 ms}}
engine: {kind: python, parallelism: 1}
model: ffnn
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SCENARIO)
    return path


def weir(*words: object, cwd: Path, one_core: bool = False, **environment: str) -> subprocess.CompletedProcess[str]:
    def first_core() -> None:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    return subprocess.run(
        [sys.executable, "-m", "weir", *map(str, words)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1", "COLUMNS": "160", **environment},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=600,
        preexec_fn=first_core if one_core else None,
    )


def test_no_java(scenario: Path, tmp_path: Path) -> None:
    found = weir("real", "run", scenario, "-o", tmp_path / "runs", cwd=tmp_path, PATH=str(tmp_path), JAVA_HOME="")
    assert found.returncode == 2
    assert "broker.kind: kafka needs Java 17 or newer (no java on the PATH); --broker mock needs none" in found.stderr


def test_the_way_around_no_java_is_one(scenario: Path, tmp_path: Path) -> None:
    words = ("real", "run", scenario, "-o", tmp_path / "runs", "--broker", "mock", "--warm", "0")
    found = weir(*words, cwd=tmp_path, PATH=str(tmp_path), JAVA_HOME="")
    assert found.returncode == 0, found.stderr
    assert "librdkafka's mock broker: its latencies are not Kafka's" in found.stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """As much of a fresh checkout as `make setup` looks at first."""
    if shutil.which("make") is None:
        pytest.skip("make is not on the PATH")
    for name in ("Makefile", "requirements-dev.lock"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def make(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    return subprocess.run(["make", *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("version", [(3, 9), (3, 14)])
def test_a_python_that_is_too_old_or_too_new(checkout: Path, version: tuple[int, int]) -> None:
    other = checkout / "otherpython"
    first = f"import sys; sys.version_info = ({version[0]}, {version[1]}, 0, 'final', 0)"
    other.write_text(f'#!/bin/sh\nshift\nexec {sys.executable} -c "{first}\n$1"\n')
    other.chmod(0o755)
    found = make(checkout, "setup", f"PYTHON={other}")
    assert found.returncode == 2
    said = f"is Python {version[0]}.{version[1]}, Weir needs 3.11, 3.12 or 3.13; give one: make setup PYTHON=python3.12"
    assert said in found.stderr
    assert not (checkout / ".venv").exists()


def test_no_python_by_that_name(checkout: Path) -> None:
    found = make(checkout, "setup", "PYTHON=python3.notthere")
    assert "'python3.notthere' is not on the PATH; give one: make setup PYTHON=/path/to/python3.12" in found.stderr


def test_make_alone_says_what_there_is(checkout: Path) -> None:
    found = make(checkout)
    assert found.returncode == 0
    assert {"make setup", "make demo", "make test"} <= {
        " ".join(line.split()[:2]) for line in found.stdout.splitlines()
    }


def test_a_busy_port(scenario: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = weir("sim", "explore", scenario, "--port", port, cwd=tmp_path)
        assert found.returncode == 2, found.stderr
        assert str(port) in found.stderr
        assert "--port" in found.stderr
        metrics = f"prometheus://127.0.0.1:{port}"
        found = weir("real", "run", scenario, "--broker", "mock", "--metrics", metrics, cwd=tmp_path)
        assert found.returncode == 2, found.stderr
        assert f"--metrics: 127.0.0.1:{port} cannot be listened on" in found.stderr


def test_no_calibration(scenario: Path, tmp_path: Path) -> None:
    found = weir("sim", "run", scenario, "--calibration", "mine", cwd=tmp_path)
    assert found.returncode == 4
    assert "no calibration named mine; there are: " in found.stderr
    assert "two-cores" in found.stderr


def test_a_machine_of_one_core(scenario: Path, tmp_path: Path) -> None:
    words = ("sim", "sweep", scenario, "--set", "sweep={engine.parallelism: [1, 2]}", "-o", tmp_path / "runs")
    found = weir(*words, cwd=tmp_path, one_core=True)
    assert found.returncode == 0, found.stderr
    assert "STABLE at 2 of 2" in found.stdout
    found = weir("real", "doctor", "--broker", "none", "--no-noise", cwd=tmp_path, one_core=True)
    assert "give it at least two" in found.stdout


def test_a_real_run_on_one_core(scenario: Path, tmp_path: Path) -> None:
    words = ("real", "run", scenario, "-o", tmp_path / "runs", "--broker", "mock", "--warm", "0", "--json")
    found = weir(*words, cwd=tmp_path, one_core=True)
    assert found.returncode == 0, found.stderr


def test_a_missing_file_and_one_that_is_nearly_there(scenario: Path, tmp_path: Path) -> None:
    for room in ("sim", "real"):
        found = weir(room, "run", "smal.yaml", cwd=tmp_path)
        assert found.returncode == 2
        assert "smal.yaml: no such file; did you mean 'small.yaml'?" in found.stderr
    assert "nothing.yaml: no such file\n" in weir("sim", "run", "nothing.yaml", cwd=tmp_path).stderr
    assert "cannot be read: Is a directory" in weir("sim", "run", tmp_path, cwd=tmp_path).stderr


def test_a_file_that_is_no_scenario(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("workload: [1, 2")
    found = weir("scenarios", "validate", "a.yaml", cwd=tmp_path)
    assert found.returncode == 2
    assert found.stderr.startswith("a.yaml:")
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("simm",), "did you mean 'sim'?"),
        (("sim", "runn"), "Did you mean 'run'?"),
        (("sim", "run", "small.yaml", "--sett", "a=b"), "Possible options"),
        (("sim", "run", "small.yaml", "--set", "engine.paralelism=2"), "did you mean 'parallelism'?"),
        (("sim", "run", "small.yaml", "--set", "engine.kind=pyhton"), "did you mean 'python'?"),
        (("sim", "run", "small.yaml", "--set", "workload.duration=5"), "needs one of ns, us, ms, s, min, h"),
        (("real", "run", "small.yaml", "--broker", "kafk"), "kafka"),
    ],
)
def test_a_typo(words: tuple[str, ...], said: str, scenario: Path, tmp_path: Path) -> None:
    found = weir(*words, cwd=tmp_path)
    assert found.returncode == 2
    assert said in found.stderr


def test_ctrl_c_ends_a_real_run_and_all_it_started(scenario: Path, tmp_path: Path) -> None:
    words = ["real", "run", str(scenario), "--broker", "mock", "--warm", "0", "-o", str(tmp_path / "runs")]
    words += ["--set", "workload.duration=10 min"]
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "weir", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if line.strip() == "load":
                break
        process.send_signal(signal.SIGINT)
        out, rest = process.communicate(timeout=300)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, rest
    assert "interrupted" in rest
    assert "INVALID: the run ended early: interrupted" in out
    assert list(temporary.iterdir()) == []
