"""Crayfish's published throughputs as a few mechanisms: what a record costs, and how much of it threads do at a time.

Everything is a rate of steady work: threads that share a host of capacity curve c(n) = n / (1 + (n/C)^p)^(1/p), and
calls that wait for a server with a curve of its own.  By Little's law the threads at work and the threads that wait are
as many as there are tasks; the rate at which that holds is the throughput.  The simulator is asked only afterwards: the
fit never runs it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

#: Of a curve's sharpness p, of its ceiling C in cores, of how much faster one thread alone is.
SHARPEST, CORES, ALONE = (1.0, 8.0), (0.5, 64.0), (1.0, 1.3)
ALONE_WEIGHT = 0.25
Pairs = Sequence[tuple[int, float]]  # (mr, published records per second)


@dataclass(frozen=True, slots=True)
class Curve:
    """c(n) = n / (1 + (n/C)^p)^(1/p): n threads do c(n) cores' worth of work, never more than C.

    Attributes:
        ceiling: C.
        sharpness: p.
        alone: How much faster one thread is that has nobody beside it.
    """

    ceiling: float
    sharpness: float
    alone: float = 1.0

    def at(self, n: float) -> float:
        """Cores' worth of work of n threads."""
        faster = self.alone if n <= 1 else 1.0
        return float(faster * n / (1 + (n / self.ceiling) ** self.sharpness) ** (1 / self.sharpness))

    def threads(self, work: float) -> float:
        """How many threads do so much work; infinite where none could."""
        if work >= self.ceiling:
            return math.inf
        return float(work / (1 - (work / self.ceiling) ** self.sharpness) ** (1 / self.sharpness))

    def values(self, most: int) -> tuple[float, ...]:
        """c(1), ..., c(most), each thread's share to the nearest 1/256: the simulator holds no finer, and floors."""
        return tuple(max(1, round(256 * self.at(n) / n)) * n / 256 for n in range(1, most + 1))


@dataclass(frozen=True, slots=True)
class Calls:
    """A call of a server: seconds of latency there and back, seconds of server time, the server's curve."""

    latency_s: float
    server_s: float
    curve: Curve


def digits(x: float, n: int = 4) -> float:
    """A number of n significant digits."""
    return float(f"{x:.{n}g}")


def chained(mr: int, task_s: float, curve: Curve) -> float:
    """Records per second of mr tasks that do everything themselves."""
    return curve.at(mr) / task_s


def unchained(mr: int, score_s: float, around_s: float, curve: Curve, others: int) -> float:
    """The same of scoring tasks beside `others` sources and sinks, the slowest stage always at work."""
    n = (score_s + around_s) * min(mr / score_s, others / around_s)
    return curve.at(n) / (score_s + around_s)


def calling(mr: int, task_s: float, around_s: float, curve: Curve, calls: Calls) -> float:
    """Records per second of mr tasks that call a server.

    Args:
        mr: How many tasks.
        task_s: What a record costs on the task.
        around_s: What it costs on other threads of the same host.
        curve: Of the host of both.
        calls: What a call is.
    """
    low, high = 0.0, mr / (task_s + calls.latency_s + calls.server_s)
    demand = [calls.server_s / calls.curve.at(n) for n in range(1, mr + 1)]
    for _ in range(40):
        x = (low + high) / 2
        work = x * (task_s + around_s)
        away_s = task_s * curve.threads(work) / work + calls.latency_s  # a thread's share of the curve slows it down
        if math.isinf(away_s) or closed(mr, away_s, demand) < x:
            high = x
        else:
            low = x
    return low


def closed(n: int, away_s: float, demand: Sequence[float]) -> float:
    """Throughput of n customers between a station shared by those at it and a time away: the product form.

    Args:
        n: How many.
        away_s: Seconds away between two visits.
        demand: Seconds from one departure to the next with 1, 2, ..., n at the station.
    """
    here = [1.0]
    for each in demand[:n]:
        here.append(here[-1] * each / away_s)  # all in units of the time away, so that nothing overflows
    away = [1.0]
    for k in range(1, n + 1):
        away.append(away[-1] / k)
    less, whole = (sum(here[k] * away[m - k] for k in range(m + 1)) for m in (n - 1, n))
    return less / whole / away_s


