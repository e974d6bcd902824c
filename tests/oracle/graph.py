"""A graph of models, written by hand: a queue and servers for each, and records on their ways between them."""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from scenarios.draws import PURPOSE_ROUTE, draw
from scenarios.spec import Scenario
from tests.oracle.kernel import Body, Cost, Moment, Terms, Thread
from tests.oracle.pipeline import BACKGROUND_PARTS, COST_NAMES, Int64s, Pipeline, of, score_ns, terms
from tests.oracle.world import World

WITHOUT = ("broker", "collector")


@dataclass(frozen=True)
class Model:
    """What one model is told."""

    servers: int
    delay_ns: int
    sizes: Sequence[Terms]  # of a batch of one, two, ...
    first: Sequence[Terms]  # of each server's first batches
    ways: Sequence[tuple[int, Sequence[int]]]  # below which draw, where to
    joins: bool
    most_waiting: int
    oldest_first: bool
    expiry_ns: int


def told(scenario: Scenario, calibration: Any) -> tuple[Pipeline, list[Model]]:
    """What a scenario and a calibration say, worked out without the simulator's own builder."""
    names = [s.name for s in scenario.stages]
    number, models = len(COST_NAMES) + len(BACKGROUND_PARTS), []
    for s in scenario.stages:
        sizes = []
        for n in range(1, s.batch_records + 1):
            if s.table_ns:
                sizes.append(Terms(fixed=round(_between(s.table_ns, n) * 1024)))
            elif s.base_ns is None and s.each_ns is None:
                table = calibration.server_table or calibration.score_table
                fixed = score_ns(table, n * scenario.workload.points)
                sizes.append(terms(calibration.cpu.get("server.score"), number + n - 1, fixed))
            else:
                sizes.append(Terms(fixed=((s.base_ns or 0) + n * (s.each_ns or 0)) * 1024))
        number += s.batch_records + len(s.first_batches_ns)
        below, ways = 0.0, []
        for branch in s.next:
            below = 1.0 if branch.share is None else below + branch.share
            ways.append((round(below * 2**32), [names.index(name) for name in branch.to]))
        models.append(
            Model(
                *(s.workers, s.batch_delay_ns, sizes, [Terms(fixed=ns * 1024) for ns in s.first_batches_ns], ways),
                *(s.joins, s.queue_records, s.order == "created", s.expiry_ns),
            )
        )
    return of(scenario, calibration, 1, WITHOUT), models


def _between(table: Sequence[tuple[int, int]], n: int) -> float:
    if n <= table[0][0]:
        return table[0][1]
    for (a, low), (b, high) in pairwise(table):
        if n <= b:
            return low + (high - low) * (n - a) / (b - a)
    return table[-1][1]


@dataclass(eq=False)
class Split:
    """A record on several ways at once."""

    open: int
    meets_at: Stage | None = None


@dataclass(eq=False)
class Visitor:
    """A record on one of its ways."""

    record: int
    splits: list[Split] = field(default_factory=list)  # the innermost last
    passed: int = 0  # models
    came: int = -1


class Stage:
    """A model's queue."""

    def __init__(self, number: int, model: Model, seed: int) -> None:
        self.number, self.model, self.most = number, model, len(model.sizes)
        self.queue: list[tuple[int, int, Visitor]] = []  # in order; how many came before stands for arrival
        self.coming = 0
        self.threads: list[Thread] = []
        self.sizes = [Cost(t, seed) for t in model.sizes]
        self.first = [Cost(t, seed) for t in model.first]


