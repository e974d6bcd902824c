"""Programs with models that change, loop and reference, against the pipeline written by hand, record by record."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim import operations as op
from sim import system
from sim.execution import Execution, LoopExecution, StoreReading
from sim.reference import ReferenceExecution
from tests.oracle import families, model_cases, model_stream
from tests.oracle.model_store import Held
from tests.sim.pipelines import assert_same_stamps

SEEDS = 12
FAMILY = pytest.mark.parametrize("family", model_cases.FAMILIES)
SHARED = pytest.mark.parametrize("shared", [False, True], ids=["cores-enough", "cores-shared"])
TIES = pytest.mark.parametrize("ties", [False, True], ids=["all-differs", "all-ties"])


def counts(stores: Iterable[StoreReading | Held]) -> list[tuple[int, int, int]]:
    """What each did; those without a partition to their name did nothing."""
    found = sorted((store.swaps, store.superseded, store.bytes) for store in stores)
    return [each for each in found if any(each)]


def assert_all_three_agree(
    family: str, seed: int, *, shared: bool, ties: bool, reference: bool, kills: bool = False
) -> tuple[int, int, int]:
    """Returns how many records came through, how many models served, how many surplus outputs there were."""
    scenario, calibration = model_cases.random_case(family, seed, shared=shared, ties=ties, kills=kills)
    _, told = families.pipeline_of(family, scenario, calibration)
    by_hand, came = model_stream.run(scenario, calibration, told)
    sys = system.build(scenario, calibration)
    executions: list[Execution] = [LoopExecution(sys)]
    if reference:
        executions.append(ReferenceExecution(sys))
    for execution in executions:
        execution.advance(sys.horizon_ns)
        assert_same_stamps(execution.stamps(), by_hand)
        lost, models = execution.lost(), execution.models()
        assert models is not None
        assert set(np.flatnonzero(lost == op.NO_MODEL).tolist()) == came.dropped
        assert set(np.flatnonzero(lost == op.BAD).tolist()) == came.bad
        assert counts(models.stores) == counts(came.stores)
        assert models.duplicates.sum() == came.duplicates
    through, swaps = int((by_hand["out_appended"] >= 0).sum()), sum(store.swaps for store in came.stores)
    return through, swaps, came.duplicates


@FAMILY
@SHARED
@TIES
def test_random_pipelines(family: str, shared: bool, ties: bool) -> None:
    found = [
        assert_all_three_agree(family, seed, shared=shared, ties=ties, reference=seed < SEEDS // 4)
        for seed in range(SEEDS)
    ]
    assert sum(through > 10 and swaps > 0 for through, swaps, _ in found) > SEEDS // 4


@FAMILY
@SHARED
@TIES
def test_random_pipelines_whose_workers_are_killed(family: str, shared: bool, ties: bool) -> None:
    for seed in range(SEEDS):
        assert_all_three_agree(family, seed, shared=shared, ties=ties, reference=seed < SEEDS // 4, kills=True)


def test_some_records_of_these_are_scored_again() -> None:
    found = 0
    for seed in range(SEEDS):
        scenario, calibration = model_cases.random_case("poll-loop", seed, shared=False, ties=True, kills=True)
        execution = LoopExecution(sys := system.build(scenario, calibration))
        execution.advance(sys.horizon_ns)
        models = execution.models()
        assert models is not None
        found += int(models.duplicates.sum())
    assert found > 10


@FAMILY
@SHARED
@TIES
@given(seed=st.integers(min_value=SEEDS, max_value=1 << 32), kills=st.booleans())
@settings(max_examples=3)
def test_any_pipeline(family: str, shared: bool, ties: bool, seed: int, kills: bool) -> None:
    assert_all_three_agree(family, seed, shared=shared, ties=ties, reference=True, kills=kills)
