"""The requests' whole state: one int64 array with named offsets, as `sim.arena` has it for pipelines.

`A_*` are places in the header, `J_*` fields of a job's record, `R_*` fields of a replica's slot.  Jobs meet only in
the quota, which is not here: each job's record is a small queueing system of its own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Arena = NDArray[np.int64]

# Header; the jobs' records follow it.
(A_JOBS, A_WINDOW, A_CONCURRENCY, A_MAX_QUEUE, A_SIZE) = range(5)

# Job.  Bases of its columns of requests, then router, queue, replicas, and what is observed.
(
    J_N, J_NEXT, J_ARRIVAL, J_LINK, J_LATENCY, J_OUTCOME,
    J_KEY_IN, J_KEY_OUT, J_KEY_SERVICE, J_KEY_ACCEPT, J_ROUTER_TABLE, J_SERVICE_TABLE, J_ACCEPT,
    J_ROUTER_AT, J_ROUTED, J_ROUTER_HEAD, J_ROUTER_TAIL,
    J_QUEUE_HEAD, J_QUEUE_TAIL, J_WAITING, J_HELD,
    J_SLOTS, J_SLOTS_N, J_ROTATION, J_RUNNING, J_TURN, J_DONE_AT, J_DONE_SLOT,
    J_SLO, J_WINDOW_HEAD, J_WINDOW_TAIL, J_WINDOW_N, J_WINDOW_SERVED, J_WINDOW_SUM, J_WINDOW_WITHIN, J_FINISHED, J_BUSY,
    J_STRIDE,
) = range(38)  # fmt: skip

# Slot of a replica, running or draining what it holds.
(R_STATE, R_OUTSTANDING, R_SERVED, R_SINCE, R_DONE_AT, R_HEAD, R_TAIL, R_STRIDE) = range(8)
FREE, RUNNING, DRAINING = range(3)

NONE = -1
FOREVER = 1 << 62
ALL = 1 << 32  # J_ACCEPT where every request is accepted
