"""Crayfish's published runs as a calibration: `crayfish-gcp-2023`, one file for each engine, tool, model and regime.

`crayfish_published.json` holds the numbers and the hardware.  A *hot* regime is fitted on throughputs (mr 1, 2, 4, 32),
a *cold* one on the latencies of batches of 32 and 512 points.  What the numbers do not tell apart is divided by
assumption and said in docs/crayfish.md.  Nothing is drawn and no run is made: the same numbers give the same files.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from statistics import NormalDist, median
from typing import Any

from calibration import crayfish_fit as fit
from calibration.crayfish_fit import Calls, Curve, digits
from scenarios.spec import MS_NS, S_NS
from sim import costs
from sim.costs import Calibration, CpuCost, HostCosts, Latency, Value

NAME = "crayfish-gcp-2023"
PUBLISHED = Path(__file__).with_name("crayfish_published.json")
CREATED = "2023-10-31"  # of the published numbers
FFNN, RESNET50 = "ffnn", "resnet50"
FLINK, UNCHAINED, STREAMS, SPARK = "flink", "flink-32-n-32", "kafka-streams", "spark"
RAY, STANDALONE = "ray", "standalone"
EXTERNAL = ("tf-serving", "torchserve")

# Not told by the numbers; typical of such machines.
NETWORK_S, WAKE_S, TIMER_S = 250e-6, 20e-6, 50e-6
#: Of one record's way: five wake-ups and three messages (to the broker, from it, to it again).
HOPS_S = 3 * NETWORK_S + 6 * WAKE_S
CALL_S = 2 * (NETWORK_S + WAKE_S)  # there, and the server wakes; back, and the caller wakes
PRODUCERS = 30
PRODUCER_S = 1e-3  # of a record: a producer thread is given 1,000 a second at most, and 5 of them keep up with 4,096
PRODUCERS_SHARPNESS = 8.0
#: Server times vary (lognormal, of this sigma): without that all who call would come and go in step.
SERVER_SIGMA = 0.5
#: What the producer's one thread sends of ResNet50's records: the best that was seen (10 to 120 /s).
RESNET50_SENT_PER_S = 120.0
FFNN_VALUES, RESNET50_VALUES = 784, 3 * 224 * 224
BYTES_A_VALUE = 10.7
SOURCES_AND_SINKS = 64
TORCHSERVE_CLIENT_S = 0.1e-3
RAY_SOURCE_S, RAY_CLIENT_S, LINGER_S = 1e-3, 1e-3, 5e-3
SPARK_PLAN_S, SPARK_COMMIT_S, SPARK_POLL_S = 85e-3, 45e-3, 5e-3  # of latencies of 160 to 170 ms at 2,048 to 4,096 /s
FLUSH_S = 100e-3  # two exchanges, each half of 100 ms
PHYSICAL_CORES = Curve(32.0, 8.0)  # of the engine's host, where no run came near its capacity


@cache
def published() -> Mapping[str, Any]:
    """The published numbers."""
    found: Mapping[str, Any] = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    return found


def throughputs(engine: str, tool: str, model: str = FFNN) -> list[tuple[int, float]]:
    """(mr, records per second) of one engine, tool and model."""
    rows = published()["throughput"]
    return [(mr, x) for e, t, m, _, mr, x in rows if (e, t, m) == (engine, tool, model)]


def line(engine: str, tool: str) -> tuple[float, float]:
    """Latency by batch size as a line through the two published: seconds at none, seconds a point."""
    (a, low), (b, high) = ((n, ms / 1e3) for e, t, n, ms in published()["latency"] if (e, t) == (engine, tool))
    slope = (high - low) / (b - a)
    return low - slope * a, slope


def regimes() -> dict[str, Calibration]:
    """Every regime's calibration, by the name of its file."""
    ffnn = {(e, t) for e, t, m, *_ in published()["throughput"] if m == FFNN}
    hot = [_hot(e, t, FFNN) for e, t in sorted(ffnn)]
    hot += [_hot(FLINK, t, RESNET50) for t in ("onnx", *EXTERNAL)]
    return {c.name.partition("/")[2]: c for c in [*hot, *(_cold(e, t) for e, t in sorted(ffnn))]}


