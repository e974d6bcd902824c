"""The compiled loop's models that change, what is kept of them, and workers that are killed and start again."""

from __future__ import annotations

from sim import operations as op
from sim.arena import *  # the named offsets are this module's vocabulary
from sim.jit import compiled
from sim.loop_events import block, signal
from sim.loop_kafka import at_operation, free_message, own, take_list, wake_restart


@compiled
def delivery(a: Arena, d: int) -> int:
    """Where delivery d stands."""
    place: int = a[a[G_MODELS] + MO_DELIVERIES] + d * Y_STRIDE
    return place


@compiled
def receiver(a: Arena, k: int) -> int:
    """Where receiver k stands."""
    place: int = a[a[G_MODELS] + MO_RECEIVERS] + k * RV_STRIDE
    return place


@compiled
def place_in_store(a: Arena, s: int, kind: int) -> int:
    """Where store s has what it holds for a type."""
    place: int = a[a[a[G_MODELS] + MO_STORES] + s * ST_STRIDE + ST_TABLE] + kind * MODEL_PLACES
    return place


# ---------------------------------------------------------------- models


@compiled
def model_arrive(a: Arena, t: int) -> bool:
    """MODEL_ARRIVE: True if the receiver's next delivery is at hand; else the thread is blocked."""
    w = own(a, t)
    rv = receiver(a, a[w + W_RECEIVER])
    app = a[rv + RV_APPLICATION]
    if a[own(a, app) + W_DOWN] == 1:
        block(a, t, NONE)
        wake_restart(a, app)
        return False
    if a[rv + RV_CURSOR] == a[rv + RV_N]:
        block(a, t, NONE)
        return False
    d = a[rv + RV_FIRST] + a[rv + RV_CURSOR]
    y = delivery(a, d)
    if a[y + Y_AT] > a[G_NOW]:
        block(a, t, a[y + Y_AT])
        return False
    a[rv + RV_CURSOR] += 1
    a[rv + RV_RECEIVED] += 1
    a[w + W_MODEL] = d
    a[y + Y_CAME] = a[G_NOW]
    return True


@compiled
def model_hand(a: Arena, t: int) -> None:
    """MODEL_HAND: the model at hand joins the inbox of the thread that loads it."""
    w = own(a, t)
    rv = receiver(a, a[w + W_RECEIVER])
    if a[own(a, a[rv + RV_APPLICATION]) + W_DOWN] == 1:
        return
    to_inbox(a, a[rv + RV_LOADER], a[w + W_MODEL])
    if a[rv + RV_LOADER] != t and at_operation(a, a[rv + RV_LOADER]) == op.POLL:
        signal(a, a[rv + RV_LOADER])


@compiled
def to_inbox(a: Arena, t: int, d: int) -> None:
    """A delivery joins the inbox of thread t."""
    w = own(a, t)
    a[delivery(a, d) + Y_NEXT] = NONE
    if a[w + W_INBOX] == NONE:
        a[w + W_INBOX] = d
    else:
        a[delivery(a, a[w + W_INBOX_TAIL]) + Y_NEXT] = d
    a[w + W_INBOX_TAIL] = d


@compiled
def model_next(a: Arena, t: int) -> bool:
    """MODEL_NEXT: whether a model has come; then it is at hand."""
    w = own(a, t)
    d = a[w + W_INBOX]
    if d == NONE:
        return False
    y = delivery(a, d)
    a[w + W_INBOX] = a[y + Y_NEXT]
    a[w + W_MODEL] = d
    a[y + Y_BEGUN] = a[G_NOW]
    return True


@compiled
def model_loaded(a: Arena, t: int) -> None:
    """MODEL_LOADED: the model at hand waits to serve its type, if it could be loaded."""
    d = a[own(a, t) + W_MODEL]
    y = delivery(a, d)
    rv = receiver(a, a[y + Y_RECEIVER])
    if a[own(a, a[rv + RV_APPLICATION]) + W_DOWN] == 1:
        return
    a[y + Y_DONE] = a[G_NOW]
    i = d - a[rv + RV_FIRST]
    again = i < a[rv + RV_HANDLED]
    a[rv + RV_HANDLED] = max(a[rv + RV_HANDLED], i + 1)
    if a[y + Y_FAILS] == 1:
        a[rv + RV_FAILED] += 1
        return
    a[rv + (RV_RESTORED if again else RV_LOADED)] += 1
    place = place_in_store(a, a[rv + RV_STORE], a[y + Y_TYPE])
    if a[place + WAITING] != NONE:
        a[a[a[G_MODELS] + MO_STORES] + a[rv + RV_STORE] * ST_STRIDE + ST_SUPERSEDED] += 1
    a[place + WAITING] = d


