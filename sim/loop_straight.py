"""The programs that nearly every record passes, as straight code: what `sim.loop.run` does operation by operation.

A thread on a host whose cores cannot run out, and whose program is one of `sim.programs`, has a *role* (`sim.layout`
compares the programs).  Its role's function goes from one wait to the next at one call, and leaves the thread as `run`
would: at any cut, either can go on.  Operations stand beside their code as `# n`, their place in the program.

It also goes further ahead of the clock than `run`.  The clock stands at an event (G_CLOCK); nothing that is not on the
agenda yet happens before it.  So nobody signals anybody before it, an answer that is not in the mailbox yet arrives no
earlier than the clock + the least network latency, and a thread blocked without a signal goes on no earlier than the
clock + the least latency of a wake-up.  A thread may go on at a later instant T at once if whoever shares state with
it does nothing up to T: a consumer client shares its queue with the thread that polls it, a producer client its lanes
and deliveries with the thread that fills them, and the answers with the broker.  Where that is not sure, it goes on by
an event as everybody does.  All bounds are strict, so nothing here ever decides a tie.
"""

from __future__ import annotations

from sim import operations as op
from sim.arena import *  # the named offsets are this module's vocabulary
from sim.jit import compiled
from sim.loop_agenda import push, schedule
from sim.loop_costs import fetched_work, message_work, polled_work, record_work, rest_work, sleep_work
from sim.loop_events import block, wake_draw, went_to_sleep, woke_up
from sim.loop_kafka import (
    acknowledge,
    answer,
    append,
    arrival,
    deliver_fetch,
    enqueue,
    fetch_eval,
    fetch_send,
    has_mail,
    next_of_poll,
    poll,
    produce_next,
    serve,
    stamp_poll,
    take_list,
)
from sim.programs import COST_NUMBER

_GENERATOR_WAKE = COST_NUMBER["generator.wake"]
_GENERATOR_RECORD = COST_NUMBER["generator.record"]
_PRODUCER_WAKE = COST_NUMBER["producer.wake"]
_PRODUCER_REQUEST = COST_NUMBER["producer.request"]
_BROKER_WAKE = COST_NUMBER["broker.wake"]
_BROKER_PRODUCE = COST_NUMBER["broker.produce"]
_BROKER_FETCH = COST_NUMBER["broker.fetch"]
_BROKER_REST = COST_NUMBER["broker.rest"]
_CONSUMER_WAKE = COST_NUMBER["consumer.wake"]
_CONSUMER_FETCH = COST_NUMBER["consumer.fetch"]
_WORKER_POLL = COST_NUMBER["worker.poll"]
_WORKER_COLD = COST_NUMBER["worker.cold"]
_WORKER_DECODE = COST_NUMBER["worker.decode"]
_WORKER_SCORE = COST_NUMBER["worker.score"]
_WORKER_ENCODE = COST_NUMBER["worker.encode"]
_WORKER_PRODUCE = COST_NUMBER["worker.produce"]
_WORKER_POLL_EMPTY = COST_NUMBER["worker.poll_empty"]
_COLLECTOR_WAKE = COST_NUMBER["collector.wake"]
_COLLECTOR_POLL = COST_NUMBER["collector.poll"]
_COLLECTOR_RECORD = COST_NUMBER["collector.record"]

# ---------------------------------------------------------------- going on


@compiled
def works(a: Arena, t: int, work: int, pc: int) -> None:
    """Work by an event: the thread goes on at `pc` when it is complete."""
    b = a[G_THREADS] + t * T_STRIDE
    a[b + T_PC] = pc
    a[b + T_MARKS] = 0
    a[b + T_MARK] = 0
    a[b + T_REMAINING] = work
    a[b + T_RUN0] = a[G_NOW]
    schedule(a, t, ((a[G_NOW] + work) << KEY_BITS) | EV_CORE)


@compiled
def worked(a: Arena, t: int, work: int) -> None:
    """Work that is over at once: the thread is ahead of the clock by it."""
    if work > 0:
        a[a[G_THREADS] + t * T_STRIDE + T_CPU] += work
        a[G_NOW] += work
        a[G_KIND] = EV_CORE


@compiled
def waits_at(a: Arena, t: int, pc: int) -> None:
    """The thread goes on at `pc` when the clock is where it is."""
    b = a[G_THREADS] + t * T_STRIDE
    a[b + T_PC] = pc
    if a[G_KIND] == EV_CORE:
        a[b + T_MARKS] = 0
        a[b + T_MARK] = 0
        a[b + T_REMAINING] = 0
        a[b + T_RUN0] = a[G_NOW]
    else:
        a[b + T_RESUME] = 1
    push(a, a[G_NOW], a[G_KIND], t, NONE)


