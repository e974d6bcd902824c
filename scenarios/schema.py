"""The text form of a scenario: one pydantic model for each section of the file.

The models mirror `scenarios.spec`; a field's name leaves out the unit that its spec field ends with (`linger` is
`linger_ns`).  Defaults are those of the spec.  What only a combination of fields can get wrong is in
`scenarios.rules`; the way to and from the spec is `scenarios.convert`.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin

from pydantic import BeforeValidator, Field, WithJsonSchema

from scenarios import spec
from scenarios.fields import (
    Backlog,
    Cpus,
    Duration,
    ErrorBound,
    Factor,
    LongDuration,
    Million,
    Natural,
    OneOrMany,
    PadSize,
    Partitions,
    Points,
    PositiveRate,
    Probability,
    QueueSize,
    Rate,
    Records,
    RegistryWord,
    Repeats,
    Retries,
    Samples,
    Scale,
    Seed,
    Shorthand,
    Size,
    Small,
    Step,
    TenMillion,
    Unit,
    Variation,
    Warmup,
)
from scenarios.metric_names import METRIC_NAMES, PARTS, MetricName
from scenarios.model_stream_schema import Fault, ModelStream
from scenarios.section import Section

_ARRIVAL = spec.Arrival()
_PAYLOAD = spec.Payload()
_WORKLOAD = spec.Workload()
_PRODUCER = spec.ProducerSettings()
_CONSUMER = spec.ConsumerSettings()
_BROKER = spec.Broker()
_ENGINE = spec.Engine()
_SERVING = spec.Serving()
_CACHE = spec.Cache()
_CLIENT = spec.ServingClient()
_MODEL = spec.Model()
_PROFILE = spec.Profile()
_CHECK = spec.Check()

# Arrival fields each kind reads; any other is refused there, and dropped when a derived scenario changes the kind.
ARRIVAL_FIELDS: dict[str, tuple[str, ...]] = {
    "constant": ("rate",),
    "poisson": ("rate",),
    "gamma": ("rate", "cv"),
    "bursty": ("rate", "low_factor", "high_factor", "low", "high", "limiter_credit"),
    "ramp": ("rate", "to_rate"),
    "square": ("rate", "to_rate", "period"),
    "trace": ("path", "trace_kind", "interval", "scale"),
}


def _word(value: Any) -> Any:
    """A bare number where a word is meant (`acks: 0`)."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


# Engine fields that only some kinds read, as above; an engine that is not here may be given any.
ENGINE_FIELDS: dict[str, tuple[str, ...]] = {
    "python": (),
    "kafka-streams": ("delivery", "transaction_timeout"),
    "flink": (
        *("delivery", "transaction_timeout"),
        *("chained", "source_parallelism", "sink_parallelism"),
        *("buffer_timeout", "buffer_bytes", "buffer_capacity", "async_capacity"),
    ),
    "pekko": (),
    "spark": ("trigger_interval", "poll_delay", "max_offsets_per_trigger", "task_slots"),
    "ray": ("cpus_per_actor", "total_cpus", "cpus_times_parallelism", "mailbox"),
    "standalone": (),
    "graph": (),
}
SERVING_FIELDS: dict[str, tuple[str, ...]] = {
    "embedded": (),
    "external": ("workers", "batch", "batch_delay", "batching", "cache", "client"),
}
#: Of flink where its operators are not chained.
UNCHAINED_FIELDS = ("source_parallelism", "sink_parallelism", "buffer_timeout", "buffer_bytes", "buffer_capacity")
#: Read by every engine.
ENGINE_COMMON = ("kind", "parallelism", "commit_interval")