@compiled
def pick(a: Arena, t: int) -> bool:
    """PICK: whether a model scores the record at hand; else the record is answered by nobody."""
    m = a[G_MODELS]
    r = a[a[G_THREADS] + t * T_STRIDE + T_RECORD]
    kind = a[a[m + MO_TYPE] + r]
    s = a[a[m + MO_STORE_OF] + a[a[G_PARTITION] + r]]
    why = op.BAD
    if kind != NONE:
        why = op.NO_MODEL
        if s != NONE:
            place = place_in_store(a, s, kind)
            d = a[place + WAITING]
            if d != NONE:
                a[place + CURRENT] = d
                a[place + WAITING] = NONE
                a[a[m + MO_STORES] + s * ST_STRIDE + ST_SWAPS] += 1
                a[delivery(a, d) + Y_SWAPPED] = a[G_NOW]
                a[own(a, t) + W_SWAPPED] = 1
            if a[place + CURRENT] != NONE:
                a[a[m + MO_SCORED] + r] = a[place + CURRENT]
                return True
    a[a[G_LOST] + r] = why
    a[G_ACKED_N] += 1
    return False


# ---------------------------------------------------------------- what is kept


@compiled
def keep(a: Arena, t: int, what: int) -> bool:
    """KEEP: whether there is something to keep; then its bytes are at hand."""
    m = a[G_MODELS]
    w = own(a, t)
    size = 0
    if what == op.OF_ALL:
        if a[G_NOW] < a[w + W_KEEP_DUE]:
            return False
        a[w + W_KEEP_DUE] = a[G_NOW] + a[m + MO_KEEP_EVERY]
        for s in range(a[m + MO_STORES_N]):
            if a[a[m + MO_STORES] + s * ST_STRIDE + ST_OWNER] == t:
                size += keep_all(a, s)
    else:
        if what == op.OF_RECORD:
            d = a[a[m + MO_SCORED] + a[a[G_THREADS] + t * T_STRIDE + T_RECORD]]
        else:
            d = a[w + W_MODEL]
        y = delivery(a, d)
        rv = receiver(a, a[y + Y_RECEIVER])
        place = place_in_store(a, a[rv + RV_STORE], a[y + Y_TYPE])
        there = what == op.OF_MODEL and a[place + KEPT] == d
        if a[y + Y_FAILS] == 0 and not there and a[own(a, a[rv + RV_APPLICATION]) + W_DOWN] == 0:
            size = a[y + Y_SIZE]
            a[place + KEPT] = d
            written(a, a[rv + RV_STORE], size)
    if size == 0:
        return False
    a[w + W_KEPT] = size
    a[w + W_KEEPS] += 1
    return True


@compiled
def keep_all(a: Arena, s: int) -> int:
    """All that store s holds is kept; its bytes."""
    size = 0
    for kind in range(a[a[G_MODELS] + MO_TYPES]):
        place = place_in_store(a, s, kind)
        for which in (CURRENT, WAITING):
            d = a[place + which]
            if d != NONE:
                size += a[delivery(a, d) + Y_SIZE]
                a[place + KEPT] = d
    if size > 0:
        written(a, s, size)
    return size


@compiled
def written(a: Arena, s: int, size: int) -> None:
    """So many bytes of store s were kept, and how far its receivers are."""
    st = a[a[G_MODELS] + MO_STORES] + s * ST_STRIDE
    a[st + ST_BYTES] += size
    a[st + ST_KEEPS] += 1
    for k in range(a[a[G_MODELS] + MO_RECEIVERS_N]):
        rv = receiver(a, k)
        if a[rv + RV_STORE] == s:
            a[rv + RV_KEPT] = a[rv + RV_HANDLED]


# ---------------------------------------------------------------- faults


