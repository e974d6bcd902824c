"""A replica of the profiler: a process on cores of its own that scores batches with a model of the zoo.

Its inputs are its own, drawn before the load and used in turn: what is measured is scoring, not how points get there.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from itertools import cycle
from typing import TYPE_CHECKING, Any

from models.place import GPU, THREADS
from real.child import Child, exact_timers, main, settle, thread_ids
from real.profiler.wire import REQUEST, answer, listen

if TYPE_CHECKING:
    from models.scorer import Scorer

#: Inputs are reused in turn; so many bytes of them are kept, and at most so many batches.
_POOL_BYTES, _POOL_BATCHES = 64 << 20, 32


def replica(child: Child) -> None:
    """The process: goes to its cores, loads the model, says that it is ready, serves one driver, ends with it."""
    for thread in thread_ids():  # those of libraries come later and inherit it
        os.sched_setaffinity(thread, child.config["cores"])
    # Before numerical libraries are imported, which read this once.
    threads = str(len(child.config["cores"]))
    os.environ |= {THREADS: threads, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
    if child.config["device"].startswith("gpu:"):
        os.environ[GPU] = child.config["device"].partition(":")[2]
    exact_timers()
    listener = listen(child.config["socket"])
    began = time.monotonic_ns()
    scorer, versions = _load(child.config)
    load_ns = time.monotonic_ns() - began
    pools = Inputs(child.config)
    pools.of(child.config["batch"])
    settle()
    child.say("ready", load_ns=load_ns, versions=versions)
    link, _ = listener.accept()
    serve(link, scorer, pools)


class Inputs:
    """Batches of inputs for each size that is asked for, from the cell's seed."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config
        self._pools: dict[int, Iterator[Any]] = {}

    def of(self, points: int) -> Iterator[Any]:
        """Arrays (points, *input_shape), in turn for ever."""
        pool = self._pools.get(points)
        if pool is None:
            from models.zoo import inputs

            which, seed = asked_model(self._config["model"]), self._config["seed"]
            first = inputs(which, points, seed)
            count = max(1, min(_POOL_BATCHES, _POOL_BYTES // max(1, first.nbytes)))
            pool = cycle([first, *(inputs(which, points, seed + k) for k in range(1, count))])
            self._pools[points] = pool
        return pool


def serve(link: socket.socket, scorer: Scorer, pools: Inputs) -> None:
    """Answers every request of a connection."""
    waiting = b""
    clock, cpu = time.monotonic_ns, time.process_time_ns
    score = scorer.score
    while True:
        asked = clock()
        data = link.recv(1 << 16)
        idle = clock() - asked
        if not data:
            return
        waiting += data
        whole = len(waiting) - len(waiting) % REQUEST.size
        for number, points, times in REQUEST.iter_unpack(waiting[:whole]):
            pool = pools.of(points)
            stamps = []
            for _ in range(times):
                x = next(pool)
                used, began = cpu(), clock()
                score(x)
                stamps.append((began, clock(), cpu() - used))
            try:
                link.sendall(answer(number, stamps, idle))
            except OSError:
                return  # the driver hung up
            idle = 0
        waiting = waiting[whole:]


def asked_model(fields: dict[str, Any]) -> Any:
    """The scenario's model of a configuration."""
    from scenarios.spec import Model

    return Model(**fields)


def _load(config: dict[str, Any]) -> tuple[Scorer, dict[str, str]]:
    import dataclasses

    from models.scorer import load_scorer

    which = asked_model(config["model"])
    if config["speed"] != 1.0:  # a pretended device: the sleep model waits less there
        from models.sleep import BASE_NS, EACH_NS

        base_ns = BASE_NS if which.base_ns is None else which.base_ns
        each_ns = EACH_NS if which.each_ns is None else which.each_ns
        speed = config["speed"]
        which = dataclasses.replace(which, base_ns=round(base_ns / speed), each_ns=round(each_ns / speed))
    scorer = load_scorer(which, config["runtime"], config["models"], config["seed"])
    return scorer, _versions(config["runtime"])


def _versions(runtime: str) -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    packages = {"onnx": "onnxruntime", "sklearn": "scikit-learn"}
    for package in ("numpy", packages.get(runtime, runtime)):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    main(replica)
