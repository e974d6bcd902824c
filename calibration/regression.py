"""Non-negative least squares on counted events, with intervals, leave-one-out errors and a condition number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from sim.costs import Value

Floats = NDArray[np.float64]
BOOTSTRAPS = 200
INTERVAL = (0.05, 0.95)


@dataclass(frozen=True, slots=True)
class Fit:
    """CPU = sum of coefficient x count.

    Attributes:
        terms: name -> coefficient (ns an event) with its 90 % bootstrap interval.
        condition: condition number of the scaled design matrix.
        leave_one_out: median of |ln(predicted / seen)| where each row is predicted from the others.
        errors: signed ln(predicted / seen) of every row in the fit.
        merged: terms that could not be told from others, and where their cost went.
    """

    terms: dict[str, Value]
    condition: float
    leave_one_out: float
    errors: tuple[float, ...]
    merged: dict[str, str]

    def __getitem__(self, term: str) -> Value:
        """A term's coefficient; zero where it is no part of the fit."""
        return self.terms.get(term, Value(0.0, 0.0, 0.0))


def _solve(a: Floats, y: Floats) -> Floats:
    # Columns to unit length first: counts of seconds and of bytes differ by ten orders of magnitude.
    scale = np.linalg.norm(a, axis=0)
    scale[scale == 0] = 1.0
    solution, _ = nnls(a / scale, y)
    return np.asarray(solution / scale, dtype=np.float64)


def fit(names: Sequence[str], counts: Floats, cpu_ns: Floats, seed: int = 1) -> Fit:
    """Fits non-negative coefficients by relative least squares: every row weighs the same, whatever its length.

    Args:
        names: The terms, one a column.
        counts: Events counted, shape (rows, terms).
        cpu_ns: CPU used, shape (rows,), positive.
        seed: Of the bootstrap.

    Returns:
        The fit.  A column that follows from others is dropped and named in `merged`.

    Raises:
        ValueError: fewer rows than terms that can be told apart, or a row without CPU.
    """
    if len(cpu_ns) < 1 or (cpu_ns <= 0).any():
        raise ValueError("every row needs CPU above zero")
    a_all = counts / cpu_ns[:, None]
    kept, merged = _independent(names, a_all)
    a = a_all[:, kept]
    y = np.ones(len(cpu_ns))
    best = _solve(a, y)
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(BOOTSTRAPS):
        rows = rng.integers(0, len(y), len(y))
        draws.append(_solve(a[rows], y[rows]))
    low, high = np.quantile(np.asarray(draws), INTERVAL, axis=0)
    left_out = []
    for i in range(len(y)):
        rest = np.arange(len(y)) != i
        predicted = float(a[i] @ _solve(a[rest], y[rest])) if rest.sum() >= len(kept) else float("nan")
        if predicted > 0:
            left_out.append(abs(np.log(predicted)))
    scale = np.linalg.norm(a, axis=0)
    scale[scale == 0] = 1.0
    predictions = a @ best
    return Fit(
        terms={
            names[k]: Value(float(best[j]), float(min(low[j], best[j])), float(max(high[j], best[j])))
            for j, k in enumerate(kept)
        },
        condition=float(np.linalg.cond(a / scale)),
        leave_one_out=float(np.median(left_out)) if left_out else float("nan"),
        errors=tuple(float(e) for e in np.log(np.maximum(predictions, 1e-12))),
        merged=merged,
    )


def _independent(names: Sequence[str], a: Floats) -> tuple[list[int], dict[str, str]]:
    """The columns that can be told apart, taken in order; the others by name, with the term they move with."""
    kept: list[int] = []
    merged: dict[str, str] = {}
    for k in range(a.shape[1]):
        column = a[:, k]
        norm = float(np.linalg.norm(column))
        if norm == 0.0:
            merged[names[k]] = "never seen"
            continue
        if kept:
            basis = a[:, kept] / np.linalg.norm(a[:, kept], axis=0)
            weights, *_ = np.linalg.lstsq(basis, column / norm, rcond=None)
            rest = float(np.linalg.norm(column / norm - basis @ weights))
            if rest < 0.02:
                merged[names[k]] = names[kept[int(np.argmax(np.abs(weights)))]]
                continue
        kept.append(k)
    return kept, merged
