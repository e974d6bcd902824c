"""The estimator's meaning in SimPy: one process a replica, one record after the other.  For checking, not for speed."""

from __future__ import annotations

import heapq
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import simpy

from control.planning import Choices
from scenarios.draw_arrays import Int64s
from scenarios.plan_spec import Option, Stage
from sim.planner.estimator import Trace

#: At one instant everything else happens before a replica looks at its queue (SimPy's own are 0 and 1).
_LAST = 2


class _Model:
    """One model's queue and its idle replicas."""

    def __init__(self, env: simpy.Environment, option: Option, batch: int, replicas: int) -> None:
        self.env = env
        self.option = option
        self.batch = batch
        self.idle = replicas
        self.waiting: list[tuple[int, int]] = []  # (since when, record)
        self.done: dict[int, simpy.Event] = {}

    def submit(self, record: int) -> simpy.Event:
        """Queue a record; the event comes when it is done."""
        heapq.heappush(self.waiting, (int(self.env.now), record))
        self.done[record] = self.env.event()
        self._look()
        return self.done[record]

    def _look(self) -> None:
        look = self.env.event()
        look.callbacks.append(self._start)
        look._ok, look._value = True, None  # noqa: SLF001  # SimPy's own timeouts are made this way
        self.env.schedule(look, priority=_LAST)  # type: ignore[arg-type]

    def _start(self, _event: simpy.Event) -> None:
        while self.idle and self.waiting:
            size = min(self.batch, len(self.waiting))
            records = [heapq.heappop(self.waiting)[1] for _ in range(size)]
            self.idle -= 1
            self.env.process(self._serve(records))

    def _serve(self, records: Sequence[int]) -> Generator[Any, Any, None]:
        yield self.env.timeout(self.option.service_ns(len(records)))
        self.idle += 1
        for record in records:
            self.done[record].succeed()
        self._look()


def latencies(pipeline: Sequence[Stage], menu: Sequence[Sequence[Option]], choices: Choices, trace: Trace) -> Int64s:
    """Latency of every record, ns: what `sim.planner.estimator` computes, simulated event by event."""
    env = simpy.Environment(initial_time=0)
    models = [
        _Model(env, options[choice.option], choice.batch, choice.replicas)
        for options, choice in zip(menu, choices, strict=True)
    ]
    names = [stage.name for stage in pipeline]
    found = np.zeros(len(trace), dtype=np.int64)

    def visit(record: int, at: int, ways: Sequence[simpy.Process | None]) -> Generator[Any, Any, bool]:
        """Waits for all that the record comes by, then for the model; whether it came here at all."""
        came = not pipeline[at].after
        for edge, taken in zip(pipeline[at].after, trace.taken[at], strict=True):
            way = ways[names.index(edge.model)]
            assert way is not None
            if taken[record]:
                visited = yield way
                came = came or bool(visited)
        if came:
            yield models[at].submit(record)
        return came

    def one(record: int) -> Generator[Any, Any, None]:
        ways: list[simpy.Process | None] = []
        for at in range(len(pipeline)):
            ways.append(env.process(visit(record, at, ways)))
        yield env.all_of([way for way in ways if way is not None])
        found[record] = int(env.now) - int(trace.arrivals[record])

    def source() -> Generator[Any, Any, None]:
        for record, when in enumerate(trace.arrivals.tolist()):
            yield env.timeout(when - env.now)
            env.process(one(record))

    env.process(source())
    env.run()
    return found
