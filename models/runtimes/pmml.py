"""PMML, read by `models.pmml_read` and scored in numpy: a file that a stream may bring, not a fast runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from models.definition import ModelDef, ModelError
from models.runtimes import Runtime

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


class PmmlScorer:
    """A PMML file."""

    def __init__(self, definition: ModelDef, path: Path) -> None:
        """Loads the file.

        Raises:
            ModelError: It cannot be read, or is another model.
        """
        from models.pmml_read import read_pmml

        try:
            self._model = read_pmml(path.read_bytes())
        except (ModelError, OSError) as error:
            raise ModelError(f"model {definition.name!r}: {path}: {error}") from error
        if (self._model.values, self._model.outputs) != (definition.values, definition.outputs):
            raise ModelError(
                f"model {definition.name!r}: {path} takes {self._model.values} values and answers "
                f"{self._model.outputs}, expected {definition.values} and {definition.outputs}"
            )

    def score(self, x: Floats) -> Floats:
        """See `Scorer.score`."""
        return self._model.score(x)


RUNTIME = Runtime("pmml", ("pmml",), PmmlScorer)