@compiled
def goes_on_at(a: Arena, t: int) -> int:
    """When thread t does anything next, if nobody signals it."""
    event: int = a[a[G_THREADS] + t * T_STRIDE + T_EVENT] >> KEY_BITS
    return a[G_NEXT_AT] if a[G_NEXT] == t else event


@compiled
def delivers_at(a: Arena, t: int) -> int:
    """No delivery to a polling thread comes before this: of its consumer client t."""
    b = a[G_THREADS] + t * T_STRIDE
    if a[b + T_STATE] != BLOCKED or a[b + T_SIGNALLED] < FAR or a[b + T_EVENT] < FAR:
        return goes_on_at(a, t)
    at: int = max(a[b + T_LAST_UP], a[G_CLOCK]) + a[G_NETWORK_MIN] + a[G_WAKE_MIN]
    return at


@compiled
def polls_at(a: Arena, t: int) -> int:
    """Application thread t of a consumer does not poll before this, but if its client signals it."""
    b = a[G_THREADS] + t * T_STRIDE
    if a[a[b + T_PROGRAM] + a[b + T_PC] * OP_STRIDE] == op.POLL:
        return goes_on_at(a, t)
    return enqueues_at(a, t)


@compiled
def enqueues_at(a: Arena, t: int) -> int:
    """Application thread t of a producer does nothing before this."""
    b = a[G_THREADS] + t * T_STRIDE
    if a[b + T_STATE] == BLOCKED and a[b + T_SIGNALLED] == FAR:
        signalled: int = a[G_CLOCK] + a[G_WAKE_MIN]
        return min(goes_on_at(a, t), signalled)
    return goes_on_at(a, t)


# ---------------------------------------------------------------- the roles


@compiled
def broker(a: Arena, t: int) -> None:
    """A broker thread: never ahead, for whatever it does others see."""
    b = a[G_THREADS] + t * T_STRIDE
    pc = a[b + T_PC]
    while True:
        if pc == 0:
            if a[G_INBOX] == NONE:
                a[b + T_PC] = 0
                block(a, t, NONE)
                return
            a[b + T_MESSAGE] = take_list(a, G_INBOX)  # 0
            work = sleep_work(a, t, _BROKER_WAKE)  # 1
            if work > 0:
                works(a, t, work, 2)
                return
            pc = 2
        if pc == 2:
            kind = a[a[G_MESSAGES] + a[b + T_MESSAGE] * M_STRIDE + M_KIND]
            if kind == op.PRODUCE:
                work = message_work(a, t, _BROKER_PRODUCE, a[b + T_MESSAGE])  # 3
                if work > 0:
                    works(a, t, work, 4)
                    return
                pc = 4
            else:
                pc = 11 if kind == op.FETCH else 12
        if pc == 4:
            append(a, t)  # 4
            answer(a, t, a[b + T_MESSAGE])  # 5
            pc = 6
        if pc == 8:
            answer(a, t, a[b + T_MESSAGE])  # 8
            work = rest_work(a, t, _BROKER_REST)  # 9
            if work > 0:
                works(a, t, work, 6)
                return
            pc = 6
        if pc in (6, 10):
            pc = 14
            if a[b + T_ASIDE] != NONE:
                a[b + T_MESSAGE] = a[b + T_ASIDE]  # 6
                a[b + T_ASIDE] = NONE
                pc = 8
                work = message_work(a, t, _BROKER_FETCH, a[b + T_MESSAGE])  # 7
                if work > 0:
                    works(a, t, work, 8)
                    return
                continue
        if pc == 11:
            pc = 12 if fetch_eval(a, t) else 0  # 11
            if pc == 0:
                continue
        if pc == 12:
            work = fetched_work(a, t, _BROKER_FETCH, a[b + T_MESSAGE])  # 12
            if work > 0:
                works(a, t, work, 13)
                return
            pc = 13
        if pc == 13:
            answer(a, t, a[b + T_MESSAGE])  # 13
            pc = 14
        if pc == 14:
            work = rest_work(a, t, _BROKER_REST)  # 14
            if work > 0:
                works(a, t, work, 0)
                return
        pc = 0  # 15