class Arrival(Section):
    """When records are due."""

    SPEC: ClassVar[Any] = spec.Arrival
    kind: Literal["constant", "poisson", "gamma", "bursty", "ramp", "square", "trace"] = Field(
        default=_ARRIVAL.kind, description="the arrival process"
    )
    rate: Rate = Field(
        default=_ARRIVAL.rate_per_s,
        description="records per second; bursty: the sustainable rate S; ramp: at the start; square: first half",
    )
    cv: Variation | None = Field(default=None, description="gamma: coefficient of variation of the gaps (1 is Poisson)")
    low_factor: Factor = Field(default=_ARRIVAL.low_factor, description="bursty: rate of the low phase, times S")
    high_factor: Factor = Field(default=_ARRIVAL.high_factor, description="bursty: rate of the high phase, times S")
    low: Step = Field(default=_ARRIVAL.low_ns, description="bursty: length of the low phase, which comes first")
    high: Step = Field(default=_ARRIVAL.high_ns, description="bursty: length of the high phase")
    limiter_credit: Duration = Field(
        default=_ARRIVAL.limiter_credit_ns, description="bursty: time whose unused permits an idle limiter keeps"
    )
    to_rate: Rate | None = Field(default=None, description="ramp: rate at the end; square: rate of the second half")
    period: Step | None = Field(default=None, description="square: length of one period, half at each rate")
    path: str | None = Field(
        default=None,
        min_length=1,
        max_length=4096,
        description="trace: file, relative to this one; .gz may end its name",
    )
    trace_kind: Literal["counts", "gaps"] = Field(
        default=_ARRIVAL.trace_kind, description="trace: a line is a count per interval, or the gap before a record"
    )
    interval: Unit = Field(
        default=_ARRIVAL.interval_ns, description="trace: length of one interval; for gaps, the unit they are in"
    )
    scale: Scale = Field(default=_ARRIVAL.scale, description="trace: rates are multiplied by this")


class Payload(Section):
    """What a record carries."""

    SPEC: ClassVar[Any] = spec.Payload
    format: Literal["json", "binary", "protobuf"] = Field(
        default=_PAYLOAD.format, description="wire format of a record; protobuf: of a stream of models"
    )
    serialise: Literal["pool", "each"] = Field(
        default=_PAYLOAD.serialise, description="send ready payloads drawn from a pool, or serialise each record anew"
    )
    pool: Million = Field(default=_PAYLOAD.pool, description="payloads in the pool")
    pad: PadSize = Field(default=_PAYLOAD.pad_bytes, description="value bytes of a record; only with the model noop")
    source: str | None = Field(
        default=None,
        min_length=1,
        max_length=4096,
        description="protobuf: CSV file whose rows are the records, relative to this one",
    )
    types: dict[str, Factor] = Field(
        default_factory=dict, description="with model_stream: type of records -> weight; default the models' only one"
    )
    poison: tuple[Backlog, ...] = Field(
        default=(), max_length=100_000, description="with model_stream: sequence numbers that cannot be parsed"
    )


class BacklogSection(Section):
    """Records in the topic before the engine starts."""

    records: Backlog = Field(description="records in the input topic before the engine starts")


class Workload(Section):
    """The load: when, how long, what."""

    SPEC: ClassVar[Any] = spec.Workload
    RENAMED: ClassVar[dict[str, str]] = {"backlog": "backlog_records", "warmup": "warmup_ns"}
    arrival: Arrival = Field(default=Arrival(), description="when records are due")
    points: Points = Field(default=_WORKLOAD.points, description="model inputs in one record")
    warmup: Warmup = Field(
        default=_WORKLOAD.warmup_ns,
        description="load before the records that metrics count; auto, first-quarter: cut out of the duration instead",
    )
    duration: Duration = Field(default=_WORKLOAD.duration_ns, description="load whose records metrics count")
    drain: Duration = Field(default=_WORKLOAD.drain_ns, description="longest wait for records in flight after the load")
    records: Records | None = Field(default=None, description="ends the load too, whichever comes first")
    backlog: BacklogSection | None = Field(default=None, description="records in the topic before the engine starts")
    producers: Small = Field(
        default=_WORKLOAD.producers, description="generator processes; record r is sent by r mod this"
    )
    collectors: Small = Field(
        default=_WORKLOAD.collectors, description="consumers of the output topic, each with its share of the partitions"
    )
    partitioner: Literal["random", "round-robin"] = Field(
        default=_WORKLOAD.partitioner, description="how a record chooses its partition"
    )
    payload: Payload = Field(default=Payload(), description="what a record carries")
    seed: Seed = Field(default=_WORKLOAD.seed, description="of every random draw of the run")


