"""What a cluster draws by key: service times, the dice of admission, the order in which replicas take turns.

Both backends draw these, and so one request takes the same time in both.  Service times are quantile tables of
integers, so that compiled and plain code draw the same nanoseconds.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from scenarios.cluster_spec import Service
from scenarios.draws import draw

# What a draw is for; the component is the job, the entity the request's number in it.  The numbers go on from those of
# `scenarios.draws`: append only.
PURPOSE_ROUTER_IN = 32
PURPOSE_ROUTER_OUT = 33
PURPOSE_SERVICE = 34
PURPOSE_ACCEPT = 35
#: Entity: how often the job's rotation was dealt anew, times ROTATION_MAX, and the replica's place in order of start.
PURPOSE_ROTATION = 36
ROTATION_MAX = 1 << 16

TABLE_BITS = 12
CELLS = 1 << TABLE_BITS
FRACTION_BITS = 32 - TABLE_BITS
FRACTION = (1 << FRACTION_BITS) - 1


def quantiles_ns(service: Service) -> npt.NDArray[np.int64]:
    """The service time's quantiles at i / CELLS in nanoseconds, CELLS + 1 of them, to be read by `at`.

    Inner knots are exact quantiles.  The ends, which a lognormal does not have, are set so that the mean of the first
    and of the last cell is the distribution's own.  For sigma up to 0.5 mean and standard deviation are right to 3e-5,
    and no draw is above the largest knot (of `RESNET34` 0.449 s, where one request in a million would be).
    """
    from scipy.special import ndtr, ndtri

    sigma, scale = service.lognormal_sigma, service.lognormal_scale_s
    z = ndtri(np.arange(1, CELLS) / CELLS)
    knots = np.empty(CELLS + 1)
    knots[1:-1] = scale * np.exp(sigma * z)
    mean = scale * np.exp(sigma**2 / 2) * CELLS  # of a cell, times the share of it that lies in the cell
    knots[0] = max(0.0, 2 * mean * ndtr(z[0] - sigma) - knots[1])
    knots[-1] = max(knots[-2], 2 * mean * ndtr(sigma - z[-1]) - knots[-2])
    table: npt.NDArray[np.int64] = np.rint((service.floor_s + knots) * 1e9).astype(np.int64)
    return table


def at(table: npt.NDArray[np.int64], bits: int) -> int:
    """The table read at 32 uniform bits, by integer interpolation."""
    i = bits >> FRACTION_BITS
    low, high = int(table[i]), int(table[i + 1])
    return low + (((high - low) * (bits & FRACTION)) >> FRACTION_BITS)


def rotation(seed: int, job: int, dealt: int, replicas: int) -> list[int]:
    """The order in which the dispatcher takes a job's replicas by turns: a shuffle, dealt anew at every change."""
    keys = [draw(seed, job, dealt * ROTATION_MAX + place, PURPOSE_ROTATION, 0) for place in range(replicas)]
    return sorted(range(replicas), key=keys.__getitem__)
