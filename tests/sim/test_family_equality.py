"""Programs of every engine family, loop and reference, against the pipelines written by hand, record by record.

On hosts whose cores never run out, and on hosts whose threads share few cores evenly.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim import system
from sim.execution import Execution, LoopExecution
from sim.reference import ReferenceExecution
from tests.oracle import families
from tests.sim import pipelines

SEEDS = 15
FAMILY = pytest.mark.parametrize("family", families.FAMILIES)
SHARED = pytest.mark.parametrize("shared", [False, True], ids=["cores-enough", "cores-shared"])
TIES = pytest.mark.parametrize("ties", [False, True], ids=["all-differs", "all-ties"])


def assert_all_three_agree(family: str, seed: int, *, shared: bool, ties: bool, reference: bool = True) -> int:
    """Returns how many records came through."""
    scenario, calibration = families.random_case(family, seed, shared=shared, ties=ties)
    oracle, told = families.pipeline_of(family, scenario, calibration)
    by_hand = oracle(told)
    sys = system.build(scenario, calibration)
    executions: list[Execution] = [LoopExecution(sys)]
    if reference:
        executions.append(ReferenceExecution(sys))
    for execution in executions:
        execution.advance(sys.horizon_ns)
        pipelines.assert_same_stamps(execution.stamps(), by_hand)
    return int((by_hand["out_appended"] >= 0).sum())


@FAMILY
@SHARED
@TIES
def test_random_pipelines(family: str, shared: bool, ties: bool) -> None:
    through = [
        assert_all_three_agree(family, seed, shared=shared, ties=ties, reference=seed < SEEDS // 5)
        for seed in range(SEEDS)
    ]
    assert sum(n > 10 for n in through) > SEEDS // 3


@FAMILY
@SHARED
@TIES
@given(seed=st.integers(min_value=SEEDS, max_value=1 << 32))
@settings(max_examples=3)
def test_any_pipeline(family: str, shared: bool, ties: bool, seed: int) -> None:
    assert_all_three_agree(family, seed, shared=shared, ties=ties)
