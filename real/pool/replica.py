"""A replica: a process that answers requests one at a time, in order, over a Unix socket.

A request is its number and how long its service takes; the answer is the number and how long it took.  The replica
waits that long, or scores one point with a model of the zoo where it was given one.  It ends when its router hangs up.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable

from real.child import Child, exact_timers, main, settle

#: A request: its number (below 0: is it ready?) and its service time in ns.
REQUEST = struct.Struct("<qq")
#: An answer: the request's number, and when its service began and ended on the monotonic clock, in ns.
ANSWER = struct.Struct("<qqq")

Work = Callable[[int], None]


def replica(child: Child) -> None:
    """The process: listens where its configuration says, serves one router, ends with it."""
    exact_timers()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(child.config["socket"])
    listener.listen(1)
    work = _work(child)
    settle()
    link, _ = listener.accept()
    serve(link, work)


def serve(link: socket.socket, work: Work) -> None:
    """Answers every request of a connection."""
    waiting = b""
    while data := link.recv(1 << 16):
        waiting += data
        whole = len(waiting) - len(waiting) % REQUEST.size
        for number, service_ns in REQUEST.iter_unpack(waiting[:whole]):
            began = time.monotonic_ns()
            work(service_ns)
            try:
                link.sendall(ANSWER.pack(number, began, time.monotonic_ns()))
            except OSError:
                return  # the router hung up
        waiting = waiting[whole:]


def wait(service_ns: int) -> None:
    """Waits instead of computing."""
    end = time.monotonic_ns() + service_ns
    while (left := end - time.monotonic_ns()) > 0:
        time.sleep(left / 1e9)


def _work(child: Child) -> Work:
    """What a request means to this replica; a model is loaded and has scored once when this returns."""
    name = child.config.get("model")
    if name is None:
        return wait
    from models.scorer import load_scorer
    from models.zoo import inputs

    scorer = load_scorer(name, "onnx", child.config["models"])
    point = inputs(name, 1, seed=0)
    scorer.score(point)
    return lambda _service_ns: _discard(scorer.score(point))


def _discard(_answer: object) -> None:
    """A score that nobody reads."""


if __name__ == "__main__":
    main(replica)
