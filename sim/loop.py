"""The compiled event loop: the meaning of docs/simulator.md over one int64 arena.

`advance(a, until)` takes every event before `until`.  A run cut at any instant and taken up again gives the same
stamps: nothing lives outside the arena.  Each function is plain Python on integers; numba compiles it, and with the JIT
off the same source runs as it is.
"""

from __future__ import annotations

from scenarios.draws import PURPOSE_CPU, TABLE_SIZE, draw
from sim import loop_flow as flow
from sim import loop_models as model
from sim import loop_stations as station
from sim import loop_straight as straight
from sim import operations as op
from sim.arena import *  # the named offsets are this module's vocabulary
from sim.jit import arena_at, compiled
from sim.loop_agenda import arrived, push, refresh
from sim.loop_costs import record_work
from sim.loop_events import (
    block,
    table_at,
    wake_draw,
    went_to_sleep,
    woke_up,
)
from sim.loop_hosts import begin_work, charge, core_event, ready, release, rotate, share_ends, share_settles
from sim.loop_kafka import (
    acknowledge,
    answer,
    append,
    arrival,
    deliver,
    deliver_fetch,
    enqueue,
    fetch_eval,
    fetch_expires,
    fetch_send,
    free_message,
    has_mail,
    next_of_poll,
    own,
    poll,
    produce_next,
    serve,
    stamp_poll,
    take_list,
)
from sim.system import COLD_STEP_BITS, COST_BITS, OUTPUT, RESIDUAL_BITS

#: What `advance` returns.
REACHED = 0  # every event before `until` was taken
GROW = 1  # the message pool needs room: call layout.grow and go on
DEADLOCK = 2  # nothing is timed any more
FOREVER = 1 << 62


@compiled
def work_of(a: Arena, t: int, cost: int, source: int, variant: int) -> int:
    """The CPU ns of one CPU operation."""
    tb = a[G_THREADS] + t * T_STRIDE
    records = 0
    size = 0
    batches = 0
    points = 0
    if source in (op.RECORD_IN, op.RECORD_OUT):
        a[a[G_THREADS] + a[tb + T_HOME] * T_STRIDE + T_WORKED] = 1
        r = a[tb + T_RECORD]
        if variant == op.BY_MODEL:
            cost += a[model.delivery(a, a[a[a[G_MODELS] + MO_SCORED] + r]) + Y_MODEL]
        return record_work(a, t, cost, K_IN if source == op.RECORD_IN else K_OUT, r)
    if source == op.MESSAGE:
        mb = a[G_MESSAGES] + a[tb + T_MESSAGE] * M_STRIDE
        records = a[mb + M_RECORDS]
        size = a[mb + M_BYTES]
        batches = a[mb + M_BATCHES]
        if a[mb + M_KIND] == op.PRODUCE:
            entity = a[mb + M_FIRST]
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
    elif source == op.TAKEN:
        records = a[tb + T_N]
        points = records * a[G_POINTS]
        size = records * a[G_BYTES_IN]
        batches = 1
        mb = a[G_MESSAGES] + a[tb + T_TAKEN] * M_STRIDE
        entity = a[mb + M_FIRST] + (a[mb + M_RECORDS] << 32)
        if variant == op.BY_SIZE:
            sb = a[G_SERVICES] + a[mb + M_LANE] * S_STRIDE
            ordinal = a[tb + T_TASKS] - 1
            cost += records - 1 if ordinal >= a[sb + S_FIRSTS] else a[sb + S_MOST] + ordinal
    elif source == op.TASK_RECORDS:
        records = a[tb + T_TASK_RECORDS]
        size = records * a[G_BYTES_IN]
        batches = 1
        entity = a[tb + T_TASKS] - 1
    elif source == op.MODEL:
        entity = a[own(a, t) + W_MODEL]
        size = a[model.delivery(a, entity) + Y_BYTES]
        if variant == op.BY_MODEL:
            cost += a[model.delivery(a, entity) + Y_MODEL]
    elif source == op.SWAPPED:
        if a[own(a, t) + W_SWAPPED] == 0:
            return 0
        a[own(a, t) + W_SWAPPED] = 0
        entity = a[a[a[G_MODELS] + MO_SCORED] + a[tb + T_RECORD]]
    elif source == op.KEPT:
        size = a[own(a, t) + W_KEPT]
        entity = a[own(a, t) + W_KEEPS] - 1
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
    push(a, a[G_NOW], a[G_KIND], t, NONE)


