"""Models that change and workers that are killed, in a poll loop: who receives what, who holds it, what it costs.

The costs beside those of every pipeline stand one after the other from `first` on: `model.receive`, `model.swap`,
`store.write`, then loading by message n of the stream, then scoring by it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scenarios.draws import PURPOSE_NETWORK, draw, quantile
from scenarios.model_stream import (
    Publication,
    file_bytes,
    instance_of_each,
    publications,
    record_types,
    type_numbers,
    worker_of_each,
)
from scenarios.spec import Fault, ModelMessage, ModelStream, Scenario
from sim import integers
from sim import operations as op
from sim.costs import MODEL_COSTS, CpuCost, Value
from sim.operations import Program
from sim.pipelines.pipeline import Pipeline
from sim.programs import COST_NUMBER, FIRST_SERVER_SCORE_COST
from sim.system import Cost, Delivery, Models, Receiver, UnsupportedError

RECEIVE, SWAP, WRITE = range(3)
#: Bytes of a message beside what it carries: keys, lengths, the enums.
ENVELOPE_BYTES = 32


@dataclass(frozen=True, slots=True)
class Plan:
    """What a worker's program has to do beside its records."""

    first: int  # of the costs
    messages: int
    stream: ModelStream | None
    faults: bool

    @property
    def loads(self) -> int:
        """The first of the costs of loading."""
        return self.first + len(MODEL_COSTS)

    @property
    def scores(self) -> int:
        """The first of the costs of scoring."""
        return self.loads + self.messages

    @property
    def keeping(self) -> str:
        """What is kept of a store."""
        return "none" if self.stream is None else self.stream.state.kind


def plan(pipeline: Pipeline) -> Plan | None:
    """What there is to do, its costs added; None without models that change and faults.

    Raises:
        UnsupportedError: A model whose size nobody knows, or something with a server.
    """
    scenario = pipeline.scenario
    if scenario.model_stream is None and not scenario.faults:
        return None
    if pipeline.service is not None:
        raise UnsupportedError("faults: the simulator kills workers that score themselves only (serving: embedded)")
    stream, calibration = scenario.model_stream, pipeline.calibration
    messages = stream.messages if stream else ()
    first = FIRST_SERVER_SCORE_COST + len(pipeline.costs)
    pipeline.costs += [integers.cost(calibration.cpu.get(name)) for name in MODEL_COSTS]
    pipeline.costs += [_load_cost(pipeline, message) for message in messages]
    pipeline.costs += [_score_cost(pipeline, message) for message in messages]
    return Plan(first, len(messages), stream, bool(scenario.faults))


def _known(pipeline: Pipeline, message: ModelMessage, key: str) -> float | None:
    return pipeline.calibration.models.get(message.model or message.name, {}).get(key)


def size_of(pipeline: Pipeline, message: ModelMessage) -> int:
    """Bytes of a message's model.

    Raises:
        UnsupportedError: Neither the scenario nor the calibration says, and there is no file.
    """
    if message.size_bytes is not None:
        return message.size_bytes
    there = file_bytes(message)
    if there is not None:
        return max(1, there)
    known = _known(pipeline, message, "size_bytes")
    if known is None and message.fault in ("unknown-format", "missing"):
        return 1  # never read
    if known is None:
        i = pipeline.scenario.model_stream.messages.index(message) if pipeline.scenario.model_stream else 0
        raise UnsupportedError(
            f"model_stream.messages[{i}].size: how large {message.name} is neither the scenario nor the calibration "
            f"{pipeline.calibration.name} says; write size: 2 KB"
        )
    return max(1, round(known))


def _load_cost(pipeline: Pipeline, message: ModelMessage) -> Cost:
    """Loading: as measured for the model, or by its size; what is refused at a look costs nothing."""
    if message.fault in ("unknown-format", "missing"):
        return integers.cost(None)
    cost = pipeline.calibration.cpu.get("model.load") or CpuCost()
    known = _known(pipeline, message, "load_ns")
    if known is None:
        known = cost.fixed_ns.value + cost.byte_ns.value * size_of(pipeline, message)
    return integers.cost(cost, known)


