"""The compiled loop's services: queues of requests that threads take from, answer, or send on to other services."""

from __future__ import annotations

from control.batching import V_SLO, limit, observe
from control.cache import HIT, IN_FLIGHT, MISS, answer, ask
from scenarios.draws import PURPOSE_ROUTE, draw
from sim import operations as op
from sim.arena import *  # the named offsets are this module's vocabulary
from sim.jit import compiled
from sim.loop_agenda import push
from sim.loop_events import block, signal_at
from sim.loop_flow import answered, signal_lowest
from sim.loop_kafka import append_list, arrival, free_message, new_message, take_list

# ---------------------------------------------------------------- coming


@compiled
def call(a: Arena, t: int, s: int, unanswered: bool) -> None:
    """CALL: a request for the record at hand leaves for the service."""
    tb = a[G_THREADS] + t * T_STRIDE
    m = new_message(a, op.REQUEST, t)
    mb = a[G_MESSAGES] + m * M_STRIDE
    a[mb + M_FIRST] = a[tb + T_RECORD]
    a[mb + M_LANE] = s
    a[mb + M_BATCHES] = NONE
    a[mb + M_BYTES] = 0 if unanswered else 1
    push(a, arrival(a, t, tb + T_LAST_UP), EV_DELIVER, t, m)


@compiled
def deliver_request(a: Arena, m: int) -> None:
    """A request arrives at its service; one of a fork may have to wait there for the others."""
    mb = a[G_MESSAGES] + m * M_STRIDE
    if a[a[G_SERVICES] + a[mb + M_LANE] * S_STRIDE + S_JOINS] == 1 and a[mb + M_BATCHES] != NONE:
        a[a[G_MESSAGES] + a[mb + M_BATCHES] * M_STRIDE + M_LANE] = a[mb + M_LANE]
        come_to_fork_end(a, NONE, m)
    elif not is_known(a, m) and not come(a, m):
        end(a, NONE, m)


@compiled
def is_known(a: Arena, m: int) -> bool:
    """Whether a request is answered from the cache, or will be by what is in flight; else it has to be taken."""
    mb = a[G_MESSAGES] + m * M_STRIDE
    sb = a[G_SERVICES] + a[mb + M_LANE] * S_STRIDE
    if a[sb + S_CACHE] == NONE or a[mb + M_BYTES] == 0:
        return False
    key = a[a[sb + S_KEYS] + a[mb + M_FIRST]]
    found = ask(a, a[sb + S_CACHE], key)
    if found == HIT:
        send_answer(a, a[a[sb + S_FIRST]], m)
    elif found == IN_FLIGHT:
        append_list(a, a[sb + S_WAITERS] + 2 * key, a[sb + S_WAITERS] + 2 * key + 1, m)
    return bool(found != MISS)


@compiled
def come(a: Arena, m: int) -> bool:
    """A request comes to the queue of its service; False if it has to end instead."""
    mb = a[G_MESSAGES] + m * M_STRIDE
    sb = a[G_SERVICES] + a[mb + M_LANE] * S_STRIDE
    r = a[mb + M_FIRST]
    if a[G_LOST] != NONE and a[a[G_LOST] + r] != 0:
        return False
    if 0 < a[sb + S_CAPACITY] <= a[sb + S_N] and a[mb + M_BYTES] == 0:
        a[sb + S_DROPPED] += 1
        a[a[G_LOST] + r] = op.DROPPED
        return False
    a[mb + M_AT] = a[G_NOW]
    if a[sb + S_VISITS] != NONE:
        a[a[sb + S_VISITS] + CAME * a[G_COLUMN] + r] = a[G_NOW]
    if a[sb + S_EARLIEST] == 1:
        insert(a, sb, m)
    else:
        append_list(a, sb + S_HEAD, sb + S_TAIL, m)
    a[sb + S_N] += 1
    n = a[sb + S_N]
    if n == 1 or n >= a[sb + S_BATCH] or a[sb + S_DELAY] == 0:
        signal_lowest(a, a[sb + S_FIRST], a[sb + S_THREADS])
    return True


@compiled
def insert(a: Arena, sb: int, m: int) -> None:
    """Puts a request into a queue in the order of creation, behind its like."""
    created = a[G_STAMPS]
    messages = a[G_MESSAGES]
    mb = messages + m * M_STRIDE
    mine = a[created + a[mb + M_FIRST]]
    if a[sb + S_HEAD] == NONE or a[created + a[messages + a[sb + S_TAIL] * M_STRIDE + M_FIRST]] <= mine:
        a[mb + M_PREVIOUS] = a[sb + S_TAIL]
        append_list(a, sb + S_HEAD, sb + S_TAIL, m)
        return
    at = a[sb + S_TAIL]
    after = NONE
    while a[created + a[messages + at * M_STRIDE + M_FIRST]] > mine:
        after = at
        if at == a[sb + S_HEAD]:
            break
        at = a[messages + at * M_STRIDE + M_PREVIOUS]
    a[mb + M_NEXT] = after
    a[messages + after * M_STRIDE + M_PREVIOUS] = m
    if after == a[sb + S_HEAD]:
        a[sb + S_HEAD] = m
    else:
        a[mb + M_PREVIOUS] = at
        a[messages + at * M_STRIDE + M_NEXT] = m


