"""The scorer whose `score()` calls a server: what stands in an engine where a runtime would."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from real.servers.protocols import client
from real.servers.protocols.base import Address, CallError, Client

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

_WARM_S = 60.0
#: What is counted of calls: all, those answered, those made again, and those that failed, by how.
COUNTS = ("calls", "answered", "retried", "timeout", "connection", "server", "answer")


class ServerScorer:
    """Calls a server, from as many threads as like to; each has a connection of its own.

    Args:
        address: Of the server.
        timeout_s: Of one call.
        retries: Further calls after one that failed; an answer that is none is not asked for again.
    """

    def __init__(self, address: Address, timeout_s: float, retries: int) -> None:
        self._address, self._timeout_s, self._retries = address, timeout_s, retries
        self._local, self._lock = threading.local(), threading.Lock()
        self._counts = dict.fromkeys(COUNTS, 0)

    @classmethod
    def told(cls, told: Mapping[str, Any]) -> ServerScorer:
        """From what `told()` made, read back from JSON."""
        address = Address(**{**told["address"], "input_shape": tuple(told["address"]["input_shape"])})
        return cls(address, told["timeout_ns"] / 1e9, told["retries"])

    def score(self, x: Floats) -> Floats:
        """See `models.scorer.Scorer.score`.

        Raises:
            CallError: No call was answered; of the last one.
        """
        for left in range(self._retries, -1, -1):
            try:
                answer = self._client().call(x, self._timeout_s)
            except CallError as error:
                again = left > 0 and error.kind != "answer"
                self._count(error.kind, again=again)
                if not again:
                    raise
            else:
                self._count("answered")
                return answer
        raise AssertionError("the last call returned or raised")

    def warm(self, x: Floats) -> Floats:
        """As `score`, before the load: once, with time enough, and not counted.

        Raises:
            CallError: It was not answered.
        """
        return self._client().call(x, _WARM_S)

    def counts(self) -> dict[str, int]:
        """`COUNTS` so far."""
        with self._lock:
            return dict(self._counts)

    def _client(self) -> Client:
        found: Client | None = getattr(self._local, "client", None)
        if found is None:
            found = self._local.client = client(self._address)
        return found

    def _count(self, word: str, *, again: bool = False) -> None:
        with self._lock:
            self._counts["calls"] += 1
            self._counts[word] += 1
            self._counts["retried"] += again


def told(address: Address, timeout_ns: int, retries: int) -> dict[str, Any]:
    """What a process needs to know to make a `ServerScorer`, as JSON."""
    return {"address": dataclasses.asdict(address), "timeout_ns": timeout_ns, "retries": retries}
