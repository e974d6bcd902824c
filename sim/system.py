"""A scenario and a calibration become a system: threads with programs on hosts, and the integers they need.

Both executors read this and nothing else.  Nothing here is measured: every cost comes from the calibration.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scenarios import arrivals, profiles
from scenarios.assignment import range_assignment
from scenarios.draws import TABLE_SIZE
from scenarios.spec import DELIVERY_POLL_NS, Scenario
from sim import programs
from sim.costs import BACKGROUND_PARTS, CPU_COSTS, Calibration, CpuCost
from sim.programs import Operations

Int64s = NDArray[np.int64]
#: Coefficients of CPU costs are integers in 1/1024 ns, residuals in 1/65536.
COST_BITS = 10
RESIDUAL_BITS = 16
#: A gap of k << COLD_STEP_BITS ns reads the k-th entry of the table of coldness, the last one if it is longer.
COLD_STEP_BITS = 15
COLLECTOR_POLL_RECORDS = 10_000
NO_MODEL = "noop"  # scores nothing, whatever model was measured
INPUT, OUTPUT = 0, 1


class UnsupportedError(Exception):
    """The scenario asks for something the calibration cannot answer."""


@dataclass(frozen=True, slots=True)
class Thread:
    """One thread: its place in the lists below is its number."""

    name: str  # unique, e.g. "worker.0.app"
    process: str  # as in host.parquet, e.g. "worker.0"
    part: str  # generator | broker | engine | collector | host
    host: int
    program: Operations
    index: int = 0  # of its generator, producer, consumer or worker


@dataclass(frozen=True, slots=True)
class Host:
    """Cores that share one run queue."""

    name: str
    cores: int
    slice_ns: int
    #: discipline `ps`: R[n], the 1/256 of a core that each of n = 1, 2, ... threads at work gets; None: `slices`
    shares: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Producer:
    """A producer client: its thread, the application thread whose records it sends (-1: none is told), its lanes."""

    client: int
    application: int
    topic: int
    first_partition: int
    partitions: int
    calls_back: bool = False  # on its own thread, as the Java client does, instead of the application's (SERVE)


@dataclass(frozen=True, slots=True)
class Consumer:
    """A consumer: its client thread, the application thread it feeds, the partitions it reads."""

    client: int
    application: int
    topic: int
    first_partition: int
    partitions: int
    max_poll_records: int


@dataclass(frozen=True, slots=True)
class Exchange:
    """Records on their way from writer threads to reader threads."""

    writers: tuple[int, ...]
    readers: tuple[int, ...]
    capacity: int = 0  # records in a reader's inbox and in the buffers towards it; 0: no bound
    flush_ns: int = 0  # 0: passed on at once
    buffer_records: int = 1  # a buffer of so many is passed on at once


@dataclass(frozen=True, slots=True)
class Service:
    """A queue of requests and the threads that answer them."""

    threads: tuple[int, ...]
    batch_records: int = 1  # most requests taken together
    delay_ns: int = 0  # how long an incomplete batch waits, from its first request on


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """A driver that cuts the input topic into batches of one task a partition."""

    driver: int
    executors: tuple[int, ...]
    interval_ns: int = 0
    poll_ns: int = 10_000_000  # how often a driver without new records looks again
    max_records: int = 0  # of a batch; 0: no bound


@dataclass(frozen=True, slots=True)
class Cost:
    """Coefficients in 1/1024 ns; `residual` is a table of TABLE_SIZE factors in 1/65536, or None."""

    fixed: int
    batch: int
    record: int
    point: int
    byte: int
    cold: int
    residual: Int64s | None


@dataclass(frozen=True, slots=True)
class System:
    """Everything an executor needs; times in ns, sizes in bytes."""

    seed: int
    hosts: tuple[Host, ...]
    threads: tuple[Thread, ...]
    producers: tuple[Producer, ...]
    consumers: tuple[Consumer, ...]
    generators: tuple[int, ...]  # application threads
    broker_threads: tuple[int, ...]
    workers: tuple[int, ...]  # application threads
    costs: tuple[Cost, ...]
    wake: Int64s
    timer: Int64s
    network: Int64s
    cold: Int64s  # share of a cold cost, in 1/65536, by the gap in COLD_STEP_NS
    # records
    created: Int64s
    partition: Int64s
    backlog: int
    points: int
    record_bytes: tuple[int, int]  # input, output
    partitions: int
    # client settings
    linger_ns: int
    batch_records: int
    batch_bytes: int
    max_in_flight: int
    fetch_min_bytes: int
    fetch_max_wait_ns: int
    fetch_max_bytes: int
    partition_fetch_bytes: int
    queued_records: int
    queued_bytes: int
    fetch_backoff_ns: int
    delivery_poll_ns: int
    # life of the run
    load_ns: int
    horizon_ns: int
    # what other engine families have
    exchanges: tuple[Exchange, ...] = ()
    services: tuple[Service, ...] = ()
    micro_batch: MicroBatch | None = None

    @property
    def records(self) -> int:
        """Records of the run, the backlog's included."""
        return len(self.created)

    @property
    def backlog_batch_records(self) -> int:
        """Records in one batch of a prefilled backlog."""
        return max(1, min(self.batch_records, self.batch_bytes // self.record_bytes[INPUT]))


def spread_quantiles(quantiles: tuple[float, ...], scale: float = 1.0) -> Int64s:
    """Brings evenly spaced quantiles, or one constant, to TABLE_SIZE integers by linear interpolation."""
    q = np.asarray(quantiles if len(quantiles) > 1 else (quantiles[0], quantiles[0]), dtype=np.float64)
    at = np.arange(TABLE_SIZE) * ((len(q) - 1) / (TABLE_SIZE - 1))
    table: Int64s = np.round(np.interp(at, np.arange(len(q)), q) * scale).astype(np.int64)
    return table


def at_points(table: dict[int, float], points: int) -> float:
    """CPU ns of a record of `points`: log-log inside the measured table, in proportion outside it."""
    if not table:
        return 0.0
    if points in table:
        return table[points]
    known = sorted(table)
    if points < known[0]:
        return table[known[0]] * points / known[0]
    if points > known[-1]:
        return table[known[-1]] * points / known[-1]
    right = next(k for k in known if k > points)
    left = known[known.index(right) - 1]
    if table[left] <= 0 or table[right] <= 0:
        return table[left] + (points - left) / (right - left) * (table[right] - table[left])
    share = (math.log(points) - math.log(left)) / (math.log(right) - math.log(left))
    return math.exp(math.log(table[left]) + share * (math.log(table[right]) - math.log(table[left])))


def _latency(calibration: Calibration, name: str) -> Int64s:
    entry = calibration.latency.get(name)
    return spread_quantiles(entry.quantiles_ns if entry else (0.0,))


def _scaled(x: float) -> int:
    return round(x * (1 << COST_BITS))


def _cost(c: CpuCost | None, measured_ns: float | None = None) -> Cost:
    """A cost in integers; `measured_ns` stands in for its fixed and byte terms."""
    c = c or CpuCost()
    residual = spread_quantiles(c.residual, float(1 << RESIDUAL_BITS)) if c.residual else None
    fixed, byte = (c.fixed_ns.value, c.byte_ns.value) if measured_ns is None else (measured_ns, 0.0)
    return Cost(
        fixed=_scaled(fixed),
        batch=_scaled(c.batch_ns.value),
        record=_scaled(c.record_ns.value),
        point=_scaled(c.point_ns.value),
        byte=_scaled(byte),
        cold=_scaled(c.cold_ns.value),
        residual=residual,
    )


def _coldness(shape: dict[float, float]) -> Int64s:
    gaps = np.arange(TABLE_SIZE, dtype=np.float64) * (1 << COLD_STEP_BITS)
    gone = sum(share * (1.0 - np.exp(-gaps / tau_ns)) for tau_ns, share in shape.items())
    table: Int64s = np.round(gone * float(1 << RESIDUAL_BITS)).astype(np.int64)
    return table


def build(scenario: Scenario, calibration: Calibration) -> System:
    """Lays out the Python engine's pipeline.

    Raises:
        UnsupportedError: the scenario needs something this calibration or simulator does not have.
    """
    if scenario.engine.kind != "python":
        raise UnsupportedError(
            f"engine.kind: {scenario.engine.kind}: the simulator has no programs for it yet; python is there"
        )
    w, b = scenario.workload, scenario.broker
    load_ns = w.warmup_ns + w.duration_ns
    due = np.asarray(arrivals.schedule(w.arrival, load_ns, w.seed), dtype=np.int64)
    if w.records is not None:
        due = due[: w.records]
    created = np.concatenate([np.zeros(w.backlog_records, dtype=np.int64), due])
    partition = np.asarray(arrivals.partition_of(scenario, len(created)), dtype=np.int64)

    host_names = {"default": calibration.host.cores}
    host_names.update({name: spec.cores for name, spec in scenario.hosts.hosts.items()})
    used = sorted(
        {scenario.hosts.parts.get(part, "default") for part in ("generator", "broker", "engine", "collector")}
    )
    hosts = tuple(Host(name, host_names[name], calibration.host.slice_ns) for name in used)
    on = {
        part: used.index(scenario.hosts.parts.get(part, "default"))
        for part in ("generator", "broker", "engine", "collector")
    }
    on["host"] = on["broker"]

    threads: list[Thread] = []

    def add(name: str, process: str, part: str, program: Operations, index: int = 0) -> int:
        threads.append(Thread(name, process, part, on[part], program, index))
        return len(threads) - 1

    producers: list[Producer] = []
    consumers: list[Consumer] = []
    gens = [
        add(f"generator.{g}.app", f"generator.{g}", "generator", programs.generator(), g) for g in range(w.producers)
    ]
    for g in range(w.producers):
        client = add(f"generator.{g}.client", f"generator.{g}", "generator", programs.producer_client(), len(producers))
        producers.append(Producer(client, -1, INPUT, 0, b.partitions))
    brokers = [add(f"broker.{k}", "broker", "broker", programs.broker_thread(), k) for k in range(b.io_threads)]
    apps = []
    for n, (first, count) in enumerate(range_assignment(b.partitions, scenario.engine.parallelism)):
        fetcher = add(f"worker.{n}.consumer", f"worker.{n}", "engine", programs.consumer_client(), len(consumers))
        app = add(f"worker.{n}.app", f"worker.{n}", "engine", programs.python_worker(), n)
        client = add(f"worker.{n}.producer", f"worker.{n}", "engine", programs.producer_client(), len(producers))
        consumers.append(Consumer(fetcher, app, INPUT, first, count, b.consumer.max_poll_records))
        producers.append(Producer(client, app, OUTPUT, first, count))
        apps.append(app)
    fetcher = add("collector.consumer", "collector", "collector", programs.consumer_client(), len(consumers))
    app = add("collector.app", "collector", "collector", programs.collector(), 0)
    consumers.append(Consumer(fetcher, app, OUTPUT, 0, b.partitions, COLLECTOR_POLL_RECORDS))

    # Tables are of the calibration's own model; another model has the line through the sizes.
    tables = dict(calibration.tables_ns) if calibration.regime.get("model") == scenario.model.name else {}
    tables["worker.score"] = {} if scenario.model.name == NO_MODEL else calibration.score_table
    costs = [_cost(calibration.cpu.get(k), at_points(tables[k], w.points) if k in tables else None) for k in CPU_COSTS]
    for i, part in enumerate(BACKGROUND_PARTS):
        value = calibration.background_ns_per_s.get(part)
        each = {"generator": w.producers, "engine": scenario.engine.parallelism}.get(part, 1)
        work = round(value.value * each / 100) if value else 0
        costs.append(Cost(work << COST_BITS, 0, 0, 0, 0, 0, None))
        if value is not None and value.value > 0:
            add(
                f"{part}.background",
                "broker" if part == "broker" else f"{part}.background",
                part,
                programs.background(i),
                i,
            )

    sizes = calibration.sizes_bytes
    pad = w.payload.pad_bytes

    def size(direction: str) -> int:
        if pad:  # what a padded payload holds stands in for the points
            return max(1, round(sizes.get(f"{direction}_fixed", 0.0)) + pad)
        return max(1, round(sizes.get(f"{direction}_fixed", 0.0) + sizes.get(f"{direction}_per_point", 0.0) * w.points))

    profile = profiles.PROFILES[b.client_profile]
    if w.backlog_records and not len(due):
        load_ns = 0
    return System(
        seed=w.seed,
        hosts=hosts,
        threads=tuple(threads),
        producers=tuple(producers),
        consumers=tuple(consumers),
        generators=tuple(gens),
        broker_threads=tuple(brokers),
        workers=tuple(apps),
        costs=tuple(costs),
        wake=_latency(calibration, "wake"),
        timer=_latency(calibration, "timer"),
        network=_latency(calibration, "network"),
        cold=_coldness(calibration.cold_shape),
        created=created,
        partition=partition,
        backlog=w.backlog_records,
        points=w.points,
        record_bytes=(size("input"), size("output")),
        partitions=b.partitions,
        linger_ns=b.producer.linger_ns,
        batch_records=b.producer.batch_records,
        batch_bytes=b.producer.batch_bytes,
        max_in_flight=b.producer.max_in_flight,
        fetch_min_bytes=b.consumer.fetch_min_bytes,
        fetch_max_wait_ns=b.consumer.fetch_max_wait_ns,
        fetch_max_bytes=b.consumer.fetch_max_bytes,
        partition_fetch_bytes=b.consumer.partition_fetch_bytes,
        queued_records=b.consumer.queued_records,
        queued_bytes=b.consumer.queued_bytes,
        fetch_backoff_ns=profile.fetch_backoff_ns,
        delivery_poll_ns=DELIVERY_POLL_NS,
        load_ns=load_ns,
        horizon_ns=w.warmup_ns + w.duration_ns + w.drain_ns,
    )
