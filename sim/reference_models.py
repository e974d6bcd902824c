"""The reference's models that change, what is kept of them, and workers that are killed and start again.

`docs/simulator.md` says it in words, section "Models that change, and workers that are killed".
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from analysis.columns import STAMP_COLUMNS
from sim import operations as op
from sim import system as spec
from sim.reference_hosts import State
from sim.reference_kafka import KafkaOperations
from sim.reference_machine import Outcome, Trace
from sim.reference_parts import Log, Thread, present
from sim.system import System


@dataclass(eq=False)
class Delivery:
    """A model that comes to a receiver, and what became of it."""

    number: int
    settings: spec.Delivery
    receiver: Receiver
    came: int = -1
    begun: int = -1
    done: int = -1
    swapped: int = -1

    @property
    def stamps(self) -> tuple[int, int, int, int]:
        """Received, load begun, load done, first used."""
        return self.came, self.begun, self.done, self.swapped


@dataclass(eq=False)
class Store:
    """Who holds models: by type the current one, the one that waits, and what was kept of them."""

    owner: Thread
    current: dict[int, Delivery] = field(default_factory=dict)
    waiting: dict[int, Delivery] = field(default_factory=dict)
    kept: dict[int, Delivery] = field(default_factory=dict)
    receivers: list[Receiver] = field(default_factory=list)
    swaps: int = 0
    superseded: int = 0
    bytes: int = 0
    keeps: int = 0

    def write(self, size: int) -> None:
        """So many bytes are kept, and how far its receivers are."""
        self.bytes += size
        self.keeps += 1
        for receiver in self.receivers:
            receiver.kept = receiver.handled


@dataclass(eq=False)
class Receiver:
    """A thread that reads models for a store."""

    client: Thread
    application: Thread
    loader: Thread
    store: Store
    deliveries: list[Delivery] = field(default_factory=list)
    cursor: int = 0
    handled: int = 0
    kept: int = 0
    received: int = 0
    loaded: int = 0
    failed: int = 0
    restored: int = 0


@dataclass(eq=False)
class Own:
    """What a thread knows of models and faults."""

    inbox: deque[Delivery] = field(default_factory=deque)
    model: Delivery | None = None  # at hand
    swapped: bool = False
    size: int = 0  # kept last
    keeps: int = 0
    keep_due: int = 0
    commit_due: int = 0
    struck: bool = False
    down: bool = False
    up_at: int | None = None
    receiver: Receiver | None = None


class ModelOperations(KafkaOperations):
    """The operations of threads that receive, load, use and keep models, and of those that are killed."""

    def __init__(self, system: System, trace: Trace | None = None) -> None:
        super().__init__(system, trace)
        self._changing = system.models
        self._scored: list[Delivery | None] = [None] * system.records
        self._duplicates = [0] * system.records
        self._shadows: dict[int, dict[str, int]] = {}
        if system.models is None:
            return
        models, threads = system.models, self._parts.threads
        self._own = {t: Own(keep_due=models.keep_every_ns, commit_due=models.commit_every_ns) for t in threads}
        self._stores = [Store(threads[i]) for i in models.owners]
        self._receivers: list[Receiver] = []
        self._deliveries: list[Delivery] = []
        for x in models.receivers:
            receiver = Receiver(threads[x.client], threads[x.application], threads[x.loader], self._stores[x.store])
            receiver.deliveries = [Delivery(len(self._deliveries) + i, y, receiver) for i, y in enumerate(x.deliveries)]
            self._deliveries += receiver.deliveries
            self._receivers.append(receiver)
            receiver.store.receivers.append(receiver)
            self._own[receiver.client].receiver = receiver
        self._type = models.type.tolist()

    # ------------------------------------------------------------ models

    def _is_down(self, t: Thread) -> bool:
        return self._changing is not None and self._own[t].down

    def _wake_restart(self, t: Thread) -> None:
        if t.program[t.place][0] == op.RESTART:
            self._signal(t)

    def _is_called(self, t: Thread) -> bool:
        return self._own[t].struck or bool(self._own[t].inbox)

    def _model_arrive(self, me: Thread, *_: int) -> Outcome:
        receiver = present(self._own[me].receiver)
        if self._is_down(receiver.application):
            outcome = self._wait(me)
            self._wake_restart(receiver.application)
            return outcome
        if receiver.cursor == len(receiver.deliveries):
            return self._wait(me)
        found = receiver.deliveries[receiver.cursor]
        if found.settings.at_ns > self._clock.now:
            return self._wait(me, found.settings.at_ns)
        receiver.cursor += 1
        receiver.received += 1
        found.came = self._clock.now
        self._own[me].model = found
        return None

    def _model_hand(self, me: Thread, *_: int) -> Outcome:
        receiver = present(self._own[me].receiver)
        if self._is_down(receiver.application):
            return None
        loader = receiver.loader
        self._own[loader].inbox.append(present(self._own[me].model))
        if loader is not me and loader.program[loader.place][0] == op.POLL:
            self._signal(loader)
        return None

    def _model_next(self, me: Thread, to: int, *_: int) -> Outcome:
        own = self._own[me]
        if not own.inbox:
            return None
        own.model = own.inbox.popleft()
        own.model.begun = self._clock.now
        return to

    def _model_loaded(self, me: Thread, *_: int) -> Outcome:
        found = present(self._own[me].model)
        receiver, kind = found.receiver, found.settings.type
        if self._is_down(receiver.application):
            return None
        found.done = self._clock.now
        place = receiver.deliveries.index(found)
        again = place < receiver.handled
        receiver.handled = max(receiver.handled, place + 1)
        if found.settings.fails:
            receiver.failed += 1
            return None
        receiver.restored += again
        receiver.loaded += not again
        receiver.store.superseded += kind in receiver.store.waiting
        receiver.store.waiting[kind] = found
        return None

    def _pick(self, me: Thread, to: int, *_: int) -> Outcome:
        number = present(self._changing).store[self._partition[me.record]]
        kind = self._type[me.record]
        store = self._stores[number] if number >= 0 else None
        if store and kind in store.waiting:
            store.current[kind] = found = store.waiting.pop(kind)
            store.swaps += 1
            found.swapped = self._clock.now
            self._own[me].swapped = True
        if store and kind in store.current:
            self._scored[me.record] = store.current[kind]
            return None
        self._lost[me.record] = op.BAD if kind < 0 else op.NO_MODEL
        self._acked += 1
        return to

    # ------------------------------------------------------------ what is kept

    def _keep(self, me: Thread, what: int, to: int, *_: int) -> Outcome:
        own, now = self._own[me], self._clock.now
        if what == op.OF_ALL:
            if now < own.keep_due:
                return to
            own.keep_due = now + present(self._changing).keep_every_ns
            size = sum(self._keep_all(store) for store in self._stores if store.owner is me)
        else:
            found = present(self._scored[me.record] if what == op.OF_RECORD else own.model)
            store, size = found.receiver.store, found.settings.size_bytes
            there = what == op.OF_MODEL and store.kept.get(found.settings.type) is found
            if found.settings.fails or there or self._is_down(found.receiver.application):
                return to
            store.kept[found.settings.type] = found
            store.write(size)
        if not size:
            return to
        own.size = size
        own.keeps += 1
        return None

    def _keep_all(self, store: Store) -> int:
        store.kept |= store.current | store.waiting
        size = sum(x.settings.size_bytes for held in (store.current, store.waiting) for x in held.values())
        if size:
            store.write(size)
        return size

    # ------------------------------------------------------------ costs

    def _model_of(self, me: Thread, source: int) -> Delivery:
        return present(self._own[me].model if source == op.MODEL else self._scored[me.record])

    def _model_counts(self, me: Thread, source: int) -> tuple[int, int] | None:
        """Bytes and entity of a CPU operation for a model; None: there is nothing to do."""
        own = self._own[me]
        if source == op.KEPT:
            return own.size, own.keeps - 1
        found = self._model_of(me, source)
        if source == op.MODEL:
            return found.settings.message_bytes, found.number
        swapped, own.swapped = own.swapped, False
        return (0, found.number) if swapped else None

    # ------------------------------------------------------------ faults

    def _strike(self, me: Thread, number: int, after: int, *_: int) -> Outcome:
        target = self._parts.threads[number]
        own = self._own[target]
        if not own.down and not own.struck:
            own.struck = True
            own.up_at = None if after == op.NEVER else self._clock.now + after
            if target.program[target.place][0] == op.POLL:
                self._signal(target)
        return None

    def _dies(self, me: Thread, to: int, *_: int) -> Outcome:
        return to if self._own[me].struck else None

    def _crash(self, me: Thread, *_: int) -> Outcome:
        own, producer = self._own[me], present(me.producer)
        if not me.polled and not me.outstanding and self._clock.now >= own.commit_due:
            self._offsets(me)
        own.struck, own.down, own.swapped = False, True, False
        own.inbox.clear()
        me.polled.clear()
        me.outstanding = 0
        producer.deliveries.clear()
        for lane in producer.lanes:
            lane.records.clear()
        for store in self._stores:
            if store.owner is me:
                store.current.clear()
                store.waiting.clear()
        return None

    def _is_idle(self, t: Thread, code: int) -> bool:
        return t.state is State.BLOCKED and t.program[t.place][0] == code

    def _restart(self, me: Thread, *_: int) -> Outcome:
        own, consumer, now = self._own[me], present(me.consumer), self._clock.now
        if own.up_at is None:
            return self._wait(me)
        if now < own.up_at:
            return self._wait(me, own.up_at)
        mine = [receiver for receiver in self._receivers if receiver.application is me]
        idle = all(self._is_idle(receiver.client, op.MODEL_ARRIVE) for receiver in mine)
        if present(me.producer).in_flight or not idle or not self._is_idle(consumer.client, op.FETCH_SEND):
            return self._wait(me)
        models = present(self._changing)
        own.down, own.commit_due, own.keep_due = False, now + models.commit_every_ns, now + models.keep_every_ns
        me.timed_out, consumer.turn = False, 0
        for log in consumer.logs:
            self._go_back(log)
        self._restore(me, mine)
        for t in (consumer.client, *(receiver.client for receiver in mine)):
            self._signal(t)
        return None

    def _go_back(self, log: Log) -> None:
        """A partition is read again from what was committed."""
        for record in log.records[log.committed : log.handled]:
            self._forget(record)
        log.queue.clear()
        log.handled = at = log.committed
        before = log.fetched = 0
        while log.fetched < len(log.batches) and before + len(log.batches[log.fetched]) <= at:
            before += len(log.batches[log.fetched])
            log.fetched += 1
        if before < at:  # what is left of a batch is one of its own
            batch = log.batches[log.fetched]
            log.batches[log.fetched : log.fetched + 1] = [batch[: at - before], batch[at - before :]]
            log.fetched += 1

    def _forget(self, record: int) -> None:
        """A record is read again: what it left is kept if it was answered, and it is under way again."""
        stamps = self._stamps
        if self._lost[record] or stamps[op.ACKED][record] >= 0:
            self._acked -= 1
            self._lost[record] = 0
        if stamps[op.OUT_APPENDED][record] >= 0 and not present(self._changing).exactly_once:
            by = self._scored[record]
            if record in self._shadows:
                self._duplicates[record] += 1
            else:
                kept = {name: column[record] for name, column in zip(STAMP_COLUMNS, stamps, strict=True)}
                kept |= {"worker": self._worker[record], "batch": self._batch[record]}
                self._shadows[record] = {**kept, "scored": by.number if by else -1}
        for column in stamps[op.FETCHED :]:
            column[record] = -1
        self._worker[record] = self._batch[record] = -1
        self._scored[record] = None

    def _restore(self, me: Thread, mine: list[Receiver]) -> None:
        policy = present(self._changing).restore
        for receiver in mine:
            at = receiver.kept if policy == "snapshot" else 0
            if policy == "latest":
                at = sum(x.settings.at_ns <= self._clock.now for x in receiver.deliveries)
            receiver.cursor = receiver.handled = at
        for store in self._stores if policy == "snapshot" else ():
            if store.owner is me:
                self._own[me].inbox.extend(store.kept[kind] for kind in sorted(store.kept))

    def _offsets_due(self, me: Thread, to: int, *_: int) -> Outcome:
        return to if self._clock.now < self._own[me].commit_due else None

    def _offsets(self, me: Thread, *_: int) -> Outcome:
        self._own[me].commit_due = self._clock.now + present(self._changing).commit_every_ns
        for log in present(me.consumer).logs:
            log.committed = log.handled
        return None
