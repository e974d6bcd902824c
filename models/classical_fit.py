"""Fits linear and generalised linear models, trees and forests in numpy; the same data and seed, the same model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.classical import Family, Linear, Trees

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]
    Ints = NDArray[np.int64]

_STEPS = 50


def fit_linear(x: Floats, y: Doubles, ridge: float = 0.0) -> Linear:
    """Least squares with a penalty on standardised coefficients.

    Args:
        x: (rows, values).
        y: (rows,).
        ridge: Penalty per row; 0: none.
    """
    import numpy as np

    matrix = x.astype(np.float64)
    mean, scale = matrix.mean(axis=0), matrix.std(axis=0)
    scale[scale == 0] = 1.0
    z = (matrix - mean) / scale
    gram = z.T @ z + ridge * len(z) * np.eye(z.shape[1])
    coefficients = np.linalg.lstsq(gram, z.T @ (y - y.mean()))[0] / scale
    return Linear(_f32(coefficients[None]), _f32([y.mean() - mean @ coefficients]))


def fit_glm(x: Floats, y: Doubles, family: Family) -> Linear:
    """A generalised linear model by iteratively reweighted least squares.

    Args:
        x: (rows, values).
        y: (rows,), positive where the family is gamma.
        family: `normal` (identity link) or `gamma` (logarithm).  Both have constant working weights, so a step is one
            least-squares problem.
    """
    import numpy as np

    matrix = x.astype(np.float64)
    mean, scale = matrix.mean(axis=0), matrix.std(axis=0)
    scale[scale == 0] = 1.0
    design = np.column_stack([np.ones(len(matrix)), (matrix - mean) / scale])
    beta = np.zeros(design.shape[1])
    beta[0] = np.log(y.mean()) if family == "gamma" else y.mean()
    for _ in range(_STEPS):
        eta = design @ beta
        mu = np.exp(eta) if family == "gamma" else eta
        working = eta + (y - mu) / mu if family == "gamma" else y
        new = np.linalg.lstsq(design, working)[0]
        done = np.abs(new - beta).max() < 1e-12
        beta = new
        if done:
            break
    coefficients = beta[1:] / scale
    return Linear(_f32(coefficients[None]), _f32([beta[0] - mean @ coefficients]), family)


def fit_tree(
    x: Floats, targets: Doubles, max_depth: int, max_leaves: int, rng: np.random.Generator | None = None, tried: int = 0
) -> Trees:
    """One CART tree, grown best split first.

    The gain of a split is what it takes off the squared error of the targets; for targets of one 1 a row (classes)
    that is Gini's impurity.

    Args:
        x: (rows, values).
        targets: (rows, outputs): a value, or one column a class.
        max_depth: Splits above a leaf.
        max_leaves: Leaves at most.
        rng: Where the values tried at each split are drawn; None: all are tried.
        tried: How many are drawn.
    """
    import heapq

    import numpy as np

    feature: list[int] = [-1]
    threshold: list[float] = [0.0]
    children: list[tuple[int, int]] = [(0, 0)]
    leaf = [targets.mean(axis=0)]
    waiting: list[tuple[float, int, int, Ints, int, float]] = []

    def consider(node: int, depth: int, rows: Ints) -> None:
        if depth >= max_depth:
            return
        columns = np.arange(x.shape[1]) if rng is None else np.sort(rng.choice(x.shape[1], tried, replace=False))
        gain, column, at = _best_split(x, targets, rows, columns)
        if gain > 1e-9:
            heapq.heappush(waiting, (-gain, node, depth, rows, column, at))

    consider(0, 0, np.arange(len(x)))
    for _ in range(max_leaves - 1):
        if not waiting:
            break
        _, node, depth, rows, column, at = heapq.heappop(waiting)  # nodes differ, so arrays are never compared
        goes_left = x[rows, column] <= at
        feature[node], threshold[node] = column, at
        children[node] = (len(feature), len(feature) + 1)
        for side in (rows[goes_left], rows[~goes_left]):
            feature.append(-1)
            threshold.append(0.0)
            children.append((len(feature) - 1, len(feature) - 1))
            leaf.append(targets[side].mean(axis=0))
            consider(len(feature) - 1, depth + 1, side)
    pairs = np.array(children, np.int64)
    return Trees(
        roots=np.zeros(1, np.int64),
        feature=np.array(feature, np.int64),
        threshold=np.array(threshold, np.float64),
        left=pairs[:, 0],
        right=pairs[:, 1],
        leaf=_f32(np.array(leaf)),
        width=x.shape[1],
    )


def fit_forest(
    x: Floats, targets: Doubles, trees: int, max_depth: int, max_leaves: int, rng: np.random.Generator
) -> Trees:
    """Trees on bootstrap samples, a third of the values (rounded up) tried at each split; their mean as one sum."""
    import numpy as np

    grown = []
    for _ in range(trees):
        sample = rng.integers(0, len(x), len(x))
        tried = -(-x.shape[1] // 3)
        grown.append(fit_tree(x[sample], targets[sample], max_depth, max_leaves, rng, tried))
    offsets = np.cumsum([0, *(len(each.feature) for each in grown[:-1])])
    pairs = list(zip(grown, offsets.tolist(), strict=True))
    return Trees(
        roots=offsets.astype(np.int64),
        feature=np.concatenate([each.feature for each in grown]),
        threshold=np.concatenate([each.threshold for each in grown]),
        left=np.concatenate([each.left + offset for each, offset in pairs]),
        right=np.concatenate([each.right + offset for each, offset in pairs]),
        leaf=_f32(np.concatenate([each.leaf / np.float32(trees) for each in grown])),
        width=x.shape[1],
    )


def _best_split(x: Floats, targets: Doubles, rows: Ints, columns: Ints) -> tuple[float, int, float]:
    """Gain, column and threshold of the best split of some rows; a gain of 0 where there is none."""
    import numpy as np

    best = (0.0, 0, 0.0)
    total = targets[rows].sum(axis=0)
    whole = float((total * total).sum()) / len(rows)
    count = np.arange(1, len(rows))
    for column in columns.tolist():
        values = x[rows, column]
        order = np.argsort(values, kind="stable")
        ordered = values[order]
        left = np.cumsum(targets[rows[order]], axis=0)[:-1]
        right = total - left
        gain = (left * left).sum(axis=1) / count + (right * right).sum(axis=1) / (len(rows) - count) - whole
        gain[ordered[1:] == ordered[:-1]] = 0.0
        if len(gain) == 0:
            continue
        at = int(np.argmax(gain))
        if gain[at] > best[0] + 1e-12:
            low, high = float(ordered[at]), float(ordered[at + 1])
            middle = np.float32((low + high) / 2.0)
            # Rounded to float32 the middle of two neighbours may be the upper one, which must go right.
            best = (float(gain[at]), column, float(middle) if middle < high else low)
    return best


def _f32(values: object) -> Floats:
    import numpy as np

    return np.asarray(values, np.float32)
