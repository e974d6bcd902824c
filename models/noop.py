"""noop: no scoring.  What is left of a pipeline when the model costs nothing; its payload may be of any size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.definition import ModelDef

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def forward(seed: int, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """One zero for each point, so that an answered record can be told from an unanswered one."""
    import numpy as np

    del seed
    return np.zeros((len(x), 1), np.float32)


class NoopScorer:
    """Answers one zero a point, for any number of values a point."""

    def score(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Scorer.score`."""
        return forward(0, x)


NOOP = ModelDef(
    name="noop",
    input_shape=(28, 28),
    outputs=1,
    parameters=0,
    summary="no scoring; unpadded its input is ffnn's, padded it has payload.pad_bytes of values",
    forward=forward,
    alone=lambda _model: NoopScorer(),
)
