"""The compiled loop's Kafka: messages, the broker's request queue, logs and fetches, producing, polling."""

from __future__ import annotations

from sim import operations as op
from sim.arena import *  # the named offsets are this module's vocabulary
from sim.jit import compiled
from sim.loop_agenda import push
from sim.loop_events import block, drawn, key_now, lowest_that_awaits, signal, signal_at
from sim.system import OUTPUT


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
    at = a[G_NOW] + drawn(a, a[G_NETWORK], a[b + T_NETWORK_KEY], a[b + T_SENT])
    a[b + T_SENT] += 1
    at = max(at, a[place])
    a[place] = at
    arrives: int = at
    return arrives


@compiled
def to_request_queue(a: Arena, m: int) -> None:
    """A request enters the request queue; a blocked broker thread is signalled."""
    append_list(a, G_INBOX, G_INBOX_TAIL, m)
    t = lowest_that_awaits(a, a[G_BROKER0], a[G_BROKERS])
    if t != NONE:
        signal(a, t)


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


# ---------------------------------------------------------------- workers that are killed


@compiled
def own(a: Arena, t: int) -> int:
    """Where what thread t knows of models and faults stands."""
    place: int = a[a[G_MODELS] + MO_THREADS] + t * W_STRIDE
    return place


@compiled
def is_down(a: Arena, t: int) -> bool:
    """Whether the process of application thread t was killed and did not start again."""
    down: bool = a[G_MODELS] != NONE and a[own(a, t) + W_DOWN] == 1
    return down


@compiled
def at_operation(a: Arena, t: int) -> int:
    """The operation that thread t executes next."""
    b = a[G_THREADS] + t * T_STRIDE
    code: int = a[a[b + T_PROGRAM] + a[b + T_PC] * OP_STRIDE]
    return code


@compiled
def wake_restart(a: Arena, t: int) -> None:
    """Signals an application thread that waits to start again."""
    if at_operation(a, t) == op.RESTART:
        signal(a, t)


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
    target = a[lg + LG_BASE] + start
    stamps = a[G_STAMPS] + (op.OUT_APPENDED if topic == OUTPUT else op.APPENDED) * a[G_COLUMN]
    r = a[mb + M_FIRST]
    for i in range(n):
        a[target + i] = r
        a[stamps + r] = a[G_NOW]
        r = a[a[G_LINK] + r]
    a[target + a[lg + LG_ENDS]] = start + n
    a[lg + LG_N] = start + n
    if a[lg + LG_CONSUMER] == NONE:  # read in micro-batches
        return
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
    if a[c + C_TIMED] == 0:  # one timer a consumer is on the agenda; an old one moves on when it fires
        a[c + C_TIMED] = 1
        push(a, a[c + C_EXPIRES], EV_TIMER, owner, FETCH_TIMER)
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
        push(a, a[c + C_EXPIRES], EV_TIMER, owner, FETCH_TIMER)
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
    if is_down(a, a[c + C_APPLICATION]):
        block(a, t, NONE)
        wake_restart(a, a[c + C_APPLICATION])
        return False
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
    push(a, arrival(a, t, a[G_THREADS] + t * T_STRIDE + T_LAST_UP), EV_DELIVER, t, m)
    return True


@compiled
def deliver_fetch(a: Arena, t: int) -> None:
    """DELIVER: what the answer carried becomes visible to the application thread."""
    tb = a[G_THREADS] + t * T_STRIDE
    c = a[G_CONSUMERS] + a[tb + T_CONSUMER] * C_STRIDE
    if is_down(a, a[c + C_APPLICATION]):
        a[c + C_FETCHES] += 1
        free_message(a, a[tb + T_MESSAGE])
        return
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
    a[a[G_KEY] + r] = key
    if a[lb + L_N] == 0:
        a[lb + L_HEAD] = r
    else:
        a[a[G_LINK] + a[lb + L_TAIL]] = r
    a[lb + L_TAIL] = r
    a[lb + L_N] += 1
    a[tb + T_OUTSTANDING] += 1
    n = a[lb + L_N]
    limit = a[pr + P_LIMIT]
    if n == 1:
        a[a[G_FIRSTS] + lane] = key
        if a[pr + P_PARTITIONS] > LANES_FEW:
            link_lane(a, pr, lane, key)
    if n == limit:
        a[a[G_FULLS] + lane] = key
        a[pr + P_FULL] += 1
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
def link_lane(a: Arena, pr: int, lane: int, key: int) -> None:
    """A lane holds records, the first one with this key: it joins those of its producer in their order."""
    after = NONE
    before = a[pr + P_NEWEST]
    while before != NONE and a[a[G_FIRSTS] + before] > key:
        after = before
        before = a[a[G_LANES] + before * L_STRIDE + L_BEFORE]
    place_between(a, pr, lane, before, after)


