"""Serving by calls, written by hand: one queue of requests, and servers that answer as many at once as may be."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from fractions import Fraction

from tests.oracle.kernel import Body, Cost, Moment, Thread
from tests.oracle.world import World


class Caller:
    """A thread that calls, and its connection."""

    def __init__(self, me: Thread, service: Service) -> None:
        self.me = me
        self.service = service
        self.answers = 0  # not yet taken
        self.last_request = 0
        self.last_answer = 0
        pipeline, costs = service.world.pipeline, service.world.costs
        self.request = costs["call.request"].of_records(pipeline.points, pipeline.input_bytes)
        self.response = costs["call.response"].of_records(pipeline.points, pipeline.output_bytes)

    def call(self, record: int) -> Body:
        """Sends the record and waits for its score."""
        me = self.me
        me.worked = True
        work = self.request(me.number, record)
        if work:
            yield me.cpu(work)
        self.last_request = me.send(self.service.arrives, (self, record), self.last_request)
        while not self.answers:
            yield me.wait()
            me.woke()
        self.answers -= 1
        me.worked = True
        work = self.response(me.number, record)
        if work:
            yield me.cpu(work)

    def answered(self, _event: Moment) -> None:
        self.answers += 1
        self.me.signal()


def callers(threads: Sequence[Thread], service: Service) -> list[Caller | None]:
    """Each thread's connection; None where there are no servers, and threads score themselves."""
    return [Caller(me, service) if service.world.pipeline.servers else None for me in threads]


class Policy:
    """How many requests are taken together: up to a constant, by AIMD, or by what is left of a deadline."""

    def __init__(self, name: str, most: int, slo_ns: int) -> None:
        self.name, self.most, self.slo = name, most, slo_ns
        self.limit = 1 if name else most
        self.last: deque[Fraction] = deque(maxlen=100)  # requests a ns, of the last batches

    def allows(self, waited: int) -> int:
        if self.name == "deadline":
            speed = sum(self.last, Fraction()) / max(1, len(self.last))
            self.limit = min(self.most, max(1, int(speed * max(0, self.slo - waited))))
        return self.limit

    def done(self, n: int, took: int) -> None:
        if self.name == "deadline":
            self.last.append(Fraction(n, max(1000, took)))
        elif self.name == "aimd":
            if took >= self.slo:
                self.limit = min(self.limit, max(1, int(Fraction(9, 10) * n)))
            elif took < int(Fraction(9, 10) * self.slo) and n >= self.limit:
                self.limit = min(self.limit + 2, self.most)


class Cache:
    """Answers by key: a list that a hand goes round, whose entries have a mark if they were asked for."""

    def __init__(self, room: int, size: int) -> None:
        self.most = room // size
        self.ring: list[int] = []  # the hand is at the first
        self.marked: set[int] = set()
        self.flying: dict[int, list[tuple[Caller, int]]] = {}  # who waits for each

    def keep(self, key: int) -> list[tuple[Caller, int]]:
        """An answer is there; who waited for it."""
        while self.most and len(self.ring) >= self.most:
            first = self.ring.pop(0)
            if first in self.marked:
                self.marked.discard(first)
                self.ring.append(first)
        if self.most:
            self.ring.append(key)
        return self.flying.pop(key)


class Service:
    """The queue and its servers."""

    def __init__(self, world: World) -> None:
        self.world = world
        pipeline = world.pipeline
        self.policy = Policy(pipeline.batching, pipeline.batch_records, pipeline.slo_ns)
        self.limit = self.policy.limit  # as it was when somebody looked at the queue last
        self.delay = pipeline.delay_ns
        self.cache = Cache(pipeline.cache_bytes, pipeline.output_bytes) if len(pipeline.keys) else None
        self.requests: deque[tuple[int, Caller, int]] = deque()  # when it arrived, whose it is, the record
        self.threads: list[Thread] = []
        self.wake, self.request = world.costs["server.wake"], world.costs["server.request"]
        self.score = [Cost(terms, pipeline.seed) for terms in pipeline.server_score]

    def add_servers(self) -> None:
        for _ in range(self.world.pipeline.servers):
            self.threads.append(self.world.thread("server"))
            self.world.bodies.append(self.serve(self.threads[-1]))

    def arrives(self, event: Moment) -> None:
        caller, record = event._value
        requests = self.requests
        if self.cache:
            key = self.world.pipeline.keys[record]
            if key in self.cache.ring:
                self.cache.marked.add(key)
                caller.last_answer = self.threads[0].send(caller.answered, None, caller.last_answer)
                return
            if key in self.cache.flying:
                self.cache.flying[key].append((caller, record))
                return
            self.cache.flying[key] = []
        requests.append((self.world.env._now, caller, record))
        if len(requests) == 1 or len(requests) >= self.limit or self.delay == 0:
            for thread in self.threads:
                if thread.blocked is not None:
                    thread.signal()
                    break

    def serve(self, me: Thread) -> Body:
        requests, env = self.requests, self.world.env
        points, size = self.world.pipeline.points, self.world.pipeline.input_bytes
        yield me.start()
        me.woke()
        while True:
            while True:
                if not requests:
                    yield me.wait()
                else:
                    self.limit = self.policy.allows(env._now - requests[0][0])
                    if len(requests) >= self.limit:
                        break
                    due = requests[0][0] + self.delay
                    if due <= env._now:
                        break
                    yield me.wait_until(due)
                me.woke()
            began = env._now
            taken = [requests.popleft() for _ in range(min(self.limit, len(requests)))]
            n, first = len(taken), taken[0][2]
            wake = self.wake.after_sleep(me)
            me.worked = True
            request, score = (
                cost.work(me.number, first, batches=1, records=n, points=n * points, size=n * size)
                for cost in (self.request, self.score[n - 1])
            )
            for work in me.pieces(wake, request, score):
                yield me.cpu(work)
            self.policy.done(n, env._now - began)
            for _, caller, record in taken:
                waiters = self.cache.keep(self.world.pipeline.keys[record]) if self.cache else []
                for other, _ in [(caller, record), *waiters]:
                    other.last_answer = me.send(other.answered, None, other.last_answer)
