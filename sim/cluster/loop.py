"""The compiled loop: every request of every job, from its arrival to its reply.

A job is a router (one server, first in first out, met on the way in and again on the way out), a queue, a dispatcher
and replicas that each serve one request at a time.  `advance(a, until)` takes every event up to and including `until`,
job after job: between two decisions jobs do not touch.  Events of one job at one instant are taken in the order
arrival, router, replica by slot.

Queues are lists through one column of the requests, for a request waits in one place at a time; the requests that
finished within the observed window are such a list, too.  The dispatcher holds the next request in hand while every
replica has as many as it may, so one more than the queue's bound can wait.
"""

# ruff: noqa: F403, F405  # the arena's named offsets are this module's vocabulary
from __future__ import annotations

from analysis.cluster import DROPPED_FULL, DROPPED_RATE, PENDING, SERVED
from scenarios.cluster_draws import FRACTION, FRACTION_BITS
from scenarios.draws import draw_at
from sim.cluster.arena import *
from sim.jit import arena_at, compiled

# ---------------------------------------------------------------- lists and draws


@compiled
def append(a: Arena, j: int, head: int, i: int) -> None:
    """Appends request i to the list whose head stands at this place, its tail beside it."""
    link = a[j + J_LINK]
    a[link + i] = NONE
    if a[head] == NONE:
        a[head] = i
    else:
        a[link + a[head + 1]] = i
    a[head + 1] = i


@compiled
def take(a: Arena, j: int, head: int) -> int:
    """Takes the first request of the list whose head stands at this place."""
    i: int = a[head]
    a[head] = a[a[j + J_LINK] + i]
    return i


@compiled
def drawn(a: Arena, table: int, key: int, i: int) -> int:
    """The service time, in ns, of request i under a key."""
    u = draw_at(key, i)
    knot = table + (u >> FRACTION_BITS)
    low: int = a[knot]
    high: int = a[knot + 1]
    return low + (((high - low) * (u & FRACTION)) >> FRACTION_BITS)


# ---------------------------------------------------------------- router


@compiled
def route(a: Arena, j: int, now: int) -> None:
    """The router takes its next request, if there is one."""
    if a[j + J_ROUTER_HEAD] == NONE:
        a[j + J_ROUTER_AT] = FOREVER
        return
    i = take(a, j, j + J_ROUTER_HEAD)
    a[j + J_ROUTED] = i
    key = a[j + J_KEY_IN] if a[a[j + J_OUTCOME] + i] == PENDING else a[j + J_KEY_OUT]
    a[j + J_ROUTER_AT] = now + drawn(a, a[j + J_ROUTER_TABLE], key, i)


@compiled
def to_router(a: Arena, j: int, i: int, now: int) -> None:
    """Request i, or its reply, reaches the router."""
    append(a, j, j + J_ROUTER_HEAD, i)
    if a[j + J_ROUTER_AT] == FOREVER:
        route(a, j, now)


@compiled
def routed(a: Arena, j: int, now: int) -> None:
    """The router is done with its request: on to the queue, or out."""
    i = a[j + J_ROUTED]
    a[j + J_ROUTER_AT] = FOREVER
    if a[a[j + J_OUTCOME] + i] == PENDING:
        admit(a, j, i, now)
    else:
        finish(a, j, i, now)
    if a[j + J_ROUTER_AT] == FOREVER:
        route(a, j, now)


@compiled
def admit(a: Arena, j: int, i: int, now: int) -> None:
    """Drops request i by the accept rate or for want of room, or queues it."""
    if a[j + J_ACCEPT] < ALL and draw_at(a[j + J_KEY_ACCEPT], i) >= a[j + J_ACCEPT]:
        a[a[j + J_OUTCOME] + i] = DROPPED_RATE
        append(a, j, j + J_ROUTER_HEAD, i)
    elif a[j + J_WAITING] > a[A_MAX_QUEUE]:
        a[a[j + J_OUTCOME] + i] = DROPPED_FULL
        append(a, j, j + J_ROUTER_HEAD, i)
    else:
        append(a, j, j + J_QUEUE_HEAD, i)
        a[j + J_WAITING] += 1
        dispatch(a, j, now)


