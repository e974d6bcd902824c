"""Classical models as plain data: what was fitted, and how it answers, in numpy alone.

A model of a few arrays can be written to every format and handed to every library without training it again:
`classical_onnx`, `classical_pmml`, `classical_lightgbm`, `classical_tensorflow` and `classical_npz` write these
types, `runtimes/sklearn` makes estimators of them, `pmml_read` reads them back.

Parameters are float32 throughout (a threshold too, so that every runtime compares the same two numbers); answers are
computed in float64 and rounded once, so they are nearer to the truth than any of the runtimes they are compared with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]
    Ints = NDArray[np.int64]

Family = Literal["none", "normal", "gamma"]
Between = Literal["relu", "sigmoid", "tanh"]
Last = Literal["identity", "softmax", "sigmoid"]


class Classical(Protocol):
    """What every kind of model below can do."""

    @property
    def values(self) -> int:
        """Values in one point."""
        ...

    @property
    def outputs(self) -> int:
        """Values a prediction has for one point."""
        ...

    @property
    def parameters(self) -> int:
        """Number of fitted values."""
        ...

    def score(self, x: Floats) -> Floats:
        """Answers (points, outputs) to (points, values)."""
        ...


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear or generalised linear model.

    Attributes:
        matrix: float32 (outputs, values).
        bias: float32 (outputs,).
        family: Of a generalised linear model, its errors' distribution.  Gamma's link is the logarithm: the answer is
            the exponential of the linear part.
    """

    matrix: Floats
    bias: Floats
    family: Family = "none"

    @property
    def values(self) -> int:
        """Values in one point."""
        return int(self.matrix.shape[1])

    @property
    def outputs(self) -> int:
        """Values in one answer."""
        return int(self.matrix.shape[0])

    @property
    def parameters(self) -> int:
        """Coefficients and intercepts."""
        return self.matrix.size + self.bias.size

    def score(self, x: Floats) -> Floats:
        """See `Classical.score`."""
        import numpy as np

        linear = x.astype(np.float64) @ self.matrix.T.astype(np.float64) + self.bias
        return (np.exp(linear) if self.family == "gamma" else linear).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Trees:
    """A sum of binary decision trees, their nodes one after the other.

    A node goes left where `x[feature] <= threshold`.  A mean of trees is a sum of trees whose leaves are divided.

    Attributes:
        roots: int64 (trees,), the first node of each tree, ascending.
        feature: int64 (nodes,), -1 in a leaf.
        threshold: float64 (nodes,), 0 in a leaf.
        left, right: int64 (nodes,), indices into the same arrays; a leaf's are its own.
        leaf: float32 (nodes, outputs): what a leaf adds, of an inner node what it would add were it a leaf.
        width: Values in one point.
        last: `sigmoid`: the answer is the logistic function of the sum.
    """

    roots: Ints
    feature: Ints
    threshold: Doubles
    left: Ints
    right: Ints
    leaf: Floats
    width: int
    last: Last = "identity"

    @property
    def values(self) -> int:
        """Values in one point."""
        return self.width

    @property
    def outputs(self) -> int:
        """Values in one answer."""
        return int(self.leaf.shape[1])

    @property
    def parameters(self) -> int:
        """A feature and a threshold an inner node, an answer a leaf."""
        leaves = int((self.feature < 0).sum())
        return 2 * (len(self.feature) - leaves) + leaves * self.outputs

    def trees(self) -> list[range]:
        """The nodes of each tree."""
        ends = [*self.roots[1:].tolist(), len(self.feature)]
        return [range(a, b) for a, b in zip(self.roots.tolist(), ends, strict=True)]

    def score(self, x: Floats) -> Floats:
        """See `Classical.score`."""
        import numpy as np

        at = np.broadcast_to(self.roots, (len(x), len(self.roots)))
        row = np.arange(len(x))[:, None]
        while True:
            feature = self.feature[at]
            inner = feature >= 0
            if not inner.any():
                break
            goes_left = x[row, np.maximum(feature, 0)] <= self.threshold[at]
            at = np.where(goes_left, self.left[at], self.right[at])  # of a leaf both are the leaf itself
        total = self.leaf[at].astype(np.float64).sum(axis=1)
        return _last(total, self.last).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Mlp:
    """A multilayer perceptron, its inputs standardised first.

    Attributes:
        layers: The layers' (matrix (fan out, fan in), bias (fan out,)), float32.
        mean, scale: float32 (values,): a value v enters as (v - mean) / scale; None: as it is.
        last: What the last layer's values go through.
        between: What those of the other layers go through.
    """

    layers: tuple[tuple[Floats, Floats], ...]
    mean: Floats | None = None
    scale: Floats | None = None
    last: Last = "softmax"
    between: Between = "relu"

    @property
    def values(self) -> int:
        """Values in one point."""
        return int(self.layers[0][0].shape[1])

    @property
    def outputs(self) -> int:
        """Values in one answer."""
        return int(self.layers[-1][0].shape[0])

    @property
    def parameters(self) -> int:
        """Weights and biases; the standardisation is not counted."""
        return sum(matrix.size + bias.size for matrix, bias in self.layers)

    def score(self, x: Floats) -> Floats:
        """See `Classical.score`."""
        import numpy as np

        h = x.astype(np.float64)
        if self.mean is not None and self.scale is not None:
            h = (h - self.mean) / self.scale
        for i, (matrix, bias) in enumerate(self.layers):
            h = h @ matrix.T.astype(np.float64) + bias
            if i < len(self.layers) - 1:
                h = np.maximum(h, 0.0) if self.between == "relu" else _between(h, self.between)
        return _last(h, self.last).astype(np.float32)


