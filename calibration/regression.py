"""Non-negative least squares on counted events: intervals, leave-one-out errors, a condition number.

Errors are relative: a run's CPU is off by a share of itself, whatever its length.  So rows are weighted by what the fit
itself predicts for them, found by a few turns; weighting by what was measured would weigh a run up for having come out
low, and the whole fit down.

Intervals come from refitting data disturbed by as much as the fit leaves over.  The disturbed data lie around the
*measured* ones, not around the fit: where a coefficient ends at zero, the fit has left over what it may not take away,
and refits around the fit would hide how far above zero the truth may lie.  The size of the disturbance is the sum of
squares of the fit without bounds over the rows it has beyond its terms, drawn anew for each refit from what so few
rows say of it, so that a fit of few rows has wider intervals (Student's t, not a normal).  Rows are never left out by
lot, as a bootstrap of pairs does: a coefficient that hangs on two rows would be lost in a third of its draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from sim.costs import Value

Floats = NDArray[np.float64]
BOOTSTRAPS = 200
INTERVAL = (0.05, 0.95)
_TURNS = 4
#: A row counts as no less and no more than this many times what was measured.
_MOST_OFF = 2.0
#: A column that is this near to a sum of others cannot be told from them.
_SAME = 0.02


@dataclass(frozen=True, slots=True)
class Fit:
    """CPU = sum of coefficient x count.

    Attributes:
        terms: name -> coefficient (ns an event) with its 90 % interval.
        condition: condition number of the scaled design matrix.
        leave_one_out: median of |ln(predicted / seen)| where each row is predicted from the others.
        errors: signed ln(predicted / seen) of every row in the fit.
        merged: terms that could not be told from others, and where their cost went.
        left: what the fit without bounds leaves over of each row, as a share of it.
        freedom: rows beyond the terms; 0 where the fit leaves nothing over because it cannot.
        runs: the run of each row, where that is known.
        shares: merged term -> kept term -> how many events of it go with one of the merged: its cost is in there.
    """

    terms: dict[str, Value]
    condition: float
    leave_one_out: float
    errors: tuple[float, ...]
    merged: dict[str, str]
    left: tuple[float, ...] = ()
    freedom: int = 0
    runs: tuple[str, ...] = ()
    shares: dict[str, dict[str, float]] = field(default_factory=dict)

    def __getitem__(self, term: str) -> Value:
        """A term's coefficient; zero where it is no part of the fit."""
        return self.terms.get(term, Value(0.0, 0.0, 0.0))

    @property
    def noise(self) -> float:
        """The relative standard deviation of a row; 0 where that is not known."""
        return float(np.sqrt(np.sum(np.square(self.left)) / self.freedom)) if self.freedom else 0.0


def fit(
    names: Sequence[str],
    counts: Floats,
    cpu_ns: Floats,
    seed: int = 1,
    draws: int = BOOTSTRAPS,
    *,
    judged: bool = True,
    free: Sequence[str] = (),
    keep: Sequence[str] | None = None,
) -> Fit:
    """Fits non-negative coefficients by relative least squares.

    Args:
        names: The terms, one a column.
        counts: Events counted, shape (rows, terms).
        cpu_ns: CPU used, shape (rows,), positive.
        seed: Of the draws.
        draws: Refits that the intervals come from; with none, an interval is its value.
        judged: Whether condition number and leave-one-out error are wanted.
        free: Terms that may be negative: parts of a sum that may not, whose parts would each be too high if cut at 0.
        keep: The terms of the fit, where they are settled; None to find which can be told apart.

    Returns:
        The fit.  A column that follows from others is dropped and named in `merged`.

    Raises:
        ValueError: no rows, or a row without CPU.
    """
    if len(cpu_ns) < 1 or (cpu_ns <= 0).any():
        raise ValueError("every row needs CPU above zero")
    if keep is None:
        kept, merged, shares = independent(names, counts / cpu_ns[:, None])
    else:
        kept, merged, shares = [k for k, name in enumerate(names) if name in keep], {}, {}
    a = counts[:, kept]
    signed = [j for j, k in enumerate(kept) if names[k] in free]
    best, weight = solve(a, cpu_ns, signed)
    scaled, _ = _unit(a * weight[:, None])
    unbound, *_ = np.linalg.lstsq(scaled, cpu_ns * weight, rcond=None)
    left = cpu_ns * weight - scaled @ unbound
    freedom = max(0, len(cpu_ns) - len(kept))
    low = high = best
    if draws:
        low, high = _interval(a, cpu_ns, left, freedom, seed, draws, signed)
    left_out = []
    for i in range(len(cpu_ns)) if judged else ():
        rest = np.arange(len(cpu_ns)) != i
        predicted = float(a[i] @ solve(a[rest], cpu_ns[rest], signed)[0]) if rest.sum() >= len(kept) else float("nan")
        if predicted > 0:
            left_out.append(abs(np.log(predicted / cpu_ns[i])))
    predictions = a @ best / cpu_ns
    return Fit(
        terms={
            names[k]: Value(float(best[j]), float(min(low[j], best[j])), float(max(high[j], best[j])))
            for j, k in enumerate(kept)
        },
        condition=float(np.linalg.cond(_unit(a / cpu_ns[:, None])[0])) if judged else float("nan"),
        leave_one_out=float(np.median(left_out)) if left_out else float("nan"),
        errors=tuple(float(e) for e in np.log(np.maximum(predictions, 1e-12))),
        merged=merged,
        shares=shares,
        left=tuple(float(e) for e in left),
        freedom=freedom,
    )


