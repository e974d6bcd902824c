"""Pipelines with models that change, on which all simulators must give the same stamps."""

from __future__ import annotations

import random
from dataclasses import replace

from scenarios.spec import MS_NS, US_NS, Fault, ModelMessage, ModelStream, ModelTopic, Scenario, Serving, StoreState
from sim.costs import Calibration
from tests.oracle import cases, families

FAMILIES = ("python", "poll-loop", "dataflow-chained")


def random_case(
    family: str, seed: int, *, shared: bool, ties: bool, kills: bool = False
) -> tuple[Scenario, Calibration]:
    """A case of the family whose models change, and with `kills` workers die; the same for the same numbers."""
    scenario, calibration = families.random_case(family, seed, shared=shared, ties=ties)
    rng = random.Random(f"models {family} {seed}")
    step = cases.STEP_NS
    load = scenario.workload
    end = load.warmup_ns + load.duration_ns
    types = rng.sample(("red", "white", "rose"), rng.randrange(1, 4))

    def at() -> int:
        return rng.randrange(end // step) * step if ties else rng.randrange(end)

    messages = tuple(
        ModelMessage(
            name=f"m{k}",
            model="wine" * rng.randrange(1, 5),
            type=rng.choice(types),
            by=rng.choice(("value", "value", "reference")),
            description="d" * rng.randrange(9),
            at_ns=at() if rng.random() < 0.3 else None,
            size_bytes=rng.randrange(1, 400_000),
            fault=rng.choice(("none",) * 5 + ("corrupt", "unknown-format")),
        )
        for k in range(rng.randrange(1, 7))
    )
    repeat = rng.random() < 0.4
    if repeat:
        messages = tuple(replace(m, at_ns=None) for m in messages)
    stream = ModelStream(
        first_ns=rng.choice((0, at() // 4)),
        every_ns=max(MS_NS, at() // 6),
        repeat=repeat,
        messages=messages,
        delivery=rng.choice(("broadcast", "group")),
        store=rng.choice(("task", "instance")),
        instances=rng.randrange(1, scenario.engine.parallelism + 1),
        state=StoreState(rng.choice(("none", "changelog", "record", "snapshot")), max(MS_NS, at() // 5)),
        load=rng.choice(("inline", "background")),
        topic=ModelTopic(rng.choice((1, 1, 2, 5))),
    )
    names = ("model.receive", "model.swap", "store.write", "model.load")
    if ties:
        costs = {name: cases.cost(rng.randrange(3) * step) for name in names}
    else:
        costs = {
            name: replace(cases.cost(100.0 * US_NS * rng.random(), byte=rng.random()), residual=cases.residual(rng))
            for name in names
            if rng.random() < 0.9
        }
    count = load.backlog_records + 200
    payload = replace(
        load.payload,
        format="protobuf",
        types={name: rng.randrange(1, 4) for name in types},
        poison=tuple(sorted({rng.randrange(count) for _ in range(rng.randrange(4))})),
    )
    if kills:
        kept = rng.choice(("latest", "earliest", *(("snapshot",) if stream.state.kind != "none" else ())))
        stream = replace(stream, restore=kept, instances=scenario.engine.parallelism)
        after = (0, rng.randrange(end // 4), None)
        faults = tuple(
            Fault(at(), f"instance-{rng.randrange(stream.instances)}", restart_ns=rng.choice(after))
            for _ in range(rng.randrange(1, 4))
        )
        engine = replace(scenario.engine, commit_interval_ns=max(MS_NS, rng.choice((at() // 9, 2 * end))))
        scenario = replace(scenario, faults=faults, engine=engine)
    scenario = replace(scenario, serving=Serving(), model_stream=stream, workload=replace(load, payload=payload))
    return scenario, replace(calibration, cpu={**calibration.cpu, **costs})
