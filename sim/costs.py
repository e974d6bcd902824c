"""The cost types the simulator consumes, and the reader and writer of calibration files.

A calibration is one JSON file in `calibrations/`; the simulator holds no measured constant of its own.
CPU costs are what a thread burns (``fixed + batch*batches + record*records + point*points + byte*bytes``); latencies
are what passes without burning CPU (network, the wake-up of a sleeping thread).  Each parameter carries its 90 %
interval.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: Every CPU cost a pipeline pays, by name, and which thread burns it.
CPU_COSTS = {
    "generator.wake": "generator application thread, once each time it slept until a record was due",
    "generator.record": "generator application thread, per record: payload, produce call, delivery callback",
    "producer.request": "a producer's client thread, per produce request: fixed, per record, per byte",
    "broker.produce": "broker, per produce request (fixed, per record, per byte)",
    "broker.fetch": "broker, per fetch request answered with records (fixed, per batch, per record, per byte)",
    "broker.fetch_empty": "broker, per fetch request answered empty",
    "consumer.fetch": "a consumer's client thread, per fetch response with records: fixed, per batch, record, byte",
    "consumer.fetch_empty": "a consumer's client thread, per empty fetch response",
    "worker.poll": "worker application thread, per poll that returned records (the commit's share included)",
    "worker.poll_empty": "worker application thread, per poll that returned nothing",
    "worker.decode": "worker application thread, per record (fixed) and byte: parse the payload",
    "worker.score": "worker application thread, per record, by points (table `score_table`)",
    "worker.encode": "worker application thread, per record (fixed), point and byte: prediction and headers",
    "worker.produce": "worker application thread, per record and byte: produce call and delivery callback",
    "collector.poll": "collector application thread, per poll that returned records",
    "collector.record": "collector application thread, per record and byte",
    "producer.wake": "a producer's client thread, each time it had slept",
    "consumer.wake": "a consumer's client thread, each time it had slept",
    "worker.cold": "worker application thread, per poll that returned records after it had slept: cold caches",
    "collector.wake": "collector application thread, each time it had slept",
    "broker.wake": "a broker thread, each time it had slept",
    "broker.rest": "a broker thread, per request, once its answer is on its way",
    "exchange.put": "a thread that hands a record to another, per record and byte: serialisation included",
    "exchange.get": "a thread that takes a record from another, per record and byte: deserialisation included",
    "call.request": "a scoring thread, per record, point and byte: encode the request of a call",
    "call.response": "a scoring thread, per record and point: decode the answer of a call",
    "server.wake": "a server thread, each time it had slept",
    "server.request": "a server thread, per batch, request and byte: decode, encode, all but the model",
    "batch.plan": "the driver, per micro-batch",
    "batch.commit": "the driver, per micro-batch",
    "task.start": "an executor, per task, record and byte: start it and fetch its records",
    "task.end": "an executor, per task",
}
#: What models that change cost beside the model's own loads and scores (`Calibration.models`); numbered by pipelines.
MODEL_COSTS = {
    "model.receive": "a thread that reads models, per message and byte of it",
    "model.swap": "worker application thread, each time another model begins to serve",
    "store.write": "worker application thread (or the one that loads), each time models are kept, and byte of them",
    "model.load": "who loads a model, per model and byte of it, where `Calibration.models` does not have it",
}
#: A server's cost of scoring a batch of requests has one number for each size of the batch, after the backgrounds.
SERVER_SCORE = "server.score"
#: `regime["engine"]` of a calibration that is of no engine in particular.
ANY_ENGINE = "any"
#: Latencies, by name.
LATENCIES = {
    "wake": "from the moment a sleeping thread is made ready to the moment it could run on an idle core",
    "timer": "from the instant a timed sleep ends to the moment the thread could run on an idle core",
    "network": "one way between a client and the broker",
}
#: Work that goes on whatever the load, by part: CPU ns per second.
BACKGROUND_PARTS = ("generator", "broker", "engine", "collector", "host")


@dataclass(frozen=True, slots=True)
class Value:
    """A fitted parameter with its 90 % interval; lo == hi == value where none is known."""

    value: float
    lo: float
    hi: float


ZERO = Value(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class CpuCost:
    """CPU nanoseconds: fixed, and per batch, record, point and byte; `residual` scales each draw."""

    fixed_ns: Value = ZERO
    batch_ns: Value = ZERO
    record_ns: Value = ZERO
    point_ns: Value = ZERO
    byte_ns: Value = ZERO
    #: after a sleep, times the share of the caches gone cold (`cold_shape`) in the time since the thread last worked
    cold_ns: Value = ZERO
    #: quantiles (0, 1/16, ..., 1) of actual / fitted, mean 1; empty means constant 1
    residual: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Latency:
    """Quantiles in ns at 0, 1/16, ..., 1 (17 values), or one value for a constant."""

    quantiles_ns: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class HostCosts:
    """A host: its cores, its capacity curve, how it shares cores out."""

    cores: int
    curve: tuple[float, ...]  # c(1), c(2), ...: work done per second by n spinners, in cores
    discipline: str  # "slices" or "ps" (processor sharing)
    slice_ns: int


@dataclass(frozen=True, slots=True)
class Calibration:
    """Everything the simulator is told of one host and one regime."""

    name: str
    created: str  # ISO date
    fingerprint: dict[str, Any]  # host: cpu model, cores, memory, kernel; versions of what was measured
    regime: dict[str, Any]  # engine, runtime, model, payload format, broker kind
    cpu: dict[str, CpuCost]
    latency: dict[str, Latency]
    host: HostCosts
    background_ns_per_s: dict[str, Value] = field(default_factory=dict)
    #: how a thread's caches go cold while it does not work: time constant (ns) -> share of the cold cost, together 1
    cold_shape: dict[float, float] = field(default_factory=lambda: {4e6: 1.0})
    #: points -> CPU ns of scoring one record of so many points; interpolated log-log inside, proportional outside
    score_table: dict[int, float] = field(default_factory=dict)
    #: such a table of the external server, where it differs
    server_table: dict[int, float] = field(default_factory=dict)
    #: part -> capacity curve of its host, where that is not the calibration's own
    curves: dict[str, tuple[float, ...]] = field(default_factory=dict)
    #: cost name -> such a table, in place of its fixed and byte terms: where a line through the sizes fails
    tables_ns: dict[str, dict[int, float]] = field(default_factory=dict)
    #: bytes: {"input_fixed":..., "input_per_point":..., "output_fixed":..., "output_per_point":...}
    sizes_bytes: dict[str, float] = field(default_factory=dict)
    #: model of a stream of models -> size_bytes, load_ns, score_ns, what is known of them; loading any other is the
    #: cost `model.load` (fixed, and per byte of the model), scoring by it that of the calibration's own model
    models: dict[str, dict[str, float]] = field(default_factory=dict)
    #: parameter or setting -> [lowest, highest] measured
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    #: held-out errors of `calibration check`: list of {metric, utilisation_band, error, ceiling, n}
    held_out: list[dict[str, Any]] = field(default_factory=list)
    #: how the fit went: condition numbers, leave-one-out errors, merged parameters, runs used
    fit: dict[str, Any] = field(default_factory=dict)


def from_json(data: dict[str, Any]) -> Calibration:
    """Builds a Calibration from the object of a calibration file.  Raises KeyError/TypeError on a malformed one."""

    def value(v: Any) -> Value:
        return (
            Value(float(v[0]), float(v[1]), float(v[2])) if isinstance(v, list) else Value(float(v), float(v), float(v))
        )

    def cost(c: dict[str, Any]) -> CpuCost:
        terms = {k: value(v) for k, v in c.items() if k != "residual"}
        return CpuCost(**terms, residual=tuple(float(x) for x in c.get("residual", ())))

    host = data["host"]
    return Calibration(
        name=data["name"],
        created=data["created"],
        fingerprint=data["fingerprint"],
        regime=data["regime"],
        cpu={k: cost(c) for k, c in data["cpu"].items()},
        latency={k: Latency(tuple(float(x) for x in q)) for k, q in data["latency"].items()},
        host=HostCosts(
            int(host["cores"]), tuple(float(x) for x in host["curve"]), host["discipline"], int(host["slice_ns"])
        ),
        background_ns_per_s={k: value(v) for k, v in data.get("background_ns_per_s", {}).items()},
        cold_shape={float(k): float(v) for k, v in data.get("cold_shape", {"4e6": 1.0}).items()},
        score_table={int(k): float(v) for k, v in data.get("score_table", {}).items()},
        server_table={int(k): float(v) for k, v in data.get("server_table", {}).items()},
        curves={k: tuple(float(x) for x in v) for k, v in data.get("curves", {}).items()},
        tables_ns={k: {int(n): float(x) for n, x in t.items()} for k, t in data.get("tables_ns", {}).items()},
        sizes_bytes={k: float(v) for k, v in data.get("sizes_bytes", {}).items()},
        models={k: {n: float(x) for n, x in v.items()} for k, v in data.get("models", {}).items()},
        ranges={k: (float(v[0]), float(v[1])) for k, v in data.get("ranges", {}).items()},
        held_out=list(data.get("held_out", [])),
        fit=dict(data.get("fit", {})),
    )


def to_json(c: Calibration) -> dict[str, Any]:
    """The object of a calibration file; `from_json(to_json(c)) == c`."""

    def cost(k: CpuCost) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for term in ("fixed_ns", "batch_ns", "record_ns", "point_ns", "byte_ns", "cold_ns"):
            v: Value = getattr(k, term)
            if v != ZERO:
                out[term] = [v.value, v.lo, v.hi]
        if k.residual:
            out["residual"] = list(k.residual)
        return out

    return {
        "schema": 1,
        "name": c.name,
        "created": c.created,
        "fingerprint": c.fingerprint,
        "regime": c.regime,
        "cpu": {k: cost(v) for k, v in c.cpu.items()},
        "latency": {k: list(v.quantiles_ns) for k, v in c.latency.items()},
        "host": {
            "cores": c.host.cores,
            "curve": list(c.host.curve),
            "discipline": c.host.discipline,
            "slice_ns": c.host.slice_ns,
        },
        "background_ns_per_s": {k: [v.value, v.lo, v.hi] for k, v in c.background_ns_per_s.items()},
        "cold_shape": {f"{k:g}": v for k, v in c.cold_shape.items()},
        "score_table": {str(k): v for k, v in c.score_table.items()},
        **({"server_table": {str(k): v for k, v in c.server_table.items()}} if c.server_table else {}),
        **({"curves": {k: list(v) for k, v in c.curves.items()}} if c.curves else {}),
        "tables_ns": {k: {str(n): x for n, x in t.items()} for k, t in c.tables_ns.items()},
        "sizes_bytes": c.sizes_bytes,
        **({"models": c.models} if c.models else {}),
        "ranges": {k: list(v) for k, v in c.ranges.items()},
        "held_out": c.held_out,
        "fit": c.fit,
    }


def read(path: Path) -> Calibration:
    """Reads one calibration file."""
    return from_json(json.loads(path.read_text()))


def write(c: Calibration, path: Path) -> None:
    """Writes one calibration file, whole or not at all."""
    tmp = path.with_suffix(".tmp")
    tmp.write_text(json.dumps(to_json(c), indent=1) + "\n")
    tmp.replace(path)
