"""Stations and clients against what queueing theory says of them: 20 replications each.

A mean must lie within four standard errors of the formula, and the standard error within one per cent of the mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from scenarios.spec import MS_NS, S_NS, Arrival, Broker, Engine, ProducerSettings, Scenario, Workload
from sim import system as builder
from sim.execution import LoopExecution
from sim.run import simulate
from tests.oracle import cases
from tests.sim import pipelines, queues
from tests.sim.queues import MEAN_NS, REPLICATIONS, Floats, Station, assert_mean, network, poisson, run, settled, waits

EXPONENTIAL = queues.exponential()
PER_S = S_NS / MEAN_NS  # services a second, of one server


def replicate(
    stations: list[Station], rate_per_s: float, count: int, of: Callable[[LoopExecution], Floats] = waits
) -> list[float]:
    """The mean of each replication, settled."""
    return [
        float(settled(of(run(network(poisson(rate_per_s, count, seed), stations, seed)))).mean())
        for seed in range(REPLICATIONS)
    ]


def erlang_c(servers: int, load: float) -> float:
    """The probability to wait; `load` of all servers together."""
    a = servers * load
    last = a**servers / math.factorial(servers) / (1 - load)
    return last / (sum(a**k / math.factorial(k) for k in range(servers)) + last)


def test_the_table_of_the_exponential() -> None:
    assert queues.second_moment(EXPONENTIAL) == pytest.approx(2, rel=1e-3)


# One queue


def assert_markovian(servers: int, load: float, count: int) -> None:
    means = replicate([Station(table=EXPONENTIAL, servers=servers)], load * servers * PER_S, count)
    assert_mean(means, erlang_c(servers, load) / (servers * (1 - load)))


@pytest.mark.parametrize(
    ("servers", "load", "count"),
    [(1, 0.3, 40_000), (1, 0.5, 40_000), (1, 0.8, 80_000), (2, 0.5, 50_000), (4, 0.8, 320_000)],
)
def test_exponential_services(servers: int, load: float, count: int) -> None:
    assert_markovian(servers, load, count)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("servers", "load", "count"), [(1, 0.9, 400_000), (1, 0.95, 1_200_000), (4, 0.95, 1_500_000), (8, 0.6, 300_000)]
)
def test_exponential_services_near_the_limits(servers: int, load: float, count: int) -> None:
    assert_markovian(servers, load, count)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_equal_services(load: float) -> None:
    assert_mean(replicate([Station()], load * PER_S, 60_000), load / (2 * (1 - load)))


@pytest.mark.parametrize(
    ("name", "squared"), [("erlang", 1 + 1 / 3), ("lognormal", math.exp(0.6**2)), ("uniform", 4 / 3)]
)
def test_any_services(name: str, squared: float) -> None:
    quantile = {
        "erlang": stats.gamma(3, scale=1 / 3).ppf,
        "lognormal": stats.lognorm(0.6, scale=math.exp(-(0.6**2) / 2)).ppf,
        "uniform": lambda u: 2 * u,
    }[name]
    table, load = queues.spread(quantile), 0.7
    assert queues.second_moment(table) == pytest.approx(squared, rel=2e-3)
    expected = load * squared / (2 * (1 - load))  # Pollaczek and Khinchine
    assert_mean(replicate([Station(table=table)], load * PER_S, 60_000), expected)


@pytest.mark.parametrize(("load", "room"), [(0.8, 5), (1.2, 10)])
def test_a_queue_with_an_end(load: float, room: int) -> None:
    lost, means = [], []
    for seed in range(REPLICATIONS):
        execution = run(
            network(poisson(load * PER_S, 60_000, seed), [Station(table=EXPONENTIAL, capacity=room - 1)], seed)
        )
        lost.append(float(settled(execution.lost().astype(float)).mean()))
        means.append(float(settled(queues.sojourns(execution)).mean()))
        assert execution.services()[0].dropped == int(execution.lost().sum())
        assert execution.acked() == 60_000
    weights = load ** np.arange(room + 1.0)
    weights /= weights.sum()
    assert_mean(lost, float(weights[-1]), relative=0.02)
    assert_mean(means, float((np.arange(room + 1) * weights).sum() / (load * (1 - weights[-1]))))


# Several queues


def test_queues_in_a_row() -> None:
    first = Station(table=EXPONENTIAL, edges=((1.0, (1,)),))
    second = Station((0.8 * MEAN_NS,), EXPONENTIAL, edges=((1.0, (2,)),))
    row = [first, second, Station((1.5 * MEAN_NS,), EXPONENTIAL, servers=2)]
    rate = 0.6
    third = 1.5 * (1 + erlang_c(2, rate * 1.5 / 2) / (2 * (1 - rate * 1.5 / 2)))
    expected = 1 / (1 - rate) + 1 / (1 / 0.8 - rate) + third  # Burke: each sees Poisson arrivals
    assert_mean(replicate(row, rate * PER_S, 60_000, queues.sojourns), expected)


def test_a_queue_that_is_come_back_to() -> None:
    station = Station(table=EXPONENTIAL, edges=((0.3, (0,)),))
    assert_mean(replicate([station], 0.5 * PER_S, 60_000, queues.sojourns), 1 / (0.7 - 0.5))


# Batches


@pytest.mark.parametrize(("most", "load"), [(2, 0.7), (8, 0.7)])
def test_batches_of_exponential_services(most: int, load: float) -> None:
    """A batch takes as long as one (Medhi): what waits while one is served is geometric."""
    rate = load * most
    low, high = 0.0, 1.0 - 1e-9
    for _ in range(200):  # the root in (0, 1) of r^(most + 1) - (rate + 1) r + rate
        middle = (low + high) / 2
        low, high = (middle, high) if middle ** (most + 1) - (rate + 1) * middle + rate > 0 else (low, middle)
    r = low
    busy_without_queue = 1 / (1 / rate + 1 / (1 - r))
    expected = busy_without_queue * r / (1 - r) ** 2 / rate
    assert_mean(replicate([Station([MEAN_NS] * most, EXPONENTIAL)], rate * PER_S, 160_000), expected)


def test_batches_that_take_longer_the_larger_they_are() -> None:
    times = [MS_NS + n * 300_000 for n in range(8)]
    arrivals = poisson(1800.0, 50_000, 3)
    execution = run(network(arrivals, [Station(times)]))
    _, begun, left = execution.visits(0)
    at = i = 0
    while i < len(arrivals):  # the recursion, on its own
        at = max(at, int(arrivals[i]))
        n = min(8, int(np.searchsorted(arrivals, at, side="right")) - i)
        assert begun[i : i + n].tolist() == [at] * n
        at += times[n - 1]
        assert left[i : i + n].tolist() == [at] * n
        i += n
    assert execution.services()[0].taken == 50_000


# Forks


def forked(branches: list[Station]) -> list[Station]:
    """A station that takes no time, a branch each, a station that joins them and takes none either."""
    n = len(branches)
    edge = ((1.0, (n + 1,)),)
    ways = [Station(b.times_ns, b.table, b.servers, edge) for b in branches]
    return [Station((0,), edges=((1.0, tuple(range(1, n + 1))),)), *ways, Station((0,), joins=True)]


@pytest.mark.parametrize("branches", [2, 3])
def test_the_longer_of_services_without_queues(branches: int) -> None:
    ways = forked([Station(table=EXPONENTIAL, servers=40)] * branches)
    expected = sum(1 / k for k in range(1, branches + 1))
    assert_mean(replicate(ways, 3 * PER_S, 10_000, queues.sojourns), expected)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_the_longer_of_two_queues(load: float) -> None:
    ways = forked([Station(table=EXPONENTIAL)] * 2)
    expected = (12 - load) / 8 / (1 - load)  # Flatto and Hahn; Nelson and Tantawi
    assert_mean(replicate(ways, load * PER_S, 80_000, queues.sojourns), expected)


# Producers


def batches_of(rate_per_s: float, linger_ns: int, most: int, seed: int) -> tuple[float, float, float]:
    """Mean size of a batch, mean wait of its first record, mean wait of all (in lingers)."""
    workload = Workload(Arrival("poisson", rate_per_s=rate_per_s), warmup_ns=0, duration_ns=40 * S_NS, seed=seed)
    settings = ProducerSettings(linger_ns=linger_ns, batch_records=most)
    scenario = Scenario(workload=workload, broker=Broker(partitions=1, producer=settings))
    sys = builder.build(scenario, cases.calibration({}, score={1: 0.0}))
    stamps = pipelines.loop_stamps(sys)
    sent, appended = stamps["sent"], stamps["appended"]
    whole = appended >= 0
    wait = (appended - sent)[whole] / linger_ns
    firsts = np.flatnonzero(np.diff(appended[whole], prepend=-1))
    return len(wait) / len(firsts), float(wait[firsts].mean()), float(wait.mean())


@pytest.mark.parametrize(("rate_per_s", "most"), [(100.0, 10_000), (600.0, 10_000), (600.0, 4)])
def test_a_producer_lingers(rate_per_s: float, most: int) -> None:
    linger_ns = 5 * MS_NS
    found = [batches_of(rate_per_s, linger_ns, most, seed) for seed in range(REPLICATIONS)]
    sizes, firsts, alls = zip(*found, strict=True)
    more = stats.poisson(rate_per_s * linger_ns / S_NS)  # come within the linger of the first
    size = 1 + sum(more.sf(k) for k in range(most - 1)) if most < 100 else 1 + more.mean()
    assert_mean(sizes, size)
    if most < 100:  # the first waits for the others, or for the linger: the mean of min(erlang, linger)
        gap = S_NS / rate_per_s / linger_ns
        erlang = stats.gamma(most - 1, scale=gap)
        assert_mean(firsts, erlang.expect(ub=1) + erlang.sf(1))
    else:
        assert firsts == pytest.approx([1.0] * REPLICATIONS)
        assert_mean(alls, (1 + more.mean() / 2) / (1 + more.mean()))


# Overload


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_throughput_from_creation_is_biased(share: float) -> None:
    """A quarter of the outputs cut, T_gen / T_out = 0.75 / (1 - 0.25 mu / lambda): Crayfish's two formulas."""
    mu = 500.0
    workload = Workload(
        Arrival(rate_per_s=mu / share), warmup_rule="first-quarter", warmup_ns=0, duration_ns=20 * S_NS, drain_ns=0
    )
    broker = Broker(partitions=1, producer=ProducerSettings(linger_ns=0))
    scenario = Scenario(workload=workload, broker=broker, engine=Engine(parallelism=1))
    metrics = simulate(scenario, cases.calibration({}, score={1: S_NS / mu})).metrics
    assert metrics["throughput_per_s"] == pytest.approx(mu, rel=1e-3)
    found = (metrics["throughput_gen_per_s"] or 0) / (metrics["throughput_per_s"] or 1)
    assert found == pytest.approx(0.75 / (1 - 0.25 * share), rel=0.005)


