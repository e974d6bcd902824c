"""Queueing networks as systems: stations on a host without end, times drawn from tables, and how a mean is judged.

A table of 1,025 quantiles, straight in between, is not quite its distribution.  `spread` gives its last interval the
mean of the tail, and then scales it: the mean is right, of the exponential's second moment 0.05 % is lost in the tail.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scenarios.draws import TABLE_SIZE
from scenarios.spec import MS_NS, S_NS
from sim.execution import LoopExecution
from sim.system import COST_BITS, RESIDUAL_BITS, Cost, Edge, Int64s, Service, System
from tests.sim.layouts import Layout, generator, station

REPLICATIONS = 20
MEAN_NS = MS_NS
CAME, BEGUN, LEFT = range(3)
Floats = NDArray[np.float64]


def spread(quantile: Callable[[Floats], Floats]) -> Int64s:
    """A table of factors with mean 1, of a distribution with mean 1."""
    cells = TABLE_SIZE - 1
    at = np.arange(TABLE_SIZE - 1) / cells
    inner = quantile(at)
    last = 2 * (cells - (inner[:-1] + inner[1:]).sum() / 2) - inner[-1]  # what the last cell lacks for a mean of 1
    table = np.append(inner, max(last, inner[-1]))
    mean = (table[:-1] + table[1:]).sum() / 2 / cells
    factors: Int64s = np.round(table / mean * (1 << RESIDUAL_BITS)).astype(np.int64)
    return factors


def exponential() -> Int64s:
    """Factors of an exponential time."""
    return spread(lambda u: -np.log1p(-u))


def second_moment(table: Int64s) -> float:
    """Of the factors of a table."""
    x = table / (1 << RESIDUAL_BITS)
    low, high = x[:-1], x[1:]
    return float(((low**2 + low * high + high**2) / 3).mean())


@dataclass(frozen=True)
class Station:
    """Servers of one queue; `times_ns` are those of a batch of one, of two, ..."""

    times_ns: Sequence[float] = (MEAN_NS,)
    table: Int64s | None = None
    servers: int = 1
    edges: tuple[tuple[float, tuple[int, ...]], ...] = ()  # probability, stations
    joins: bool = False
    capacity: int = 0
    earliest_first: bool = False
    expiry_ns: int = 0
    first_times_ns: Sequence[float] = ()


def poisson(rate_per_s: float, count: int, seed: int) -> Int64s:
    """When that many arrive."""
    gaps = np.random.default_rng(seed).exponential(S_NS / rate_per_s, count)
    arrivals: Int64s = np.cumsum(gaps).astype(np.int64)
    return arrivals


def network(arrivals: Sequence[int] | Int64s, stations: Sequence[Station], seed: int = 1) -> System:
    """A system whose records arrive at the first station."""
    layout = Layout(list(arrivals))
    layout.host()
    layout.generator(generator(service=0))
    for number, s in enumerate(stations):
        times = [*s.times_ns, *s.first_times_ns]
        cost = layout.cost(*(Cost(round(t) << COST_BITS, 0, 0, 0, 0, 0, s.table) for t in times))
        program = station(number, by_size=cost)
        threads = tuple(layout.thread(f"station.{number}.{k}", program, index=k) for k in range(s.servers))
        edges, below = [], 0.0
        for probability, targets in s.edges:
            below += probability
            edges.append(Edge(round(below * (1 << 32)), targets))
        layout.services.append(
            Service(
                threads,
                batch_records=len(s.times_ns),
                edges=tuple(edges),
                joins=s.joins,
                capacity=s.capacity,
                earliest_first=s.earliest_first,
                expiry_ns=s.expiry_ns,
                first_batches=len(s.first_times_ns),
                keeps=True,
            )
        )
    return layout.system(seed=seed, horizon_ns=int(layout.created.max(initial=0)) + 3600 * S_NS)


def run(system: System) -> LoopExecution:
    """The system, run to its end."""
    execution = LoopExecution(system)
    execution.advance(system.horizon_ns)
    return execution


def waits(execution: LoopExecution, service: int = 0) -> Floats:
    """Times in a queue, of records that were taken from it, in units of `MEAN_NS`."""
    came, begun, _ = execution.visits(service)
    taken = begun >= 0
    return np.asarray((begun - came)[taken] / MEAN_NS)


def sojourns(execution: LoopExecution) -> Floats:
    """From arrival to answer, in units of `MEAN_NS`."""
    stamps = execution.stamps()
    answered = stamps["acked"] >= 0
    return np.asarray((stamps["acked"] - stamps["created"])[answered] / MEAN_NS)


def settled(x: Floats) -> Floats:
    """Without what came before the queue was as it stays."""
    return x[len(x) // 10 :]


def assert_mean(found: Sequence[float], expected: float, *, relative: float = 0.01) -> None:
    """The mean of replications is within four standard errors of what it must be, and those are small."""
    mean = float(np.mean(found))
    error = float(np.std(found, ddof=1)) / math.sqrt(len(found))
    assert error <= relative * mean, f"{len(found)} replications know {mean:g} only within {error:g}"
    assert abs(mean - expected) < 4 * error, f"{mean:g} +- {error:g} where {expected:g} is right"