def write(folder: Path) -> list[Path]:
    """Writes every regime's file into the folder; returns them."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, found in regimes().items():
        paths.append(folder / f"{name}.json")
        costs.write(found, paths[-1])
    return paths


@cache
def sent_per_s() -> float:
    """What the producer sends at most: the mean of the runs whose output was all that it sent."""
    limited = [x for mr, x in throughputs(SPARK, "onnx") if mr > 1]
    limited += [x for mr, x in throughputs(STREAMS, "onnx") if mr == 32]
    return digits(fit.geometric(limited))


@cache
def around_s(engine: str) -> float:
    """What a record costs on an engine beside its score: a chained task less the scoring task of 32-N-32, at mr 1."""
    alone = {t: 1 / dict(throughputs(UNCHAINED, t))[1] for t in ("onnx", "savedmodel", "dl4j", "tf-serving")}
    of = STREAMS if engine == SPARK else FLINK if engine == UNCHAINED else engine
    return digits(median(1 / dict(found)[1] - s for t, s in alone.items() if (found := throughputs(of, t))), 3)


@cache
def embedded(engine: str, tool: str, model: str = FFNN) -> tuple[float, Curve]:
    """Seconds of scoring a record in the engine (of a chained task: of all it does), and the engine's curve."""
    pairs = throughputs(engine, tool, model)
    if engine == UNCHAINED:
        return fit.fit_unchained(pairs, around_s(engine), SOURCES_AND_SINKS)
    if engine == STANDALONE:  # a line: nothing bends below what its source sends
        return digits(1 / fit.geometric([x / mr for mr, x in pairs if mr < 32]), 3), PHYSICAL_CORES
    if engine == STREAMS:  # at mr 32 it had no backlog (a mean latency of 41 ms): it keeps up with what is sent
        pairs = [(mr, sent_per_s() if mr == 32 else x) for mr, x in pairs]
    return fit.fit_chained(pairs, RESNET50_SENT_PER_S if model == RESNET50 else sent_per_s())


def _shared(engine: str, model: str = FFNN) -> Curve:
    """What an engine's JVM shares whatever it embeds or calls: the curve of its ONNX, but for a task alone."""
    return dataclasses.replace(embedded(engine, "onnx", model)[1], alone=1.0)


@cache
def served(tool: str, model: str = FFNN, engine: str = FLINK) -> Calls:
    """A call of a server: TF-Serving, TorchServe, or Ray Serve, which is Ray's `tf-serving`."""
    if engine == RAY:
        pairs = [(mr if mr < 32 else 2, x) for mr, x in throughputs(RAY, tool)]  # of 32 replicas two are scheduled
        return fit.fit_server({RAY: pairs}, {RAY: RAY_CLIENT_S}, {RAY: 0.0}, {RAY: PHYSICAL_CORES}, CALL_S)
    if model == RESNET50:
        task = {FLINK: resnet50_around_s()}
        curve = {FLINK: _shared(FLINK, RESNET50)}
        return fit.fit_server({FLINK: throughputs(FLINK, tool, model)}, task, {FLINK: 0.0}, curve, CALL_S)
    if tool == "tf-serving":  # one path for all requests, whoever calls and however many threads score
        cap = fit.geometric([x for mr, x in throughputs(SPARK, tool) if mr > 1])
        return Calls(CALL_S, digits(1 / cap, 3), Curve(1.0, 64.0))
    engines = (FLINK, UNCHAINED)
    io = around_s(FLINK)
    return fit.fit_server(
        {e: throughputs(e, tool) for e in engines},
        {FLINK: io + TORCHSERVE_CLIENT_S, UNCHAINED: TORCHSERVE_CLIENT_S},
        {FLINK: 0.0, UNCHAINED: io},
        {e: _shared(e) for e in engines},
        CALL_S,
    )