@compiled
def consumer(a: Arena, t: int) -> None:
    """A consumer client: ahead as long as the thread that polls does nothing."""
    b = a[G_THREADS] + t * T_STRIDE
    c = a[G_CONSUMERS] + a[b + T_CONSUMER] * C_STRIDE
    app = a[c + C_APPLICATION]
    pc = a[b + T_PC]
    while True:
        if pc in (0, 5):
            a[b + T_PC] = 0
            if not fetch_send(a, t):  # 0
                return
            pc = 1
        if pc == 1:
            a[b + T_PC] = 1
            if not has_mail(a, b):
                block(a, t, NONE)
                return
            a[b + T_MESSAGE] = take_list(a, b + T_MAILBOX)  # 1
            pc = 2
        if pc in (2, 3):
            work = sleep_work(a, t, _CONSUMER_WAKE) if pc == 2 else 0  # 2
            work += fetched_work(a, t, _CONSUMER_FETCH, a[b + T_MESSAGE])  # 3
            done = a[G_NOW] + work
            if done > a[G_CLOCK] and (done >= a[G_UNTIL] or done >= polls_at(a, app)):
                if work > 0:
                    works(a, t, work, 4)
                else:
                    waits_at(a, t, 4)
                return
            worked(a, t, work)
        deliver_fetch(a, t)  # 4
        pc = 0


@compiled
def may_go_on(a: Arena, pr: int, at: int, known: int) -> bool:
    """Whether a producer client knows all that concerns it up to `at`; `known` requests are in hand or answered."""
    if at >= a[G_UNTIL] or (a[pr + P_FLIGHT] > known and at >= a[G_CLOCK] + a[G_NETWORK_MIN]):
        return False
    return at < enqueues_at(a, a[pr + P_FILLER])


@compiled
def producer(a: Arena, t: int) -> None:
    """A producer client: ahead as long as nobody fills a lane, and no answer can come that is not known."""
    b = a[G_THREADS] + t * T_STRIDE
    pr = a[G_PRODUCERS] + a[b + T_PRODUCER] * P_STRIDE
    pc = a[b + T_PC]
    while True:
        if pc in (0, 4, 7):
            a[b + T_PC] = 0
            what = produce_next(a, t)  # 0
            if what == 0:
                return
            pc = 5 if what == 2 else 1
        if pc in (1, 2):
            work = sleep_work(a, t, _PRODUCER_WAKE) if pc == 1 else 0  # 1
            work += message_work(a, t, _PRODUCER_REQUEST, a[b + T_MESSAGE])  # 2
            if work > 0 and not may_go_on(a, pr, a[G_NOW] + work, 1):
                works(a, t, work, 3)
                return
            worked(a, t, work)
            pc = 3
        if pc == 3:
            push(a, arrival(a, t, b + T_LAST_UP), EV_DELIVER, t, a[b + T_MESSAGE])  # 3
            pc = 0
            continue
        if pc == 5:
            work = sleep_work(a, t, _PRODUCER_WAKE)  # 5
            if work > 0 and not may_go_on(a, pr, a[G_NOW] + work, 1):
                works(a, t, work, 6)
                return
            worked(a, t, work)
        acknowledge(a, t)  # 6
        pc = 0


@compiled
def collector(a: Arena, t: int) -> None:
    """The collector's application thread: ahead until its client may deliver."""
    b = a[G_THREADS] + t * T_STRIDE
    client = a[a[G_CONSUMERS] + a[b + T_CONSUMER] * C_STRIDE + C_CLIENT]
    pc = a[b + T_PC]
    while True:
        if pc in (0, 4):
            a[b + T_PC] = 0
            if a[G_NOW] > a[G_CLOCK] and a[G_NOW] >= delivers_at(a, client):
                waits_at(a, t, 0)
                return
            if poll(a, t, 0) == 0:  # 0; never timed
                return
            pc = 1
        work = 0
        if pc == 1:
            work = sleep_work(a, t, _COLLECTOR_WAKE)  # 1
        if pc <= 2:
            work += polled_work(a, t, _COLLECTOR_POLL, a[b + T_N])  # 2
        work += polled_work(a, t, _COLLECTOR_RECORD, a[b + T_N])  # 3
        if a[G_NOW] + work >= a[G_UNTIL]:
            works(a, t, work, 4)
            return
        worked(a, t, work)
        pc = 0


