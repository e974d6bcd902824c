"""How long every record of a trace takes through a configured pipeline: exact, and fast enough for a planner's loop.

A model has one queue, first in first out, R replicas and batches of at most B: an idle replica takes what waits, up to
B, at once (InferLine's estimator; the time of a batch depends on its size alone).  Nothing flows back, so a model
depends on those before it and on no other: the models are simulated one after the other, each over the whole trace, and
a search that changes only a later one takes the earlier ones from where they are.

Times are int64 nanoseconds.  At one instant all that arrives has arrived before a replica takes a batch, and records
that became ready together queue in the order of the trace.  `sim.planner.reference` says the same in SimPy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from control.planning import Choice
from scenarios.draw_arrays import Int64s, draw_array, uniform
from scenarios.plan_spec import Option, Stage
from sim.jit import compiled

Bools = npt.NDArray[np.bool_]
NONE = -1  # a record does not visit this model

_PURPOSE_EDGE = 17  # of a draw, with the edge's number as its component


@compiled
def _sift(heap: Any, size: int) -> None:
    """Restores a binary heap whose root has grown."""
    at = 0
    value = heap[0]
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= value:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = value


@compiled
def _push(heap: Any, size: int, value: int) -> None:
    at = size
    while at > 0 and heap[(at - 1) // 2] > value:
        heap[at] = heap[(at - 1) // 2]
        at = (at - 1) // 2
    heap[at] = value


@compiled
def _serve(ready: Any, service: Any, batch: int, free: Any, size: int, when: Any, change: Any, done: Any) -> int:
    """One model over a whole trace.

    Args:
        ready: When each record may be served, ascending.
        service: Time of a batch of n at index n.
        batch: Largest batch.
        free: Heap of when each replica is free, with room for all that are ever added.
        size: Replicas at the start.
        when: Instants at which replicas come or go, ascending.
        change: +1 for each that comes, -1 for the first of the others that is free to go.
        done: Written: when each record is done.

    Returns:
        Batches served.
    """
    at, event, batches = 0, 0, 0
    count, events = len(ready), len(when)
    while at < count:
        start = max(free[0], ready[at])
        if event < events and when[event] <= start:
            if change[event] > 0:
                _push(free, size, when[event])
                size += 1
            elif size > 1:
                size -= 1
                free[0] = free[size]
                _sift(free, size)
            event += 1
            continue
        last = at + 1
        limit = min(count, at + batch)
        while last < limit and ready[last] <= start:
            last += 1
        end = start + service[last - at]
        for each in range(at, last):
            done[each] = end
        at = last
        batches += 1
        free[0] = end
        _sift(free, size)
    return batches


@dataclass(frozen=True)
class Trace:
    """A sample of the load, and which models each record visits.

    Attributes:
        arrivals: When each record arrives, ascending.
        taken: Of each model, of each of its edges: whether a record takes it, if it gets there.
    """

    arrivals: Int64s
    taken: tuple[tuple[Bools, ...], ...]

    def __len__(self) -> int:
        """Records."""
        return len(self.arrivals)


def draw_trace(pipeline: Sequence[Stage], arrivals: Int64s, seed: int) -> Trace:
    """A trace with its ways drawn; a record's way depends on the seed, the edge and its number in the trace alone."""
    taken = []
    edges = 0
    index = np.arange(len(arrivals), dtype=np.int64)
    for stage in pipeline:
        own: list[Bools] = []
        for edge in stage.after:
            edges += 1
            own.append(uniform(draw_array(seed, edges, index, _PURPOSE_EDGE, 0)) < edge.share)
        taken.append(tuple(own))
    return Trace(arrivals, tuple(taken))


@dataclass
class Flow:
    """How far a trace has come: when each record was done with each model simulated so far (`NONE`: not visited)."""

    done: tuple[Int64s, ...] = ()
    #: Who enters the next model and when, in order; kept, as a search asks it for every choice of that model.
    entering: tuple[Int64s, Int64s] | None = None


