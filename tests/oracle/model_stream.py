"""A poll loop whose models change and whose workers are killed, written by hand in SimPy, record by record.

It knows nothing of programs: who holds what, when a model comes, is loaded and begins to serve, what is dropped, kept,
lost and read again is worked out from the scenario, without the simulator's builder.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import Any

from scenarios.spec import MS_NS, Fault, Scenario
from tests.oracle.clients import Consumer, Producer
from tests.oracle.kernel import Body, Thread
from tests.oracle.model_store import Coming, Held, Models, Told
from tests.oracle.pipeline import Int64s, Pipeline, assigned
from tests.oracle.world import World

DELIVERY_POLL_NS = MS_NS


class Loader:
    """Loads models on one thread, and keeps what is to be kept there."""

    def __init__(self, me: Thread, models: Models) -> None:
        self.me, self.models, self.keeps = me, models, 0

    def load(self, it: Coming, worker: Worker) -> Body:
        me = self.me
        me.worked = True
        work = self.models.loads[it.place].work(me.number, it.number, size=it.carried)
        if work:
            yield me.cpu(work)
        if worker.down:
            return
        it.reader.through = max(it.reader.through, it.turn + 1)
        it.store.loaded(it)
        again = it.store.kept.get(it.message.type) is it
        if self.models.stream.state.kind == "snapshot" and it.message.fault == "none" and not again:
            it.store.kept[it.message.type] = it
            it.store.write(it.size)
            yield from self.keep(it.size)

    def keep(self, size: int) -> Body:
        """The time it takes to keep so many bytes."""
        me = self.me
        me.worked = True
        work = self.models.write.work(me.number, self.keeps, size=size)
        self.keeps += 1
        if work:
            yield me.cpu(work)


class Reader:
    """A thread that reads models, and hands them to the application's thread or loads them itself."""

    def __init__(self, me: Thread, worker: Worker, store: Held, partitions: set[int]) -> None:
        self.me, self.worker = me, worker
        self.deliveries = worker.models.coming(self, store, partitions)
        self.turn = self.through = self.kept = 0
        self.arrives = True  # it is where it waits for the next one
        store.readers.append(self)

    def run(self) -> Body:
        me, worker, models = self.me, self.worker, self.worker.models
        loader = Loader(me, models)
        yield me.start()
        me.woke()
        while True:
            self.arrives = True
            if worker.down or self.turn == len(self.deliveries):
                blocked = me.wait()
                if worker.down:
                    worker.wake_restart()
                yield blocked
                me.woke()
                continue
            it = self.deliveries[self.turn]
            if me.env._now < it.at:
                yield me.wait_until(it.at)
                me.woke()
                continue
            self.turn += 1
            self.arrives = False
            me.worked = True
            work = models.receive.work(me.number, it.number, size=it.carried)
            if work:
                yield me.cpu(work)
            if worker.down:
                continue
            if models.stream.load == "background":
                yield from loader.load(it, worker)
            else:
                worker.inbox.append(it)
                worker.call()


