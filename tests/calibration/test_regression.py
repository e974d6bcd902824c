"""The fit finds what was put in, says what it cannot tell apart, and its intervals cover the truth."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.regression import fit

TERMS = ("s", "wake", "request", "record", "byte")
TRUTH = np.array([2e6, 30e3, 80e3, 5e3, 0.5])


def counts(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Counted events of runs that vary rate, batching, size and length independently."""
    seconds = rng.uniform(2, 12, rows)
    records = seconds * rng.choice([0.0, 100.0, 400.0, 6000.0], rows)
    requests = np.maximum(1.0, records / rng.choice([1.0, 2.0, 30.0], rows))
    wakes = requests * rng.uniform(1.5, 4.0, rows)
    return np.column_stack([seconds, wakes, requests, records, records * rng.choice([1e3, 8e3, 64e3], rows)])


def test_exact_data_give_the_truth() -> None:
    a = counts(np.random.default_rng(1), 30)
    found = fit(TERMS, a, a @ TRUTH)
    assert [found[t].value for t in TERMS] == pytest.approx(TRUTH.tolist(), rel=1e-6)
    assert found.leave_one_out < 1e-6
    assert not found.merged


def test_noisy_data_cover_the_truth() -> None:
    """Over 40 draws with 5 % noise, the 90 % interval of each term holds the truth at least two times in three."""
    covered = np.zeros(len(TERMS))
    for seed in range(40):
        rng = np.random.default_rng(seed)
        a = counts(rng, 25)
        found = fit(TERMS, a, a @ TRUTH * np.exp(rng.normal(0, 0.05, 25)), seed=seed)
        covered += [found[t].lo <= x <= found[t].hi for t, x in zip(TERMS, TRUTH, strict=True)]
    assert (covered >= 26).all(), covered


def test_what_moves_together_is_merged_and_named() -> None:
    a = counts(np.random.default_rng(2), 20)
    a[:, 2] = 2 * a[:, 1]  # two requests a wake-up, always
    found = fit(TERMS, a, a @ TRUTH)
    assert found.merged == {"request": "wake"}
    assert found["wake"].value == pytest.approx(TRUTH[1] + 2 * TRUTH[2])
    assert found["request"].value == 0


def test_what_was_never_seen_is_said() -> None:
    a = counts(np.random.default_rng(3), 20)
    a[:, 4] = 0
    assert fit(TERMS, a, a @ TRUTH).merged == {"byte": "never seen"}


def test_no_coefficient_is_negative() -> None:
    rng = np.random.default_rng(4)
    a = counts(rng, 12)
    found = fit(TERMS, a, a @ (TRUTH * [1, 1, 0, 1, 0]) * np.exp(rng.normal(0, 0.2, 12)))
    assert all(found[t].value >= 0 and found[t].lo >= 0 for t in TERMS)


def test_a_row_without_cpu_is_an_error() -> None:
    with pytest.raises(ValueError, match="CPU"):
        fit(("s",), np.ones((2, 1)), np.array([1.0, 0.0]))
