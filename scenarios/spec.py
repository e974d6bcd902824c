"""What a scenario means once it is read: frozen dataclasses in base units.

Both backends, the analysis and the calibration see only these types.  The text form (YAML, units, bounds,
messages) is `scenarios.schema` and `scenarios.load`; nothing here reads a file.  Times are int64 nanoseconds
(`_ns`), rates are records per second (`_per_s`), sizes are bytes (`_bytes`); a bare number is a count.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Literal

S_NS = 1_000_000_000
MS_NS = 1_000_000
US_NS = 1_000
#: While deliveries are outstanding the Python engine polls at least this often, to serve their callbacks.
DELIVERY_POLL_NS = MS_NS


@dataclass(frozen=True, slots=True)
class Arrival:
    """When records are due.  Fields that a kind does not use are None (the schema refuses them)."""

    kind: Literal["constant", "poisson", "gamma", "bursty", "ramp", "square", "trace"] = "constant"
    rate_per_s: float = 0.0  # constant, poisson, gamma, bursty (the sustainable rate S), ramp start, square low
    cv: float | None = None  # gamma: coefficient of variation of the gaps
    # bursty (Crayfish): low_factor*S for low_s, then high_factor*S for high_s, repeated; the limiter keeps credit
    low_factor: float = 0.7
    high_factor: float = 1.1
    low_ns: int = 120 * S_NS
    high_ns: int = 30 * S_NS
    limiter_credit_ns: int = 1 * S_NS
    to_rate_per_s: float | None = None  # ramp end, square high
    period_ns: int | None = None  # square: one low half and one high half
    path: str | None = None  # trace: resolved absolute path
    trace_kind: Literal["counts", "gaps"] = "counts"  # counts per interval, or gaps
    interval_ns: int = S_NS  # trace counts: length of one interval; trace gaps: unit of one gap
    scale: float = 1.0  # trace: every count times, every gap divided by this


@dataclass(frozen=True, slots=True)
class Payload:
    """What a record carries, and how it is made."""

    format: Literal["json", "binary", "protobuf"] = "json"
    serialise: Literal["pool", "each"] = "pool"  # draw ready payloads from a seeded pool, or serialise each anew
    pool: int = 64  # payloads in the pool
    pad_bytes: int = 0  # no-op model only: the value bytes a record carries
    source: str | None = None  # protobuf: resolved absolute path of the CSV file whose rows are sent, again and again
    types: dict[str, float] = field(default_factory=dict)  # of records -> weight; empty: the only one its models have
    poison: tuple[int, ...] = ()  # sequence numbers of records that cannot be parsed


@dataclass(frozen=True, slots=True)
class Workload:
    """The load: how many records, when, how large, and how long."""

    arrival: Arrival = field(default_factory=Arrival)
    points: int = 1  # model inputs in one record (Crayfish's batch size)
    warmup_ns: int = 5 * S_NS
    #: fixed: warmup_ns come before the duration; else they are 0 and the warm-up is cut out of the duration
    warmup_rule: Literal["fixed", "auto", "first-quarter"] = "fixed"
    duration_ns: int = 30 * S_NS
    drain_ns: int = 10 * S_NS
    records: int | None = None  # ends the load too, whichever comes first
    backlog_records: int = 0  # records in the input topic before the engine starts
    producers: int = 1  # generator producers (processes)
    collectors: int = 1  # consumers that share the output topic's partitions
    partitioner: Literal["random", "round-robin"] = "random"
    payload: Payload = field(default_factory=Payload)
    seed: int = 1


@dataclass(frozen=True, slots=True)
class ProducerSettings:
    """Used by the generator's producers and by the engine's sink.  Defaults come from the client profile."""

    linger_ns: int = 5 * MS_NS
    batch_bytes: int = 1_000_000
    batch_records: int = 10_000
    max_in_flight: int = 1_000_000
    acks: Literal["0", "1", "all"] = "all"
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = "none"


@dataclass(frozen=True, slots=True)
class ConsumerSettings:
    """Used by the engine's source (and, but for max_poll_records, by the collector)."""

    max_poll_records: int = 500
    fetch_min_bytes: int = 1
    fetch_max_wait_ns: int = 500 * MS_NS
    fetch_max_bytes: int = 52_428_800
    partition_fetch_bytes: int = 1_048_576
    queued_records: int = 100_000  # prefetch stops above this many queued records a partition
    queued_bytes: int = 65_536 * 1024  # ... or this many queued bytes


