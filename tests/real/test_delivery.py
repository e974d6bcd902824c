"""What is lost and what comes twice when a worker is killed and comes back, for real and in the simulator."""

from __future__ import annotations

from typing import Any

import pytest

from analysis.runs import read_run
from calibration import gc_log
from real.errors import RefusedError
from real.plan import refuse_elsewhere
from real.session import Session
from scenarios.errors import ScenarioError
from scenarios.spec import Scenario
from sim.run import simulate
from sim.store import choose
from tests.real.conftest import Make

Sets = tuple[str, ...]

KILLED = "faults=[{at: 2 s, target: worker-0, kind: kill, restart: 0.3 s}]"
EXACTLY = "engine.delivery=exactly-once"
SHORT: Sets = (
    *("workload.warmup=0 s", "workload.duration=4 s", "workload.drain=90 s", "deadline=170 s"),
    *("engine.commit_interval=0.5 s", KILLED),
)
#: As above at the size that the documents tell of.
LONG: Sets = (
    *("workload.warmup=1 s", "workload.duration=15 s", "workload.drain=90 s", "deadline=240 s"),
    *("engine.commit_interval=1 s", "faults=[{at: 10 s, target: worker-0, kind: kill, restart: 1 s}]"),
)
PYTHON: Sets = ("engine.kind=python",)
STREAMS: Sets = ("engine.kind=kafka-streams",)
FLINK: Sets = ("engine.kind=flink",)
#: Nobody but the broker ends the transaction of a stream thread that was killed.
STREAMS_EXACTLY: Sets = (*STREAMS, EXACTLY, "engine.transaction_timeout=5 s")
FLINK_EXACTLY: Sets = (*FLINK, EXACTLY)


def counts(session: Session, scenario: Scenario) -> dict[str, Any]:
    """The accounting of a run that went its way; its JVMs' logs are there, of those that were killed too."""
    path = session.run(scenario)
    meta = read_run(path).meta
    logs = ["broker"] if scenario.engine.kind == "python" else ["broker", "engine", "engine-2"]
    assert {each.name for each in path.glob("gc-*.log")} == {f"gc-{name}.log" for name in logs}
    for name in logs:
        gc_log.read(path / f"gc-{name}.log")
    assert meta["reason"] == "complete", meta["verdict_reason"]
    assert meta["verdict"] != "INVALID", meta["verdict_reason"]
    found: dict[str, Any] = meta["accounting"]
    return found


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("sets", "duration"),
    [
        pytest.param((*PYTHON, *SHORT), 4, marks=pytest.mark.slow),
        pytest.param((*STREAMS, *SHORT), 4, marks=pytest.mark.slow),
        pytest.param((*FLINK, *SHORT), 4, marks=pytest.mark.slow),
        ((*STREAMS_EXACTLY, *SHORT), 4),
        pytest.param((*FLINK_EXACTLY, *SHORT), 4, marks=pytest.mark.slow),
        *(
            pytest.param((*sets, *LONG), 16, marks=pytest.mark.slow)
            for sets in (PYTHON, STREAMS, FLINK, STREAMS_EXACTLY, FLINK_EXACTLY)
        ),
    ],
    ids=[
        *("python", "kafka-streams", "flink", "kafka-streams-exactly", "flink-exactly"),
        *("python-10s", "kafka-streams-10s", "flink-10s", "kafka-streams-exactly-10s", "flink-exactly-10s"),
    ],
)
def test_a_killed_worker_that_comes_back_loses_nothing(make: Make, kafka: Session, sets: Sets, duration: int) -> None:
    found = counts(kafka, make(*sets))
    assert (found["sent"], found["scored"], found["lost"]) == (200 * duration, 200 * duration, 0)
    if EXACTLY in sets:
        assert found["duplicates"] == 0


@pytest.mark.parametrize("backend", ["loop", "simpy"])
@pytest.mark.parametrize("sets", [PYTHON, STREAMS, FLINK, STREAMS_EXACTLY, FLINK_EXACTLY], ids=lambda sets: sets[0])
def test_the_simulator_counts_the_same(make: Make, sets: Sets, backend: str) -> None:
    scenario = make("broker.kind=kafka", *sets, *SHORT)
    result = simulate(scenario, choose(scenario, "textbook"), backend=backend)
    found, said = result.meta["accounting"], " ".join(result.meta["calibration"]["outside"])
    assert (found["sent"], found["scored"], found["lost"]) == (800, 800, 0)
    # 200 records a second, and at most what came since the last commit of half a second is read again.
    assert (found["duplicates"] == 0) if EXACTLY in sets else (0 < found["duplicates"] <= 110)
    assert ("exactly-once" in said) == (EXACTLY in sets)


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ((EXACTLY,), "engine python has no delivery"),
        ((*FLINK, "engine.transaction_timeout=5 s"), "only exactly-once has transactions"),
        ((*FLINK_EXACTLY, "engine.transaction_timeout=1 s"), "shorter than commit_interval"),
        (("faults=[{at: 1 s, target: worker-0, kind: pause}]",), "give restart"),
        (("faults=[{at: 1 s, target: server}]",), "there is no server"),
    ],
    ids=["no-transactions", "no-timeout", "too-short", "pause-for-ever", "no-server"],
)
def test_what_makes_no_sense_is_refused(make: Make, sets: Sets, said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        make(*sets)


@pytest.mark.parametrize(
    ("sets", "key"),
    [
        (("broker.kind=kafka", *FLINK_EXACTLY, "broker.producer.acks=1"), "broker.producer.acks"),
        (("broker.kind=kafka", *STREAMS_EXACTLY, "broker.producer.max_in_flight=6"), "broker.producer.max_in_flight"),
        (("faults=[{at: 1 s, target: broker, kind: pause, restart: 1 s}]",), r"faults\[0\]\.target"),
        (("broker.kind=kafka", "faults=[{at: 1 s, target: broker}]"), r"faults\[0\]\.target"),
        (("faults=[{at: 1 s, target: generator-0}]",), r"faults\[0\]\.target"),
    ],
    ids=["acks", "in-flight", "mock", "no-broker", "generator"],
)
def test_what_cannot_be_had_is_refused_by_name(make: Make, sets: Sets, key: str) -> None:
    with pytest.raises(RefusedError, match=key):
        refuse_elsewhere(make(*sets))
