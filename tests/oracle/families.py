"""Pipelines of every engine family on which all simulators must give the same stamps, and the oracle of each.

`random_case` is a scenario and a calibration; `pipeline_of` is what the model written by hand is told of them, worked
out without the simulator's own builder.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from scenarios.spec import MS_NS, US_NS, Arrival, Batching, Cache, Engine, Hosts, HostSpec, Scenario, Serving
from sim.costs import Calibration, HostCosts
from tests.oracle import actors, brokerless, cases, dataflow, micro_batch, pipeline, python_engine
from tests.oracle.pipeline import Buffers, Int64s, Pipeline

Oracle = Callable[[Pipeline], dict[str, Int64s]]
BACKOFF_NS = {"librdkafka-2": 1_000 * MS_NS, "kafka-java-3": MS_NS}
#: family -> engine.kind
FAMILIES = {
    "python": "python",
    "poll-loop": "kafka-streams",
    "dataflow-chained": "flink",
    "dataflow": "flink",
    "micro-batch": "spark",
    "actors": "ray",
    "brokerless": "standalone",
}


def random_case(family: str, seed: int, *, shared: bool = False, ties: bool = False) -> tuple[Scenario, Calibration]:
    """A pipeline of a few hundred ms; the same for the same numbers.

    Args:
        family: A key of `FAMILIES`.
        seed: What else there is of it.
        shared: Its threads share few cores evenly; else cores never run out.
        ties: Everything takes a multiple of 100 us, so nearly every event has company.
    """
    rng = random.Random(f"{family} {seed}")
    scenario, calibration = cases.random_case(rng.randrange(1 << 32))
    calibration = tied_calibration(rng) if ties else with_costs_of_families(rng, calibration)
    if ties:
        arrival = Arrival(rate_per_s=rng.choice((1_000.0, 2_000.0, 10_000.0)))
        scenario = replace(scenario, workload=replace(scenario.workload, arrival=arrival))
    pick = rng.choice
    if shared:
        curves = (
            (1.0,),
            (1.0, 1.9),
            (1.0, 2.0),
            (0.9, 1.7, 2.3, 2.6),
            (1.0, 2.0, 2.5, 2.5, 2.4),
            tuple(map(float, range(1, 9))),
        )
        host = HostCosts(pick((1, 2, 4, 8)), pick(curves), "ps", 3 * MS_NS)
        calibration = replace(calibration, host=host, curves={"b": pick(curves)} if rng.random() < 0.5 else {})
        if rng.random() < 0.4:
            there = {
                part: "b" for part in ("generator", "broker", "engine", "server", "collector") if rng.random() < 0.5
            }
            scenario = replace(scenario, hosts=Hosts(hosts={"b": HostSpec(pick((1, 2, 6)))}, parts=there))

    engine = Engine(
        kind=FAMILIES[family],
        parallelism=rng.randint(1, 5),
        chained=family != "dataflow",
        source_parallelism=pick((None, 1, 2, 3)),
        sink_parallelism=pick((None, 1, 2, 3)),
        buffer_timeout_ns=pick((0, MS_NS, 7 * MS_NS, 100 * MS_NS)),
        buffer_bytes=pick((1, 10_000, 32 * 1024)),
        buffer_capacity=pick((None, 0, 1, 2, 5, 40)),
        trigger_interval_ns=pick((0, 0, 8 * MS_NS, 50 * MS_NS)),
        poll_delay_ns=pick((1, 10)) * MS_NS,
        max_offsets_per_trigger=pick((None, None, 1, 7, 50)),
        task_slots=pick((None, 1, 2)),
        cpus_per_actor=pick((0.0, 0.5, 1.0)),
        total_cpus=float(rng.randint(1, 12)),
    )
    serving = Serving()
    if rng.random() < 0.5:
        delay_ns = pick((0, 0, 2 * cases.STEP_NS, 3 * MS_NS))
        batching = pick((None, None, Batching("aimd", slo_ns=MS_NS), Batching("deadline", slo_ns=3 * MS_NS)))
        most = pick((2, 3, 8, 16)) if batching else pick((1, 2, 3, 8))
        cache = Cache(pick((1, 20_000, 1 << 25)), keys=pick((5, 50, 1000)), skew=pick((0.0, 1.0)))
        serving = Serving(
            "external",
            workers=rng.randint(1, 4),
            batch_records=most,
            batch_delay_ns=delay_ns,
            batching=batching or Batching(),
            cache=cache if rng.random() < 0.4 else None,
        )
    workload = scenario.workload
    if family == "brokerless":
        workload = replace(workload, backlog_records=0)
    profile = "librdkafka-2" if family == "python" else pick(("kafka-java-3", "kafka-java-3", "librdkafka-2"))
    if family == "dataflow":
        profile = "kafka-java-3"
    if family == "actors":
        engine = replace(engine, mailbox=pick((0, 1, 2, 5, 100)))
    broker = replace(scenario.broker, client_profile=profile)
    return replace(scenario, engine=engine, serving=serving, workload=workload, broker=broker), calibration


def with_costs_of_families(rng: random.Random, calibration: Calibration) -> Calibration:
    """Adds what only other engines than the Python one pay."""
    us = float(US_NS)

    def some(fixed: float, *, batch: float = 0, record: float = 0, point: float = 0, byte: float = 0) -> Any:
        fixed, batch, record, point, byte = (top * rng.random() for top in (fixed, batch, record, point, byte))
        terms = cases.cost(fixed, batch=batch, record=record, point=point, byte=byte)
        return replace(terms, residual=cases.residual(rng))

    cpu = {
        "exchange.put": some(10 * us, record=10 * us, byte=2),
        "exchange.get": some(10 * us, record=10 * us, byte=2),
        "call.request": some(30 * us, point=2 * us, byte=3),
        "call.response": some(30 * us, record=3 * us, point=2 * us),
        "server.wake": replace(cases.cost(20 * us * rng.random(), cold=40 * us), residual=cases.residual(rng)),
        "server.request": some(20 * us, batch=20 * us, record=20 * us, byte=2),
        "server.score": some(0, record=5 * us, point=us),
        "batch.plan": some(2_000 * us),
        "batch.commit": some(2_000 * us),
        "task.start": some(500 * us, batch=100 * us, record=5 * us, byte=1),
        "task.end": some(300 * us, record=2 * us),
    }
    for name in list(cpu):
        if rng.random() < 0.15:
            del cpu[name]  # counts as zero
    server_table = {1: 90 * us, 4: 200 * us, 32: 1_100 * us} if rng.random() < 0.5 else {}
    return replace(calibration, cpu={**calibration.cpu, **cpu}, server_table=server_table)


def tied_calibration(rng: random.Random) -> Calibration:
    """Costs and latencies of few steps each, many of none."""
    steps = {name: rng.choice((0, 0, 1, 1, 1, 2, 3)) for name in pipeline.COST_NAMES}
    wake, timer, network = (rng.choice((0, 1, 1, 2)) for _ in range(3))
    found = cases.lattice_calibration(steps, wake=wake, timer=timer, network=network, score=rng.choice((0, 1, 2, 5)))
    return replace(found, server_table={n: float(n // 2 * cases.STEP_NS) for n in (1, 2, 3, 4, 8, 16, 24, 64)})


def pipeline_of(family: str, scenario: Scenario, calibration: Calibration) -> tuple[Oracle, Pipeline]:
    """The oracle of a scenario, and what it is told."""
    engine, partitions = scenario.engine, scenario.broker.partitions
    workers, processes, without = engine.parallelism, 1, []
    if family == "python":
        processes = workers
    elif family == "micro-batch":
        workers, processes = engine.task_slots or workers, 2
    elif family == "actors":  # a replica that finds no room for all of its three does not work
        if engine.cpus_per_actor:
            workers = min(workers, int((engine.total_cpus or 0) / engine.cpus_per_actor) // 3)
        processes = 3 * workers
        without = [] if workers else ["engine"]
    elif family == "brokerless":
        without = ["broker", "collector"]
    profile = scenario.broker.client_profile
    found = replace(
        pipeline.of(scenario, calibration, processes, without),
        workers=workers,
        fetch_backoff_ns=BACKOFF_NS[profile],
        calls_back=profile == "kafka-java-3",
    )
    if family == "brokerless":
        return brokerless.run, replace(found, partition=[0] * len(found.created))
    if family == "micro-batch":
        found = replace(found, interval_ns=engine.trigger_interval_ns, poll_ns=engine.poll_delay_ns)
        return micro_batch.run, replace(found, max_records=engine.max_offsets_per_trigger or 0)
    if family == "actors":
        return actors.run, replace(found, to_scoring=Buffers(engine.mailbox))
    if family != "dataflow":
        return python_engine.run, found
    sources, sinks = (n or partitions for n in (engine.source_parallelism, engine.sink_parallelism))

    def buffers(writers: int, record_bytes: int) -> Buffers:
        capacity = engine.buffer_capacity
        if capacity is None:  # three buffers a channel, eight more for a reader
            capacity = max(1, (3 * writers + 8) * engine.buffer_bytes // record_bytes)
        return Buffers(capacity, engine.buffer_timeout_ns, max(1, engine.buffer_bytes // record_bytes))

    return dataflow.run, replace(
        found,
        sources=sources,
        sinks=sinks,
        to_scoring=buffers(sources, found.input_bytes),
        to_sinks=buffers(found.workers, found.output_bytes),
    )