class Worker:
    """One worker: it polls, takes models between its records, scores and produces, and may be killed."""

    def __init__(
        self, me: Thread, ordinal: int, consumer: Consumer, producer: Producer, models: Models, owns: list[Held]
    ) -> None:
        self.me, self.ordinal, self.consumer, self.producer = me, ordinal, consumer, producer
        self.models, self.owns, self.world = models, owns, models.world
        self.loader, self.inbox = Loader(me, models), deque[Coming]()
        self.due = models.stream.state.commit_ns
        self.readers: list[Reader] = []
        self.mortal = bool(models.scenario.faults)
        self.commit_due = models.scenario.engine.commit_interval_ns
        self.handled, self.committed = ([0] * len(consumer.logs) for _ in range(2))
        self.polls = 0
        self.at = ""  # what it is blocked at
        self.struck = self.down = False
        self.up_at: int | None = None
        self.left = 0  # records of its poll that it has not gone on to

    def call(self) -> None:
        """Signals it if it polls."""
        if self.at == "poll":
            self.me.signal()

    def wake_restart(self) -> None:
        if self.at == "restart":
            self.me.signal()

    def run(self) -> Body:
        me, producer = self.me, self.producer
        costs, pipeline, stamps = self.world.costs, self.world.pipeline, self.world.stamps
        yield me.start()
        me.woke()
        while True:
            if self.mortal and me.env._now >= self.commit_due:
                yield from producer.flush()
                self.commit()
            taken: list[int] = yield from self.poll()
            if taken:
                me.worked = True
                size = len(taken) * pipeline.input_bytes
                yield from self.burn(costs["worker.poll"].work(me.number, self.polls, records=len(taken), size=size))
                for record in taken:
                    stamps["fetched"][record] = me.env._now
                    stamps["worker"][record], stamps["batch"][record] = self.ordinal, self.polls
                self.polls += 1
                yield from self.burn(costs["worker.cold"].after_sleep(me))
            self.left = len(taken)
            died = yield from self.between()
            for record in () if died else taken:
                self.left -= 1
                self.handled[stamps["partition"][record] - self.first] += 1
                yield from self.one(record)
                if not producer.calls_back:
                    producer.serve()
                died = yield from self.between()
                if died:
                    break
            if died:
                self.crash()
                yield from self.restart()

    @property
    def first(self) -> int:
        """Its first partition."""
        return assigned(self.world.pipeline.partitions, self.world.pipeline.workers, self.ordinal).start

    def poll(self) -> Generator[Any, Any, list[int]]:
        """Records, or none where there is something else to do."""
        me, consumer, producer = self.me, self.consumer, self.producer
        serves, limit = not producer.calls_back, self.world.pipeline.consumer.max_poll_records
        timed = False
        while True:
            taken = consumer.poll(limit)
            if taken or self.inbox or self.struck:
                return taken
            if timed:
                yield from self.burn(self.world.costs["worker.poll_empty"].after_sleep(me))
                producer.serve()
                timed = False
                if self.mortal and me.env._now >= self.commit_due:
                    yield from producer.flush()
                    self.commit()
                continue
            waits = serves and producer.outstanding
            blocked = me.wait_until(me.env._now + DELIVERY_POLL_NS) if waits else me.wait()
            self.at = "poll"
            yield blocked
            self.at = ""
            timed = me.woke()

    # What a kill does

    def strike(self, after: int | None) -> None:
        if not self.down and not self.struck:
            self.struck = True
            self.up_at = None if after is None else self.me.env._now + after
            self.call()

    def commit(self) -> None:
        self.commit_due = self.me.env._now + self.models.scenario.engine.commit_interval_ns
        self.committed = list(self.handled)

    def crash(self) -> None:
        producer = self.producer
        if not self.left and not producer.outstanding and self.me.env._now >= self.commit_due:
            self.commit()
        self.struck, self.down = False, True
        self.inbox.clear()
        for lane in producer.lanes:
            lane.clear()
        producer.held.clear()
        producer.delivered.clear()
        producer.outstanding = 0
        producer.down = self.consumer.down = self.wake_restart
        for store in self.owns:
            store.current.clear()
            store.waiting.clear()

    def restart(self) -> Body:
        me, consumer = self.me, self.consumer
        while True:
            idle = all(reader.arrives and reader.me.blocked is not None for reader in self.readers)
            idle = idle and consumer.asks and consumer.me.blocked is not None and not self.producer.in_flight
            if self.up_at is not None and me.env._now >= self.up_at and idle:
                break
            early = self.up_at is not None and me.env._now < self.up_at
            blocked = me.wait_until(self.up_at) if early and self.up_at is not None else me.wait()
            self.at = "restart"
            yield blocked
            self.at = ""
            me.woke()
        self.down = False
        self.producer.down = consumer.down = None
        self.commit_due = me.env._now + self.models.scenario.engine.commit_interval_ns
        self.due = me.env._now + self.models.stream.state.commit_ns
        consumer.queued = consumer.queued_bytes = consumer.next_polled = 0
        for index in range(len(consumer.logs)):
            self.read_again(index)
        self.restore()
        consumer.me.signal()
        for reader in self.readers:
            reader.me.signal()

    def read_again(self, index: int) -> None:
        """A partition is read again from what was committed."""
        log, at = self.consumer.logs[index], self.committed[index]
        for record in [record for batch in log.batches for record in batch][at : self.handled[index]]:
            self.forget(record)
        self.consumer.queues[index].clear()
        self.handled[index] = at
        position = 0
        while position < len(log.batches) and at >= len(log.batches[position]):
            at -= len(log.batches[position])
            position += 1
        if at:
            batch = log.batches[position]
            log.batches[position : position + 1] = [batch[:at], batch[at:]]
            position += 1
        self.consumer.positions[index] = position

    def forget(self, record: int) -> None:
        told, stamps = self.models.told, self.world.stamps
        told.dropped.discard(record)
        told.bad.discard(record)
        if stamps["out_appended"][record] >= 0:
            if record in told.shadows:
                told.duplicates += 1
            else:
                told.shadows[record] = {name: column[record] for name, column in stamps.items()}
        for name in ("fetched", "score_begin", "score_end", "produced", "acked", "out_appended", "worker", "batch"):
            stamps[name][record] = -1

    def restore(self) -> None:
        policy, now = self.models.stream.restore, self.me.env._now
        for reader in self.readers:
            reader.turn = reader.kept if policy == "snapshot" else 0
            if policy == "latest":
                reader.turn = sum(it.at <= now for it in reader.deliveries)
            reader.through = reader.turn
        if policy == "snapshot":
            types = list(self.models.scenario.workload.payload.types)
            for store in self.owns:
                self.inbox.extend(store.kept[kind] for kind in types if kind in store.kept)

    def burn(self, work: int) -> Body:
        if work:
            yield self.me.cpu(work)

    def between(self) -> Generator[Any, Any, bool]:
        """What comes between two records: a commit, and models to load; whether it dies."""
        stream = self.models.stream
        while True:
            if self.struck:
                return True
            if stream.state.kind == "changelog" and self.me.env._now >= self.due:
                self.due = self.me.env._now + stream.state.commit_ns
                for store in self.owns:
                    if store.all():
                        store.kept |= store.current | store.waiting
                        store.write(store.all())
                size = sum(store.all() for store in self.owns)
                if size:
                    yield from self.loader.keep(size)
            if not self.inbox:
                return False
            yield from self.loader.load(self.inbox.popleft(), self)

    def one(self, record: int) -> Body:
        me, models, stamps, pipeline = self.me, self.models, self.world.stamps, self.world.pipeline
        costs, number = self.world.costs, me.number
        me.worked = True
        yield from self.burn(costs["worker.decode"].of_records(pipeline.points, pipeline.input_bytes)(number, record))
        if record in models.scenario.workload.payload.poison:
            models.told.bad.add(record)
            return
        key, kind = models.key(stamps["partition"][record]), models.type_of(record)
        store = models.store(key) if key else None
        swapped = store is not None and kind in store.waiting
        if store and swapped:
            store.current[kind] = store.waiting.pop(kind)
            store.swaps += 1
        it = store.current.get(kind) if store else None
        if it is None:
            models.told.dropped.add(record)
            return
        if swapped:
            yield from self.burn(models.swap.work(number, it.number))
        stamps["score_begin"][record] = me.env._now
        score = models.scores[it.place].of_records(pipeline.points, pipeline.input_bytes)
        yield from self.burn(score(number, record))
        stamps["score_end"][record] = me.env._now
        yield from self.burn(costs["worker.encode"].of_records(pipeline.points, pipeline.output_bytes)(number, record))
        stamps["produced"][record] = me.env._now
        yield from self.burn(costs["worker.produce"].of_records(pipeline.points, pipeline.output_bytes)(number, record))
        self.producer.enqueue(record, stamps["partition"][record])
        if models.stream.state.kind == "record":
            it.store.kept[kind] = it
            it.store.write(it.size)
            yield from self.loader.keep(it.size)