# ---------------------------------------------------------------- being taken


@compiled
def let_go(a: Arena, sb: int) -> None:
    """Expired requests at the head of a queue end."""
    expiry = a[sb + S_EXPIRY]
    if expiry == 0:
        return
    while a[sb + S_N] > 0:
        m = a[sb + S_HEAD]
        mb = a[G_MESSAGES] + m * M_STRIDE
        r = a[mb + M_FIRST]
        if a[mb + M_BYTES] == 1 or a[a[G_STAMPS] + r] + expiry > a[G_NOW]:
            return
        take_list(a, sb + S_HEAD)
        a[sb + S_N] -= 1
        a[sb + S_LATE] += 1
        if a[a[G_LOST] + r] == 0:
            a[a[G_LOST] + r] = op.LATE
        end(a, NONE, m)


@compiled
def take(a: Arena, t: int, s: int) -> bool:
    """TAKE: True if requests are at hand; else the thread is blocked."""
    tb = a[G_THREADS] + t * T_STRIDE
    sb = a[G_SERVICES] + s * S_STRIDE
    let_go(a, sb)
    n = a[sb + S_N]
    if n == 0:
        block(a, t, NONE)
        return False
    came = a[a[G_MESSAGES] + a[sb + S_HEAD] * M_STRIDE + M_AT]
    if a[sb + S_BATCHING] != NONE:
        a[sb + S_BATCH] = limit(a, a[sb + S_BATCHING], came + a[a[sb + S_BATCHING] + V_SLO] - a[G_NOW])
    due = came + a[sb + S_DELAY]
    if n < a[sb + S_BATCH] and a[G_NOW] < due:
        block(a, t, due)
        return False
    most = a[sb + S_BATCH]
    n = 0
    while n < most and a[sb + S_N] > 0:
        m = take_list(a, sb + S_HEAD)
        append_list(a, tb + T_TAKEN, tb + T_TAKEN_TAIL, m)
        mb = a[G_MESSAGES] + m * M_STRIDE
        a[sb + S_N] -= 1
        a[sb + S_WAITED] += a[G_NOW] - a[mb + M_AT]
        if a[sb + S_VISITS] != NONE:
            a[a[sb + S_VISITS] + BEGUN * a[G_COLUMN] + a[mb + M_FIRST]] = a[G_NOW]
        n += 1
        let_go(a, sb)
    a[tb + T_N] = n
    a[tb + T_TAKEN_AT] = a[G_NOW]
    a[tb + T_TASKS] += 1
    a[sb + S_TAKES] += 1
    a[sb + S_TAKEN] += n
    return True


@compiled
def stamp_taken(a: Arena, t: int, column: int) -> None:
    """Stamps every record taken; of score_begin the first stamp stays, with who set it."""
    tb = a[G_THREADS] + t * T_STRIDE
    stamps = a[G_STAMPS] + column * a[G_COLUMN]
    m = a[tb + T_TAKEN]
    while m != NONE:
        r = a[a[G_MESSAGES] + m * M_STRIDE + M_FIRST]
        if column != op.SCORE_BEGIN:
            a[stamps + r] = a[G_NOW]
        elif a[stamps + r] == NONE:
            a[stamps + r] = a[G_NOW]
            a[a[G_WORKER] + r] = a[tb + T_INDEX]
            a[a[G_BATCH] + r] = a[tb + T_TASKS] - 1
        m = a[a[G_MESSAGES] + m * M_STRIDE + M_NEXT]


# ---------------------------------------------------------------- going on


@compiled
def learn(a: Arena, tb: int) -> None:
    """The batching policy of a service is told of the batch that a thread is done with."""
    service = a[a[G_MESSAGES] + a[tb + T_TAKEN] * M_STRIDE + M_LANE]
    b = a[a[G_SERVICES] + service * S_STRIDE + S_BATCHING]
    if b != NONE:
        observe(a, b, a[tb + T_N], a[G_NOW] - a[tb + T_TAKEN_AT])


@compiled
def reply(a: Arena, t: int) -> None:
    """REPLY: an answer leaves for each caller."""
    tb = a[G_THREADS] + t * T_STRIDE
    learn(a, tb)
    while a[tb + T_TAKEN] != NONE:
        m = take_list(a, tb + T_TAKEN)
        send_answer(a, t, m)
        mb = a[G_MESSAGES] + m * M_STRIDE
        sb = a[G_SERVICES] + a[mb + M_LANE] * S_STRIDE
        if a[sb + S_CACHE] != NONE and a[mb + M_BYTES] == 1:
            keep(a, t, sb, a[a[sb + S_KEYS] + a[mb + M_FIRST]])