class Estimator:
    """One trace through one pipeline, under any configuration of it."""

    def __init__(self, pipeline: Sequence[Stage], trace: Trace) -> None:
        """Nothing is simulated yet."""
        self.pipeline = tuple(pipeline)
        self.trace = trace
        names = [stage.name for stage in pipeline]
        self._parents = [tuple(names.index(edge.model) for edge in stage.after) for stage in pipeline]
        self.visited = self._visits()
        #: Simulations of one model over the trace so far.
        self.evaluations = 0

    def _visits(self) -> tuple[Bools, ...]:
        visited: list[Bools] = []
        for parents, taken in zip(self._parents, self.trace.taken, strict=True):
            if parents:
                visited.append(np.logical_or.reduce([visited[p] & way for p, way in zip(parents, taken, strict=True)]))
            else:
                visited.append(np.ones(len(self.trace), dtype=np.bool_))
        return tuple(visited)

    @property
    def shares(self) -> tuple[float, ...]:
        """Of each model: share of the records that visit it."""
        return tuple(float(each.mean()) for each in self.visited)

    def ready(self, flow: Flow) -> Int64s:
        """When each record may enter the next model; `NONE` where it does not."""
        model = len(flow.done)
        parents = self._parents[model]
        if not parents:
            return self.trace.arrivals
        found = np.full(len(self.trace), NONE, dtype=np.int64)
        for parent, way in zip(parents, self.trace.taken[model], strict=True):
            np.maximum(found, np.where(way, flow.done[parent], NONE), out=found)
        return found

    def _entering(self, flow: Flow) -> tuple[Int64s, Int64s]:
        ready = self.ready(flow)
        visitors = np.flatnonzero(ready != NONE)
        times = ready[visitors]
        if bool((times[1:] < times[:-1]).any()):
            order = np.argsort(times, kind="stable")
            visitors, times = visitors[order], times[order]
        return visitors, times

    def advance(self, flow: Flow, option: Option, choice: Choice, schedule: Sequence[tuple[int, int]] = ()) -> Flow:
        """The next model simulated too.

        Args:
            flow: What the models before it did.
            option: Its hardware.
            choice: Its batch size and its replicas at the start.
            schedule: (ns, +n or -n): replicas that come and go, ascending in time.
        """
        self.evaluations += 1
        if flow.entering is None:
            flow.entering = self._entering(flow)
        visitors, times = flow.entering
        when = np.array([at for at, n in schedule for _ in range(abs(n))], dtype=np.int64)
        change = np.array([1 if n > 0 else -1 for _, n in schedule for _ in range(abs(n))], dtype=np.int64)
        free = np.zeros(choice.replicas + int((change > 0).sum()), dtype=np.int64)
        out = np.empty(len(times), dtype=np.int64)
        _serve(times, service_table(option, choice.batch), choice.batch, free, choice.replicas, when, change, out)
        done = np.full(len(self.trace), NONE, dtype=np.int64)
        done[visitors] = out
        return Flow((*flow.done, done))

    def latencies(self, flow: Flow, still_ns: Sequence[int] = ()) -> Int64s:
        """End to end latency of every record, ns.

        Args:
            flow: The models simulated so far.
            still_ns: For the models after them, the least time that a record spends there; the latencies are then
                lower bounds, record by record.
        """
        done = list(flow.done)
        for model in range(len(done), len(self.pipeline)):
            ready = self.ready(Flow(tuple(done)))
            done.append(np.where(ready == NONE, NONE, ready + still_ns[model]))
        ends: Int64s = np.maximum.reduce(done) - self.trace.arrivals
        return ends

    def run(self, options: Sequence[Option], choices: Sequence[Choice]) -> Int64s:
        """Latency of every record under a whole configuration, ns."""
        flow = Flow()
        for option, choice in zip(options, choices, strict=True):
            flow = self.advance(flow, option, choice)
        return self.latencies(flow)


def service_table(option: Option, batch: int) -> Int64s:
    """Time of a batch of n at index n; index 0 is not used."""
    return np.array([0, *(option.service_ns(n) for n in range(1, batch + 1))], dtype=np.int64)


def rank(count: int, percentile: float) -> int:
    """Records that must be within a latency for it to be the percentile: the nearest rank, from 1."""
    return min(count, max(1, math.ceil(count * Fraction(repr(percentile)) / 100)))


def percentile_ns(latencies: Int64s, percentile: float) -> int:
    """The smallest latency that at least this percentage of the records stay within."""
    at = rank(len(latencies), percentile) - 1
    return int(np.partition(latencies, at)[at])
