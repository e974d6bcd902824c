"""The Python engine without a broker: generators hand each record straight to a worker, where its way ends.

A worker process takes a record off its pipe, parses, scores and encodes it, and is done: what it spends is what
`real.engines.python` spends without its clients, so the two tell the broker's share.  The encoding is the sink.
"""

from __future__ import annotations

import os
import select
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from real.child import Child, main, settle, thread_ids
from real.engines.base import Engine
from real.engines.python import Worker
from real.engines.standalone_way import frames, make, open_pipe
from real.errors import RefusedError
from real.wire import ACKED, ACKED_AT, OUT_BAD, OUT_EXPIRED, OUT_FAILED, OUT_PRODUCED, WORKER_ROW, Work
from scenarios.profiles import PROFILES

if TYPE_CHECKING:
    from scenarios.spec import Scenario

_IDLE_MS = 200
_READ_BYTES = 1 << 16


class Standalone(Engine):
    """See the module."""

    clients = tuple(PROFILES)  # it has none, so any will do
    brokerless = True
    generator = "real.engines.standalone_load"

    def __init__(self, kind: str, module: str) -> None:
        super().__init__(kind, module)
        self.calls_servers = True

    def refuse(self, scenario: Scenario) -> None:
        """See `Engine.refuse`."""
        super().refuse(scenario)
        if scenario.workload.backlog_records:
            raise RefusedError(
                "workload.backlog", "the engine standalone has no broker, so no topic that could hold one"
            )
        if scenario.serving.kind == "external" and scenario.serving.client.mode != "blocking":
            raise RefusedError(
                "serving.client.mode", f"{scenario.serving.client.mode}; engine standalone calls blocking"
            )

    def lay_out(self, scenario: Scenario, directory: Path) -> None:
        """See `Engine.lay_out`: the pipes."""
        make(directory, scenario.workload.producers, scenario.engine.parallelism)


class Taker(Worker):
    """One worker process."""

    def run(self) -> None:
        """The life of a worker."""
        child, config = self.child, self.child.config
        before, place = thread_ids(), Path(config["rows"]).parent
        producers, count = self.scenario.workload.producers, self.scenario.engine.parallelism
        pipes = {open_pipe(place, g, self.index): g * count + self.index for g in range(producers)}
        self._warm()
        settle()
        child.say("ready", app=threading.get_native_id(), consumer=[], producer=[])
        child.started.wait()
        handled = self._take(pipes)
        child.say(
            "done",
            left=0,
            committed={str(way): count for way, count in handled.items()},
            late_threads=sorted(thread_ids() - before),
            requests={"Fetch": [], "Produce": []},
            **({} if self.server is None else {"calls": self.server.counts()}),
        )
        child.stopping.wait()

    def _take(self, pipes: dict[int, int]) -> dict[int, int]:
        """Handles records until it is told to stop; returns how many of each pipe."""
        slots, stopping, cpu = self.slots, self.child.stopping, time.thread_time_ns
        handled, buffers = dict.fromkeys(pipes.values(), 0), {fd: bytearray() for fd in pipes}
        poller = select.poll()
        for fd in pipes:
            poller.register(fd, select.POLLIN)
        poll, mark = 0, cpu()
        while not stopping.is_set():
            ready = poller.poll(_IDLE_MS)
            slots[Work.POLLS] += 1
            if not ready:
                slots[Work.POLLS_EMPTY] += 1
            for fd, _ in ready:
                buffers[fd] += os.read(fd, _READ_BYTES)
                now = cpu()
                slots[Work.POLL_CPU] += now - mark
                mark = now
                for stamps, data in frames(buffers[fd]):
                    mark = self._handle(stamps, data, poll, mark)
                    handled[pipes[fd]] += 1
                    if stopping.is_set():
                        return handled
            poll += 1
        return handled

    def _handle(self, stamps: tuple[int, int, int], data: bytes, poll: int, mark: int) -> int:
        """Handles a record; returns the thread CPU clock at its end."""
        slots, t0, fmt = self.slots, self.child.t0_ns, self.format
        sequence, _, sent = stamps
        slots[Work.RECORDS] += 1
        slots[Work.BYTES_IN] += len(data)
        try:
            message = self.parse(fmt, data)
        except self.payload_error as error:
            slots[Work.BAD] += 1
            self._ended(sequence, poll, sent, (-1, -1, -1), OUT_BAD)
            self._tell(f"record {sequence} cannot be parsed: {error}")
            return self._section(Work.DECODE_CPU, mark)
        mark = self._section(Work.DECODE_CPU, mark)
        begin = time.time_ns() - t0
        try:
            prediction = self.scorer.score(message.values)
        except Exception as error:  # noqa: BLE001 - whatever a runtime raises is the record's failure, counted as such
            outcome = OUT_EXPIRED if getattr(error, "expired", False) else OUT_FAILED
            slots[Work.FAILED] += 1
            self._ended(sequence, poll, sent, (begin, time.time_ns() - t0, -1), outcome)
            self._tell(f"record {sequence} cannot be scored: {error}")
            return self._section(Work.SCORE_CPU, mark)
        end = time.time_ns() - t0
        mark = self._section(Work.SCORE_CPU, mark)
        value = self.encode(fmt, message, prediction, ("", 0))
        self._ended(sequence, poll, sent, (begin, end, time.time_ns() - t0), OUT_PRODUCED)
        slots[Work.POINTS] += message.points
        slots[Work.BYTES_OUT] += len(value)
        slots[Work.ACKED] += 1
        return self._section(Work.ENCODE_CPU, mark)

    def _ended(self, sequence: int, poll: int, sent: int, stamps: tuple[int, int, int], outcome: int) -> None:
        """Writes a record's row: score_begin, score_end, produced; acknowledged in the same instant."""
        row = self._row(sequence, poll, sent, *stamps, outcome)
        if outcome == OUT_PRODUCED and row >= 0:
            ACKED.pack_into(self.side, row * WORKER_ROW.size + ACKED_AT, stamps[2])


ENGINE = Standalone("standalone", "real.engines.standalone")


def _body(child: Child) -> None:
    Taker(child).run()


if __name__ == "__main__":
    main(_body)
