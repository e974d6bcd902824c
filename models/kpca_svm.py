"""kpca-svm: 64 kernel principal components of 4,096 values (radial, 256 rows), then a linear support vector machine."""

from __future__ import annotations

from functools import lru_cache

from models.classical import KernelPcaSvm, rbf
from models.classical_export import Labels, define
from models.kernel_svm import GAMMA, VALUES

ROWS, COMPONENTS = 256, 64


@lru_cache(maxsize=2)
def fitted(seed: int) -> KernelPcaSvm:
    """The model of a seed: components fitted on rows drawn as the inputs are, and a drawn machine."""
    import numpy as np

    rng = np.random.default_rng([seed, 0x5C])
    rows = rng.random((ROWS, VALUES), dtype=np.float32)
    kernel = rbf(rows, rows, GAMMA)
    row_mean = kernel.mean(axis=0)
    centred = kernel - row_mean - kernel.mean(axis=1, keepdims=True) + kernel.mean()
    values, vectors = np.linalg.eigh(centred)
    values, vectors = values[::-1][:COMPONENTS], vectors[:, ::-1][:, :COMPONENTS]
    # An eigenvector's sign is anybody's choice: the largest of its values is positive here.
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(COMPONENTS)])
    projection = vectors * signs / np.sqrt(values)
    return KernelPcaSvm(
        fitted=rows,
        gamma=GAMMA,
        row_mean=row_mean.astype(np.float32),
        mean=float(kernel.mean()),
        projection=projection.astype(np.float32),
        matrix=(30.0 * rng.normal(size=COMPONENTS)).astype(np.float32),
        bias=float(rng.uniform(-0.1, 0.1)),
    )


KPCA_SVM = define(
    Labels("kpca-svm", tuple(f"x{i}" for i in range(VALUES))),
    fitted,
    ("onnx", "npz"),
    outputs=1,
    parameters=ROWS * VALUES + ROWS + 1 + ROWS * COMPONENTS + COMPONENTS + 1,
    summary="64 kernel principal components of 4,096 values (256 rows), then a linear machine; the decision value",
)
