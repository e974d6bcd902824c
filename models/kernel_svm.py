"""kernel-svm: a support vector machine of 256 vectors of 4,096 values, radial kernel; its answer is the decision value.

An answer costs 256 distances of 4,096 values: about three million floating point operations a point.
"""

from __future__ import annotations

from functools import lru_cache

from models.classical import KernelSvm
from models.classical_export import Labels, define

VALUES, VECTORS = 4096, 256
#: The usual choice, one over the number of values times their variance (uniform values: 1/12).
GAMMA = 12.0 / VALUES
#: How far each value of a class lies from the middle.
_APART = 0.15


@lru_cache(maxsize=2)
def fitted(seed: int) -> KernelSvm:
    """The model of a seed: vectors of two classes that differ along a diagonal, coefficients that add up to zero."""
    import numpy as np

    rng = np.random.default_rng([seed, 0x57])
    half = VECTORS // 2
    diagonal = rng.choice(np.array([-_APART, _APART], np.float32), VALUES)
    support = _APART + (1 - 2 * _APART) * rng.random((VECTORS, VALUES), dtype=np.float32)
    support[:half] -= diagonal
    support[half:] += diagonal
    dual = rng.uniform(0.1, 1.0, VECTORS)
    dual[:half] *= -dual[half:].sum() / dual[:half].sum()  # the first class comes first, and is negative
    return KernelSvm(support, dual.astype(np.float32), float(rng.uniform(-0.1, 0.1)), GAMMA)


KERNEL_SVM = define(
    Labels("kernel-svm", tuple(f"x{i}" for i in range(VALUES))),
    fitted,
    ("onnx", "npz"),
    outputs=1,
    parameters=VECTORS * VALUES + VECTORS + 1,
    summary="support vector machine, radial kernel, 256 vectors of 4,096 values; the decision value",
)
