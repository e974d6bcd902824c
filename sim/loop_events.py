"""The compiled loop's draws and wake-ups: keys, signals, sleeps."""

from __future__ import annotations

from scenarios.draws import draw_at
from sim.arena import *  # the named offsets are this module's vocabulary
from sim.jit import compiled
from sim.loop_agenda import push, schedule

# ---------------------------------------------------------------- draws


@compiled
def drawn(a: Arena, table: int, key: int, entity: int) -> int:
    """Reads a quantile table at the draw of one entity; where all its values are one, that stands before it."""
    one: int = a[table - 1]
    return one if one != NONE else table_at(a, table, draw_at(key, entity))


@compiled
def table_at(a: Arena, base: int, u: int) -> int:
    """Reads a quantile table of the arena at 32 uniform bits."""
    i = base + (u >> 22)
    low: int = a[i]
    high: int = a[i + 1]
    return low + (((high - low) * (u & 0x3FFFFF)) >> 22)


# ---------------------------------------------------------------- waiting and waking


@compiled
def awaits(a: Arena, t: int, yes: bool) -> None:
    """Notes whether thread t is blocked and nobody has signalled it."""
    word = a[G_BLOCKED] + (t >> WORD_BITS)
    bit = 1 << (t & ((1 << WORD_BITS) - 1))
    a[word] = a[word] | bit if yes else a[word] & ~bit


@compiled
def lowest_that_awaits(a: Arena, first: int, n: int) -> int:
    """Of n threads from the first on the lowest that is blocked and not signalled yet, or NONE."""
    word = first >> WORD_BITS
    low = first & ((1 << WORD_BITS) - 1)
    last = (first + n - 1) >> WORD_BITS
    bits = (a[a[G_BLOCKED] + word] >> low) << low
    while bits == 0:
        word += 1
        if word > last:
            return NONE
        bits = a[a[G_BLOCKED] + word]
    t: int = word << WORD_BITS
    for width in (16, 8, 4, 2, 1):
        if bits & ((1 << width) - 1) == 0:
            bits >>= width
            t += width
    return t if t < first + n else NONE


@compiled
def wake_draw(a: Arena, t: int, table: int) -> int:
    """The latency of the thread's next wake-up."""
    base = a[G_THREADS] + t * T_STRIDE
    return drawn(a, table, a[base + T_WAKE_KEY], a[base + T_WAKES])


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
    awaits(a, t, False)
    at = (key >> KEY_BITS) + wake_draw(a, t, a[G_WAKE])
    if a[G_NEXT] == t:  # woken earlier now
        a[G_NEXT] = NONE
    if a[b + T_ROLE] >= CONSUMER and a[G_NEXT] == NONE and at < a[G_UNTIL]:
        a[G_NEXT] = t  # it may go on at once, ahead of the clock
        a[G_NEXT_AT] = at
        if a[b + T_EVENT] < FAR:
            schedule(a, t, FAR)
    else:
        push(a, at, EV_WAKE, t, NONE)


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
    awaits(a, t, True)
    went_to_sleep(a, b)
    if until >= 0:
        at = max(until, a[G_NOW]) + wake_draw(a, t, a[G_TIMER])
        a[b + T_DUE_KEY] = (at << KEY_BITS) | EV_WAKE
        push(a, at, EV_WAKE, t, NONE)
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
def woke_up(a: Arena, t: int) -> None:
    """WAKE: counts the wake-up, and tells a timed one from a signal."""
    b = a[G_THREADS] + t * T_STRIDE
    awaits(a, t, False)
    key = a[b + T_SIGNALLED]
    a[b + T_TIMED] = 1 if a[b + T_STATE] == BLOCKED and key == FAR else 0
    a[b + T_WAKES] += 1
    if key != FAR:
        a[b + T_WAIT] += a[G_NOW] - (key >> KEY_BITS)  # the kernel's run-queue wait counts from the signal, too
        a[b + T_SIGNALLED] = FAR
