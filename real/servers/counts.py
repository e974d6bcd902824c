"""Counters that our own server keeps in mapped memory: the harness reads them at the window's edges."""

from __future__ import annotations

from enum import IntEnum


class Served(IntEnum):
    """Slots of our own server."""

    BATCHES = 0
    REQUESTS = 1  # that a batch scored
    FAILED = 2  # requests of batches that failed
    LIMIT = 3  # the most that the policy takes now (not a count)
    HITS = 4
    MISSES = 5
    COALESCED = 6
    EVICTED = 7
    BUSY_NS = 8  # of the workers: what `observe` was told
    SIZE = 9  # how many slots there are