@compiled
def comes_after(a: Arena, pr: int, before: int, lane: int) -> None:
    """The next of a lane's list after `before`; NONE stands for an end of the list."""
    a[pr + P_OLDEST if before == NONE else a[G_LANES] + before * L_STRIDE + L_AFTER] = lane


@compiled
def comes_before(a: Arena, pr: int, after: int, lane: int) -> None:
    """The one of a lane's list before `after`; NONE stands for an end of the list."""
    a[pr + P_NEWEST if after == NONE else a[G_LANES] + after * L_STRIDE + L_BEFORE] = lane


@compiled
def place_between(a: Arena, pr: int, lane: int, before: int, after: int) -> None:
    """Links a lane between two that follow one another."""
    comes_before(a, pr, lane, before)
    comes_after(a, pr, lane, after)
    comes_after(a, pr, before, lane)
    comes_before(a, pr, after, lane)


@compiled
def unlink_lane(a: Arena, pr: int, lane: int) -> None:
    """A lane leaves those of its producer that hold records."""
    before = a[a[G_LANES] + lane * L_STRIDE + L_BEFORE]
    after = a[a[G_LANES] + lane * L_STRIDE + L_AFTER]
    comes_after(a, pr, before, after)
    comes_before(a, pr, after, before)


@compiled
def ready_lane(a: Arena, pr: int, lingered: int, seen: int) -> int:
    """The first lane in rotation that is ready, by its place among the producer's, or NONE."""
    lanes = a[pr + P_PARTITIONS]
    turn = a[pr + P_TURN]
    firsts = a[G_FIRSTS] + a[pr + P_LANES]
    fulls = a[G_FULLS] + a[pr + P_LANES]
    if lanes > LANES_FEW and a[pr + P_FULL] == 0:
        lane = a[pr + P_OLDEST]
        nearest = lanes
        for _ in range(LANES_WALKED):
            if lane == NONE or a[a[G_FIRSTS] + lane] > lingered:
                if nearest == lanes:
                    return NONE
                at: int = turn + nearest
                return at if at < lanes else at - lanes
            away = lane - a[pr + P_LANES] - turn
            nearest = min(nearest, away if away >= 0 else away + lanes)
            lane = a[a[G_LANES] + lane * L_STRIDE + L_AFTER]
    for k in range(lanes):
        i: int = turn + k
        if i >= lanes:
            i -= lanes
        if a[firsts + i] <= lingered or a[fulls + i] <= seen:
            return i
    return NONE


