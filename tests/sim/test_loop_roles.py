"""Straight code for well-known programs does what the operations do: with and without it a run is the same."""

from __future__ import annotations

import random

import pytest

from sim import arena, system
from sim.execution import LoopExecution
from tests.sim import pipelines

NUMBERS = range(0, len(pipelines.CASES), 3)


def roles(execution: LoopExecution) -> list[int]:
    return [execution._thread(i, arena.T_ROLE) for i in range(len(execution.system.threads))]


def without_roles(sys: system.System) -> LoopExecution:
    """Every thread runs its program operation by operation."""
    execution = LoopExecution(sys)
    first = int(execution._arena[arena.G_THREADS])
    execution._arena[first + arena.T_ROLE : first + len(sys.threads) * arena.T_STRIDE : arena.T_STRIDE] = arena.NOBODY
    return execution


@pytest.mark.parametrize("number", NUMBERS)
def test_with_roles_and_without(number: int) -> None:
    name, scenario, calibration = pipelines.CASES[number]
    sys = system.build(scenario, calibration)
    straight, plain = LoopExecution(sys), without_roles(sys)
    rng = random.Random(name)
    for until in [*sorted(rng.randrange(1, sys.horizon_ns) for _ in range(5)), sys.horizon_ns]:
        straight.advance(until)
        plain.advance(until)
        pipelines.assert_equal_so_far(straight, plain)


def test_most_cases_have_roles_and_fewer_events_with_them() -> None:
    events = {True: 0, False: 0}
    for number in NUMBERS:
        sys = system.build(*pipelines.CASES[number][1:])
        straight, plain = LoopExecution(sys), without_roles(sys)
        for execution in (straight, plain):
            execution.advance(sys.horizon_ns)
        events[True] += straight.events
        events[False] += plain.events
    assert events[True] < 0.95 * events[False]


def test_a_role_is_of_a_thread_whose_cores_cannot_run_out() -> None:
    scenario, calibration = pipelines.CASES[-1][1:]
    plenty, few = system.build(scenario, calibration), pipelines.few_cores(scenario, calibration, 0)
    assert set(roles(LoopExecution(few))) == {arena.NOBODY}
    ahead = min(table.min() for table in (plenty.wake, plenty.timer, plenty.network)) > 0
    assert any(role != arena.NOBODY for role in roles(LoopExecution(plenty))) == ahead
