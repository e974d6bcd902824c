"""The reference's machine: threads that run programs, wait and wake up, burn CPU, send messages.

One SimPy process a thread, one operation after the other.  What the parts of a pipeline do with it is in
`sim.reference_kafka` and `sim.reference_families`; `docs/simulator.md` says it in words.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Protocol

import simpy

from analysis.columns import STAMP_COLUMNS
from scenarios.draws import PURPOSE_CPU, PURPOSE_NETWORK, PURPOSE_WAKE, TABLE_SIZE, draw, quantile
from sim import operations as op
from sim.costs import BACKGROUND_PARTS, CPU_COSTS
from sim.reference_hosts import DELIVER, WAKE, Clock, State
from sim.reference_layout import lay_out
from sim.reference_parts import Message, Request, Thread, present
from sim.system import COLD_STEP_BITS, COST_BITS, INPUT, OUTPUT, RESIDUAL_BITS, Delivery, System

#: What an operation did.  None: the next one follows; a number: it jumped to that place; or one of these.
Outcome = int | None
WAITS = -1  # the thread is blocked, and executes the operation again when it runs next
WORKS = -2  # the next one follows when the work is done
HALTS = -3

#: Told of every operation executed: the time, the thread's name, the operation.
Trace = Callable[[int, str, str], None]
COST_NAMES = (*CPU_COSTS, *(f"background.{part}" for part in BACKGROUND_PARTS))


class HasModel(Protocol):
    """A delivery of a model."""

    @property
    def settings(self) -> Delivery:
        """What the system says of it."""


class Machine:
    """A system's parts, and the operations that any thread has."""

    def __init__(self, system: System, trace: Trace | None = None) -> None:
        self.system = system
        self._trace = trace
        self._clock = Clock()
        self._wake, self._timer, self._network = (t.tolist() for t in (system.wake, system.timer, system.network))
        self._coldness = system.cold.tolist()
        self._residuals = [None if c.residual is None else c.residual.tolist() for c in system.costs]
        self._stamps = [[-1] * system.records for _ in STAMP_COLUMNS]
        self._stamps[op.CREATED] = system.created.tolist()
        for column in (op.SENT, op.APPENDED):
            self._stamps[column][: system.backlog] = [0] * system.backlog
        self._partition = system.partition.tolist()
        self._worker, self._batch = [-1] * system.records, [-1] * system.records
        self._lost = [0] * system.records
        self._acked = 0
        self._parts = lay_out(system, self._clock, self._stamps)
        self._operations: list[Callable[..., Outcome]] = [
            getattr(self, f"_{name.lower()}") for name in op.OPERATION_NAMES
        ]
        for t in self._parts.threads:
            self._clock.env.process(self._life(t))
            self._clock.at_unless_stale(0, WAKE, t, self._wakes)

    # ------------------------------------------------------------ threads, waiting and wake-ups

    def _life(self, me: Thread) -> Generator[simpy.Event, None, None]:
        """The process of one thread: it executes operations while it holds a core, and waits to go on otherwise."""
        yield me.process
        while True:
            code, *operands = me.program[me.place]
            outcome = self._operations[code](me, *operands)
            if self._trace:
                self._trace(self._clock.now, me.name, self._text(me, code, operands[0], outcome))
            if outcome is None or outcome == WORKS:
                me.place += 1
            elif outcome >= 0:
                me.place = outcome
            if outcome in (WAITS, HALTS):
                me.host.release(me)
            if outcome in (WAITS, WORKS):
                me.process = self._clock.env.event()
                yield me.process
            if code not in (op.CPU, op.STAMP) or outcome == WORKS:  # see Thread.step_back
                me.worked, me.fresh = outcome == WORKS, []
            if outcome == HALTS:
                return

    def _text(self, me: Thread, code: int, operand: int, outcome: Outcome) -> str:
        text = op.OPERATION_NAMES[code]
        if code == op.CPU:
            name = COST_NAMES[operand] if operand < len(COST_NAMES) else f"cost {operand}"
            text += f" {name} {me.remaining if outcome == WORKS else 0} ns"
        elif code == op.STAMP:
            text += f" {STAMP_COLUMNS[operand]}"
        return f"{text}, waits" if outcome == WAITS else text

    def _wakes(self, t: Thread) -> None:
        """WAKE: if the thread is still blocked, nobody signalled it, and its timed wait is over."""
        t.timed_out = t.state is State.BLOCKED
        t.wakeups += 1
        if t.signalled_at is not None:  # the kernel's run-queue wait counts from the signal, too
            t.wait += self._clock.now - t.signalled_at
            t.signalled_at = None
        t.host.ready(t)

    def _wake_latency(self, t: Thread, table: list[int]) -> int:
        return quantile(table, draw(self.system.seed, t.number, t.wakeups, PURPOSE_WAKE, 0))

    def _signal(self, t: Thread) -> None:
        if t.state is not State.BLOCKED:
            return
        t.state = State.WAKING
        t.generation += 1
        t.signalled_at = self._clock.now
        self._clock.at_unless_stale(t.signalled_at + self._wake_latency(t, self._wake), WAKE, t, self._wakes)

    def _wait(self, me: Thread, until: int | None = None) -> Outcome:
        """Blocks the thread at hand until it is signalled, or until a time."""
        me.state, me.due, me.timed_out = State.BLOCKED, until, False
        me.sleeps_unpaid += 1
        if me.home.has_worked:
            me.home.has_worked, me.home.idle_since = False, self._clock.now
        if until is not None:
            at = max(until, self._clock.now) + self._wake_latency(me, self._timer)
            self._clock.at_unless_stale(at, WAKE, me, self._wakes)
        return WAITS

    # ------------------------------------------------------------ control

    def _halt(self, me: Thread, *_: int) -> Outcome:
        me.state = State.HALTED
        return HALTS

    def _jump(self, me: Thread, to: int, *_: int) -> Outcome:
        return to

    def _sleep(self, me: Thread, ns: int, *_: int) -> Outcome:
        if not me.timed_out:
            return self._wait(me, self._clock.now + ns)
        me.timed_out = False
        return None

    def _arrive(self, me: Thread, end: int, *_: int) -> Outcome:
        record = me.record + len(self.system.generators)
        if record >= self.system.records:
            return end
        if self._stamps[op.CREATED][record] > self._clock.now:
            me.sleeps += 1
            return self._wait(me, self._stamps[op.CREATED][record])
        me.record = record
        return None

    def _stamp(self, me: Thread, column: int, of: int, *_: int) -> Outcome:
        if of == op.ONE:
            self._stamps[column][me.record] = self._clock.now
            if me.worked:
                me.fresh.append((me.place, self._stamps[column]))
            return None
        if of == op.OF_POLL:
            records, batch = list(me.polled), me.polls - 1
        else:
            records, batch = present(me.task).records, present(self._parts.micro_batch).plans - 1
        for record in records:
            self._stamps[column][record] = self._clock.now
            self._worker[record], self._batch[record] = me.index, batch
        return None

    # ------------------------------------------------------------ CPU work

    def _cpu(self, me: Thread, cost: int, source: int, variant: int) -> Outcome:
        work = self._work(me, cost, source, variant)
        if work == 0:
            return None
        me.host.work(me, work)
        return WORKS

    def _work(self, me: Thread, cost: int, source: int, variant: int) -> int:
        """The ns of one CPU operation: what it costs on counts, times the residual drawn for its entity."""
        batches = records = points = size = 0
        if source in (op.RECORD_IN, op.RECORD_OUT):
            records, points, entity = 1, self.system.points, me.record
            size = self.system.record_bytes[INPUT if source == op.RECORD_IN else OUTPUT]
        elif source == op.MESSAGE:
            m = present(me.message)
            batches, records, size = len(m.batches), m.records, m.size
            entity = m.batches[0][1][0] if m.kind == op.PRODUCE else present(m.client.consumer).answers
            if variant == op.FETCH_OR_EMPTY and records == 0:
                cost += 1
        elif source == op.POLLED:
            records, entity = len(me.polled), me.polls - 1
            size = records * present(me.consumer).logs[0].record_bytes
        elif source == op.TAKEN:
            batches, records, entity = 1, len(me.taken), me.taken[0].record + (me.taken[0].hops << 32)
            points, size = records * self.system.points, records * self.system.record_bytes[INPUT]
            if variant == op.BY_SIZE:
                settings, ordinal = me.taken[0].service.settings, me.tasks - 1
                cost += records - 1 if ordinal >= settings.first_batches else settings.batch_records + ordinal
        elif source in (op.MODEL, op.SWAPPED, op.KEPT):
            counts = self._model_counts(me, source)
            if counts is None:
                return 0
            size, entity = counts
        elif source == op.TASK_RECORDS:
            batches, records, entity = 1, len(present(me.task).records), me.tasks - 1
            size = records * self.system.record_bytes[INPUT]
        else:
            entity = me.wakeups
        if variant == op.BY_MODEL:
            cost += self._model_of(me, source).settings.model
        c, residual = self.system.costs[cost], self._residuals[cost]
        fixed = c.fixed
        if source == op.AFTER_SLEEP:
            if not me.sleeps_unpaid:
                return 0
            gap = min((self._clock.now - me.home.idle_since) >> COLD_STEP_BITS, TABLE_SIZE - 1)
            fixed = fixed * me.sleeps_unpaid + ((c.cold * self._coldness[gap]) >> RESIDUAL_BITS)
            me.sleeps_unpaid = 0
            me.coldness += self._coldness[gap]
        elif source != op.WAKES:
            me.home.has_worked = True
        work = (fixed + c.batch * batches + c.record * records + c.point * points + c.byte * size) >> COST_BITS
        if residual is None:
            return work
        factor = quantile(residual, draw(self.system.seed, me.number, entity, PURPOSE_CPU, cost))
        return (work * factor) >> RESIDUAL_BITS

    def _model_counts(self, me: Thread, source: int) -> tuple[int, int] | None:
        raise NotImplementedError

    def _model_of(self, me: Thread, source: int) -> HasModel:
        raise NotImplementedError

    # ------------------------------------------------------------ messages

    def _send(self, me: Thread, m: Message, not_before: int) -> int:
        """Sends a message, which arrives no earlier than the one before it; returns when."""
        latency = quantile(self._network, draw(self.system.seed, me.number, me.sent, PURPOSE_NETWORK, 0))
        me.sent += 1
        arrival = max(self._clock.now + latency, not_before)
        self._clock.at(arrival, DELIVER, me, lambda: self._arrives(m))
        return arrival

    def _arrives(self, m: Message) -> None:
        """DELIVER: an answer at who asked, or a request at who is to answer it."""
        if m.is_answer:
            m.client.mailbox.append(m)
            self._signal(m.client)
        elif isinstance(m, Request):
            self._arrives_at_service(m)
        else:
            self._arrives_at_broker(m)

    def _arrives_at_broker(self, m: Message) -> None:
        raise NotImplementedError

    def _arrives_at_service(self, m: Request) -> None:
        raise NotImplementedError