def _score_cost(pipeline: Pipeline, message: ModelMessage) -> Cost:
    """Scoring: as measured for the model, or as that of the calibration."""
    calibration, load = pipeline.calibration, pipeline.scenario.workload
    cost = calibration.cpu.get("worker.score") or CpuCost()
    known = _known(pipeline, message, "score_ns")
    if known is None:
        known = integers.at_points(calibration.score_table, load.points)
    return integers.cost(cost, known)


# ---------------------------------------------------------------- programs


def worker(todo: Plan, *, serves: bool) -> Program:
    """A poll loop's worker that loads, uses and keeps models between its records, and may be killed there."""
    keeping, write = todo.keeping, todo.first + WRITE
    models = todo.stream is not None
    p = Program("worker").label("loop")
    if todo.faults:
        p.do(op.OFFSETS_DUE, "poll").do(op.FLUSH).do(op.OFFSETS)
    p.label("poll").do(op.POLL, "empty" if serves else "loop", "next")
    p.do(op.CPU, COST_NUMBER["worker.poll"], op.POLLED)
    p.do(op.STAMP, op.FETCHED, op.OF_POLL)
    p.do(op.CPU, COST_NUMBER["worker.cold"], op.AFTER_SLEEP)
    p.label("next")
    if todo.faults:
        p.do(op.DIES, "crash")
    if keeping == "changelog":
        p.do(op.KEEP, op.OF_ALL, "kept").do(op.CPU, write, op.KEPT)
    p.label("kept")
    if models:
        p.do(op.MODEL_NEXT, "load")
    p.do(op.NEXT, "loop")
    p.do(op.CPU, COST_NUMBER["worker.decode"], op.RECORD_IN)
    if models:
        p.do(op.PICK, "skipped")
        p.do(op.CPU, todo.first + SWAP, op.SWAPPED)
    p.do(op.STAMP, op.SCORE_BEGIN, op.ONE)
    if models:
        p.do(op.CPU, todo.scores, op.RECORD_IN, op.BY_MODEL)
    else:
        p.do(op.CPU, COST_NUMBER["worker.score"], op.RECORD_IN)
    p.do(op.STAMP, op.SCORE_END, op.ONE)
    p.do(op.CPU, COST_NUMBER["worker.encode"], op.RECORD_OUT)
    p.do(op.STAMP, op.PRODUCED, op.ONE)
    p.do(op.CPU, COST_NUMBER["worker.produce"], op.RECORD_OUT)
    p.do(op.ENQUEUE)
    if keeping == "record":
        p.do(op.KEEP, op.OF_RECORD, "skipped").do(op.CPU, write, op.KEPT)
    p.label("skipped")
    if serves:
        p.do(op.SERVE)
    p.do(op.JUMP, "next")
    if models:
        _load(p, todo)
    if serves:
        p.label("empty").do(op.CPU, COST_NUMBER["worker.poll_empty"], op.AFTER_SLEEP).do(op.SERVE).do(op.JUMP, "loop")
    if todo.faults:
        p.label("crash").do(op.CRASH).do(op.RESTART).do(op.JUMP, "loop")
    return p


def _load(p: Program, todo: Plan) -> None:
    """Loads the model at hand, and goes back to `next`."""
    p.label("load").do(op.CPU, todo.loads, op.MODEL, op.BY_MODEL).do(op.MODEL_LOADED)
    if todo.keeping == "snapshot":
        p.do(op.KEEP, op.OF_MODEL, "next").do(op.CPU, todo.first + WRITE, op.KEPT)
    p.do(op.JUMP, "next")


def _client(todo: Plan, stream: ModelStream) -> Program:
    """A thread that reads models; loaded in the background they are loaded here."""
    p = Program("models client").label("loop").do(op.MODEL_ARRIVE)
    p.do(op.CPU, todo.first + RECEIVE, op.MODEL).do(op.MODEL_HAND)
    if stream.load == "inline":
        return p.do(op.JUMP, "loop")
    p.label("next").do(op.MODEL_NEXT, "load").do(op.JUMP, "loop")
    _load(p, todo)
    return p


