"""What the executors run: a system of threads with programs on hosts, and the integers they need.

Both executors read this and nothing else.  `sim.pipelines` makes one of a scenario and a calibration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from control.batching import Rules
from scenarios.spec import Scenario
from sim.costs import Calibration
from sim.programs import Operations

Int64s = NDArray[np.int64]
#: Coefficients of CPU costs are integers in 1/1024 ns, residuals in 1/65536.
COST_BITS = 10
RESIDUAL_BITS = 16
#: A gap of k << COLD_STEP_BITS ns reads the k-th entry of the table of coldness, the last one if it is longer.
COLD_STEP_BITS = 15
INPUT, OUTPUT = 0, 1


class UnsupportedError(Exception):
    """The scenario asks for something the calibration cannot answer."""


@dataclass(frozen=True, slots=True)
class Thread:
    """One thread: its place in the lists below is its number."""

    name: str  # unique, e.g. "worker.0.app"
    process: str  # as in host.parquet, e.g. "worker.0"
    part: str  # generator | broker | engine | server | collector | host
    host: int
    program: Operations
    index: int = 0  # of its generator, producer, consumer or worker: its place among its kind


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
class Edge:
    """Where a request goes on from a service: to one, or to several at once."""

    below: int  # taken if 32 random bits are below this, and no edge before it was
    services: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Cache:
    """Answers that a service keeps, by the key of the record."""

    room: int  # bytes
    answer_bytes: int  # of each
    keys: int  # how many there are
    key: Int64s  # of each record


@dataclass(frozen=True, slots=True)
class Service:
    """A queue of requests and the threads that answer them, or send them on."""

    threads: tuple[int, ...]
    batch_records: int = 1  # most requests taken together
    delay_ns: int = 0  # how long an incomplete batch waits, from its first request on
    edges: tuple[Edge, ...] = ()
    joins: bool = False  # a forked record's parts become one again before they queue
    capacity: int = 0  # of the queue, for requests that nobody waits for; 0: no bound
    earliest_first: bool = False  # the queue is in the order of creation; else first in, first out
    expiry_ns: int = 0  # from a record's creation on, for requests that nobody waits for; 0: none expires
    first_batches: int = 0  # of each thread, that have costs of their own
    keeps: bool = False  # when each record's requests came, were taken and went on
    batching: Rules | None = None  # what decides how many are taken, up to batch_records; None: as many as there are
    cache: Cache | None = None  # for requests whose callers wait, at a service that answers them all (no edges)
    name: str = ""  # of a stage

    @property
    def loses(self) -> bool:
        """Whether a record may be lost here."""
        return self.capacity > 0 or self.expiry_ns > 0


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """A driver that cuts the input topic into batches of one task a partition."""

    driver: int
    executors: tuple[int, ...]
    interval_ns: int = 0
    poll_ns: int = 10_000_000  # how often a driver without new records looks again
    max_records: int = 0  # of a batch; 0: no bound


def present(models: Models | None) -> Models:
    """The models, of a system that has some."""
    assert models is not None
    return models


@dataclass(frozen=True, slots=True)
class Delivery:
    """A model that comes to a receiver."""

    at_ns: int
    model: int  # message of the stream: its costs are the n-th
    type: int  # of the records it scores
    message_bytes: int
    size_bytes: int  # of the model
    fails: bool = False  # it cannot be loaded


@dataclass(frozen=True, slots=True)
class Receiver:
    """Who gets models: the thread that reads them, the one whose store they are for, the one that loads them."""

    client: int
    application: int
    loader: int  # the client or the application
    store: int
    deliveries: tuple[Delivery, ...]  # in order


@dataclass(frozen=True, slots=True, eq=False)
class Models:
    """Models that change, and workers that are killed."""

    owners: tuple[int, ...]  # of each store: the application thread with which it comes and goes
    receivers: tuple[Receiver, ...]
    types: int  # of records
    type: Int64s  # of each record; -1: it cannot be parsed
    store: tuple[int, ...]  # of each partition's records; -1: none
    restore: str = "latest"
    keep_every_ns: int = 0  # between two commits of the stores
    commit_every_ns: int = 0  # between two commits of offsets
    kills: int = 0  # of application threads, all together
    exactly_once: bool = False  # what was put out after the last commit of offsets goes with its worker


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
    workers: tuple[int, ...]  # the threads that score
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
    models: Models | None = None
    #: what the layout itself says of a run, in words and in numbers
    notes: tuple[str, ...] = ()
    facts: Mapping[str, int] = field(default_factory=dict)

    @property
    def records(self) -> int:
        """Records of the run, the backlog's included."""
        return len(self.created)

    @property
    def backlog_batch_records(self) -> int:
        """Records in one batch of a prefilled backlog."""
        return max(1, min(self.batch_records, self.batch_bytes // self.record_bytes[INPUT]))


def build(scenario: Scenario, calibration: Calibration) -> System:
    """The system of a scenario, at the costs of a calibration.

    Raises:
        UnsupportedError: the scenario needs something this calibration or simulator does not have.
    """
    from sim.pipelines import build as made

    return made(scenario, calibration)
