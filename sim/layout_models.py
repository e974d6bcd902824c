"""Lays models that change out in the arena of the compiled loop."""

from __future__ import annotations

from typing import Protocol

from sim.arena import *  # the named offsets are this module's vocabulary
from sim.system import Models, System, present

POLICIES = ("latest", "earliest", "snapshot")


class Room(Protocol):
    """Places in an arena that is not there yet."""

    def take(self, count: int) -> int:
        """The base of so many integers more."""


class Places:
    """Where everything of a system's models stands."""

    def __init__(self, room: Room, system: System) -> None:
        models, n = present(system.models), system.records
        stores, receivers = len(models.owners), models.receivers
        self.base = room.take(MO_SIZE)
        self.known = {
            MO_THREADS: room.take(len(system.threads) * W_STRIDE),
            MO_STORES: room.take(stores * ST_STRIDE),
            MO_STORES_N: stores,
            MO_RECEIVERS: room.take(len(receivers) * RV_STRIDE),
            MO_RECEIVERS_N: len(receivers),
            MO_DELIVERIES: room.take(sum(len(r.deliveries) for r in receivers) * Y_STRIDE),
            MO_TYPES: models.types,
            MO_TYPE: room.take(n),
            MO_STORE_OF: room.take(system.partitions),
            MO_SCORED: room.take(n),
            MO_RESTORE: POLICIES.index(models.restore),
            MO_KEEP_EVERY: models.keep_every_ns,
            MO_COMMIT_EVERY: models.commit_every_ns,
            MO_COMMITTED: room.take(system.partitions),
            MO_SHADOW: room.take(SHADOWS * n) if models.kills else NONE,
            MO_SHADOWED: room.take(n) if models.kills else NONE,
            MO_DUPLICATES: room.take(n) if models.kills else NONE,
            MO_EXACTLY: int(models.exactly_once),
        }
        self.tables = [room.take(models.types * MODEL_PLACES) for _ in models.owners]

    def fill(self, a: Arena, system: System) -> None:
        """Puts it all into an arena of zeros."""
        models, n, known = present(system.models), system.records, self.known
        for place, value in known.items():
            a[self.base + place] = value
        a[known[MO_TYPE] : known[MO_TYPE] + n] = models.type
        a[known[MO_SCORED] : known[MO_SCORED] + n] = NONE
        a[known[MO_STORE_OF] : known[MO_STORE_OF] + system.partitions] = models.store
        for t in range(len(system.threads)):
            w = known[MO_THREADS] + t * W_STRIDE
            for place in (W_INBOX, W_INBOX_TAIL, W_MODEL, W_UP_AT, W_RECEIVER):
                a[w + place] = NONE
            a[w + W_KEEP_DUE], a[w + W_COMMIT_DUE] = models.keep_every_ns, models.commit_every_ns
        for s, owner in enumerate(models.owners):
            st, table = known[MO_STORES] + s * ST_STRIDE, self.tables[s]
            a[st : st + ST_STRIDE] = (owner, 0, 0, 0, 0, table)
            a[table : table + models.types * MODEL_PLACES] = NONE
        self._receivers(a, models)

    def _receivers(self, a: Arena, models: Models) -> None:
        first = 0
        for k, x in enumerate(models.receivers):
            rv = self.known[MO_RECEIVERS] + k * RV_STRIDE
            a[rv : rv + RV_CURSOR] = (x.client, x.application, x.loader, x.store, first, len(x.deliveries))
            a[self.known[MO_THREADS] + x.client * W_STRIDE + W_RECEIVER] = k
            for d, y in enumerate(x.deliveries, first):
                b = self.known[MO_DELIVERIES] + d * Y_STRIDE
                a[b : b + Y_CAME] = (y.at_ns, y.model, y.type, int(y.fails), y.message_bytes, y.size_bytes, k, NONE)
                a[b + Y_CAME : b + Y_STRIDE] = NONE
            first += len(x.deliveries)
