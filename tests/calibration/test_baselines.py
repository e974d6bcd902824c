"""What the baselines say, by closed forms."""

from __future__ import annotations

import math

import pytest

from calibration import baselines
from calibration.baselines import response_s

DRAIN = {
    "rate_per_s": None,
    "parallelism": 1,
    "metrics": {"drain_throughput_per_s": 1000.0, "cpu_us_per_record_engine": 90.0},
}
SLOW = {
    "rate_per_s": 100.0,
    "parallelism": 1,
    "metrics": {"cpu_us_per_record_engine": 800.0, "latency_acked_ms_p50": 12.0},
}
FAST = {
    "rate_per_s": 300.0,
    "parallelism": 1,
    "metrics": {"cpu_us_per_record_engine": 500.0, "latency_acked_ms_p50": 10.0},
}


@pytest.mark.parametrize("quantile", [0.5, 0.95, 0.99])
def test_one_server_is_exponential(quantile: float) -> None:
    """M/M/1: the time in the system is exponential with rate mu - lambda."""
    assert response_s(600.0, 1000.0, 1, quantile) == pytest.approx(-math.log(1 - quantile) / 400.0, rel=1e-9)


def test_two_servers_by_their_mean() -> None:
    """M/M/2: the mean by quadrature of the quantiles is Erlang's 1 / (mu (1 - rho^2))."""
    steps = 4000
    mean = sum(response_s(1200.0, 1000.0, 2, (k + 0.5) / steps) for k in range(steps)) / steps
    assert mean == pytest.approx(1 / (1000.0 * (1 - 0.6**2)), rel=5e-3)


def test_where_both_exponentials_are_one() -> None:
    """c mu - lambda = mu: the limit, not a division by zero."""
    at, near = (response_s(rate, 1000.0, 2, 0.9) for rate in (1000.0, 1000.001))
    assert at == pytest.approx(near, rel=1e-5)


def test_each_says_its_own() -> None:
    found = baselines.predict([DRAIN, SLOW, FAST], 200.0, 2)
    assert found["straight line"] == {"cpu_us_per_record_engine": 650.0, "latency_acked_ms_p50": 11.0}
    assert found["last value"] in (SLOW["metrics"], FAST["metrics"])
    constant = found["constant service"]
    assert constant["cpu_us_per_record_engine"] == 90.0
    assert constant["throughput_per_s"] == 200.0
    assert constant["latency_acked_ms_p50"] == pytest.approx(1e3 * response_s(200.0, 1000.0, 2, 0.5))


def test_a_backlog() -> None:
    found = baselines.predict([DRAIN, SLOW, FAST], None, 2)
    assert found["constant service"]["drain_throughput_per_s"] == 2000.0
    assert found["straight line"]["drain_throughput_per_s"] == 2000.0
    assert found["last value"]["drain_throughput_per_s"] == 1000.0


def test_an_overloaded_queue_has_no_latency() -> None:
    found = baselines.predict([DRAIN], 1500.0, 1)["constant service"]
    assert found["throughput_per_s"] == 1000.0
    assert "latency_acked_ms_p50" not in found


def test_nothing_seen_is_nothing_said() -> None:
    assert all(not found for found in baselines.predict([], 100.0, 1).values())
