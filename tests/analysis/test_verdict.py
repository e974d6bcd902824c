"""Each verdict, in its order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from analysis.columns import OUTCOMES, REASONS
from analysis.records import empty_records
from analysis.verdict import VALID_REASONS, evaluate, summary
from scenarios.spec import Scenario, Workload

Make = Callable[..., Any]


def test_stable(make_paced: Make, make_scenario: Make) -> None:
    found = evaluate(make_scenario(100, 20, warmup=5), make_paced(100, 20))
    assert (found["verdict"], found["verdict_reason"]) == ("STABLE", "")
    assert found["accounting"]["scored"] == found["accounting"]["sent"] == 2000


@pytest.mark.parametrize("reason", [r for r in REASONS if r not in VALID_REASONS])
def test_a_run_that_did_not_end_by_its_load_is_invalid(make_paced: Make, make_scenario: Make, reason: str) -> None:
    found = evaluate(make_scenario(), make_paced(), reason=reason)
    assert (found["verdict"], found["reason"]) == ("INVALID", reason)
    assert reason in found["verdict_reason"]


def test_accounting_that_does_not_add_up_is_invalid(make_paced: Make, make_scenario: Make) -> None:
    records = make_paced()
    records["outcome"][7] = -1  # sent, and nobody knows what became of it
    found = evaluate(make_scenario(), records)
    assert found["verdict"] == "INVALID"
    assert found["verdict_reason"] == "accounting: 2000 sent, but 1999 have an outcome (1999 scored)"


def test_errors_that_cancel_in_the_sum_are_invalid(make_paced: Make, make_scenario: Make) -> None:
    records = make_paced()
    records["outcome"][[7, 8]] = -1
    records["sent"][9] = -1
    records["sent"][10] = -1
    assert evaluate(make_scenario(), records)["verdict_reason"] == (
        "accounting: record 7 was sent and has no outcome, and 1 more"
    )
    records = make_paced()
    records["out_appended"][3] = -1
    assert evaluate(make_scenario(), records)["verdict_reason"] == "accounting: record 3 is scored and has no output"


def test_nothing_sent_is_invalid() -> None:
    assert evaluate(Scenario(), empty_records(0))["verdict_reason"] == "no record was sent"


def test_a_slow_generator_is_client_bound_even_when_overloaded(make_paced: Make, make_scenario: Make) -> None:
    found = evaluate(make_scenario(100, 20), make_paced(100, 20, sent_rate=98.0, served=50.0))
    assert found["verdict"] == "CLIENT-BOUND"
    assert found["verdict_reason"] == "achieved 98 of 100 records/s offered"
    assert evaluate(make_scenario(100, 20), make_paced(100, 20, sent_rate=99.5))["verdict"] == "STABLE"


def test_one_record_over_the_edge_is_not_client_bound(make_paced: Make, make_scenario: Make) -> None:
    records = make_paced(4, 20)
    records["sent"][-1] = records["appended"][-1] = 20_100_000_000
    records["out_appended"][-1] = 20_200_000_000
    assert evaluate(make_scenario(4, 20), records)["verdict"] == "STABLE"


@pytest.mark.parametrize(("served", "expected"), [(90.0, "OVERLOADED"), (98.0, "OVERLOADED"), (99.5, "STABLE")])
def test_lag_that_grows_is_overload(make_paced: Make, make_scenario: Make, served: float, expected: str) -> None:
    """At 90 of 100 a second lag grows by 10; below 1 a second it is no overload."""
    found = evaluate(make_scenario(100, 40), make_paced(100, 40, served=served, drain_s=100))
    assert found["verdict"] == expected
    assert found["metrics"]["lag_slope_per_s"] == pytest.approx(100 - served, abs=0.3)


def test_lag_that_only_swings_is_stable(make_paced: Make, make_scenario: Make) -> None:
    records = make_paced(100, 40)
    swing = (np.sin(np.arange(4000) / 400 * 2 * np.pi) + 1) * 100_000_000
    for stamp in ("out_appended", "acked"):
        records[stamp] = records[stamp] + swing.astype(np.int64)
    assert evaluate(make_scenario(100, 40), records)["verdict"] == "STABLE"


@pytest.mark.parametrize(("served", "expected"), [(40.0, "OVERLOADED"), (95.0, "STABLE")])
def test_a_window_of_less_than_two_blocks_needs_much_growth(
    make_paced: Make, make_scenario: Make, served: float, expected: str
) -> None:
    found = evaluate(make_scenario(100, 5), make_paced(100, 5, served=served, drain_s=100))
    assert found["verdict"] == expected


def test_records_left_after_the_drain(make_paced: Make, make_scenario: Make) -> None:
    records = make_paced(100, 20)
    records["outcome"][-3:] = OUTCOMES.index("in_flight")
    records["out_appended"][-3:] = -1
    found = evaluate(make_scenario(100, 20), records)
    assert (found["verdict"], found["verdict_reason"]) == ("BACKLOGGED", "3 records left after the drain")


def test_a_drained_backlog_is_stable() -> None:
    records = empty_records(1000)
    records["created"][:] = records["sent"][:] = records["appended"][:] = 0
    records["out_appended"] = np.arange(1, 1001) * 1_000_000
    records["outcome"][:] = 0
    drain = Scenario(workload=Workload(backlog_records=1000))
    assert evaluate(drain, records)["verdict"] == "STABLE"
    records["out_appended"][-1], records["outcome"][-1] = -1, OUTCOMES.index("in_flight")
    assert evaluate(drain, records)["verdict"] == "BACKLOGGED"


def test_dropped_records_are_no_lag(make_paced: Make, make_scenario: Make) -> None:
    records = make_paced(100, 40)
    records["outcome"][::3] = OUTCOMES.index("bad")
    for stamp in ("out_appended", "acked", "produced"):
        records[stamp][::3] = -1
    found = evaluate(make_scenario(100, 40), records)
    assert (found["verdict"], found["accounting"]["bad"]) == ("STABLE", 1334)


def test_a_verdict_is_a_function_of_the_run(make_paced: Make, make_scenario: Make) -> None:
    one, two = (evaluate(make_scenario(100, 40), make_paced(100, 40, served=98.0)) for _ in range(2))
    assert one == two


def test_summary_is_one_object(make_meta: Make) -> None:
    found = summary(make_meta("r", metrics={"loss": 0.0}))
    assert found["id"] == "r"
    assert found["parallelism"] == 1
    assert found["metrics"] == {"loss": 0.0}
    assert "scenario" not in found
