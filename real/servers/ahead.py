"""Several calls under way at a time, their answers in the order of the questions.

At most `in_flight` questions are open: asked and not yet handed on.  An answer that comes before an older one's waits
for it, and holds its place meanwhile; so outputs keep the order of their inputs, as a pipeline's do that makes one call
after the other.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a question; times on the real-time clock, ns.

    Attributes:
        begin_ns: The call began.
        end_ns: It was answered, or had failed.
        scores: The answer; None: it failed.
        error: How.
    """

    begin_ns: int
    end_ns: int
    scores: Floats | None
    error: Exception | None


Then = Callable[[Answer], None]


class Ahead:
    """See the module; used by one thread, which is also the one that `then` runs on.

    Args:
        score: Makes a call; called on threads.
        in_flight: Open questions at most.
    """

    def __init__(self, score: Callable[[Floats], Floats], in_flight: int) -> None:
        self._score, self._most = score, in_flight
        self._pool = ThreadPoolExecutor(in_flight, "call")
        self._line: deque[tuple[Future[Answer], Then]] = deque()

    def __len__(self) -> int:
        """Open questions."""
        return len(self._line)

    def put(self, x: Floats, then: Then) -> None:
        """Asks, once there is room; answers that are due are handed on meanwhile."""
        while len(self._line) >= self._most:
            self._first()
        self._line.append((self._pool.submit(self._call, x), then))
        self.hand_on()

    def hand_on(self) -> None:
        """Hands on the answers that are there and whose turn it is."""
        while self._line and self._line[0][0].done():
            self._first()

    def finish(self) -> None:
        """Waits for all answers and hands them on."""
        while self._line:
            self._first()

    def close(self) -> None:
        """Ends the threads; nothing may be open."""
        self._pool.shutdown()

    def _first(self) -> None:
        future, then = self._line[0]
        answer = future.result()
        self._line.popleft()
        then(answer)

    def _call(self, x: Floats) -> Answer:
        begin = time.time_ns()
        try:
            scores = self._score(x)
        except Exception as error:  # noqa: BLE001 - whatever a call raises is the record's failure, counted as such
            return Answer(begin, time.time_ns(), None, error)
        return Answer(begin, time.time_ns(), scores, None)
