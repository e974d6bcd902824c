"""What records are asked about: keys with Zipf popularity, the same for a record in every backend."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from scenarios.draw_arrays import draw_array, uniform
from scenarios.draws import PURPOSE_KEY


def keys_of(seed: int, records: int, keys: int, skew: float) -> npt.NDArray[np.int64]:
    """The key of each record: k with a chance in proportion to (k + 1) ** -skew.

    Args:
        seed: Of the scenario.
        records: How many, in order of sequence.
        keys: How many keys there are; 0 is asked for most.
        skew: 0: all the same.
    """
    share = np.arange(1, keys + 1, dtype=np.float64) ** -skew
    up_to = np.cumsum(share) / share.sum()
    u = uniform(draw_array(seed, 0, np.arange(records, dtype=np.int64), PURPOSE_KEY, 0))
    return np.minimum(np.searchsorted(up_to, u, side="right"), keys - 1).astype(np.int64)
