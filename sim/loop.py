"""The compiled event loop: the meaning of docs/simulator.md over one int64 arena.

`advance(a, until)` takes every event before `until`.  A run cut at any instant and taken up again gives the same
stamps: nothing lives outside the arena.  Each function is plain Python on integers; numba compiles it, and with the JIT
off the same source runs as it is.
"""

from __future__ import annotations

from scenarios.draws import PURPOSE_CPU, TABLE_SIZE, draw, draw_at
from sim import operations as op
from sim.arena import *  # the named offsets are this module's vocabulary
from sim.jit import arena_at, compiled
from sim.system import COLD_STEP_BITS, COST_BITS, OUTPUT, RESIDUAL_BITS

#: What `advance` returns.
REACHED = 0  # every event before `until` was taken
GROW = 1  # the heap or the message pool needs room: call layout.grow and go on
DEADLOCK = 2  # nothing is timed any more
FOREVER = 1 << 62

# ---------------------------------------------------------------- events


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
    receives = a[a[b + T_PROGRAM] + a[b + T_PC] * OP_STRIDE] == op.RECV and a[b + T_CONSUMER] != NONE
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


# ---------------------------------------------------------------- host: slices


@compiled
def recent(a: Arena, t: int, slice_ns: int) -> int:
    """What t ran of late, as far as it was charged."""
    b = a[G_THREADS] + t * T_STRIDE
    i = a[G_NOW] // slice_ns
    ran: int = 0
    if i == a[b + T_WINDOW]:
        ran = a[b + T_CURRENT] + a[b + T_PREVIOUS]
    elif i == a[b + T_WINDOW] + 1:
        ran = a[b + T_CURRENT]
    return ran


