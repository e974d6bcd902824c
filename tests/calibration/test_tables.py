"""Batch sizes never measured, from two that were; and where a line fails, the table stays."""

from __future__ import annotations

import pytest

from calibration.tables import lined
from sim.integers import at_points

FIXED, EACH = 40_000.0, 9_000.0


def cost(points: int) -> float:
    """ns of scoring so many points."""
    return FIXED + EACH * points


@pytest.mark.parametrize(("measured", "noise"), [((1, 16), 0.0), ((4, 64), 0.03), ((8, 32), -0.01)])
def test_two_sizes_tell_all_within_a_factor_of_sixteen(measured: tuple[int, int], noise: float) -> None:
    low, high = measured
    table, off = lined({low: cost(low) * (1 + noise), high: cost(high) * (1 - noise)})
    assert off == pytest.approx(0.0, abs=1e-9)
    for points in range(max(1, high // 16), 16 * low + 1):
        assert at_points(table, points) == pytest.approx(cost(points), rel=0.1), points


def test_two_sizes_alone_do_not() -> None:
    """Without the line, interpolation between two sizes is off by more than the bound."""
    two = {1: cost(1), 16: cost(16)}
    assert abs(at_points(two, 4) / cost(4) - 1) > 0.1


def test_where_a_line_fails_the_table_stays() -> None:
    bent = {1: 50e3, 8: 60e3, 64: 900e3}
    table, off = lined(bent)
    assert table == bent
    assert off is not None
    assert off > 0.05


def test_measured_sizes_stay_as_measured() -> None:
    seen = {n: cost(n) * (1.03 if n == 8 else 1.0) for n in (1, 8, 64)}
    table, off = lined(seen)
    assert off is not None
    assert 0 < off < 0.05
    assert {n: table[n] for n in seen} == seen


def test_one_size_is_no_line() -> None:
    assert lined({8: 5e4}) == ({8: 5e4}, None)