@dataclass(frozen=True, slots=True)
class Broker:
    """The broker, and the settings of its clients."""

    kind: Literal["kafka", "mock", "external"] = "kafka"
    partitions: int = 4  # of the input and of the output topic
    io_threads: int = 8
    network_threads: int = 3
    client_profile: str = "librdkafka-2"  # scenarios.profiles
    producer: ProducerSettings = field(default_factory=ProducerSettings)
    consumer: ConsumerSettings = field(default_factory=ConsumerSettings)
    bootstrap: str | None = None  # external only


@dataclass(frozen=True, slots=True)
class Engine:
    """The engine that reads, scores and writes."""

    kind: str = "python"  # a registry word
    parallelism: int = 1  # scoring tasks
    commit_interval_ns: int = 5 * S_NS
    # kafka-streams, flink
    delivery: Literal["at-least-once", "exactly-once"] = "at-least-once"
    transaction_timeout_ns: int | None = None  # of one whose owner is gone, by the broker; None: the engine's own
    # flink
    chained: bool = True  # a task reads, scores and writes on one thread; else sources, scoring and sinks are apart
    source_parallelism: int | None = None  # not chained; None: one a partition
    sink_parallelism: int | None = None
    buffer_timeout_ns: int = 100 * MS_NS  # a buffer that is not full is passed on after so long; 0: each record at once
    buffer_bytes: int = 32 * 1024  # of one network buffer
    buffer_capacity: int | None = None  # records under way to one task, 0: no bound; None: what its buffers hold
    async_capacity: int | None = None  # refused: not modelled
    # spark
    trigger_interval_ns: int = 0  # from the start of one micro-batch to the start of the next, at least
    poll_delay_ns: int = 10 * MS_NS  # between two looks for new records
    max_offsets_per_trigger: int | None = None  # records of a micro-batch at most
    task_slots: int | None = None  # tasks at a time; None: parallelism
    # ray
    cpus_per_actor: float = 0.0  # reserved
    total_cpus: float | None = None  # to reserve; None: the cores of the engine's host
    cpus_times_parallelism: float | None = None  # reserves this times parallelism, whole CPUs from 1 on, instead
    mailbox: int = 100  # records under way to one actor at most; 0: no bound


@dataclass(frozen=True, slots=True)
class Batching:
    """How many requests a thread of an external server takes together, up to its `batch`."""

    policy: Literal["fixed", "eager", "delayed", "aimd", "quantile", "deadline"] | None = None  # None: by batch_delay
    slo_ns: int | None = None  # aimd, quantile: of the time of a batch; deadline: of a request
    samples: int | None = None  # quantile: batches that its line is fitted to; None: 500


@dataclass(frozen=True, slots=True)
class Cache:
    """Answers that an external server keeps, and what the records ask about."""

    size_bytes: int = 32 << 20  # of the answers it keeps
    keys: int = 10_000  # that a record may ask about
    skew: float = 1.0  # Zipf's: the k-th key is asked for in proportion to k ** -skew


@dataclass(frozen=True, slots=True)
class ServingClient:
    """How scoring tasks call an external server."""

    mode: Literal["blocking", "async"] = "blocking"  # a task waits for each answer, or has several calls under way
    in_flight: int = 16  # async: calls of a task at most; outputs keep the order of their inputs
    timeout_ns: int = S_NS  # of one call; a record whose last call took longer is `expired`
    retries: int = 0  # further calls after one that failed or took too long
    protocol: str | None = None  # None: the server's usual one


