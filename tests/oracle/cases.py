"""Pipelines on which every simulator of the Python engine must give the same stamps, cores enough for all threads.

`lattice` makes everything tie: arrivals, services and latencies are multiples of 100 us.  `random_case` draws the rest.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from scenarios.spec import (
    MS_NS,
    S_NS,
    US_NS,
    Arrival,
    Broker,
    ConsumerSettings,
    Engine,
    ProducerSettings,
    Scenario,
    Workload,
)
from sim.costs import BACKGROUND_PARTS, Calibration, CpuCost, HostCosts, Latency, Value

CORES = 256
STEP_NS = 100 * US_NS

Case = tuple[str, Scenario, Calibration]


def exactly(value: float) -> Value:
    return Value(float(value), float(value), float(value))


def cost(
    fixed: float = 0, *, batch: float = 0, record: float = 0, point: float = 0, byte: float = 0, cold: float = 0
) -> CpuCost:
    """A CPU cost without a residual, in ns."""
    return CpuCost(exactly(fixed), exactly(batch), exactly(record), exactly(point), exactly(byte), exactly(cold))


def calibration(
    cpu: dict[str, CpuCost],
    *,
    wake: tuple[float, ...] = (0.0,),
    timer: tuple[float, ...] = (0.0,),
    network: tuple[float, ...] = (0.0,),
    score: dict[int, float] | None = None,
    sizes: dict[str, float] | None = None,
    background: dict[str, float] | None = None,
) -> Calibration:
    """A calibration of a host whose cores never run out."""
    return Calibration(
        name="cases",
        created="2000-01-01",
        fingerprint={},
        regime={},
        cpu=cpu,
        latency={"wake": Latency(wake), "timer": Latency(timer), "network": Latency(network)},
        host=HostCosts(CORES, tuple(float(n) for n in range(1, CORES + 1)), "slices", 3 * MS_NS),
        background_ns_per_s={part: exactly(value) for part, value in (background or {}).items()},
        score_table=score or {},
        sizes_bytes=sizes or {"input_fixed": 1000.0, "output_fixed": 1000.0},
    )


# Everything ties


def lattice_calibration(
    steps: dict[str, int], *, wake: int = 0, timer: int = 0, network: int = 0, score: int = 2
) -> Calibration:
    """Costs and latencies in steps of 100 us."""
    return calibration(
        {name: cost(n * STEP_NS) for name, n in steps.items()},
        wake=(float(wake * STEP_NS),),
        timer=(float(timer * STEP_NS),),
        network=(float(network * STEP_NS),),
        score={1: float(score * STEP_NS)},
        background={"broker": 5.0 * 100 * STEP_NS, "host": 3.0 * 100 * STEP_NS},
    )


ONES = {
    "generator.record": 1,
    "producer.request": 1,
    "broker.produce": 1,
    "broker.fetch": 1,
    "broker.fetch_empty": 1,
    "consumer.fetch": 1,
    "consumer.fetch_empty": 1,
    "worker.poll": 1,
    "worker.poll_empty": 1,
    "worker.decode": 1,
    "worker.encode": 1,
    "worker.produce": 1,
    "collector.poll": 1,
    "collector.record": 1,
}
MIXED = {
    **ONES,
    "generator.wake": 1,
    "producer.wake": 1,
    "worker.cold": 2,
    "broker.wake": 1,
    "broker.rest": 2,
    "producer.request": 2,
    "broker.produce": 3,
    "broker.fetch": 2,
    "worker.poll": 2,
}


def lattice() -> list[Case]:
    """Named cases in which nearly every event has company."""
    base = Scenario(
        name="lattice",
        workload=Workload(
            arrival=Arrival(rate_per_s=1000.0),
            warmup_ns=20 * MS_NS,
            duration_ns=100 * MS_NS,
            drain_ns=80 * MS_NS,
            partitioner="round-robin",
            seed=7,
        ),
        broker=Broker(
            partitions=2,
            io_threads=2,
            producer=ProducerSettings(linger_ns=0),
            consumer=ConsumerSettings(fetch_max_wait_ns=5 * MS_NS),
        ),
        engine=Engine(parallelism=1),
    )

    def made(
        name: str,
        costs: Calibration,
        *,
        workload: dict[str, Any] | None = None,
        broker: dict[str, Any] | None = None,
        producer: dict[str, Any] | None = None,
        consumer: dict[str, Any] | None = None,
        workers: int = 1,
    ) -> Case:
        settings = replace(
            base.broker,
            **(broker or {}),
            producer=replace(base.broker.producer, **(producer or {})),
            consumer=replace(base.broker.consumer, **(consumer or {})),
        )
        load = replace(base.workload, **(workload or {}))
        return name, replace(base, name=name, workload=load, broker=settings, engine=Engine(parallelism=workers)), costs

    fast = Arrival(rate_per_s=10_000.0)
    patient = {"arrival": fast, "drain_ns": 6 * S_NS}  # a full queue is looked at again after 1 s
    ones = lattice_calibration(ONES)
    late = lattice_calibration(MIXED, wake=1, timer=2, network=3)
    even = lattice_calibration(ONES, wake=1, timer=1, network=1)
    free = lattice_calibration({}, score=1)
    wide = {"partitions": 6, "io_threads": 3}
    return [
        made("ones", ones),
        made("all-latencies-equal", even),
        made("mixed-late", late),
        made("only-scoring", free),
        made("three-producers", ones, workload={"producers": 3, "arrival": fast}, broker=wide, workers=3),
        made("three-producers-late", late, workload={"producers": 3}, broker=wide, workers=4),
        made("one-partition-two-workers", even, broker={"partitions": 1, "io_threads": 1}, workers=2),
        made("linger", even, producer={"linger_ns": MS_NS}),
        made("linger-fast", ones, producer={"linger_ns": 5 * MS_NS}, workload={"arrival": fast, "producers": 2}),
        made("batch-records", ones, producer={"linger_ns": MS_NS, "batch_records": 2}, workload={"arrival": fast}),
        made("batch-bytes", late, producer={"linger_ns": 5 * MS_NS, "batch_bytes": 2500}, workload={"arrival": fast}),
        made("one-in-flight", even, producer={"max_in_flight": 1}, workload={"arrival": fast}),
        made(
            "two-in-flight-linger",
            late,
            producer={"max_in_flight": 2, "linger_ns": MS_NS},
            workload={"arrival": fast, "producers": 2},
            broker=wide,
            workers=2,
        ),
        made("poll-one", even, consumer={"max_poll_records": 1}, workers=2),
        made("poll-three", ones, consumer={"max_poll_records": 3}, workload={"arrival": fast}, broker=wide, workers=2),
        made("fetch-min", even, consumer={"fetch_min_bytes": 3000, "fetch_max_wait_ns": 2 * MS_NS}),
        made("fetch-min-no-wait", even, consumer={"fetch_min_bytes": 3000, "fetch_max_wait_ns": STEP_NS}),
        made("fetch-max", ones, consumer={"fetch_max_bytes": 3000}, workload={"arrival": fast}, broker=wide, workers=2),
        made("fetch-partition", even, consumer={"partition_fetch_bytes": 1500}, workload={"arrival": fast}),
        made("queue-records", even, consumer={"queued_records": 9, "max_poll_records": 2}, workload=patient),
        made("queue-bytes", even, consumer={"queued_bytes": 9000, "max_poll_records": 2}, workload=patient),
        made("backlog", even, workload={"backlog_records": 120}, producer={"batch_records": 5}, workers=2),
        made("backlog-only", late, workload={"backlog_records": 120, "records": 0}, broker=wide, workers=3),
        made("first-forty", ones, workload={"records": 40, "producers": 3}, broker={"partitions": 4, "io_threads": 4}),
    ]


# Everything differs


def quantiles(rng: random.Random, low: float, high: float) -> tuple[float, ...]:
    """17 ascending quantiles between two bounds, with a tail."""
    return tuple(low + (high - low) * x * x for x in sorted(rng.random() for _ in range(17)))


def residual(rng: random.Random) -> tuple[float, ...]:
    """Quantiles of actual / fitted, about mean 1; sometimes none."""
    if rng.random() < 0.25:
        return ()
    spread = rng.choice((0.05, 0.3, 0.9))
    return tuple(1 + spread * (x - 0.5) for x in sorted(rng.random() for _ in range(17)))


def random_calibration(rng: random.Random) -> Calibration:
    """Costs of some tens of us, with residuals; latencies as tables or constants."""
    us = float(US_NS)

    def some(
        fixed: float, *, batch: float = 0, record: float = 0, point: float = 0, byte: float = 0, cold: float = 0
    ) -> CpuCost:
        fixed, batch, record, point, byte, cold = (
            top * rng.random() for top in (fixed, batch, record, point, byte, cold)
        )
        terms = cost(fixed, batch=batch, record=record, point=point, byte=byte, cold=cold)
        return replace(terms, residual=residual(rng))

    cpu = {
        "generator.wake": some(10 * us, cold=30 * us),
        "generator.record": some(40 * us, record=20 * us, point=5 * us, byte=5),
        "producer.request": some(60 * us, record=5 * us, byte=3),
        "broker.produce": some(150 * us, record=5 * us, byte=5),
        "broker.fetch": some(150 * us, batch=10 * us, record=3 * us, byte=3),
        "broker.fetch_empty": some(60 * us),
        "consumer.fetch": some(80 * us, batch=10 * us, record=5 * us, byte=3),
        "consumer.fetch_empty": some(30 * us),
        "worker.poll": some(40 * us),
        "worker.poll_empty": some(20 * us),
        "worker.decode": some(50 * us, byte=10),
        "worker.score": CpuCost(residual=residual(rng)),
        "worker.encode": some(40 * us, point=5 * us, byte=5),
        "worker.produce": some(30 * us, byte=3),
        "collector.poll": some(30 * us),
        "collector.record": some(10 * us, record=10 * us, byte=2),
        "producer.wake": some(20 * us, cold=20 * us),
        "consumer.wake": some(20 * us),
        "worker.cold": some(0, cold=200 * us),
        "collector.wake": some(20 * us),
        "broker.wake": some(30 * us),
        "broker.rest": some(60 * us),
    }
    for name in list(cpu):
        if rng.random() < 0.1:
            del cpu[name]  # counts as zero

    def latency(high: float) -> tuple[float, ...]:
        return (rng.choice((0.0, high / 3)),) if rng.random() < 0.3 else quantiles(rng, high / 20, high)

    score = rng.choice((50, 200, 800)) * us
    return calibration(
        cpu,
        wake=latency(60 * us),
        timer=latency(120 * us),
        network=latency(rng.choice((40, 400, 2000)) * us),
        score={points: score * points**0.8 for points in rng.sample((1, 2, 4, 8, 16), rng.randint(1, 4))},
        sizes={
            "input_fixed": rng.uniform(100, 500),
            "input_per_point": rng.uniform(100, 3000),
            "output_fixed": rng.uniform(100, 700),
            "output_per_point": rng.uniform(10, 3000),
        },
        background={part: rng.choice((0.0, 5e6, 7.3e7)) for part in BACKGROUND_PARTS if rng.random() < 0.6},
    )


def random_case(seed: int) -> tuple[Scenario, Calibration]:
    """A pipeline of a few hundred ms; the same for the same seed."""
    rng = random.Random(seed)
    pick = rng.choice
    rate = pick((150.0, 600.0, 2500.0))
    arrival = pick(
        (
            Arrival(kind="constant", rate_per_s=rate),
            Arrival(kind="poisson", rate_per_s=rate),
            Arrival(kind="gamma", rate_per_s=rate, cv=2.0),
        )
    )
    backlog = pick((0, 0, 0, 60, 400))
    workload = Workload(
        arrival=arrival,
        points=pick((1, 1, 2, 3, 8)),
        warmup_ns=pick((0, 40)) * MS_NS,
        duration_ns=pick((100, 200)) * MS_NS,
        drain_ns=pick((0, 50, 200, 200, 2_500)) * MS_NS,  # the last: a full queue is looked at again after 1 s
        records=0 if backlog and rng.random() < 0.4 else pick((None, None, 30)),
        backlog_records=backlog,
        producers=rng.randint(1, 3),
        partitioner=pick(("random", "round-robin")),
        seed=rng.randrange(1 << 40),
    )
    producer = ProducerSettings(
        linger_ns=pick((0, 1, 5)) * MS_NS,
        batch_bytes=pick((1, 5_000, 20_000, 1_000_000)),
        batch_records=pick((1, 3, 10, 10_000)),
        max_in_flight=pick((1, 2, 5, 1_000_000)),
    )
    consumer = ConsumerSettings(
        max_poll_records=pick((1, 3, 20, 500)),
        fetch_min_bytes=pick((1, 1, 4_000, 40_000)),
        fetch_max_wait_ns=pick((1, 10, 60, 500)) * MS_NS,
        fetch_max_bytes=pick((1, 9_000, 30_000, 52_428_800)),
        partition_fetch_bytes=pick((1, 6_000, 25_000, 1_048_576)),
        queued_records=pick((2, 12, 60, 100_000, 100_000, 100_000)),
        queued_bytes=pick((30_000, *[65_536 * 1024] * 4)),
    )
    broker = Broker(partitions=rng.randint(1, 6), io_threads=pick((1, 2, 4, 8)), producer=producer, consumer=consumer)
    scenario = Scenario(
        name=f"random-{seed}", workload=workload, broker=broker, engine=Engine(parallelism=rng.randint(1, 4))
    )
    return scenario, random_calibration(rng)
