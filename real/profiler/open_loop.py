"""Open loop: every request is sent when it is due, whatever became of those before it; its latency counts from then.

One queue, first in first out; a replica that is free takes what waits, up to a full batch, at once.
"""

from __future__ import annotations

import select
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from real.profiler.wire import Link

Int64s = npt.NDArray[np.int64]

_LEAD_NS = 20_000_000
_LOOK_S = 0.5


@dataclass(frozen=True, slots=True)
class Open:
    """An open-loop run; ns since its start, -1 for what never was.

    Attributes:
        due: When each request was to be sent.
        sent: When it was.
        done: When its answer was there.
        began: When its batch's scoring began.
        dispatched: When each batch was handed to a replica.
        sizes: Requests of each batch, in the order of their answers.
        replica: Who scored it.
        first: The first request of each batch; the others follow it.
        batch_began: When its scoring began.
        batch_ended: When it ended.
        queue: Requests that waited when each batch was taken from the queue, its own included.
        unsent: Requests that were due within the run and not sent: the driver did not keep up.
        lasted_ns: From the start to the last answer.
        driver_ns: CPU of the driver.
    """

    due: Int64s
    sent: Int64s
    done: Int64s
    began: Int64s
    dispatched: Int64s
    sizes: Int64s
    replica: Int64s
    first: Int64s
    batch_began: Int64s
    batch_ended: Int64s
    queue: Int64s
    unsent: int
    lasted_ns: int
    driver_ns: int

    @property
    def latency(self) -> Int64s:
        """Of the answered, in the order they were due."""
        found: Int64s = (self.done - self.due)[self.done >= 0]
        return found

    def accounting(self) -> dict[str, int]:
        """Requests sent are those scored and those in the queue, or something was lost."""
        sent = int(np.count_nonzero(self.sent >= 0))
        scored = int(np.count_nonzero(self.done >= 0))
        return {"due": len(self.due), "unsent": self.unsent, "sent": sent, "scored": scored, "in_queue": sent - scored}


def open_loop(
    links: Sequence[Link],
    due_ns: Sequence[int] | Int64s,
    batch: int,
    *,
    duration_s: float | None = None,
    depth: int = 1,
    heard: Callable[[int, int], bool] | None = None,
) -> Open:
    """Sends requests at their instants and has replicas score them.

    Args:
        links: The replicas.
        due_ns: When each request is sent, ns from the start, ascending.
        batch: At most so many at once.
        duration_s: Nothing is sent or handed to a replica after that; None: until every request is answered.
        depth: Batches a replica holds at most.
        heard: (ns since the start, answers so far) after each answer; True ends the run as `duration_s` does.

    Raises:
        HungUpError: A replica is gone.
    """
    due = [int(x) for x in due_ns]
    n = len(due)
    sent, done, began = (np.full(n, -1, np.int64) for _ in range(3))
    batches: dict[int, tuple[int, int, int, int, int]] = {}  # number -> replica, first, size, when, queue
    rows: list[tuple[int, ...]] = []
    places = {link.fileno(): k for k, link in enumerate(links)}
    free = deque(k for _ in range(depth) for k in range(len(links)))
    clock = time.monotonic_ns
    used = time.thread_time_ns()
    start = clock() + _LEAD_NS
    stop = None if duration_s is None else int(duration_s * 1e9)
    head = tail = answered = number = 0
    over_at: int | None = None
    while True:
        now = clock() - start
        if over_at is None and stop is not None and now >= stop:
            over_at = stop
        if over_at is None:
            upto = bisect_right(due, now, tail)
            if upto > tail:
                sent[tail:upto] = now
                tail = upto
            while free and head < tail:
                k = free.popleft()
                size = min(batch, tail - head)
                now = clock() - start
                links[k].send(number, size)
                batches[number] = (k, head, size, now, tail - head)
                head += size
                number += 1
        if not batches and (over_at is not None or head == n):
            break
        wait = _LOOK_S
        if over_at is None and tail < n:
            wait = min(wait, max(0.0, (due[tail] + start - clock()) / 1e9))
        if stop is not None and over_at is None:
            wait = min(wait, max(0.0, (stop + start - clock()) / 1e9))
        if not batches:
            time.sleep(wait)
            continue
        ready, _, _ = select.select([link for link in links if link.waiting], [], [], wait)
        for link in ready:
            for answer in link.read():
                k, first, size, when, waited = batches.pop(answer.number)
                at = answer.read_ns - start
                done[first : first + size] = at
                began[first : first + size] = answer.stamps[0][0] - start
                stamps = (answer.stamps[0][0] - start, answer.stamps[0][1] - start)
                rows.append((when, size, k, first, *stamps, waited))
                free.append(places[link.fileno()])
                answered += size
                if heard is not None and over_at is None and heard(at, answered):
                    over_at = at
    lasted = clock() - start
    driver = time.thread_time_ns() - used
    table = np.asarray(rows, np.int64).reshape(-1, 7)
    unsent = bisect_right(due, lasted if over_at is None else over_at) - tail
    whole = np.asarray(due, np.int64)
    return Open(
        due=whole,
        sent=sent,
        done=done,
        began=began,
        dispatched=table[:, 0],
        sizes=table[:, 1],
        replica=table[:, 2],
        first=table[:, 3],
        batch_began=table[:, 4],
        batch_ended=table[:, 5],
        queue=table[:, 6],
        unsent=max(0, unsent),
        lasted_ns=lasted,
        driver_ns=driver,
    )
