"""What the simulator means, run by SimPy: one process a thread, one operation after the other.

`docs/simulator.md` is the meaning in words; this is the same in ordinary objects, to be read and, with `trace`, to be
stepped through.  Time and hosts are in `sim.reference_hosts`, threads and what they all do in `sim.reference_machine`,
broker and clients in `sim.reference_kafka`, exchanges, services and micro-batches in `sim.reference_families`; what
all these are made of is in `sim.reference_parts`.
The compiled loop (`sim.loop`) gives the same stamps, some hundred times faster.
"""

from __future__ import annotations

import numpy as np
import simpy

from analysis.columns import STAMP_COLUMNS
from sim import operations as op
from sim.execution import (
    ClientReading,
    ModelsReading,
    ReceiverReading,
    ServiceReading,
    SimulationError,
    StoreReading,
    ThreadReading,
)
from sim.reference_families import FamilyOperations
from sim.reference_hosts import State
from sim.reference_machine import Trace
from sim.reference_models import ModelOperations
from sim.system import Int64s, System


class ReferenceExecution(ModelOperations, FamilyOperations):
    """One run of a system under SimPy: a `sim.execution.Execution`."""

    def __init__(self, system: System, trace: Trace | None = None) -> None:
        super().__init__(system, trace)
        self._reached_ns = 0

    def advance(self, until_ns: int) -> None:
        """Takes every event before `until_ns`."""
        while (at := self._clock.env.peek()) < until_ns:
            self._clock.env.step()
        self._reached_ns = max(self._reached_ns, until_ns)
        if at == simpy.core.Infinity and self._acked < self.system.records:
            waits = [f"{t.name} at {op.OPERATION_NAMES[t.program[t.place][0]]}" for t in self._parts.threads]
            raise SimulationError("nothing is ready and nothing is timed: " + ", ".join(waits))

    def stamps(self) -> dict[str, Int64s]:
        """Full-resolution stamps by column, and partition, worker and batch; -1 where not reached."""
        columns = {**dict(zip(STAMP_COLUMNS, self._stamps, strict=True)), "partition": self._partition}
        columns |= {"worker": self._worker, "batch": self._batch}
        columns = {name: list(column) for name, column in columns.items()}
        for record, kept in self._shadows.items():
            for name in columns.keys() & kept.keys():
                columns[name][record] = kept[name]
        return {name: np.array(column, dtype=np.int64) for name, column in columns.items()}

    def acked(self) -> int:
        """Records acknowledged so far."""
        return self._acked

    def threads(self) -> list[ThreadReading]:
        """Counters of every thread now, work and waits under way included."""
        now = self._reached_ns
        return [
            ThreadReading(
                t.host.cpu(t, now),
                t.wait + (now - t.queued_at if t.state is State.QUEUED else 0),
                *(t.wakeups, t.polls, t.polls_empty, t.sleeps, t.coldness),
            )
            for t in self._parts.threads
        ]

    def producers(self) -> list[ClientReading]:
        """Produce requests of every producer client now."""
        return [ClientReading(p.requests) for p in self._parts.producers]

    def consumers(self) -> list[ClientReading]:
        """Fetch answers of every consumer client now."""
        return [ClientReading(c.answers, c.answers_empty) for c in self._parts.consumers]

    def services(self) -> list[ServiceReading]:
        """What every service did, and holds now."""
        return [
            ServiceReading(s.takes, s.taken, s.waited, s.dropped, s.late, len(s.queue), *s.cached)
            for s in self._parts.services
        ]

    def visits(self, service: int) -> Int64s:
        """When each record's last request came to a service that keeps it, was taken, went on: 3 rows, or -1."""
        found = np.full((3, self.system.records), -1, dtype=np.int64)
        for row, at in zip(found, self._parts.services[service].visits, strict=True):
            row[list(at)] = list(at.values())
        return found

    def lost(self) -> Int64s:
        """What became of each record that nobody answers: DROPPED, LATE, NO_MODEL, BAD, or 0."""
        lost = np.array(self._lost, dtype=np.int64)
        lost[list(self._shadows)] = 0
        return lost

    def models(self) -> ModelsReading | None:
        """What models did, where there are some that change."""
        models = self.system.models
        if models is None:
            return None
        scored = np.array([-1 if x is None else x.number for x in self._scored], dtype=np.int64)
        duplicates = np.array(self._duplicates, dtype=np.int64)
        for record, kept in self._shadows.items():
            scored[record] = kept["scored"]
            duplicates[record] += self._stamps[op.OUT_APPENDED][record] >= 0
        types = range(models.types)
        return ModelsReading(
            tuple(ReceiverReading(r.received, r.loaded, r.failed, r.restored) for r in self._receivers),
            tuple(
                StoreReading(
                    *(s.swaps, s.superseded, s.bytes, s.keeps),
                    tuple(s.current[k].number if k in s.current else -1 for k in types),
                )
                for s in self._stores
            ),
            np.array([y.stamps for y in self._deliveries], dtype=np.int64).reshape(-1, 4),
            scored,
            duplicates,
        )
