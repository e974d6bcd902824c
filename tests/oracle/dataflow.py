"""Dataflow, written by hand: sources, scoring tasks and sinks with bounded buffers between them.

A chained task is a poll loop: `tests.oracle.python_engine`.
"""

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
    sources = [(world.thread(), world.thread()) for _ in range(pipeline.sources)]
    tasks = [world.thread() for _ in range(pipeline.workers)]
    sinks = [(world.thread(), world.thread()) for _ in range(pipeline.sinks)]

    writers, inboxes = connect([app for _, app in sources], tasks, pipeline.to_scoring)
    for ordinal, (client, app) in enumerate(sources):
        logs = [world.inputs[p] for p in assigned(pipeline.partitions, pipeline.sources, ordinal)]
        world.bodies.append(stages.source(app, ordinal, world.consumer(client, app, logs), writers[ordinal], world))
    writers, ends = connect(tasks, [app for app, _ in sinks], pipeline.to_sinks)
    for ordinal, (me, caller) in enumerate(zip(tasks, callers(tasks, service), strict=True)):
        world.bodies.append(stages.scoring(me, ordinal, inboxes[ordinal], writers[ordinal], caller, world))
    for (app, client), inbox in zip(sinks, ends, strict=True):
        world.bodies.append(stages.sink(app, inbox, world.producer(client, app), world))
    service.add_servers()
    world.add_output_side()
    world.add_background()
    return world.run()
