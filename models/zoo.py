"""The model zoo: which models there are, their files on disk and their test inputs.

A model is one file that ends in a `ModelDef` and one line in `MODELS`; a package of a third party adds one through
the entry point group `weir.models` (name -> a `ModelDef`).  Models are built from a seed, without a training
framework: what a pipeline costs depends on a model's shape, not on what it has learned.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from models import files
from models.definition import FORMATS, ModelDef, ModelError
from models.elastic_net import ELASTIC_NET
from models.ffnn import FFNN
from models.inception_v3 import INCEPTION_V3
from models.kernel_svm import KERNEL_SVM
from models.kpca_svm import KPCA_SVM
from models.lightgbm_model import LIGHTGBM
from models.noop import NOOP
from models.resnet50 import RESNET50
from models.sleep import SLEEP
from models.vgg19 import VGG19
from models.wine import MODELS as WINE_MODELS
from scenarios import spec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

ENTRY_POINT_GROUP = "weir.models"
#: Points of the comparison between a model's formats.
TRIAL_POINTS = 64

#: A model by its name, or by a scenario's `model` section (which may name a user's own file).
Which: TypeAlias = str | spec.Model

MODELS: dict[str, ModelDef] = {
    "ffnn": FFNN,
    "resnet50": RESNET50,
    "vgg19": VGG19,
    "inception-v3": INCEPTION_V3,
    "lightgbm": LIGHTGBM,
    "kernel-svm": KERNEL_SVM,
    "kpca-svm": KPCA_SVM,
    "elastic-net": ELASTIC_NET,
    **WINE_MODELS,
    "noop": NOOP,
    "sleep": SLEEP,
}


def names() -> list[str]:
    """Every model known here, built in or added by an entry point."""
    from importlib.metadata import entry_points

    return sorted({*MODELS, *(e.name for e in entry_points(group=ENTRY_POINT_GROUP))})


def model(which: Which) -> ModelDef:
    """The definition of a model.

    Raises:
        ModelError: No model has that name, its entry point is not a `ModelDef`, or a user's file cannot be used.
    """
    if isinstance(which, spec.Model):
        if which.path is not None:
            from models.onnx_file import read

            return read(Path(which.path))
        which = which.name
    if which in MODELS:
        return MODELS[which]
    from importlib.metadata import entry_points

    for entry in entry_points(group=ENTRY_POINT_GROUP, name=which):
        found = entry.load()
        if not isinstance(found, ModelDef):
            raise ModelError(f"model {which!r}: entry point {entry.value} is {type(found).__name__}, expected ModelDef")
        return found
    near = difflib.get_close_matches(which, names(), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ModelError(f"no model {which!r}; there are {', '.join(names())}{hint}")


def export(
    which: Which,
    directory: Path | str,
    seed: int = 0,
    fmt: str = "onnx",
    say: Callable[[str], None] | None = None,
) -> Path:
    """Writes a model's file, or finds the one written before: see `models.files`.

    What is written is scored, where a runtime of the format is installed, and must answer as the reference does.

    Args:
        which: A model; a user's own file is where it is and is not copied.
        directory: Of model files.
        seed: The seed its weights are drawn from.
        fmt: A key of `FORMATS`.
        say: Told of progress, a line at a time.

    Returns:
        The path of the file; of a SavedModel, of its folder.

    Raises:
        ModelError: No such model or format, the model has no file (no-op), it cannot be written, or answers
            otherwise than the reference.
    """
    definition = model(which)
    if fmt not in FORMATS:
        raise ModelError(f"no format {fmt!r}; there are {', '.join(FORMATS)}")
    if definition.file is not None and fmt == "onnx":
        return definition.file
    if fmt not in definition.formats:
        has = f"it has {', '.join(definition.formats)}" if definition.formats else "nothing is scored from a file"
        raise ModelError(f"model {definition.name!r} has no file to export as {fmt}: {has}")

    def verify(path: Path) -> None:
        from models.check import verify_file

        verify_file(definition, fmt, path, seed)

    return files.write(definition, Path(directory), seed, fmt, say, verify)


def inputs(which: Which, points: int, seed: int) -> Floats:
    """Test input: uniform values in [0, 1), as Crayfish's generator draws them, unless the model has its own.

    Returns:
        float32 array (points, *input_shape), a pure function of the arguments.
    """
    return _inputs(model(which), points, seed)


def _inputs(definition: ModelDef, points: int, seed: int) -> Floats:
    import numpy as np

    if definition.draw is not None:
        return definition.draw(points, seed)
    rng = np.random.default_rng([seed, 0x1A7])
    return rng.random((points, *definition.input_shape), dtype=np.float32)


def trial(which: Which, seed: int, points: int = TRIAL_POINTS) -> Floats:
    """Inputs that runtimes are compared on: each of its own strength, between 0 and 2, unless the model has its own.

    Their answers differ by far more than runtimes may: a wrong but constant answer does not pass.

    Returns:
        float32 array (points, *input_shape).
    """
    return trial_of(model(which), seed, points)


def trial_of(definition: ModelDef, seed: int, points: int) -> Floats:
    """`trial` of a definition."""
    import numpy as np

    if definition.trial is not None:
        return definition.trial(points, seed)
    x = _inputs(definition, points, seed)
    strength = np.linspace(0.0, 2.0, points, dtype=np.float32)
    scaled: Floats = x * strength.reshape(-1, *[1] * (x.ndim - 1))
    return scaled


def reference(which: Which, seed: int, x: Floats) -> Floats:
    """What the model built from `seed` answers, computed in plain numpy float32.

    Args:
        which: A model.
        seed: The seed its weights are drawn from.
        x: (points, *input_shape), or anything that reshapes to it.

    Returns:
        float32 array (points, outputs).
    """
    definition = model(which)
    return definition.forward(seed, x.reshape(-1, *definition.input_shape))