class Graph:
    """All models, and what happens between them."""

    def __init__(self, world: World, models: Sequence[Model]) -> None:
        self.world, self.env, self.seed = world, world.env, world.pipeline.seed
        self.created = world.stamps["created"]
        self.stages = [Stage(k, model, self.seed) for k, model in enumerate(models)]
        self.lost: dict[int, str] = {}
        self.connections: dict[Thread, int] = {}

    def send(self, me: Thread, to: int, visitor: Visitor) -> None:
        before = self.connections.get(me, 0)
        self.connections[me] = me.send(self.arrives, (self.stages[to], visitor), before)

    def arrives(self, event: Moment) -> None:
        stage, visitor = event._value
        if stage.model.joins and visitor.splits:
            visitor.splits[-1].meets_at = stage
            self.leaves(visitor)
        elif not self.is_let_in(stage, visitor):
            self.leaves(visitor)

    def is_let_in(self, stage: Stage, visitor: Visitor) -> bool:
        model = stage.model
        if visitor.record in self.lost:
            return False
        if model.most_waiting and len(stage.queue) >= model.most_waiting:
            self.lost[visitor.record] = "dropped"
            return False
        visitor.came = self.env._now
        place = self.created[visitor.record] if model.oldest_first else 0
        stage.coming += 1
        insort(stage.queue, (place, stage.coming, visitor), key=lambda entry: entry[:2])
        n = len(stage.queue)
        if n == 1 or n >= stage.most or not model.delay_ns:
            for thread in stage.threads:
                if thread.blocked is not None:
                    thread.signal()
                    break
        return True

    def leaves(self, visitor: Visitor) -> None:
        """A way is at its end; where it was the last of a split the record goes on in one piece."""
        while visitor.splits:
            split = visitor.splits[-1]
            split.open -= 1
            if split.open:
                return
            visitor.splits.pop()
            if split.meets_at and self.is_let_in(split.meets_at, visitor):
                return
        if visitor.record not in self.lost:
            for name in ("produced", "acked", "out_appended"):
                self.world.stamps[name][visitor.record] = self.env._now

    def give_up(self, stage: Stage) -> None:
        expiry = stage.model.expiry_ns
        while expiry and stage.queue and self.created[stage.queue[0][2].record] + expiry <= self.env._now:
            visitor = stage.queue.pop(0)[2]
            self.lost.setdefault(visitor.record, "expired")
            self.leaves(visitor)

    def serve(self, me: Thread, ordinal: int, stage: Stage) -> Body:
        world, queue, number = self.world, stage.queue, me.number
        points, size = world.pipeline.points, world.pipeline.input_bytes
        begin, end = world.stamps["score_begin"], world.stamps["score_end"]
        wake, request = world.costs["server.wake"], world.costs["server.request"]
        batches = 0
        yield me.start()
        me.woke()
        while True:
            self.give_up(stage)
            while len(queue) < stage.most:
                if not queue:
                    yield me.wait()
                else:
                    due = queue[0][2].came + stage.model.delay_ns
                    if due <= self.env._now:
                        break
                    yield me.wait_until(due)
                me.woke()
                self.give_up(stage)
            taken: list[Visitor] = []
            while queue and len(taken) < stage.most:
                taken.append(queue.pop(0)[2])
                self.give_up(stage)
            work = wake.after_sleep(me)
            if work:
                yield me.cpu(work)
            for visitor in taken:
                if begin[visitor.record] < 0:
                    begin[visitor.record] = self.env._now
                    world.stamps["worker"][visitor.record], world.stamps["batch"][visitor.record] = ordinal, batches
            n, entity = len(taken), taken[0].record + taken[0].passed * 2**32
            score = stage.first[batches] if batches < len(stage.first) else stage.sizes[n - 1]
            me.worked = True
            works = [
                c.work(number, entity, batches=1, records=n, points=n * points, size=n * size) for c in (request, score)
            ]
            for work in me.pieces(*works):
                yield me.cpu(work)
            batches += 1
            for visitor in taken:
                end[visitor.record] = self.env._now
            for visitor in taken:
                self.goes_on(me, stage, visitor)

    def goes_on(self, me: Thread, stage: Stage, visitor: Visitor) -> None:
        bits = draw(self.seed, stage.number, visitor.record + visitor.passed * 2**32, PURPOSE_ROUTE, 0)
        to = next((to for below, to in stage.model.ways if bits < below), None)
        if to is None:
            self.leaves(visitor)
            return
        splits = visitor.splits
        if len(to) > 1:
            splits = [*splits, Split(len(to))]
        for k in to:
            self.send(me, k, Visitor(visitor.record, list(splits), visitor.passed + 1))


def generator(me: Thread, records: range, graph: Graph) -> Body:
    """Sends each record to the first model when it is due."""
    world = graph.world
    wake = world.costs["generator.wake"]
    each = world.costs["generator.record"].of_records(world.pipeline.points, world.pipeline.input_bytes)
    yield me.start()
    me.woke()
    for record in records:
        while graph.created[record] > me.env._now:
            yield me.wait_until(graph.created[record])
            me.woke()
        for name in ("sent", "appended", "fetched"):
            world.stamps[name][record] = me.env._now
        works = wake.after_sleep(me), each(me.number, record)
        me.worked = True
        for work in me.pieces(*works):
            yield me.cpu(work)
        graph.send(me, 0, Visitor(record))


def run(pipeline: Pipeline, models: Sequence[Model]) -> tuple[dict[str, Int64s], dict[int, str]]:
    """Every stamp in ns by sequence, and what became of the records that nobody answers."""
    world = World(pipeline)
    world.stamps["partition"] = [0] * world.total
    graph = Graph(world, models)
    for first in range(pipeline.generators):
        records = range(first, world.total, pipeline.generators)
        world.bodies.append(generator(world.thread("generator"), records, graph))
    for stage in graph.stages:
        for ordinal in range(stage.model.servers):
            stage.threads.append(world.thread())
            world.bodies.append(graph.serve(stage.threads[-1], ordinal, stage))
    world.add_background()
    return world.run(), graph.lost
