"""What a job's latency and utility will be at a rate and a number of replicas.

Erlang's delay formula gives the chance to wait in M/M/c; a percentile of the wait follows from it in closed form, and
half of that is the usual estimate for the constant service times of M/D/c.  Overload has no stationary wait, so beyond
a utilisation of `RHO_MAX` the estimate at `RHO_MAX` is multiplied by how many times too high the rate is (Faro,
EuroSys'25, doi 10.1145/3689031.3696071, section 4).

Arrays broadcast.  Rates are per second, times seconds, offered load a = rate x service time in Erlang, replicas may be
fractional where a solver tries them: then Erlang's sum runs over the whole ones and the utilisation takes them all.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Kind = Literal["latency", "latency_step"]

RHO_MAX = 0.95
PERCENTILE = 99.0
#: What dropping a share of the requests costs: piecewise linear through these points (share, penalty).
PENALTY = ((0.0, 0.0), (0.001, 0.0), (0.03, 0.25), (0.08, 0.5), (1.0, 1.0))


def erlang_b(servers: npt.ArrayLike, offered: npt.ArrayLike) -> Floats:
    """Share of requests that find all servers busy and go away (M/G/c/c), by the recursion over servers.

    Args:
        servers: Whole servers c >= 0; a fraction is cut off.
        offered: Offered load a, Erlang, >= 0.
    """
    count, load = np.broadcast_arrays(np.floor(servers), np.asarray(offered, dtype=np.float64))
    blocked = np.ones(count.shape)
    for server in range(1, int(count.max(initial=0)) + 1):
        step = load * blocked
        np.copyto(blocked, step / (server + step), where=count >= server)
    return blocked


def erlang_c(servers: npt.ArrayLike, offered: npt.ArrayLike) -> Floats:
    """Share of requests that wait in M/M/c, for an offered load below the servers.

    C = B / (B + (1 - B) (1 - rho)), B Erlang's loss.

    Args:
        servers: Servers c > 0.
        offered: Offered load a < c, Erlang.
    """
    blocked = erlang_b(servers, offered)
    return np.asarray(blocked / (blocked + (1 - blocked) * (1 - np.asarray(offered) / servers)))


def wait_percentile(
    rate: npt.ArrayLike, servers: npt.ArrayLike, service_s: npt.ArrayLike, percentile: float = PERCENTILE
) -> Floats:
    """A percentile of the wait in M/M/c, seconds: max(0, ln(C / (1 - k)) / (c mu - rate)).

    Args:
        rate: Requests per second, below servers / service_s.
        servers: Servers.
        service_s: Mean service time 1 / mu.
        percentile: k in percent.
    """
    rate, service_s = np.asarray(rate, dtype=np.float64), np.asarray(service_s, dtype=np.float64)
    return _wait(erlang_c(servers, rate * service_s), np.asarray(servers) / service_s - rate, percentile)


def _wait(waiting: Floats, spare: Floats, percentile: float) -> Floats:
    tail = np.maximum(waiting / (1 - percentile / 100), 1e-12)
    return np.asarray(np.maximum(0.0, np.log(tail) / spare))


def latency(
    rate: npt.ArrayLike,
    servers: npt.ArrayLike,
    service_s: npt.ArrayLike,
    percentile: float = PERCENTILE,
    rho_max: float = RHO_MAX,
) -> Floats:
    """A percentile of the latency in M/D/c, seconds, with the linear penalty on overload.

    Half the wait of M/M/c plus the service time; at a utilisation above rho_max the value at rho_max, times
    rho / rho_max.  Without servers it is infinite.

    Args:
        rate: Requests per second, >= 0.
        servers: Servers.
        service_s: Constant service time.
        percentile: In percent.
        rho_max: Utilisation from which the penalty is paid.
    """
    rate, servers, service_s = (
        np.asarray(value, dtype=np.float64) for value in np.broadcast_arrays(rate, servers, service_s)
    )
    some = np.where(servers > 0, servers, 1.0)
    over = np.maximum(rate * service_s / some / rho_max, 1.0)
    found = (wait_percentile(rate / over, some, service_s, percentile) / 2 + service_s) * over
    return np.where(servers > 0, found, np.inf)


def latency_table(
    rates: Floats, service_s: Floats, most: int, percentile: float = PERCENTILE, rho_max: float = RHO_MAX
) -> Floats:
    """`latency` at every whole number of replicas at once: one recursion for all of them.

    Args:
        rates: Requests per second, [job, ...].
        service_s: Constant service time of each job, [job].
        most: Replicas are 1 .. most.
        percentile: In percent.
        rho_max: Utilisation from which the penalty is paid.

    Returns:
        Seconds, [job, ..., replicas - 1].
    """
    service_s = service_s.reshape((-1,) + (1,) * (rates.ndim - 1))
    load = rates * service_s
    servers = np.arange(1, most + 1)
    free = np.empty((*load.shape, most))  # Erlang's loss at the load as it is,
    full = np.empty(most)  # and at rho_max, the same for every job
    blocked = np.ones(load.shape)
    for index, server in enumerate(servers):
        step = load * blocked
        blocked = step / (server + step)
        free[..., index] = blocked
        full[index] = erlang_b(server, rho_max * server)
    rho = load[..., None] / servers
    over = np.maximum(rho / rho_max, 1.0)
    loss = np.where(over > 1.0, full, free)
    rho = np.minimum(rho, rho_max)
    waiting = loss / (loss + (1 - loss) * (1 - rho))
    wait = _wait(waiting, servers * (1 - rho) / service_s[..., None], percentile)
    return np.asarray((wait / 2 + service_s[..., None]) * over)


def utility(latency_s: npt.ArrayLike, slo_s: npt.ArrayLike, kind: Kind = "latency", alpha: float = 1.0) -> Floats:
    """What a latency is worth, 0 to 1: min(1, (SLO / latency)^alpha), or 1 within the SLO and 0 beyond.

    Args:
        latency_s: Latency.
        slo_s: The objective.
        kind: `latency` is the relaxed form, `latency_step` the exact one.
        alpha: How steeply the relaxed form falls.
    """
    latency_s = np.maximum(np.asarray(latency_s, dtype=np.float64), 1e-7)
    if kind == "latency_step":
        return np.asarray(latency_s <= np.asarray(slo_s), dtype=np.float64)
    return np.asarray(np.minimum(1.0, (np.asarray(slo_s) / latency_s) ** alpha))


def drop_penalty(dropped: npt.ArrayLike) -> Floats:
    """What dropping a share of the requests takes off the utility, 0 to 1."""
    shares, penalties = np.array(PENALTY).T
    return np.asarray(np.interp(np.asarray(dropped, dtype=np.float64), shares, penalties))
