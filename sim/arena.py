"""The loop's whole state: one int64 array with named offsets.

Helpers compiled by numba take this one argument; many arrays in a tuple would cost ten times as much in reference
counting.  `G_*` are places in the header; `T_*`, `H_*`, ... are fields of tables whose bases stand in the header.
`sim.layout` lays a system out in it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Arena = NDArray[np.int64]
#: Integers in a line of the processor's cache.
LINE = 8


# Header.
(
    G_NOW, G_SEED, G_AT, G_LEAVES, G_TAKEN_BACK, G_CLOCK, G_MESSAGES, G_MESSAGES_N, G_MESSAGES_CAP, G_FREE,
    G_THREADS, G_THREADS_N, G_HOSTS, G_HOSTS_N, G_PRODUCERS, G_CONSUMERS, G_LANES, G_LOGS, G_BROKER0, G_BROKERS,
    G_INBOX, G_INBOX_TAIL, G_RECORDS, G_BACKLOG, G_STAMPS, G_PARTITION, G_WORKER, G_BATCH, G_COSTS, G_WAKE,
    G_TIMER, G_NETWORK, G_POINTS, G_BYTES_IN, G_BYTES_OUT, G_PARTITIONS, G_LINGER, G_BATCH_RECORDS,
    G_BATCH_BYTES, G_MAX_FLIGHT, G_FETCH_MIN, G_FETCH_WAIT, G_FETCH_MAX, G_PARTITION_MAX, G_QUEUED_RECORDS,
    G_QUEUED_BYTES, G_FETCH_BACKOFF, G_DELIVERY_POLL, G_ACKED_N, G_EVENTS, G_GENERATORS,
    G_HOST_THREADS, G_COLD, G_KIND, G_UNTIL, G_AHEAD, G_NEXT, G_NEXT_AT, G_FIRSTS, G_FULLS, G_LINK, G_KEY,
    G_EXCHANGES, G_SERVICES, G_EXECUTORS, G_EXECUTORS_N, G_TASKS, G_TASKS_TAIL, G_MB_DRIVER, G_MB_INTERVAL, G_MB_POLL,
    G_MB_MAX, G_MB_STARTED, G_MB_TURN, G_MB_PLANS, G_MB_LEFT, G_LOST, G_SPARE, G_AGENDA, G_NETWORK_MIN, G_WAKE_MIN,
    G_MODELS, G_COLUMN, G_BLOCKED, G_SHARED, G_SIZE,
) = range(86)  # fmt: skip

# Thread: what nearly every event touches stands first, eight fields to a line of the processor's cache.
(
    T_STATE, T_EVENT, T_ARRIVES, T_PROGRAM, T_PC, T_HOST, T_AHEAD, T_SHARES,
    T_SIGNALLED, T_DUE_KEY, T_WAKES, T_WAKE_KEY, T_TIMED, T_SLEPT, T_HOME, T_WAIT,
    T_RUN0, T_REMAINING, T_CPU, T_MARKS, T_MARK, T_STEPS, T_MESSAGE, T_MAILBOX,
    T_MAILBOX_TAIL, T_RECORD, T_PRODUCER, T_CONSUMER, T_N, T_OUTSTANDING, T_DUE, T_ROLE,
    T_SENT, T_NETWORK_KEY, T_LAST_UP, T_LAST_DOWN, T_BUSY, T_CONN, T_CONN_TAIL, T_RESUME,
    T_WORKED, T_IDLE_SINCE, T_COLD, T_DELIVERIES, T_DELIVERIES_TAIL, T_SERVES, T_SERVES_AT, T_SERVES_N,
    T_USED, T_SLICE0, T_CORE_AT, T_READY0, T_WINDOW, T_CURRENT, T_PREVIOUS, T_QUEUE_NEXT, T_INDEX, T_POLLS, T_ASIDE,
    T_POLLS_EMPTY, T_SLEEPS, T_CALLED_BACK, T_FINISH, T_WRITES, T_PLACE, T_TURN, T_IN_LINE, T_LINE_NEXT, T_FLUSHES,
    T_PHASE, T_INBOX, T_TAKEN, T_TAKEN_TAIL, T_LOG, T_AT, T_TASKS, T_TASK_RECORDS, T_TAKEN_AT, T_OUT,
    T_OUT_TAIL, T_TIMER_KEY, T_TIMER_FOR, T_CORE, T_MARK_LEFT,
) = range(84)  # fmt: skip
#: Marks inside fused CPU work: the work left when each is due (at T_MARK_LEFT + i), and its stamp column or NONE.
MARKS_MAX = 8
T_MARK_STAMP = T_MARK_LEFT + MARKS_MAX
T_STRIDE = -(-(T_MARK_STAMP + MARKS_MAX) // LINE) * LINE
#: Roles of threads whose program is straight code, too (sim.loop_straight); from CONSUMER on they may wake ahead.
NOBODY, GENERATOR, BROKER, CONSUMER, PRODUCER, WORKER, COLLECTOR = range(7)
BLOCKED, WAKING, QUEUED, RUNNING, HALTED = range(5)
#: Of the threads one bit each is at G_BLOCKED, set while a thread is blocked and nobody has signalled it.
WORD_BITS = 5
LANES_FEW = 2
#: Of linked lanes so many are looked at one by one; where more are ready, one of them soon comes in rotation.
LANES_WALKED = 16
#: How many records a thread may be ahead of the clock, and room for as many instants at which it serves deliveries.
AHEAD_MAX = 64

# Host.  Of discipline `ps`: at H_WORKING a heap of those at work, (finish, thread) each; H_VACANT is 1 while the first
# one's work is over and it is not known whether it begins another piece.
(
    H_CORES, H_SLICE, H_IDLE, H_HEAD, H_TAIL, H_QUEUED, H_FIRST, H_THREADS,
    H_SHARES, H_VIRTUAL, H_SINCE, H_WORKING, H_N, H_NEXT, H_RUNNING, H_RUNNING_N,
    H_WINDOW, H_WINDOW_BEGIN, H_VACANT, H_STRIDE,
) = range(20)  # fmt: skip
# Producer client.  P_BYTES: of a record; with P_LIMIT records a lane is ready at once; P_MOST go into one batch.  Of a
# producer with more than LANES_FEW lanes those that hold records are linked in the order of their first records' keys,
# from P_OLDEST to P_NEWEST, and P_FULL counts those at G_FULLS: else it would look at thousands for a few.
(
    P_CLIENT, P_APPLICATION, P_TOPIC, P_FIRST, P_PARTITIONS, P_LANES, P_FLIGHT, P_TURN, P_REQUESTS,
    P_BYTES, P_LIMIT, P_MOST, P_FILLER, P_OLDEST, P_NEWEST, P_FULL, P_STRIDE,
) = range(17)  # fmt: skip
# Consumer.
(
    C_CLIENT, C_APPLICATION, C_TOPIC, C_FIRST, C_PARTITIONS, C_MAX_POLL, C_TURN, C_POLL_TURN, C_FETCHES,
    C_EMPTY, C_PARKED, C_EXPIRES, C_TIMED, C_READY, C_QUEUED, C_STRIDE,
) = range(16)  # fmt: skip
# Lane: a list of records, linked at G_LINK, with the keys of their enqueueing at G_KEY.  Two keys that a producer looks
# at, of the first record and of the one with which the lane is full (FAR: none), stand together for all its lanes, at
# G_FIRSTS and G_FULLS.
(
    L_HEAD, L_TAIL, L_N, L_BEFORE, L_AFTER, L_STRIDE,
) = range(6)  # fmt: skip
# Log: positions into its records.
(LG_BASE, LG_N, LG_FETCHED, LG_VISIBLE, LG_POLLED, LG_CURSOR, LG_CONSUMER, LG_WANTED, LG_NEW, LG_ENDS, LG_STRIDE) = (
    range(11)
)
# Exchange: an inbox for each reader, a buffer for each pair of writer and reader.
(
    X_READERS, X_CAPACITY, X_FLUSH, X_BUFFER, X_INBOXES, X_BUFFERS, X_STRIDE,
) = range(7)  # fmt: skip
# Inbox: records linked at G_LINK; I_HELD counts those in buffers too; the line is of blocked writers.
(
    I_THREAD, I_HEAD, I_TAIL, I_N, I_HELD, I_LINE, I_LINE_TAIL, I_STRIDE,
) = range(8)  # fmt: skip
(
    B_HEAD, B_TAIL, B_N, B_STRIDE,
) = range(4)  # fmt: skip
# Service: its threads stand in a list at S_FIRST.  S_VISITS: its columns, or NONE.  S_BATCHING: the vector of its
# batching policy, or NONE; S_BATCH is what that allows now, of S_MOST.  S_CACHE: the vector of its cache, or NONE; then
# there is a column of keys, and for each key the list of requests that wait for what is in flight.
(
    S_FIRST, S_THREADS, S_BATCH, S_DELAY, S_HEAD, S_TAIL, S_N, S_EDGES, S_EDGES_N, S_JOINS, S_CAPACITY, S_EARLIEST,
    S_EXPIRY, S_FIRSTS, S_VISITS, S_BATCHING, S_MOST, S_CACHE, S_KEYS,
    S_WAITERS, S_ANSWER, S_TAKES, S_TAKEN, S_WAITED, S_DROPPED, S_LATE, S_STRIDE,
) = range(27)  # fmt: skip
# Edge: the services it leads to stand in a list at D_FIRST.
(
    D_BELOW, D_N, D_FIRST, D_STRIDE,
) = range(4)  # fmt: skip
# What a service that keeps visits keeps of each record.
CAME, BEGUN, LEFT, VISITS = range(4)
# Message.  A request has its service at M_LANE, its hops at M_RECORDS, its fork or NONE at M_BATCHES, and 1 at M_BYTES
# if its caller waits; in a queue in the order of creation the request before it is at M_PREVIOUS.  A fork has the
# service that joins it, or NONE, at M_LANE, its parts that did not come to its end at M_RECORDS, the fork before, or
# NONE, at M_BATCHES.
(
    M_KIND, M_CONNECTION, M_LANE, M_FIRST, M_RECORDS, M_BYTES, M_BATCHES, M_NEXT, M_AT, M_PREVIOUS,
    M_STRIDE,
) = range(11)  # fmt: skip
# Models and faults; G_MODELS is NONE without either.  Y_*: a delivery of a model; its stamps are NONE at first.
# Columns of records: MO_TYPE (NONE: cannot be parsed), MO_SCORED (the delivery), MO_SHADOWED, MO_DUPLICATES.
(
    MO_THREADS, MO_STORES, MO_STORES_N, MO_RECEIVERS, MO_RECEIVERS_N, MO_DELIVERIES, MO_TYPES, MO_TYPE, MO_STORE_OF,
    MO_SCORED, MO_RESTORE, MO_KEEP_EVERY, MO_COMMIT_EVERY, MO_COMMITTED, MO_SHADOW, MO_SHADOWED, MO_DUPLICATES,
    MO_EXACTLY, MO_SIZE,
) = range(19)  # fmt: skip
(
    W_INBOX, W_INBOX_TAIL, W_MODEL, W_SWAPPED, W_KEPT, W_KEEPS, W_KEEP_DUE, W_STRUCK, W_DOWN, W_UP_AT, W_COMMIT_DUE,
    W_RECEIVER, W_STRIDE,
) = range(13)  # fmt: skip
# A store: its table holds for each type the current, the waiting and the kept delivery, or NONE.
(ST_OWNER, ST_SWAPS, ST_SUPERSEDED, ST_BYTES, ST_KEEPS, ST_TABLE, ST_STRIDE) = range(7)
CURRENT, WAITING, KEPT, MODEL_PLACES = range(4)
(
    RV_CLIENT, RV_APPLICATION, RV_LOADER, RV_STORE, RV_FIRST, RV_N, RV_CURSOR, RV_HANDLED, RV_KEPT, RV_RECEIVED,
    RV_LOADED, RV_FAILED, RV_RESTORED, RV_STRIDE,
) = range(14)  # fmt: skip
(
    Y_AT, Y_MODEL, Y_TYPE, Y_FAILS, Y_BYTES, Y_SIZE, Y_RECEIVER, Y_NEXT, Y_CAME, Y_BEGUN, Y_DONE, Y_SWAPPED, Y_STRIDE,
) = range(13)  # fmt: skip
# What is kept of a record that was answered and is read again: its stamps, who scored it, which poll, by what.
SHADOWS = 12
RESTORE_LATEST, RESTORE_EARLIEST, RESTORE_SNAPSHOT = range(3)
# Agenda: a node has a key and whose it is; node 1 is the root, G_LEAVES the first leaf.
# Cost.  K_IN and K_OUT: the whole for one record of the input, or of the output topic, but for its residual.
(
    K_FIXED, K_BATCH, K_RECORD, K_POINT, K_BYTE, K_COLD, K_RESIDUAL, K_IN, K_OUT, K_STRIDE,
) = range(10)  # fmt: skip
OP_STRIDE = 4

EV_DELIVER, EV_TIMER, EV_WAKE, EV_CORE = range(4)
FETCH_TIMER, FLUSH_TIMER = range(2)  # what a TIMER is for: a parked fetch, or a writer's buffers
#: A key orders what threads do at one instant: time << KEY_BITS | kind of event.
KEY_BITS = 2
#: Work on a host of discipline `ps` is counted in 1/256 ns.
SHARE_BITS = 8
NONE = -1
FAR = 1 << 62  # a key that never comes
