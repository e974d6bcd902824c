"""Fitting: what the data were made of comes back, gradients are the slopes, splits the best there are."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from models.classical import Last, Trees
from models.classical_fit import fit_forest, fit_glm, fit_linear, fit_tree
from models.classical_mlp import _gradients, fit_mlp

Floats = NDArray[np.float32]
RNG = np.random.default_rng(7)
X = (3.0 * RNG.normal(size=(200, 3))).astype(np.float32)
BETA = np.array([0.3, -0.2, 0.1])


def test_a_line_without_noise_comes_back() -> None:
    model = fit_linear(X, X @ BETA + 2.0)
    np.testing.assert_allclose(model.matrix[0], BETA, rtol=1e-5)
    np.testing.assert_allclose(model.bias, [2.0], rtol=1e-5)


def test_a_penalty_shrinks() -> None:
    one, y = X[:, :1], 4.0 * X[:, 0].astype(np.float64)
    # Of one standardised value the squares add up to the rows, so a penalty of one a row halves its coefficient.
    np.testing.assert_allclose(fit_linear(one, y, ridge=1.0).matrix, 2.0, rtol=1e-5)


def test_a_value_that_is_always_the_same_does_no_harm() -> None:
    flat = np.column_stack([X, np.full(len(X), 5, np.float32)])
    model = fit_linear(flat, X @ BETA + 2.0, ridge=1e-9)
    np.testing.assert_allclose(model.score(flat)[:, 0], X @ BETA + 2.0, atol=1e-4)


def test_normal_errors_are_least_squares() -> None:
    y = X @ BETA + 2.0 + np.random.default_rng(1).normal(size=len(X))
    a, b = fit_linear(X, y), fit_glm(X, y, "normal")
    np.testing.assert_allclose(a.matrix, b.matrix, rtol=1e-4)
    assert b.family == "normal"


def test_gamma_errors_solve_their_score_equations() -> None:
    """Where the likelihood of gamma errors with a log link is highest, sum of x (y - mu) / mu is zero."""
    rng = np.random.default_rng(1)
    mu = np.exp(0.1 * (X @ BETA) + 1.0)
    y = mu * rng.gamma(5.0, 0.2, len(X))
    model = fit_glm(X, y, "gamma")
    fitted = model.score(X)[:, 0].astype(np.float64)
    design = np.column_stack([np.ones(len(X)), X])
    np.testing.assert_allclose(design.T @ ((y - fitted) / fitted), 0.0, atol=1e-2)
    exact = fit_glm(X, mu, "gamma")
    np.testing.assert_allclose(exact.matrix[0], 0.1 * BETA, rtol=1e-4)


@pytest.mark.parametrize("outputs", [1, 3])
def test_the_first_split_is_the_best_of_all(outputs: int) -> None:
    rng = np.random.default_rng(3)
    x = rng.integers(0, 6, (40, 4)).astype(np.float32)
    classes = rng.integers(0, 3, 40)
    targets = (classes[:, None] == np.arange(3)).astype(float) if outputs == 3 else classes[:, None].astype(float)

    def left_over(goes_left: NDArray[np.bool_]) -> float:
        sides = (targets[goes_left], targets[~goes_left])
        return sum(float(((side - side.mean(axis=0)) ** 2).sum()) for side in sides if len(side))

    every = [left_over(x[:, c] <= t) for c in range(4) for t in np.unique(x[:, c])[:-1]]
    tree = fit_tree(x, targets, max_depth=1, max_leaves=2)
    assert len(tree.feature) == 3
    assert left_over(x[:, tree.feature[0]] <= tree.threshold[0]) == pytest.approx(min(every))


def test_a_tree_learns_all_its_rows_and_keeps_its_bounds() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.random((64, 2), dtype=np.float32), rng.normal(size=(64, 1))
    whole = fit_tree(x, y, max_depth=64, max_leaves=64)
    np.testing.assert_allclose(whole.score(x), y, rtol=1e-6)
    assert _depth(fit_tree(x, y, max_depth=3, max_leaves=64)) == 3
    assert (fit_tree(x, y, max_depth=64, max_leaves=5).feature < 0).sum() == 5
    assert len(fit_tree(x, np.ones((64, 1)), max_depth=9, max_leaves=9).feature) == 1  # nothing to gain


def _depth(tree: Trees) -> int:
    depth = np.zeros(len(tree.feature), int)
    for i in range(len(depth)):
        if tree.feature[i] >= 0:
            depth[[tree.left[i], tree.right[i]]] = depth[i] + 1
    return int(depth.max())


def test_neighbouring_floats_are_parted() -> None:
    low = np.float32(1.0)
    high = np.nextafter(low, np.float32(2))
    x = np.array([[low], [high]], np.float32)
    tree = fit_tree(x, np.array([[0.0], [1.0]]), max_depth=1, max_leaves=2)
    np.testing.assert_array_equal(tree.score(x), [[0], [1]])


def test_a_forest_is_the_mean_of_its_trees_and_a_function_of_its_seed() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.random((80, 3), dtype=np.float32), rng.integers(0, 2, 80)
    targets = (y[:, None] == np.arange(2)).astype(float)
    forest = fit_forest(x, targets, 5, 4, 8, np.random.default_rng(0))
    np.testing.assert_allclose(forest.score(x).sum(axis=1), 1.0, rtol=1e-5)
    again = fit_forest(x, targets, 5, 4, 8, np.random.default_rng(0))
    np.testing.assert_array_equal(forest.threshold, again.threshold)
    other = fit_forest(x, targets, 5, 4, 8, np.random.default_rng(1))
    assert forest.threshold.tolist() != other.threshold.tolist()
    assert len(forest.trees()) == 5


@pytest.mark.parametrize("last", ["softmax", "sigmoid"])
def test_gradients_are_the_slopes_of_the_loss(last: Last) -> None:
    rng = np.random.default_rng(6)
    weights = [rng.normal(size=shape) for shape in ((5, 3), (5,), (2, 5), (2,))]
    x = rng.normal(size=(7, 3))
    targets = (rng.integers(0, 2, 7)[:, None] == np.arange(2)).astype(float)
    _, gradients = _gradients(weights, x, targets, last)
    step = 1e-6
    for weight, gradient in zip(weights, gradients, strict=True):
        for place in np.ndindex(weight.shape):
            kept = weight[place]
            weight[place] = kept + step
            above, _ = _gradients(weights, x, targets, last)
            weight[place] = kept - step
            below, _ = _gradients(weights, x, targets, last)
            weight[place] = kept
            assert gradient[place] == pytest.approx((above - below) / (2 * step), abs=1e-6)


def test_a_perceptron_learns_what_no_line_can_part() -> None:
    rng = np.random.default_rng(8)
    x = rng.uniform(-1, 1, (400, 2)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] > 0).astype(int)
    losses: list[float] = []
    model = fit_mlp(
        x * 100 + 7,
        (y[:, None] == np.arange(2)).astype(float),
        (16,),
        np.random.default_rng(0),
        epochs=60,
        rate=1e-2,
        say=lambda _epoch, loss: losses.append(loss),
    )
    assert (model.score(x * 100 + 7).argmax(axis=1) == y).mean() > 0.95
    assert len(losses) == 60
    assert losses[-1] < losses[0] / 3
