"""What a model is: the type that each model's file ends in."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


class ModelError(Exception):
    """No such model, or a model that cannot be built or loaded."""


@dataclass(frozen=True, slots=True)
class ModelDef:
    """One model.

    Attributes:
        name: The word a scenario uses.
        input_shape: Shape of one point, without the points axis.
        outputs: Values a prediction has for one point.
        parameters: Number of trained values.
        summary: One line for `models list`.
        build: seed -> the bytes of the ONNX file; None: the model needs no file and no runtime.
        forward: (seed, x of shape (points, *input_shape)) -> (points, outputs), plain numpy float32.
        revision: Raise it when `build` changes, so that cached files of the older build are not used.
    """

    name: str
    input_shape: tuple[int, ...]
    outputs: int
    parameters: int
    summary: str
    build: Callable[[int], bytes] | None
    forward: Callable[[int, Floats], Floats]
    revision: int = 1

    @property
    def values(self) -> int:
        """Values in one point."""
        return math.prod(self.input_shape)