# ---------------------------------------------------------------- who holds what


class Holders:
    """Stores and receivers, as workers are laid out one after the other."""

    def __init__(self, pipeline: Pipeline, todo: Plan) -> None:
        """Nobody holds anything yet."""
        self.pipeline, self.todo = pipeline, todo
        scenario = pipeline.scenario
        workers, partitions = scenario.engine.parallelism, scenario.broker.partitions
        instances = scenario.model_stream.instances if scenario.model_stream else workers
        self.worker_of = worker_of_each(partitions, workers)
        self.instance_of = instance_of_each(workers, instances)
        self.store = [-1] * partitions
        self.owners: list[int] = []
        self.receivers: list[Receiver] = []
        self._of_instance: dict[int, int] = {}

    def add_worker(self, n: int, app: int, process: str) -> None:
        """Worker n was laid out: what it holds, and the threads that read models for it."""
        stream = self.todo.stream
        if stream is None:
            return
        for k, (store, partitions) in enumerate(self._stores(stream, n, app)):
            name = f"worker.{n}.models" + (f".{k}" if k else "")
            client = self.pipeline.add(name, process, "engine", _client(self.todo, stream).build(), n)
            loader = app if stream.load == "inline" else client
            found = tuple(self._deliveries(stream, client, partitions))
            self.receivers.append(Receiver(client, app, loader, store, found))

    def _stores(self, stream: ModelStream, n: int, app: int) -> list[tuple[int, set[int] | None]]:
        """The stores that worker n receives models for, and of which partitions of their topic (None: all)."""
        mine = {p for p, worker in enumerate(self.worker_of) if worker == n}
        own = {m for m in range(stream.topic.partitions) if m % len(self.worker_of) in mine}
        instance = self.instance_of[n]
        if stream.store == "instance":
            first = instance not in self._of_instance
            if first:
                self._of_instance[instance] = self._new(app)
            store = self._of_instance[instance]
            for p in mine:
                self.store[p] = store
            if stream.delivery == "broadcast":
                return [(store, None)] if first else []
            return [(store, own)] if own else []
        if stream.delivery == "broadcast":
            store = self._new(app)
            for p in mine:
                self.store[p] = store
            return [(store, None)]
        found: list[tuple[int, set[int] | None]] = []
        for p in sorted(mine):  # the task of a partition has the partitions of models with its number
            own = {m for m in range(stream.topic.partitions) if m % len(self.worker_of) == p}
            if own:
                self.store[p] = self._new(app)
                found.append((self.store[p], own))
        return found

    def _new(self, app: int) -> int:
        self.owners.append(app)
        return len(self.owners) - 1

    def _deliveries(self, stream: ModelStream, client: int, partitions: set[int] | None) -> list[Delivery]:
        """When each message comes to a client: sent, to the broker and on, in order."""
        scenario = self.pipeline.scenario
        load, types = scenario.workload, record_types(scenario)
        network = integers.latency(self.pipeline.calibration, "network").tolist()
        found: list[Delivery] = []
        at = 0
        for sent in publications(stream, load.warmup_ns + load.duration_ns):
            if partitions is not None and sent.partition not in partitions:
                continue
            ways = (draw(load.seed, client, 2 * sent.ordinal + way, PURPOSE_NETWORK, 0) for way in (0, 1))
            at = max(at, sent.at_ns + sum(quantile(network, bits) for bits in ways))
            found.append(self._delivery(stream, sent, at, types))
        return found

    def _delivery(self, stream: ModelStream, sent: Publication, at: int, types: tuple[str, ...]) -> Delivery:
        message = sent.message
        size = size_of(self.pipeline, message)
        carried = size if message.by == "value" else len(message.path or message.model or "")
        about = len(message.name) + len(message.description) + len(message.type)
        return Delivery(
            at_ns=at,
            model=stream.messages.index(message),
            type=types.index(message.type),
            message_bytes=ENVELOPE_BYTES + about + carried,
            size_bytes=size,
            fails=message.fault != "none",
        )

    def finish(self) -> None:
        """All workers are there: the pipeline's models, and a thread for each fault."""
        pipeline, scenario = self.pipeline, self.pipeline.scenario
        kills = sum(self._fault(i, fault) for i, fault in enumerate(scenario.faults))
        stream = scenario.model_stream or ModelStream()
        records = pipeline.record_count()
        kind = type_numbers(scenario, records)
        poison = np.asarray(scenario.workload.payload.poison, dtype=np.int64)
        kind[poison[poison < records]] = -1
        pipeline.models = Models(
            owners=tuple(self.owners),
            receivers=tuple(self.receivers),
            types=len(record_types(scenario)),
            type=kind,
            store=tuple(self.store),
            restore=stream.restore,
            keep_every_ns=stream.state.commit_ns,
            # A store that is kept by commits commits offsets with it: what is read again was not counted.
            commit_every_ns=stream.state.commit_ns
            if stream.state.kind == "changelog"
            else scenario.engine.commit_interval_ns,
            kills=kills,
            exactly_once=scenario.engine.delivery == "exactly-once",
        )

    def _fault(self, i: int, fault: Fault) -> int:
        """A thread that kills workers at an instant; how many."""
        part, _, number = fault.target.partition("-")
        if fault.kind != "kill":
            raise UnsupportedError(f"faults[{i}].kind: {fault.kind}: the simulator knows the kind kill only")
        if part == "instance":
            struck = [n for n, instance in enumerate(self.instance_of) if instance == int(number)]
        elif part == "engine":
            struck = list(range(len(self.instance_of)))
        elif part == "worker":
            struck = [int(number)]
            self._stands_alone(i, fault, int(number))
        else:
            raise UnsupportedError(
                f"faults[{i}].target: {fault.target}: the simulator kills workers and instances only, or the engine"
            )
        after = op.NEVER if fault.restart_ns is None else fault.restart_ns
        p = Program("fault")
        if fault.at_ns:
            p.do(op.SLEEP, fault.at_ns)
        for n in struck:
            p.do(op.STRIKE, self.pipeline.workers[n], after)
        self.pipeline.add(f"fault.{i}", "fault", "host", p.do(op.HALT).build(), i)
        return len(struck)

    def _stands_alone(self, i: int, fault: Fault, worker: int) -> None:
        """One worker can be killed alone where it is a process of its own."""
        instance = self.instance_of[worker]
        of_python = self.pipeline.scenario.engine.kind == "python" and self.todo.stream is None
        if not of_python and self.instance_of.count(instance) > 1:
            raise UnsupportedError(
                f"faults[{i}].target: {fault.target}: it shares a process with others; kill instance-{instance}, "
                "or give as many model_stream.instances as workers"
            )