@compiled
def run(a: Arena, t: int, ahead: bool) -> None:
    """Runs the program of thread t until it works or waits.

    Where cores cannot run out, it goes on ahead of the clock as long as what it does is its own business (`PRIVATE`).
    """
    tb = a[G_THREADS] + t * T_STRIDE
    may = a[tb + T_AHEAD] == 1
    if not ahead:
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
        if code == op.CPU and (may or a[tb + T_SHARES] == 1):
            work = work_of(a, t, a[o + 1], a[o + 2], a[o + 3])
            if work > 0:
                mine = may and (PRIVATE >> a[o + OP_STRIDE]) & 1 == 1 and a[tb + T_STEPS] > 0
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
                    a[a[G_STAMPS] + column * a[G_COLUMN] + a[tb + T_RECORD]] = a[G_NOW]
                work += work_of(a, t, a[o + 1], a[o + 2], a[o + 3])
            if work > 0:
                for i in range(a[tb + T_MARKS]):
                    a[tb + T_MARK_LEFT + i] = work - a[tb + T_MARK_LEFT + i]
                a[tb + T_PC] = following
                begin_work(a, t, work)
                return
        elif code == op.STAMP:
            if a[o + 2] == op.ONE:
                a[a[G_STAMPS] + a[o + 1] * a[G_COLUMN] + a[tb + T_RECORD]] = a[G_NOW]
            elif a[o + 2] == op.OF_POLL:
                stamp_poll(a, t, a[o + 1])
            else:
                flow.stamp_task(a, t, a[o + 1])
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
            push(a, arrival(a, t, tb + T_LAST_UP), EV_DELIVER, t, a[tb + T_MESSAGE])
        elif code == op.SEND_ANSWER:
            answer(a, t, a[tb + T_MESSAGE])
        elif code == op.ACK:
            acknowledge(a, t)
        elif code == op.RECV:
            if a[G_BROKER0] <= t < a[G_BROKER0] + a[G_BROKERS]:
                if a[G_INBOX] == NONE:
                    block(a, t, NONE)
                    release(a, t)
                    return
                a[tb + T_MESSAGE] = take_list(a, G_INBOX)
            elif has_mail(a, tb):
                a[tb + T_MESSAGE] = take_list(a, tb + T_MAILBOX)
                if a[a[G_MESSAGES] + a[tb + T_MESSAGE] * M_STRIDE + M_KIND] == op.REQUEST:
                    free_message(a, a[tb + T_MESSAGE])
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
            what = poll(a, t, a[o + 2])
            if what == 0:
                release(a, t)
                return
            if what > 1:
                following = a[o + what - 1]
        elif code == op.SLEEP:
            if a[tb + T_TIMED] == 0:
                block(a, t, a[G_NOW] + a[o + 1])
                release(a, t)
                return
            a[tb + T_TIMED] = 0
        elif code == op.GET:
            if not flow.get(a, t, a[o + 2] == op.MINE):
                release(a, t)
                return
        elif code == op.PUT:
            if not flow.put(a, t, a[o + 1]):
                release(a, t)
                return
        elif code == op.CALL:
            station.call(a, t, a[o + 1], a[o + 2] == op.UNANSWERED)
        elif code == op.TAKE:
            if not station.take(a, t, a[o + 1]):
                release(a, t)
                return
        elif code == op.REPLY:
            station.reply(a, t)
        elif code == op.ROUTE:
            station.route(a, t)
        elif code == op.STAMP_TAKEN:
            station.stamp_taken(a, t, a[o + 1])
        elif code == op.FLUSH:
            if not flow.flush(a, t):
                release(a, t)
                return
        elif code == op.NEXT_TASK:
            if not flow.next_of_task(a, t):
                following = a[o + 1]
        elif code == op.TASK:
            if not flow.task(a, t):
                release(a, t)
                return
        elif code == op.TASK_DONE:
            flow.task_done(a)
        elif code == op.TRIGGER:
            if not flow.trigger(a, t):
                release(a, t)
                return
        elif code == op.PLAN:
            flow.plan(a)
        elif code == op.JOIN:
            if a[G_MB_LEFT] > 0:
                block(a, t, NONE)
                release(a, t)
                return
        elif code == op.DONE:
            flow.done(a, t)
        elif code == op.MODEL_NEXT:
            if model.model_next(a, t):
                following = a[o + 1]
        elif code == op.PICK:
            if not model.pick(a, t):
                following = a[o + 1]
        elif code == op.DIES:
            if a[own(a, t) + W_STRUCK] == 1:
                following = a[o + 1]
        elif code == op.KEEP:
            if not model.keep(a, t, a[o + 1]):
                following = a[o + 2]
        elif code == op.MODEL_ARRIVE:
            if not model.model_arrive(a, t):
                release(a, t)
                return
        elif code == op.MODEL_HAND:
            model.model_hand(a, t)
        elif code == op.MODEL_LOADED:
            model.model_loaded(a, t)
        elif code == op.OFFSETS_DUE:
            if not model.offsets_due(a, t):
                following = a[o + 1]
        elif code == op.OFFSETS:
            model.offsets(a, t)
        elif code == op.STRIKE:
            model.strike(a, a[o + 1], a[o + 2])
        elif code == op.CRASH:
            model.crash(a, t)
        elif code == op.RESTART:
            if not model.restart(a, t):
                release(a, t)
                return
        else:  # HALT
            a[tb + T_STATE] = HALTED
            release(a, t)
            return
        a[tb + T_PC] = following


