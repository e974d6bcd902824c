"""What an executor is: a system that can be advanced to an instant and read there.

`LoopExecution` runs the compiled loop; `sim.reference.ReferenceExecution` runs the same system under SimPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from analysis.columns import STAMP_COLUMNS
from control import cache
from sim import arena, layout, loop
from sim import operations as op
from sim.jit import JIT_OFF
from sim.system import Int64s, System


class SimulationError(Exception):
    """The simulated pipeline cannot go on; the message says where it stands."""


@dataclass(frozen=True, slots=True)
class ThreadReading:
    """Counters of one thread since the start: CPU and run-queue wait in ns."""

    cpu_ns: int
    wait_ns: int
    wakeups: int
    polls: int
    polls_empty: int
    sleeps: int
    coldness: int  # sum over its sleeps of how cold it came back, in 1/65536


@dataclass(frozen=True, slots=True)
class ClientReading:
    """Requests of one producer or consumer since the start."""

    requests: int
    empty: int = 0


@dataclass(frozen=True, slots=True)
class ServiceReading:
    """What one service did since the start."""

    takes: int  # batches
    taken: int  # requests
    waited_ns: int  # in the queue, of the requests taken
    dropped: int
    late: int
    queued: int  # now
    hits: int = 0  # answered from the cache
    misses: int = 0
    coalesced: int = 0  # answered with what was in flight
    evicted: int = 0


@dataclass(frozen=True, slots=True)
class ReceiverReading:
    """What one receiver of models did since the start."""

    received: int
    loaded: int
    failed: int
    restored: int


@dataclass(frozen=True, slots=True)
class StoreReading:
    """What one store of models did since the start, and holds now: by type the current delivery, -1 for none."""

    swaps: int
    superseded: int
    bytes: int  # kept
    keeps: int
    current: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ModelsReading:
    """Models that change.

    Attributes:
        receivers: By their number.
        stores: By their number.
        deliveries: A row each: received, load begun, load done, first used; -1 where not.
        scored: Of each record, the delivery that scored it, or -1.
        duplicates: Of each record, its surplus outputs.
    """

    receivers: tuple[ReceiverReading, ...]
    stores: tuple[StoreReading, ...]
    deliveries: Int64s
    scored: Int64s
    duplicates: Int64s


class Execution(Protocol):
    """One simulated run under way."""

    system: System

    def advance(self, until_ns: int) -> None:
        """Takes every event before `until_ns`."""

    def stamps(self) -> dict[str, Int64s]:
        """Full-resolution stamps by column, and partition, worker and batch; -1 where not reached."""

    def acked(self) -> int:
        """Records acknowledged so far."""

    def threads(self) -> list[ThreadReading]:
        """Counters of every thread now."""

    def producers(self) -> list[ClientReading]:
        """Produce requests of every producer client now."""

    def consumers(self) -> list[ClientReading]:
        """Fetch answers of every consumer client now."""

    def services(self) -> list[ServiceReading]:
        """What every service did, and holds now."""

    def visits(self, service: int) -> Int64s:
        """When each record's last request came to a service that keeps it, was taken, went on: 3 rows, or -1."""

    def lost(self) -> Int64s:
        """What became of each record that nobody answers: DROPPED, LATE, NO_MODEL, BAD, or 0."""

    def models(self) -> ModelsReading | None:
        """What models did, where there are some that change."""