def notes(scenario: Scenario) -> list[str]:
    """What the simulator leaves out of models that change and of faults."""
    found = []
    stream = scenario.model_stream
    if stream and stream.state.kind in ("changelog", "record"):
        found.append(
            "the broker's share of the changelog is not simulated: its bytes are counted, its CPU is the worker's"
        )
    if scenario.faults:
        found.append("partitions of a killed worker wait for it: no rebalance is simulated")
    return found


def unmeasured(models: dict[str, dict[str, float]], cpu: dict[str, CpuCost], scenario: Scenario) -> list[str]:
    """Which costs of models a calibration does not have: they count as nothing, or as those of its own model."""
    stream = scenario.model_stream
    if stream is None:
        return []
    names = dict.fromkeys(m.model or m.name for m in stream.messages if m.fault in ("none", "corrupt"))
    zero = Value(0.0, 0.0, 0.0)
    found = []
    loaded = cpu.get("model.load", CpuCost())
    if loaded.fixed_ns == zero and loaded.byte_ns == zero:
        none = [name for name in names if "load_ns" not in models.get(name, {})]
        found += [f"loading {', '.join(none)} not measured (predicted as 0)"] if none else []
    other = [name for name in names if "score_ns" not in models.get(name, {})]
    found += [f"scoring by {', '.join(other)} not measured (predicted as by the calibration's model)"] if other else []
    writes = stream.state.kind != "none" and "store.write" not in cpu
    return [*found, "keeping models not measured (predicted as 0)"] if writes else found
