"""Keys with Zipf popularity."""

from __future__ import annotations

import numpy as np
import pytest

from scenarios.keys import keys_of


@pytest.mark.parametrize("skew", [0.0, 0.8, 1.0, 2.0])
def test_keys_are_asked_for_by_their_rank(skew: float) -> None:
    n, keys = 200_000, 50
    share = np.arange(1, keys + 1) ** -skew
    expected = n * share / share.sum()
    counts = np.bincount(keys_of(3, n, keys, skew), minlength=keys)
    assert len(counts) == keys
    # The sum of squares is chi-squared with 49 degrees of freedom: mean 49, standard deviation 9.9.
    assert 49 - 4 * 9.9 < ((counts - expected) ** 2 / expected).sum() < 49 + 4 * 9.9


def test_a_record_has_its_key_whatever_comes_after_it() -> None:
    assert keys_of(3, 100, 50, 1.0).tolist() == keys_of(3, 1000, 50, 1.0)[:100].tolist()
    assert keys_of(3, 100, 50, 1.0).tolist() != keys_of(4, 100, 50, 1.0).tolist()
    assert set(keys_of(3, 100, 1, 1.0)) == {0}
    assert set(keys_of(3, 100, 1_000_000, 100.0)) == {0}
    assert len(keys_of(3, 0, 5, 1.0)) == 0