def solve(a: Floats, y: Floats, signed: Sequence[int] = ()) -> tuple[Floats, Floats]:
    """Coefficients, and the weight of each row: one over what they predict for it.

    Args:
        a: Counts, shape (rows, terms).
        y: CPU, positive.
        signed: Columns whose coefficient may be negative.
    """
    weight = 1.0 / y
    best = np.zeros(a.shape[1])
    for _ in range(_TURNS):
        scaled, scale = _unit(a * weight[:, None])
        solution, _ = nnls(np.hstack([scaled, -scaled[:, signed]]) if len(signed) else scaled, y * weight)
        found = solution[: a.shape[1]].copy()
        found[list(signed)] -= solution[a.shape[1] :]
        best = np.asarray(found / scale, dtype=np.float64)
        weight = 1.0 / np.clip(a @ best, y / _MOST_OFF, y * _MOST_OFF)
    return best, weight


def scales(left: Sequence[float] | Floats, freedom: int, rng: np.random.Generator, draws: int) -> Floats:
    """How large a disturbance may be, one a draw: what so many free rows leave open of a standard deviation."""
    if not freedom:
        return np.zeros(draws)
    squares = float(np.sum(np.square(np.asarray(left))))
    return np.asarray(np.sqrt(squares / rng.chisquare(freedom, draws)), dtype=np.float64)


def ends(values: Floats, level: Sequence[float] = INTERVAL) -> Floats:
    """Both ends of an interval, from draws along the first axis: the k-th of n lies at k / (n + 1)."""
    return np.asarray(np.quantile(values, level, axis=0, method="weibull"), dtype=np.float64)


def _interval(
    a: Floats, y: Floats, left: Floats, freedom: int, seed: int, draws: int, signed: Sequence[int]
) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    sizes = scales(left, freedom, rng, draws)
    found = [solve(a, disturbed(y, size * rng.standard_normal(len(y))), signed)[0] for size in sizes]
    low, high = ends(np.asarray(found))
    return low, high


def disturbed(y: Floats, by: Floats) -> Floats:
    """Rows off by so much, as shares of them; none comes near zero."""
    return np.asarray(y * np.maximum(1.0 + by, 0.05), dtype=np.float64)


def _unit(a: Floats) -> tuple[Floats, Floats]:
    # Columns to unit length: counts of seconds and of bytes differ by ten orders of magnitude.
    scale = np.linalg.norm(a, axis=0)
    scale[scale == 0] = 1.0
    return a / scale, scale


def independent(names: Sequence[str], a: Floats) -> tuple[list[int], dict[str, str], dict[str, dict[str, float]]]:
    """The columns that can be told apart, taken in order; the others by name, with the term they move with.

    Returns:
        The columns; merged term -> the kept term it moves with most, or `never seen`; merged -> kept -> share.
    """
    kept: list[int] = []
    merged: dict[str, str] = {}
    shares: dict[str, dict[str, float]] = {}
    for k in range(a.shape[1]):
        column = a[:, k]
        norm = float(np.linalg.norm(column))
        if norm == 0.0:
            merged[names[k]] = "never seen"
            continue
        if kept:
            lengths = np.linalg.norm(a[:, kept], axis=0)
            basis = a[:, kept] / lengths
            weights, *_ = np.linalg.lstsq(basis, column / norm, rcond=None)
            rest = float(np.linalg.norm(column / norm - basis @ weights))
            if rest < _SAME:
                merged[names[k]] = names[kept[int(np.argmax(np.abs(weights)))]]
                events = weights * norm / lengths
                shares[names[k]] = {names[j]: float(x) for j, x in zip(kept, events, strict=True)}
                continue
        kept.append(k)
    return kept, merged, shares
