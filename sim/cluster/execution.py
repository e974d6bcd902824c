"""The requests of all jobs, to be advanced to an instant, observed and scaled there."""

# ruff: noqa: F403, F405  # the arena's named offsets are this module's vocabulary
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from control.scaling.observer import Look
from scenarios.cluster_draws import (
    PURPOSE_ACCEPT,
    PURPOSE_ROUTER_IN,
    PURPOSE_ROUTER_OUT,
    PURPOSE_SERVICE,
    quantiles_ns,
    rotation,
)
from scenarios.cluster_spec import ClusterScenario
from scenarios.draws import draw_key
from sim.cluster import loop
from sim.cluster.arena import *
from sim.jit import JIT_OFF

Int64s = npt.NDArray[np.int64]
_SLOTS = 16  # of each job at first; doubled when they are used up


class Requests:
    """Every request of a scenario in the compiled loop.

    Args:
        scenario: Whose router, queue, models, objectives and seed.
        arrivals: Of each job, ns, ascending.
    """

    def __init__(self, scenario: ClusterScenario, arrivals: Sequence[Int64s]) -> None:
        self._seed = scenario.seed
        self._jobs = len(arrivals)
        self._dealt = [0] * self._jobs
        self.now_ns = -1
        self.finished = 0
        self.total = sum(len(each) for each in arrivals)
        self._arena = _layout(scenario, arrivals)

    def advance(self, until_ns: int) -> None:
        """Takes every event up to and including `until_ns`."""
        if until_ns <= self.now_ns:
            return
        if JIT_OFF:
            self.finished = int(loop.advance_arena(self._arena, until_ns))
        else:
            self.finished = int(loop.advance(self._arena.ctypes.data, until_ns))
        self.now_ns = until_ns

    # ---------------------------------------------------------------- scaling

    def free_slots(self, job: int, count: int) -> list[int]:
        """Free slots for so many replicas that start now."""
        j = _record(job)
        while np.count_nonzero(self._slots(job)[:, R_STATE] == FREE) < count:
            a, used = self._arena, int(self._arena[j + J_SLOTS_N])
            more = np.concatenate([self._slots(job), _empty_slots(used)])
            rotation_n = int(a[j + J_RUNNING])
            dealt = a[a[j + J_ROTATION] : a[j + J_ROTATION] + rotation_n].copy()
            a[j + J_SLOTS], a[j + J_SLOTS_N], a[j + J_ROTATION] = len(a), 2 * used, len(a) + more.size
            self._arena = np.concatenate([a, more.ravel(), dealt, np.zeros(2 * used - rotation_n, np.int64)])
        found: list[int] = np.flatnonzero(self._slots(job)[:, R_STATE] == FREE)[:count].tolist()
        return found

    def rotate(self, job: int, slots: Sequence[int]) -> None:
        """From now on the dispatcher deals to these replicas, in order of start; others drain what they hold."""
        j, a = _record(job), self._arena
        states = self._slots(job)
        states[:, R_STATE] = np.where(states[:, R_OUTSTANDING] > 0, DRAINING, FREE)
        states[list(slots), R_STATE] = RUNNING
        order = rotation(self._seed, job, self._dealt[job], len(slots))
        self._dealt[job] += 1
        base = int(a[j + J_ROTATION])
        a[base : base + len(slots)] = [slots[place] for place in order]
        a[j + J_RUNNING], a[j + J_TURN] = len(slots), 0
        if a[j + J_HELD] != NONE:
            now = max(0, self.now_ns)
            loop.dispatch(a, j, now) if JIT_OFF else loop.resume(a.ctypes.data, j, now)

    def accept(self, job: int, share: float) -> None:
        """From now on this share of the job's requests is accepted."""
        self._arena[_record(job) + J_ACCEPT] = round(share * ALL)

    # ---------------------------------------------------------------- what is seen

    def look(self, job: int) -> Look:
        """What is seen of a job now."""
        if JIT_OFF:
            return Look(*map(int, loop.look_arena(self._arena, _record(job), self.now_ns)))
        return Look(*loop.look(self._arena.ctypes.data, _record(job), self.now_ns))

    def latency_ns(self, job: int) -> Int64s:
        """From arrival to reply, of each request in order of arrival; 0 where it is not out yet."""
        return self._column(job, J_LATENCY)

    def outcome(self, job: int) -> Int64s:
        """PENDING, SERVED or one of the two DROPPED, of each request in order of arrival."""
        return self._column(job, J_OUTCOME)

    def _column(self, job: int, place: int) -> Int64s:
        j, a = _record(job), self._arena
        return a[a[j + place] : a[j + place] + a[j + J_N]]

    def _slots(self, job: int) -> Int64s:
        j, a = _record(job), self._arena
        return a[a[j + J_SLOTS] : a[j + J_SLOTS] + a[j + J_SLOTS_N] * R_STRIDE].reshape(-1, R_STRIDE)


