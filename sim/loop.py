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
        # The least child, chosen without branches: which one it is cannot be predicted.
        b = heap + first * E_STRIDE
        least, rank_b = a[b], a[b + 1]
        for c in range(first + 1, min(first + 4, n)):
            x = heap + c * E_STRIDE
            t, r = a[x], a[x + 1]
            before = (t < least) | ((t == least) & (r < rank_b))
            b = x if before else b
            least = t if before else least
            rank_b = r if before else rank_b
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
def signal(a: Arena, t: int) -> None:
    """Wakes a blocked thread; nothing for one that is not."""
    b = a[G_THREADS] + t * T_STRIDE
    if a[b + T_STATE] != BLOCKED:
        return
    a[b + T_STATE] = WAKING
    a[b + T_GENERATION] += 1
    a[b + T_TIMED] = 0
    latency = wake_draw(a, t, a[G_WAKE])
    a[b + T_WAIT] += latency  # the kernel's run-queue wait counts from the wake-up, too
    push(a, a[G_NOW] + latency, EV_WAKE, t, t, a[b + T_GENERATION])


@compiled
def block(a: Arena, t: int, until: int) -> None:
    """Blocks the thread at hand; with until >= 0 it wakes by itself then."""
    b = a[G_THREADS] + t * T_STRIDE
    a[b + T_STATE] = BLOCKED
    a[b + T_TIMED] = 0
    a[b + T_DUE] = until
    a[b + T_SLEPT] += 1
    home = a[G_THREADS] + a[b + T_HOME] * T_STRIDE
    if a[home + T_WORKED] == 1:
        a[home + T_WORKED] = 0
        a[home + T_IDLE_SINCE] = a[G_NOW]
    if until >= 0:
        push(a, max(until, a[G_NOW]) + wake_draw(a, t, a[G_TIMER]), EV_WAKE, t, t, a[b + T_GENERATION])


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
    a[b + M_ANSWER] = 0
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
def send(a: Arena, t: int, m: int, place: int) -> None:
    """Message m leaves thread t; `place` is where the connection keeps its last arrival in that direction."""
    b = a[G_THREADS] + t * T_STRIDE
    at = a[G_NOW] + table_at(a, a[G_NETWORK], draw_at(a[b + T_NETWORK_KEY], a[b + T_SENT]))
    a[b + T_SENT] += 1
    at = max(at, a[place])
    a[place] = at
    push(a, at, EV_DELIVER, t, m, 0)


@compiled
def to_request_queue(a: Arena, m: int) -> None:
    """A request enters the request queue; a blocked broker thread is signalled."""
    append_list(a, G_INBOX, G_INBOX_TAIL, m)
    for k in range(a[G_BROKER0], a[G_BROKER0] + a[G_BROKERS]):
        if a[a[G_THREADS] + k * T_STRIDE + T_STATE] == BLOCKED:
            signal(a, k)
            return


@compiled
def deliver(a: Arena, m: int) -> None:
    """A message arrives: an answer at its client, a request at the broker, where one of a connection is in process."""
    mb = a[G_MESSAGES] + m * M_STRIDE
    c = a[mb + M_CONNECTION]
    cb = a[G_THREADS] + c * T_STRIDE
    if a[mb + M_ANSWER] == 1:
        append_list(a, cb + T_MAILBOX, cb + T_MAILBOX_TAIL, m)
        signal(a, c)
    elif a[cb + T_BUSY] == 1:
        append_list(a, cb + T_CONN, cb + T_CONN_TAIL, m)
    else:
        a[cb + T_BUSY] = 1
        to_request_queue(a, m)


@compiled
def answer(a: Arena, t: int, m: int) -> None:
    """The broker thread sends m back; the connection's next request may be processed."""
    mb = a[G_MESSAGES] + m * M_STRIDE
    cb = a[G_THREADS] + a[mb + M_CONNECTION] * T_STRIDE
    a[mb + M_ANSWER] = 1
    send(a, t, m, cb + T_LAST_DOWN)
    a[cb + T_BUSY] = 0
    if a[cb + T_CONN] != NONE:
        following = take_list(a, cb + T_CONN)
        a[cb + T_BUSY] = 1
        to_request_queue(a, following)


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
    send(a, t, m, a[G_THREADS] + t * T_STRIDE + T_LAST_UP)
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
def lane_ready(a: Arena, lane: int, n: int, record_bytes: int) -> bool:
    """Whether a lane would be ready with n of its records, at now."""
    lb = a[G_LANES] + lane * L_STRIDE
    if n <= 0:
        return False
    if n >= a[G_BATCH_RECORDS] or n * record_bytes >= a[G_BATCH_BYTES]:
        return True
    lingered: bool = a[G_NOW] >= a[a[lb + L_BASE] + a[lb + L_CAPACITY] + a[lb + L_HEAD]] + a[G_LINGER]
    return lingered


@compiled
def enqueue(a: Arena, t: int) -> None:
    """ENQUEUE: the record at hand joins its lane; the client is signalled if that matters to it."""
    tb = a[G_THREADS] + t * T_STRIDE
    pr = a[G_PRODUCERS] + a[tb + T_PRODUCER] * P_STRIDE
    r = a[tb + T_RECORD]
    record_bytes = a[G_BYTES_OUT] if a[pr + P_TOPIC] == OUTPUT else a[G_BYTES_IN]
    lane = a[pr + P_LANES] + a[a[G_PARTITION] + r] - a[pr + P_FIRST]
    lb = a[G_LANES] + lane * L_STRIDE
    n = a[lb + L_TAIL] - a[lb + L_HEAD]
    before = lane_ready(a, lane, n, record_bytes)
    tail = a[lb + L_BASE] + a[lb + L_TAIL]
    a[tail] = r
    a[tail + a[lb + L_CAPACITY]] = a[G_NOW]
    a[lb + L_TAIL] += 1
    client = a[pr + P_CLIENT]
    if not before and lane_ready(a, lane, n + 1, record_bytes):
        signal(a, client)
    elif n == 0:
        cb = a[G_THREADS] + client * T_STRIDE
        if a[cb + T_DUE] < 0 or a[cb + T_DUE] > a[G_NOW] + a[G_LINGER]:
            signal(a, client)
    a[tb + T_OUTSTANDING] += 1


