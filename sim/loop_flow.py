"""The compiled loop's exchanges and micro-batches: what the other engine families are made of."""

from __future__ import annotations

from sim import operations as op
from sim.arena import *  # the named offsets are this module's vocabulary
from sim.jit import compiled
from sim.loop_agenda import push
from sim.loop_events import block, signal
from sim.loop_kafka import append_list, deliver_batch, free_message, new_message, take_list

# ---------------------------------------------------------------- exchanges


@compiled
def put(a: Arena, t: int, x: int) -> bool:
    """PUT: True if the record at hand is on its way to a reader; else the thread is blocked for want of room."""
    tb = a[G_THREADS] + t * T_STRIDE
    xb = a[G_EXCHANGES] + x * X_STRIDE
    ib = a[xb + X_INBOXES] + a[tb + T_TURN] * I_STRIDE
    if 0 < a[xb + X_CAPACITY] <= a[ib + I_HELD]:
        if a[tb + T_IN_LINE] == 0:
            a[tb + T_IN_LINE] = 1
            a[tb + T_LINE_NEXT] = NONE
            if a[ib + I_LINE] == NONE:
                a[ib + I_LINE] = t
            else:
                a[a[G_THREADS] + a[ib + I_LINE_TAIL] * T_STRIDE + T_LINE_NEXT] = t
            a[ib + I_LINE_TAIL] = t
        block(a, t, NONE)
        return False
    if a[tb + T_IN_LINE] == 1:
        leave_line(a, t, ib)
    bb = a[xb + X_BUFFERS] + (a[tb + T_PLACE] * a[xb + X_READERS] + a[tb + T_TURN]) * B_STRIDE
    r = a[tb + T_RECORD]
    if a[bb + B_N] == 0:
        a[bb + B_HEAD] = r
    else:
        a[a[G_LINK] + a[bb + B_TAIL]] = r
    a[bb + B_TAIL] = r
    a[bb + B_N] += 1
    a[ib + I_HELD] += 1
    turn = a[tb + T_TURN] + 1
    a[tb + T_TURN] = turn if turn < a[xb + X_READERS] else 0
    every = a[xb + X_FLUSH]
    if every == 0 or a[bb + B_N] >= a[xb + X_BUFFER]:
        pass_on(a, bb, ib)
    elif a[tb + T_FLUSHES] == 0:
        a[tb + T_FLUSHES] = 1
        phase = a[tb + T_PHASE]
        push(a, phase + ((a[G_NOW] - phase) // every + 1) * every, EV_TIMER, t, FLUSH_TIMER)
    return True


@compiled
def leave_line(a: Arena, t: int, ib: int) -> None:
    """A writer that was woken by something else, and found room, is in the inbox's line no more."""
    a[a[G_THREADS] + t * T_STRIDE + T_IN_LINE] = 0
    following = a[a[G_THREADS] + t * T_STRIDE + T_LINE_NEXT]
    before = NONE
    at = a[ib + I_LINE]
    while at != t:
        before = at
        at = a[a[G_THREADS] + at * T_STRIDE + T_LINE_NEXT]
    if before == NONE:
        a[ib + I_LINE] = following
    else:
        a[a[G_THREADS] + before * T_STRIDE + T_LINE_NEXT] = following
    if following == NONE:
        a[ib + I_LINE_TAIL] = before


@compiled
def pass_on(a: Arena, bb: int, ib: int) -> None:
    """All records of a buffer join the inbox."""
    n = a[bb + B_N]
    if n == 0:
        return
    if a[ib + I_N] == 0:
        a[ib + I_HEAD] = a[bb + B_HEAD]
    else:
        a[a[G_LINK] + a[ib + I_TAIL]] = a[bb + B_HEAD]
    a[ib + I_TAIL] = a[bb + B_TAIL]
    a[ib + I_N] += n
    a[bb + B_N] = 0
    signal(a, a[ib + I_THREAD])


@compiled
def flush_buffers(a: Arena, t: int) -> None:
    """The flush TIMER of a writer: all its buffers are passed on, in the order of readers."""
    tb = a[G_THREADS] + t * T_STRIDE
    a[tb + T_FLUSHES] = 0
    xb = a[G_EXCHANGES] + a[tb + T_WRITES] * X_STRIDE
    readers = a[xb + X_READERS]
    for k in range(readers):
        pass_on(
            a,
            a[xb + X_BUFFERS] + (a[tb + T_PLACE] * readers + k) * B_STRIDE,
            a[xb + X_INBOXES] + k * I_STRIDE,
        )


@compiled
def get(a: Arena, t: int, mine: bool) -> bool:
    """GET: True if a record is at hand, as its worker if it is `mine`; else the thread is blocked."""
    tb = a[G_THREADS] + t * T_STRIDE
    ib = a[tb + T_INBOX]
    if a[ib + I_N] == 0:
        block(a, t, NONE)
        return False
    r = a[ib + I_HEAD]
    a[tb + T_RECORD] = r
    if mine:
        a[a[G_WORKER] + r] = a[tb + T_INDEX]
    a[ib + I_HEAD] = a[a[G_LINK] + r]
    a[ib + I_N] -= 1
    a[ib + I_HELD] -= 1
    if a[ib + I_LINE] != NONE:
        writer = a[ib + I_LINE]
        wb = a[G_THREADS] + writer * T_STRIDE
        a[ib + I_LINE] = a[wb + T_LINE_NEXT]
        a[wb + T_IN_LINE] = 0
        signal(a, writer)
    return True


# ---------------------------------------------------------------- whom to tell


@compiled
def signal_lowest(a: Arena, threads: int, n: int) -> None:
    """Signals the first of n threads in the list at `threads` that is blocked and not signalled yet."""
    for k in range(n):
        t = a[threads + k]
        if (a[a[G_BLOCKED] + (t >> WORD_BITS)] >> (t & ((1 << WORD_BITS) - 1))) & 1 == 1:
            signal(a, t)
            return


# ---------------------------------------------------------------- micro-batches


@compiled
def trigger(a: Arena, t: int) -> bool:
    """TRIGGER: True if a batch starts now; else the thread is blocked."""
    waiting = False
    for q in range(a[G_PARTITIONS]):  # the logs of the input topic are the first
        lg = a[G_LOGS] + q * LG_STRIDE
        waiting = waiting or a[lg + LG_N] > a[lg + LG_POLLED]
    if not waiting:
        block(a, t, a[G_NOW] + a[G_MB_POLL])
        return False
    if a[G_MB_STARTED] != NONE and a[G_NOW] < a[G_MB_STARTED] + a[G_MB_INTERVAL]:
        block(a, t, a[G_MB_STARTED] + a[G_MB_INTERVAL])
        return False
    a[G_MB_STARTED] = a[G_NOW]
    return True


@compiled
def plan(a: Arena) -> None:
    """PLAN: a task for each partition that has new records."""
    partitions = a[G_PARTITIONS]
    most = a[G_MB_MAX]
    room = most if most > 0 else FAR
    q = a[G_MB_TURN]
    a[G_MB_TURN] = 0
    a[G_MB_PLANS] += 1
    for _ in range(partitions):
        lg = a[G_LOGS] + q * LG_STRIDE
        n = min(room, a[lg + LG_N] - a[lg + LG_POLLED])
        q = q + 1 if q + 1 < partitions else 0
        if n == 0:
            continue
        m = new_message(a, op.REQUEST, NONE)
        mb = a[G_MESSAGES] + m * M_STRIDE
        a[mb + M_LANE] = lg
        a[mb + M_FIRST] = a[lg + LG_POLLED]
        a[mb + M_RECORDS] = n
        append_list(a, G_TASKS, G_TASKS_TAIL, m)
        a[lg + LG_POLLED] += n
        a[G_MB_LEFT] += 1
        signal_lowest(a, a[G_EXECUTORS], a[G_EXECUTORS_N])
        room -= n
        if room == 0:
            a[G_MB_TURN] = q
            break


@compiled
def task(a: Arena, t: int) -> bool:
    """TASK: True if a task is at hand; else the thread is blocked."""
    tb = a[G_THREADS] + t * T_STRIDE
    if a[G_TASKS] == NONE:
        block(a, t, NONE)
        return False
    m = take_list(a, G_TASKS)
    mb = a[G_MESSAGES] + m * M_STRIDE
    a[tb + T_LOG] = a[mb + M_LANE]
    a[tb + T_AT] = a[mb + M_FIRST]
    a[tb + T_N] = a[mb + M_RECORDS]
    a[tb + T_TASK_RECORDS] = a[mb + M_RECORDS]
    a[tb + T_TASKS] += 1
    free_message(a, m)
    return True


@compiled
def stamp_task(a: Arena, t: int, column: int) -> None:
    """Stamps every record of the task, and who took it."""
    tb = a[G_THREADS] + t * T_STRIDE
    stamps = a[G_STAMPS] + column * a[G_COLUMN]
    first = a[a[tb + T_LOG] + LG_BASE] + a[tb + T_AT]
    for i in range(a[tb + T_N]):
        r = a[first + i]
        a[stamps + r] = a[G_NOW]
        a[a[G_WORKER] + r] = a[tb + T_INDEX]
        a[a[G_BATCH] + r] = a[G_MB_PLANS] - 1


@compiled
def next_of_task(a: Arena, t: int) -> bool:
    """NEXT_TASK: the next record of the task is at hand, or False."""
    tb = a[G_THREADS] + t * T_STRIDE
    if a[tb + T_N] == 0:
        return False
    a[tb + T_N] -= 1
    a[tb + T_RECORD] = a[a[a[tb + T_LOG] + LG_BASE] + a[tb + T_AT]]
    a[tb + T_AT] += 1
    return True


@compiled
def task_done(a: Arena) -> None:
    """TASK_DONE: the last task of the batch signals the driver."""
    a[G_MB_LEFT] -= 1
    if a[G_MB_LEFT] == 0:
        signal(a, a[G_MB_DRIVER])


# ---------------------------------------------------------------- ends


@compiled
def flush(a: Arena, t: int) -> bool:
    """FLUSH: True if no record of the thread is outstanding; else it is blocked."""
    tb = a[G_THREADS] + t * T_STRIDE
    while a[tb + T_DELIVERIES] != NONE:
        deliver_batch(a, tb, take_list(a, tb + T_DELIVERIES), a[G_NOW])
    if a[tb + T_OUTSTANDING] > 0:
        block(a, t, NONE)
        return False
    return True


@compiled
def answered(a: Arena, r: int) -> None:
    """A record is answered now, where no broker is."""
    for column in (op.PRODUCED, op.ACKED, op.OUT_APPENDED):
        a[a[G_STAMPS] + column * a[G_COLUMN] + r] = a[G_NOW]
    a[G_ACKED_N] += 1


@compiled
def done(a: Arena, t: int) -> None:
    """DONE: the record at hand is answered."""
    answered(a, a[a[G_THREADS] + t * T_STRIDE + T_RECORD])
