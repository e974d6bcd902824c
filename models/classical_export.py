"""What a classical model's definition needs besides its weights: exporters of every format it has, names, classes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from models.classical import Classical, Mlp, Trees
from models.definition import Exporter, ModelDef

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

#: seed -> the model
Fitted = Callable[[int], Classical]


@dataclass(frozen=True, slots=True)
class Labels:
    """Names that formats with names need.

    Attributes:
        name: The model's.
        fields: One a value of a point.
        target: What is predicted.
        classes: Of a classifier, one an output.
        origin: What a header says of the data.
    """

    name: str
    fields: tuple[str, ...]
    target: str = "y"
    classes: tuple[str, ...] = ()
    origin: str = ""


def write(model: Classical, fmt: str, path: Path, labels: Labels) -> None:
    """Writes a model in a format; equal models give equal bytes.

    Raises:
        TypeError: The model has no such form.
        OSError: The file cannot be written.
    """
    if fmt == "onnx":
        from models.classical_onnx import onnx_bytes

        path.write_bytes(onnx_bytes(model, labels.name))
    elif fmt == "npz":
        from models.classical_npz import write_npz

        write_npz(model, path)
    elif fmt == "pmml":
        from models.classical_pmml import pmml_bytes

        path.write_bytes(pmml_bytes(model, labels.name, labels.fields, labels.target, labels.classes, labels.origin))
    elif fmt == "lightgbm" and isinstance(model, Trees):
        from models.classical_lightgbm import lightgbm_text

        path.write_text(lightgbm_text(model, labels.fields), encoding="utf-8")
    elif fmt in ("graphdef", "savedmodel") and isinstance(model, Mlp):
        from models.classical_tensorflow import graph_bytes, write_saved_model

        if fmt == "graphdef":
            path.write_bytes(graph_bytes(model))
        else:
            write_saved_model(model, path)
    else:
        raise TypeError(f"no {fmt} form of {type(model).__name__}")


def replaced(path: Path, writer: Callable[[Path], None]) -> None:
    """Has a file, or a folder, written under a temporary name beside its own, then puts it in place of what was there.

    Args:
        path: Where it shall stand; its folder is made.
        writer: Writes it at the path it is given.

    Raises:
        OSError: It cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    try:
        writer(temporary)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        temporary.replace(path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


def define(
    labels: Labels,
    fitted: Fitted,
    formats: Sequence[str],
    *,
    outputs: int,
    parameters: int,
    summary: str,
    answers: Literal["values", "classes"] = "values",
    draw: Callable[[int, int], Floats] | None = None,
    trial: Callable[[int, int], Floats] | None = None,
) -> ModelDef:
    """The definition of a classical model.

    Args:
        labels: Its names; one field a value.
        fitted: seed -> the model; called again for each use, so it had better remember.
        formats: That it is exported to.
        outputs: Values in an answer.
        parameters: Number of fitted values; of trees, whose number depends on the data, that of seed 0.
        summary: One line.
        answers: See `ModelDef.answers`.
        draw: See `ModelDef.draw`.
        trial: See `ModelDef.trial`.
    """

    def exporter(fmt: str) -> Exporter:
        return lambda seed, path: write(fitted(seed), fmt, path, labels)

    exporters: Mapping[str, Exporter] = {fmt: exporter(fmt) for fmt in formats}
    return ModelDef(
        name=labels.name,
        input_shape=(len(labels.fields),),
        outputs=outputs,
        parameters=parameters,
        summary=summary,
        forward=lambda seed, x: fitted(seed).score(x.reshape(len(x), -1)),
        formats=exporters,
        answers=answers,
        draw=draw,
        trial=trial,
    )
