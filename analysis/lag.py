"""Lag: how many records are in the system, from their stamps, in the same way for both backends."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.columns import OUTCOME_COLUMN, OUTCOMES
from analysis.records import Columns, chosen, outcome_codes
from scenarios.spec import S_NS

Ints = NDArray[np.int64]

_NEVER = np.iinfo(np.int64).max
_WITH_OUTPUT = [OUTCOMES.index(w) for w in ("scored", "defaulted")]
_IN_FLIGHT = OUTCOMES.index("in_flight")
#: Records counted at a time: what is computed of them stays in the processor's cache.
_BLOCK = 1 << 15
_STAMPS_BEFORE_OUTPUT = ("fetched", "score_begin", "score_end", "produced", "acked")


def lag_series(records: Columns, *, begin_ns: int, end_ns: int, step_ns: int = S_NS) -> tuple[Ints, Ints]:
    """The number of records in the system at begin, begin + step, ... up to and including end.

    A record is in the system at t when `appended <= t` and it has not left.  It leaves when its output is appended;
    one that ends without an output (bad, failed, dropped, expired, lost) leaves at its last stamp, one in flight
    never.  A record that was sent and whose append time is not known counts from when it was sent.

    Args:
        records: Columns of records.parquet.
        begin_ns: First sample.
        end_ns: Last sample at most.
        step_ns: Between samples.

    Returns:
        (times in nanoseconds, records in the system), int64.
    """
    times = np.arange(begin_ns, end_ns + 1, step_ns, dtype=np.int64)
    appended, sent = np.asarray(records["appended"]), np.asarray(records["sent"])
    arrived = np.where(appended >= 0, appended, sent)
    left = departures(records, arrived)
    known = arrived >= 0
    return times, _counted(chosen(arrived, known), times, step_ns) - _counted(chosen(left, known), times, step_ns)


def departures(records: Columns, arrived: Ints) -> Ints:
    """When each record leaves the system; the greatest int64 for one that never does."""
    codes: Any = outcome_codes(records[OUTCOME_COLUMN])
    left = np.asarray(records["out_appended"]).astype(np.int64, copy=True)
    ended = (codes >= 0) & (codes != _IN_FLIGHT)
    for code in _WITH_OUTPUT:
        ended &= codes != code
    if ended.any():
        last = arrived[ended]
        for stamp in _STAMPS_BEFORE_OUTPUT:
            last = np.maximum(last, np.asarray(records[stamp])[ended])
        left[ended] = last
    left[(left < 0) | (codes == _IN_FLIGHT)] = _NEVER
    return left


def _counted(when: Ints, times: Ints, step_ns: int) -> Ints:
    """How many of `when` are at or before each of `times`."""
    if not len(times):
        return np.zeros(0, np.int64)
    # The first sample at or after each instant, by division in floating point: below 2^53 ns a quotient that is no
    # whole number is farther from one than the division's error.  What is beyond the last sample goes into a slot more.
    counts = np.zeros(len(times) + 1, np.int64)
    for first in range(0, len(when), _BLOCK):
        slot = (when[first : first + _BLOCK] - times[0]) / step_ns
        np.clip(np.ceil(slot, out=slot), 0, len(times), out=slot)
        counts += np.bincount(slot.astype(np.int64), minlength=len(counts))
    return np.cumsum(counts)[:-1]
