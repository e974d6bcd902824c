"""What a policy sees of a cluster at a tick, simulated or real."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from control.envelope import envelope
from control.scaling.observation import JobView, Observation
from control.scaling.plane import JobState, ns
from scenarios.cluster_spec import Cluster

Int64s = npt.NDArray[np.int64]
MINUTE_NS = 60_000_000_000


class Look(NamedTuple):
    """What is seen of a job at an instant."""

    finished: int  # requests, in the latency window that ends now
    served: int  # of these, not dropped
    latency_ns: int  # of these, together
    within: int  # of these, served within the objective
    queued: int  # requests that wait, at the dispatcher and at replicas
    busy_ns: int  # time that the job's replicas have spent serving so far


class Watched(Protocol):
    """The requests, as an observer needs them: at the instant of its tick."""

    def look(self, job: int) -> Look:
        """What is seen of a job now."""
        ...


def per_bin(times: Int64s, bin_ns: int) -> Int64s:
    """How many arrivals each whole bin since 0 holds."""
    return np.bincount(times // bin_ns) if len(times) else np.zeros(0, np.int64)


class Observer:
    """Turns the state of requests and replicas into observations.

    Args:
        cluster: Its quota and the length of its bins.
        arrivals: Of each job, ns, ascending.
        windows_s: Lengths of windows that the policy wants the envelope for.
    """

    def __init__(self, cluster: Cluster, arrivals: Sequence[Int64s], windows_s: Sequence[float] = ()) -> None:
        self._quota = cluster.quota
        self._arrivals = arrivals
        self._windows_s = tuple(windows_s)
        self._bin_ns = ns(cluster.rate_bin_s)
        scale = 60.0 / cluster.rate_bin_s
        self._rates = [(per_bin(times, self._bin_ns) * scale).tolist() for times in arrivals]
        self._seen = [(0, 0)] * len(arrivals)  # busy and running time of each job so far, ns

    def observe(self, requests: Watched, jobs: Sequence[JobState], now_ns: int) -> Observation:
        """The cluster now; the requests have been advanced to this instant."""
        views = tuple(self._view(requests, job, state, now_ns) for job, state in enumerate(jobs))
        return Observation(now_ns / 1e9, self._quota, views)

    def _view(self, requests: Watched, job: int, state: JobState, now_ns: int) -> JobView:
        now = requests.look(job)
        times, bins = self._arrivals[job], now_ns // self._bin_ns
        rates = self._rates[job][:bins]
        since, until = np.searchsorted(times, (now_ns - MINUTE_NS, now_ns), side="right").tolist()
        return JobView(
            replicas=state.granted,
            running=len(state.running),
            busy=state.busy,
            latency_s=now.latency_ns / now.finished / 1e9 if now.finished else 0.0,
            finished=now.finished,
            served=now.served,
            slo_rate=now.within / now.finished if now.finished else 1.0,
            rates_per_min=tuple(rates + [0.0] * (bins - len(rates))),
            recent_rate_per_s=(until - since) / min(60.0, now_ns / 1e9) if now_ns > 0 else 0.0,
            queued=now.queued,
            utilisation=self._utilisation(job, now.busy_ns, state.running_time_ns(now_ns)),
            accept=state.accept,
            envelope_per_s=envelope(times[since:until] / 1e9, self._windows_s) if self._windows_s else {},
        )

    def _utilisation(self, job: int, busy_ns: int, running_ns: int) -> float:
        """Busy time over running time since the last tick; at most 1, for what drains is busy but does not run."""
        busy, running = self._seen[job]
        self._seen[job] = (busy_ns, running_ns)
        return min(1.0, (busy_ns - busy) / (running_ns - running)) if running_ns > running else 0.0