class Producer(Section):
    """Producer settings, of the generator and of the engine's sink."""

    SPEC: ClassVar[Any] = spec.ProducerSettings
    linger: Duration = Field(default=_PRODUCER.linger_ns, description="wait for a batch to fill")
    batch_bytes: Size = Field(default=_PRODUCER.batch_bytes, description="a batch is sent at this size")
    batch_records: Million = Field(default=_PRODUCER.batch_records, description="a batch is sent at this many records")
    max_in_flight: Million = Field(default=_PRODUCER.max_in_flight, description="requests awaiting a reply, per broker")
    acks: Annotated[
        Literal["0", "1", "all"], BeforeValidator(_word), WithJsonSchema({"enum": ["0", "1", "all", 0, 1]})
    ] = Field(default=_PRODUCER.acks, description="replicas that must have a batch before it is acknowledged")
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = Field(
        default=_PRODUCER.compression, description="codec of a batch"
    )


class Consumer(Section):
    """Consumer settings, of the engine's source and of the collector."""

    SPEC: ClassVar[Any] = spec.ConsumerSettings
    max_poll_records: Million = Field(
        default=_CONSUMER.max_poll_records, description="records one poll returns at most"
    )
    fetch_min: Size = Field(
        default=_CONSUMER.fetch_min_bytes, description="the broker waits for this much before it replies"
    )
    fetch_max_wait: Duration = Field(default=_CONSUMER.fetch_max_wait_ns, description="... but no longer than this")
    fetch_max: Size = Field(default=_CONSUMER.fetch_max_bytes, description="size of one fetch reply at most")
    partition_fetch: Size = Field(default=_CONSUMER.partition_fetch_bytes, description="... of one partition in it")
    queued_records: TenMillion = Field(
        default=_CONSUMER.queued_records, description="prefetch stops above this many records a partition"
    )
    queued: QueueSize = Field(default=_CONSUMER.queued_bytes, description="... or above this size")


class Broker(Section):
    """The broker, and the clients' settings."""

    SPEC: ClassVar[Any] = spec.Broker
    RENAMED: ClassVar[dict[str, str]] = {"client": "client_profile"}
    kind: Literal["kafka", "mock", "external"] = Field(
        default=_BROKER.kind, description="kafka: started here; mock: in the client library; external: already running"
    )
    partitions: Partitions = Field(default=_BROKER.partitions, description="of the input and of the output topic")
    io_threads: Small = Field(default=_BROKER.io_threads, description="request handlers of the broker")
    network_threads: Small = Field(default=_BROKER.network_threads, description="network threads of the broker")
    client: str = Field(
        default=_BROKER.client_profile,
        description="client profile whose defaults hold below; if left out, the engine's",
    )
    producer: Producer = Field(default=Producer(), description="producers (generator, engine sink)")
    consumer: Consumer = Field(default=Consumer(), description="consumers (engine source, collector)")
    bootstrap: str | None = Field(
        default=None,
        pattern=r"^[^\s,:]+:\d{1,5}(,[^\s,:]+:\d{1,5})*$",
        description="external only: host:port[,host:port]",
    )


