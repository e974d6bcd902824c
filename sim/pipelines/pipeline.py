"""A system under construction: the parts that pipelines share, and what the integers of a system are read from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from control.batching import SAMPLES, Rules
from scenarios import arrivals, profiles
from scenarios.assignment import range_assignment
from scenarios.keys import keys_of
from scenarios.spec import DELIVERY_POLL_NS, Scenario, Serving
from sim import integers, programs
from sim.costs import BACKGROUND_PARTS, Calibration
from sim.programs import Operations
from sim.system import (
    INPUT,
    OUTPUT,
    Cache,
    Consumer,
    Cost,
    Exchange,
    Host,
    Int64s,
    MicroBatch,
    Models,
    Producer,
    Service,
    System,
    Thread,
    UnsupportedError,
)

COLLECTOR_POLL_RECORDS = 10_000
DEFAULT_HOST = "default"
SLICES, SHARING = "slices", "ps"


class Pipeline:
    """What a `lay_out` fills.

    A part that is added gets the next thread numbers.  Numbers in programs (of exchanges, of the service) are places in
    the lists here.

    Attributes:
        scenario: What is run.
        calibration: Where every cost comes from.
        workers: The threads that score, in the order of their index.
        processes: How many processes a part has, where its background work is that of one.
        notes: What the layout has to say of the run.
        facts: The same in numbers.
    """

    def __init__(self, scenario: Scenario, calibration: Calibration) -> None:
        """Nothing is laid out yet."""
        self.scenario = scenario
        self.calibration = calibration
        self.threads: list[Thread] = []
        self.producers: list[Producer] = []
        self.consumers: list[Consumer] = []
        self.exchanges: list[Exchange] = []
        self.services: list[Service] = []
        self.costs: list[Cost] = []  # beside those that every pipeline has, numbered after them
        self.micro_batch: MicroBatch | None = None
        self.models: Models | None = None
        self.generators: list[int] = []
        self.broker_threads: list[int] = []
        self.workers: list[int] = []
        self.processes: dict[str, int] = {"generator": scenario.workload.producers}
        self.notes: list[str] = []
        self.facts: dict[str, int] = {}
        self.profile = profiles.PROFILES[scenario.broker.client_profile]
        #: of the server that scoring threads call; None: they score themselves
        self.service: int | None = 0 if scenario.serving.kind == "external" else None
        self._host_of: list[str] = []  # of each thread, by name

    def record_bytes(self, topic: int) -> int:
        """Size of a record of the input or of the output topic."""
        direction = ("input", "output")[topic]
        sizes, load = self.calibration.sizes_bytes, self.scenario.workload
        fixed = sizes.get(f"{direction}_fixed", 0.0)
        if load.payload.format == "protobuf" and f"{direction}_protobuf" in sizes:
            return max(1, round(sizes[f"{direction}_protobuf"]))
        if load.payload.pad_bytes:  # what a padded payload holds stands in for the points
            return max(1, round(fixed) + load.payload.pad_bytes)
        return max(1, round(fixed + sizes.get(f"{direction}_per_point", 0.0) * load.points))

    def cores(self, part: str) -> int:
        """Cores of the host a part sits on."""
        host = self._host_name(part)
        spec = self.scenario.hosts.hosts.get(host)
        return self.calibration.host.cores if spec is None else spec.cores

    def add(self, name: str, process: str, part: str, program: Operations, index: int = 0) -> int:
        """Adds a thread; its number."""
        self.threads.append(Thread(name, process, part, -1, program, index))
        self._host_of.append(self._host_name(part))
        return len(self.threads) - 1

    def generate(self, program: Operations, *, clients: bool = True) -> None:
        """The generators, then their producer clients, if they have such."""
        count = self.scenario.workload.producers
        for g in range(count):
            self.generators.append(self.add(f"generator.{g}.app", f"generator.{g}", "generator", program, g))
        for g in range(count if clients else 0):
            self.produce(f"generator.{g}.client", f"generator.{g}", "generator", -1, INPUT, whole=True)

    def broker(self) -> None:
        """The broker's threads."""
        program = programs.broker_thread()
        for k in range(self.scenario.broker.io_threads):
            self.broker_threads.append(self.add(f"broker.{k}", "broker", "broker", program, k))

    def produce(
        self,
        name: str,
        process: str,
        part: str,
        application: int,
        topic: int = OUTPUT,
        partitions: tuple[int, int] = (0, 0),
        *,
        whole: bool = False,
    ) -> None:
        """A producer client, of the partitions (first, count) or of the whole topic."""
        first, count = (0, self.scenario.broker.partitions) if whole else partitions
        client = self.add(name, process, part, programs.producer_client(), len(self.producers))
        calls_back = self.profile.calls_back and application >= 0
        self.producers.append(Producer(client, application, topic, first, count, calls_back))

    def consume(
        self,
        names: tuple[str, str],
        processes: str,
        part: str,
        program: Operations,
        index: int,
        partitions: tuple[int, int],
        topic: int = INPUT,
    ) -> int:
        """A consumer client and the thread that polls it; the number of that thread."""
        most = self.scenario.broker.consumer.max_poll_records if topic == INPUT else COLLECTOR_POLL_RECORDS
        client = self.add(names[0], processes, part, programs.consumer_client(), len(self.consumers))
        application = self.add(names[1], processes, part, program, index)
        self.consumers.append(Consumer(client, application, topic, *partitions, most))
        return application

    def server(self) -> None:
        """The server's threads, where there is one."""
        if self.service is None:
            return
        serving = self.scenario.serving
        program = programs.server(self.service)
        count = serving.workers or self.scenario.engine.parallelism
        threads = tuple(self.add(f"server.{k}", "server", "server", program, k) for k in range(count))
        self.services.append(replace(service(serving, threads), cache=self._cache()))

    def _cache(self) -> Cache | None:
        load, cache = self.scenario.workload, self.scenario.serving.cache
        if cache is None:
            return None
        key = keys_of(load.seed, len(self._created()), cache.keys, cache.skew)
        return Cache(cache.size_bytes, self.record_bytes(OUTPUT), cache.keys, key)

    def collect(self) -> None:
        """The collectors: together they read all of the output topic."""
        count = self.scenario.workload.collectors
        for k, own in enumerate(range_assignment(self.scenario.broker.partitions, count)):
            end = f".{k}" if count > 1 else ""
            self.consume(
                (f"collector.consumer{end}", f"collector.app{end}"),
                *("collector", "collector", programs.collector(), k),
                own,
                OUTPUT,
            )

    def system(self) -> System:
        """The system of all that was added; the threads of background work come last."""
        self._background()
        names = sorted(set(self._host_of))
        threads = tuple(replace(t, host=names.index(name)) for t, name in zip(self.threads, self._host_of, strict=True))
        w, b = self.scenario.workload, self.scenario.broker
        load_ns = w.warmup_ns + w.duration_ns
        created = self._created()
        if self.broker_threads:
            partition = np.asarray(arrivals.partition_of(self.scenario, len(created)), dtype=np.int64)
        else:
            partition = np.zeros(len(created), dtype=np.int64)
        return System(
            seed=w.seed,
            hosts=tuple(self._host(name) for name in names),
            threads=threads,
            producers=tuple(self.producers),
            consumers=tuple(self.consumers),
            generators=tuple(self.generators),
            broker_threads=tuple(self.broker_threads),
            workers=tuple(self.workers),
            costs=(*integers.costs(self.scenario, self.calibration, self.processes), *self.costs),
            wake=integers.latency(self.calibration, "wake"),
            timer=integers.latency(self.calibration, "timer"),
            network=integers.latency(self.calibration, "network"),
            cold=integers.coldness(self.calibration.cold_shape),
            created=created,
            partition=partition,
            backlog=w.backlog_records,
            points=w.points,
            record_bytes=(self.record_bytes(INPUT), self.record_bytes(OUTPUT)),
            partitions=b.partitions if self.broker_threads else 1,
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
            fetch_backoff_ns=self.profile.fetch_backoff_ns,
            delivery_poll_ns=DELIVERY_POLL_NS,
            load_ns=0 if w.backlog_records and len(created) == w.backlog_records else load_ns,
            horizon_ns=load_ns + w.drain_ns,
            exchanges=tuple(self.exchanges),
            services=tuple(self.services),
            micro_batch=self.micro_batch,
            models=self.models,
            notes=tuple(self.notes),
            facts=self.facts,
        )

    def record_count(self) -> int:
        """Records of the run, the backlog's included."""
        return len(self._created())

    def _created(self) -> Int64s:
        """When each record is due, the backlog's first."""
        w = self.scenario.workload
        due = np.asarray(arrivals.schedule(w.arrival, w.warmup_ns + w.duration_ns, w.seed, limit=w.records), np.int64)
        return np.concatenate([np.zeros(w.backlog_records, dtype=np.int64), due])

    def _background(self) -> None:
        there = {t.part for t in self.threads} | {"host"}
        for i, part in enumerate(BACKGROUND_PARTS):
            value = self.calibration.background_ns_per_s.get(part)
            if value is not None and value.value > 0 and part in there:
                process = "broker" if part == "broker" else f"{part}.background"
                self.add(f"{part}.background", process, part, programs.background(i), i)

    def _host_name(self, part: str) -> str:
        if part == "host":  # what else goes on where the broker runs, or the engine if there is none
            part = "broker" if self.broker_threads else "engine"
        return self.scenario.hosts.parts.get(part, DEFAULT_HOST)

    def _host(self, name: str) -> Host:
        measured = self.calibration.host
        spec = self.scenario.hosts.hosts.get(name)
        cores = measured.cores if spec is None else spec.cores
        if measured.discipline == SLICES:
            return Host(name, cores, measured.slice_ns)
        if measured.discipline != SHARING:
            raise UnsupportedError(
                f"calibration {self.calibration.name}: host.discipline: {measured.discipline}: "
                f"the simulator has {SLICES} and {SHARING}"
            )
        curve = self.calibration.curves.get(name, measured.curve if spec is None else ())
        threads = self._host_of.count(name)
        if not curve:
            curve = tuple(float(min(n, cores)) for n in range(1, cores + 1))
        return Host(name, cores, measured.slice_ns, integers.shares(curve, threads, cores))


def service(serving: Serving, threads: tuple[int, ...]) -> Service:
    """The queue of an external server, with its batching policy."""
    batching, most = serving.batching, serving.batch_records
    if batching.policy is None:
        return Service(threads, most, serving.batch_delay_ns)
    rules = Rules(batching.policy, most, serving.batch_delay_ns, batching.slo_ns or 0, batching.samples or SAMPLES)
    return Service(threads, most, rules.wait_ns, batching=rules)