@compiled
def finish(a: Arena, j: int, i: int, now: int) -> None:
    """Request i leaves, served or dropped."""
    latency = now - a[a[j + J_ARRIVAL] + i]
    a[a[j + J_LATENCY] + i] = latency
    a[j + J_FINISHED] += 1
    append(a, j, j + J_WINDOW_HEAD, i)
    a[j + J_WINDOW_N] += 1
    a[j + J_WINDOW_SUM] += latency
    if a[a[j + J_OUTCOME] + i] == SERVED:
        a[j + J_WINDOW_SERVED] += 1
        if latency <= a[j + J_SLO]:
            a[j + J_WINDOW_WITHIN] += 1


@compiled
def forget(a: Arena, j: int, before: int) -> None:
    """Takes what finished at `before` or earlier out of the observed window."""
    while a[j + J_WINDOW_HEAD] != NONE:
        i = a[j + J_WINDOW_HEAD]
        latency = a[a[j + J_LATENCY] + i]
        if a[a[j + J_ARRIVAL] + i] + latency > before:
            break
        take(a, j, j + J_WINDOW_HEAD)
        a[j + J_WINDOW_N] -= 1
        a[j + J_WINDOW_SUM] -= latency
        if a[a[j + J_OUTCOME] + i] == SERVED:
            a[j + J_WINDOW_SERVED] -= 1
            if latency <= a[j + J_SLO]:
                a[j + J_WINDOW_WITHIN] -= 1


# ---------------------------------------------------------------- dispatcher and replicas


@compiled
def dispatch(a: Arena, j: int, now: int) -> None:
    """Hands requests to replicas by turns, skipping the full ones, until none waits or all are full."""
    while True:
        if a[j + J_HELD] == NONE:
            if a[j + J_WAITING] == 0:
                return
            a[j + J_HELD] = take(a, j, j + J_QUEUE_HEAD)
            a[j + J_WAITING] -= 1
        n = a[j + J_RUNNING]
        turn = a[j + J_TURN]
        slot = NONE
        for _ in range(n):
            r = a[a[j + J_ROTATION] + turn]
            turn = turn + 1 if turn + 1 < n else 0
            if a[a[j + J_SLOTS] + r * R_STRIDE + R_OUTSTANDING] < a[A_CONCURRENCY]:
                slot = r
                break
        a[j + J_TURN] = turn
        if slot == NONE:
            return
        i = a[j + J_HELD]
        a[j + J_HELD] = NONE
        r = a[j + J_SLOTS] + slot * R_STRIDE
        a[r + R_OUTSTANDING] += 1
        if a[r + R_DONE_AT] == FOREVER:
            serve(a, j, slot, i, now)
        else:
            append(a, j, r + R_HEAD, i)


@compiled
def serve(a: Arena, j: int, slot: int, i: int, now: int) -> None:
    """The replica in this slot starts on request i."""
    r = a[j + J_SLOTS] + slot * R_STRIDE
    done = now + drawn(a, a[j + J_SERVICE_TABLE], a[j + J_KEY_SERVICE], i)
    a[r + R_SERVED] = i
    a[r + R_SINCE] = now
    a[r + R_DONE_AT] = done
    if done < a[j + J_DONE_AT] or (done == a[j + J_DONE_AT] and slot < a[j + J_DONE_SLOT]):
        a[j + J_DONE_AT] = done
        a[j + J_DONE_SLOT] = slot


