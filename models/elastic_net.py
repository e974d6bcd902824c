"""elastic-net: a linear model of 4,096 values, four in five of its coefficients zero, as an elastic net leaves them."""

from __future__ import annotations

from functools import lru_cache

from models.classical import Linear
from models.classical_export import Labels, define

VALUES = 4096
_ZERO_SHARE = 0.8


@lru_cache(maxsize=4)
def fitted(seed: int) -> Linear:
    """The model of a seed; its answers to uniform values have mean 0 and deviation near 1."""
    import numpy as np

    rng = np.random.default_rng([seed, 0xE7])
    kept = rng.random(VALUES) >= _ZERO_SHARE
    row = np.where(kept, rng.laplace(0.0, 1.0, VALUES), 0.0)
    # A uniform value has mean 1/2 and variance 1/12.
    row /= np.sqrt((row * row).sum() / 12.0)
    return Linear(row[None].astype(np.float32), np.array([-row.sum() / 2.0], np.float32))


ELASTIC_NET = define(
    Labels("elastic-net", tuple(f"x{i}" for i in range(VALUES))),
    fitted,
    ("onnx", "pmml", "npz"),
    outputs=1,
    parameters=VALUES + 1,
    summary="linear regression of 4,096 values, a fifth of the coefficients not zero",
)
