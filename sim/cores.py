"""Work spread over processes, each a fresh interpreter forked from one that has imported the simulator.

Results come back as they are finished.  When the caller leaves, interrupted or killed, the pipe that it holds closes
and every worker ends at once: what a worker had finished, it had stored itself.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing.connection import Connection
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


def available() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


def spread(
    function: Callable[[Job], Result], jobs: Sequence[Job], processes: int | None = None
) -> Generator[tuple[int, Result], None, None]:
    """Calls a function on each job, on all cores; with one process, here.  Close it to end the workers.

    Args:
        function: Of a module, so that a worker can import it.
        jobs: What it is called with; must be picklable.
        processes: How many; None for as many as there are cores.

    Yields:
        (place of the job, result), in the order finished.
    """
    processes = min(processes or available(), len(jobs))
    if processes <= 1:
        for place, job in enumerate(jobs):
            yield place, function(job)
        return
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sim.run"])
    theirs, ours = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_begin, initargs=(theirs,))
    try:
        places = {pool.submit(function, job): place for place, job in enumerate(jobs)}
        for future in as_completed(places):
            place = places.pop(future)
            yield place, future.result()
        pool.shutdown()
    finally:
        ours.close()
        pool.shutdown(wait=False, cancel_futures=True)
        theirs.close()


def _begin(parent: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller decides, and then its end of the pipe closes
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Connection) -> None:
    try:
        parent.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)
