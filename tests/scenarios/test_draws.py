"""Keyed draws: their numbers never change, and they look random."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios import draws
from scenarios.draw_arrays import draw_array, uniform

GOLDEN = {
    (0, 0, 0, 0, 0): 3471147654,
    (1, 0, 0, 1, 0): 189385786,
    (1, 0, 1, 1, 0): 1374066384,
    (7, 3, 123456789012, 4, 2): 422519844,
    (2**40 + 5, 1, 2, 3, 0): 928274816,
}


@pytest.mark.parametrize("key", GOLDEN)
def test_the_numbers_never_change(key: tuple[int, int, int, int, int]) -> None:
    # A change here changes every schedule, partition and simulated cost ever published.
    assert draws.draw(*key) == GOLDEN[key]


entities = st.lists(st.integers(0, 2**62), min_size=1, max_size=20)


@given(st.integers(0, 2**63 - 1), st.integers(0, 1000), entities, st.integers(0, 63), st.integers(0, 31))
def test_arrays_are_the_same_numbers(seed: int, component: int, found: list[int], purpose: int, attempt: int) -> None:
    array = draw_array(seed, component, np.array(found, dtype=np.int64), purpose, attempt)
    assert [int(x) for x in array] == [draws.draw(seed, component, e, purpose, attempt) for e in found]
    assert ((array >= 0) & (array < 2**32)).all()


@pytest.mark.parametrize("shift", [0, 8, 16, 24])
def test_every_byte_is_uniform(shift: int) -> None:
    n = 1 << 18
    counts = np.bincount((draw_array(1, 0, np.arange(n, dtype=np.int64), 1, 0) >> shift) & 255, minlength=256)
    assert ((counts - n / 256) ** 2 / (n / 256)).sum() < 332  # chi-square, 255 degrees, 0.1 %


def test_neighbours_are_independent() -> None:
    n = 200_000
    base = uniform(draw_array(1, 0, np.arange(n, dtype=np.int64), 1, 0))
    others = {
        "next entity": base[1:],
        "seed": uniform(draw_array(2, 0, np.arange(n, dtype=np.int64), 1, 0)),
        "component": uniform(draw_array(1, 1, np.arange(n, dtype=np.int64), 1, 0)),
        "purpose": uniform(draw_array(1, 0, np.arange(n, dtype=np.int64), 2, 0)),
        "attempt": uniform(draw_array(1, 0, np.arange(n, dtype=np.int64), 1, 1)),
    }
    for name, other in others.items():
        assert abs(np.corrcoef(base[: len(other)], other)[0, 1]) < 4 / np.sqrt(n), name


def test_uniform_never_touches_its_ends() -> None:
    ends = uniform(np.array([0, 2**32 - 1], dtype=np.int64))
    assert 0 < ends[0] < ends[1] < 1
    assert ends[0] == 1 - ends[1]


def test_the_mix_is_a_bijection_on_a_sample() -> None:
    assert len({draws.mix32(x) for x in range(100_000)}) == 100_000


def test_the_quantile_table_is_read_in_between() -> None:
    table = [i * 1024 for i in range(draws.TABLE_SIZE)]
    assert draws.quantile(table, 0) == 0
    assert draws.quantile(table, 1 << 31) == 512 * 1024
    assert draws.quantile(table, 2**32 - 1) == 1024 * 1024 - 1
