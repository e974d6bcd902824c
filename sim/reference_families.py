"""The reference's exchanges, services and micro-batches: what the other engine families are made of.

`docs/simulator.md` says it in words, section "Exchanges, calls, micro-batches".
"""

from __future__ import annotations

from scenarios.draws import PURPOSE_FLUSH, draw
from sim import operations as op
from sim.reference_hosts import TIMER, State
from sim.reference_machine import Machine, Outcome
from sim.reference_parts import Exchange, MicroBatch, Reader, Request, Thread, present


class FamilyOperations(Machine):
    """The operations of threads that hand records to each other."""

    # ------------------------------------------------------------ exchanges

    def _put(self, me: Thread, number: int, *_: int) -> Outcome:
        exchange = self._parts.exchanges[number]
        reader = exchange.target(me)
        waits = me in reader.blocked
        if not exchange.has_room(reader):
            if not waits:
                reader.blocked.append(me)
            return self._wait(me)
        if waits:  # it was woken for something else, and found room
            reader.blocked.remove(me)
        buffer = reader.buffers[me]
        buffer.append(me.record)
        exchange.turn[me] += 1
        if exchange.settings.flush_ns == 0 or len(buffer) >= exchange.settings.buffer_records:
            self._pass_on(reader, me)
        elif me not in exchange.timed:
            exchange.timed.add(me)
            self._clock.at(self._next_flush(exchange, me), TIMER, me, lambda: self._flush_timer(exchange, me))
        return None

    def _next_flush(self, exchange: Exchange, writer: Thread) -> int:
        """The first instant after now at which the writer's buffers are passed on."""
        period = exchange.settings.flush_ns
        phase = draw(self.system.seed, writer.number, 0, PURPOSE_FLUSH, 0) % period
        return self._clock.now + period - (self._clock.now - phase) % period

    def _flush_timer(self, exchange: Exchange, writer: Thread) -> None:
        """TIMER: all buffers of the writer are passed on."""
        exchange.timed.remove(writer)
        for reader in exchange.readers:
            self._pass_on(reader, writer)

    def _pass_on(self, reader: Reader, writer: Thread) -> None:
        records, reader.buffers[writer] = reader.buffers[writer], []
        if records:
            reader.inbox.extend(records)
            self._signal(reader.thread)

    def _get(self, me: Thread, number: int, whose: int, *_: int) -> Outcome:
        reader = self._parts.exchanges[number].reader_of[me]
        if not reader.inbox:
            return self._wait(me)
        me.record = reader.inbox.popleft()
        if whose == op.MINE:
            self._worker[me.record] = me.index
        if reader.blocked:
            self._signal(reader.blocked.popleft())
        return None

    def _done(self, me: Thread, *_: int) -> Outcome:
        for column in (op.PRODUCED, op.ACKED, op.OUT_APPENDED):
            self._stamps[column][me.record] = self._clock.now
        self._acked += 1
        return None

    # ------------------------------------------------------------ calls

    def _call(self, me: Thread, number: int, *_: int) -> Outcome:
        request = Request(kind=op.REQUEST, client=me, service=self._parts.services[number], record=me.record)
        me.last_request = self._send(me, request, me.last_request)
        return None

    def _arrives_at_service(self, m: Request) -> None:
        """DELIVER of a request: a server thread is told if there is something to do or to wait for."""
        service = m.service
        m.arrived = self._clock.now
        service.queue.append(m)
        if len(service.queue) == 1 or service.full or service.settings.delay_ns == 0:
            self._signal_first(service.threads)

    def _take(self, me: Thread, number: int, *_: int) -> Outcome:
        service = self._parts.services[number]
        if not service.queue:
            return self._wait(me)
        due = service.queue[0].arrived + service.settings.delay_ns
        if not service.full and self._clock.now < due:
            return self._wait(me, due)
        me.taken = service.take()
        return None

    def _reply(self, me: Thread, *_: int) -> Outcome:
        for m in me.taken:
            m.is_answer = True
            m.client.last_answer = self._send(me, m, m.client.last_answer)
        return None

    # ------------------------------------------------------------ micro-batches

    @property
    def _micro_batch(self) -> MicroBatch:
        return present(self._parts.micro_batch)

    def _trigger(self, me: Thread, *_: int) -> Outcome:
        batch, now = self._micro_batch, self._clock.now
        if not any(log.unplanned for log in batch.logs):
            return self._wait(me, now + batch.settings.poll_ns)
        if batch.started is not None and now < batch.started + batch.settings.interval_ns:
            return self._wait(me, batch.started + batch.settings.interval_ns)
        batch.started = now
        return None

    def _plan(self, me: Thread, *_: int) -> Outcome:
        batch = self._micro_batch
        for task in batch.plan():
            batch.tasks.append(task)
            batch.undone += 1
            self._signal_first(batch.executors)
        batch.plans += 1
        return None

    def _join(self, me: Thread, *_: int) -> Outcome:
        return self._wait(me) if self._micro_batch.undone else None

    def _task(self, me: Thread, *_: int) -> Outcome:
        tasks = self._micro_batch.tasks
        if not tasks:
            return self._wait(me)
        me.task = tasks.popleft()
        me.tasks += 1
        return None

    def _next_task(self, me: Thread, used_up: int, *_: int) -> Outcome:
        left = present(me.task).left
        if not left:
            return used_up
        me.record = left.popleft()
        return None

    def _task_done(self, me: Thread, *_: int) -> Outcome:
        self._micro_batch.undone -= 1
        if not self._micro_batch.undone:
            self._signal(self._micro_batch.driver)
        return None

    def _signal_first(self, threads: list[Thread]) -> None:
        """Signals the first of these threads that is blocked, and not signalled yet."""
        for t in threads:
            if t.state is State.BLOCKED:
                self._signal(t)
                return
