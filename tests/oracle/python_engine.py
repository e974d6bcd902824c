"""The pipeline of the Python engine, written by hand in SimPy, record by record: one thread polls, scores and produces.

It is the poll loop of other engines, too: with `calls_back` its producer client has the callbacks on its own thread,
as the Java client does, and with `servers` the scores come by calls.  It knows nothing of programs or operations.
`simulate` gives every stamp in ns; `docs/simulator.md` says what they mean.
"""

from __future__ import annotations

from typing import Any

from scenarios.spec import MS_NS, Scenario
from tests.oracle import pipeline as pipelines
from tests.oracle.clients import Consumer, Producer
from tests.oracle.kernel import Body, Thread
from tests.oracle.pipeline import Int64s, Pipeline, assigned
from tests.oracle.service import Caller, Service, callers
from tests.oracle.world import World

DELIVERY_POLL_NS = MS_NS


def worker(
    me: Thread, ordinal: int, consumer: Consumer, producer: Producer, caller: Caller | None, world: World
) -> Body:
    env, number = me.env, me.number
    stamps, costs, pipeline = world.stamps, world.costs, world.pipeline
    partition, worker_of, batch_of = stamps["partition"], stamps["worker"], stamps["batch"]
    fetched, score_begin, score_end = stamps["fetched"], stamps["score_begin"], stamps["score_end"]
    produced, cold = stamps["produced"], costs["worker.cold"]
    poll, poll_empty = costs["worker.poll"], costs["worker.poll_empty"]
    points, input_bytes, output_bytes = pipeline.points, pipeline.input_bytes, pipeline.output_bytes
    limit = pipeline.consumer.max_poll_records
    decode, score = (costs[f"worker.{name}"].of_records(points, input_bytes) for name in ("decode", "score"))
    encode, produce = (costs[f"worker.{name}"].of_records(points, output_bytes) for name in ("encode", "produce"))
    in_one_piece = me.host is None and caller is None
    serves = not producer.calls_back
    polls = 0

    yield me.start()
    me.woke()
    while True:
        taken = consumer.poll(limit)
        if not taken:
            yield me.wait_until(env._now + DELIVERY_POLL_NS) if serves and producer.outstanding else me.wait()
            timed = me.woke()
            taken = consumer.poll(limit)
            if not taken:
                if timed:
                    work = poll_empty.after_sleep(me)
                    if work:
                        yield me.cpu(work)
                    producer.serve()
                continue
        me.worked = True
        work = poll.work(number, polls, records=len(taken), size=len(taken) * input_bytes)
        if work:
            yield me.cpu(work)
        for record in taken:
            fetched[record] = env._now
            worker_of[record] = ordinal
            batch_of[record] = polls
        polls += 1
        work = cold.after_sleep(me)
        if work:
            yield me.cpu(work)
        for record in taken:
            if in_one_piece:  # nobody else can see its parts
                begin = env._now + decode(number, record)
                end = begin + score(number, record)
                done = end + encode(number, record)
                score_begin[record], score_end[record], produced[record] = begin, end, done
                work = done + produce(number, record) - env._now
                if work:
                    yield me.cpu(work)
            else:
                me.worked = True
                work = decode(number, record)
                if work:
                    yield me.cpu(work)
                score_begin[record] = env._now
                if caller is None:
                    work = score(number, record)
                    if work:
                        yield me.cpu(work)
                else:
                    yield from caller.call(record)
                score_end[record] = env._now
                work = encode(number, record)
                if work:
                    yield me.cpu(work)
                produced[record] = env._now
                work = produce(number, record)
                if work:
                    yield me.cpu(work)
            producer.enqueue(record, partition[record])
            if producer.delivered:
                producer.serve()


def run(pipeline: Pipeline) -> dict[str, Int64s]:
    """Every stamp in ns by sequence, with partition, worker and poll ordinal; -1 where it was not reached."""
    world = World(pipeline)
    world.add_input_side()
    service = Service(world)
    for ordinal in range(pipeline.workers):
        client, app, sink = world.thread(), world.thread(), world.thread()
        logs = [world.inputs[p] for p in assigned(pipeline.partitions, pipeline.workers, ordinal)]
        [caller] = callers([app], service)
        consumer, producer = world.consumer(client, app, logs), world.producer(sink, app)
        world.bodies.append(worker(app, ordinal, consumer, producer, caller, world))
    service.add_servers()
    world.add_output_side()
    world.add_background()
    return world.run()


def simulate(scenario: Scenario, calibration: Any) -> dict[str, Int64s]:
    """`run` of what a scenario and a calibration say."""
    return run(pipelines.of(scenario, calibration))