@compiled
def take_batch(a: Arena, t: int, pr: int, i: int, seen: int) -> None:
    """The batch at the head of the producer's i-th lane becomes the message at hand."""
    lane = a[pr + P_LANES] + i
    lb = a[G_LANES] + lane * L_STRIDE
    most = min(a[lb + L_N], a[pr + P_MOST])
    head = a[lb + L_HEAD]
    n = 1
    r = a[a[G_LINK] + head]
    while n < most and a[a[G_KEY] + r] <= seen:
        n += 1
        r = a[a[G_LINK] + r]
    m = new_message(a, op.PRODUCE, t)
    mb = a[G_MESSAGES] + m * M_STRIDE
    a[mb + M_LANE] = lane
    a[mb + M_FIRST] = head
    a[mb + M_RECORDS] = n
    a[mb + M_BYTES] = n * a[pr + P_BYTES]
    a[mb + M_BATCHES] = 1
    a[a[G_THREADS] + t * T_STRIDE + T_MESSAGE] = m
    left = a[lb + L_N] - n
    a[lb + L_N] = left
    if a[a[G_FULLS] + lane] < FAR:
        a[a[G_FULLS] + lane] = FAR
        a[pr + P_FULL] -= 1
    many = a[pr + P_PARTITIONS] > LANES_FEW
    if many:
        unlink_lane(a, pr, lane)
    if left == 0:
        a[a[G_FIRSTS] + lane] = FAR
    else:
        a[lb + L_HEAD] = r
        a[a[G_FIRSTS] + lane] = a[a[G_KEY] + r]
        if many:
            link_lane(a, pr, lane, a[a[G_KEY] + r])
        if left >= a[pr + P_LIMIT]:
            for _ in range(a[pr + P_LIMIT] - 1):
                r = a[a[G_LINK] + r]
            a[a[G_FULLS] + lane] = a[a[G_KEY] + r]
            a[pr + P_FULL] += 1
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
        ready = ready_lane(a, pr, lingered, seen)
        if ready != NONE:
            take_batch(a, t, pr, ready, seen)
            return 1
    oldest = FAR  # the first record that lingers
    empty = FAR  # the first to come into an empty lane
    full = FAR  # the first to come that makes a lane ready
    scanned = lanes
    if lanes > LANES_FEW and a[pr + P_FULL] == 0:
        scanned = 0
        lane = a[pr + P_OLDEST]
        if lane != NONE and a[a[G_FIRSTS] + lane] <= seen:
            oldest = a[a[G_FIRSTS] + lane]
        lane = a[pr + P_NEWEST]
        while lane != NONE and a[a[G_FIRSTS] + lane] > seen:
            empty = a[a[G_FIRSTS] + lane]
            lane = a[a[G_LANES] + lane * L_STRIDE + L_BEFORE]
    for i in range(scanned):
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
    if is_down(a, app):
        free_message(a, m)
        wake_restart(a, app)
        return
    ab = a[G_THREADS] + app * T_STRIDE
    if a[ab + T_CALLED_BACK] == 1:
        deliver_batch(a, ab, m, a[G_NOW])
        wake_flush(a, app)
        return
    key = key_now(a)
    while a[ab + T_SERVES_AT] < a[ab + T_SERVES_N]:  # the application thread is ahead, and served already
        at = a[a[ab + T_SERVES] + a[ab + T_SERVES_AT]]
        if at > key:
            deliver_batch(a, ab, m, at >> KEY_BITS)
            return
        a[ab + T_SERVES_AT] += 1
    append_list(a, ab + T_DELIVERIES, ab + T_DELIVERIES_TAIL, m)
    wake_flush(a, app)


@compiled
def wake_flush(a: Arena, t: int) -> None:
    """Signals an application thread that is blocked at FLUSH."""
    b = a[G_THREADS] + t * T_STRIDE
    if a[a[b + T_PROGRAM] + a[b + T_PC] * OP_STRIDE] == op.FLUSH:
        signal(a, t)


@compiled
def deliver_batch(a: Arena, b: int, m: int, at: int) -> None:
    """The delivery callbacks of one batch of the application thread at b."""
    mb = a[G_MESSAGES] + m * M_STRIDE
    stamps = a[G_STAMPS] + op.ACKED * a[G_COLUMN]
    r = a[mb + M_FIRST]
    for _ in range(a[mb + M_RECORDS]):
        a[stamps + r] = at
        r = a[a[G_LINK] + r]
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
def poll(a: Arena, t: int, calls: int) -> int:
    """POLL: 1 records are taken, 2 the poll is empty, 3 there is something else to do, 0 the thread is blocked."""
    tb = a[G_THREADS] + t * T_STRIDE
    c = a[G_CONSUMERS] + a[tb + T_CONSUMER] * C_STRIDE
    if a[c + C_READY] == 0:
        if calls > 0 and (a[own(a, t) + W_STRUCK] == 1 or a[own(a, t) + W_INBOX] != NONE):
            a[tb + T_TIMED] = 0
            return 3
        if a[tb + T_TIMED] == 1:
            a[tb + T_TIMED] = 0
            a[tb + T_POLLS_EMPTY] += 1
            return 2
        callbacks = a[tb + T_OUTSTANDING] > 0 and a[tb + T_CALLED_BACK] == 0
        block(a, t, a[G_NOW] + a[G_DELIVERY_POLL] if callbacks else NONE)
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
    stamps = a[G_STAMPS] + column * a[G_COLUMN]
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
