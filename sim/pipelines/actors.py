"""Actors (Ray): replicas of a source, a scoring and a sink actor, each with a mailbox, that reserve CPUs.

Actors are scheduled in the order of their creation, replica by replica, as long as there are CPUs to reserve.
"""

from __future__ import annotations

from scenarios.assignment import range_assignment
from sim import programs
from sim.pipelines import stages
from sim.pipelines.pipeline import Pipeline
from sim.system import Exchange

ACTORS_OF_A_REPLICA = 3


def lay_out(pipeline: Pipeline) -> None:
    """The whole pipeline; a replica with an unscheduled actor does no work, and its partitions go to the others."""
    pipeline.generate(programs.generator())
    pipeline.broker()
    working = _scheduled(pipeline)
    for n, own in enumerate(range_assignment(pipeline.scenario.broker.partitions, working) if working else ()):
        _replica(pipeline, n, own)
    pipeline.processes["engine"] = ACTORS_OF_A_REPLICA * working
    pipeline.server()
    pipeline.collect()


def _scheduled(pipeline: Pipeline) -> int:
    """How many replicas are scheduled whole; the rest is told."""
    engine = pipeline.scenario.engine
    actors = ACTORS_OF_A_REPLICA * engine.parallelism
    cpus = float(pipeline.cores("engine")) if engine.total_cpus is None else engine.total_cpus
    each = engine.cpus_per_actor
    if engine.cpus_times_parallelism is not None:
        each = engine.cpus_times_parallelism * engine.parallelism
        each = each if each < 1 else float(int(each))
    room = actors if each == 0 else int(cpus / each + 1e-9)
    left = max(0, actors - room)
    working = min(actors, room) // ACTORS_OF_A_REPLICA
    pipeline.facts |= {"actors": actors, "actors_unscheduled": left, "replicas_working": working}
    if left:
        pipeline.notes.append(
            f"{left} of {actors} actors are not scheduled: each reserves {each:g} of {cpus:g} CPUs; "
            f"{working} of {engine.parallelism} replicas work"
        )
    return working


def _replica(pipeline: Pipeline, n: int, own: tuple[int, int]) -> None:
    to_scoring, to_sink = len(pipeline.exchanges), len(pipeline.exchanges) + 1
    where, part = f"worker.{n}", "engine"
    source = pipeline.consume(
        (f"{where}.consumer", f"{where}.source"), f"{where}.source", part, stages.source(to_scoring), n, own
    )
    scoring = pipeline.add(
        f"{where}.app", f"{where}.scoring", part, stages.scoring(to_scoring, to_sink, pipeline.service), n
    )
    sink = pipeline.add(f"{where}.sink", f"{where}.sink", part, stages.sink(to_sink, waits=True), n)
    pipeline.produce(f"{where}.producer", f"{where}.sink", part, sink, partitions=own)
    pipeline.workers.append(scoring)
    most = pipeline.scenario.engine.mailbox
    pipeline.exchanges += [Exchange((source,), (scoring,), most), Exchange((scoring,), (sink,), most)]
