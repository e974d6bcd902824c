"""The compiled loop's hosts: cores shared by slices with one run queue, or evenly (processor sharing)."""

from __future__ import annotations

from sim.arena import *  # the named offsets are this module's vocabulary
from sim.jit import compiled
from sim.loop_agenda import push, schedule


@compiled
def window_at(a: Arena, h: int, at: int) -> int:
    """The window, of a slice's length, that an instant lies in; the last one asked for is known without a division."""
    slice_ns = a[h + H_SLICE]
    since = at - a[h + H_WINDOW_BEGIN]
    if since < 0 or since >= slice_ns:
        i = at // slice_ns
        a[h + H_WINDOW] = i
        a[h + H_WINDOW_BEGIN] = i * slice_ns
    window: int = a[h + H_WINDOW]
    return window


@compiled
def used_of_slice(a: Arena, t: int, slice_ns: int) -> int:
    """What a running thread has used of its slice."""
    used: int = a[G_NOW] - a[a[G_THREADS] + t * T_STRIDE + T_SLICE0]
    return used if used < slice_ns else used % slice_ns


@compiled
def recent(a: Arena, t: int) -> int:
    """What t ran of late, as far as it was charged."""
    b = a[G_THREADS] + t * T_STRIDE
    i = window_at(a, a[G_HOSTS] + a[b + T_HOST] * H_STRIDE, a[G_NOW])
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
    h = a[G_HOSTS] + a[b + T_HOST] * H_STRIDE
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
            charge_window(a, b, a[b + T_REMAINING] - left, window_at(a, h, now - over))
        a[b + T_REMAINING] = left
        column = a[b + T_MARK_STAMP + a[b + T_MARK]]
        if column != NONE:
            a[a[G_STAMPS] + column * a[G_COLUMN] + a[b + T_RECORD]] = now - over
        a[b + T_MARK] += 1
    if slice_ns > 0:
        charge_window(a, b, a[b + T_REMAINING] - rest, window_at(a, h, now))
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
    push(a, at, EV_CORE, t, NONE)


@compiled
def take_core(a: Arena, t: int, h: int) -> None:
    """Thread t joins those that run on the host."""
    n = a[h + H_RUNNING_N]
    a[a[h + H_RUNNING] + n] = t
    a[a[G_THREADS] + t * T_STRIDE + T_CORE] = n
    a[h + H_RUNNING_N] = n + 1


@compiled
def leave_core(a: Arena, t: int, h: int) -> None:
    """Thread t leaves those that run on the host."""
    n = a[h + H_RUNNING_N] - 1
    a[h + H_RUNNING_N] = n
    last = a[a[h + H_RUNNING] + n]
    place = a[a[G_THREADS] + t * T_STRIDE + T_CORE]
    a[a[h + H_RUNNING] + place] = last
    a[a[G_THREADS] + last * T_STRIDE + T_CORE] = place


@compiled
def grant(a: Arena, t: int, h: int) -> None:
    """A thread in no queue gets a core."""
    b = a[G_THREADS] + t * T_STRIDE
    now = a[G_NOW]
    a[b + T_STATE] = RUNNING
    take_core(a, t, h)
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
    """The first one queues: running threads get their CORE event at their slice end, if that is earlier.

    While others queue it stays there: their events were made so.
    """
    if a[h + H_QUEUED] > 1:
        return
    for k in range(a[h + H_RUNNING_N]):
        t = a[a[h + H_RUNNING] + k]
        b = a[G_THREADS] + t * T_STRIDE
        end = slice_end(a, t, a[h + H_SLICE])
        if a[b + T_CORE_AT] > end:
            a[b + T_CORE_AT] = end
            push(a, end, EV_CORE, t, NONE)


@compiled
def ready(a: Arena, t: int) -> bool:
    """Makes a thread ready on its host.  True if it runs at once."""
    b = a[G_THREADS] + t * T_STRIDE
    h = a[G_HOSTS] + a[b + T_HOST] * H_STRIDE
    now = a[G_NOW]
    a[b + T_REMAINING] = 0
    a[b + T_USED] = 0
    if a[h + H_SLICE] == 0:  # cores cannot run out, or are shared evenly
        a[b + T_STATE] = RUNNING
        return True
    if a[h + H_IDLE] > 0:
        a[h + H_IDLE] -= 1
        take_core(a, t, h)
        a[b + T_STATE] = RUNNING
        a[b + T_SLICE0] = now
        a[b + T_RUN0] = now
        return True
    s = a[h + H_SLICE]
    if 2 * recent(a, t) < s:
        victim = NONE
        most = -1
        for k in range(a[h + H_RUNNING_N]):
            v = a[a[h + H_RUNNING] + k]
            used = used_of_slice(a, v, s)
            if used > most or (used == most and v < victim):
                most = used
                victim = v
        vb = a[G_THREADS] + victim * T_STRIDE
        charge(a, victim, s, False)
        leave_core(a, victim, h)
        schedule(a, victim, FAR)
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
    leave_core(a, t, h)
    if a[h + H_QUEUED] > 0:
        grant(a, from_queue(a, h), h)
    else:
        a[h + H_IDLE] += 1


