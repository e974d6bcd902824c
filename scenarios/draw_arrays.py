"""`scenarios.draws.draw` for a whole array of entities at once: the same numbers, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from scenarios.draws import MASK32, mix32

Int64s = npt.NDArray[np.int64]


def _mix(x: Int64s) -> Int64s:
    mixed: Int64s = mix32(x)  # type: ignore[assignment, arg-type]  # the same operators, element by element
    return mixed


def draw_array(seed: int, component: int, entities: Int64s, purpose: int, attempt: int) -> Int64s:
    """32 uniform bits (0 to 2^32 - 1) for each entity; equal to `draws.draw` of each.

    Args:
        seed: As for `draws.draw`.
        component: As for `draws.draw`.
        entities: int64, all >= 0.
        purpose: One of the `PURPOSE_` numbers.
        attempt: As for `draws.draw`.
    """
    h = mix32((seed ^ (seed >> 32)) & MASK32)
    h = mix32(h ^ ((component * 0x9E3779B) & MASK32) ^ (purpose << 20) ^ (attempt << 26) & MASK32)
    mixed: Any = _mix((h ^ entities) & MASK32)
    return _mix((mixed + (entities >> 32) * 0x3C6EF37 + 0x1B873593) & MASK32)


def uniform(bits: Int64s) -> npt.NDArray[np.float64]:
    """The 32 bits as a number strictly between 0 and 1 (the middle of its step)."""
    return (bits.astype(np.float64) + 0.5) / 4_294_967_296.0
