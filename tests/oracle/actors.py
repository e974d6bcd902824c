"""Actors, written by hand: replicas of a source, a scoring and a sink actor, each with a mailbox."""

from __future__ import annotations

from tests.oracle import stages
from tests.oracle.exchange import connect
from tests.oracle.pipeline import Int64s, Pipeline, assigned
from tests.oracle.service import Service, callers
from tests.oracle.world import World


def run(pipeline: Pipeline) -> dict[str, Int64s]:
    """Every stamp in ns by sequence, with partition, worker and poll ordinal; -1 where it was not reached."""
    world = World(pipeline)
    world.add_input_side()
    service = Service(world)
    mailbox = pipeline.to_scoring
    for ordinal in range(pipeline.workers):
        client, source, task, sink, sender = (world.thread() for _ in range(5))
        logs = [world.inputs[p] for p in assigned(pipeline.partitions, pipeline.workers, ordinal)]
        [to_task], [tasks_mail] = connect([source], [task], mailbox)
        [to_sink], [sinks_mail] = connect([task], [sink], mailbox)
        [caller] = callers([task], service)
        world.bodies += [
            stages.source(source, ordinal, world.consumer(client, source, logs), to_task, world),
            stages.scoring(task, ordinal, tasks_mail, to_sink, caller, world),
            stages.sink(sink, sinks_mail, world.producer(sender, sink), world, waits=True),
        ]
    service.add_servers()
    world.add_output_side()
    world.add_background()
    return world.run()
