"""Without a broker, written by hand: generators hand records to scoring tasks, and each ends at a sink."""

from __future__ import annotations

from tests.oracle import stages
from tests.oracle.exchange import Writer, connect
from tests.oracle.kernel import Body, Thread
from tests.oracle.pipeline import Buffers, Int64s, Pipeline
from tests.oracle.service import Service, callers
from tests.oracle.world import World


def generator(me: Thread, records: range, writer: Writer, world: World) -> Body:
    """Hands each record on when it is due."""
    due, wake = world.stamps["created"], world.costs["generator.wake"]
    each = world.costs["generator.record"].of_records(world.pipeline.points, world.pipeline.input_bytes)
    begins = [world.stamps[name] for name in ("sent", "appended", "fetched")]
    yield me.start()
    me.woke()
    for record in records:
        while due[record] > me.env._now:
            yield me.wait_until(due[record])
            me.woke()
        for stamps in begins:
            stamps[record] = me.env._now
        works = wake.after_sleep(me), each(me.number, record)
        me.worked = True
        for work in me.pieces(*works):
            yield me.cpu(work)
        yield from writer.put(record)


def run(pipeline: Pipeline) -> dict[str, Int64s]:
    """Every stamp in ns by sequence, with partition and worker; -1 where it was not reached."""
    world = World(pipeline)
    service = Service(world)
    generators = [world.thread("generator") for _ in range(pipeline.generators)]
    tasks = [world.thread() for _ in range(pipeline.workers)]
    sinks = [world.thread() for _ in range(pipeline.workers)]
    writers, inboxes = connect(generators, tasks, Buffers())
    for first, (me, writer) in enumerate(zip(generators, writers, strict=True)):
        world.bodies.append(generator(me, range(first, world.total, pipeline.generators), writer, world))
    writers, ends = connect(tasks, sinks, Buffers())
    for ordinal, (me, caller) in enumerate(zip(tasks, callers(tasks, service), strict=True)):
        world.bodies.append(stages.scoring(me, ordinal, inboxes[ordinal], writers[ordinal], caller, world))
    world.bodies += [stages.last(me, inbox, world) for me, inbox in zip(sinks, ends, strict=True)]
    service.add_servers()
    world.add_background()
    return world.run()