@compiled
def produce_next(a: Arena, t: int) -> int:
    """PRODUCE_NEXT: 2 an answer is at hand, 1 a batch is, 0 the thread is blocked."""
    tb = a[G_THREADS] + t * T_STRIDE
    if a[tb + T_MAILBOX] != NONE:
        a[tb + T_MESSAGE] = take_list(a, tb + T_MAILBOX)
        return 2
    pr = a[G_PRODUCERS] + a[tb + T_PRODUCER] * P_STRIDE
    until = NONE
    if a[pr + P_FLIGHT] < a[G_MAX_FLIGHT]:
        record_bytes = a[G_BYTES_OUT] if a[pr + P_TOPIC] == OUTPUT else a[G_BYTES_IN]
        lanes = a[pr + P_PARTITIONS]
        turn = a[pr + P_TURN]
        for k in range(lanes):
            i = turn + k
            if i >= lanes:
                i -= lanes
            lane = a[pr + P_LANES] + i
            lb = a[G_LANES] + lane * L_STRIDE
            n = a[lb + L_TAIL] - a[lb + L_HEAD]
            if n == 0:
                continue
            if lane_ready(a, lane, n, record_bytes):
                n = min(n, a[G_BATCH_RECORDS], max(1, a[G_BATCH_BYTES] // record_bytes))
                m = new_message(a, op.PRODUCE, t)
                mb = a[G_MESSAGES] + m * M_STRIDE
                a[mb + M_LANE] = lane
                a[mb + M_FIRST] = a[lb + L_HEAD]
                a[mb + M_RECORDS] = n
                a[mb + M_BYTES] = n * record_bytes
                a[mb + M_BATCHES] = 1
                a[lb + L_HEAD] += n
                a[pr + P_FLIGHT] += 1
                a[pr + P_REQUESTS] += 1
                a[pr + P_TURN] = i + 1 if i + 1 < lanes else 0
                a[tb + T_MESSAGE] = m
                return 1
            due = a[a[lb + L_BASE] + a[lb + L_CAPACITY] + a[lb + L_HEAD]] + a[G_LINGER]
            if until == NONE or due < until:
                until = due
    block(a, t, until)
    return 0


@compiled
def acknowledge(a: Arena, t: int) -> None:
    """ACK: a produce request was answered."""
    tb = a[G_THREADS] + t * T_STRIDE
    pr = a[G_PRODUCERS] + a[tb + T_PRODUCER] * P_STRIDE
    a[pr + P_FLIGHT] -= 1
    app = a[pr + P_APPLICATION]
    if app >= 0:
        ab = a[G_THREADS] + app * T_STRIDE
        append_list(a, ab + T_DELIVERIES, ab + T_DELIVERIES_TAIL, a[tb + T_MESSAGE])
    else:
        free_message(a, a[tb + T_MESSAGE])


@compiled
def serve(a: Arena, t: int) -> None:
    """SERVE: delivery callbacks of every batch answered so far."""
    tb = a[G_THREADS] + t * T_STRIDE
    while a[tb + T_DELIVERIES] != NONE:
        m = take_list(a, tb + T_DELIVERIES)
        mb = a[G_MESSAGES] + m * M_STRIDE
        source = a[a[G_LANES] + a[mb + M_LANE] * L_STRIDE + L_BASE] + a[mb + M_FIRST]
        stamps = a[G_STAMPS] + op.ACKED * a[G_RECORDS]
        for i in range(a[mb + M_RECORDS]):
            a[stamps + a[source + i]] = a[G_NOW]
        a[G_ACKED_N] += a[mb + M_RECORDS]
        a[tb + T_OUTSTANDING] -= a[mb + M_RECORDS]
        free_message(a, m)


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


@compiled
def run(a: Arena, t: int) -> None:
    """Runs the program of thread t until it works or waits."""
    tb = a[G_THREADS] + t * T_STRIDE
    while True:
        pc = a[tb + T_PC]
        o = a[tb + T_PROGRAM] + pc * OP_STRIDE
        code = a[o]
        following = pc + 1
        if code == op.CPU:
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
            send(a, t, a[tb + T_MESSAGE], tb + T_LAST_UP)
        elif code == op.SEND_ANSWER:
            answer(a, t, a[tb + T_MESSAGE])
        elif code == op.ACK:
            acknowledge(a, t)
        elif code == op.RECV:
            head = tb + T_MAILBOX
            if a[tb + T_CONSUMER] == NONE:
                head = G_INBOX
            if a[head] == NONE:
                block(a, t, NONE)
                release(a, t)
                return
            a[tb + T_MESSAGE] = take_list(a, head)
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
                run(a, x)
        elif kind == EV_WAKE:
            b = a[G_THREADS] + x * T_STRIDE
            if a[b + T_GENERATION] != generation:
                continue
            a[b + T_TIMED] = 1 if a[b + T_STATE] == BLOCKED else 0
            a[b + T_WAKES] += 1
            if ready(a, x):
                run(a, x)
        elif kind == EV_DELIVER:
            deliver(a, x)
        else:
            fetch_expires(a, x)
