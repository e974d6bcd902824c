"""lightgbm: 100 boosted trees of 31 leaves over 2,048 values, the probability of the second of two classes.

The trees are grown at random, leaf by leaf, as boosting grows them (deep on one side, shallow on the other): what
scoring costs depends on their shape, not on what they have learned.
"""

from __future__ import annotations

from functools import lru_cache

from models.classical import Trees
from models.classical_export import Labels, define

VALUES, TREES, LEAVES = 2048, 100, 31
_NODES = 2 * LEAVES - 1


@lru_cache(maxsize=4)
def fitted(seed: int) -> Trees:
    """The model of a seed."""
    import numpy as np

    rng = np.random.default_rng([seed, 0x16B])
    feature = np.full(TREES * _NODES, -1, np.int64)
    threshold = np.zeros(TREES * _NODES)
    left = np.arange(TREES * _NODES)
    right = left.copy()
    leaf = np.zeros((TREES * _NODES, 1), np.float32)
    for tree in range(TREES):
        first = tree * _NODES
        leaves, grown = [first], 1
        while grown < _NODES:
            node = leaves.pop(int(rng.integers(len(leaves))))
            feature[node] = rng.integers(VALUES)
            threshold[node] = np.float32(rng.uniform(0.2, 0.8))
            left[node], right[node] = first + grown, first + grown + 1
            leaves += [first + grown, first + grown + 1]
            grown += 2
        leaf[leaves, 0] = rng.normal(0.0, 0.1, LEAVES)
    return Trees(np.arange(TREES, dtype=np.int64) * _NODES, feature, threshold, left, right, leaf, VALUES, "sigmoid")


LIGHTGBM = define(
    Labels("lightgbm", tuple(f"x{i}" for i in range(VALUES))),
    fitted,
    ("onnx", "lightgbm", "pmml"),
    outputs=1,
    parameters=TREES * (2 * (LEAVES - 1) + LEAVES),
    summary="100 boosted trees of 31 leaves over 2,048 values, one probability",
)
