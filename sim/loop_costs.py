"""What CPU work costs, by what it is for: `sim.loop.work_of` in parts, for code that knows which part it needs."""

from __future__ import annotations

from scenarios.draws import PURPOSE_CPU, TABLE_SIZE, draw
from sim import operations as op
from sim.arena import *  # the named offsets are this module's vocabulary
from sim.jit import compiled
from sim.loop_events import table_at
from sim.system import COLD_STEP_BITS, COST_BITS, OUTPUT, RESIDUAL_BITS


@compiled
def residual(a: Arena, t: int, cost: int, entity: int, work: int) -> int:
    """The work times the residual of its cost, if that has one."""
    table = a[a[G_COSTS] + cost * K_STRIDE + K_RESIDUAL]
    if table == NONE:
        return work
    return (work * table_at(a, table, draw(a[G_SEED], t, entity, PURPOSE_CPU, cost))) >> RESIDUAL_BITS


@compiled
def record_work(a: Arena, t: int, cost: int, place: int, r: int) -> int:
    """CPU of one record: of the input topic (place K_IN) or of the output topic (K_OUT)."""
    return residual(a, t, cost, r, a[a[G_COSTS] + cost * K_STRIDE + place])


@compiled
def message_work(a: Arena, t: int, cost: int, m: int) -> int:
    """CPU of a message: of a produce request, or of a fetch and what it carries."""
    mb = a[G_MESSAGES] + m * M_STRIDE
    if a[mb + M_KIND] == op.PRODUCE:
        entity = a[mb + M_FIRST]
    else:
        owner = a[G_THREADS] + a[mb + M_CONNECTION] * T_STRIDE
        entity = a[a[G_CONSUMERS] + a[owner + T_CONSUMER] * C_STRIDE + C_FETCHES]
    k = a[G_COSTS] + cost * K_STRIDE
    scaled = a[k + K_FIXED] + a[k + K_BATCH] * a[mb + M_BATCHES]
    scaled += a[k + K_RECORD] * a[mb + M_RECORDS] + a[k + K_BYTE] * a[mb + M_BYTES]
    a[a[G_THREADS] + a[a[G_THREADS] + t * T_STRIDE + T_HOME] * T_STRIDE + T_WORKED] = 1
    return residual(a, t, cost, entity, scaled >> COST_BITS)


@compiled
def fetched_work(a: Arena, t: int, cost: int, m: int) -> int:
    """CPU of a fetch that may be empty: that is the next cost then."""
    return message_work(a, t, cost if a[a[G_MESSAGES] + m * M_STRIDE + M_RECORDS] > 0 else cost + 1, m)


@compiled
def polled_work(a: Arena, t: int, cost: int, n: int) -> int:
    """CPU of a poll of n records."""
    tb = a[G_THREADS] + t * T_STRIDE
    c = a[G_CONSUMERS] + a[tb + T_CONSUMER] * C_STRIDE
    size = n * (a[G_BYTES_OUT] if a[c + C_TOPIC] == OUTPUT else a[G_BYTES_IN])
    k = a[G_COSTS] + cost * K_STRIDE
    scaled = a[k + K_FIXED] + a[k + K_RECORD] * n + a[k + K_BYTE] * size
    a[tb + T_WORKED] = 1
    return residual(a, t, cost, a[tb + T_POLLS] - 1, scaled >> COST_BITS)


@compiled
def sleep_work(a: Arena, t: int, cost: int) -> int:
    """CPU after sleep: of every sleep since it was last paid for, and of cold caches."""
    tb = a[G_THREADS] + t * T_STRIDE
    sleeps = a[tb + T_SLEPT]
    if sleeps == 0:
        return 0
    since = a[a[G_THREADS] + a[tb + T_HOME] * T_STRIDE + T_IDLE_SINCE]
    coldness = a[a[G_COLD] + min((a[G_NOW] - since) >> COLD_STEP_BITS, TABLE_SIZE - 1)]
    k = a[G_COSTS] + cost * K_STRIDE
    scaled = a[k + K_FIXED] * sleeps + ((a[k + K_COLD] * coldness) >> RESIDUAL_BITS)
    a[tb + T_COLD] += coldness
    a[tb + T_SLEPT] = 0
    return residual(a, t, cost, a[tb + T_WAKES], scaled >> COST_BITS)


@compiled
def rest_work(a: Arena, t: int, cost: int) -> int:
    """CPU of a broker thread once an answer is on its way."""
    fixed = a[a[G_COSTS] + cost * K_STRIDE + K_FIXED]
    return residual(a, t, cost, a[a[G_THREADS] + t * T_STRIDE + T_WAKES], fixed >> COST_BITS)
