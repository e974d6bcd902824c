"""What the simulator means, run by SimPy: one process a thread, one operation after the other.

`docs/simulator.md` is the meaning in words; this is the same in ordinary objects, to be read and, with `trace`, to be
stepped through.  Time and hosts are in `sim.reference_hosts`, logs, clients and messages in `sim.reference_parts`.
The compiled loop (`sim.loop`) gives the same stamps, some hundred times faster.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator

import numpy as np
import simpy

from analysis.columns import STAMP_COLUMNS
from scenarios.draws import PURPOSE_CPU, PURPOSE_NETWORK, PURPOSE_WAKE, TABLE_SIZE, draw, quantile
from sim import operations as op
from sim.costs import BACKGROUND_PARTS, CPU_COSTS
from sim.execution import ClientReading, SimulationError, ThreadReading
from sim.reference_hosts import DELIVER, TIMER, WAKE, Clock, State
from sim.reference_parts import Message, Thread, lay_out, present
from sim.system import COLD_STEP_BITS, COST_BITS, INPUT, OUTPUT, RESIDUAL_BITS, Int64s, System

#: What an operation did.  None: the next one follows; a number: it jumped to that place; or one of these.
Outcome = int | None
WAITS = -1  # the thread is blocked, and executes the operation again when it runs next
WORKS = -2  # the next one follows when the work is done
HALTS = -3

#: Told of every operation executed: the time, the thread's name, the operation.
Trace = Callable[[int, str, str], None]
COST_NAMES = (*CPU_COSTS, *(f"background.{part}" for part in BACKGROUND_PARTS))


class ReferenceExecution:
    """One run of a system under SimPy: a `sim.execution.Execution`."""

    def __init__(self, system: System, trace: Trace | None = None) -> None:
        self.system = system
        self._trace = trace
        self._clock = Clock()
        self._reached_ns = 0
        self._wake, self._timer, self._network = (t.tolist() for t in (system.wake, system.timer, system.network))
        self._coldness = system.cold.tolist()
        self._residuals = [None if c.residual is None else c.residual.tolist() for c in system.costs]
        self._stamps = [[-1] * system.records for _ in STAMP_COLUMNS]
        self._stamps[op.CREATED] = system.created.tolist()
        for column in (op.SENT, op.APPENDED):
            self._stamps[column][: system.backlog] = [0] * system.backlog
        self._partition = system.partition.tolist()
        self._worker, self._batch = [-1] * system.records, [-1] * system.records
        self._acked = 0
        parts = lay_out(system, self._clock, self._stamps)
        self._threads, self._producers, self._consumers = parts.threads, parts.producers, parts.consumers
        self._brokers = parts.brokers
        self._requests: deque[Message] = deque()
        self._operations: list[Callable[..., Outcome]] = [
            getattr(self, f"_{name.lower()}") for name in op.OPERATION_NAMES
        ]
        for t in self._threads:
            self._clock.env.process(self._life(t))
            self._clock.at_unless_stale(0, WAKE, t, self._wakes)

    # ------------------------------------------------------------ a run

    def advance(self, until_ns: int) -> None:
        """Takes every event before `until_ns`."""
        while (at := self._clock.env.peek()) < until_ns:
            self._clock.env.step()
        self._reached_ns = max(self._reached_ns, until_ns)
        if at == simpy.core.Infinity:
            waits = [f"{t.name} at {op.OPERATION_NAMES[t.program[t.place][0]]}" for t in self._threads]
            raise SimulationError("nothing is ready and nothing is timed: " + ", ".join(waits))

    def stamps(self) -> dict[str, Int64s]:
        """Full-resolution stamps by column, and partition, worker and batch; -1 where not reached."""
        columns = {**dict(zip(STAMP_COLUMNS, self._stamps, strict=True)), "partition": self._partition}
        columns |= {"worker": self._worker, "batch": self._batch}
        return {name: np.array(column, dtype=np.int64) for name, column in columns.items()}

    def acked(self) -> int:
        """Records acknowledged so far."""
        return self._acked

    def threads(self) -> list[ThreadReading]:
        """Counters of every thread now, work and waits under way included."""
        now = self._reached_ns
        return [
            ThreadReading(
                t.cpu + (now - t.run_start if t.state is State.RUNNING else 0),
                t.wait + (now - t.queued_at if t.state is State.QUEUED else 0),
                *(t.wakeups, t.polls, t.polls_empty, t.sleeps, t.coldness),
            )
            for t in self._threads
        ]

    def producers(self) -> list[ClientReading]:
        """Produce requests of every producer client now."""
        return [ClientReading(p.requests) for p in self._producers]

    def consumers(self) -> list[ClientReading]:
        """Fetch answers of every consumer client now."""
        return [ClientReading(c.answers, c.answers_empty) for c in self._consumers]

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
            text += f" {COST_NAMES[operand]} {me.remaining if outcome == WORKS else 0} ns"
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
        for record in me.polled:
            self._stamps[column][record] = self._clock.now
            self._worker[record], self._batch[record] = me.index, me.polls - 1
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
        else:
            entity = me.wakeups
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

    # ------------------------------------------------------------ messages

    def _send(self, me: Thread, m: Message, not_before: int) -> int:
        """Sends a message, which arrives no earlier than the one before it; returns when."""
        latency = quantile(self._network, draw(self.system.seed, me.number, me.sent, PURPOSE_NETWORK, 0))
        me.sent += 1
        arrival = max(self._clock.now + latency, not_before)
        self._clock.at(arrival, DELIVER, me, lambda: self._arrives(m))
        return arrival

    def _send_request(self, me: Thread, *_: int) -> Outcome:
        me.last_request = self._send(me, present(me.message), me.last_request)
        return None

    def _send_answer(self, me: Thread, *_: int) -> Outcome:
        m = present(me.message)
        m.is_answer = True
        client = m.client
        client.last_answer = self._send(me, m, client.last_answer)
        client.in_process = False
        if client.waiting:
            client.in_process = True
            self._to_request_queue(client.waiting.popleft())
        return None

    def _arrives(self, m: Message) -> None:
        """DELIVER: an answer at its client, or a request at the broker, which takes one of a connection at a time."""
        if m.is_answer:
            m.client.mailbox.append(m)
            self._signal(m.client)
        elif m.client.in_process:
            m.client.waiting.append(m)
        else:
            m.client.in_process = True
            self._to_request_queue(m)

    def _to_request_queue(self, m: Message) -> None:
        self._requests.append(m)
        for t in self._brokers:
            if t.state is State.BLOCKED:
                self._signal(t)
                return

    def _recv(self, me: Thread, *_: int) -> Outcome:
        box = me.mailbox if me.consumer else self._requests
        if not box:
            return self._wait(me)
        me.message = box.popleft()
        return None

    def _branch_kind(self, me: Thread, fetch: int, expired: int, *_: int) -> Outcome:
        return {op.PRODUCE: None, op.FETCH: fetch, op.EXPIRED: expired}[present(me.message).kind]

    # ------------------------------------------------------------ the broker

    def _append(self, me: Thread, *_: int) -> Outcome:
        log, records = present(me.message).batches[0]
        log.batches.append(records)
        for record in records:
            log.appended[record] = self._clock.now
        consumer = present(log.consumer)
        if consumer.parked and consumer.parked.fill(self.system, least_bytes=max(1, self.system.fetch_min_bytes)):
            me.aside, consumer.parked = consumer.parked, None
        return None

    def _complete_next(self, me: Thread, none: int, *_: int) -> Outcome:
        if me.aside is None:
            return none
        me.message, me.aside = me.aside, None
        return None

    def _fetch_eval(self, me: Thread, parked: int, *_: int) -> Outcome:
        m = present(me.message)
        if m.fill(self.system, least_bytes=max(1, self.system.fetch_min_bytes)):
            return None
        present(m.client.consumer).parked = m
        self._clock.at(self._clock.now + self.system.fetch_max_wait_ns, TIMER, m.client, lambda: self._expires(m))
        return parked

    def _expires(self, m: Message) -> None:
        """TIMER: the fetch takes what there is, if it is still parked."""
        consumer = present(m.client.consumer)
        if consumer.parked is m:
            consumer.parked = None
            m.kind = op.EXPIRED
            m.fill(self.system, least_bytes=0)
            self._to_request_queue(m)

    # ------------------------------------------------------------ producing

    def _enqueue(self, me: Thread, *_: int) -> Outcome:
        producer, now = present(me.producer), self._clock.now
        lane = producer.lanes[self._partition[me.record] - producer.first_partition]
        was_empty, was_ready = not lane.records, lane.ready(now, self.system)
        lane.records.append((me.record, now))
        me.outstanding += 1
        due = producer.client.due
        becomes_ready = not was_ready and lane.ready(now, self.system)
        if becomes_ready or (was_empty and (due is None or due > now + self.system.linger_ns)):
            self._signal(producer.client)
        return None

    def _produce_next(self, me: Thread, answered: int, *_: int) -> Outcome:
        if me.mailbox:
            me.message = me.mailbox.popleft()
            return answered
        producer = present(me.producer)
        if producer.in_flight >= self.system.max_in_flight:
            return self._wait(me)
        me.message = producer.next_request(self._clock.now, self.system)
        return None if me.message else self._wait(me, producer.next_due(self.system.linger_ns))

    def _ack(self, me: Thread, *_: int) -> Outcome:
        producer = present(me.producer)
        producer.in_flight -= 1
        if producer.application:
            producer.deliveries.append(present(me.message))
        return None

    def _serve(self, me: Thread, *_: int) -> Outcome:
        deliveries = present(me.producer).deliveries
        while deliveries:
            records = deliveries.popleft().batches[0][1]
            for record in records:
                self._stamps[op.ACKED][record] = self._clock.now
            self._acked += len(records)
            me.outstanding -= len(records)
        return None

    # ------------------------------------------------------------ fetching and polling

    def _fetch_send(self, me: Thread, *_: int) -> Outcome:
        wanted = present(me.consumer).fetchable(self.system)
        if not wanted:
            return self._wait(me, self._clock.now + self.system.fetch_backoff_ns)
        me.message = Message(op.FETCH, me, wanted=wanted)
        return self._send_request(me)

    def _deliver(self, me: Thread, *_: int) -> Outcome:
        consumer, m = present(me.consumer), present(me.message)
        for log, records in m.batches:
            log.queue.extend(records)
        consumer.answers += 1
        if m.records:
            self._signal(consumer.application)
        else:
            consumer.answers_empty += 1
        return None

    def _poll(self, me: Thread, empty: int, *_: int) -> Outcome:
        me.polled = present(me.consumer).poll()
        timed_out, me.timed_out = me.timed_out, False
        if me.polled:
            me.polls += 1
            return None
        if timed_out:
            me.polls_empty += 1
            return empty
        return self._wait(me, self._clock.now + self.system.delivery_poll_ns if me.outstanding else None)

    def _next(self, me: Thread, used_up: int, *_: int) -> Outcome:
        if not me.polled:
            return used_up
        me.record = me.polled.popleft()
        return None
