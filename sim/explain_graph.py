"""Where the time of a record goes in a graph of services: along the parts of it that it was waiting for in the end.

Of a record that several services work on at once, the way that counts is the one that ends last, and before each
service the predecessor that it left last of those that send there.  So the ways of all services sum to the latency.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sim.system import Int64s, System

_CAME, _BEGUN, _LEFT = range(3)  # rows of visits


def ways(sys: System, visits: Sequence[Int64s], sent: Int64s, whole: NDArray[np.bool_]) -> list[tuple[str, Int64s]]:
    """(stage, ns of each record) for the way to, the queue of and the work in every service; 0 where it did not count.

    Args:
        sys: What was run.
        visits: Of each service: when each record came, was taken and went on.
        sent: When each record went to the first service.
        whole: The records that came to the end.
    """
    count = len(sys.services)
    left = np.stack([rows[_LEFT] for rows in visits])
    senders: list[list[int]] = [[] for _ in range(count)]
    for p, service in enumerate(sys.services):
        for k in {k for edge in service.edges for k in edge.services}:
            senders[k].append(p)
    spent = [np.zeros((3, sys.records), dtype=np.int64) for _ in range(count)]
    here = np.full(sys.records, -1, dtype=np.int64)
    here[whole] = left[:, whole].argmax(axis=0)
    while (here >= 0).any():
        before = np.full(sys.records, -1, dtype=np.int64)
        for k in range(count):
            mine = np.flatnonzero(here == k)
            came, begun, gone = (row[mine] for row in visits[k])
            came_from = sent[mine].copy()
            for p in senders[k]:
                # Of the last of several equal ones the first is taken.
                later = (left[p][mine] >= 0) & (left[p][mine] <= came) & (left[p][mine] > came_from)
                came_from[later] = left[p][mine][later]
                before[mine[later]] = p
            spent[k][:, mine] = came - came_from, begun - came, gone - begun
        here = before
    rows = []
    for service, ns in zip(sys.services, spent, strict=True):
        for what, of in zip(("way there", "queue, batch delay included", "at work"), ns, strict=True):
            rows.append((f"{service.name}: {what}", of))
    return rows