class Engine(Section):
    """The stream processor."""

    SPEC: ClassVar[Any] = spec.Engine
    kind: Annotated[str, RegistryWord("engines")] = Field(default=_ENGINE.kind, description="a registered engine")
    parallelism: Small = Field(default=_ENGINE.parallelism, description="scoring tasks; python: worker processes")
    commit_interval: Step = Field(default=_ENGINE.commit_interval_ns, description="time between two offset commits")
    delivery: Literal["at-least-once", "exactly-once"] = Field(
        default=_ENGINE.delivery, description="kafka-streams, flink: exactly-once writes outputs in transactions"
    )
    transaction_timeout: Step | None = Field(
        default=None,
        description="exactly-once: until the broker ends one whose owner is gone; default 10 s, flink 15 min",
    )
    chained: bool = Field(
        default=_ENGINE.chained, description="flink: read, score and write on one thread a task", strict=True
    )
    source_parallelism: Small | None = Field(
        default=None, description="flink, not chained: sources; default one a partition"
    )
    sink_parallelism: Small | None = Field(
        default=None, description="flink, not chained: sinks; default one a partition"
    )
    buffer_timeout: Duration = Field(
        default=_ENGINE.buffer_timeout_ns, description="flink, not chained: a buffer is passed on after so long"
    )
    buffer_bytes: Size = Field(default=_ENGINE.buffer_bytes, description="flink, not chained: size of a buffer")
    buffer_capacity: Natural | None = Field(
        default=None,
        description="flink, not chained: records under way to a task, 0 for no bound; default what its buffers hold",
    )
    async_capacity: Small | None = Field(default=None, description="flink: asynchronous calls; not modelled yet")
    trigger_interval: Duration = Field(
        default=_ENGINE.trigger_interval_ns, description="spark: between the starts of two micro-batches, at least"
    )
    poll_delay: Step = Field(default=_ENGINE.poll_delay_ns, description="spark: between two looks for new records")
    max_offsets_per_trigger: Records | None = Field(default=None, description="spark: records of a micro-batch at most")
    task_slots: Small | None = Field(default=None, description="spark: tasks at a time; default parallelism")
    cpus_per_actor: Factor = Field(default=_ENGINE.cpus_per_actor, description="ray: CPUs an actor reserves")
    total_cpus: Cpus | None = Field(
        default=None, description="ray: CPUs there are to reserve; default the cores of the engine's host"
    )
    cpus_times_parallelism: Factor | None = Field(
        default=None,
        description="ray: an actor reserves this times parallelism instead, whole CPUs from one on",
    )
    mailbox: Natural = Field(
        default=_ENGINE.mailbox, description="ray: records under way to one actor at most; 0: no bound"
    )


class Batching(Section):
    """How many requests a thread of an external server takes together; `batch` is the most."""

    SPEC: ClassVar[Any] = spec.Batching
    policy: Literal["fixed", "eager", "delayed", "aimd", "quantile", "deadline"] | None = Field(
        default=None, description="what decides; default delayed where there is a batch_delay, else eager"
    )
    slo: Step | None = Field(default=None, description="aimd, quantile: of a batch's time; deadline: of a request")
    samples: Samples | None = Field(
        default=None, description="quantile: batches that its line is fitted to; default 500"
    )


class Cache(Section):
    """Answers that an external server keeps, and what the records ask about."""

    SPEC: ClassVar[Any] = spec.Cache
    size: QueueSize = Field(default=_CACHE.size_bytes, description="of the answers it keeps")
    keys: Million = Field(default=_CACHE.keys, description="that a record may ask about")
    skew: Factor = Field(default=_CACHE.skew, description="the k-th key is asked for in proportion to k ** -skew")


class ServingClient(Section):
    """How scoring tasks call an external server."""

    SPEC: ClassVar[Any] = spec.ServingClient
    mode: Literal["blocking", "async"] = Field(
        default=_CLIENT.mode, description="a task waits for each answer, or has several calls under way"
    )
    in_flight: Small = Field(default=_CLIENT.in_flight, description="async: calls of a task at most")
    timeout: Step = Field(default=_CLIENT.timeout_ns, description="of a call; a record that gets no answer expires")
    retries: Retries = Field(default=_CLIENT.retries, description="further calls after one that failed")
    protocol: str | None = Field(
        default=None, min_length=1, max_length=40, description="that the server is called by; default its usual one"
    )


