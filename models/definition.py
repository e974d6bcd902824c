"""What a model is: the type that each model's file ends in."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from scenarios import spec

    Floats = NDArray[np.float32]

#: Format -> what its files' names end in; a SavedModel is a folder, graphdef a frozen TensorFlow graph.
FORMATS: dict[str, str] = {
    "onnx": ".onnx",
    "torchscript": ".pt",
    "savedmodel": ".savedmodel",
    "graphdef": ".pb",
    "h5": ".h5",
    "pmml": ".pmml",
    "lightgbm": ".lgb.txt",
    "npz": ".npz",
}

#: Weights that take more than this make a model heavy.
HEAVY_BYTES = 20_000_000

#: (seed, path): writes a model's file, or the folder of a SavedModel, at that path; `ModelError` if it cannot.
Exporter = Callable[[int, Path], None]


class ModelError(Exception):
    """No such model, or a model that cannot be built or loaded."""


class MismatchError(ModelError):
    """A format or a runtime answers otherwise than the reference."""


class Scorer(Protocol):
    """Answers points."""

    def score(self, x: Floats) -> Floats:
        """Scores points.

        Args:
            x: float32, (points, values) as decoded from a payload, or (points, *input_shape).

        Returns:
            float32 array (points, outputs).
        """
        ...


@dataclass(frozen=True, slots=True)
class ModelDef:
    """One model.

    Attributes:
        name: The word a scenario uses.
        input_shape: Shape of one point, without the points axis.
        outputs: Values a prediction has for one point.
        parameters: Number of trained values.
        summary: One line for `models list`.
        forward: The reference: (seed, x of shape (points, *input_shape)) -> (points, outputs), plain numpy float32,
            with none of the runtimes in it.
        formats: Format (a key of `FORMATS`) -> its exporter; empty: the model has no file.
        answers: What must agree between runtimes: the values, or the class (the largest of the outputs; where there
            is one output only, the output itself).
        draw: (points, seed) -> inputs (points, *input_shape); None: uniform in [0, 1).
        trial: (points, seed) -> inputs that the formats are compared on; None: drawn ones, each of its own strength.
        alone: Answers without file and runtime, from the scenario's `model` section (noop, sleep).
        file: A user's own ONNX file: nothing is exported, and the seed means nothing.
        heavy: So big that building it takes seconds and a file of it tens of megabytes.
        revision: Raise it when what is exported changes, so that cached files of the older build are not used.
    """

    name: str
    input_shape: tuple[int, ...]
    outputs: int
    parameters: int
    summary: str
    forward: Callable[[int, Floats], Floats]
    formats: Mapping[str, Exporter] = field(default_factory=dict)
    answers: Literal["values", "classes"] = "values"
    draw: Callable[[int, int], Floats] | None = None
    trial: Callable[[int, int], Floats] | None = None
    alone: Callable[[spec.Model], Scorer] | None = None
    file: Path | None = None
    heavy: bool = False
    revision: int = 1

    @property
    def values(self) -> int:
        """Values in one point."""
        return math.prod(self.input_shape)

    @property
    def scored(self) -> bool:
        """Whether there is a file that a runtime scores."""
        return bool(self.formats) or self.file is not None


def need(module: str, extra: str, what: str) -> Any:
    """Imports a library that only an extra brings.

    Args:
        module: Its name.
        extra: The extra.
        what: What it is needed for.

    Raises:
        ModelError: It is not installed, or does not load.
    """
    from importlib import import_module

    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name is not None and error.name.partition(".")[0] != package:
            raise ModelError(f"{what}: {module} does not load: {error}") from error
        raise ModelError(f"{what} needs {package}, which is not installed: pip install 'weir[{extra}]'") from None
    except (ImportError, OSError) as error:  # a shared library that is missing
        raise ModelError(f"{what}: {module} does not load: {error}") from error
