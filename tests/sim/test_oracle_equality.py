"""Programs, loop and reference against the pipeline written by hand, record by record, where cores never run out."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios.spec import Scenario
from sim import system
from sim.costs import Calibration
from sim.reference import ReferenceExecution
from tests.oracle import cases, python_engine
from tests.sim import pipelines


@st.composite
def random_cases(draw: st.DrawFn) -> tuple[Scenario, Calibration]:
    """A pipeline from `random_case`; a seed is all there is to shrink."""
    return cases.random_case(draw(st.integers(min_value=pipelines.RANDOM_CASES, max_value=1 << 32)))


def assert_all_three_agree(scenario: Scenario, calibration: Calibration, *, reference: bool = True) -> None:
    oracle = python_engine.simulate(scenario, calibration)
    sys = system.build(scenario, calibration)
    pipelines.assert_same_stamps(pipelines.loop_stamps(sys), oracle)
    if reference:
        execution = ReferenceExecution(sys)
        execution.advance(sys.horizon_ns)
        pipelines.assert_same_stamps(execution.stamps(), oracle)


@pytest.mark.parametrize(
    ("scenario", "calibration"), [case[1:] for case in pipelines.CASES], ids=[case[0] for case in pipelines.CASES]
)
def test_the_cases(scenario: Scenario, calibration: Calibration) -> None:
    # The reference is compared with the loop on the same cases in test_reference.
    assert_all_three_agree(scenario, calibration, reference=False)


@given(random_cases())
@settings(max_examples=25)
def test_any_case(case: tuple[Scenario, Calibration]) -> None:
    assert_all_three_agree(*case)
