"""Records from threads to threads, written by hand: inboxes, buffers that are passed on in time, writers that wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from typing import Any

import simpy

from scenarios.draws import PURPOSE_FLUSH, draw
from tests.oracle.kernel import TIMER, Body, Moment, Thread
from tests.oracle.pipeline import Buffers


class Inbox:
    """What one reader has, and what is on its way to it."""

    def __init__(self, reader: Thread) -> None:
        self.reader = reader
        self.records: deque[int] = deque()
        self.held = 0  # in the inbox and in the buffers towards it
        self.writers: deque[Thread] = deque()  # that wait for room

    def get(self) -> Generator[simpy.Event, Any, int]:
        """The next record, for the reader."""
        me = self.reader
        while not self.records:
            yield me.wait()
            me.woke()
        self.held -= 1
        if self.writers:
            self.writers.popleft().signal()
        return self.records.popleft()


class Writer:
    """A thread that writes to all inboxes in turn, and its buffers."""

    def __init__(self, me: Thread, place: int, inboxes: Sequence[Inbox], buffers: Buffers) -> None:
        self.me = me
        self.inboxes = inboxes
        self.settings = buffers
        self.buffers: list[list[int]] = [[] for _ in inboxes]
        self.turn = place % len(inboxes)
        self.ticking = False
        bits = draw(me.clockwork.seed, me.number, 0, PURPOSE_FLUSH, 0)
        self.phase = bits % buffers.flush_ns if buffers.flush_ns else 0

    def put(self, record: int) -> Body:
        """Hands a record on, when there is room for it."""
        me, settings, to = self.me, self.settings, self.turn
        inbox, buffer = self.inboxes[to], self.buffers[to]
        while settings.capacity and inbox.held >= settings.capacity:
            if me not in inbox.writers:
                inbox.writers.append(me)
            yield me.wait()
            me.woke()
        if me in inbox.writers:  # something else woke it
            inbox.writers.remove(me)
        inbox.held += 1
        buffer.append(record)
        self.turn = (to + 1) % len(self.inboxes)
        if not settings.flush_ns or len(buffer) >= settings.records:
            self.pass_on(to)
        elif not self.ticking:
            self.ticking = True
            since_tick = (me.env._now - self.phase) % settings.flush_ns
            me.schedule(Moment(None, self.tick), TIMER, settings.flush_ns - since_tick)

    def pass_on(self, to: int) -> None:
        buffer, inbox = self.buffers[to], self.inboxes[to]
        if buffer:
            inbox.records.extend(buffer)
            buffer.clear()
            inbox.reader.signal()

    def tick(self, _event: Moment) -> None:
        self.ticking = False
        for to in range(len(self.inboxes)):
            self.pass_on(to)


def connect(writers: Sequence[Thread], readers: Sequence[Thread], buffers: Buffers) -> tuple[list[Writer], list[Inbox]]:
    """All writers to all readers."""
    inboxes = [Inbox(reader) for reader in readers]
    return [Writer(me, place, inboxes, buffers) for place, me in enumerate(writers)], inboxes
