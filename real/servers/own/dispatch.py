"""The queue of our own server: what waits, which requests are taken together, and which need no worker at all.

The decisions are those of `control.batching` and `control.cache`, the very objects that the simulator compiles: a
request waits in one queue; an idle worker takes as many as the policy allows; the policy is told how long the batch
took in the worker.  A request whose input was answered before, or is being computed, never queues.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from control.batching import Batcher, Rules
from control.cache import HIT, MISS, PredictionCache
from real.servers.counts import Served
from real.servers.own.wire import ANSWER, pack_batch

#: Called with the float32 of the answer and outputs a point, or with what went wrong.
Done = Callable[[bytes, int, str | None], None]


class RefusedInputError(ValueError):
    """A request that no model could score."""


@dataclass(slots=True)
class Request:
    """A request in the queue."""

    points: int
    width: int
    data: bytes
    done: Done
    arrived_ns: int
    key: bytes | None = None


class Link(asyncio.Protocol):
    """The front's end of one worker."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._buffer = bytearray()
        self._out: asyncio.Transport | None = None
        self.taken: list[Request] = []
        self.ready = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The worker's process is there."""
        assert isinstance(transport, asyncio.Transport)
        self._out = transport

    def data_received(self, data: bytes) -> None:
        """Answers."""
        self._buffer += data
        while len(self._buffer) >= ANSWER.size:
            size, took, failed, outputs = ANSWER.unpack_from(self._buffer)
            if len(self._buffer) < ANSWER.size + size:
                return
            body = bytes(self._buffer[ANSWER.size : ANSWER.size + size])
            del self._buffer[: ANSWER.size + size]
            if not self.ready.done():
                self.ready.set_result(None)
                continue
            self._dispatcher.answered(self, body, took, outputs, body.decode(errors="replace") if failed else None)

    def connection_lost(self, error: Exception | None) -> None:
        """The worker is gone: nothing would answer for it."""
        if not self.ready.done():
            self.ready.set_exception(RuntimeError("a worker ended before it was ready"))
        self._dispatcher.lost(self)

    def send(self, batch: list[Request]) -> None:
        """Has a batch scored."""
        assert self._out is not None
        self.taken = batch
        self._out.writelines(pack_batch([(r.points, r.width, r.data) for r in batch]))


class Dispatcher:
    """See the module.

    Args:
        rules: How many at once; the workers share what is learnt.
        cache_bytes: Of answers that are kept; None: none are.
        width: Values of a point; None: a model that takes any.
        slots: `Served`.
        failed: Called when a worker is gone.
    """

    def __init__(
        self, rules: Rules, cache_bytes: int | None, width: int | None, slots: Any, failed: Callable[[str], None]
    ) -> None:
        self.batcher = Batcher(rules)
        self.cache: PredictionCache[bytes, Done] | None = None if cache_bytes is None else PredictionCache(cache_bytes)
        self._width, self._slots, self._failed = width, slots, failed
        self._waiting: deque[Request] = deque()
        self._idle: deque[Link] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._slots[Served.LIMIT] = self.batcher.limit

    async def connect(self, ends: Sequence[socket.socket]) -> None:
        """Takes up the workers, once each is ready."""
        loop = asyncio.get_running_loop()
        links = [(await loop.create_connection(lambda: Link(self), sock=end))[1] for end in ends]
        for link in links:
            await link.ready
        self._idle.extend(links)

    def submit(self, data: bytes, points: int, done: Done) -> None:
        """A request has come.

        Args:
            data: float32, little-endian.
            points: How many they are.
            done: Called with the answer, perhaps at once.

        Raises:
            RefusedInputError: No model could score it.
        """
        width, rest = divmod(len(data), 4 * points) if points > 0 else (0, 1)
        if rest or not width or (self._width is not None and width != self._width):
            wanted = "whole float32 values" if self._width is None else f"{self._width} float32 values"
            raise RefusedInputError(f"{len(data)} bytes for {points} points; a point has {wanted}")
        request = Request(points, width, data, done, time.monotonic_ns())
        if self.cache is not None:
            request.key = blake2b(data, digest_size=16, person=points.to_bytes(4, "little")).digest()
            found, answer = self.cache.ask(request.key, done)
            self._tell_cache()
            if found == HIT:
                values, outputs = answer
                done(values, outputs, None)
            if found != MISS:
                return
        self._waiting.append(request)
        self._take()

    def answered(self, link: Link, body: bytes, took_ns: int, outputs: int, error: str | None) -> None:
        """A worker has done its batch."""
        batch, link.taken = link.taken, []
        self.batcher.observe(len(batch), took_ns)
        slots = self._slots
        slots[Served.BATCHES] += 1
        slots[Served.REQUESTS] += len(batch)
        slots[Served.FAILED] += len(batch) if error is not None else 0
        slots[Served.BUSY_NS] += took_ns
        slots[Served.LIMIT] = self.batcher.limit
        self._idle.append(link)
        self._take()  # before the answers are written: the worker need not wait for that
        at = 0
        for request in batch:
            size = 0 if error is not None else 4 * request.points * outputs
            self._answer(request, body[at : at + size], outputs, error)
            at += size

    def _answer(self, request: Request, data: bytes, outputs: int, error: str | None) -> None:
        waiters: list[Done] = []
        if self.cache is not None and request.key is not None:
            if error is None:
                waiters = self.cache.answer(request.key, (data, outputs), len(data))
            else:
                waiters = self.cache.forget(request.key)
            self._tell_cache()
        for done in (request.done, *waiters):
            done(data, outputs, error)

    def lost(self, link: Link) -> None:
        """A worker is gone."""
        for request in link.taken:
            self._answer(request, b"", 0, "the worker that had it is gone")
        link.taken = []
        self._failed("a worker ended")

    def _take(self) -> None:
        """Gives waiting requests to idle workers, or sets the clock for when that is due."""
        while self._waiting and self._idle:
            waited = time.monotonic_ns() - self._waiting[0].arrived_ns
            count = self.batcher.to_take(len(self._waiting), waited)
            if count == 0:
                left = self.batcher.rules.wait_ns - waited
                if self._timer is None:
                    self._timer = asyncio.get_running_loop().call_later(max(0, left) / 1e9, self._due)
                return
            batch = [self._waiting.popleft() for _ in range(count)]
            self._idle.popleft().send(batch)

    def _due(self) -> None:
        self._timer = None
        self._take()

    def _tell_cache(self) -> None:
        assert self.cache is not None
        counts, slots = self.cache.counts, self._slots
        slots[Served.HITS], slots[Served.MISSES] = counts.hits, counts.misses
        slots[Served.COALESCED], slots[Served.EVICTED] = counts.coalesced, counts.evicted
