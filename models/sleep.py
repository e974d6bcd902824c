"""sleep: a model that waits instead of computing: t = base + each * n for a batch of n points.

What it takes is known beforehand, so whatever measures service times can be held against it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from models.definition import ModelDef
from models.noop import forward
from scenarios import spec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: What n points take where the scenario does not say it: BASE_NS + EACH_NS * n.
BASE_NS, EACH_NS = 2_000_000, 500_000


class SleepScorer:
    """Waits, then answers one zero a point."""

    def __init__(self, base_ns: int, each_ns: int) -> None:
        """Sets what a batch of n points takes: `base_ns + each_ns * n`."""
        self.base_ns, self.each_ns = base_ns, each_ns

    def score(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Scorer.score`; never returns early, and late by what the system's timer is late (60 us or so)."""
        end = time.monotonic_ns() + self.base_ns + self.each_ns * len(x)
        answer = forward(0, x)
        while (left := end - time.monotonic_ns()) > 0:
            time.sleep(left / 1e9)
        return answer


def _scorer(model: spec.Model) -> SleepScorer:
    base_ns = BASE_NS if model.base_ns is None else model.base_ns
    return SleepScorer(base_ns, EACH_NS if model.each_ns is None else model.each_ns)


SLEEP = ModelDef(
    name="sleep",
    input_shape=(28, 28),
    outputs=1,
    parameters=0,
    summary="waits base + each * n for n points, 2 ms + 0.5 ms n unless the scenario says otherwise",
    forward=forward,
    alone=_scorer,
)