class LoopExecution:
    """The compiled loop over one arena."""

    def __init__(self, system: System) -> None:
        self.system = system
        self._arena = layout.build(system)
        self._until_ns = 0
        if JIT_OFF:
            loop.start_arena(self._arena)
        else:
            loop.start(self._arena.ctypes.data)

    def _advance(self, until_ns: int) -> int:
        if JIT_OFF:
            return loop.advance_arena(self._arena, until_ns)
        return loop.advance(self._arena.ctypes.data, until_ns)

    def advance(self, until_ns: int) -> None:
        """Takes every event before `until_ns`."""
        self._until_ns = until_ns
        while (state := self._advance(until_ns)) == loop.GROW:
            self._arena = layout.grow(self._arena)
        if state == loop.DEADLOCK:
            raise deadlock(self)

    @property
    def events(self) -> int:
        """Events taken so far."""
        return int(self._arena[arena.G_EVENTS])

    def operation(self, i: int) -> int:
        """The operation that thread i stands at."""
        return self._thread(i, arena.T_PC)

    def _thread(self, i: int, field: int) -> int:
        return int(self._arena[self._arena[arena.G_THREADS] + i * arena.T_STRIDE + field])

    def stamps(self) -> dict[str, Int64s]:
        """Full-resolution stamps by column, and partition, worker and batch; -1 where not reached."""
        a, n = self._arena, self.system.records
        base = int(a[arena.G_STAMPS])
        for i in range(len(self.system.threads)):
            self._stamp_work_under_way(i, base)
        out = {name: a[base + i * n : base + (i + 1) * n] for i, name in enumerate(STAMP_COLUMNS)}
        for name, place in (("partition", arena.G_PARTITION), ("worker", arena.G_WORKER), ("batch", arena.G_BATCH)):
            out[name] = a[int(a[place]) : int(a[place]) + n]
        if self.system.models and self.system.models.kills:
            shadowed = np.flatnonzero(self._column(arena.MO_SHADOWED))
            for k, name in enumerate((*STAMP_COLUMNS, "worker", "batch")):
                out[name] = out[name].copy()
                out[name][shadowed] = self._column(arena.MO_SHADOW, k)[shadowed]
        return out

    def _models(self, place: int) -> int:
        return int(self._arena[self._arena[arena.G_MODELS] + place])

    def _column(self, place: int, k: int = 0) -> Int64s:
        base, n = self._models(place) + k * self.system.records, self.system.records
        return self._arena[base : base + n]

    def models(self) -> ModelsReading | None:
        """What models did, where there are some that change."""
        models, a, n = self.system.models, self._arena, self.system.records
        if models is None:
            return None
        scored, duplicates = self._column(arena.MO_SCORED).copy(), np.zeros(n, dtype=np.int64)
        if models.kills:
            shadowed = np.flatnonzero(self._column(arena.MO_SHADOWED))
            again = a[a[arena.G_STAMPS] + op.OUT_APPENDED * n + shadowed] >= 0
            duplicates[shadowed] = self._column(arena.MO_DUPLICATES)[shadowed] + again
            scored[shadowed] = self._column(arena.MO_SHADOW, op.STAMPS + 2)[shadowed]
        receivers, stores = [], []
        for k in range(len(models.receivers)):
            rv = self._models(arena.MO_RECEIVERS) + k * arena.RV_STRIDE
            receivers.append(ReceiverReading(*(int(x) for x in a[rv + arena.RV_RECEIVED : rv + arena.RV_STRIDE])))
        for k in range(len(models.owners)):
            st = self._models(arena.MO_STORES) + k * arena.ST_STRIDE
            table = int(a[st + arena.ST_TABLE])
            current = a[table : table + models.types * arena.MODEL_PLACES : arena.MODEL_PLACES]
            swaps, superseded, size, keeps = (int(x) for x in a[st + arena.ST_SWAPS : st + arena.ST_TABLE])
            stores.append(StoreReading(swaps, superseded, size, keeps, tuple(current.tolist())))
        count, base = sum(len(r.deliveries) for r in models.receivers), self._models(arena.MO_DELIVERIES)
        rows = a[base : base + count * arena.Y_STRIDE].reshape(count, arena.Y_STRIDE)[:, arena.Y_CAME :]
        return ModelsReading(tuple(receivers), tuple(stores), rows.copy(), scored, duplicates)

    def _stamp_work_under_way(self, i: int, stamps: int) -> None:
        """Sets the stamps inside a running thread's work that fell due before the instant reached."""
        if self._thread(i, arena.T_STATE) != arena.RUNNING:
            return
        for k in range(self._thread(i, arena.T_MARK), self._thread(i, arena.T_MARKS)):
            due = (
                self._thread(i, arena.T_RUN0)
                + self._thread(i, arena.T_REMAINING)
                - self._thread(i, arena.T_MARK_LEFT + k)
            )
            column = self._thread(i, arena.T_MARK_STAMP + k)
            if due < self._until_ns and column != arena.NONE:
                length = int(self._arena[arena.G_COLUMN])
                self._arena[stamps + column * length + self._thread(i, arena.T_RECORD)] = due

    def acked(self) -> int:
        """Records acknowledged so far."""
        return int(self._arena[arena.G_ACKED_N])

    def threads(self) -> list[ThreadReading]:
        """Counters of every thread now; work and waits under way count up to the instant reached."""
        now = int(self._arena[arena.G_NOW])
        out = []
        for i in range(len(self.system.threads)):
            cpu, wait = self._thread(i, arena.T_CPU), self._thread(i, arena.T_WAIT)
            state = self._thread(i, arena.T_STATE)
            if self._thread(i, arena.T_SHARES):
                cpu += self._shared_work(i, now)
            elif state == arena.RUNNING:
                cpu += now - self._thread(i, arena.T_RUN0)
            elif state == arena.QUEUED:
                wait += now - self._thread(i, arena.T_READY0)
            out.append(
                ThreadReading(
                    cpu,
                    wait,
                    self._thread(i, arena.T_WAKES),
                    self._thread(i, arena.T_POLLS),
                    self._thread(i, arena.T_POLLS_EMPTY),
                    self._thread(i, arena.T_SLEEPS),
                    self._thread(i, arena.T_COLD),
                )
            )
        return out

    def _shared_work(self, i: int, now: int) -> int:
        """What a thread has done of its work on a host that shares its cores evenly."""
        a, work = self._arena, self._thread(i, arena.T_REMAINING)
        if work == 0:
            return 0
        host = int(a[arena.G_HOSTS]) + self._thread(i, arena.T_HOST) * arena.H_STRIDE
        share = int(a[a[host + arena.H_SHARES] + a[host + arena.H_N]])
        virtual = int(a[host + arena.H_VIRTUAL]) + (now - int(a[host + arena.H_SINCE])) * share
        began = self._thread(i, arena.T_FINISH) - (work << arena.SHARE_BITS)
        return min(work, (virtual - began) >> arena.SHARE_BITS)

    def producers(self) -> list[ClientReading]:
        """Produce requests of every producer client now."""
        base = int(self._arena[arena.G_PRODUCERS])
        return [
            ClientReading(int(self._arena[base + k * arena.P_STRIDE + arena.P_REQUESTS]))
            for k in range(len(self.system.producers))
        ]

    def consumers(self) -> list[ClientReading]:
        """Fetch answers of every consumer client now."""
        base = int(self._arena[arena.G_CONSUMERS])
        return [
            ClientReading(
                int(self._arena[base + k * arena.C_STRIDE + arena.C_FETCHES]),
                int(self._arena[base + k * arena.C_STRIDE + arena.C_EMPTY]),
            )
            for k in range(len(self.system.consumers))
        ]

    def services(self) -> list[ServiceReading]:
        """What every service did, and holds now."""
        fields = (arena.S_TAKES, arena.S_TAKEN, arena.S_WAITED, arena.S_DROPPED, arena.S_LATE, arena.S_N)
        found = []
        for k in range(len(self.system.services)):
            b, c = self._service(k), int(self._arena[self._service(k) + arena.S_CACHE])
            counts = cache.counts(self._arena, c) if c != arena.NONE else ()
            found.append(ServiceReading(*(int(self._arena[b + x]) for x in fields), *counts))
        return found

    def visits(self, service: int) -> Int64s:
        """When each record's last request came to a service that keeps it, was taken, went on: 3 rows, or -1."""
        base, n = int(self._arena[self._service(service) + arena.S_VISITS]), self.system.records
        return self._arena[base : base + arena.VISITS * n].reshape(arena.VISITS, n)

    def lost(self) -> Int64s:
        """What became of each record that nobody answers: DROPPED, LATE, NO_MODEL, BAD, or 0."""
        base = int(self._arena[arena.G_LOST])
        if base == arena.NONE:
            return np.zeros(self.system.records, dtype=np.int64)
        lost = self._arena[base : base + self.system.records]
        if self.system.models and self.system.models.kills:
            lost = np.where(self._column(arena.MO_SHADOWED) == 1, 0, lost)
        return lost

    def _service(self, k: int) -> int:
        return int(self._arena[arena.G_SERVICES]) + k * arena.S_STRIDE


def deadlock(execution: LoopExecution) -> SimulationError:
    """What is said of a pipeline that cannot go on."""
    waits = [f"{t.name} at operation {execution.operation(i)}" for i, t in enumerate(execution.system.threads)]
    return SimulationError("nothing is ready and nothing is timed: " + ", ".join(waits))


__all__ = [
    "ClientReading",
    "Execution",
    "LoopExecution",
    "ModelsReading",
    "ReceiverReading",
    "ServiceReading",
    "SimulationError",
    "StoreReading",
    "ThreadReading",
    "deadlock",
]
