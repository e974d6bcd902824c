"""Who holds which model when, in a pipeline written by hand: messages, deliveries, stores, and what loads cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scenarios.draws import PURPOSE_NETWORK, PURPOSE_TYPE, draw, quantile
from scenarios.spec import ModelMessage, ModelStream, Scenario
from tests.oracle.kernel import Cost
from tests.oracle.pipeline import BACKGROUND_PARTS, COST_NAMES, assigned, score_ns, terms
from tests.oracle.world import World

if TYPE_CHECKING:
    from tests.oracle.model_stream import Reader

NAMES = ("model.receive", "model.swap", "store.write", "model.load")
FIRST_COST = len(COST_NAMES) + len(BACKGROUND_PARTS)


@dataclass(eq=False)
class Coming:
    """A model on its way to one who reads the topic."""

    message: ModelMessage
    at: int
    number: int
    place: int
    size: int
    carried: int
    store: Held
    reader: Reader
    turn: int


@dataclass(eq=False)
class Held:
    """What one store holds, by type."""

    current: dict[str, Coming] = field(default_factory=dict)
    waiting: dict[str, Coming] = field(default_factory=dict)
    swaps: int = 0
    superseded: int = 0
    bytes: int = 0
    kept: dict[str, Coming] = field(default_factory=dict)
    readers: list[Reader] = field(default_factory=list)

    def loaded(self, it: Coming) -> None:
        if it.message.fault == "none":
            self.superseded += it.message.type in self.waiting
            self.waiting[it.message.type] = it

    def write(self, size: int) -> None:
        self.bytes += size
        for reader in self.readers:
            reader.kept = reader.through

    def all(self) -> int:
        return sum(it.size for it in (*self.current.values(), *self.waiting.values()))


@dataclass
class Told:
    """What came of it beside the stamps."""

    dropped: set[int] = field(default_factory=set)
    bad: set[int] = field(default_factory=set)
    stores: list[Held] = field(default_factory=list)
    duplicates: int = 0
    shadows: dict[int, dict[str, int]] = field(default_factory=dict)


class Models:
    """The models of a run: messages, their costs, and the stores."""

    def __init__(self, scenario: Scenario, calibration: Any, world: World) -> None:
        assert scenario.model_stream is not None
        self.stream: ModelStream = scenario.model_stream
        self.scenario, self.world, self.told = scenario, world, Told()
        seed, load = world.pipeline.seed, calibration.cpu.get("model.load")
        self.receive, self.swap, self.write = (
            Cost(terms(calibration.cpu.get(name), FIRST_COST + i), seed) for i, name in enumerate(NAMES[:3])
        )
        self.loads, self.scores = [], []
        messages, first = self.stream.messages, FIRST_COST + len(NAMES)
        per_record = score_ns(calibration.score_table, scenario.workload.points)
        for m, message in enumerate(messages):
            ns = load.fixed_ns.value + load.byte_ns.value * (message.size_bytes or 0) if load else 0.0
            refused = message.fault in ("unknown-format", "missing")
            self.loads.append(Cost(terms(None if refused else load, first + m, 0.0 if refused else ns), seed))
            scoring = terms(calibration.cpu.get("worker.score"), first + len(messages) + m, per_record)
            self.scores.append(Cost(scoring, seed))
        self.number = 0
        self.held: dict[tuple[str, int], Held] = {}

    def sent(self) -> list[tuple[int, ModelMessage]]:
        """Every message with its time, those before the load's end."""
        load, stream = self.scenario.workload, self.stream
        end, due, turn = load.warmup_ns + load.duration_ns, [], 0
        own = [m for m in stream.messages if m.at_ns is None]
        while turn == 0 or (stream.repeat and stream.first_ns + turn * len(own) * stream.every_ns < end):
            k = turn * len(own)
            for message in stream.messages:
                at = message.at_ns
                if at is None:
                    at, k = stream.first_ns + k * stream.every_ns, k + 1
                due.append((at, message))
            turn += 1
        return [item for item in sorted(due, key=lambda item: item[0]) if item[0] < end]

    def key(self, partition: int) -> tuple[str, int] | None:
        """Who holds the models of a partition's records."""
        parallelism, partitions = self.scenario.engine.parallelism, self.scenario.broker.partitions
        worker = next(w for w in range(parallelism) if partition in assigned(partitions, parallelism, w))
        if self.stream.store == "instance":
            return "instance", self.instance(worker)
        if self.stream.delivery == "broadcast":
            return "worker", worker
        reached = {m % partitions for m in range(self.stream.topic.partitions)}
        return ("task", partition) if partition in reached else None

    def instance(self, worker: int) -> int:
        parallelism = self.scenario.engine.parallelism
        return next(
            i for i in range(self.stream.instances) if worker in assigned(parallelism, self.stream.instances, i)
        )

    def store(self, key: tuple[str, int]) -> Held:
        if key not in self.held:
            self.held[key] = Held()
            self.told.stores.append(self.held[key])
        return self.held[key]

    def reads(self, worker: int) -> list[tuple[tuple[str, int], set[int]]]:
        """The stores that a worker reads models for, and the partitions of their topic."""
        partitions, parallelism = self.scenario.broker.partitions, self.scenario.engine.parallelism
        topic = set(range(self.stream.topic.partitions))
        mine = assigned(partitions, parallelism, worker)
        if self.stream.delivery == "broadcast":
            first = all(self.instance(w) != self.instance(worker) for w in range(worker))
            if self.stream.store == "task":
                return [(("worker", worker), topic)]
            return [(("instance", self.instance(worker)), topic)] if first else []
        if self.stream.store == "instance":
            own = {m for m in topic if m % partitions in mine}
            return [(("instance", self.instance(worker)), own)] if own else []
        each = [(("task", p), {m for m in topic if m % partitions == p}) for p in mine]
        return [item for item in each if item[1]]

    def coming(self, reader: Reader, store: Held, partitions: set[int]) -> list[Coming]:
        """What comes to a client, and when: two ways over the network, none before the one sent before it."""
        found: list[Coming] = []
        at, network = 0, self.world.pipeline.network
        for k, (sent, message) in enumerate(self.sent()):
            if k % self.stream.topic.partitions not in partitions:
                continue
            ways = [draw(self.world.pipeline.seed, reader.me.number, 2 * k + way, PURPOSE_NETWORK, 0) for way in (0, 1)]
            at = max(at, sent + sum(quantile(network, bits) for bits in ways))
            size = message.size_bytes or 1
            carried = size if message.by == "value" else len(message.path or message.model or "")
            carried += 32 + len(message.name) + len(message.description) + len(message.type)
            place = self.stream.messages.index(message)
            found.append(Coming(message, at, self.number, place, size, carried, store, reader, len(found)))
            self.number += 1
        return found

    def type_of(self, record: int) -> str:
        weights = self.scenario.workload.payload.types or {self.stream.messages[0].type: 1.0}
        if len(weights) == 1:
            return next(iter(weights))
        at = draw(self.world.pipeline.seed, 0, record, PURPOSE_TYPE, 0) / float(1 << 32) * sum(weights.values())
        for name, weight in weights.items():
            if at < weight:
                return name
            at -= weight
        return list(weights)[-1]
