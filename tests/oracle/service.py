"""Serving by calls, written by hand: one queue of requests, and servers that answer as many at once as may be."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

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


class Service:
    """The queue and its servers."""

    def __init__(self, world: World) -> None:
        self.world = world
        pipeline = world.pipeline
        self.most, self.delay = pipeline.batch_records, pipeline.delay_ns
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
        requests.append((self.world.env._now, caller, record))
        if len(requests) == 1 or len(requests) >= self.most or self.delay == 0:
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
            while len(requests) < self.most:
                if not requests:
                    yield me.wait()
                else:
                    due = requests[0][0] + self.delay
                    if due <= env._now:
                        break
                    yield me.wait_until(due)
                me.woke()
            taken = [requests.popleft() for _ in range(min(self.most, len(requests)))]
            n, first = len(taken), taken[0][2]
            wake = self.wake.after_sleep(me)
            me.worked = True
            request, score = (
                cost.work(me.number, first, batches=1, records=n, points=n * points, size=n * size)
                for cost in (self.request, self.score[n - 1])
            )
            for work in me.pieces(wake, request, score):
                yield me.cpu(work)
            for _, caller, _ in taken:
                caller.last_answer = me.send(caller.answered, None, caller.last_answer)
