"""LightGBM: its own text files, scored by itself on one thread."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.definition import ModelDef, ModelError, need
from models.place import threads
from models.runtimes import Runtime

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


class LightgbmScorer:
    """A booster."""

    def __init__(self, definition: ModelDef, path: Path) -> None:
        """Loads the file.

        Raises:
            ModelError: LightGBM is not installed, or refuses the file.
        """
        lightgbm = need("lightgbm", "classical", "runtime lightgbm")
        try:
            self._booster: Any = lightgbm.Booster(model_file=str(path))
        except (lightgbm.basic.LightGBMError, OSError) as error:
            raise ModelError(f"model {definition.name!r}: LightGBM cannot load {path}: {error}") from error
        self._threads = threads()
        width = self._booster.num_feature()
        if width != definition.values:
            raise ModelError(f"model {definition.name!r}: {path} takes {width} values, expected {definition.values}")

    def score(self, x: Floats) -> Floats:
        """See `Scorer.score`."""
        import numpy as np

        answer = self._booster.predict(x.reshape(len(x), -1), num_threads=self._threads)
        return np.asarray(answer, np.float32).reshape(len(x), -1)


RUNTIME = Runtime("lightgbm", ("lightgbm",), LightgbmScorer, ("lightgbm",), "classical")
