"""The compiled loop against the SimPy reference: every stamp, and every counter of every thread."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from scenarios.spec import MS_NS, Scenario
from sim import arena, operations, system
from sim.costs import Calibration
from sim.execution import Execution, LoopExecution, SimulationError
from sim.reference import ReferenceExecution
from sim.system import System
from tests.sim import pipelines

CASES = pytest.mark.parametrize(
    ("number", "scenario", "calibration"),
    [(i, scenario, calibration) for i, (_, scenario, calibration) in enumerate(pipelines.CASES)],
    ids=[name for name, _, _ in pipelines.CASES],
)
BOTH = pytest.mark.parametrize("executor", [LoopExecution, ReferenceExecution])


@CASES
def test_cores_enough(number: int, scenario: Scenario, calibration: Calibration) -> None:
    pipelines.assert_loop_is_reference(system.build(scenario, calibration))


@pytest.mark.parametrize("variant", pipelines.VARIANTS)
@CASES
def test_cores_run_out(variant: str, number: int, scenario: Scenario, calibration: Calibration) -> None:
    sys = pipelines.VARIANTS[variant](scenario, calibration, number)
    pipelines.assert_loop_is_reference(sys)


# What an operation is must not be seen from outside: fused work is as its operations one by one.


def test_each_operation_of_fused_work_is_charged_in_its_own_window() -> None:
    pipelines.assert_loop_is_reference(
        pipelines.small("queue-bytes", records=0, backlog=1, cores=1, slice_ns=MS_NS),
    )


def test_a_slice_that_ends_where_an_operation_does() -> None:
    pipelines.assert_loop_is_reference(
        pipelines.small("fetch-min-no-wait", records=3, cores=2, slice_ns=MS_NS // 2),
    )


def test_a_stamp_due_at_the_instant_of_a_preemption() -> None:
    pipelines.assert_loop_is_reference(
        pipelines.small("three-producers", records=0, backlog=3, cores=2, slice_ns=MS_NS // 5),
    )


# A run cut into pieces


def cuts(sys: System, seed: int, pieces: int) -> list[int]:
    rng = random.Random(seed)
    return [*sorted(rng.randrange(sys.horizon_ns) for _ in range(pieces - 1)), sys.horizon_ns]


@pytest.mark.parametrize("number", range(0, len(pipelines.CASES), 4))
def test_a_run_cut_at_any_instants(number: int) -> None:
    _, scenario, calibration = pipelines.CASES[number]
    sys = pipelines.few_cores(scenario, calibration, number + 1000)
    whole = pipelines.loop_stamps(sys)
    loop, reference = LoopExecution(sys), ReferenceExecution(sys)
    for until in cuts(sys, number, 12):
        loop.advance(until)
        reference.advance(until)
        pipelines.assert_equal_so_far(loop, reference)
        so_far = loop.stamps()
        for name in ("sent", "appended", "fetched", "score_begin", "score_end", "produced", "acked", "out_appended"):
            np.testing.assert_array_equal(so_far[name], np.where(whole[name] < until, whole[name], -1), name)
    pipelines.assert_same_stamps(loop.stamps(), whole)


@BOTH
def test_a_cut_comes_before_the_events_of_its_instant(executor: type[Execution]) -> None:
    sys = pipelines.small("ones", records=1)  # due at 0; 100 us of generator.record
    execution = executor(sys)  # type: ignore[call-arg]  # the protocol says nothing of how one is made
    execution.advance(0)
    assert execution.stamps()["sent"].tolist() == [-1]
    execution.advance(1)
    assert execution.stamps()["sent"].tolist() == [0]
    assert execution.threads()[0].cpu_ns == 1
    execution.advance(100_000)
    execution.advance(50_000)  # the past is past
    assert execution.threads()[0].cpu_ns == 100_000


# Growing


@pytest.mark.parametrize("number", range(0, len(pipelines.CASES), 12))
def test_the_loop_grows_its_messages(number: int) -> None:
    _, scenario, calibration = pipelines.CASES[number]
    sys = system.build(scenario, calibration)
    tiny = LoopExecution(sys)
    tiny._arena[arena.G_MESSAGES_CAP] = len(sys.threads) + 1
    size = len(tiny._arena)
    for until in cuts(sys, number, 3):
        tiny.advance(until)
    assert len(tiny._arena) > size
    assert tiny._arena[arena.G_MESSAGES] >= size
    pipelines.assert_same_stamps(tiny.stamps(), pipelines.loop_stamps(sys))


def test_the_loop_grows_in_the_middle_of_a_run() -> None:
    sys = system.build(*pipelines.CASES[0][1:])
    execution = LoopExecution(sys)
    execution.advance(sys.horizon_ns // 2)
    size = len(execution._arena)
    execution._arena[arena.G_MESSAGES_CAP] = execution._arena[arena.G_MESSAGES_N]
    execution.advance(sys.horizon_ns)
    assert len(execution._arena) > size
    pipelines.assert_same_stamps(execution.stamps(), pipelines.loop_stamps(sys))


# The end of everything


def halted() -> System:
    """A pipeline whose threads all stop at once."""
    sys = pipelines.small("ones", records=1)
    stop = ((operations.HALT, 0, 0, 0),)
    return replace(sys, threads=tuple(replace(t, program=stop) for t in sys.threads))


@BOTH
def test_nothing_timed_is_a_deadlock(executor: type[Execution]) -> None:
    execution = executor(halted())  # type: ignore[call-arg]  # the protocol says nothing of how one is made
    with pytest.raises(SimulationError, match=r"nothing is timed: generator\.0\.app at "):
        execution.advance(MS_NS)


# Step by step


def test_the_trace_tells_every_operation() -> None:
    told: list[tuple[int, str, str]] = []
    sys = pipelines.small("ones", records=1)
    ReferenceExecution(sys, trace=lambda *what: told.append(what)).advance(sys.horizon_ns)
    generator = [(at, text) for at, name, text in told if name == "generator.0.app"]
    assert generator == [
        (0, "ARRIVE"),
        (0, "STAMP sent"),
        (0, "CPU generator.wake 0 ns"),
        (0, "CPU generator.record 100000 ns"),
        (100_000, "ENQUEUE"),
        (100_000, "JUMP"),
        (100_000, "ARRIVE"),
        (100_000, "HALT"),
    ]
    worker = [text for _, name, text in told if name == "worker.0.app"]
    assert worker[:2] == ["POLL, waits", "POLL"]
    assert "CPU worker.score 200000 ns" in worker
    assert {text.split()[0].rstrip(",") for _, _, text in told} == set(operations.OPERATION_NAMES[: operations.PUT])
    assert [at for at, _, _ in told] == sorted(at for at, _, _ in told)


def test_background_costs_have_names() -> None:
    told: list[str] = []
    sys = pipelines.small("ones", records=0)
    ReferenceExecution(sys, trace=lambda _at, _name, text: told.append(text)).advance(sys.horizon_ns)
    assert "SLEEP, waits" in told
    assert "CPU background.broker 500000 ns" in told