@compiled
def charge(a: Arena, t: int, slice_ns: int, due_now: bool) -> None:
    """Accounts for what t ran since its last charge: every operation of fused work by itself, as if it had been alone.

    The stamps between them that fell due on the way are set; those due exactly now only with `due_now`, for a thread
    preempted at that instant sets them when it runs again.
    """
    b = a[G_THREADS] + t * T_STRIDE
    now = a[G_NOW]
    d = now - a[b + T_RUN0]
    a[b + T_CPU] += d
    rest = a[b + T_REMAINING] - d
    while a[b + T_MARK] < a[b + T_MARKS]:
        left = a[b + T_MARK_LEFT + a[b + T_MARK]]
        over = left - rest  # work done since the operation before the mark was complete
        if over < 0 or (over == 0 and not due_now):
            break
        if slice_ns > 0:
            charge_window(a, b, a[b + T_REMAINING] - left, (now - over) // slice_ns)
        a[b + T_REMAINING] = left
        column = a[b + T_MARK_STAMP + a[b + T_MARK]]
        if column != NONE:
            a[a[G_STAMPS] + column * a[G_RECORDS] + a[b + T_RECORD]] = now - over
        a[b + T_MARK] += 1
    if slice_ns > 0:
        charge_window(a, b, a[b + T_REMAINING] - rest, now // slice_ns)
    a[b + T_REMAINING] = rest
    a[b + T_RUN0] = now


@compiled
def charge_window(a: Arena, b: int, d: int, i: int) -> None:
    """The thread at b ran d ns more, charged in window i."""
    if i == a[b + T_WINDOW]:
        a[b + T_CURRENT] += d
    else:
        a[b + T_PREVIOUS] = a[b + T_CURRENT] if i == a[b + T_WINDOW] + 1 else 0
        a[b + T_CURRENT] = d
        a[b + T_WINDOW] = i


@compiled
def slice_end(a: Arena, t: int, slice_ns: int) -> int:
    """When the slice of a running thread ends; now, if that is this very instant."""
    b = a[G_THREADS] + t * T_STRIDE
    used = a[G_NOW] - a[b + T_SLICE0]
    if used > slice_ns:
        a[b + T_SLICE0] += ((used - 1) // slice_ns) * slice_ns
    end: int = a[b + T_SLICE0] + slice_ns
    return end


@compiled
def core_event(a: Arena, t: int, h: int) -> None:
    """Schedules the CORE event of a running thread: its completion, or its slice end if others queue."""
    b = a[G_THREADS] + t * T_STRIDE
    at = a[G_NOW] + a[b + T_REMAINING]
    if a[h + H_QUEUED] > 0:
        at = min(at, slice_end(a, t, a[h + H_SLICE]))
    a[b + T_CORE_AT] = at
    push(a, at, EV_CORE, t, t, a[b + T_GENERATION])


@compiled
def grant(a: Arena, t: int, h: int) -> None:
    """A thread in no queue gets a core."""
    b = a[G_THREADS] + t * T_STRIDE
    now = a[G_NOW]
    a[b + T_STATE] = RUNNING
    a[b + T_SLICE0] = now - a[b + T_USED]
    a[b + T_RUN0] = now
    a[b + T_WAIT] += now - a[b + T_READY0]
    core_event(a, t, h)


@compiled
def to_queue(a: Arena, t: int, h: int, head: bool) -> None:
    """A thread joins the run queue, at its head or at its tail."""
    b = a[G_THREADS] + t * T_STRIDE
    a[b + T_STATE] = QUEUED
    a[b + T_READY0] = a[G_NOW]
    if a[h + H_QUEUED] == 0:
        a[h + H_HEAD] = t
        a[h + H_TAIL] = t
        a[b + T_QUEUE_NEXT] = NONE
    elif head:
        a[b + T_QUEUE_NEXT] = a[h + H_HEAD]
        a[h + H_HEAD] = t
    else:
        a[b + T_QUEUE_NEXT] = NONE
        a[a[G_THREADS] + a[h + H_TAIL] * T_STRIDE + T_QUEUE_NEXT] = t
        a[h + H_TAIL] = t
    a[h + H_QUEUED] += 1


@compiled
def from_queue(a: Arena, h: int) -> int:
    """Takes the head of the run queue."""
    t: int = a[h + H_HEAD]
    a[h + H_HEAD] = a[a[G_THREADS] + t * T_STRIDE + T_QUEUE_NEXT]
    a[h + H_QUEUED] -= 1
    return t


@compiled
def cut_slices(a: Arena, h: int) -> None:
    """Someone queues now: running threads get their CORE event at their slice end, if that is earlier."""
    for k in range(a[h + H_THREADS]):
        t = a[a[h + H_FIRST] + k]
        b = a[G_THREADS] + t * T_STRIDE
        if a[b + T_STATE] == RUNNING:
            end = slice_end(a, t, a[h + H_SLICE])
            if a[b + T_CORE_AT] > end:
                a[b + T_GENERATION] += 1
                a[b + T_CORE_AT] = end
                push(a, end, EV_CORE, t, t, a[b + T_GENERATION])


@compiled
def ready(a: Arena, t: int) -> bool:
    """Makes a thread ready on its host.  True if it runs at once."""
    b = a[G_THREADS] + t * T_STRIDE
    h = a[G_HOSTS] + a[b + T_HOST] * H_STRIDE
    now = a[G_NOW]
    a[b + T_REMAINING] = 0
    a[b + T_USED] = 0
    if a[h + H_SLICE] == 0:  # cores cannot run out
        a[b + T_STATE] = RUNNING
        return True
    if a[h + H_IDLE] > 0:
        a[h + H_IDLE] -= 1
        a[b + T_STATE] = RUNNING
        a[b + T_SLICE0] = now
        a[b + T_RUN0] = now
        return True
    s = a[h + H_SLICE]
    if 2 * recent(a, t, s) < s:
        victim = NONE
        most = -1
        for k in range(a[h + H_THREADS]):
            v = a[a[h + H_FIRST] + k]
            vb = a[G_THREADS] + v * T_STRIDE
            if a[vb + T_STATE] == RUNNING:
                used = (now - a[vb + T_SLICE0]) % s
                if used > most:
                    most = used
                    victim = v
        vb = a[G_THREADS] + victim * T_STRIDE
        charge(a, victim, s, False)
        a[vb + T_GENERATION] += 1
        a[vb + T_USED] = most
        to_queue(a, victim, h, True)
        a[b + T_READY0] = now
        grant(a, t, h)
    else:
        to_queue(a, t, h, False)
    cut_slices(a, h)
    return False


@compiled
def release(a: Arena, t: int) -> None:
    """The thread at hand gave up its core."""
    h = a[G_HOSTS] + a[a[G_THREADS] + t * T_STRIDE + T_HOST] * H_STRIDE
    if a[h + H_SLICE] == 0:
        return
    if a[h + H_QUEUED] > 0:
        grant(a, from_queue(a, h), h)
    else:
        a[h + H_IDLE] += 1


@compiled
def rotate(a: Arena, t: int, h: int) -> None:
    """The thread's slice is over and others queue: to the tail, the head runs."""
    a[a[G_THREADS] + t * T_STRIDE + T_USED] = 0
    to_queue(a, t, h, False)
    grant(a, from_queue(a, h), h)
    cut_slices(a, h)


@compiled
def begin_work(a: Arena, t: int, work: int) -> None:
    """A CPU operation of work > 0 starts."""
    b = a[G_THREADS] + t * T_STRIDE
    h = a[G_HOSTS] + a[b + T_HOST] * H_STRIDE
    a[b + T_REMAINING] = work
    if a[h + H_QUEUED] > 0 and slice_end(a, t, a[h + H_SLICE]) == a[G_NOW]:
        rotate(a, t, h)
        return
    a[b + T_RUN0] = a[G_NOW]
    core_event(a, t, h)


# ---------------------------------------------------------------- messages


@compiled
def new_message(a: Arena, kind: int, connection: int) -> int:
    """A message from the pool, empty."""
    m: int = a[G_FREE]
    if m == NONE:
        m = a[G_MESSAGES_N]
        a[G_MESSAGES_N] = m + 1
    else:
        a[G_FREE] = a[a[G_MESSAGES] + m * M_STRIDE + M_NEXT]
    b = a[G_MESSAGES] + m * M_STRIDE
    a[b + M_KIND] = kind
    a[b + M_CONNECTION] = connection
    a[b + M_RECORDS] = 0
    a[b + M_BYTES] = 0
    a[b + M_BATCHES] = 0
    return m


@compiled
def free_message(a: Arena, m: int) -> None:
    """Gives a message back to the pool."""
    a[a[G_MESSAGES] + m * M_STRIDE + M_NEXT] = a[G_FREE]
    a[G_FREE] = m


@compiled
def append_list(a: Arena, head: int, tail: int, m: int) -> None:
    """Appends message m to the list whose head and tail stand at these places."""
    a[a[G_MESSAGES] + m * M_STRIDE + M_NEXT] = NONE
    if a[head] == NONE:
        a[head] = m
    else:
        a[a[G_MESSAGES] + a[tail] * M_STRIDE + M_NEXT] = m
    a[tail] = m


@compiled
def take_list(a: Arena, head: int) -> int:
    """Takes the first message of the list whose head stands at this place."""
    m: int = a[head]
    a[head] = a[a[G_MESSAGES] + m * M_STRIDE + M_NEXT]
    return m


@compiled
def arrival(a: Arena, t: int, place: int) -> int:
    """When a message that leaves thread t now arrives; `place` keeps the connection's last arrival that way."""
    b = a[G_THREADS] + t * T_STRIDE
    at = a[G_NOW] + table_at(a, a[G_NETWORK], draw_at(a[b + T_NETWORK_KEY], a[b + T_SENT]))
    a[b + T_SENT] += 1
    at = max(at, a[place])
    a[place] = at
    arrives: int = at
    return arrives


@compiled
def to_request_queue(a: Arena, m: int) -> None:
    """A request enters the request queue; a blocked broker thread is signalled."""
    append_list(a, G_INBOX, G_INBOX_TAIL, m)
    for k in range(a[G_BROKER0], a[G_BROKER0] + a[G_BROKERS]):
        b = a[G_THREADS] + k * T_STRIDE
        if a[b + T_STATE] == BLOCKED and a[b + T_SIGNALLED] == FAR:
            signal(a, k)
            return


@compiled
def deliver(a: Arena, m: int) -> None:
    """A request arrives at the broker, where one of a connection is in process."""
    c = a[a[G_MESSAGES] + m * M_STRIDE + M_CONNECTION]
    cb = a[G_THREADS] + c * T_STRIDE
    if a[cb + T_BUSY] == 1:
        append_list(a, cb + T_CONN, cb + T_CONN_TAIL, m)
    else:
        a[cb + T_BUSY] = 1
        to_request_queue(a, m)


@compiled
def answer(a: Arena, t: int, m: int) -> None:
    """The broker thread sends m back; the connection's next request may be processed.

    The answer needs no event: it lies in the mailbox at once, to be seen from its arrival on.
    """
    mb = a[G_MESSAGES] + m * M_STRIDE
    c = a[mb + M_CONNECTION]
    cb = a[G_THREADS] + c * T_STRIDE
    a[mb + M_AT] = arrival(a, t, cb + T_LAST_DOWN)
    append_list(a, cb + T_MAILBOX, cb + T_MAILBOX_TAIL, m)
    signal_at(a, c, a[mb + M_AT] << KEY_BITS)
    a[cb + T_BUSY] = 0
    if a[cb + T_CONN] != NONE:
        following = take_list(a, cb + T_CONN)
        a[cb + T_BUSY] = 1
        to_request_queue(a, following)


@compiled
def has_mail(a: Arena, b: int) -> bool:
    """Whether an answer has arrived at the client at b."""
    m = a[b + T_MAILBOX]
    arrived: bool = m != NONE and a[a[G_MESSAGES] + m * M_STRIDE + M_AT] <= a[G_NOW]
    return arrived


# ---------------------------------------------------------------- logs and fetches


@compiled
def fetchable_bytes(a: Arena, c: int) -> tuple[int, int, int]:
    """What a fetch of consumer c would find now: (batches, records, bytes); LG_NEW holds the positions behind it."""
    p = a[G_PARTITIONS]
    record_bytes = a[G_BYTES_OUT] if a[c + C_TOPIC] == OUTPUT else a[G_BYTES_IN]
    batches = 0
    records = 0
    total = 0
    full = False
    for q in range(a[c + C_FIRST], a[c + C_FIRST] + a[c + C_PARTITIONS]):
        lg = a[G_LOGS] + (a[c + C_TOPIC] * p + q) * LG_STRIDE
        at = a[lg + LG_FETCHED]
        if a[lg + LG_WANTED] == 1 and not full:
            ends = a[lg + LG_BASE] + a[lg + LG_ENDS]
            here = 0
            while at < a[lg + LG_N] and here < a[G_PARTITION_MAX]:
                n = a[ends + at] - at
                size = n * record_bytes
                if batches > 0 and total + size > a[G_FETCH_MAX]:
                    full = True
                    break
                here += size
                total += size
                records += n
                batches += 1
                at += n
        a[lg + LG_NEW] = at
    return batches, records, total


@compiled
def take_fetch(a: Arena, c: int, m: int, batches: int, records: int, total: int) -> None:
    """The fetch positions move past what was found; the answer carries it."""
    p = a[G_PARTITIONS]
    for q in range(a[c + C_FIRST], a[c + C_FIRST] + a[c + C_PARTITIONS]):
        lg = a[G_LOGS] + (a[c + C_TOPIC] * p + q) * LG_STRIDE
        a[c + C_QUEUED] += a[lg + LG_NEW] - a[lg + LG_FETCHED]
        a[lg + LG_FETCHED] = a[lg + LG_NEW]
    mb = a[G_MESSAGES] + m * M_STRIDE
    a[mb + M_BATCHES] = batches
    a[mb + M_RECORDS] = records
    a[mb + M_BYTES] = total


@compiled
def append(a: Arena, t: int) -> None:
    """APPEND: the batch at hand goes to the end of its log; a fetch that waited for it may be satisfied."""
    tb = a[G_THREADS] + t * T_STRIDE
    mb = a[G_MESSAGES] + a[tb + T_MESSAGE] * M_STRIDE
    pr = a[G_PRODUCERS] + a[a[G_THREADS] + a[mb + M_CONNECTION] * T_STRIDE + T_PRODUCER] * P_STRIDE
    topic = a[pr + P_TOPIC]
    lane = a[mb + M_LANE]
    q = a[pr + P_FIRST] + lane - a[pr + P_LANES]
    lg = a[G_LOGS] + (topic * a[G_PARTITIONS] + q) * LG_STRIDE
    n = a[mb + M_RECORDS]
    start = a[lg + LG_N]
    source = a[a[G_LANES] + lane * L_STRIDE + L_BASE] + a[mb + M_FIRST]
    target = a[lg + LG_BASE] + start
    stamps = a[G_STAMPS] + (op.OUT_APPENDED if topic == OUTPUT else op.APPENDED) * a[G_RECORDS]
    for i in range(n):
        r = a[source + i]
        a[target + i] = r
        a[stamps + r] = a[G_NOW]
    a[target + a[lg + LG_ENDS]] = start + n
    a[lg + LG_N] = start + n
    c = a[G_CONSUMERS] + a[lg + LG_CONSUMER] * C_STRIDE
    if a[c + C_PARKED] != NONE:
        batches, records, total = fetchable_bytes(a, c)
        if total > 0 and total >= a[G_FETCH_MIN]:
            m = a[c + C_PARKED]
            a[c + C_PARKED] = NONE
            take_fetch(a, c, m, batches, records, total)
            a[tb + T_ASIDE] = m


@compiled
def fetch_eval(a: Arena, t: int) -> bool:
    """FETCH_EVAL: True if the fetch carries records now; else it is parked."""
    tb = a[G_THREADS] + t * T_STRIDE
    m = a[tb + T_MESSAGE]
    owner = a[a[G_MESSAGES] + m * M_STRIDE + M_CONNECTION]
    c = a[G_CONSUMERS] + a[a[G_THREADS] + owner * T_STRIDE + T_CONSUMER] * C_STRIDE
    batches, records, total = fetchable_bytes(a, c)
    if total > 0 and total >= a[G_FETCH_MIN]:
        take_fetch(a, c, m, batches, records, total)
        return True
    a[c + C_PARKED] = m
    a[c + C_EXPIRES] = a[G_NOW] + a[G_FETCH_WAIT]
    if a[c + C_TIMED] == 0:  # one timer a consumer stands in the heap; an old one moves on when it fires
        a[c + C_TIMED] = 1
        push(a, a[c + C_EXPIRES], EV_TIMER, owner, owner, 0)
    return False


@compiled
def fetch_expires(a: Arena, owner: int) -> None:
    """The timer of a parked fetch: it takes what there is and enters the request queue."""
    c = a[G_CONSUMERS] + a[a[G_THREADS] + owner * T_STRIDE + T_CONSUMER] * C_STRIDE
    a[c + C_TIMED] = 0
    if a[c + C_PARKED] == NONE:
        return
    if a[c + C_EXPIRES] > a[G_NOW]:
        a[c + C_TIMED] = 1
        push(a, a[c + C_EXPIRES], EV_TIMER, owner, owner, 0)
        return
    m = a[c + C_PARKED]
    a[c + C_PARKED] = NONE
    a[a[G_MESSAGES] + m * M_STRIDE + M_KIND] = op.EXPIRED
    batches, records, total = fetchable_bytes(a, c)
    take_fetch(a, c, m, batches, records, total)
    to_request_queue(a, m)


@compiled
def fetch_send(a: Arena, t: int) -> bool:
    """FETCH_SEND: True if a request left; else the thread is blocked for the back-off."""
    c = a[G_CONSUMERS] + a[a[G_THREADS] + t * T_STRIDE + T_CONSUMER] * C_STRIDE
    p = a[G_PARTITIONS]
    record_bytes = a[G_BYTES_OUT] if a[c + C_TOPIC] == OUTPUT else a[G_BYTES_IN]
    any_wanted = False
    room = a[c + C_QUEUED] * record_bytes < a[G_QUEUED_BYTES]
    for q in range(a[c + C_FIRST], a[c + C_FIRST] + a[c + C_PARTITIONS]):
        lg = a[G_LOGS] + (a[c + C_TOPIC] * p + q) * LG_STRIDE
        wanted = room and a[lg + LG_FETCHED] - a[lg + LG_POLLED] < a[G_QUEUED_RECORDS]
        a[lg + LG_WANTED] = 1 if wanted else 0
        any_wanted = any_wanted or wanted
    if not any_wanted:
        block(a, t, a[G_NOW] + a[G_FETCH_BACKOFF])
        return False
    m = new_message(a, op.FETCH, t)
    push(a, arrival(a, t, a[G_THREADS] + t * T_STRIDE + T_LAST_UP), EV_DELIVER, t, m, 0)
    return True


@compiled
def deliver_fetch(a: Arena, t: int) -> None:
    """DELIVER: what the answer carried becomes visible to the application thread."""
    tb = a[G_THREADS] + t * T_STRIDE
    c = a[G_CONSUMERS] + a[tb + T_CONSUMER] * C_STRIDE
    p = a[G_PARTITIONS]
    for q in range(a[c + C_FIRST], a[c + C_FIRST] + a[c + C_PARTITIONS]):
        lg = a[G_LOGS] + (a[c + C_TOPIC] * p + q) * LG_STRIDE
        a[lg + LG_VISIBLE] = a[lg + LG_FETCHED]
    m = a[tb + T_MESSAGE]
    n = a[a[G_MESSAGES] + m * M_STRIDE + M_RECORDS]
    a[c + C_READY] += n
    a[c + C_FETCHES] += 1
    if n == 0:
        a[c + C_EMPTY] += 1
    free_message(a, m)
    if n > 0:
        signal(a, a[c + C_APPLICATION])


# ---------------------------------------------------------------- producing


@compiled
def enqueue(a: Arena, t: int) -> None:
    """ENQUEUE: the record at hand joins its lane; the client is signalled if that matters to it.

    The thread may be ahead of the clock; what its client does until then, if not blocked, it does without this record.
    """
    tb = a[G_THREADS] + t * T_STRIDE
    pr = a[G_PRODUCERS] + a[tb + T_PRODUCER] * P_STRIDE
    r = a[tb + T_RECORD]
    lane = a[pr + P_LANES] + a[a[G_PARTITION] + r] - a[pr + P_FIRST]
    lb = a[G_LANES] + lane * L_STRIDE
    key = key_now(a)
    tail = a[lb + L_BASE] + a[lb + L_TAIL]
    a[tail] = r
    a[tail + a[lb + L_CAPACITY]] = key
    a[lb + L_TAIL] += 1
    a[tb + T_OUTSTANDING] += 1
    n = a[lb + L_TAIL] - a[lb + L_HEAD]
    limit = a[pr + P_LIMIT]
    if n == 1:
        a[a[G_FIRSTS] + lane] = key
    if n == limit:
        a[a[G_FULLS] + lane] = key
    client = a[pr + P_CLIENT]
    cb = a[G_THREADS] + client * T_STRIDE
    if a[cb + T_STATE] != BLOCKED or key >= a[cb + T_SIGNALLED]:
        return
    first = a[a[G_FIRSTS] + lane] >> KEY_BITS
    matters = n == limit and (n == 1 or a[G_NOW] < first + a[G_LINGER])  # ready with it, and not before
    if n == 1:
        matters = matters or a[G_LINGER] == 0 or a[cb + T_DUE] < 0 or a[cb + T_DUE] > a[G_NOW] + a[G_LINGER]
    if matters:
        signal_at(a, client, key)


@compiled
def take_batch(a: Arena, t: int, pr: int, i: int, seen: int) -> None:
    """The batch at the head of the producer's i-th lane becomes the message at hand."""
    lane = a[pr + P_LANES] + i
    lb = a[G_LANES] + lane * L_STRIDE
    head = a[lb + L_HEAD]
    left = a[lb + L_TAIL] - head
    keys = a[lb + L_BASE] + a[lb + L_CAPACITY] + head
    n = min(left, a[pr + P_MOST])
    while a[keys + n - 1] > seen:
        n -= 1
    m = new_message(a, op.PRODUCE, t)
    mb = a[G_MESSAGES] + m * M_STRIDE
    a[mb + M_LANE] = lane
    a[mb + M_FIRST] = head
    a[mb + M_RECORDS] = n
    a[mb + M_BYTES] = n * a[pr + P_BYTES]
    a[mb + M_BATCHES] = 1
    a[a[G_THREADS] + t * T_STRIDE + T_MESSAGE] = m
    a[lb + L_HEAD] = head + n
    left -= n
    limit = a[pr + P_LIMIT]
    a[a[G_FIRSTS] + lane] = a[keys + n] if left > 0 else FAR
    a[a[G_FULLS] + lane] = a[keys + n + limit - 1] if left >= limit else FAR
    a[pr + P_FLIGHT] += 1
    a[pr + P_REQUESTS] += 1
    a[pr + P_TURN] = i + 1 if i + 1 < a[pr + P_PARTITIONS] else 0


@compiled
def produce_next(a: Arena, t: int) -> int:
    """PRODUCE_NEXT: 2 an answer is at hand, 1 a batch is, 0 the thread is blocked."""
    tb = a[G_THREADS] + t * T_STRIDE
    if has_mail(a, tb):
        a[tb + T_MESSAGE] = take_list(a, tb + T_MAILBOX)
        return 2
    pr = a[G_PRODUCERS] + a[tb + T_PRODUCER] * P_STRIDE
    lanes = a[pr + P_PARTITIONS]
    firsts = a[G_FIRSTS] + a[pr + P_LANES]
    fulls = a[G_FULLS] + a[pr + P_LANES]
    linger = a[G_LINGER]
    seen = (a[G_NOW] << KEY_BITS) | (a[G_KIND] if a[G_AHEAD] == 1 else EV_CORE)  # what is later was done ahead
    room = a[pr + P_FLIGHT] < a[G_MAX_FLIGHT]
    if room:
        lingered = min(seen, ((a[G_NOW] - linger) << KEY_BITS) | EV_CORE)
        turn = a[pr + P_TURN]
        for k in range(lanes):
            i = turn + k
            if i >= lanes:
                i -= lanes
            if a[firsts + i] <= lingered or a[fulls + i] <= seen:
                take_batch(a, t, pr, i, seen)
                return 1
    oldest = FAR  # the first record that lingers
    empty = FAR  # the first to come into an empty lane
    full = FAR  # the first to come that makes a lane ready
    for i in range(lanes):
        first = a[firsts + i]
        oldest = min(oldest, first if first <= seen else FAR)
        empty = min(empty, first if first > seen else FAR)
        last = a[fulls + i]
        if seen < last and last < FAR and (last == first or last >> KEY_BITS < (first >> KEY_BITS) + linger):
            full = min(full, last)
    until = (oldest >> KEY_BITS) + linger if room and oldest < FAR else NONE
    block(a, t, until)
    if empty < FAR and (linger == 0 or until == NONE or (empty >> KEY_BITS) + linger < until):
        full = min(full, empty)
    if full < FAR:
        signal_at(a, t, full)
    return 0


@compiled
def acknowledge(a: Arena, t: int) -> None:
    """ACK: a produce request was answered."""
    tb = a[G_THREADS] + t * T_STRIDE
    pr = a[G_PRODUCERS] + a[tb + T_PRODUCER] * P_STRIDE
    a[pr + P_FLIGHT] -= 1
    app = a[pr + P_APPLICATION]
    m = a[tb + T_MESSAGE]
    if app < 0:
        free_message(a, m)
        return
    ab = a[G_THREADS] + app * T_STRIDE
    key = key_now(a)
    while a[ab + T_SERVES_AT] < a[ab + T_SERVES_N]:  # the application thread is ahead, and served already
        at = a[a[ab + T_SERVES] + a[ab + T_SERVES_AT]]
        if at > key:
            deliver_batch(a, ab, m, at >> KEY_BITS)
            return
        a[ab + T_SERVES_AT] += 1
    append_list(a, ab + T_DELIVERIES, ab + T_DELIVERIES_TAIL, m)


@compiled
def deliver_batch(a: Arena, b: int, m: int, at: int) -> None:
    """The delivery callbacks of one batch of the application thread at b."""
    mb = a[G_MESSAGES] + m * M_STRIDE
    source = a[a[G_LANES] + a[mb + M_LANE] * L_STRIDE + L_BASE] + a[mb + M_FIRST]
    stamps = a[G_STAMPS] + op.ACKED * a[G_RECORDS]
    for i in range(a[mb + M_RECORDS]):
        a[stamps + a[source + i]] = at
    a[G_ACKED_N] += a[mb + M_RECORDS]
    a[b + T_OUTSTANDING] -= a[mb + M_RECORDS]
    free_message(a, m)


@compiled
def serve(a: Arena, t: int) -> None:
    """SERVE: delivery callbacks of every batch answered so far, and, for a thread that is ahead, until now."""
    tb = a[G_THREADS] + t * T_STRIDE
    while a[tb + T_DELIVERIES] != NONE:
        deliver_batch(a, tb, take_list(a, tb + T_DELIVERIES), a[G_NOW])
    if a[tb + T_AHEAD] == 1:
        a[a[tb + T_SERVES] + a[tb + T_SERVES_N]] = key_now(a)
        a[tb + T_SERVES_N] += 1
        a[tb + T_STEPS] -= 1


# ---------------------------------------------------------------- polling


@compiled
def poll(a: Arena, t: int) -> int:
    """POLL: 1 records are taken, 2 the poll is empty, 0 the thread is blocked."""
    tb = a[G_THREADS] + t * T_STRIDE
    c = a[G_CONSUMERS] + a[tb + T_CONSUMER] * C_STRIDE
    if a[c + C_READY] == 0:
        if a[tb + T_TIMED] == 1:
            a[tb + T_TIMED] = 0
            a[tb + T_POLLS_EMPTY] += 1
            return 2
        block(a, t, a[G_NOW] + a[G_DELIVERY_POLL] if a[tb + T_OUTSTANDING] > 0 else NONE)
        return 0
    p = a[G_PARTITIONS]
    room = min(a[C_MAX_POLL + c], a[c + C_READY])
    a[c + C_READY] -= room
    a[c + C_QUEUED] -= room
    a[tb + T_N] = room
    a[tb + T_TIMED] = 0
    i = a[c + C_TURN]
    a[c + C_POLL_TURN] = i
    while room > 0:
        lg = a[G_LOGS] + (a[c + C_TOPIC] * p + a[c + C_FIRST] + i) * LG_STRIDE
        n = min(room, a[lg + LG_VISIBLE] - a[lg + LG_POLLED])
        a[lg + LG_POLLED] += n
        room -= n
        if room == 0 and a[lg + LG_VISIBLE] > a[lg + LG_POLLED]:
            break  # the next poll goes on here
        i = i + 1 if i + 1 < a[c + C_PARTITIONS] else 0
    a[c + C_TURN] = i
    a[tb + T_POLLS] += 1
    return 1


@compiled
def stamp_poll(a: Arena, t: int, column: int) -> None:
    """Stamps every record of the poll, and who polled it."""
    tb = a[G_THREADS] + t * T_STRIDE
    c = a[G_CONSUMERS] + a[tb + T_CONSUMER] * C_STRIDE
    p = a[G_PARTITIONS]
    stamps = a[G_STAMPS] + column * a[G_RECORDS]
    left = a[tb + T_N]
    i = a[c + C_POLL_TURN]
    while left > 0:
        lg = a[G_LOGS] + (a[c + C_TOPIC] * p + a[c + C_FIRST] + i) * LG_STRIDE
        for k in range(a[lg + LG_CURSOR], a[lg + LG_POLLED]):
            r = a[a[lg + LG_BASE] + k]
            a[stamps + r] = a[G_NOW]
            a[a[G_WORKER] + r] = a[tb + T_INDEX]
            a[a[G_BATCH] + r] = a[tb + T_POLLS] - 1
        left -= a[lg + LG_POLLED] - a[lg + LG_CURSOR]
        i = i + 1 if i + 1 < a[c + C_PARTITIONS] else 0


@compiled
def next_of_poll(a: Arena, t: int) -> bool:
    """NEXT: the next record of the poll is at hand, or False."""
    tb = a[G_THREADS] + t * T_STRIDE
    if a[tb + T_N] == 0:
        return False
    a[tb + T_N] -= 1
    c = a[G_CONSUMERS] + a[tb + T_CONSUMER] * C_STRIDE
    p = a[G_PARTITIONS]
    while True:
        i = a[c + C_POLL_TURN]
        lg = a[G_LOGS] + (a[c + C_TOPIC] * p + a[c + C_FIRST] + i) * LG_STRIDE
        if a[lg + LG_CURSOR] < a[lg + LG_POLLED]:
            a[tb + T_RECORD] = a[a[lg + LG_BASE] + a[lg + LG_CURSOR]]
            a[lg + LG_CURSOR] += 1
            return True
        a[c + C_POLL_TURN] = i + 1 if i + 1 < a[c + C_PARTITIONS] else 0


# ---------------------------------------------------------------- CPU work


@compiled
def work_of(a: Arena, t: int, cost: int, source: int, variant: int) -> int:
    """The CPU ns of one CPU operation."""
    tb = a[G_THREADS] + t * T_STRIDE
    records = 0
    size = 0
    batches = 0
    points = 0
    if source == op.RECORD_IN:
        records = 1
        points = a[G_POINTS]
        size = a[G_BYTES_IN]
        entity = a[tb + T_RECORD]
    elif source == op.RECORD_OUT:
        records = 1
        points = a[G_POINTS]
        size = a[G_BYTES_OUT]
        entity = a[tb + T_RECORD]
    elif source == op.MESSAGE:
        mb = a[G_MESSAGES] + a[tb + T_MESSAGE] * M_STRIDE
        records = a[mb + M_RECORDS]
        size = a[mb + M_BYTES]
        batches = a[mb + M_BATCHES]
        if a[mb + M_KIND] == op.PRODUCE:
            entity = a[a[a[G_LANES] + a[mb + M_LANE] * L_STRIDE + L_BASE] + a[mb + M_FIRST]]
        else:
            owner = a[G_THREADS] + a[mb + M_CONNECTION] * T_STRIDE
            entity = a[a[G_CONSUMERS] + a[owner + T_CONSUMER] * C_STRIDE + C_FETCHES]
            if variant == op.FETCH_OR_EMPTY and records == 0:
                cost += 1
    elif source == op.POLLED:
        c = a[G_CONSUMERS] + a[tb + T_CONSUMER] * C_STRIDE
        records = a[tb + T_N]
        size = records * (a[G_BYTES_OUT] if a[c + C_TOPIC] == OUTPUT else a[G_BYTES_IN])
        entity = a[tb + T_POLLS] - 1
    else:
        entity = a[tb + T_WAKES]
    k = a[G_COSTS] + cost * K_STRIDE
    fixed = a[k + K_FIXED]
    if source == op.AFTER_SLEEP:
        if a[tb + T_SLEPT] == 0:
            return 0
        since = a[a[G_THREADS] + a[tb + T_HOME] * T_STRIDE + T_IDLE_SINCE]
        gap = min((a[G_NOW] - since) >> COLD_STEP_BITS, TABLE_SIZE - 1)
        fixed = fixed * a[tb + T_SLEPT] + ((a[k + K_COLD] * a[a[G_COLD] + gap]) >> RESIDUAL_BITS)
        a[tb + T_COLD] += a[a[G_COLD] + gap]
        a[tb + T_SLEPT] = 0
    elif source != op.WAKES:
        a[a[G_THREADS] + a[tb + T_HOME] * T_STRIDE + T_WORKED] = 1
    work: int = (
        fixed + a[k + K_BATCH] * batches + a[k + K_RECORD] * records + a[k + K_POINT] * points + a[k + K_BYTE] * size
    ) >> COST_BITS
    if a[k + K_RESIDUAL] != NONE:
        work = (work * table_at(a, a[k + K_RESIDUAL], draw(a[G_SEED], t, entity, PURPOSE_CPU, cost))) >> RESIDUAL_BITS
    return work


# ---------------------------------------------------------------- programs


#: Operations that touch nothing but the thread's own state, or what is read by its keys: one bit for each code.
PRIVATE = (
    (1 << op.CPU)
    | (1 << op.STAMP)
    | (1 << op.NEXT)
    | (1 << op.JUMP)
    | (1 << op.ENQUEUE)
    | (1 << op.SERVE)
    | (1 << op.ARRIVE)
    | (1 << op.COMPLETE_NEXT)
)


@compiled
def come_back(a: Arena, t: int) -> None:
    """A thread that ran ahead goes on when the clock is where it is."""
    b = a[G_THREADS] + t * T_STRIDE
    if a[G_KIND] == EV_CORE:
        a[b + T_MARKS] = 0
        a[b + T_MARK] = 0
        a[b + T_REMAINING] = 0
        a[b + T_RUN0] = a[G_NOW]
    else:
        a[b + T_RESUME] = 1
    push(a, a[G_NOW], a[G_KIND], t, t, a[b + T_GENERATION])


@compiled
def run(a: Arena, t: int, ahead: bool) -> None:
    """Runs the program of thread t until it works or waits.

    Where cores cannot run out, it goes on ahead of the clock as long as what it does is its own business (`PRIVATE`).
    """
    tb = a[G_THREADS] + t * T_STRIDE
    may = a[tb + T_AHEAD] == 1
    a[tb + T_STEPS] = AHEAD_MAX
    a[tb + T_SERVES_AT] = 0
    a[tb + T_SERVES_N] = 0
    while True:
        pc = a[tb + T_PC]
        o = a[tb + T_PROGRAM] + pc * OP_STRIDE
        code = a[o]
        following = pc + 1
        if ahead and (PRIVATE >> code) & 1 == 0:
            come_back(a, t)
            return
        if code == op.CPU and may:
            work = work_of(a, t, a[o + 1], a[o + 2], a[o + 3])
            if work > 0:
                mine = (PRIVATE >> a[o + OP_STRIDE]) & 1 == 1 and a[tb + T_STEPS] > 0
                if not mine or a[G_NOW] + work >= a[G_UNTIL]:
                    a[tb + T_MARKS] = 0
                    a[tb + T_MARK] = 0
                    a[tb + T_PC] = following
                    begin_work(a, t, work)
                    return
                a[tb + T_CPU] += work
                a[G_NOW] += work
                a[G_KIND] = EV_CORE
                ahead = True
        elif code == op.CPU:
            # CPU work with at most a stamp of the record at hand in between is one piece of work with marks.
            a[tb + T_MARKS] = 0
            a[tb + T_MARK] = 0
            work = work_of(a, t, a[o + 1], a[o + 2], a[o + 3])
            while a[tb + T_MARKS] < MARKS_MAX:
                o += OP_STRIDE
                column = NONE
                if a[o] == op.STAMP and a[o + 2] == op.ONE and a[o + OP_STRIDE] == op.CPU:
                    column = a[o + 1]
                    o += OP_STRIDE
                    following += 1
                elif a[o] != op.CPU:
                    break
                following += 1
                if work > 0:
                    a[tb + T_MARK_LEFT + a[tb + T_MARKS]] = work  # for now the work before it
                    a[tb + T_MARK_STAMP + a[tb + T_MARKS]] = column
                    a[tb + T_MARKS] += 1
                elif column != NONE:
                    a[a[G_STAMPS] + column * a[G_RECORDS] + a[tb + T_RECORD]] = a[G_NOW]
                work += work_of(a, t, a[o + 1], a[o + 2], a[o + 3])
            if work > 0:
                for i in range(a[tb + T_MARKS]):
                    a[tb + T_MARK_LEFT + i] = work - a[tb + T_MARK_LEFT + i]
                a[tb + T_PC] = following
                begin_work(a, t, work)
                return
        elif code == op.STAMP:
            if a[o + 2] == op.ONE:
                a[a[G_STAMPS] + a[o + 1] * a[G_RECORDS] + a[tb + T_RECORD]] = a[G_NOW]
            else:
                stamp_poll(a, t, a[o + 1])
        elif code == op.NEXT:
            if not next_of_poll(a, t):
                following = a[o + 1]
        elif code == op.JUMP:
            following = a[o + 1]
        elif code == op.ENQUEUE:
            enqueue(a, t)
        elif code == op.SERVE:
            serve(a, t)
        elif code == op.ARRIVE:
            r = a[tb + T_RECORD] + a[G_GENERATORS]
            if r >= a[G_RECORDS]:
                following = a[o + 1]
            elif a[a[G_STAMPS] + r] > a[G_NOW]:
                a[tb + T_SLEEPS] += 1
                at = a[a[G_STAMPS] + r]
                if may and a[tb + T_STEPS] > 0:  # nobody else wakes a generator
                    at += wake_draw(a, t, a[G_TIMER])
                    if at < a[G_UNTIL]:
                        went_to_sleep(a, tb)
                        a[tb + T_WAKES] += 1
                        a[tb + T_STEPS] -= 1
                        a[G_NOW] = at
                        a[G_KIND] = EV_WAKE
                        ahead = True
                        continue
                block(a, t, a[a[G_STAMPS] + r])
                release(a, t)
                return
            else:
                a[tb + T_RECORD] = r
        elif code == op.PRODUCE_NEXT:
            what = produce_next(a, t)
            if what == 0:
                release(a, t)
                return
            if what == 2:
                following = a[o + 1]
        elif code == op.SEND_REQUEST:
            push(a, arrival(a, t, tb + T_LAST_UP), EV_DELIVER, t, a[tb + T_MESSAGE], 0)
        elif code == op.SEND_ANSWER:
            answer(a, t, a[tb + T_MESSAGE])
        elif code == op.ACK:
            acknowledge(a, t)
        elif code == op.RECV:
            if a[tb + T_CONSUMER] == NONE:
                if a[G_INBOX] == NONE:
                    block(a, t, NONE)
                    release(a, t)
                    return
                a[tb + T_MESSAGE] = take_list(a, G_INBOX)
            elif has_mail(a, tb):
                a[tb + T_MESSAGE] = take_list(a, tb + T_MAILBOX)
            else:
                block(a, t, NONE)
                release(a, t)
                return
        elif code == op.BRANCH_KIND:
            kind = a[a[G_MESSAGES] + a[tb + T_MESSAGE] * M_STRIDE + M_KIND]
            if kind == op.FETCH:
                following = a[o + 1]
            elif kind == op.EXPIRED:
                following = a[o + 2]
        elif code == op.APPEND:
            append(a, t)
        elif code == op.COMPLETE_NEXT:
            if a[tb + T_ASIDE] == NONE:
                following = a[o + 1]
            else:
                a[tb + T_MESSAGE] = a[tb + T_ASIDE]
                a[tb + T_ASIDE] = NONE
        elif code == op.FETCH_EVAL:
            if not fetch_eval(a, t):
                following = a[o + 1]
        elif code == op.FETCH_SEND:
            if not fetch_send(a, t):
                release(a, t)
                return
        elif code == op.DELIVER:
            deliver_fetch(a, t)
        elif code == op.POLL:
            what = poll(a, t)
            if what == 0:
                release(a, t)
                return
            if what == 2:
                following = a[o + 1]
        elif code == op.SLEEP:
            if a[tb + T_TIMED] == 0:
                block(a, t, a[G_NOW] + a[o + 1])
                release(a, t)
                return
            a[tb + T_TIMED] = 0
        else:  # HALT
            a[tb + T_STATE] = HALTED
            release(a, t)
            return
        a[tb + T_PC] = following


@compiled
def receive_ahead(a: Arena) -> None:
    """A consumer client that waits for its answer: WAKE and RECV, ahead of the clock."""
    t = a[G_NEXT]
    b = a[G_THREADS] + t * T_STRIDE
    a[G_NEXT] = NONE
    a[G_NOW] = a[G_NEXT_AT]
    a[G_KIND] = EV_WAKE
    woke_up(a, b)
    ready(a, t)
    a[b + T_MESSAGE] = take_list(a, b + T_MAILBOX)
    a[b + T_PC] += 1
    run(a, t, True)


@compiled
def start_arena(a: Arena) -> None:
    """Schedules the first WAKE of every thread, in the order of their numbers."""
    for t in range(a[G_THREADS_N]):
        push(a, 0, EV_WAKE, t, t, 0)


@compiled
def start(address: int) -> None:
    """`start_arena` of the arena at this address."""
    start_arena(arena_at(address))


@compiled
def advance(address: int, until: int) -> int:
    """`advance_arena` of the arena at this address."""
    return advance_arena(arena_at(address), until)


@compiled
def advance_arena(a: Arena, until: int) -> int:
    """Takes every event before `until` (ns), and is at `until` then; returns REACHED, GROW or DEADLOCK."""
    a[G_UNTIL] = until
    while True:
        close_hole(a)
        if a[G_HEAP_N] == 0:
            return DEADLOCK
        e = a[G_HEAP]
        if a[e] >= until:
            a[G_NOW] = max(a[G_NOW], until)  # readings count work and waits under way up to here
            return REACHED
        spare = 3 * a[G_THREADS_N] + 16
        if a[G_HEAP_N] + spare > a[G_HEAP_CAP] or a[G_MESSAGES_N] + spare > a[G_MESSAGES_CAP]:
            return GROW
        a[G_NOW] = a[e]
        kind = a[e + E_RANK] >> KIND_SHIFT
        x = a[e + E_ARGUMENT]
        generation = a[e + E_GENERATION]
        a[G_KIND] = kind
        a[G_HOLE] = 1
        a[G_EVENTS] += 1
        if kind == EV_CORE:
            b = a[G_THREADS] + x * T_STRIDE
            if a[b + T_GENERATION] != generation:
                continue
            h = a[G_HOSTS] + a[b + T_HOST] * H_STRIDE
            complete = a[b + T_RUN0] + a[b + T_REMAINING] == a[G_NOW]
            charge(a, x, a[h + H_SLICE], complete or a[h + H_QUEUED] > 0)
            if not complete:
                if a[h + H_QUEUED] == 0:
                    core_event(a, x, h)
                else:
                    rotate(a, x, h)
            else:
                run(a, x, False)
        elif kind == EV_WAKE:
            b = a[G_THREADS] + x * T_STRIDE
            if a[b + T_GENERATION] != generation:
                continue
            if a[b + T_RESUME] == 1:
                a[b + T_RESUME] = 0
                run(a, x, False)
            else:
                woke_up(a, b)
                if ready(a, x):
                    run(a, x, False)
        elif kind == EV_DELIVER:
            deliver(a, x)
        else:
            fetch_expires(a, x)
        if a[G_NEXT] != NONE:
            receive_ahead(a)