@cache
def producers() -> Curve:
    """The curve of the producer's host: all its threads together send what was seen."""
    work = PRODUCER_S * sent_per_s()
    ceiling = PRODUCERS / ((PRODUCERS / work) ** PRODUCERS_SHARPNESS - 1) ** (1 / PRODUCERS_SHARPNESS)
    return Curve(digits(ceiling), PRODUCERS_SHARPNESS)


def resnet50_around_s() -> float:
    """What ResNet50's record costs beside its score: as much a value as FFNN's."""
    return digits(around_s(FLINK) * RESNET50_VALUES / FFNN_VALUES, 3)


@cache
def clients() -> tuple[float, dict[str, float]]:
    """The latency of a call of TF-Serving, and the work that one is to each engine, whose curve is that of its ONNX."""
    engines = (FLINK, UNCHAINED, STREAMS)
    return fit.fit_clients(
        {e: throughputs(e, "tf-serving") for e in engines},
        {e: 0.0 if e == UNCHAINED else around_s(e) for e in engines},
        {e: around_s(e) if e == UNCHAINED else 0.0 for e in engines},
        {e: _shared(e) for e in engines},
        served("tf-serving"),
    )


def _hot(engine: str, tool: str, model: str) -> Calibration:
    cpu: dict[str, float] = {"generator.record": PRODUCER_S}
    score_s, server_s, server, call_s = 0.0, 0.0, None, CALL_S
    if engine == RAY:
        # the output actor waits for each delivery: linger, timer, two messages, five wake-ups, and its own work
        sink = 1 / fit.geometric([x / min(mr, 2 if mr == 32 else mr) for mr, x in throughputs(RAY, "onnx")])
        cpu |= {"worker.decode": RAY_SOURCE_S, "worker.encode": sink - LINGER_S - TIMER_S - CALL_S - 3 * WAKE_S}
    elif engine == STANDALONE:
        cpu["generator.record"] = PRODUCER_S * sent_per_s() / dict(throughputs(engine, tool))[32]  # no Kafka client
    else:
        io = resnet50_around_s() if model == RESNET50 else around_s(engine)
        cpu |= {"worker.decode": io / 2, "worker.encode": io / 2}
    if model == RESNET50:
        cpu["generator.record"] = 1 / RESNET50_SENT_PER_S
    if engine == SPARK:
        cpu |= {"batch.plan": SPARK_PLAN_S, "batch.commit": SPARK_COMMIT_S}
    curve = PHYSICAL_CORES
    if tool in EXTERNAL:
        calls = served(tool, model, engine if engine == RAY else FLINK)
        server_s, server = calls.server_s, calls.curve
        if engine == RAY:
            cpu["call.request"] = RAY_CLIENT_S
        elif tool == "torchserve":
            curve = _shared(engine, model)
            cpu["call.request"] = TORCHSERVE_CLIENT_S if model == FFNN else 0.0
        elif model == RESNET50:
            curve = _shared(engine, model)
        else:
            call_s, works = clients()
            work = works[STREAMS if engine == SPARK else engine]
            cpu |= {"call.request": work / 2, "call.response": work / 2}
            curve = PHYSICAL_CORES if engine == SPARK else _shared(engine)
    elif engine in (RAY, SPARK):
        score_s = embedded(UNCHAINED, tool)[0]
    else:
        whole, curve = embedded(engine, tool, model)
        beside = 0.0 if engine in (UNCHAINED, STANDALONE) else cpu["worker.decode"] + cpu["worker.encode"]
        score_s = whole - beside
    rates = (256.0, 256.0) if model == RESNET50 else (512.0, 30_000.0)
    ranges = {"rate_per_s": rates, "points": (1.0, 1.0), "parallelism": (1.0, 32.0)}
    return _calibration((engine, tool, model, "hot"), cpu, curve, server, {1: score_s}, {1: server_s}, ranges, call_s)