@compiled
def go(a: Arena, t: int) -> None:
    """Thread t goes on, awake or with its work done: as its role has it, or by its program."""
    role = a[a[G_THREADS] + t * T_STRIDE + T_ROLE]
    if role == BROKER:
        straight.broker(a, t)
    elif role == PRODUCER:
        straight.producer(a, t)
    elif role == CONSUMER:
        straight.consumer(a, t)
    elif role == COLLECTOR:
        straight.collector(a, t)
    else:
        pc = NONE
        if role == WORKER:
            pc = straight.worker(a, t)
        elif role == GENERATOR:
            pc = straight.generator(a, t)
        if role == NOBODY:
            run(a, t, False)
        elif pc != NONE:
            a[a[G_THREADS] + t * T_STRIDE + T_PC] = pc
            run(a, t, a[G_NOW] > a[G_CLOCK])


@compiled
def start_arena(a: Arena) -> None:
    """Schedules the first WAKE of every thread, in the order of their numbers."""
    for t in range(a[G_THREADS_N]):
        push(a, 0, EV_WAKE, t, NONE)


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
    root = a[G_AGENDA] + 2
    while True:
        if a[G_AT] != NONE:
            refresh(a, a[G_AT])
            a[G_AT] = NONE
        key = a[root]
        if key >= FAR and until > a[G_TAKEN_BACK]:
            if a[G_ACKED_N] < a[G_RECORDS]:
                return DEADLOCK
            a[G_NOW] = max(a[G_NOW], until)  # every record is answered, and nobody has anything left to do
            return REACHED
        if key >> KEY_BITS >= until:
            a[G_NOW] = max(a[G_NOW], until)  # readings count work and waits under way up to here
            return REACHED
        if a[G_MESSAGES_N] + a[G_SPARE] > a[G_MESSAGES_CAP]:
            return GROW
        x = a[root + 1]
        kind = key & EV_CORE
        a[G_NOW] = a[G_CLOCK] = key >> KEY_BITS
        a[G_KIND] = kind
        a[G_AT] = x
        a[G_EVENTS] += 1
        b = a[G_THREADS] + x * T_STRIDE
        if kind == EV_CORE:
            a[b + T_EVENT] = FAR
            h = a[G_HOSTS] + a[b + T_HOST] * H_STRIDE
            if a[b + T_ROLE] != NOBODY:
                a[b + T_CPU] += a[b + T_REMAINING]
                a[b + T_REMAINING] = 0
                go(a, x)
            elif a[b + T_SHARES] == 1:
                share_ends(a, x, h)
                go(a, x)
            else:
                complete = a[b + T_RUN0] + a[b + T_REMAINING] == a[G_NOW]
                charge(a, x, a[h + H_SLICE], complete or a[h + H_QUEUED] > 0)
                if complete:
                    go(a, x)
                elif a[h + H_QUEUED] == 0:
                    core_event(a, x, h)
                else:
                    rotate(a, x, h)
        elif kind == EV_WAKE:
            a[b + T_EVENT] = FAR
            if a[b + T_RESUME] == 1:
                a[b + T_RESUME] = 0
                go(a, x)
            else:
                woke_up(a, x)
                if ready(a, x):
                    go(a, x)
        elif kind == EV_DELIVER:
            m = arrived(a, x)
            if a[a[G_MESSAGES] + m * M_STRIDE + M_KIND] == op.REQUEST:
                station.deliver_request(a, m)
            else:
                deliver(a, m)
        else:
            a[b + T_TIMER_KEY] = FAR
            if a[b + T_TIMER_FOR] == FLUSH_TIMER:
                flow.flush_buffers(a, x)
            else:
                fetch_expires(a, x)
        if a[G_SHARED] != NONE:
            share_settles(a)
        while a[G_NEXT] != NONE:
            t = straight.next_ahead(a)
            if t != NONE:
                go(a, t)
