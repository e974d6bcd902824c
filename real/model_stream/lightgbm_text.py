"""LightGBM's text format, read and scored here: numbers in lines, no code of a model's author is run.

LightGBM's own reader is C++ that trusts its input; this one takes what it understands and refuses the rest.  Numerical
splits, missing values and the objectives below; categorical splits and linear leaves are refused.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

_MAX_TREES, _MAX_LEAVES, _MAX_FEATURES = 100_000, 1_000_000, 1_000_000
_CATEGORICAL, _DEFAULT_LEFT = 1, 2
_ZERO = 1e-35  # LightGBM's: what is nearer to 0 counts as 0
_NONE, _ZERO_IS_MISSING, _NAN_IS_MISSING = 0, 1, 2


class LightGbmError(ValueError):
    """Not a model of this format, or one that is not taken."""


@dataclass(frozen=True)
class _Tree:
    feature: list[int]
    threshold: list[float]
    decision: list[int]
    left: list[int]
    right: list[int]
    value: list[float]

    def leaf(self, row: list[float]) -> float:
        """The value of the leaf that a row falls into."""
        node = 0 if self.feature else -1
        while node >= 0:
            decision, x = self.decision[node], row[self.feature[node]]
            missing = decision >> 2 & 3
            if x != x and missing != _NAN_IS_MISSING:
                x = 0.0
            if (missing == _ZERO_IS_MISSING and -_ZERO <= x <= _ZERO) or (missing == _NAN_IS_MISSING and x != x):
                go_left = bool(decision & _DEFAULT_LEFT)
            else:
                go_left = x <= self.threshold[node]
            node = self.left[node] if go_left else self.right[node]
        return self.value[~node]


class LightGbmModel:
    """A booster.

    Attributes:
        features: Values a point has.
        outputs: Values an answer has.
    """

    def __init__(self, trees: list[_Tree], features: int, outputs: int, objective: str, average: bool) -> None:
        self._trees, self.features, self.outputs = trees, features, outputs
        word, *options = objective.split()
        self._word = word
        self._options = dict(each.split(":", 1) for each in options if ":" in each)
        self._average = average

    def score(self, x: Floats) -> Floats:
        """float32 (points, values) -> (points, outputs), transformed as the objective says."""
        rows = np.asarray(x, np.float64).reshape(len(x), -1)
        if rows.shape[1] < self.features:
            raise ValueError(f"{rows.shape[1]} values, the model has {self.features}")
        raw = np.zeros((len(rows), self.outputs))
        for i, row in enumerate(rows.tolist()):
            for k, tree in enumerate(self._trees):
                raw[i, k % self.outputs] += tree.leaf(row)
        if self._average and self._trees:
            raw /= len(self._trees) // self.outputs
        answer: Floats = self._transformed(raw).astype(np.float32)
        return answer

    def _transformed(self, raw: Doubles) -> Doubles:
        if self._word in ("binary", "cross_entropy", "multiclassova"):
            return 1.0 / (1.0 + np.exp(-float(self._options.get("sigmoid", 1.0)) * raw))
        if self._word == "multiclass":
            power = np.exp(raw - raw.max(axis=1, keepdims=True))
            return np.asarray(power / power.sum(axis=1, keepdims=True))
        if self._word in ("poisson", "gamma", "tweedie"):
            return np.asarray(np.exp(raw))
        return raw


_RAW = (
    "none",
    "regression",
    "regression_l1",
    "huber",
    "fair",
    "quantile",
    "mape",
    "lambdarank",
    "rank_xendcg",
    "custom",
)
_KNOWN = (*_RAW, "binary", "cross_entropy", "multiclassova", "multiclass", "poisson", "gamma", "tweedie")


def read_model(data: bytes) -> LightGbmModel:
    """Reads a model.

    Raises:
        LightGbmError: See the module.
    """
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError as error:
        raise LightGbmError(f"not text: {error}") from None
    lines = text.splitlines()
    if not lines or lines[0].strip() != "tree":
        raise LightGbmError("it does not begin with 'tree'")
    if "end of trees" not in lines:
        raise LightGbmError("it ends before 'end of trees'")
    blocks = _blocks(lines[: lines.index("end of trees")])
    head, trees = blocks[0], blocks[1:]
    features = _count(head, "max_feature_idx", _MAX_FEATURES) + 1
    outputs = _count(head, "num_tree_per_iteration", 10_000)
    objective = head.get("objective", "regression")
    if not objective.split() or objective.split()[0] not in _KNOWN:
        raise LightGbmError(f"objective {objective!r}; there are {', '.join(_KNOWN)}")
    if "sqrt" in objective.split():
        raise LightGbmError("an objective of square roots is not taken")
    if outputs < 1 or len(trees) % outputs or len(trees) > _MAX_TREES:
        raise LightGbmError(f"{len(trees)} trees for {outputs} outputs")
    found = [_tree(block, features) for block in trees]
    return LightGbmModel(found, features, outputs, objective, "average_output" in head)


def _blocks(lines: list[str]) -> list[dict[str, str]]:
    """The head, then a block a tree: key=value, a bare word with an empty value."""
    found: list[dict[str, str]] = [{}]
    for line in lines[1:]:
        key, _, value = line.partition("=")
        if key == "Tree":
            found.append({})
        elif line.strip():
            found[-1][key.strip()] = value
    return found


def _count(block: dict[str, str], key: str, most: int) -> int:
    try:
        number = int(block[key])
    except (KeyError, ValueError):
        raise LightGbmError(f"{key}: a whole number, not {block.get(key)!r}") from None
    if not 0 <= number <= most:
        raise LightGbmError(f"{key}: 0 to {most}, not {number}")
    return number


def _numbers(block: dict[str, str], key: str, count: int) -> Doubles:
    try:
        found = np.array([float(word) for word in block[key].split()])
    except (KeyError, ValueError) as error:
        raise LightGbmError(f"{key}: {error}") from None
    if len(found) != count:
        raise LightGbmError(f"{key}: {len(found)} values, expected {count}")
    return found


def _integers(block: dict[str, str], key: str, count: int, low: int, high: int) -> list[int]:
    found = _numbers(block, key, count)
    if not (np.isfinite(found).all() and (found == np.floor(found)).all()):
        raise LightGbmError(f"{key}: a value is no whole number")
    if count and (found.min() < low or found.max() > high):
        raise LightGbmError(f"{key}: {low} to {high}")
    return [int(each) for each in found]


def _tree(block: dict[str, str], features: int) -> _Tree:
    leaves = _count(block, "num_leaves", _MAX_LEAVES)
    if leaves < 1:
        raise LightGbmError("a tree without leaves")
    if int(block.get("num_cat", "0") or 0) or block.get("is_linear", "0").strip() not in ("", "0"):
        raise LightGbmError("categorical splits and linear leaves are not taken")
    inner = leaves - 1
    value = _numbers(block, "leaf_value", leaves)
    if not np.isfinite(value).all():
        raise LightGbmError("leaf_value: a value is not finite")
    if not inner:
        return _Tree([], [], [], [], [], value.tolist())
    decision = _integers(block, "decision_type", inner, 0, 15)
    if any(each & _CATEGORICAL or each >> 2 & 3 > _NAN_IS_MISSING for each in decision):
        raise LightGbmError("decision_type: categorical splits are not taken")
    left = _integers(block, "left_child", inner, -leaves, inner - 1)
    right = _integers(block, "right_child", inner, -leaves, inner - 1)
    for node, sides in enumerate(zip(left, right, strict=True)):
        if any(0 <= child <= node for child in sides):
            raise LightGbmError("a tree that goes in circles")  # children are written after their parents
    return _Tree(
        _integers(block, "split_feature", inner, 0, features - 1),
        _numbers(block, "threshold", inner).tolist(),
        decision,
        left,
        right,
        value.tolist(),
    )
