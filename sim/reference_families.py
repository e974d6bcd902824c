"""The reference's exchanges and micro-batches: what the other engine families are made of.

`docs/simulator.md` says it in words, section "Exchanges, calls, micro-batches".
"""

from __future__ import annotations

from scenarios.draws import PURPOSE_FLUSH, draw
from sim import operations as op
from sim.reference_hosts import TIMER
from sim.reference_machine import Outcome
from sim.reference_parts import Exchange, MicroBatch, Reader, Thread, present
from sim.reference_stations import StationOperations


class FamilyOperations(StationOperations):
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
