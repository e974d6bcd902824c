"""What a model written by hand is told: every number of a pipeline, and nothing of programs, operations or systems."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenarios.arrivals import partition_of, schedule
from scenarios.draws import TABLE_SIZE
from scenarios.keys import keys_of
from scenarios.spec import S_NS, ConsumerSettings, ProducerSettings, Scenario
from tests.oracle.kernel import COLD_STEP_BITS, Terms

#: The costs in the order of their numbers.
COST_NAMES = (
    *("generator.wake", "generator.record", "producer.request"),
    *("broker.produce", "broker.fetch", "broker.fetch_empty"),
    *("consumer.fetch", "consumer.fetch_empty"),
    *("worker.poll", "worker.poll_empty", "worker.decode", "worker.score", "worker.encode", "worker.produce"),
    *("collector.poll", "collector.record"),
    *("producer.wake", "consumer.wake", "worker.cold", "collector.wake", "broker.wake", "broker.rest"),
    *("exchange.put", "exchange.get", "call.request", "call.response", "server.wake", "server.request"),
    *("batch.plan", "batch.commit", "task.start", "task.end"),
)
BACKGROUND_PARTS = ("generator", "broker", "engine", "collector", "host")
NO_LATENCY = (0,) * TABLE_SIZE

Int64s = NDArray[np.int64]


@dataclass(frozen=True)
class Buffers:
    """How records go from threads to threads."""

    capacity: int = 0  # records on their way to one thread; 0: no bound
    flush_ns: int = 0  # a buffer that is not full is passed on at ticks of so long; 0: each record at once
    records: int = 1  # a buffer of so many is passed on at once


@dataclass(frozen=True)
class Pipeline:
    """Times in ns, sizes in bytes; tables have TABLE_SIZE quantiles."""

    seed: int
    created: Sequence[int]  # the backlog's records first, at 0
    partition: Sequence[int]
    horizon_ns: int
    backlog: int = 0
    points: int = 1
    input_bytes: int = 1000
    output_bytes: int = 1000
    generators: int = 1
    partitions: int = 1
    io_threads: int = 1
    producer: ProducerSettings = field(default_factory=ProducerSettings)
    consumer: ConsumerSettings = field(default_factory=ConsumerSettings)
    fetch_backoff_ns: int = S_NS  # before a client looks for room in its queues again
    calls_back: bool = False  # the engine's producer clients, on their own threads, as the Java client does
    costs: Mapping[str, Terms] = field(default_factory=dict)
    background: Sequence[tuple[str, int]] = ()  # of each thread that works whatever the load: its part, its work
    wake: Sequence[int] = NO_LATENCY
    timer: Sequence[int] = NO_LATENCY
    network: Sequence[int] = NO_LATENCY
    coldness: Sequence[int] = NO_LATENCY  # in 1/65536
    hosts: Mapping[str, str] = field(default_factory=dict)  # of each part; "default" where none is named
    curves: Mapping[str, Sequence[float]] = field(
        default_factory=dict
    )  # of hosts shared evenly; else cores never run out
    # the engine
    workers: int = 1  # scoring tasks, executors or replicas
    sources: int = 1
    sinks: int = 1
    to_scoring: Buffers = Buffers()
    to_sinks: Buffers = Buffers()
    interval_ns: int = 0  # from the start of a micro-batch to that of the next
    poll_ns: int = 10_000_000
    max_records: int = 0  # of a micro-batch; 0: no bound
    # serving by calls, if there are servers
    servers: int = 0
    batch_records: int = 1
    delay_ns: int = 0
    batching: str = ""  # aimd, deadline; else as many as there are
    slo_ns: int = 0  # of a batching policy
    keys: Sequence[int] = ()  # what each record asks about, if servers keep answers
    cache_bytes: int = 0  # of the answers they keep
    server_score: Sequence[Terms] = ()  # of 1, 2, ... requests together


def batch_limit(settings: ProducerSettings, record_bytes: int) -> int:
    """How many records one produce request carries at most."""
    return max(1, min(settings.batch_records, settings.batch_bytes // record_bytes))


def assigned(partitions: int, workers: int, worker: int) -> range:
    """The partitions of one worker: consecutive, the first workers one more where they do not divide."""
    each, more = divmod(partitions, workers)
    first = worker * each + min(worker, more)
    return range(first, first + each + (1 if worker < more else 0))


# From a scenario and a calibration


def finer(quantiles: Sequence[float], scale: float = 1.0) -> tuple[int, ...]:
    """17 quantiles brought to the size of a table; one value is a constant."""
    if len(quantiles) == 1:
        return (round(quantiles[0] * scale),) * TABLE_SIZE
    x = np.arange(TABLE_SIZE) * ((len(quantiles) - 1) / (TABLE_SIZE - 1))
    table = np.interp(x, np.arange(len(quantiles)), np.asarray(quantiles, np.float64))
    return tuple(np.round(table * scale).astype(np.int64).tolist())


def score_ns(table: dict[int, float], points: int) -> float:
    """CPU of scoring one record: as measured, log-log between measured points, proportional outside."""
    if not table:
        return 0.0
    if points in table:
        return table[points]
    measured = sorted(table)
    if points < measured[0] or points > measured[-1]:
        end = measured[0] if points < measured[0] else measured[-1]
        return table[end] * points / end
    above = next(p for p in measured if p > points)
    below = measured[measured.index(above) - 1]
    share = (math.log(points) - math.log(below)) / (math.log(above) - math.log(below))
    return math.exp(math.log(table[below]) + share * (math.log(table[above]) - math.log(table[below])))


def terms(entry: Any, number: int = 0, fixed_ns: float | None = None) -> Terms:
    """A cost of a calibration in integers; `fixed_ns` stands in for its fixed and byte terms."""
    names = ("fixed_ns", "batch_ns", "record_ns", "point_ns", "byte_ns", "cold_ns")
    values = [getattr(entry, name).value if entry else 0.0 for name in names]
    if fixed_ns is not None:
        values[0], values[4] = fixed_ns, 0.0
    residual = finer(entry.residual, 65536.0) if entry and entry.residual else ()
    fixed, batch, record, point, byte, cold = (round(value * 1024) for value in values)
    return Terms(fixed, batch, record, point, byte, cold, residual, number)


def coldness(shape: Mapping[float, float]) -> tuple[int, ...]:
    """How cold caches are by the length of a gap."""
    gaps = np.arange(TABLE_SIZE) * float(1 << COLD_STEP_BITS)
    gone = sum(share * (1.0 - np.exp(-gaps / tau)) for tau, share in shape.items())
    return tuple(np.round(gone * 65536.0).astype(np.int64).tolist())


def curves(scenario: Scenario, calibration: Any) -> dict[str, tuple[float, ...]]:
    """The capacity curve of every host: measured as it is, or in proportion; no more than its cores."""
    found = {}
    for name, cores in (("default", calibration.host.cores), *((k, v.cores) for k, v in scenario.hosts.hosts.items())):
        measured = calibration.curves.get(name)
        if measured is None:
            measured = range(1, cores + 1) if name in scenario.hosts.hosts else calibration.host.curve
        found[name] = tuple(min(float(c), float(cores)) for c in measured)
    return found


def of(
    scenario: Scenario, calibration: Any, engine_processes: int | None = None, without: Collection[str] = ()
) -> Pipeline:
    """What a scenario and a calibration say of all but the engine, of which this knows the number of its workers.

    Args:
        scenario: Read are workload, broker, parallelism and serving.
        calibration: Its costs, latencies, sizes, and its host's capacity curve if threads share that.
        engine_processes: Whose background is work; None for one each worker.
        without: Parts that are not there.
    """
    workload, broker, serving = scenario.workload, scenario.broker, scenario.serving
    due = schedule(workload.arrival, workload.warmup_ns + workload.duration_ns, workload.seed)
    if workload.records is not None:
        due = due[: workload.records]
    backlog, points = workload.backlog_records, workload.points
    sizes = calibration.sizes_bytes
    input_bytes, output_bytes = (
        max(1, round(sizes.get(f"{way}_fixed", 0.0) + sizes.get(f"{way}_per_point", 0.0) * points))
        for way in ("input", "output")
    )
    costs = {name: terms(calibration.cpu.get(name), i) for i, name in enumerate(COST_NAMES)}
    score = "worker.score"
    costs[score] = terms(calibration.cpu.get(score), costs[score].number, score_ns(calibration.score_table, points))
    background = []
    processes = {"generator": workload.producers, "engine": engine_processes or scenario.engine.parallelism}
    for part in BACKGROUND_PARTS:
        entry = calibration.background_ns_per_s.get(part)
        if entry and entry.value > 0 and part not in without:
            background.append((part, round(entry.value * processes.get(part, 1) / 100)))

    def latency(name: str) -> tuple[int, ...]:
        entry = calibration.latency.get(name)
        return finer(entry.quantiles_ns) if entry else NO_LATENCY

    pipeline = Pipeline(
        seed=workload.seed,
        created=[0] * backlog + due.tolist(),
        partition=partition_of(scenario, backlog + len(due)).tolist(),
        horizon_ns=workload.warmup_ns + workload.duration_ns + workload.drain_ns,
        backlog=backlog,
        points=points,
        input_bytes=input_bytes,
        output_bytes=output_bytes,
        generators=workload.producers,
        partitions=broker.partitions,
        io_threads=broker.io_threads,
        producer=broker.producer,
        consumer=broker.consumer,
        costs=costs,
        background=background,
        wake=latency("wake"),
        timer=latency("timer"),
        network=latency("network"),
        coldness=coldness(calibration.cold_shape),
        workers=scenario.engine.parallelism,
    )
    if calibration.host.discipline == "ps":
        pipeline = replace(pipeline, hosts=scenario.hosts.parts, curves=curves(scenario, calibration))
    if serving.kind != "external":
        return pipeline
    table, each = calibration.server_table or calibration.score_table, calibration.cpu.get("server.score")
    first, cache = len(COST_NAMES) + len(BACKGROUND_PARTS), serving.cache
    keys = keys_of(workload.seed, backlog + len(due), cache.keys, cache.skew).tolist() if cache else []
    return replace(
        pipeline,
        servers=serving.workers or scenario.engine.parallelism,
        batch_records=serving.batch_records,
        delay_ns=serving.batch_delay_ns,
        batching=serving.batching.policy or "",
        slo_ns=serving.batching.slo_ns or 0,
        keys=keys,
        cache_bytes=cache.size_bytes if cache else 0,
        server_score=[
            terms(each, first + n - 1, score_ns(table, n * points)) for n in range(1, serving.batch_records + 1)
        ],
    )
