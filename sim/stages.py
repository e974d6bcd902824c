"""What the stages of a graph did in a run's window, as run.json names it."""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.counters import Reading
from sim.execution import Execution

CAME, BEGUN, LEFT = range(3)
PERCENTILES = (50, 99)


def stages(execution: Execution, begin: Reading, end: Reading) -> dict[str, dict[str, float | int | None]]:
    """By stage: records and batches taken, what was given up, how busy its workers were, waits and times in ms.

    Counts are those of the window; waits and times are of the records whose last visit began in it.
    """
    sys, found = execution.system, {}
    window_ns = end.at_ns - begin.at_ns
    for k, service in enumerate(sys.services):
        if not service.name:
            continue
        first, last = begin.services[k], end.services[k]
        records, batches = last.taken - first.taken, last.takes - first.takes
        busy = sum(end.cpu_ns[i] - begin.cpu_ns[i] for i in service.threads)
        came, begun, left = execution.visits(k)
        here = (begun >= begin.at_ns) & (begun < end.at_ns)
        found[service.name] = {
            "records": records,
            "batches": batches,
            "batch_mean": records / batches if batches else None,
            "dropped": last.dropped - first.dropped,
            "expired": last.late - first.late,
            "queued": last.queued,
            "utilisation": busy / (window_ns * len(service.threads)) if window_ns else None,
            **_in_ms("wait_ms", (begun - came)[here]),
            **_in_ms("time_ms", (left - begun)[here & (left >= begun)]),
        }
    return found


def _in_ms(name: str, ns: Any) -> dict[str, float | None]:
    if not len(ns):
        return {f"{name}_mean": None, **{f"{name}_p{q}": None for q in PERCENTILES}}
    return {
        f"{name}_mean": float(ns.mean()) / 1e6,
        **{f"{name}_p{q}": float(np.percentile(ns, q)) / 1e6 for q in PERCENTILES},
    }