class Serving(Section):
    """Where scoring happens."""

    SPEC: ClassVar[Any] = spec.Serving
    RENAMED: ClassVar[dict[str, str]] = {"batch": "batch_records"}
    kind: Literal["embedded", "external"] = Field(
        default=_SERVING.kind, description="embedded: in the engine's own thread; external: a server that it calls"
    )
    runtime: Annotated[str, RegistryWord("runtimes")] = Field(
        default=_SERVING.runtime, description="what runs the model"
    )
    workers: Small | None = Field(default=None, description="external: threads of the server; default parallelism")
    batch: Small = Field(default=_SERVING.batch_records, description="external: requests scored together at most")
    batch_delay: Duration = Field(
        default=_SERVING.batch_delay_ns, description="external: how long an incomplete batch waits"
    )
    batching: Batching = Field(default=Batching(), description="external: what decides how large a batch is")
    cache: Cache | None = Field(default=None, description="external: answers it keeps; default none")
    client: ServingClient = Field(default=ServingClient(), description="external: how it is called")


class Model(Section):
    """The model; `model: ffnn` for short."""

    SPEC: ClassVar[Any] = spec.Model
    name: Annotated[str, RegistryWord("models")] = Field(default=_MODEL.name, description="a registered model")
    path: str | None = Field(
        default=None,
        min_length=1,
        max_length=4096,
        description="an ONNX file of one's own, relative to this one; then whatever the name says",
    )
    base: Duration | None = Field(default=None, description="sleep: what n points take: base + n * each; default 2 ms")
    each: Duration | None = Field(default=None, description="sleep: and for each of them; default 500 us")


class GraphBranch(Section):
    """A way on from a stage."""

    SPEC: ClassVar[Any] = spec.Branch
    to: Annotated[tuple[str, ...], OneOrMany()] = Field(
        min_length=1, max_length=64, description="the stage, or several at once, that a record goes on to"
    )
    share: Probability | None = Field(default=None, description="of the stage's records; default what is left")


class GraphStage(Section):
    """A model of a graph."""

    SPEC: ClassVar[Any] = spec.Stage
    RENAMED: ClassVar[dict[str, str]] = {"batch": "batch_records", "queue": "queue_records"}
    workers: Small = Field(default=1, description="threads that score, each a batch at a time")
    batch: Small = Field(default=1, description="records scored together at most")
    batch_delay: Duration = Field(default=0, description="how long an incomplete batch waits")
    base: Duration | None = Field(default=None, description="time of a batch whatever its size")
    each: Duration | None = Field(default=None, description="time a record adds to its batch")
    table: dict[str, Duration] = Field(
        default_factory=dict, description="batch size -> time, instead of base and each; linear in between"
    )
    first_batches: tuple[Duration, ...] = Field(
        default=(), max_length=1000, description="times of each worker's first batches, while it is cold"
    )
    next: tuple[GraphBranch, ...] = Field(default=(), max_length=64, description="ways on; without any, the end")
    joins: bool = Field(default=False, description="a record's parts become one before they queue", strict=True)
    queue: Natural = Field(default=0, description="a record that finds so many waiting is dropped; 0: no bound")
    order: Literal["arrival", "created"] = Field(default="arrival", description="which record is the first to go")
    expiry: Duration = Field(default=0, description="age at which a waiting record is given up; 0: none is")


class HostEntry(Section):
    """One part's place: a host of its own, or another's by name."""

    cores: Small | None = Field(default=None, description="the part has a host of its own with this many cores")
    on: str | None = Field(
        default=None, min_length=1, max_length=80, description="the part sits on the host of this name"
    )


