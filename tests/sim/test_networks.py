"""Random networks of queues: against Jackson's product form, and against Ciw where there is no formula."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest

from scenarios.spec import S_NS
from tests.sim import queues
from tests.sim.queues import MEAN_NS, REPLICATIONS, Station, assert_mean, network, poisson, run, settled
from tests.sim.test_closed_forms import EXPONENTIAL, erlang_c

PER_S = S_NS / MEAN_NS
UNIFORM = queues.spread(lambda u: 2 * u)
NETWORKS = 5


class Network:
    """Stations, each with a probability to go on to each; what leaves the last is gone."""

    def __init__(self, seed: int, *, markovian: bool) -> None:
        rng = random.Random(seed)
        n = rng.randint(3, 5)
        self.rate = 0.5  # a `MEAN_NS`, at the first
        odds = np.array([[rng.choice((0.0, rng.random())) for _ in range(n + 1)] for _ in range(n)])
        odds[:, n] += 0.5
        self.routes = odds / odds.sum(axis=1, keepdims=True)
        entering = np.array([self.rate] + [0.0] * (n - 1))
        self.rates = np.linalg.solve(np.eye(n) - self.routes[:, :n].T, entering)
        self.servers = [rng.randint(1, 3) for _ in range(n)]
        self.loads = [rng.uniform(0.2, 0.6) for _ in range(n)]
        kinds = ("exponential",) if markovian else ("exponential", "uniform", "constant")
        self.kinds = [rng.choice(kinds) for _ in range(n)]
        self.means = [
            load * c / rate if rate else 1.0 for load, c, rate in zip(self.loads, self.servers, self.rates, strict=True)
        ]

    def stations(self) -> list[Station]:
        """The same as stations."""
        tables = {"exponential": EXPONENTIAL, "uniform": UNIFORM, "constant": None}
        return [
            Station((mean * MEAN_NS,), tables[kind], c, tuple((float(p), (to,)) for to, p in enumerate(row[:-1])))
            for mean, kind, c, row in zip(self.means, self.kinds, self.servers, self.routes, strict=True)
        ]

    def sojourns(self, records: int) -> list[float]:
        """The mean time in the network, of each replication."""
        return [
            float(
                settled(
                    queues.sojourns(run(network(poisson(self.rate * PER_S, records, s), self.stations(), s)))
                ).mean()
            )
            for s in range(REPLICATIONS)
        ]


@pytest.mark.parametrize("seed", range(NETWORKS))
def test_markovian_networks_have_the_product_form(seed: int) -> None:
    net = Network(seed, markovian=True)
    inside = [
        rate * mean * (1 + erlang_c(c, rate * mean / c) / (c * (1 - rate * mean / c)))
        for rate, mean, c in zip(net.rates, net.means, net.servers, strict=True)
    ]
    assert_mean(net.sojourns(45_000), sum(inside) / net.rate)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(NETWORKS))
def test_other_networks_are_those_of_ciw(seed: int) -> None:
    net = Network(100 + seed, markovian=False)
    ours, theirs = net.sojourns(50_000), [_by_ciw(net, 10_000, s) for s in range(REPLICATIONS)]
    means, errors = zip(*((np.mean(x), np.std(x, ddof=1) / math.sqrt(len(x))) for x in (ours, theirs)), strict=True)
    assert max(e / m for e, m in zip(errors, means, strict=True)) <= 0.01
    assert abs(means[0] - means[1]) < 4 * math.hypot(*errors)


def _by_ciw(net: Network, records: int, seed: int) -> float:
    import ciw  # type: ignore[import-untyped]

    n = len(net.servers)
    makes: dict[str, Any] = {
        "exponential": lambda mean: ciw.dists.Exponential(rate=1 / mean),
        "uniform": lambda mean: ciw.dists.Uniform(lower=0, upper=2 * mean),
        "constant": lambda mean: ciw.dists.Deterministic(value=mean),
    }
    described = ciw.create_network(
        arrival_distributions=[ciw.dists.Exponential(rate=net.rate), *[None] * (n - 1)],
        service_distributions=[makes[kind](mean) for kind, mean in zip(net.kinds, net.means, strict=True)],
        number_of_servers=net.servers,
        routing=net.routes[:, :-1].tolist(),
    )
    ciw.seed(seed)
    simulation = ciw.Simulation(described)
    simulation.simulate_until_max_time(records / net.rate)
    gone = simulation.nodes[-1].all_individuals
    times = sorted((i.data_records[0].arrival_date, i.data_records[-1].exit_date) for i in gone)
    return float(np.mean([end - begin for begin, end in times[len(times) // 10 :]]))