@compiled
def worker(a: Arena, t: int) -> int:
    """An application thread that polls, scores and produces by itself, from POLL or NEXT on.

    Returns:
        NONE, or the place where `run` has to go on.
    """
    b = a[G_THREADS] + t * T_STRIDE
    client = a[a[G_CONSUMERS] + a[b + T_CONSUMER] * C_STRIDE + C_CLIENT]
    stamps = a[G_STAMPS]
    records = a[G_COLUMN]
    pc: int = a[b + T_PC]
    if pc not in (0, 4, 14, 17):
        return pc
    # Its last SERVE lies before the clock, for it waited for an event since: no delivery can still come before that.
    a[b + T_STEPS] = AHEAD_MAX
    a[b + T_SERVES_AT] = 0
    a[b + T_SERVES_N] = 0
    while True:
        if pc in (0, 17):
            c = a[G_CONSUMERS] + a[b + T_CONSUMER] * C_STRIDE
            if a[G_NOW] > a[G_CLOCK] and (a[c + C_READY] == 0 or a[G_NOW] >= delivers_at(a, client)):
                waits_at(a, t, 0)
                return NONE
            a[b + T_PC] = 0
            what = poll(a, t, 0)  # 0
            if what == 0:
                return NONE
            if what == 2:
                return 15
            work = polled_work(a, t, _WORKER_POLL, a[b + T_N])  # 1
            if a[G_NOW] + work >= a[G_UNTIL]:
                return 1
            worked(a, t, work)
            stamp_poll(a, t, op.FETCHED)  # 2
            work = sleep_work(a, t, _WORKER_COLD)  # 3
            if a[G_NOW] + work >= a[G_UNTIL] and work > 0:
                works(a, t, work, 4)
                return NONE
            worked(a, t, work)
        while a[b + T_N] > 0:
            if a[b + T_STEPS] == 0:
                waits_at(a, t, 4)
                return NONE
            next_of_poll(a, t)  # 4
            r = a[b + T_RECORD]
            begin = a[G_NOW] + record_work(a, t, _WORKER_DECODE, K_IN, r)  # 5
            end = begin + record_work(a, t, _WORKER_SCORE, K_IN, r)  # 7
            produced = end + record_work(a, t, _WORKER_ENCODE, K_OUT, r)  # 9
            work = produced + record_work(a, t, _WORKER_PRODUCE, K_OUT, r) - a[G_NOW]  # 11
            a[b + T_WORKED] = 1
            if a[G_NOW] + work >= a[G_UNTIL]:
                return 5
            worked(a, t, work)
            a[stamps + op.SCORE_BEGIN * records + r] = begin  # 6
            a[stamps + op.SCORE_END * records + r] = end  # 8
            a[stamps + op.PRODUCED * records + r] = produced  # 10
            enqueue(a, t)  # 12
            serve(a, t)  # 13
        pc = 0  # 14, 4


@compiled
def generator(a: Arena, t: int) -> int:
    """A load generator: nothing but its own schedule moves it.  Returns as `worker`."""
    b = a[G_THREADS] + t * T_STRIDE
    pc: int = a[b + T_PC]
    if pc not in (0, 5):
        return pc
    created = a[G_STAMPS]
    a[b + T_STEPS] = AHEAD_MAX
    while True:
        r = a[b + T_RECORD] + a[G_GENERATORS]
        if r >= a[G_RECORDS]:
            return 0
        if a[created + r] > a[G_NOW]:
            a[b + T_SLEEPS] += 1
            at = a[created + r] + wake_draw(a, t, a[G_TIMER])
            if a[b + T_STEPS] == 0 or at >= a[G_UNTIL]:
                a[b + T_PC] = 0
                block(a, t, a[created + r])
                return NONE
            went_to_sleep(a, b)
            a[b + T_WAKES] += 1
            a[b + T_STEPS] -= 1
            a[G_NOW] = at
            a[G_KIND] = EV_WAKE
        a[b + T_RECORD] = r  # 0
        a[created + op.SENT * a[G_COLUMN] + r] = a[G_NOW]  # 1
        work = sleep_work(a, t, _GENERATOR_WAKE)  # 2
        work += record_work(a, t, _GENERATOR_RECORD, K_IN, r)  # 3
        a[b + T_WORKED] = 1
        if a[G_NOW] + work >= a[G_UNTIL] and work > 0:
            works(a, t, work, 4)
            return NONE
        worked(a, t, work)
        enqueue(a, t)  # 4


# ---------------------------------------------------------------- ahead of the clock


@compiled
def next_ahead(a: Arena) -> int:
    """The thread that was signalled wakes ahead of the clock if it knows all that concerns it; else it gets an event.

    Returns:
        The thread, awake, or NONE.
    """
    t: int = a[G_NEXT]
    at = a[G_NEXT_AT]
    b = a[G_THREADS] + t * T_STRIDE
    role = a[b + T_ROLE]
    a[G_NEXT] = NONE
    knows = role == CONSUMER
    if role in (WORKER, COLLECTOR):
        c = a[G_CONSUMERS] + a[b + T_CONSUMER] * C_STRIDE
        knows = at < delivers_at(a, a[c + C_CLIENT])
    elif role == PRODUCER:
        known = 0 if a[b + T_MAILBOX] == NONE else 1
        knows = may_go_on(a, a[G_PRODUCERS] + a[b + T_PRODUCER] * P_STRIDE, at, known)
    if not knows:
        push(a, at, EV_WAKE, t, NONE)
        return NONE
    a[G_NOW] = at
    a[G_KIND] = EV_WAKE
    woke_up(a, t)
    a[b + T_STATE] = RUNNING
    a[b + T_REMAINING] = 0
    a[b + T_USED] = 0
    return t