@compiled
def served(a: Arena, j: int, now: int) -> None:
    """The replica that is done first replies, and goes on with what it holds."""
    slot = a[j + J_DONE_SLOT]
    r = a[j + J_SLOTS] + slot * R_STRIDE
    i = a[r + R_SERVED]
    a[r + R_OUTSTANDING] -= 1
    a[r + R_DONE_AT] = FOREVER
    a[j + J_BUSY] += now - a[r + R_SINCE]
    a[a[j + J_OUTCOME] + i] = SERVED
    first, at = NONE, FOREVER
    for k in range(a[j + J_SLOTS_N]):
        t = a[a[j + J_SLOTS] + k * R_STRIDE + R_DONE_AT]
        if t < at:
            at = t
            first = k
    a[j + J_DONE_AT] = at
    a[j + J_DONE_SLOT] = first
    to_router(a, j, i, now)
    if a[r + R_HEAD] != NONE:
        serve(a, j, slot, take(a, j, r + R_HEAD), now)
    elif a[r + R_STATE] == DRAINING:
        a[r + R_STATE] = FREE
    if a[j + J_HELD] != NONE:
        dispatch(a, j, now)


# ---------------------------------------------------------------- the loop


@compiled
def run_job(a: Arena, j: int, until: int) -> None:
    """Takes every event of the job whose record is at j, up to and including `until`."""
    arrival = a[j + J_ARRIVAL]
    while True:
        i = a[j + J_NEXT]
        now = a[arrival + i] if i < a[j + J_N] else FOREVER
        router = a[j + J_ROUTER_AT]
        done = a[j + J_DONE_AT]
        if now <= router and now <= done:
            if now > until:
                break
            a[j + J_NEXT] = i + 1
            to_router(a, j, i, now)
        elif router <= done:
            if router > until:
                break
            routed(a, j, router)
        else:
            if done > until:
                break
            served(a, j, done)
    forget(a, j, until - a[A_WINDOW])


@compiled
def advance(address: int, until: int) -> int:
    """Takes every event up to and including `until`; gives how many requests have finished so far."""
    return advance_arena(arena_at(address), until)


@compiled
def advance_arena(a: Arena, until: int) -> int:
    """`advance`, of an arena in hand."""
    finished = 0
    for k in range(a[A_JOBS]):
        j = A_SIZE + k * J_STRIDE
        run_job(a, j, until)
        finished += a[j + J_FINISHED]
    return finished


@compiled
def resume(address: int, j: int, now: int) -> None:
    """The dispatcher looks again: replicas came."""
    dispatch(arena_at(address), j, now)


@compiled
def look(address: int, j: int, now: int) -> tuple[int, int, int, int, int, int]:
    """What is seen of a job now, in the order of `execution.Look`."""
    return look_arena(arena_at(address), j, now)


@compiled
def look_arena(a: Arena, j: int, now: int) -> tuple[int, int, int, int, int, int]:
    """`look`, of an arena in hand."""
    waiting = a[j + J_WAITING]
    if a[j + J_HELD] != NONE:
        waiting += 1
    busy = a[j + J_BUSY]
    for k in range(a[j + J_SLOTS_N]):
        r = a[j + J_SLOTS] + k * R_STRIDE
        waiting += a[r + R_OUTSTANDING]
        if a[r + R_DONE_AT] != FOREVER:
            waiting -= 1
            busy += now - a[r + R_SINCE]
    window = (a[j + J_WINDOW_N], a[j + J_WINDOW_SERVED], a[j + J_WINDOW_SUM], a[j + J_WINDOW_WITHIN])
    return (*window, waiting, busy)


def warm() -> None:
    """Compiles the loop, or finds it compiled."""
    import numpy as np

    a = np.zeros(A_SIZE + J_STRIDE, np.int64)
    a[A_SIZE + J_HELD] = a[A_SIZE + J_WINDOW_HEAD] = NONE
    advance(a.ctypes.data, -1)
    resume(a.ctypes.data, A_SIZE, 0)
    look(a.ctypes.data, A_SIZE, 0)
