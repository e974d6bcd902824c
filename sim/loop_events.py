"""The compiled loop's events and wake-ups: a heap ordered by (time, kind, owner, count), keys, signals, sleeps."""

from __future__ import annotations

from scenarios.draws import draw_at
from sim import operations as op
from sim.arena import *  # the named offsets are this module's vocabulary
from sim.jit import compiled


@compiled
def push(a: Arena, time: int, kind: int, owner: int, argument: int, generation: int) -> None:
    """Schedules an event; its rank is (kind, owner, the owner's own count)."""
    t = a[G_THREADS] + owner * T_STRIDE
    rank = (kind << KIND_SHIFT) | (owner << OWNER_SHIFT) | a[t + T_COUNT]
    a[t + T_COUNT] += 1
    heap = a[G_HEAP]
    if a[G_HOLE] == 1:  # the event in hand left the root free: fill it instead of popping and pushing
        a[G_HOLE] = 0
        sift_down(a, time, rank, argument, generation)
        return
    i = a[G_HEAP_N]
    a[G_HEAP_N] = i + 1
    while i > 0:
        parent = (i - 1) >> 2
        p = heap + parent * E_STRIDE
        if a[p] < time or (a[p] == time and a[p + E_RANK] < rank):
            break
        q = heap + i * E_STRIDE
        a[q] = a[p]
        a[q + 1] = a[p + 1]
        a[q + 2] = a[p + 2]
        a[q + 3] = a[p + 3]
        i = parent
    q = heap + i * E_STRIDE
    a[q] = time
    a[q + 1] = rank
    a[q + 2] = argument
    a[q + 3] = generation


@compiled
def sift_down(a: Arena, time: int, rank: int, argument: int, generation: int) -> None:
    """Puts an event at the root of the (4-ary) heap and lets it sink."""
    heap = a[G_HEAP]
    n = a[G_HEAP_N]
    i = 0
    while True:
        first = 4 * i + 1
        if first >= n:
            break
        # The least child, chosen without branches: which one it is cannot be predicted.  Ties are rare.
        b = heap + first * E_STRIDE
        least = a[b]
        tie = False
        for c in range(first + 1, min(first + 4, n)):
            x = heap + c * E_STRIDE
            t = a[x]
            tie |= t == least
            b = x if t < least else b
            least = min(t, least)
        if tie:
            for c in range(first, min(first + 4, n)):
                x = heap + c * E_STRIDE
                if a[x] == least and (a[b] > least or a[x + E_RANK] < a[b + E_RANK]):
                    b = x
        rank_b = a[b + E_RANK]
        if time < least or (time == least and rank < rank_b):
            break
        q = heap + i * E_STRIDE
        a[q] = least
        a[q + 1] = rank_b
        a[q + 2] = a[b + 2]
        a[q + 3] = a[b + 3]
        i = (b - heap) >> E_BITS
    q = heap + i * E_STRIDE
    a[q] = time
    a[q + 1] = rank
    a[q + 2] = argument
    a[q + 3] = generation


@compiled
def close_hole(a: Arena) -> None:
    """Removes the root for good."""
    if a[G_HOLE] == 1:
        a[G_HOLE] = 0
        n = a[G_HEAP_N] - 1
        a[G_HEAP_N] = n
        if n > 0:
            e = a[G_HEAP] + n * E_STRIDE
            sift_down(a, a[e], a[e + 1], a[e + 2], a[e + 3])


# ---------------------------------------------------------------- draws


@compiled
def table_at(a: Arena, base: int, u: int) -> int:
    """Reads a quantile table of the arena at 32 uniform bits."""
    i = base + (u >> 22)
    low: int = a[i]
    high: int = a[i + 1]
    return low + (((high - low) * (u & 0x3FFFFF)) >> 22)


# ---------------------------------------------------------------- waiting and waking


@compiled
def wake_draw(a: Arena, t: int, table: int) -> int:
    """The latency of the thread's next wake-up."""
    base = a[G_THREADS] + t * T_STRIDE
    return table_at(a, table, draw_at(a[base + T_WAKE_KEY], a[base + T_WAKES]))


@compiled
def key_now(a: Arena) -> int:
    """The key of what the thread at hand does now."""
    key: int = a[G_NOW] << KEY_BITS
    return key | a[G_KIND] if a[G_AHEAD] == 1 else key


@compiled
def signal_at(a: Arena, t: int, key: int) -> None:
    """A signal at that key, now or later: wakes the thread if it is blocked until then and nothing wakes it before."""
    b = a[G_THREADS] + t * T_STRIDE
    if a[b + T_STATE] != BLOCKED or key >= a[b + T_SIGNALLED] or key > a[b + T_DUE_KEY]:
        return
    a[b + T_SIGNALLED] = key
    a[b + T_GENERATION] += 1
    at = (key >> KEY_BITS) + wake_draw(a, t, a[G_WAKE])
    receives = a[b + T_RECEIVES] == 1 and a[a[b + T_PROGRAM] + a[b + T_PC] * OP_STRIDE] == op.RECV
    if receives and a[b + T_AHEAD] == 1 and a[G_NEXT] == NONE and at < a[G_UNTIL]:
        a[G_NEXT] = t  # nothing else can wake it: it goes on at once, ahead of the clock
        a[G_NEXT_AT] = at
    else:
        push(a, at, EV_WAKE, t, t, a[b + T_GENERATION])


@compiled
def signal(a: Arena, t: int) -> None:
    """Wakes a blocked thread; nothing for one that is not."""
    signal_at(a, t, key_now(a))


@compiled
def block(a: Arena, t: int, until: int) -> None:
    """Blocks the thread at hand; with until >= 0 it wakes by itself then."""
    b = a[G_THREADS] + t * T_STRIDE
    a[b + T_STATE] = BLOCKED
    a[b + T_TIMED] = 0
    a[b + T_DUE] = until
    a[b + T_DUE_KEY] = FAR
    a[b + T_SIGNALLED] = FAR
    went_to_sleep(a, b)
    if until >= 0:
        at = max(until, a[G_NOW]) + wake_draw(a, t, a[G_TIMER])
        a[b + T_DUE_KEY] = (at << KEY_BITS) | EV_WAKE
        push(a, at, EV_WAKE, t, t, a[b + T_GENERATION])
    if a[b + T_MAILBOX] != NONE:  # an answer on its way
        signal_at(a, t, a[a[G_MESSAGES] + a[b + T_MAILBOX] * M_STRIDE + M_AT] << KEY_BITS)


@compiled
def went_to_sleep(a: Arena, b: int) -> None:
    """What a thread's sleep is remembered for: it is paid for after it, and caches go cold meanwhile."""
    a[b + T_SLEPT] += 1
    home = a[G_THREADS] + a[b + T_HOME] * T_STRIDE
    if a[home + T_WORKED] == 1:
        a[home + T_WORKED] = 0
        a[home + T_IDLE_SINCE] = a[G_NOW]


@compiled
def woke_up(a: Arena, b: int) -> None:
    """WAKE: counts the wake-up, and tells a timed one from a signal."""
    key = a[b + T_SIGNALLED]
    a[b + T_TIMED] = 1 if a[b + T_STATE] == BLOCKED and key == FAR else 0
    a[b + T_WAKES] += 1
    if key != FAR:
        a[b + T_WAIT] += a[G_NOW] - (key >> KEY_BITS)  # the kernel's run-queue wait counts from the signal, too
        a[b + T_SIGNALLED] = FAR
