"""The load generator of a pipeline without a broker: hands each record to a worker when it is due.

The same schedule and the same stamps as `real.generator`.  A record that its pipe has no room for waits here in
memory; what waits is written on between the records, and while the generator would sleep.
"""

from __future__ import annotations

import os
import select
import time
from collections import deque
from pathlib import Path

from real.child import Child, exact_timers, main, settle
from real.engines.standalone_way import LENGTH, open_pipe
from real.generator import _NAP_S, Generator, _own_thread
from real.wire import ACKNOWLEDGED, GENERATOR_ROW, INPUT_HEADER, Gen


class Handing(Generator):
    """See the module."""

    def run(self) -> None:
        """The life of a generator."""
        count = self.scenario.engine.parallelism
        place = Path(self.child.config["rows"]).parent
        self.pipes = [open_pipe(place, self.index, w) for w in range(count)]
        self.waiting: list[deque[memoryview]] = [deque() for _ in range(count)]
        self.handed = [0] * count
        exact_timers()
        settle()
        self.child.say("ready", app=_own_thread(), client=[])
        self.child.started.wait()
        self._load()
        self.child.say("sent", left=0)
        while not self.child.stopping.is_set():
            self._nap(0.05)
        self.child.say("done", requests={"Produce": []})

    def _load(self) -> None:
        t0, due, slots, stopping = self.child.t0_ns, self.due, self.slots, self.child.stopping
        for i, at in enumerate(due):
            now = time.time_ns() - t0
            while now < at:
                slots[Gen.SLEEPS] += 1
                self._nap(min((at - now) / 1e9, _NAP_S))
                now = time.time_ns() - t0
            self._send(i, at, now)
            if stopping.is_set():
                return

    def _send(self, i: int, created: int, sent: int) -> None:
        value, slots = self._payload(i, created), self.slots
        header = INPUT_HEADER.pack(self.sequences[i], created, sent)
        way = i % len(self.pipes)
        stamp = (self.child.t0_ns + sent) // 1_000_000
        GENERATOR_ROW.pack_into(self.rows, i * GENERATOR_ROW.size, sent, ACKNOWLEDGED, self.handed[way], stamp)
        self.handed[way] += 1
        head = LENGTH.pack(len(header) + len(value)) + header
        if self.waiting[way]:
            slots[Gen.QUEUE_FULL] += 1
            self._write(way)
        if self.waiting[way]:
            self.waiting[way] += (memoryview(head), memoryview(value))
        else:
            self._first(way, head, value)
        slots[Gen.RECORDS] += 1
        slots[Gen.BYTES] += len(value)
        slots[Gen.ACKED] += 1

    def _first(self, way: int, head: bytes, value: bytes) -> None:
        """Writes a record that nothing waits before; what does not fit waits."""
        try:
            written = os.writev(self.pipes[way], (head, value))
        except BlockingIOError:
            written = 0
        if written < len(head):
            self.waiting[way] += (memoryview(head)[written:], memoryview(value))
        elif written < len(head) + len(value):
            self.waiting[way].append(memoryview(value)[written - len(head) :])

    def _write(self, way: int) -> None:
        """Writes what waits for a pipe, as far as there is room."""
        queue, fd = self.waiting[way], self.pipes[way]
        while queue:
            try:
                written = os.write(fd, queue[0])
            except BlockingIOError:
                return
            if written < len(queue[0]):
                queue[0] = queue[0][written:]
                return
            queue.popleft()

    def _nap(self, seconds: float) -> None:
        """Sleeps; ends early to write on, where records wait and there is room."""
        blocked = [self.pipes[way] for way, queue in enumerate(self.waiting) if queue]
        if not blocked:
            time.sleep(seconds)
            return
        _, ready, _ = select.select([], blocked, [], seconds)
        for fd in ready:
            self._write(self.pipes.index(fd))


def _body(child: Child) -> None:
    Handing(child).run()


if __name__ == "__main__":
    main(_body)
