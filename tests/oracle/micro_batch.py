"""Micro-batches, written by hand: a driver plans a task a partition, executors work them off and flush."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from tests.oracle.clients import Producer
from tests.oracle.kernel import Body, Thread
from tests.oracle.pipeline import Int64s, Pipeline
from tests.oracle.service import Caller, Service, callers
from tests.oracle.world import World


@dataclass(frozen=True)
class Task:
    """Records of one partition, of one batch."""

    batch: int
    records: Sequence[int]


class Driver:
    """Cuts the input topic into batches."""

    def __init__(self, me: Thread, executors: Sequence[Thread], world: World) -> None:
        self.me = me
        self.executors = executors
        self.world = world
        self.planned = [0] * len(world.inputs)
        self.tasks: deque[Task] = deque()
        self.plans = 0
        self.open = 0  # tasks of the batch that are not done
        self.first = 0  # the partition the next batch begins with

    def logs(self) -> list[list[int]]:
        return [log.records or [] for log in self.world.inputs]

    def anything_new(self) -> bool:
        return any(len(log) > planned for log, planned in zip(self.logs(), self.planned, strict=True))

    def plan(self) -> None:
        """A task for each partition that has something new, until the batch holds as much as it may."""
        logs, most = self.logs(), self.world.pipeline.max_records
        room = most or sum(map(len, logs))
        first, self.first = self.first, 0
        for partition in (*range(first, len(logs)), *range(first)):
            planned = self.planned[partition]
            records = logs[partition][planned : planned + room]
            if not records:
                continue
            self.planned[partition] += len(records)
            self.tasks.append(Task(self.plans, records))
            self.open += 1
            for thread in self.executors:
                if thread.blocked is not None:
                    thread.signal()
                    break
            room -= len(records)
            if most and room == 0:
                self.first = (partition + 1) % len(logs)
                break
        self.plans += 1

    def done(self) -> None:
        self.open -= 1
        if self.open == 0:
            self.me.signal()

    def run(self) -> Body:
        me, pipeline = self.me, self.world.pipeline
        plan, commit = self.world.costs["batch.plan"], self.world.costs["batch.commit"]
        started: int | None = None
        yield me.start()
        me.woke()
        while True:
            while True:
                now = me.env._now
                if not self.anything_new():
                    yield me.wait_until(now + pipeline.poll_ns)
                elif started is not None and now < started + pipeline.interval_ns:
                    yield me.wait_until(started + pipeline.interval_ns)
                else:
                    break
                me.woke()
            started = me.env._now
            work = plan.work(me.number, me.wakeups)
            if work:
                yield me.cpu(work)
            self.plan()
            while self.open:
                yield me.wait()
                me.woke()
            work = commit.work(me.number, me.wakeups)
            if work:
                yield me.cpu(work)


def executor(me: Thread, ordinal: int, driver: Driver, producer: Producer, caller: Caller | None, world: World) -> Body:
    """Takes a task, works its records off, waits until all are delivered."""
    pipeline, costs, stamps = world.pipeline, world.costs, world.stamps
    partition, fetched, worker_of, batch_of = (stamps[n] for n in ("partition", "fetched", "worker", "batch"))
    score_begin, score_end, produced = (stamps[n] for n in ("score_begin", "score_end", "produced"))
    points, size = pipeline.points, pipeline.input_bytes
    decode, score = (costs[f"worker.{n}"].of_records(points, size) for n in ("decode", "score"))
    encode, produce = (costs[f"worker.{n}"].of_records(points, pipeline.output_bytes) for n in ("encode", "produce"))
    number, env = me.number, me.env
    taken = 0
    yield me.start()
    me.woke()
    while True:
        while not driver.tasks:
            yield me.wait()
            me.woke()
        task = driver.tasks.popleft()
        start, end = (
            costs[name].work(number, taken, batches=1, records=len(task.records), size=len(task.records) * size)
            for name in ("task.start", "task.end")
        )
        taken += 1
        if start:
            yield me.cpu(start)
        for record in task.records:
            fetched[record], worker_of[record], batch_of[record] = env._now, ordinal, task.batch
        for record in task.records:
            work = decode(number, record)
            if work:
                yield me.cpu(work)
            score_begin[record] = env._now
            if caller is not None:
                yield from caller.call(record)
            else:
                work = score(number, record)
                if work:
                    yield me.cpu(work)
            score_end[record] = env._now
            work = encode(number, record)
            if work:
                yield me.cpu(work)
            produced[record] = env._now
            work = produce(number, record)
            if work:
                yield me.cpu(work)
            producer.enqueue(record, partition[record])
        yield from producer.flush()
        if end:
            yield me.cpu(end)
        driver.done()


def run(pipeline: Pipeline) -> dict[str, Int64s]:
    """Every stamp in ns by sequence, with partition, executor and batch; -1 where it was not reached."""
    world = World(pipeline)
    for log in world.inputs:
        log.records = []
    world.add_input_side()
    service = Service(world)
    me = world.thread()
    executors = [(world.thread(), world.thread()) for _ in range(pipeline.workers)]
    tasks = [app for app, _ in executors]
    driver = Driver(me, tasks, world)
    world.bodies.append(driver.run())
    for ordinal, ((app, client), caller) in enumerate(zip(executors, callers(tasks, service), strict=True)):
        world.bodies.append(executor(app, ordinal, driver, world.producer(client, app), caller, world))
    service.add_servers()
    world.add_output_side()
    world.add_background()
    return world.run()
