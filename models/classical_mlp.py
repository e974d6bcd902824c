"""Trains multilayer perceptrons in numpy: Adam over shuffled mini-batches, cross-entropy of classes."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from models.classical import Last, Mlp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8


def fit_mlp(
    x: Floats,
    targets: Doubles,
    hidden: Sequence[int],
    rng: np.random.Generator,
    *,
    epochs: int,
    last: Last = "softmax",
    batch: int = 64,
    rate: float = 3e-3,
    standardise: bool = True,
    say: Callable[[int, float], None] | None = None,
) -> Mlp:
    """Trains a perceptron with ReLU between its layers.

    Args:
        x: (rows, values).
        targets: (rows, classes), one 1 a row.
        hidden: Width of each layer between.
        rng: Draws the first weights and the order of the rows.
        epochs: Times that each row is seen.
        last: `softmax` (or `identity`, whose answers are then logits), or `sigmoid`: each class for itself.
        batch: Rows a step.
        rate: Step size at the start; it falls along half a cosine.
        standardise: Whether each value enters less its mean, over its deviation; both are part of the model.
        say: Told each epoch and the mean loss in it.
    """
    import numpy as np

    mean = x.mean(axis=0, dtype=np.float64).astype(np.float32) if standardise else None
    scale = None
    h0 = x.astype(np.float64)
    if mean is not None:
        scale = x.std(axis=0, dtype=np.float64).astype(np.float32)
        scale[scale == 0] = 1.0
        h0 = (h0 - mean) / scale
    weights: list[Doubles] = []
    for fan_in, fan_out in pairwise([x.shape[1], *hidden, targets.shape[1]]):
        bound = math.sqrt(6.0 / fan_in)
        weights += [rng.uniform(-bound, bound, (fan_out, fan_in)), np.zeros(fan_out)]
    first, second = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights]
    step, steps = 0, epochs * -(-len(x) // batch)
    for epoch in range(epochs):
        order = rng.permutation(len(x))
        lost = 0.0
        for start in range(0, len(x), batch):
            rows = order[start : start + batch]
            loss, gradients = _gradients(weights, h0[rows], targets[rows], last)
            lost += loss * len(rows)
            step += 1
            size = rate * 0.5 * (1.0 + math.cos(math.pi * step / steps))
            size *= math.sqrt(1.0 - _BETA_2**step) / (1.0 - _BETA_1**step)
            for i, gradient in enumerate(gradients):
                first[i] += (1.0 - _BETA_1) * (gradient - first[i])
                second[i] += (1.0 - _BETA_2) * (gradient * gradient - second[i])
                weights[i] -= size * first[i] / (np.sqrt(second[i]) + _EPSILON)
        if say is not None:
            say(epoch, lost / len(x))
    layers = tuple(
        (weights[i].astype(np.float32), weights[i + 1].astype(np.float32)) for i in range(0, len(weights), 2)
    )
    return Mlp(layers, mean, scale, last)


def _gradients(weights: list[Doubles], x: Doubles, targets: Doubles, last: Last) -> tuple[float, list[Doubles]]:
    """Mean loss of a batch and its gradient by each weight."""
    import numpy as np

    entered = [x]
    depth = len(weights) // 2
    for i in range(depth):
        z = entered[-1] @ weights[2 * i].T + weights[2 * i + 1]
        entered.append(np.maximum(z, 0.0) if i < depth - 1 else z)
    logits = entered.pop()
    if last == "sigmoid":
        shares = 1.0 / (1.0 + np.exp(-np.clip(logits, -500.0, 500.0)))
        loss = float((np.logaddexp(0.0, logits) - targets * logits).sum()) / len(x)
    else:
        top = logits.max(axis=1, keepdims=True)
        e = np.exp(logits - top)
        total = e.sum(axis=1, keepdims=True)
        shares = e / total
        loss = float(((np.log(total) + top - logits) * targets).sum()) / len(x)
    back = (shares - targets) / len(x)
    gradients: list[Doubles] = []
    for i in reversed(range(depth)):
        gradients[:0] = [back.T @ entered[i], back.sum(axis=0)]
        if i:
            back = (back @ weights[2 * i]) * (entered[i] > 0)
    return loss, gradients