class Profile(Section):
    """Which runs `python -m real profile` makes."""

    SPEC: ClassVar[Any] = spec.Profile
    RENAMED: ClassVar[dict[str, str]] = {"backlog": "backlog_records"}
    quick: bool = Field(default=_PROFILE.quick, description="fewer, shorter runs", strict=True)
    rates: tuple[PositiveRate, ...] = Field(default=_PROFILE.rates_per_s, min_length=1, description="paced rates")
    lingers: tuple[Duration, ...] = Field(default=_PROFILE.lingers_ns, min_length=1, description="producer lingers")
    sizes: tuple[Size, ...] = Field(default=_PROFILE.sizes_bytes, min_length=1, description="value sizes, model noop")
    partitions: tuple[Partitions, ...] = Field(
        default=_PROFILE.partitions, min_length=1, description="partition counts"
    )
    poll_limits: tuple[Million, ...] = Field(
        default=_PROFILE.poll_limits, min_length=1, description="records of one poll"
    )
    points: tuple[Points, ...] = Field(default=_PROFILE.points, min_length=1, description="model inputs of one record")
    backlog: BacklogSection = Field(
        default_factory=lambda: BacklogSection(records=_PROFILE.backlog_records), description="backlog to drain"
    )
    repeats: Repeats = Field(default=_PROFILE.repeats, description="runs of each point")


class Check(Section):
    """Which points `python -m calibration check` predicts and runs."""

    SPEC: ClassVar[Any] = spec.Check
    RENAMED: ClassVar[dict[str, str]] = {"backlog": "backlog_records"}
    repeats: Repeats = Field(default=_CHECK.repeats, description="real runs of each point, interleaved")
    rates: tuple[PositiveRate, ...] = Field(default=_CHECK.rates_per_s, description="paced rates")
    parallelism: tuple[Small, ...] = Field(default=_CHECK.parallelism, min_length=1, description="engine parallelism")
    drain: bool = Field(default=_CHECK.drain, description="drain throughput at each parallelism", strict=True)
    sustainable: bool = Field(
        default=_CHECK.sustainable, description="sustainable throughput at each parallelism", strict=True
    )
    backlog: BacklogSection = Field(
        default_factory=lambda: BacklogSection(records=_CHECK.backlog_records), description="backlog to drain"
    )
    max_error: dict[str, ErrorBound] = Field(
        default_factory=dict, description="metric -> largest |ln(predicted / measured)|; above it the exit code is 5"
    )


_BOUND_SCHEMA = {"anyOf": [{"type": ["string", "number"]}, {"type": "array", "items": {"type": "string"}}]}


def bounds_schema(names: Mapping[str, MetricName]) -> dict[str, Any]:
    """JSON Schema of a section that maps metric words to bounds."""
    return {
        "type": "object",
        "properties": {word: _BOUND_SCHEMA | {"examples": [name.example]} for word, name in names.items()},
        "additionalProperties": False,
    }


_BOUNDS_SCHEMA = bounds_schema(METRIC_NAMES)