@compiled
def strike(a: Arena, t: int, after: int) -> None:
    """STRIKE: thread t is to die, and to start again so long after."""
    w = own(a, t)
    if a[w + W_DOWN] == 1 or a[w + W_STRUCK] == 1:
        return
    a[w + W_STRUCK] = 1
    a[w + W_UP_AT] = a[G_NOW] + after if after >= 0 else NONE
    if at_operation(a, t) == op.POLL:
        signal(a, t)


@compiled
def crash(a: Arena, t: int) -> None:
    """CRASH: what the process of thread t held is gone."""
    b = a[G_THREADS] + t * T_STRIDE
    w = own(a, t)
    m = a[G_MODELS]
    if a[b + T_N] == 0 and a[b + T_OUTSTANDING] == 0 and a[G_NOW] >= a[w + W_COMMIT_DUE]:
        offsets(a, t)  # it was idle, and would have committed
    a[w + W_STRUCK] = 0
    a[w + W_DOWN] = 1
    a[w + W_INBOX] = NONE
    a[w + W_SWAPPED] = 0
    a[b + T_N] = 0
    a[b + T_OUTSTANDING] = 0
    while a[b + T_DELIVERIES] != NONE:
        free_message(a, take_list(a, b + T_DELIVERIES))
    pr = a[G_PRODUCERS] + a[b + T_PRODUCER] * P_STRIDE
    for i in range(a[pr + P_PARTITIONS]):
        lane = a[pr + P_LANES] + i
        a[a[G_LANES] + lane * L_STRIDE + L_N] = 0
        a[a[G_FIRSTS] + lane] = FAR
        a[a[G_FULLS] + lane] = FAR
    a[pr + P_FULL] = 0
    a[pr + P_OLDEST] = a[pr + P_NEWEST] = NONE
    for s in range(a[m + MO_STORES_N]):
        if a[a[m + MO_STORES] + s * ST_STRIDE + ST_OWNER] == t:
            for kind in range(a[m + MO_TYPES]):
                place = place_in_store(a, s, kind)
                a[place + CURRENT] = NONE
                a[place + WAITING] = NONE


@compiled
def is_idle(a: Arena, t: int, code: int) -> bool:
    """Whether thread t is blocked at this operation, and nobody wakes it."""
    b = a[G_THREADS] + t * T_STRIDE
    idle: bool = a[b + T_STATE] == BLOCKED and a[b + T_SIGNALLED] == FAR and at_operation(a, t) == code
    return idle


@compiled
def restart(a: Arena, t: int) -> bool:
    """RESTART: True if thread t starts again now; else it is blocked."""
    b = a[G_THREADS] + t * T_STRIDE
    w = own(a, t)
    m = a[G_MODELS]
    if a[w + W_UP_AT] == NONE:
        block(a, t, NONE)
        return False
    if a[G_NOW] < a[w + W_UP_AT]:
        block(a, t, a[w + W_UP_AT])
        return False
    c = a[G_CONSUMERS] + a[b + T_CONSUMER] * C_STRIDE
    waits = a[a[G_PRODUCERS] + a[b + T_PRODUCER] * P_STRIDE + P_FLIGHT] > 0
    waits = waits or not is_idle(a, a[c + C_CLIENT], op.FETCH_SEND)
    for k in range(a[m + MO_RECEIVERS_N]):
        rv = receiver(a, k)
        if a[rv + RV_APPLICATION] == t:
            waits = waits or not is_idle(a, a[rv + RV_CLIENT], op.MODEL_ARRIVE)
    if waits:
        block(a, t, NONE)
        return False
    a[w + W_DOWN] = 0
    a[b + T_TIMED] = 0
    a[w + W_COMMIT_DUE] = a[G_NOW] + a[m + MO_COMMIT_EVERY]
    a[w + W_KEEP_DUE] = a[G_NOW] + a[m + MO_KEEP_EVERY]
    a[c + C_READY] = 0
    a[c + C_QUEUED] = 0
    a[c + C_TURN] = 0
    for q in range(a[c + C_FIRST], a[c + C_FIRST] + a[c + C_PARTITIONS]):
        go_back(a, q)
    restore(a, t)
    signal(a, a[c + C_CLIENT])
    for k in range(a[m + MO_RECEIVERS_N]):
        rv = receiver(a, k)
        if a[rv + RV_APPLICATION] == t:
            signal(a, a[rv + RV_CLIENT])
    return True


