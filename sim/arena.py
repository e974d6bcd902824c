"""The loop's whole state: one int64 array with named offsets.

Helpers compiled by numba take this one argument; many arrays in a tuple would cost ten times as much in reference
counting.  `G_*` are places in the header; `T_*`, `H_*`, ... are fields of tables whose bases stand in the header.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scenarios.draws import PURPOSE_NETWORK, PURPOSE_WAKE, draw_key
from sim import operations as op
from sim.system import INPUT, System

Arena = NDArray[np.int64]


def _fields(names: str, start: int = 0) -> dict[str, int]:
    return {name: start + i for i, name in enumerate(names.split())}


# Header.
(
    G_NOW, G_SEED, G_HOLE, G_HEAP, G_HEAP_N, G_HEAP_CAP, G_MESSAGES, G_MESSAGES_N, G_MESSAGES_CAP, G_FREE, G_THREADS, G_THREADS_N,
    G_HOSTS, G_HOSTS_N, G_PRODUCERS, G_CONSUMERS, G_LANES, G_LOGS, G_BROKER0, G_BROKERS, G_INBOX, G_INBOX_TAIL, G_RECORDS, G_BACKLOG,
    G_STAMPS, G_PARTITION, G_WORKER, G_BATCH, G_COSTS, G_WAKE, G_TIMER, G_NETWORK, G_POINTS, G_BYTES_IN, G_BYTES_OUT, G_PARTITIONS, G_LINGER,
    G_BATCH_RECORDS, G_BATCH_BYTES, G_MAX_FLIGHT, G_FETCH_MIN, G_FETCH_WAIT, G_FETCH_MAX, G_PARTITION_MAX, G_QUEUED_RECORDS, G_QUEUED_BYTES,
    G_FETCH_BACKOFF, G_DELIVERY_POLL, G_ACKED_N, G_EVENTS, G_OPERATIONS, G_GENERATORS, G_LOG_RECORDS, G_LOG_ENDS, G_HOST_THREADS, G_COLD, G_SIZE,
) = range(57)  # fmt: skip

# Thread.
(
    T_HOST, T_PROGRAM, T_PC, T_STATE, T_GENERATION, T_COUNT, T_WAKES, T_REMAINING, T_USED, T_SLICE0, T_RUN0, T_CORE_AT, T_CPU, T_WAIT, T_READY0,
    T_WINDOW, T_CURRENT, T_PREVIOUS, T_SENT, T_QUEUE_NEXT, T_RECORD, T_MESSAGE, T_N, T_TIMED, T_DUE, T_INDEX, T_POLLS, T_SLEPT, T_MAILBOX,
    T_MAILBOX_TAIL, T_BUSY, T_CONN, T_CONN_TAIL, T_LAST_UP, T_LAST_DOWN, T_DELIVERIES, T_DELIVERIES_TAIL, T_OUTSTANDING, T_ASIDE,
    T_PRODUCER, T_CONSUMER, T_POLLS_EMPTY, T_SLEEPS, T_WORKED, T_IDLE_SINCE, T_WAKE_KEY, T_NETWORK_KEY, T_COLD, T_MARKS, T_MARK, T_MARK_LEFT,
) = range(51)  # fmt: skip
#: Stamps inside fused CPU work: for each, the work left when it is due (at T_MARK_LEFT + i) and its column (T_MARK_STAMP + i).
MARKS_MAX = 8
T_MARK_STAMP = T_MARK_LEFT + MARKS_MAX
T_STRIDE = T_MARK_STAMP + MARKS_MAX
BLOCKED, WAKING, QUEUED, RUNNING, HALTED = range(5)

# Host.
(H_CORES, H_SLICE, H_IDLE, H_HEAD, H_TAIL, H_QUEUED, H_FIRST, H_THREADS, H_STRIDE) = range(9)
# Producer client.
(P_CLIENT, P_APPLICATION, P_TOPIC, P_FIRST, P_PARTITIONS, P_LANES, P_FLIGHT, P_TURN, P_REQUESTS, P_STRIDE) = range(10)
# Consumer.
(
    C_CLIENT, C_APPLICATION, C_TOPIC, C_FIRST, C_PARTITIONS, C_MAX_POLL, C_TURN, C_POLL_TURN, C_FETCHES, C_EMPTY, C_PARKED, C_EXPIRES, C_TIMED, C_READY,
    C_QUEUED, C_STRIDE,
) = range(16)  # fmt: skip
# Lane: records and their enqueue times lie at L_BASE and L_BASE + L_CAPACITY.
(L_BASE, L_CAPACITY, L_HEAD, L_TAIL, L_STRIDE) = range(5)
# Log: positions into its records.
(LG_BASE, LG_N, LG_FETCHED, LG_VISIBLE, LG_POLLED, LG_CURSOR, LG_CONSUMER, LG_WANTED, LG_NEW, LG_ENDS, LG_STRIDE) = (
    range(11)
)
# Message.
(M_KIND, M_CONNECTION, M_LANE, M_FIRST, M_RECORDS, M_BYTES, M_BATCHES, M_NEXT, M_ANSWER, M_STRIDE) = range(10)
# Event in the heap.
(E_TIME, E_RANK, E_ARGUMENT, E_GENERATION, E_STRIDE) = range(5)
# Cost.
(K_FIXED, K_BATCH, K_RECORD, K_POINT, K_BYTE, K_COLD, K_RESIDUAL, K_STRIDE) = range(8)
OP_STRIDE = 4

KIND_SHIFT, OWNER_SHIFT = 60, 38
EV_DELIVER, EV_TIMER, EV_WAKE, EV_CORE = range(4)
NONE = -1


def build(system: System) -> Arena:
    """Lays the system out; the first WAKE of every thread is in the heap."""
    n, p = system.records, system.partitions
    size = G_SIZE

    def take(count: int) -> int:
        nonlocal size
        base = size
        size += count
        return base

    threads_n, hosts_n = len(system.threads), len(system.hosts)
    at: dict[str, int] = {}
    at["threads"] = take(threads_n * T_STRIDE)
    at["hosts"] = take(hosts_n * H_STRIDE)
    at["host_threads"] = take(threads_n)
    at["producers"] = take(len(system.producers) * P_STRIDE)
    at["consumers"] = take(len(system.consumers) * C_STRIDE)
    lanes_n = sum(x.partitions for x in system.producers)
    at["lanes"] = take(lanes_n * L_STRIDE)
    at["logs"] = take(2 * p * LG_STRIDE)
    at["costs"] = take(len(system.costs) * K_STRIDE)
    tables = [system.wake, system.timer, system.network, system.cold]
    for name, table in zip(("wake", "timer", "network", "cold"), tables, strict=True):
        at[name] = take(len(table))
    residuals = [take(len(c.residual)) if c.residual is not None else NONE for c in system.costs]
    distinct = {}
    for t in system.threads:
        if t.program not in distinct:
            distinct[t.program] = take(len(t.program) * OP_STRIDE)
    at["stamps"] = take(op.STAMPS * n)
    for name in ("partition", "worker", "batch"):
        at[name] = take(n)
    per_partition = np.bincount(system.partition, minlength=p) if n else np.zeros(p, dtype=np.int64)
    logs_base = [take(int(2 * per_partition[x % p])) for x in range(2 * p)]
    lane_bases: list[tuple[int, int]] = []
    sent = np.arange(system.backlog, n)
    for k, producer in enumerate(system.producers):
        if producer.topic == INPUT:
            mine = sent[k :: len(system.generators)]
            counts = np.bincount(system.partition[mine], minlength=p) if len(mine) else np.zeros(p, dtype=np.int64)
        else:
            counts = per_partition[producer.first_partition : producer.first_partition + producer.partitions]
        lane_bases.extend((take(2 * int(c)), int(c)) for c in counts)
    heap_cap = 4096 + 16 * threads_n
    messages_cap = 4096 + 16 * threads_n
    at["heap"] = take(heap_cap * E_STRIDE)
    at["messages"] = take(messages_cap * M_STRIDE)

    a: Arena = np.zeros(size, dtype=np.int64)
    header = {
        G_SEED: system.seed, G_HEAP: at["heap"], G_HEAP_CAP: heap_cap, G_MESSAGES: at["messages"], G_MESSAGES_CAP: messages_cap, G_FREE: NONE,
        G_THREADS: at["threads"], G_THREADS_N: threads_n, G_HOSTS: at["hosts"], G_HOSTS_N: hosts_n, G_PRODUCERS: at["producers"],
        G_CONSUMERS: at["consumers"], G_LANES: at["lanes"], G_LOGS: at["logs"], G_BROKER0: system.broker_threads[0],
        G_BROKERS: len(system.broker_threads), G_INBOX: NONE, G_INBOX_TAIL: NONE, G_RECORDS: n, G_BACKLOG: system.backlog,
        G_STAMPS: at["stamps"], G_PARTITION: at["partition"], G_WORKER: at["worker"], G_BATCH: at["batch"], G_COSTS: at["costs"],
        G_COLD: at["cold"], G_WAKE: at["wake"], G_TIMER: at["timer"], G_NETWORK: at["network"], G_POINTS: system.points, G_BYTES_IN: system.record_bytes[0],
        G_BYTES_OUT: system.record_bytes[1], G_PARTITIONS: p, G_LINGER: system.linger_ns, G_BATCH_RECORDS: system.batch_records,
        G_BATCH_BYTES: system.batch_bytes, G_MAX_FLIGHT: system.max_in_flight, G_FETCH_MIN: system.fetch_min_bytes,
        G_FETCH_WAIT: system.fetch_max_wait_ns, G_FETCH_MAX: system.fetch_max_bytes, G_PARTITION_MAX: system.partition_fetch_bytes,
        G_QUEUED_RECORDS: system.queued_records, G_QUEUED_BYTES: system.queued_bytes, G_FETCH_BACKOFF: system.fetch_backoff_ns,
        G_DELIVERY_POLL: system.delivery_poll_ns, G_GENERATORS: len(system.generators), G_HOST_THREADS: at["host_threads"],
    }  # fmt: skip
    for place, value in header.items():
        a[place] = value

    for name, table in zip(("wake", "timer", "network", "cold"), tables, strict=True):
        a[at[name] : at[name] + len(table)] = table
    for i, c in enumerate(system.costs):
        k = at["costs"] + i * K_STRIDE
        a[k : k + K_STRIDE] = (c.fixed, c.batch, c.record, c.point, c.byte, c.cold, residuals[i])
        if c.residual is not None:
            a[residuals[i] : residuals[i] + len(c.residual)] = c.residual
    for program, base in distinct.items():
        a[base : base + len(program) * OP_STRIDE] = np.asarray(program, dtype=np.int64).ravel()

    a[at["stamps"] : at["stamps"] + op.STAMPS * n] = NONE
    for name in ("worker", "batch"):
        a[at[name] : at[name] + n] = NONE
    a[at["partition"] : at["partition"] + n] = system.partition
    a[at["stamps"] : at["stamps"] + n] = system.created
    for column in (op.SENT, op.APPENDED):
        a[at["stamps"] + column * n : at["stamps"] + column * n + system.backlog] = 0

    next_host_thread = at["host_threads"]
    for h, host in enumerate(system.hosts):
        mine_ = [i for i, t in enumerate(system.threads) if t.host == h]
        b = at["hosts"] + h * H_STRIDE
        # Where cores cannot run out no slice ever matters: 0 spares the loop their accounting.
        slice_ns = 0 if len(mine_) <= host.cores else host.slice_ns
        a[b : b + H_STRIDE] = (host.cores, slice_ns, host.cores, NONE, NONE, 0, next_host_thread, len(mine_))
        a[next_host_thread : next_host_thread + len(mine_)] = mine_
        next_host_thread += len(mine_)

    lane = 0
    for k, producer in enumerate(system.producers):
        b = at["producers"] + k * P_STRIDE
        a[b : b + P_STRIDE] = (
            producer.client, producer.application, producer.topic, producer.first_partition, producer.partitions, lane, 0, 0, 0,
        )  # fmt: skip
        for _ in range(producer.partitions):
            base, capacity = lane_bases[lane]
            lb = at["lanes"] + lane * L_STRIDE
            a[lb : lb + L_STRIDE] = (base, capacity, 0, 0)
            lane += 1
    for k, consumer in enumerate(system.consumers):
        b = at["consumers"] + k * C_STRIDE
        a[b : b + C_STRIDE] = 0
        a[b : b + 6] = (
            consumer.client, consumer.application, consumer.topic, consumer.first_partition, consumer.partitions, consumer.max_poll_records,
        )  # fmt: skip
        a[b + C_PARKED] = NONE
        for q in range(consumer.first_partition, consumer.first_partition + consumer.partitions):
            a[at["logs"] + (consumer.topic * p + q) * LG_STRIDE + LG_CONSUMER] = k
    for x in range(2 * p):
        a[at["logs"] + x * LG_STRIDE + LG_BASE] = logs_base[x]
    # The backlog lies in the logs before time 0: records, and at the first of each batch where the batch ends.
    batch = system.backlog_batch_records
    for q in range(p):
        records = np.flatnonzero(system.partition[: system.backlog] == q)
        m, base = len(records), logs_base[q]
        a[base : base + m] = records
        ends = base + int(per_partition[q])
        starts = np.arange(0, m, batch)
        a[ends + starts] = np.minimum(starts + batch, m)
        a[at["logs"] + q * LG_STRIDE + LG_N] = m
    # LG_ENDS holds where the ends of batches begin, relative to the log's base.
    for x in range(2 * p):
        a[at["logs"] + x * LG_STRIDE + LG_ENDS] = int(per_partition[x % p])

    for i, t in enumerate(system.threads):
        b = at["threads"] + i * T_STRIDE
        a[b + T_HOST], a[b + T_PROGRAM], a[b + T_STATE], a[b + T_INDEX] = t.host, distinct[t.program], WAKING, t.index
        for place in (
            T_QUEUE_NEXT,
            T_MESSAGE,
            T_MAILBOX,
            T_MAILBOX_TAIL,
            T_CONN,
            T_CONN_TAIL,
            T_DELIVERIES,
            T_DELIVERIES_TAIL,
            T_ASIDE,
            T_DUE,
        ):
            a[b + place] = NONE
        a[b + T_PRODUCER] = a[b + T_CONSUMER] = NONE
        a[b + T_WAKE_KEY] = draw_key(system.seed, i, PURPOSE_WAKE, 0)
        a[b + T_NETWORK_KEY] = draw_key(system.seed, i, PURPOSE_NETWORK, 0)
    for k, producer in enumerate(system.producers):
        a[at["threads"] + producer.client * T_STRIDE + T_PRODUCER] = k
        if producer.application >= 0:
            a[at["threads"] + producer.application * T_STRIDE + T_PRODUCER] = k
    for g, t_ in enumerate(system.generators):
        a[at["threads"] + t_ * T_STRIDE + T_PRODUCER] = g
        a[at["threads"] + t_ * T_STRIDE + T_RECORD] = system.backlog + g - len(system.generators)
    for k, consumer in enumerate(system.consumers):
        for t_ in (consumer.client, consumer.application):
            a[at["threads"] + t_ * T_STRIDE + T_CONSUMER] = k
    return a


def grow(a: Arena) -> Arena:
    """A larger arena: the heap and the message pool move to its end with twice the room."""
    heap_cap, messages_cap = 2 * int(a[G_HEAP_CAP]), 2 * int(a[G_MESSAGES_CAP])
    out: Arena = np.zeros(len(a) + heap_cap * E_STRIDE + messages_cap * M_STRIDE, dtype=np.int64)
    out[: len(a)] = a
    heap, messages = len(a), len(a) + heap_cap * E_STRIDE
    out[heap : heap + a[G_HEAP_CAP] * E_STRIDE] = a[a[G_HEAP] : a[G_HEAP] + a[G_HEAP_CAP] * E_STRIDE]
    out[messages : messages + a[G_MESSAGES_CAP] * M_STRIDE] = a[
        a[G_MESSAGES] : a[G_MESSAGES] + a[G_MESSAGES_CAP] * M_STRIDE
    ]
    out[G_HEAP], out[G_HEAP_CAP], out[G_MESSAGES], out[G_MESSAGES_CAP] = heap, heap_cap, messages, messages_cap
    return out
