"""Classical models as numpy archives: the plain weights, nothing that runs when it is read."""

from __future__ import annotations

import zipfile
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.classical import Classical, KernelPcaSvm, KernelSvm, Linear, Mlp, Trees
from models.definition import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

KINDS: dict[str, type[Any]] = {
    "linear": Linear,
    "trees": Trees,
    "mlp": Mlp,
    "kernel-svm": KernelSvm,
    "kernel-pca-svm": KernelPcaSvm,
}


def write_npz(model: Classical, path: Path) -> None:
    """Writes a model; equal models give equal bytes.

    Raises:
        OSError: The file cannot be written.
    """
    import numpy as np

    kind = next(word for word, each in KINDS.items() if type(model) is each)
    arrays: dict[str, NDArray[Any]] = {"kind": np.array(kind)}
    for field in fields(model):  # type: ignore[arg-type]  # each kind is a dataclass
        value = getattr(model, field.name)
        if field.name == "layers":
            for i, (matrix, bias) in enumerate(value):
                arrays[f"matrix_{i}"], arrays[f"bias_{i}"] = matrix, bias
        elif value is not None:
            arrays[field.name] = np.asarray(value)
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def read_npz(path: Path) -> Classical:
    """Reads what `write_npz` wrote.

    Raises:
        ModelError: Not such a file, or parts of it are missing or do not fit together.
    """
    import numpy as np

    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise ModelError(f"{path}: no archive of weights: {error}") from error
    kind = str(arrays.pop("kind", ""))
    if kind not in KINDS:
        raise ModelError(f"{path}: kind {kind!r}; there are {', '.join(KINDS)}")
    if kind == "mlp":
        count = sum(name.startswith("matrix_") for name in arrays)
        try:
            layers = tuple((arrays.pop(f"matrix_{i}"), arrays.pop(f"bias_{i}")) for i in range(count))
        except KeyError as error:
            raise ModelError(f"{path}: {error.args[0]} is missing") from None
    plain: dict[str, Any] = {name: value.item() if value.ndim == 0 else value for name, value in arrays.items()}
    if kind == "mlp":
        plain["layers"] = layers
    try:
        model: Classical = KINDS[kind](**plain)
        if isinstance(model, Trees):
            _require_descent(model)
        model.score(np.zeros((1, model.values), np.float32))
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise ModelError(f"{path}: its parts do not fit together: {error}") from error
    return model


def _require_descent(model: Trees) -> None:
    """A child comes after its parent, so that no point walks in a circle."""
    import numpy as np

    own = np.arange(len(model.feature))
    inner = model.feature >= 0
    descends = np.where(inner, np.minimum(model.left, model.right) > own, (model.left == own) & (model.right == own))
    if not descends.all():
        raise ValueError("a tree's child comes before its parent")