class ScenarioFile(Section):
    """A scenario: a load, a pipeline, and where it runs."""

    SPEC: ClassVar[Any] = spec.Scenario
    extends: str | None = Field(
        default=None, min_length=1, description="another scenario, relative to this file, to build on"
    )
    name: str = Field(
        default="unnamed", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$", description="of the runs it makes"
    )
    workload: Workload = Field(default=Workload(), description="the load")
    broker: Broker = Field(default=Broker(), description="the broker and its clients")
    engine: Engine = Field(default=Engine(), description="the stream processor")
    serving: Serving = Field(default=Serving(), description="where scoring happens")
    model: Annotated[Model, Shorthand("name")] = Field(default=Model(), description="the model")
    stages: dict[str, GraphStage] = Field(
        default_factory=dict, description="graph: the models, by name; records come to the first"
    )
    hosts: Annotated[dict[str, HostEntry], Shorthand("", ("this",))] = Field(
        default_factory=dict,
        description=f"'this', or for a part ({', '.join(PARTS)}, default) its cores or the host it sits on",
    )
    slo: dict[str, Any] = Field(
        default_factory=dict, description="metric -> bound that planning must meet", json_schema_extra=_BOUNDS_SCHEMA
    )
    expect: dict[str, Any] = Field(
        default_factory=dict,
        description="metric -> bound; a run that breaks it exits 3",
        json_schema_extra=_BOUNDS_SCHEMA,
    )
    sweep: dict[str, Any] = Field(
        default_factory=dict,
        description="dotted key -> values to try, the last key fastest; zip: keys whose values go together; "
        "repeats: runs of each",
    )
    calibration: str | None = Field(default=None, min_length=1, max_length=200, description="name of the calibration")
    profile: Profile | None = Field(default=None, description="runs of `real profile`")
    check: Check | None = Field(default=None, description="points of `calibration check`")
    deadline: LongDuration | None = Field(
        default=None, description="real: of the whole run; default load + drain + 60 s"
    )
    protocol: Literal["crayfish"] | None = Field(
        default=None, description="crayfish: a sweep also tells its throughput and latency, the first quarter cut"
    )
    model_stream: ModelStream | None = Field(default=None, description="models that change; default one for ever")
    faults: tuple[Fault, ...] = Field(default=(), max_length=1000, description="what breaks while the load runs")


def section_of(annotation: Any) -> type[Section] | None:
    """The section a field's annotation holds (also beside None, or a list of them), if it is one."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    if get_origin(annotation) in (Union, types.UnionType, tuple):
        for argument in get_args(annotation):
            found = section_of(argument)
            if found is not None:
                return found
    return None


def keys_at(path: tuple[str | int, ...], root: type[Section] = ScenarioFile) -> list[str]:
    """The keys a mapping at this path may hold; empty where any may (or it is no mapping)."""
    if path == ("hosts",):
        return [*PARTS, "default"]
    section = section_at(path, root)
    return [] if section is None else list(section.model_fields)


def may_be_nothing(path: tuple[str | int, ...], root: type[Section] = ScenarioFile) -> bool:
    """Whether null is a value of the field at this path."""
    section = section_at(path[:-1], root)
    field = None if section is None else section.model_fields.get(str(path[-1]))
    return field is not None and type(None) in get_args(field.annotation)


def section_at(path: tuple[str | int, ...], root: type[Section] = ScenarioFile) -> type[Section] | None:
    """The section that a mapping at this path is; None where it is of another kind, or none."""
    current: type[Section] | None = root
    words = [part for part in path if isinstance(part, str)]
    while words and current is not None:
        word = words.pop(0)
        field = current.model_fields.get(word)
        if field is not None and get_origin(field.annotation) is dict:  # of sections, by names that the file chooses
            current = section_of(get_args(field.annotation)[1]) if words else None
            words = words[1:]
        else:
            current = None if field is None else section_of(field.annotation)
    return current


def dotted_keys(section: type[Section] = ScenarioFile, prefix: str = "") -> list[str]:
    """Every key a scenario may hold, sections and leaves, in the order of the schema."""
    keys: list[str] = []
    for name, field in section.model_fields.items():
        keys.append(prefix + name)
        inner = section_of(field.annotation)
        if inner is not None and field.default != ():  # what a list may hold has no keys of its own
            keys += dotted_keys(inner, f"{prefix}{name}.")
        elif section is ScenarioFile and name == "hosts":
            keys += [f"hosts.{part}{rest}" for part in (*PARTS, "default") for rest in ("", ".cores", ".on")]
    return keys


NOT_SWEPT = ("extends", "name", "slo", "expect", "sweep", "profile", "check", "deadline", "protocol")


def sweepable(root: type[Section] = ScenarioFile) -> list[str]:
    """The dotted keys that `sweep:` may vary."""
    return [key for key in dotted_keys(root) if key.split(".")[0] not in NOT_SWEPT]
