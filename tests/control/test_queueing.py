from __future__ import annotations

import math

import numpy as np
import pytest

from control import queueing
from tests.control.seen import GOLDEN, RATES


@pytest.mark.parametrize("row", GOLDEN["mdc_p99_latency_ms"], ids=lambda row: f"{row['lambda_per_s']}/{row['servers']}")
def test_golden_latencies_and_utilities(row: dict[str, float]) -> None:
    found = float(queueing.latency(row["lambda_per_s"], row["servers"], 0.18))
    assert found * 1000 == pytest.approx(row["latency_ms"], abs=1e-4)
    assert float(queueing.utility(found, 0.72)) == pytest.approx(row["utility"], abs=1e-4)


def test_golden_utilities_of_ten_jobs() -> None:
    table = queueing.latency_table(RATES, np.full(10, 0.18), 10)
    found = queueing.utility(table, 0.72).mean(axis=1)
    np.testing.assert_allclose(found, GOLDEN["utility_by_job_and_replicas"], atol=1e-4)


def test_the_table_is_the_formula_at_whole_numbers() -> None:
    table = queueing.latency_table(RATES, np.full(10, 0.18), 40)
    np.testing.assert_allclose(table, queueing.latency(RATES[:, :, None], np.arange(1, 41), 0.18), rtol=1e-9)


def test_erlang_against_closed_forms() -> None:
    # One server: C = rho.  Two: C = 2 rho^2 / (1 + rho).  Three at a = 2: C = 4 / 9, B = 4 / 19.
    assert float(queueing.erlang_c(1, 0.7)) == pytest.approx(0.7)
    assert float(queueing.erlang_c(2, 1.2)) == pytest.approx(2 * 0.36 / 1.6)
    assert float(queueing.erlang_c(3, 2.0)) == pytest.approx(4 / 9)
    assert float(queueing.erlang_b(3, 2.0)) == pytest.approx(4 / 19)
    assert float(queueing.erlang_b(0, 2.0)) == 1.0
    assert float(queueing.erlang_b(200, 100.0)) < 1e-15  # no factorial overflows


def test_wait_percentile_of_one_server() -> None:
    # P(W > t) = rho exp(-(mu - lambda) t)
    rate, service = 3.0, 0.2
    found = float(queueing.wait_percentile(rate, 1, service, 99.0))
    assert 0.6 * math.exp(-(5.0 - rate) * found) == pytest.approx(0.01)
    assert float(queueing.wait_percentile(rate, 1, service, 30.0)) == 0.0  # 40 % do not wait at all


def test_overload_is_penalised_in_proportion() -> None:
    edge = float(queueing.latency(0.95 * 2 / 0.18, 2, 0.18))
    assert float(queueing.latency(3 * 0.95 * 2 / 0.18, 2, 0.18)) == pytest.approx(3 * edge)
    assert float(queueing.latency(1.0, 0, 0.18)) == math.inf
    assert float(queueing.latency(0.0, 1, 0.18)) == 0.18


def test_fractions_of_a_server_count_for_the_utilisation_only() -> None:
    a, c = 1.5, 2.5  # Erlang's loss of two servers, a utilisation of 0.6
    loss = (a**2 / 2) / (1 + a + a**2 / 2)
    assert float(queueing.erlang_c(c, a)) == pytest.approx(loss / (loss + (1 - loss) * 0.4))
    assert float(queueing.latency(2.0, 0.5, 0.18)) > float(queueing.latency(2.0, 1, 0.18))


def test_utilities() -> None:
    assert queueing.utility([0.36, 0.72, 1.44], 0.72).tolist() == [1.0, 1.0, 0.5]
    assert queueing.utility([1.44], 0.72, alpha=2.0).tolist() == [0.25]
    assert queueing.utility([0.72, 0.7201, math.inf], 0.72, "latency_step").tolist() == [1.0, 0.0, 0.0]


def test_the_penalty_of_dropping() -> None:
    found = queueing.drop_penalty([0.0, 0.001, 0.0155, 0.03, 0.055, 0.08, 0.54, 1.0])
    np.testing.assert_allclose(found, [0.0, 0.0, 0.125, 0.25, 0.375, 0.5, 0.75, 1.0])