def _record(job: int) -> int:
    return A_SIZE + job * J_STRIDE


def _empty_slots(count: int) -> Int64s:
    slots = np.zeros((count, R_STRIDE), np.int64)
    slots[:, R_DONE_AT] = FOREVER
    slots[:, R_HEAD] = NONE
    return slots


def _layout(scenario: ClusterScenario, arrivals: Sequence[Int64s]) -> Arena:
    """The arena before the first event; every job without replicas."""
    jobs, cluster = scenario.jobs, scenario.cluster
    services = [cluster.router, *(job.model.service for job in jobs)]
    tables = {service: quantiles_ns(service) for service in dict.fromkeys(services)}
    room = _record(len(jobs))
    places = {}
    for service, table in tables.items():
        places[service], room = room, room + len(table)
    slots, room = room, room + len(jobs) * _SLOTS * (R_STRIDE + 1)
    a = np.zeros(room + 4 * sum(len(each) for each in arrivals), np.int64)
    a[A_JOBS] = len(jobs)
    a[A_WINDOW] = round(cluster.latency_window_s * 1e9)
    a[A_CONCURRENCY] = cluster.replica_concurrency
    a[A_MAX_QUEUE] = cluster.max_queue
    for service, table in tables.items():
        a[places[service] : places[service] + len(table)] = table
    for k, (job, times) in enumerate(zip(jobs, arrivals, strict=True)):
        n = len(times)
        record = {
            J_N: n,
            J_ARRIVAL: room,
            J_LINK: room + n,
            J_LATENCY: room + 2 * n,
            J_OUTCOME: room + 3 * n,
            J_KEY_IN: draw_key(scenario.seed, k, PURPOSE_ROUTER_IN, 0),
            J_KEY_OUT: draw_key(scenario.seed, k, PURPOSE_ROUTER_OUT, 0),
            J_KEY_SERVICE: draw_key(scenario.seed, k, PURPOSE_SERVICE, 0),
            J_KEY_ACCEPT: draw_key(scenario.seed, k, PURPOSE_ACCEPT, 0),
            J_ROUTER_TABLE: places[cluster.router],
            J_SERVICE_TABLE: places[job.model.service],
            J_ACCEPT: ALL,
            J_ROUTER_AT: FOREVER,
            J_ROUTER_HEAD: NONE,
            J_QUEUE_HEAD: NONE,
            J_HELD: NONE,
            J_SLOTS: slots,
            J_SLOTS_N: _SLOTS,
            J_ROTATION: slots + _SLOTS * R_STRIDE,
            J_DONE_AT: FOREVER,
            J_SLO: round(job.slo_s * 1e9),
            J_WINDOW_HEAD: NONE,
        }
        for place, value in record.items():
            a[_record(k) + place] = value
        a[slots : slots + _SLOTS * R_STRIDE] = _empty_slots(_SLOTS).ravel()
        a[room : room + n] = times
        slots += _SLOTS * (R_STRIDE + 1)
        room += 4 * n
    return a