def _cold(engine: str, tool: str) -> Calibration:
    constant, slope = line(engine, tool)
    cpu = {}
    if tool in EXTERNAL:
        constant -= CALL_S
    if engine == STANDALONE:
        cpu["worker.encode"] = constant
    elif engine == SPARK:
        cpu = {"batch.plan": constant - HOPS_S + NETWORK_S - SPARK_POLL_S, "batch.commit": SPARK_COMMIT_S}
    elif engine == UNCHAINED:
        cpu["worker.decode"] = constant - HOPS_S - 2 * WAKE_S - FLUSH_S
    elif engine == RAY:
        cpu["worker.decode"] = constant - HOPS_S - 2 * WAKE_S
    else:
        cpu["worker.decode"] = constant - HOPS_S
    where = (engine, tool, FFNN, "cold")
    ranges = {"rate_per_s": (0.3, 0.4), "points": (32.0, 512.0), "parallelism": (1.0, 1.0)}
    table, nothing = {1: slope}, {1: 0.0}
    tables = (nothing, table) if tool in EXTERNAL else (table, nothing)
    return _calibration(where, cpu, PHYSICAL_CORES, Curve(16.0, 8.0) if tool in EXTERNAL else None, *tables, ranges)


def _calibration(
    where: tuple[str, str, str, str],
    cpu: Mapping[str, float],
    curve: Curve,
    server: Curve | None,
    score_s: Mapping[int, float],
    server_s: Mapping[int, float],
    ranges: dict[str, tuple[float, float]],
    call_s: float = CALL_S,
) -> Calibration:
    engine, tool, model, heat = where
    values = RESNET50_VALUES if model == RESNET50 else FFNN_VALUES
    chained = {"chained": engine == FLINK} if engine in (FLINK, UNCHAINED) else {}
    hardware = published()["hardware"]
    varying = {costs.SERVER_SCORE: CpuCost(residual=_lognormal())} if server is not None and heat == "hot" else {}
    points = curve.values(100 if engine == UNCHAINED else 64)
    return Calibration(
        name=f"{NAME}/{engine}-{tool}-{model}-{heat}",
        created=CREATED,
        fingerprint={"cpu_model": hardware["cpu_model"], **hardware, "cores": 64},
        regime={
            "engine": FLINK if engine == UNCHAINED else engine,
            **chained,
            "runtime": tool,
            "model": model,
            "format": "json",
            "broker": "kafka",
            "heat": heat,
        },
        cpu={name: CpuCost(fixed_ns=_ns(x)) for name, x in cpu.items() if x > 0} | varying,
        latency={
            "wake": Latency((WAKE_S * S_NS,)),
            "timer": Latency((TIMER_S * S_NS,)),
            "network": Latency((digits((call_s / 2 - WAKE_S) * S_NS),)),
        },
        host=HostCosts(64, points, "ps", 3 * MS_NS),
        score_table={n: digits(x * S_NS, 5) for n, x in score_s.items() if x > 0},
        server_table={n: digits(x * S_NS, 5) for n, x in server_s.items() if x > 0},
        curves={
            "generator": producers().values(32),
            "engine": points,
            **({} if server is None else {"server": server.values(32)}),
        },
        sizes_bytes={
            "input_fixed": 60.0,
            "input_per_point": values * BYTES_A_VALUE,
            "output_fixed": 160.0,
            "output_per_point": values * BYTES_A_VALUE,
        },
        ranges=ranges,
        fit={"by": "python -m calibration crayfish", "source": published()["source"], **_told(curve, server)},
    )


def _told(curve: Curve, server: Curve | None) -> dict[str, Any]:
    found = {"engine": curve} | ({} if server is None else {"server": server})
    return {"curves": {k: dataclasses.asdict(c) for k, c in found.items()}}


def _lognormal() -> tuple[float, ...]:
    """Seventeen quantiles of mean 1 (the ends at 1/64 from them)."""
    normal = NormalDist()
    at = [min(max(i / 16, 1 / 64), 63 / 64) for i in range(17)]
    raw = [math.exp(SERVER_SIGMA * normal.inv_cdf(u)) for u in at]
    mean = (sum(raw) - (raw[0] + raw[-1]) / 2) / 16  # of the straight lines between them
    return tuple(digits(x / mean, 6) for x in raw)


def _ns(seconds: float) -> Value:
    x = digits(seconds * S_NS, 5)
    return Value(x, x, x)
