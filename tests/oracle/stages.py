"""Sources, scoring tasks and sinks as threads of their own, written by hand: for dataflow, actors, no broker."""

from __future__ import annotations

from tests.oracle.clients import Consumer, Producer
from tests.oracle.exchange import Inbox, Writer
from tests.oracle.kernel import Body, Thread
from tests.oracle.service import Caller
from tests.oracle.world import World


def source(me: Thread, ordinal: int, consumer: Consumer, writer: Writer, world: World) -> Body:
    """Polls, decodes, hands on."""
    pipeline, costs, stamps = world.pipeline, world.costs, world.stamps
    fetched, worker_of, batch_of = stamps["fetched"], stamps["worker"], stamps["batch"]
    poll, cold = costs["worker.poll"], costs["worker.cold"]
    size = pipeline.input_bytes
    decode, put = (costs[name].of_records(pipeline.points, size) for name in ("worker.decode", "exchange.put"))
    polls = 0
    yield me.start()
    me.woke()
    while True:
        taken = consumer.poll(pipeline.consumer.max_poll_records)
        if not taken:
            yield me.wait()
            me.woke()
            continue
        me.worked = True
        work = poll.work(me.number, polls, records=len(taken), size=len(taken) * size)
        if work:
            yield me.cpu(work)
        for record in taken:
            fetched[record] = me.env._now
            worker_of[record] = ordinal
            batch_of[record] = polls
        polls += 1
        work = cold.after_sleep(me)
        if work:
            yield me.cpu(work)
        for record in taken:
            me.worked = True
            for work in me.pieces(decode(me.number, record), put(me.number, record)):
                yield me.cpu(work)
            yield from writer.put(record)


def scoring(me: Thread, ordinal: int, inbox: Inbox, writer: Writer, caller: Caller | None, world: World) -> Body:
    """Takes a record, scores it or has it scored, hands it on."""
    pipeline, costs, stamps = world.pipeline, world.costs, world.stamps
    score_begin, score_end, worker_of = stamps["score_begin"], stamps["score_end"], stamps["worker"]
    get, score = (
        costs[name].of_records(pipeline.points, pipeline.input_bytes) for name in ("exchange.get", "worker.score")
    )
    put = costs["exchange.put"].of_records(pipeline.points, pipeline.output_bytes)
    cold, env, number = costs["worker.cold"], me.env, me.number
    yield me.start()
    me.woke()
    while True:
        record = yield from inbox.get()
        worker_of[record] = ordinal
        works = cold.after_sleep(me), get(number, record)
        me.worked = True
        if caller is None and me.host is None:  # nobody else can see the parts
            score_begin[record] = begin = env._now + sum(works)
            score_end[record] = end = begin + score(number, record)
            work = end + put(number, record) - env._now
            if work:
                yield me.cpu(work)
        else:
            for work in me.pieces(*works):
                yield me.cpu(work)
            score_begin[record] = env._now
            if caller is not None:
                yield from caller.call(record)
            else:
                work = score(number, record)
                if work:
                    yield me.cpu(work)
            score_end[record] = env._now
            work = put(number, record)
            if work:
                yield me.cpu(work)
        yield from writer.put(record)


def sink(me: Thread, inbox: Inbox, producer: Producer, world: World, *, waits: bool = False) -> Body:
    """Takes a record, encodes and produces it; an actor waits for its delivery."""
    pipeline, costs, stamps = world.pipeline, world.costs, world.stamps
    partition, produced = stamps["partition"], stamps["produced"]
    get, encode, produce = (
        costs[name].of_records(pipeline.points, pipeline.output_bytes)
        for name in ("exchange.get", "worker.encode", "worker.produce")
    )
    cold, number = costs["worker.cold"], me.number
    yield me.start()
    me.woke()
    while True:
        record = yield from inbox.get()
        works = cold.after_sleep(me), get(number, record), encode(number, record)
        me.worked = True
        for work in me.pieces(*works):
            yield me.cpu(work)
        produced[record] = me.env._now
        work = produce(number, record)
        if work:
            yield me.cpu(work)
        producer.enqueue(record, partition[record])
        if waits:
            yield from producer.flush()


def last(me: Thread, inbox: Inbox, world: World) -> Body:
    """Takes a record and encodes it: where no broker is, that is the end of it."""
    pipeline, costs = world.pipeline, world.costs
    ends = [world.stamps[name] for name in ("produced", "acked", "out_appended")]
    get, encode = (
        costs[name].of_records(pipeline.points, pipeline.output_bytes) for name in ("exchange.get", "worker.encode")
    )
    yield me.start()
    me.woke()
    while True:
        record = yield from inbox.get()
        works = costs["worker.cold"].after_sleep(me), get(me.number, record), encode(me.number, record)
        me.worked = True
        for work in me.pieces(*works):
            yield me.cpu(work)
        for stamps in ends:
            stamps[record] = me.env._now