# By hand


def test_arrivals_and_services_like_clockwork() -> None:
    arrivals = np.arange(1, 101) * MS_NS
    execution = run(network(arrivals, [Station((1.5 * MS_NS,))]))
    assert execution.visits(0)[1].tolist() == [MS_NS + 1_500_000 * n for n in range(100)]
    execution = run(network(arrivals, [Station((1.5 * MS_NS, 1.5 * MS_NS))]))
    # 1 | 2 | 3 4 | 5 | 6 7 | ...: one comes while the server is busy, or two
    assert execution.visits(0)[1][:7].tolist() == [MS_NS * x // 2 for x in (2, 5, 8, 8, 11, 14, 14)]


def test_a_record_too_many_and_one_too_late() -> None:
    full = run(network([0, 1, 2, 3], [Station((10,), capacity=2)]))
    assert full.lost().tolist() == [0, 0, 0, 1]
    assert full.stamps()["acked"].tolist() == [10, 20, 30, -1]
    late = run(network([0, 1, 2, 3], [Station((10,), expiry_ns=20)]))
    assert late.lost().tolist() == [0, 0, 0, 2]
    late = run(network([0, 1, 2, 3], [Station((10,), expiry_ns=18)]))
    assert late.lost().tolist() == [0, 0, 2, 0]
    assert late.stamps()["acked"].tolist() == [10, 20, -1, 30]


def test_the_oldest_goes_first() -> None:
    # Each record goes to the last queue twice: at once, and through a station of 10 ns.
    there = [Station((0,), edges=((1.0, (1, 2)),)), Station((10,), edges=((1.0, (2,)),))]
    for oldest_first in (False, True):
        stations = [*there, Station((100,), earliest_first=oldest_first)]
        execution = run(network([0, 2, 4], stations))
        # Parts come to the last queue at 0, 2 and 4, and by the other way at 10, 20 and 30.
        order = [0, 0, 1, 1, 2, 2] if oldest_first else [0, 1, 2, 0, 1, 2]
        ends = {record: 100 * (place + 1) for place, record in enumerate(order)}
        assert execution.stamps()["acked"].tolist() == [ends[record] for record in range(3)]


def test_a_server_warms_up() -> None:
    execution = run(network([0] * 5, [Station((10, 12), first_times_ns=(100, 50))]))
    assert execution.stamps()["acked"].tolist() == [100, 100, 150, 150, 160]
