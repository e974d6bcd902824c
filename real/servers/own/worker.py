"""A worker of our own server: a process that scores one batch after the other, and ends when its front hangs up.

python -m real.servers.own.worker CONFIG DESCRIPTOR
"""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from real.servers.own.wire import ANSWER, BATCH, REQUEST

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


_WARM_POINTS = 32


class _Worker:
    """One connection to the front, one scorer."""

    def __init__(self, link: socket.socket, scorer: Any) -> None:
        self._link, self._scorer = link, scorer

    def serve(self) -> None:
        """Answers batches until the front hangs up."""
        while head := self._read(BATCH.size):
            size, count = BATCH.unpack(head)
            body = self._read(size)
            if not body:
                return
            began = time.monotonic_ns()
            try:
                answers = self._score(body, count)
            except Exception as error:  # noqa: BLE001 - whatever a runtime raises is the answer to these requests
                text = f"{type(error).__name__}: {error}".encode()[:2000] or b"unknown"
                took = time.monotonic_ns() - began
                self._link.sendall(ANSWER.pack(len(text), took, len(text), 0) + text)
                continue
            took = time.monotonic_ns() - began
            data = answers.astype("<f4", copy=False).tobytes()
            self._link.sendall(ANSWER.pack(len(data), took, 0, answers.shape[1]))
            self._link.sendall(data)

    def _score(self, body: bytes, count: int) -> Floats:
        at = count * REQUEST.size
        sizes = list(REQUEST.iter_unpack(body[:at]))
        widths = {width for _, width in sizes}
        if len(widths) == 1:
            (width,) = widths
            whole: Floats = self._scorer.score(np.frombuffer(body, "<f4", offset=at).reshape(-1, width))
            return whole.reshape(len(whole), -1)
        parts = []
        for points, width in sizes:  # a model that takes any width: nothing to put together
            x = np.frombuffer(body, "<f4", points * width, at).reshape(points, width)
            at += x.nbytes
            parts.append(self._scorer.score(x).reshape(points, -1))
        return np.concatenate(parts)

    def _read(self, size: int) -> bytes:
        parts, have = [], 0
        while have < size:
            part = self._link.recv(min(size - have, 1 << 20))
            if not part:
                return b""
            parts.append(part)
            have += len(part)
        return b"".join(parts)


def main() -> None:
    """The process."""
    import signal

    import orjson

    from models.scorer import load_scorer
    from models.zoo import inputs
    from real.child import exact_timers, settle
    from scenarios.spec import Model

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the harness decides what an interruption means
    config = orjson.loads(Path(sys.argv[1]).read_bytes())
    link = socket.socket(fileno=int(sys.argv[2]))
    model = Model(**config["model"])
    scorer = load_scorer(model, config["runtime"], config["models"], config["seed"])
    # A runtime's first calls are not like the others.
    for points in (1, min(config["batch"] * config["points"], _WARM_POINTS)):
        scorer.score(inputs(model, points, config["seed"]))
    exact_timers()
    settle()
    link.sendall(ANSWER.pack(0, 0, 0, 0))  # ready
    try:
        _Worker(link, scorer).serve()
    except OSError:
        return  # the front is gone


if __name__ == "__main__":
    main()
