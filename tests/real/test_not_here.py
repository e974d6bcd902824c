"""What `real` cannot run is refused before anything is started: exit code 2, naming the key."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from real.engines import ENGINES as HERE
from real.errors import RefusedError
from real.plan import refuse_elsewhere
from scenarios.registry import ENGINES
from scenarios.spec import Broker, Engine, Scenario, Serving, Workload

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("kind", [kind for kind in ENGINES if kind not in HERE])
def test_an_engine_that_only_the_simulator_has(kind: str) -> None:
    with pytest.raises(RefusedError, match=f"engine.kind: no engine '{kind}' here; there are python"):
        refuse_elsewhere(replace(Scenario(), engine=Engine(kind)))


@pytest.mark.parametrize(
    ("scenario", "message"),
    [
        (Scenario(serving=Serving("external"), engine=Engine("spark")), "serving.kind: external;"),
        (Scenario(workload=Workload(collectors=2)), "workload.collectors: 2; real has one collector"),
        (
            Scenario(broker=Broker(client_profile="kafka-java-3")),
            "broker.client: kafka-java-3; real's clients of engine python are",
        ),
    ],
)
def test_a_server_or_a_client_that_is_not_here(scenario: Scenario, message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        refuse_elsewhere(scenario)
    refuse_elsewhere(Scenario())


def test_a_profile_is_refused_before_anything_is_measured() -> None:
    command = [sys.executable, "-m", "real", "profile", "scenarios/profile/quick.yaml", "--set", "engine.kind=flink"]
    command += ["--broker", "mock"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: broker.kind: mock; engine flink needs a real broker\n"


def test_the_command_line_exits_2() -> None:
    command = [sys.executable, "-m", "real", "run", "scenarios/engines/graph.yaml", "--broker", "mock"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done.stderr
    assert "engine.kind" in done.stderr
    assert "Traceback" not in done.stderr