@dataclass(frozen=True, slots=True)
class Serving:
    """Where the model runs."""

    kind: Literal["embedded", "external"] = "embedded"
    runtime: str = "onnx"  # onnx; the no-op model needs none
    # external: a server that scoring tasks call, one record a call
    workers: int | None = None  # its threads; None: as many as engine.parallelism
    batch_records: int = 1  # requests that one of them scores together at most
    batch_delay_ns: int = 0  # how long an incomplete batch waits, from its first request on
    batching: Batching = field(default_factory=Batching)
    cache: Cache | None = None  # it has none
    client: ServingClient = field(default_factory=ServingClient)


@dataclass(frozen=True, slots=True)
class Branch:
    """A way on from a stage: with its share of the records, to one stage or to several at once."""

    to: tuple[str, ...]
    share: float | None = None  # None: what the branches before it leave


@dataclass(frozen=True, slots=True)
class Stage:
    """A model of a graph: a queue, and workers that score batches of what waits in it."""

    name: str
    workers: int = 1
    batch_records: int = 1  # that one of them scores together at most
    batch_delay_ns: int = 0  # how long an incomplete batch waits, from its first record on
    base_ns: int | None = None  # a batch of n takes base + n * each; both None: what the calibration's server does
    each_ns: int | None = None
    table_ns: tuple[tuple[int, int], ...] = ()  # or what stands here by its size, linear in between
    first_batches_ns: tuple[int, ...] = ()  # of each worker, which is cold at first
    next: tuple[Branch, ...] = ()  # none: its records are answered
    joins: bool = False  # parts of a record that went to several stages become one before they queue
    queue_records: int = 0  # a record that comes to so many is dropped; 0: no bound
    order: Literal["arrival", "created"] = "arrival"  # of the queue
    expiry_ns: int = 0  # a record older than this is not taken; 0: any is


@dataclass(frozen=True, slots=True)
class Model:
    """Which model scores."""

    name: str = "ffnn"  # of the zoo; `file` where there is a path
    path: str | None = None  # a user's own ONNX file
    base_ns: int | None = None  # sleep: n points take base + n * each; None: its own 2 ms and 500 us
    each_ns: int | None = None

    @property
    def label(self) -> str:
        """What tells it from other models: its name, beside it its file's, or how long it sleeps."""
        if self.path is not None:
            return f"{self.name} {PurePath(self.path).stem}"
        times = (("base", self.base_ns), ("each", self.each_ns))
        given = [f"{key} {ns / MS_NS:g} ms" for key, ns in times if ns is not None]
        return " ".join([self.name, *given])


@dataclass(frozen=True, slots=True)
class ModelMessage:
    """One model of a stream of models."""

    name: str
    model: str | None = None  # a registered model, or
    path: str | None = None  # a file: resolved absolute path, or an address with its scheme
    format: Literal["onnx", "lightgbm", "pmml", "tensorflow", "savedmodel"] = "onnx"
    type: str = "record"  # of the records that it scores
    by: Literal["value", "reference"] = "value"
    description: str = ""
    version: int | None = None  # None: how many messages were sent, this one counted
    at_ns: int | None = None  # from the run's start; None: by the stream's first and every
    size_bytes: int | None = None  # to simulate; None: the file's, or the calibration's
    fault: Literal["none", "corrupt", "unknown-format", "missing"] = "none"


@dataclass(frozen=True, slots=True)
class StoreState:
    """What of a store of models is kept outside the worker's memory."""

    kind: Literal["none", "changelog", "record", "snapshot"] = "none"
    commit_ns: int = 30 * S_NS


@dataclass(frozen=True, slots=True)
class ModelTopic:
    """The topic of the models."""

    partitions: int = 1