@dataclass(frozen=True, slots=True)
class KernelSvm:
    """A support vector machine of two classes with a radial kernel; its answer is the decision value.

    Attributes:
        support: float32 (vectors, values).
        dual: float32 (vectors,); those of the second class are positive.
        bias: What is added.
        gamma: The kernel is exp(-gamma |x - y|^2).
    """

    support: Floats
    dual: Floats
    bias: float
    gamma: float

    @property
    def values(self) -> int:
        """Values in one point."""
        return int(self.support.shape[1])

    @property
    def outputs(self) -> int:
        """One decision value."""
        return 1

    @property
    def parameters(self) -> int:
        """Support vectors, their coefficients, the bias."""
        return self.support.size + self.dual.size + 1

    def score(self, x: Floats) -> Floats:
        """See `Classical.score`."""
        import numpy as np

        decision = rbf(x, self.support, self.gamma) @ self.dual.astype(np.float64) + self.bias
        return decision[:, None].astype(np.float32)


@dataclass(frozen=True, slots=True)
class KernelPcaSvm:
    """Kernel principal components (radial kernel), then a linear support vector machine of two classes.

    Attributes:
        fitted: float32 (rows, values): the rows the components were fitted on.
        gamma: The kernel is exp(-gamma |x - y|^2).
        row_mean: float32 (rows,): mean of the fitted kernel's columns.
        mean: Mean of the fitted kernel.
        projection: float32 (rows, components): eigenvectors over the root of their eigenvalues.
        matrix: float32 (components,): the linear machine's coefficients.
        bias: What it adds.
    """

    fitted: Floats
    gamma: float
    row_mean: Floats
    mean: float
    projection: Floats
    matrix: Floats
    bias: float

    @property
    def values(self) -> int:
        """Values in one point."""
        return int(self.fitted.shape[1])

    @property
    def outputs(self) -> int:
        """One decision value."""
        return 1

    @property
    def parameters(self) -> int:
        """Fitted rows, the centring, the projection, the linear machine."""
        return self.fitted.size + self.row_mean.size + 1 + self.projection.size + self.matrix.size + 1

    def score(self, x: Floats) -> Floats:
        """See `Classical.score`."""
        import numpy as np

        kernel = rbf(x, self.fitted, self.gamma)
        centred = kernel - self.row_mean - kernel.mean(axis=1, keepdims=True) + self.mean
        components: Doubles = centred @ self.projection.astype(np.float64)
        decision: Doubles = components @ self.matrix.astype(np.float64) + self.bias
        return decision[:, None].astype(np.float32)


def rbf(x: Floats, y: Floats, gamma: float) -> Doubles:
    """The radial kernel exp(-gamma |x - y|^2): float64 (points of x, points of y)."""
    import numpy as np

    a, b = x.astype(np.float64), y.astype(np.float64)
    square = (a * a).sum(axis=1)[:, None] - 2.0 * (a @ b.T) + (b * b).sum(axis=1)
    kernel: Doubles = np.exp(-gamma * np.maximum(square, 0.0))
    return kernel


def _between(h: Doubles, between: Between) -> Doubles:
    import numpy as np

    return np.tanh(h) if between == "tanh" else _last(h, "sigmoid")


def _last(total: Doubles, last: Last) -> Doubles:
    import numpy as np

    if last == "sigmoid":
        # Both branches of the logistic function without an overflow.
        e = np.exp(-np.abs(total))
        logistic: Doubles = np.where(total >= 0, 1.0, e) / (1.0 + e)
        return logistic
    if last == "softmax":
        e = np.exp(total - total.max(axis=1, keepdims=True))
        shares: Doubles = e / e.sum(axis=1, keepdims=True)
        return shares
    return total
