"""The reference's broker and clients: what requests carry, how they are answered, what is polled.

`docs/simulator.md` says it in words.
"""

from __future__ import annotations

from collections import deque

from sim import operations as op
from sim.reference_hosts import TIMER, State
from sim.reference_machine import Machine, Outcome, Trace
from sim.reference_parts import Message, Thread, present
from sim.system import System


class KafkaOperations(Machine):
    """The operations of broker threads, of clients and of the threads that use them."""

    def __init__(self, system: System, trace: Trace | None = None) -> None:
        super().__init__(system, trace)
        self._requests: deque[Message] = deque()  # that wait for a broker thread

    # ------------------------------------------------------------ workers that are killed

    def _is_down(self, t: Thread) -> bool:
        raise NotImplementedError

    def _wake_restart(self, t: Thread) -> None:
        raise NotImplementedError

    def _is_called(self, t: Thread) -> bool:
        raise NotImplementedError

    # ------------------------------------------------------------ messages

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

    def _arrives_at_broker(self, m: Message) -> None:
        """DELIVER of a request: one of a connection is in process at a time."""
        if m.client.in_process:
            m.client.waiting.append(m)
        else:
            m.client.in_process = True
            self._to_request_queue(m)

    def _to_request_queue(self, m: Message) -> None:
        self._requests.append(m)
        for t in self._parts.brokers:
            if t.state is State.BLOCKED:
                self._signal(t)
                return

    def _recv(self, me: Thread, *_: int) -> Outcome:
        box = self._requests if me.of_broker else me.mailbox
        if not box:
            return self._wait(me)
        me.message = box.popleft()
        return None

    def _branch_kind(self, me: Thread, fetch: int, expired: int, *_: int) -> Outcome:
        return {op.PRODUCE: None, op.FETCH: fetch, op.EXPIRED: expired}[present(me.message).kind]

    # ------------------------------------------------------------ the broker

    def _append(self, me: Thread, *_: int) -> Outcome:
        log, records = present(me.message).batches[0]
        log.append(records)
        for record in records:
            log.appended[record] = self._clock.now
        consumer, least = log.consumer, max(1, self.system.fetch_min_bytes)
        if consumer and consumer.parked and consumer.parked.fill(self.system, least_bytes=least):
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
        application = producer.application
        if application and self._is_down(application):
            self._wake_restart(application)
        elif application:
            producer.deliveries.append(present(me.message))
            if producer.calls_back:
                self._serve(application)
            if application.program[application.place][0] == op.FLUSH:
                self._signal(application)
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

    def _flush(self, me: Thread, *_: int) -> Outcome:
        self._serve(me)
        return self._wait(me) if me.outstanding else None

    # ------------------------------------------------------------ fetching and polling

    def _fetch_send(self, me: Thread, *_: int) -> Outcome:
        application = present(me.consumer).application
        if self._is_down(application):
            outcome = self._wait(me)
            self._wake_restart(application)
            return outcome
        wanted = present(me.consumer).fetchable(self.system)
        if not wanted:
            return self._wait(me, self._clock.now + self.system.fetch_backoff_ns)
        me.message = Message(op.FETCH, me, wanted=wanted)
        return self._send_request(me)

    def _deliver(self, me: Thread, *_: int) -> Outcome:
        consumer, m = present(me.consumer), present(me.message)
        if self._is_down(consumer.application):
            consumer.answers += 1
            return None
        for log, records in m.batches:
            log.queue.extend(records)
        consumer.answers += 1
        if m.records:
            self._signal(consumer.application)
        else:
            consumer.answers_empty += 1
        return None

    def _poll(self, me: Thread, empty: int, called: int, *_: int) -> Outcome:
        me.polled = present(me.consumer).poll()
        timed_out, me.timed_out = me.timed_out, False
        if me.polled:
            me.polls += 1
            return None
        if called and self._is_called(me):
            return called
        if timed_out:
            me.polls_empty += 1
            return empty
        serves = me.outstanding > 0 and not present(me.producer).calls_back
        return self._wait(me, self._clock.now + self.system.delivery_poll_ns if serves else None)

    def _next(self, me: Thread, used_up: int, *_: int) -> Outcome:
        if not me.polled:
            return used_up
        me.record = me.polled.popleft()
        log = present(me.consumer).log_of[self._partition[me.record]]
        log.handled += 1
        return None