@dataclass(frozen=True, slots=True)
class ModelStream:
    """Models that change while the stream of records runs; `scenarios.model_stream` says when each is sent."""

    first_ns: int = 500 * MS_NS
    every_ns: int = 600 * MS_NS
    repeat: bool = False
    messages: tuple[ModelMessage, ...] = ()
    delivery: Literal["broadcast", "group"] = "broadcast"
    store: Literal["task", "instance"] = "task"
    instances: int = 1
    state: StoreState = field(default_factory=StoreState)
    restore: Literal["latest", "earliest", "snapshot"] = "latest"
    load: Literal["inline", "background"] = "inline"
    topic: ModelTopic = field(default_factory=ModelTopic)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that breaks while the load runs."""

    at_ns: int
    target: str  # worker-N, instance-N, generator-N, engine, server or broker
    kind: Literal["kill", "pause", "restart"] = "kill"
    restart_ns: int | None = None  # it is back so long after the fault; None: never, after a restart at once


@dataclass(frozen=True, slots=True)
class HostSpec:
    """A host of so many cores."""

    cores: int


@dataclass(frozen=True, slots=True)
class Hosts:
    """Placement.  With `this` every part shares one host whose core count the calibration gives.

    `parts` maps a part (generator, broker, engine, server, collector) to a host name, `hosts` a name to its cores.
    An unmapped part lives on host "default", of the calibration's core count.
    """

    predicts_this_host: bool = False  # `hosts: this`
    hosts: dict[str, HostSpec] = field(default_factory=dict)
    parts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bound:
    """`'< 50 ms'` on a named metric, in the metric's own unit."""

    metric: str
    op: Literal["<", "<=", ">", ">=", "=="]
    value: float


@dataclass(frozen=True, slots=True)
class Profile:
    """A `profile:` section: which runs `real profile` makes."""

    quick: bool = False  # fewer, shorter runs (the demo)
    rates_per_s: tuple[float, ...] = (100.0, 400.0)
    lingers_ns: tuple[int, ...] = (0, 5 * MS_NS, 50 * MS_NS)
    sizes_bytes: tuple[int, ...] = (1024, 8192, 65536)
    partitions: tuple[int, ...] = (1, 4)
    poll_limits: tuple[int, ...] = (1, 500)
    points: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
    backlog_records: int = 8000
    repeats: int = 1


@dataclass(frozen=True, slots=True)
class Check:
    """A `check:` section: which points are predicted and run."""

    repeats: int = 5
    rates_per_s: tuple[float, ...] = ()
    parallelism: tuple[int, ...] = (1,)
    drain: bool = True  # drain throughput at each parallelism
    sustainable: bool = False  # sustainable throughput at each parallelism
    backlog_records: int = 8000
    max_error: dict[str, float] = field(default_factory=dict)  # metric -> bound; above it the exit code is 5


@dataclass(frozen=True, slots=True)
class Scenario:
    """All of a scenario."""

    name: str = "unnamed"
    workload: Workload = field(default_factory=Workload)
    broker: Broker = field(default_factory=Broker)
    engine: Engine = field(default_factory=Engine)
    serving: Serving = field(default_factory=Serving)
    model: Model = field(default_factory=Model)
    stages: tuple[Stage, ...] = ()  # of the engine graph; records come to the first
    hosts: Hosts = field(default_factory=Hosts)
    slo: tuple[Bound, ...] = ()
    expect: tuple[Bound, ...] = ()
    # dotted key -> values as written in the file; "zip" -> groups of such keys whose values go together
    sweep: dict[str, list[Any]] = field(default_factory=dict)
    repeats: int = 1  # sweep.repeats
    calibration: str | None = None
    profile: Profile | None = None
    check: Check | None = None
    deadline_ns: int | None = None  # real: whole run; None means load + drain + 60 s
    protocol: Literal["crayfish"] | None = None  # what else a run is measured by (analysis.crayfish)
    model_stream: ModelStream | None = None  # None: one model for ever
    faults: tuple[Fault, ...] = ()
