"""What was busiest in a run: the part that a record has to pass and that has the least time left.

Of threads it is the share of the window that they worked or, where they score one thing after the other, had one at
hand: a task that waits for a server's answer uses no CPU and can take no other record.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from analysis.records import Columns, chosen
from scenarios.spec import Scenario

#: At this share a part is what the pipeline cannot go beyond; below, time goes into waiting for something else.
SATURATED = 0.85
#: Above this share of a host's cores, what other processes use is said.
_NOTABLE = 0.1
#: Records that are looked at.
_ENOUGH = 200_000


def bottleneck(scenario: Scenario, records: Columns, counters: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The busiest part of a run by its counters; None where it has none.

    Returns:
        `name` and `utilisation`, a share of 1.
    """
    window = (counters or {}).get("window_ns")
    if not counters or not window or window <= 0:
        return None
    rows: dict[str, float] = {}
    generator, broker, workers = counters.get("generator") or {}, counters.get("broker") or {}, counters.get("workers")
    rows["generators"] = _share(generator, "app_cpu_ns", window)
    rows["generators' producer clients"] = _share(generator, "client_cpu_ns", window)
    threads = scenario.broker.io_threads + scenario.broker.network_threads
    rows["broker"] = _share(broker, "cpu_ns", window * threads)
    tasks = {"scoring tasks": "app_cpu_ns", "tasks' consumer clients": "consumer_cpu_ns"}
    for name, key in {**tasks, "tasks' producer clients": "producer_cpu_ns"}.items():
        rows[name] = max((_share(each, key, window) for each in workers or ()), default=0.0)
    held = occupied(records, len(workers or ()), window)
    rows["scoring tasks"] = max([rows["scoring tasks"], *held.values()])
    collector = counters.get("collector") or {}
    rows["collector"] = _share(collector, "app_cpu_ns", window)
    rows["collector's consumer client"] = _share(collector, "consumer_cpu_ns", window)
    host = counters.get("host") or {}
    if host.get("cores"):
        other = _share(host, "other_cpu_ns", window * host["cores"])
        cores = f"cores ({other:.0%} by other processes)" if other > _NOTABLE else "cores"
        rows[cores] = _share(host, "used_ns", window * host["cores"])
    name = max(rows, key=lambda each: rows[each])
    return {"name": name, "utilisation": min(1.0, rows[name])}


def occupied(records: Columns, workers: int, window_ns: int) -> dict[int, float]:
    """Share of the time that each scoring task had a record or a batch at hand, by its number.

    What records of one batch have in common counts once.  The time is from the first record's scoring to the last
    one's, the window at least; of a long run its middle.
    """
    begun, ended = np.asarray(records.get("score_begin", ())), np.asarray(records.get("score_end", ()))
    who = np.asarray(records.get("worker", ()))
    if not workers or not len(begun) or len(begun) != len(ended) or len(who) != len(begun):
        return {}
    known = (begun >= 0) & (ended >= begun) & (who >= 0) & (who < workers)
    if not known.any():
        return {}
    begun, ended, who = chosen(begun, known), chosen(ended, known), chosen(who, known)
    whole = int(ended.max() - begun.min())
    if len(begun) > _ENOUGH:
        length = max(1, whole * _ENOUGH // len(begun))
        start = int(begun.min()) + (whole - length) // 2
        inside = (begun >= start) & (begun < start + length)
        begun, ended, who, whole = begun[inside], ended[inside], who[inside], length
        if not len(begun):
            return {}
    else:
        whole = max(whole, window_ns)
    since = begun - begun.min()
    order = np.argsort(who.astype(np.int64) * (int(since.max()) + 1) + since)  # by task, then by time
    begun, ended, who = begun[order], ended[order], who[order]
    first = np.ones(len(who), dtype=bool)  # of those that begin together on one task: a batch
    first[1:] = (who[1:] != who[:-1]) | (begun[1:] != begun[:-1])
    starts = np.flatnonzero(first)
    longest = np.maximum.reduceat(ended, starts) - begun[starts]
    total = np.bincount(who[starts], weights=longest, minlength=workers) / whole
    return {i: float(min(1.0, share)) for i, share in enumerate(total)}


def _share(of: Mapping[str, Any], key: str, window_ns: float) -> float:
    return float(of.get(key) or 0) / window_ns
