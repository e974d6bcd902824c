"""The trees of PMML: nodes with predicates, read into `models.classical.Trees`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from models.classical import Trees
from models.definition import ModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: A leaf's answer from its Node.
Leaf = Callable[[ET.Element], "NDArray[np.float64]"]
_PREDICATES = ("SimplePredicate", "CompoundPredicate", "SimpleSetPredicate", "True", "False")
_OPPOSITE = {
    "lessOrEqual": "greaterThan",
    "greaterThan": "lessOrEqual",
    "lessThan": "greaterOrEqual",
    "greaterOrEqual": "lessThan",
}
#: Children of one node; more than two are asked one after the other.
MAX_CHILDREN = 64


def leaf_of(classes: tuple[str, ...], method: str, trees: int) -> Leaf:
    """How a leaf is read: its score, or the shares of the classes; divided by `trees`.

    Args:
        classes: Of a classifier; empty: a regression.
        method: `majorityVote`: only the class that the leaf says counts.
        trees: What the answers are divided by.
    """
    import numpy as np

    def value(node: ET.Element) -> NDArray[np.float64]:
        return np.array([finite(node.attrib["score"]) / trees])

    def shares(node: ET.Element) -> NDArray[np.float64]:
        distribution = {each.attrib["value"]: each for each in node.findall("ScoreDistribution")}
        if method == "majorityVote" or not distribution:
            counts = np.array([float(each == node.attrib["score"]) for each in classes])
        else:
            counts = np.zeros(len(classes))
            for i, each in enumerate(classes):
                if each in distribution:
                    counts[i] = finite(distribution[each].attrib["recordCount"])
        if counts.min() < 0 or counts.sum() <= 0:
            raise ModelError("PMML: a leaf without a class")
        share: NDArray[np.float64] = counts / counts.sum() / trees
        return share

    return shares if classes else value


def read_trees(elements: list[ET.Element], columns: dict[str, int], leaf: Leaf) -> Trees:
    """Several `TreeModel` elements as one sum.

    Args:
        elements: The models, at least one.
        columns: Field -> its place in a point.
        leaf: Reads a leaf.

    Raises:
        ModelError: A predicate or a strategy that is not read here.
    """
    import numpy as np

    nodes = _Nodes(columns, leaf)
    roots = []
    for element in elements:
        roots.append(len(nodes.feature))
        nodes.add(element)
    blank = np.zeros_like(next(iter(nodes.answers.values())))
    answers = np.array([nodes.answers.get(i, blank) for i in range(len(nodes.feature))])
    return Trees(
        roots=np.array(roots, np.int64),
        feature=np.array(nodes.feature, np.int64),
        threshold=np.array(nodes.threshold, np.float64),
        left=np.array(nodes.left, np.int64),
        right=np.array(nodes.right, np.int64),
        leaf=answers.astype(np.float32),
        width=len(columns),
    )


class _Nodes:
    """The arrays of `Trees` while they grow; a child comes after its parent."""

    def __init__(self, columns: dict[str, int], leaf: Leaf) -> None:
        self._columns, self._leaf = columns, leaf
        self._falls_back = False
        self.feature: list[int] = []
        self.threshold: list[float] = []
        self.left: list[int] = []
        self.right: list[int] = []
        self.answers: dict[int, NDArray[np.float64]] = {}

    def add(self, element: ET.Element) -> None:
        """One tree."""
        root = element.find("Node")
        if root is None or root.find("True") is None:
            raise ModelError("PMML: a TreeModel needs a root Node with the predicate True")
        if element.find("LocalTransformations") is not None or element.find("Targets") is not None:
            raise ModelError("PMML: LocalTransformations and Targets of a tree are not read here")
        self._falls_back = element.get("noTrueChildStrategy") == "returnLastPrediction"
        self._walk(root, root.findall("Node"))

    def _walk(self, node: ET.Element, children: list[ET.Element]) -> int:
        """Adds what follows when the predicates of `children` are asked in turn; gives its first node's index."""
        if len(children) > MAX_CHILDREN:
            raise ModelError(f"PMML: a Node of {len(children)} children; at most {MAX_CHILDREN} are read here")
        if not children:
            here = self._push(-1, 0.0)
            self.answers[here] = self._leaf(node)
            return here
        first, *rest = children
        question = _predicate(first)
        if question is None:
            return self._walk(first, first.findall("Node"))
        field, operator, value = question
        # What is asked here is <=: a strict comparison has the next smaller number as its threshold.
        strict = operator in ("lessThan", "greaterOrEqual")
        here = self._push(self._columns[field], math.nextafter(value, -math.inf) if strict else value)
        yes = self._walk(first, first.findall("Node"))
        if rest and _predicate(rest[0]) == (field, _OPPOSITE[operator], value):
            no = self._walk(rest[0], rest[0].findall("Node"))
        elif rest or self._falls_back:
            no = self._walk(node, rest)
        else:
            raise ModelError("PMML: a Node whose children leave a value without an answer")
        lower = operator in ("lessOrEqual", "lessThan")
        self.left[here], self.right[here] = (yes, no) if lower else (no, yes)
        return here

    def _push(self, feature: int, threshold: float) -> int:
        here = len(self.feature)
        self.feature.append(feature)
        self.threshold.append(threshold)
        self.left.append(here)
        self.right.append(here)
        return here


def _predicate(node: ET.Element) -> tuple[str, str, float] | None:
    """Field, operator and value of a node's predicate; None: always true."""
    found = next((each for each in node if each.tag in _PREDICATES), None)
    if found is None or found.tag not in ("SimplePredicate", "True"):
        raise ModelError(
            f"PMML: predicate {'missing' if found is None else found.tag}; SimplePredicate and True are read"
        )
    if found.tag == "True":
        return None
    operator = found.attrib["operator"]
    if operator not in _OPPOSITE:
        raise ModelError(f"PMML: operator {operator!r}; read here are {', '.join(_OPPOSITE)}")
    return found.attrib["field"], operator, finite(found.attrib["value"])


def finite(text: str) -> float:
    """A number of the file.

    Raises:
        ModelError: It is infinite or none.
    """
    number = float(text)
    if not math.isfinite(number):
        raise ModelError(f"PMML: {text!r} is not a finite number")
    return number
