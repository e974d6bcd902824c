"""Keyed draws: a random number is a pure function of what it is for.

``draw(seed, component, entity, purpose, attempt)`` gives 32 uniform bits; nothing is consumed, so adding a part
to a pipeline leaves every other part's numbers alone and two configurations can be paired record by record.

The arithmetic stays inside int64 (two 32-bit multipliers below 2^31, from Chris Wellons' hash-prospector search,
"two round, bias 0.107"), so the same source means the same under CPython and compiled by numba.
"""

from __future__ import annotations

from typing import Any

MASK32 = 0xFFFFFFFF

# Purposes: what a draw is for.  Append only, a number is never used again for another thing.
PURPOSE_GAP = 1
PURPOSE_PARTITION = 2
PURPOSE_PAYLOAD = 3
PURPOSE_CPU = 4
PURPOSE_WAKE = 5
PURPOSE_NETWORK = 6
PURPOSE_BACKGROUND = 7
PURPOSE_FLUSH = 8
PURPOSE_ROUTE = 9
PURPOSE_KEY = 10
PURPOSE_TYPE = 11

TABLE_BITS = 10
TABLE_SIZE = (1 << TABLE_BITS) + 1  # quantiles at i/1024
_FRACTION_BITS = 32 - TABLE_BITS


def mix32(x: int) -> int:
    """A bijection of 32-bit integers with near-ideal avalanche."""
    x = x ^ (x >> 16)
    x = (x * 0x21F0AAAD) & MASK32
    x = x ^ (x >> 15)
    x = (x * 0x735A2D97) & MASK32
    return x ^ (x >> 15)


def draw_key(seed: int, component: int, purpose: int, attempt: int) -> int:
    """What the draws of one component for one purpose have in common; `draw_at` takes it to an entity."""
    h = mix32((seed ^ (seed >> 32)) & MASK32)
    return mix32(h ^ ((component * 0x9E3779B) & MASK32) ^ (purpose << 20) ^ (attempt << 26) & MASK32)


def draw_at(key: int, entity: int) -> int:
    """32 uniform bits for one entity under a `draw_key`."""
    h = mix32((key ^ entity) & MASK32)
    return mix32((h + (entity >> 32) * 0x3C6EF37 + 0x1B873593) & MASK32)


def draw(seed: int, component: int, entity: int, purpose: int, attempt: int) -> int:
    """32 uniform bits for one purpose of one entity of one component (all arguments >= 0)."""
    return draw_at(draw_key(seed, component, purpose, attempt), entity)


def quantile(table: Any, u: int) -> int:
    """The fitted quantile table (TABLE_SIZE int64 values) read at 32 bits of uniform `u`, by integer interpolation."""
    i = u >> _FRACTION_BITS
    low = table[i]
    return int(low + (((table[i + 1] - low) * (u & ((1 << _FRACTION_BITS) - 1))) >> _FRACTION_BITS))