@compiled
def keep(a: Arena, t: int, sb: int, key: int) -> None:
    """The cache gets an answer, and so does who waited for it."""
    answer(a, a[sb + S_CACHE], key, a[sb + S_ANSWER])
    waiters = a[sb + S_WAITERS] + 2 * key
    while a[waiters] != NONE:
        send_answer(a, t, take_list(a, waiters))


@compiled
def send_answer(a: Arena, t: int, m: int) -> None:
    """A request becomes its own answer, and leaves for its caller."""
    mb = a[G_MESSAGES] + m * M_STRIDE
    c = a[mb + M_CONNECTION]
    cb = a[G_THREADS] + c * T_STRIDE
    a[mb + M_AT] = arrival(a, t, cb + T_LAST_DOWN)
    append_list(a, cb + T_MAILBOX, cb + T_MAILBOX_TAIL, m)
    signal_at(a, c, a[mb + M_AT] << KEY_BITS)


@compiled
def route(a: Arena, t: int) -> None:
    """ROUTE: every request taken goes on, or ends."""
    tb = a[G_THREADS] + t * T_STRIDE
    learn(a, tb)
    while a[tb + T_TAKEN] != NONE:
        m = take_list(a, tb + T_TAKEN)
        mb = a[G_MESSAGES] + m * M_STRIDE
        r = a[mb + M_FIRST]
        s = a[mb + M_LANE]
        sb = a[G_SERVICES] + s * S_STRIDE
        if a[sb + S_VISITS] != NONE:
            a[a[sb + S_VISITS] + LEFT * a[G_COLUMN] + r] = a[G_NOW]
        d = edge(a, sb, s, r + (a[mb + M_RECORDS] << 32))
        if d == NONE:
            end(a, t, m)
            continue
        a[mb + M_RECORDS] += 1
        parts = a[d + D_N]
        if parts > 1:
            f = new_message(a, op.REQUEST, NONE)
            fb = a[G_MESSAGES] + f * M_STRIDE
            a[fb + M_LANE] = NONE
            a[fb + M_RECORDS] = parts
            a[fb + M_BATCHES] = a[mb + M_BATCHES]
            a[mb + M_BATCHES] = f
        for i in range(parts):
            part = m
            if i > 0:
                part = new_message(a, op.REQUEST, a[mb + M_CONNECTION])
                pb = a[G_MESSAGES] + part * M_STRIDE
                for x in (M_FIRST, M_RECORDS, M_BATCHES, M_BYTES):
                    a[pb + x] = a[mb + x]
            a[a[G_MESSAGES] + part * M_STRIDE + M_LANE] = a[a[d + D_FIRST] + i]
            push(a, arrival(a, t, tb + T_LAST_UP), EV_DELIVER, t, part)


@compiled
def edge(a: Arena, sb: int, s: int, entity: int) -> int:
    """The edge a request takes from a service; NONE if it ends there."""
    if a[sb + S_EDGES_N] == 0:
        return NONE
    u = draw(a[G_SEED], s, entity, PURPOSE_ROUTE, 0)
    for k in range(a[sb + S_EDGES_N]):
        d: int = a[sb + S_EDGES] + k * D_STRIDE
        if u < a[d + D_BELOW]:
            return d
    return NONE


@compiled
def end(a: Arena, t: int, m: int) -> None:
    """A request ends: of a fork, or for good."""
    if a[a[G_MESSAGES] + m * M_STRIDE + M_BATCHES] == NONE:
        end_record(a, t, m)
    else:
        come_to_fork_end(a, t, m)


@compiled
def come_to_fork_end(a: Arena, t: int, m: int) -> None:
    """One of a fork's parts comes to its end; the last goes on as what was forked."""
    mb = a[G_MESSAGES] + m * M_STRIDE
    while a[mb + M_BATCHES] != NONE:
        f = a[mb + M_BATCHES]
        fb = a[G_MESSAGES] + f * M_STRIDE
        a[fb + M_RECORDS] -= 1
        if a[fb + M_RECORDS] > 0:
            free_message(a, m)
            return
        joins = a[fb + M_LANE]
        a[mb + M_BATCHES] = a[fb + M_BATCHES]
        free_message(a, f)
        if joins != NONE:
            a[mb + M_LANE] = joins
            if come(a, m):
                return
    end_record(a, t, m)


@compiled
def end_record(a: Arena, t: int, m: int) -> None:
    """The last of a record's requests ends."""
    mb = a[G_MESSAGES] + m * M_STRIDE
    r = a[mb + M_FIRST]
    if a[mb + M_BYTES] == 1:
        send_answer(a, t, m)
        return
    if a[G_LOST] == NONE or a[a[G_LOST] + r] == 0:
        answered(a, r)
    else:
        a[G_ACKED_N] += 1
    free_message(a, m)
