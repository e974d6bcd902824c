"""PyTorch on the CPU: a TorchScript file, one thread, no gradients."""

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


class TorchScorer:
    """A loaded TorchScript module, frozen."""

    def __init__(self, definition: ModelDef, path: Path) -> None:
        """Loads the file.

        Raises:
            ModelError: torch is not installed, or refuses the file.
        """
        import warnings

        torch = self._torch = need("torch", "torch", "runtime torch")
        torch.set_num_threads(threads())
        try:
            with warnings.catch_warnings():
                for kind in (DeprecationWarning, FutureWarning):  # torch calls TorchScript itself deprecated
                    warnings.simplefilter("ignore", kind)
                loaded = torch.jit.load(str(path), map_location="cpu").eval()
                # Weights become constants: normalisations go into the convolutions before them.
                self._module: Any = torch.jit.freeze(loaded)
        except (RuntimeError, ValueError, OSError) as error:
            raise ModelError(f"model {definition.name!r}: torch cannot load {path}: {error}") from error
        self._shape = (-1, *definition.input_shape)

    def score(self, x: Floats) -> Floats:
        """See `Scorer.score`."""
        import numpy as np

        torch = self._torch
        # A payload may be a read-only view, which torch cannot wrap without warning.
        points = np.require(x.reshape(self._shape), np.float32, ["C", "W"])
        with torch.inference_mode():
            answer: Floats = self._module(torch.from_numpy(points)).numpy()
        return answer


RUNTIME = Runtime("torch", ("torchscript",), TorchScorer, ("torch",), "torch")
