"""Sums of trees in LightGBM's text format, written without LightGBM; LightGBM itself reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.classical import Trees

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: Split flags: numerical, missing values go left, and no value counts as missing.
_DECISION = 2


def lightgbm_text(model: Trees, names: Sequence[str]) -> str:
    """The model as LightGBM's `save_model` would write it.

    A tree that answers several outputs becomes one LightGBM tree an output: the format has one answer a leaf.

    Args:
        model: The trees; `last` sigmoid becomes the binary objective.
        names: One name a value of a point, without blanks.
    """
    # Leaves are numbered apart from inner nodes, and a child that is a leaf is written as its ones' complement.
    trees = [
        _tree(number, model, span, output)
        for number, (span, output) in enumerate((s, o) for s in model.trees() for o in range(model.outputs))
    ]
    objective = "objective=binary sigmoid:1" if model.last == "sigmoid" else "objective=none"
    head = [
        "tree",
        "version=v4",
        f"num_class={model.outputs}",
        f"num_tree_per_iteration={model.outputs}",
        "label_index=0",
        f"max_feature_idx={model.values - 1}",
        objective,
        f"feature_names={' '.join(names)}",
        f"feature_infos={' '.join(['none'] * model.values)}",
        f"tree_sizes={' '.join(str(len(tree)) for tree in trees)}",
        "",
        "",
    ]
    return (
        "\n".join(head) + "".join(trees) + "end of trees\n\nfeature_importances:\n\nparameters:\n\nend of parameters\n"
    )


def _tree(number: int, model: Trees, span: range, output: int) -> str:
    inner = [node for node in span if model.feature[node] >= 0]
    leaves = [node for node in span if model.feature[node] < 0]
    place = {node: i for i, node in enumerate(inner)} | {node: ~i for i, node in enumerate(leaves)}
    rows = {"num_leaves": str(len(leaves)), "num_cat": "0"}
    if inner:
        rows |= {
            "split_feature": _words(model.feature[node] for node in inner),
            "split_gain": _words(1 for _ in inner),
            "threshold": _words(float(model.threshold[node]) for node in inner),
            "decision_type": _words(_DECISION for _ in inner),
            "left_child": _words(place[int(model.left[node])] for node in inner),
            "right_child": _words(place[int(model.right[node])] for node in inner),
        }
    rows["leaf_value"] = _words(float(model.leaf[node, output]) for node in leaves)
    if inner:
        rows |= {
            "leaf_weight": _words(1 for _ in leaves),
            "leaf_count": _words(1 for _ in leaves),
            "internal_value": _words(0 for _ in inner),
            "internal_weight": _words(1 for _ in inner),
            "internal_count": _words(1 for _ in inner),
        }
    rows |= {"is_linear": "0", "shrinkage": "1"}
    return f"Tree={number}\n" + "".join(f"{key}={value}\n" for key, value in rows.items()) + "\n\n"


def _words(values: Iterable[object]) -> str:
    return " ".join(str(value) for value in values)
