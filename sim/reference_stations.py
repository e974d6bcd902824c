"""The reference's services: queues of requests that threads take from, answer, or send on to other services.

`docs/simulator.md` says it in words, section "Exchanges, calls, micro-batches", "Call" and "Station".
"""

from __future__ import annotations

from dataclasses import replace

from control.cache import HIT, MISS
from scenarios.draws import PURPOSE_ROUTE, draw
from sim import operations as op
from sim.reference_hosts import State
from sim.reference_machine import Machine, Outcome
from sim.reference_parts import Fork, Request, Service, Thread, present

CAME, BEGUN, LEFT = range(3)


class StationOperations(Machine):
    """The operations of who calls, and of who is called."""

    # ------------------------------------------------------------ coming

    def _call(self, me: Thread, number: int, unanswered: int, *_: int) -> Outcome:
        service = self._parts.services[number]
        request = Request(kind=op.REQUEST, client=me, service=service, record=me.record, is_awaited=not unanswered)
        me.last_request = self._send(me, request, me.last_request)
        return None

    def _arrives_at_service(self, m: Request) -> None:
        """DELIVER of a request."""
        if m.service.settings.joins and m.fork:
            m.fork.joined = m.service
            self._comes_to_fork_end(m)
        elif not self._is_known(m) and not self._comes(m):
            self._ends(m)

    def _is_known(self, m: Request) -> bool:
        """Whether a request is answered from the cache, or will be by what is in flight."""
        cache, settings = m.service.cache, m.service.settings.cache
        if cache is None or settings is None or not m.is_awaited:
            return False
        found, _ = cache.ask(int(settings.key[m.record]), m)
        if found == HIT:
            self._answers(m.service.threads[0], m)
        return found != MISS

    def _comes(self, m: Request) -> bool:
        """A request comes to its queue; whether it may.  A server is told if there is something to do."""
        service, settings = m.service, m.service.settings
        if self._lost[m.record]:
            return False
        if 0 < settings.capacity <= len(service.queue) and not m.is_awaited:
            self._lost[m.record] = op.DROPPED
            service.dropped += 1
            return False
        m.arrived = service.visits[CAME][m.record] = self._clock.now
        service.insert(m, self._stamps[op.CREATED])
        if len(service.queue) == 1 or service.full or settings.delay_ns == 0:
            self._signal_first(service.threads)
        return True

    def _signal_first(self, threads: list[Thread]) -> None:
        """Signals the first of these threads that is blocked, and not signalled yet."""
        for t in threads:
            if t.state is State.BLOCKED:
                self._signal(t)
                return

    # ------------------------------------------------------------ being taken

    def _take(self, me: Thread, number: int, *_: int) -> Outcome:
        service, now = self._parts.services[number], self._clock.now
        self._let_go(service)
        if not service.queue:
            return self._wait(me)
        service.decide(now)
        due = service.queue[0].arrived + service.settings.delay_ns
        if not service.full and now < due:
            return self._wait(me, due)
        me.taken = []
        while service.queue and len(me.taken) < service.limit:
            m = service.queue.popleft()
            me.taken.append(m)
            service.waited += now - m.arrived
            service.visits[BEGUN][m.record] = now
            self._let_go(service)
        me.tasks += 1
        me.took_at = now
        service.takes += 1
        service.taken += len(me.taken)
        return None

    def _let_go(self, service: Service) -> None:
        """Expired requests at the head of the queue end."""
        expiry, created = service.settings.expiry_ns, self._stamps[op.CREATED]
        while expiry and service.queue and not service.queue[0].is_awaited:
            if created[service.queue[0].record] + expiry > self._clock.now:
                return
            m = service.queue.popleft()
            service.late += 1
            self._lost[m.record] = self._lost[m.record] or op.LATE
            self._ends(m)

    def _stamp_taken(self, me: Thread, column: int, *_: int) -> Outcome:
        stamps = self._stamps[column]
        for m in me.taken:
            if column != op.SCORE_BEGIN:
                stamps[m.record] = self._clock.now
            elif stamps[m.record] < 0:
                stamps[m.record] = self._clock.now
                self._worker[m.record], self._batch[m.record] = me.index, me.tasks - 1
        return None

    # ------------------------------------------------------------ going on

    def _reply(self, me: Thread, *_: int) -> Outcome:
        me.taken[0].service.learn(len(me.taken), self._clock.now - me.took_at)
        for m in me.taken:
            self._answers(me, m)
            cache, settings = m.service.cache, m.service.settings.cache
            if cache and settings and m.is_awaited:
                for other in cache.answer(int(settings.key[m.record]), None, settings.answer_bytes):
                    self._answers(me, other)
        return None

    def _answers(self, me: Thread, m: Request) -> None:
        m.is_answer = True
        m.client.last_answer = self._send(me, m, m.client.last_answer)

    def _route(self, me: Thread, *_: int) -> Outcome:
        me.taken[0].service.learn(len(me.taken), self._clock.now - me.took_at)
        for m in me.taken:
            service = m.service
            service.visits[LEFT][m.record] = self._clock.now
            entity = m.record + (m.hops << 32)
            edge = service.edge(draw(self.system.seed, service.number, entity, PURPOSE_ROUTE, 0))
            if edge is None:
                self._ends(m, me)
                continue
            fork = Fork(m.fork, len(edge.services)) if len(edge.services) > 1 else m.fork
            for number in edge.services:
                part = replace(m, service=self._parts.services[number], hops=m.hops + 1, fork=fork)
                me.last_request = self._send(me, part, me.last_request)
        return None

    def _ends(self, m: Request, by: Thread | None = None) -> None:
        """A request ends: as a part of a fork, or for good."""
        if m.fork:
            self._comes_to_fork_end(m, by)
        else:
            self._record_ends(m, by)

    def _comes_to_fork_end(self, m: Request, by: Thread | None = None) -> None:
        """One of a fork's parts comes to its end; the last goes on as what was forked."""
        fork = present(m.fork)
        fork.left -= 1
        if fork.left:
            return
        m.fork = fork.before
        if fork.joined:
            m.service = fork.joined
            if self._comes(m):
                return
        self._ends(m, by)

    def _record_ends(self, m: Request, by: Thread | None) -> None:
        if m.is_awaited:
            self._answers(present(by), m)
        elif self._lost[m.record]:
            self._acked += 1
        else:
            self._answered(m.record)

    def _done(self, me: Thread, *_: int) -> Outcome:
        self._answered(me.record)
        return None

    def _answered(self, record: int) -> None:
        """A record is answered now, where no broker is."""
        for column in (op.PRODUCED, op.ACKED, op.OUT_APPENDED):
            self._stamps[column][record] = self._clock.now
        self._acked += 1