def search(
    loss: Callable[[list[float]], float], start: Sequence[float], bounds: Sequence[tuple[float, float]]
) -> list[float]:
    """The parameters of least loss by pattern search on their logarithms: no gradient, no randomness.

    Returns:
        Each of three significant digits.
    """
    at = [math.log(x) for x in start]
    limits = [(math.log(low), math.log(high)) for low, high in bounds]
    best, step = loss([math.exp(x) for x in at]), 0.5
    while step > 1e-3:
        moved = False
        for i, (low, high) in enumerate(limits):
            for sign in (1, -1):
                trial = at.copy()
                trial[i] = min(max(trial[i] + sign * step, low), high)
                found = loss([math.exp(x) for x in trial])
                if found < best - 1e-12:
                    at, best, moved = trial, found, True
        step = step if moved else step / 2
    return [digits(math.exp(x), 3) for x in at]


def squares(predict: Callable[[int], float], published: Pairs) -> float:
    """Sum of squared log errors."""
    return sum(math.log(predict(mr) / x) ** 2 for mr, x in published)


def geometric(values: Sequence[float]) -> float:
    """The geometric mean."""
    return math.exp(sum(map(math.log, values)) / len(values))


def fit_chained(published: Pairs, most_per_s: float) -> tuple[float, Curve]:
    """Seconds of a record and the curve, where the generator sends no more than `most_per_s`.

    How much faster one task alone is counts as an error of its own, at a quarter of the weight of a published number.
    """

    def loss(x: list[float]) -> float:
        curve = Curve(x[1], x[2], x[3])
        return (
            squares(lambda mr: min(chained(mr, x[0], curve), most_per_s), published)
            + ALONE_WEIGHT * math.log(x[3]) ** 2
        )

    one = 1 / dict(published)[1]
    found = search(loss, (one, 10, 2, 1.05), ((one / 2, one * 2), CORES, SHARPEST, ALONE))
    return found[0], Curve(*found[1:])


def fit_unchained(published: Pairs, around_s: float, others: int) -> tuple[float, Curve]:
    """Seconds of scoring a record and the curve, with what sources and sinks cost known."""

    def loss(x: list[float]) -> float:
        return squares(lambda mr: unchained(mr, x[0], around_s, Curve(x[1], x[2]), others), published)

    one = 1 / dict(published)[1]
    score_s, ceiling, sharpness = search(loss, (one, 10, 2), ((one / 3, one * 2), CORES, SHARPEST))
    return score_s, Curve(ceiling, sharpness)


def fit_clients(
    published: Mapping[str, Pairs],
    task_s: Mapping[str, float],
    around_s: Mapping[str, float],
    curves: Mapping[str, Curve],
    server: Calls,
) -> tuple[float, dict[str, float]]:
    """The latency of a call, and of each engine the work that a call is to it, with the server known.

    Args:
        published: Of each engine.
        task_s: Of each engine, what a record costs on the calling task beside the call.
        around_s: Of each engine, on other threads.
        curves: Of each engine.
        server: Its time and its curve; its latency is where the search begins.
    """

    def loss(x: list[float]) -> float:
        calls = Calls(x[0], server.server_s, server.curve)
        return sum(
            squares(lambda mr, e=e, w=work: calling(mr, task_s[e] + w, around_s[e], curves[e], calls), published[e])  # type: ignore[misc]
            for e, work in zip(published, x[1:], strict=True)
        )

    start = [server.latency_s, *[0.4e-3] * len(published)]
    found = search(loss, start, [(0.1e-3, 1e-3), *[(0.05e-3, 2e-3)] * len(published)])
    return found[0], dict(zip(published, found[1:], strict=True))


def fit_server(
    published: Mapping[str, Pairs],
    task_s: Mapping[str, float],
    around_s: Mapping[str, float],
    curves: Mapping[str, Curve],
    latency_s: float,
) -> Calls:
    """A server's time of a request and its curve, from the engines that call it.

    Args:
        published: Of each engine.
        task_s: Of each engine, what a record costs on the calling task, the call's client work included.
        around_s: Of each engine, on other threads.
        curves: Of each engine.
        latency_s: Of a call, there and back.
    """

    def loss(x: list[float]) -> float:
        calls = Calls(latency_s, x[0], Curve(x[1], x[2]))
        return sum(
            squares(lambda mr, e=engine: calling(mr, task_s[e], around_s[e], curves[e], calls), pairs)  # type: ignore[misc]
            for engine, pairs in published.items()
        )

    one = max(1 / dict(pairs)[1] for pairs in published.values())
    server_s, ceiling, sharpness = search(loss, (one * 0.8, 4, 2), ((one / 5, one * 1.2), CORES, SHARPEST))
    return Calls(latency_s, server_s, Curve(ceiling, sharpness))