@compiled
def go_back(a: Arena, q: int) -> None:
    """Partition q of the input topic is read again from what was committed."""
    lg = a[G_LOGS] + q * LG_STRIDE
    at = a[a[a[G_MODELS] + MO_COMMITTED] + q]
    ends = a[lg + LG_BASE] + a[lg + LG_ENDS]
    batch = 0
    while batch < a[lg + LG_N] and a[ends + batch] <= at:
        batch = a[ends + batch]
    if batch < at:  # what is left of a batch is one of its own
        a[ends + at] = a[ends + batch]
    for i in range(at, a[lg + LG_CURSOR]):
        forget(a, a[a[lg + LG_BASE] + i])
    for place in (LG_FETCHED, LG_VISIBLE, LG_POLLED, LG_CURSOR):
        a[lg + place] = at


@compiled
def forget(a: Arena, r: int) -> None:
    """Record r is read again: an answer is kept, unless it comes exactly once, and the record is under way again."""
    m = a[G_MODELS]
    n = a[G_COLUMN]
    stamps = a[G_STAMPS]
    if a[a[G_LOST] + r] != 0 or a[stamps + op.ACKED * n + r] >= 0:
        a[G_ACKED_N] -= 1
        a[a[G_LOST] + r] = 0
    if a[stamps + op.OUT_APPENDED * n + r] >= 0 and a[m + MO_EXACTLY] == 0:
        if a[a[m + MO_SHADOWED] + r] == 1:
            a[a[m + MO_DUPLICATES] + r] += 1
        else:
            a[a[m + MO_SHADOWED] + r] = 1
            shadow = a[m + MO_SHADOW]
            for k in range(op.STAMPS):
                a[shadow + k * n + r] = a[stamps + k * n + r]
            a[shadow + op.STAMPS * n + r] = a[a[G_WORKER] + r]
            a[shadow + (op.STAMPS + 1) * n + r] = a[a[G_BATCH] + r]
            a[shadow + (op.STAMPS + 2) * n + r] = a[a[m + MO_SCORED] + r]
    for k in range(op.FETCHED, op.STAMPS):
        a[stamps + k * n + r] = NONE
    a[a[G_WORKER] + r] = NONE
    a[a[G_BATCH] + r] = NONE
    a[a[m + MO_SCORED] + r] = NONE


@compiled
def restore(a: Arena, t: int) -> None:
    """Where the models of a thread that starts again come from."""
    m = a[G_MODELS]
    policy = a[m + MO_RESTORE]
    for k in range(a[m + MO_RECEIVERS_N]):
        rv = receiver(a, k)
        if a[rv + RV_APPLICATION] != t:
            continue
        at = a[rv + RV_KEPT] if policy == RESTORE_SNAPSHOT else 0
        if policy == RESTORE_LATEST:
            while at < a[rv + RV_N] and a[delivery(a, a[rv + RV_FIRST] + at) + Y_AT] <= a[G_NOW]:
                at += 1
        a[rv + RV_CURSOR] = at
        a[rv + RV_HANDLED] = at
    if policy != RESTORE_SNAPSHOT:
        return
    for s in range(a[m + MO_STORES_N]):
        if a[a[m + MO_STORES] + s * ST_STRIDE + ST_OWNER] == t:
            for kind in range(a[m + MO_TYPES]):
                d = a[place_in_store(a, s, kind) + KEPT]
                if d != NONE:
                    to_inbox(a, t, d)


@compiled
def offsets_due(a: Arena, t: int) -> bool:
    """OFFSETS_DUE: whether it is time to commit."""
    due: bool = a[G_NOW] >= a[own(a, t) + W_COMMIT_DUE]
    return due


@compiled
def offsets(a: Arena, t: int) -> None:
    """OFFSETS: all that the thread has done is committed."""
    m = a[G_MODELS]
    a[own(a, t) + W_COMMIT_DUE] = a[G_NOW] + a[m + MO_COMMIT_EVERY]
    c = a[G_CONSUMERS] + a[a[G_THREADS] + t * T_STRIDE + T_CONSUMER] * C_STRIDE
    for q in range(a[c + C_FIRST], a[c + C_FIRST] + a[c + C_PARTITIONS]):
        a[a[m + MO_COMMITTED] + q] = a[a[G_LOGS] + q * LG_STRIDE + LG_CURSOR]
