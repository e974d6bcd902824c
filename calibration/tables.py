"""Cost by the number of points: a line where a line holds, the measured table where it fails.

A model's batch costs ``a + b n`` more often than not, and then two measured sizes tell all others.  Where the measured
sizes lie on such a line, none off by more than `LINE`, the table is filled with what the line says at the powers of two
between and around them, so that a size in between is found within a few per cent; where they do not, the table stays
what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from calibration.regression import solve

#: A line is taken for a table whose sizes it all meets within this share.
LINE = 0.05
#: How far beyond the measured sizes the line is written down; in proportion beyond that.
_BEYOND = 16


def lined(table: Mapping[int, float]) -> tuple[dict[int, float], float | None]:
    """A table filled from the line through it, where that holds.

    Args:
        table: Points -> ns, as measured.

    Returns:
        The table, and by how much the line is off at the worst size; None where there are too few sizes for one.
    """
    sizes = sorted(table)
    if len(sizes) < 2 or min(table.values()) <= 0:
        return dict(table), None
    a = np.asarray([[1.0, float(n)] for n in sizes])
    (fixed, each), _ = solve(a, np.asarray([table[n] for n in sizes], dtype=np.float64))
    worst = max(abs(math.log(max(fixed + each * n, 1e-9) / table[n])) for n in sizes)
    if worst > math.log1p(LINE):
        return dict(table), math.expm1(worst)
    first, last = max(1, sizes[0] // _BEYOND), sizes[-1] * _BEYOND
    between = [1 << k for k in range(last.bit_length()) if first <= 1 << k <= last]
    filled = {n: float(fixed + each * n) for n in between}
    return dict(sorted({**filled, **{n: float(table[n]) for n in sizes}}.items())), math.expm1(worst)