@compiled
def rotate(a: Arena, t: int, h: int) -> None:
    """The thread's slice is over and others queue: to the tail, the head runs."""
    a[a[G_THREADS] + t * T_STRIDE + T_USED] = 0
    leave_core(a, t, h)
    to_queue(a, t, h, False)
    grant(a, from_queue(a, h), h)


@compiled
def begin_work(a: Arena, t: int, work: int) -> None:
    """A CPU operation of work > 0 starts."""
    b = a[G_THREADS] + t * T_STRIDE
    h = a[G_HOSTS] + a[b + T_HOST] * H_STRIDE
    a[b + T_REMAINING] = work
    if a[b + T_SHARES] == 1:
        share_begins(a, t, h, work)
        return
    if a[h + H_QUEUED] > 0 and slice_end(a, t, a[h + H_SLICE]) == a[G_NOW]:
        rotate(a, t, h)
        return
    a[b + T_RUN0] = a[G_NOW]
    core_event(a, t, h)


# ---------------------------------------------------------------- processor sharing


@compiled
def share_clock(a: Arena, h: int) -> None:
    """Brings the host's virtual time to now."""
    n = a[h + H_N]
    if n > 0:
        a[h + H_VIRTUAL] += (a[G_NOW] - a[h + H_SINCE]) * a[a[h + H_SHARES] + n]
    a[h + H_SINCE] = a[G_NOW]


@compiled
def share_event(a: Arena, h: int) -> None:
    """Replaces the host's CORE event by one of the thread that finishes first."""
    n = a[h + H_N]
    before = a[h + H_NEXT]
    working = a[h + H_WORKING]
    t = a[working + 1] if n > 0 else NONE
    a[h + H_NEXT] = t
    if before not in (NONE, t) and a[a[G_THREADS] + before * T_STRIDE + T_EVENT] < FAR:
        schedule(a, before, FAR)
    if n == 0:
        return
    left = max(0, a[working] - a[h + H_VIRTUAL])
    share = a[a[h + H_SHARES] + n]
    push(a, a[G_NOW] + (left + share - 1) // share, EV_CORE, t, NONE)


@compiled
def finishes_before(fx: int, x: int, fy: int, y: int) -> bool:
    """Whether thread x, which finishes at fx, comes before y, at work on the same host."""
    before: bool = fx < fy or (fx == fy and x < y)
    return before


@compiled
def sift_down(a: Arena, h: int, n: int, finish: int, t: int) -> None:
    """Puts thread t in the place of the first of n at work."""
    working = a[h + H_WORKING]
    i = 0
    while 2 * i + 1 < n:
        c = 2 * i + 1
        cb = working + 2 * c
        if c + 1 < n and finishes_before(a[cb + 2], a[cb + 3], a[cb], a[cb + 1]):
            c += 1
            cb += 2
        if finishes_before(finish, t, a[cb], a[cb + 1]):
            break
        a[working + 2 * i] = a[cb]
        a[working + 2 * i + 1] = a[cb + 1]
        i = c
    a[working + 2 * i] = finish
    a[working + 2 * i + 1] = t


@compiled
def share_begins(a: Arena, t: int, h: int, work: int) -> None:
    """Thread t is at work on a host that shares its cores evenly; `share_settles` follows."""
    share_clock(a, h)
    finish = a[h + H_VIRTUAL] + (work << SHARE_BITS)
    a[a[G_THREADS] + t * T_STRIDE + T_FINISH] = finish
    a[G_SHARED] = h
    i = a[h + H_N]
    a[h + H_N] = i + 1
    if a[h + H_VACANT] == 1:  # it goes on: whoever has just finished is the thread at hand
        a[h + H_VACANT] = 0
        sift_down(a, h, i + 1, finish, t)
        return
    working = a[h + H_WORKING]
    while i > 0:
        pb = working + 2 * ((i - 1) >> 1)
        if not finishes_before(finish, t, a[pb], a[pb + 1]):
            break
        a[working + 2 * i] = a[pb]
        a[working + 2 * i + 1] = a[pb + 1]
        i = (i - 1) >> 1
    a[working + 2 * i] = finish
    a[working + 2 * i + 1] = t


@compiled
def share_ends(a: Arena, t: int, h: int) -> None:
    """CORE: thread t, the first to finish, is at work no more; `share_settles` follows."""
    share_clock(a, h)
    b = a[G_THREADS] + t * T_STRIDE
    a[b + T_CPU] += a[b + T_REMAINING]
    a[b + T_REMAINING] = 0
    a[h + H_N] -= 1
    a[h + H_VACANT] = 1
    a[h + H_NEXT] = NONE  # its event was this one: another it may get is its own
    a[G_SHARED] = h


@compiled
def share_settles(a: Arena) -> None:
    """The thread at hand has done all it does at this event: the host gets its CORE event, once."""
    h = a[G_SHARED]
    a[G_SHARED] = NONE
    if a[h + H_VACANT] == 1:
        a[h + H_VACANT] = 0
        n = a[h + H_N]
        last = a[h + H_WORKING] + 2 * n
        if n > 0:
            sift_down(a, h, n, a[last], a[last + 1])
    share_event(a, h)
