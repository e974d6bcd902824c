"""The compiled loop's agenda: which event comes next.

A thread never has more than three events before it: the first of its messages on their way (they keep their order),
one TIMER, and a WAKE or a CORE.  So there is no heap of events but a tournament of threads: a leaf has the least key of
a thread's three, each node above it the lesser of two and whose it is.  A key is (time, kind); of equal ones the left
wins, the thread with the lower number: that is the order of docs/simulator.md.  An event that is not to happen any more
is taken back at once.
"""

from __future__ import annotations

from sim.arena import *  # the named offsets are this module's vocabulary
from sim.jit import compiled


@compiled
def refresh(a: Arena, t: int) -> None:
    """Brings the leaf of thread t, and the nodes above it, up to date."""
    b = a[G_THREADS] + t * T_STRIDE
    key = min(a[b + T_ARRIVES], a[b + T_TIMER_KEY], a[b + T_EVENT])
    whose = t
    agenda = a[G_AGENDA]
    i = a[G_LEAVES] + t
    a[agenda + 2 * i] = key
    while i > 1:
        other = agenda + 2 * (i ^ 1)
        theirs = a[other]
        owner = a[other + 1]
        loses = theirs < key + (i & 1)
        key = theirs if loses else key
        whose = owner if loses else whose
        i >>= 1
        a[agenda + 2 * i] = key
        a[agenda + 2 * i + 1] = whose


@compiled
def changed(a: Arena, t: int) -> None:
    """The events before thread t have changed."""
    if t != a[G_AT]:  # the thread at hand is brought up to date when all it does now is done
        refresh(a, t)


@compiled
def schedule(a: Arena, t: int, key: int) -> None:
    """Thread t has a WAKE or CORE with that key, in place of one it may have."""
    b = a[G_THREADS] + t * T_STRIDE
    was = a[b + T_EVENT]
    if was < FAR:  # taken back; while it was to come the run was not over
        a[G_TAKEN_BACK] = max(a[G_TAKEN_BACK], was >> KEY_BITS)
    a[b + T_EVENT] = key
    changed(a, t)


@compiled
def send(a: Arena, t: int, m: int, at: int) -> None:
    """Message m of thread t is on its way until then; never less than what t sent before."""
    b = a[G_THREADS] + t * T_STRIDE
    mb = a[G_MESSAGES] + m * M_STRIDE
    a[mb + M_AT] = at
    a[mb + M_NEXT] = NONE
    if a[b + T_ARRIVES] == FAR:
        a[b + T_OUT] = m
        a[b + T_ARRIVES] = (at << KEY_BITS) | EV_DELIVER
        changed(a, t)
    else:
        a[a[G_MESSAGES] + a[b + T_OUT_TAIL] * M_STRIDE + M_NEXT] = m
    a[b + T_OUT_TAIL] = m


@compiled
def arrived(a: Arena, t: int) -> int:
    """Takes the first message of thread t off its way."""
    b = a[G_THREADS] + t * T_STRIDE
    m: int = a[b + T_OUT]
    following = a[a[G_MESSAGES] + m * M_STRIDE + M_NEXT]
    a[b + T_OUT] = following
    if following == NONE:
        a[b + T_ARRIVES] = FAR
    else:
        a[b + T_ARRIVES] = (a[a[G_MESSAGES] + following * M_STRIDE + M_AT] << KEY_BITS) | EV_DELIVER
    return m


@compiled
def push(a: Arena, time: int, kind: int, owner: int, argument: int) -> None:
    """Schedules an event of its owner.

    The argument: of a DELIVER the message, of a TIMER what it is for; a WAKE and a CORE have none.
    """
    if kind == EV_DELIVER:
        send(a, owner, argument, time)
    elif kind == EV_TIMER:
        b = a[G_THREADS] + owner * T_STRIDE
        a[b + T_TIMER_KEY] = (time << KEY_BITS) | kind
        a[b + T_TIMER_FOR] = argument
        changed(a, owner)
    else:
        schedule(a, owner, (time << KEY_BITS) | kind)