def run(scenario: Scenario, calibration: Any, pipeline: Pipeline) -> tuple[dict[str, Int64s], Told]:
    """Every stamp as `python_engine.run`, and what came of records and models."""
    world = World(pipeline)
    world.add_input_side()
    models = Models(scenario, calibration, world)
    workers: list[Worker] = []
    for ordinal in range(pipeline.workers):
        fetcher, app, sink = world.thread(), world.thread(), world.thread()
        mine = assigned(pipeline.partitions, pipeline.workers, ordinal)
        consumer = world.consumer(fetcher, app, [world.inputs[p] for p in mine])
        producer = world.producer(sink, app)
        keys = dict.fromkeys([*map(models.key, mine), *(key for key, _ in models.reads(ordinal))])
        owns = [models.store(key) for key in keys if key and key not in models.held]
        worker = Worker(app, ordinal, consumer, producer, models, owns)
        workers.append(worker)
        world.bodies.append(worker.run())
        for key, partitions in models.reads(ordinal):
            worker.readers.append(Reader(world.thread(), worker, models.store(key), partitions))
            world.bodies.append(worker.readers[-1].run())
    world.add_output_side()
    for fault in scenario.faults:
        _, _, number = fault.target.partition("-")
        struck = [w for w in workers if models.instance(w.ordinal) == int(number)]
        world.bodies.append(kills(world.thread("broker"), fault, struck))
    world.add_background()
    stamps = world.run()
    told = models.told
    told.duplicates += sum(stamps["out_appended"][record] >= 0 for record in told.shadows)
    for record, kept in told.shadows.items():
        for name, value in kept.items():
            stamps[name][record] = value
    told.dropped.difference_update(told.shadows)
    told.bad.difference_update(told.shadows)
    return stamps, told


def kills(me: Thread, fault: Fault, workers: list[Worker]) -> Body:
    """Sleeps until a fault, and strikes."""
    yield me.start()
    me.woke()
    if fault.at_ns:
        while True:
            yield me.wait_until(fault.at_ns)
            if me.woke():
                break
    for worker in workers:
        worker.strike(fault.restart_ns)
