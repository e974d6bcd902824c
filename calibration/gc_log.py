"""Garbage collection as stalls: a JVM's own log (`-Xlog:gc`), read as one pause every so many bytes allocated.

What was allocated between two collections is the heap before the second less the heap after the first, as the log has
them, in whole MiB.  Only pauses count: what a collector does beside the application costs CPU and stalls nobody.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from calibration.profiles import ProfileError

MIB = 1 << 20
_UNITS = {"K": 1 << 10, "M": MIB, "G": 1 << 30}
_PAUSE = re.compile(
    r"\[(?P<at>\d+[.,]\d+)s\].*GC\(\d+\) (?P<what>Pause [^\n]*?) (?P<before>\d+)(?P<u1>[KMG])->"
    r"(?P<after>\d+)(?P<u2>[KMG])\(\d+[KMG]\) (?P<ms>\d+[.,]\d+)ms"
)
_ANY = re.compile(r"GC\(\d+\)")


@dataclass(frozen=True, slots=True)
class Pause:
    """One stall of the process.

    Attributes:
        at_s: Since the JVM started, at its end.
        what: As the log names it.
        before_bytes: Heap used before.
        after_bytes: Heap used after.
        took_ns: How long everything stood still.
    """

    at_s: float
    what: str
    before_bytes: int
    after_bytes: int
    took_ns: int


def read(path: Path) -> list[Pause]:
    """The pauses of a log, in its order.

    Raises:
        ProfileError: It cannot be read, or it is no such log.
    """
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError as error:
        raise ProfileError(f"{path}: cannot be read: {error}") from error
    found = []
    for line in lines:
        match = _PAUSE.search(line)
        if match:
            found.append(
                Pause(
                    float(match["at"].replace(",", ".")),
                    match["what"],
                    int(match["before"]) * _UNITS[match["u1"]],
                    int(match["after"]) * _UNITS[match["u2"]],
                    round(float(match["ms"].replace(",", ".")) * 1e6),
                )
            )
    if not found and not any(_ANY.search(line) or "Using " in line for line in lines):
        raise ProfileError(f"{path}: no log of garbage collections; java -Xlog:gc:FILE writes one")
    return found


def summary(pauses: Sequence[Pause], where: str) -> dict[str, float]:
    """One stall every so many bytes, and how long it is.

    Returns:
        `pauses`, `bytes_per_pause` (median), `allocated_bytes_per_s`, `pause_ns_p50`, `pause_ns_p95`, `pause_ns_max`,
        `stalled_share` of the time between the first and the last.

    Raises:
        ProfileError: Fewer than two pauses say nothing of what lies between.
    """
    if len(pauses) < 2:
        raise ProfileError(f"{where}: {len(pauses)} pauses; two are needed to say how much is allocated between")
    allocated = np.asarray([max(0, b.before_bytes - a.after_bytes) for a, b in pairwise(pauses)])
    took = np.asarray([p.took_ns for p in pauses], dtype=np.float64)
    span_s = pauses[-1].at_s - pauses[0].at_s
    middle, high = np.quantile(took, (0.5, 0.95))
    return {
        "pauses": float(len(pauses)),
        "bytes_per_pause": float(np.median(allocated)),
        "allocated_bytes_per_s": float(np.sum(allocated)) / span_s if span_s > 0 else float("nan"),
        "pause_ns_p50": float(middle),
        "pause_ns_p95": float(high),
        "pause_ns_max": float(np.max(took)),
        "stalled_share": float(np.sum(took[1:])) / (span_s * 1e9) if span_s > 0 else float("nan"),
    }
