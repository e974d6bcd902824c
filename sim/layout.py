"""Lays a system out in the arena of the compiled loop."""

from __future__ import annotations

import mmap
from contextlib import suppress

import numpy as np

from control import cache
from control.batching import V_LIMIT
from scenarios.draws import PURPOSE_FLUSH, PURPOSE_NETWORK, PURPOSE_WAKE, draw, draw_key
from sim import layout_models
from sim import operations as op
from sim.arena import *  # the named offsets are this module's vocabulary
from sim.pipelines.poll_loop import worker
from sim.programs import broker_thread, collector, consumer_client, generator, producer_client
from sim.system import COST_BITS, Int64s, Service, System

#: What stands in the arena besides tables of structures: quantile tables and columns of records, by header place.
#: A whole core, as a share of discipline `ps`.
WHOLE = 1 << SHARE_BITS
_COLUMNS = (G_PARTITION, G_WORKER, G_BATCH, G_LINK, G_KEY)


class _Room:
    """Places in an arena that is not there yet."""

    def __init__(self) -> None:
        self.size = G_SIZE

    def take(self, count: int) -> int:
        """The base of so many integers more, at the beginning of a line of the processor's cache."""
        base = -(-self.size // LINE) * LINE
        self.size = base + count
        return base


def zeros(size: int) -> Arena:
    """An arena of zeros on huge pages where the system has them.

    A record's stamps lie in a dozen columns far apart: on small pages nearly every one would miss the address cache.
    The mapping is private: shared ones get huge pages only where the whole system was told so.
    """
    memory = mmap.mmap(-1, max(1, size) * 8, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, dtype=np.int64, count=size)


def build(system: System) -> Arena:
    """The arena of a system before its first event."""
    n, room = system.records, _Room()
    tables = {G_WAKE: system.wake, G_TIMER: system.timer, G_NETWORK: system.network, G_COLD: system.cold}
    bases = {
        G_THREADS: room.take(len(system.threads) * T_STRIDE),
        G_HOSTS: room.take(len(system.hosts) * H_STRIDE),
        G_HOST_THREADS: room.take(len(system.threads)),
        G_PRODUCERS: room.take(len(system.producers) * P_STRIDE),
        G_CONSUMERS: room.take(len(system.consumers) * C_STRIDE),
        G_BLOCKED: room.take((len(system.threads) >> WORD_BITS) + 1),
        G_LANES: room.take(sum(x.partitions for x in system.producers) * L_STRIDE),
        G_FIRSTS: room.take(sum(x.partitions for x in system.producers)),
        G_FULLS: room.take(sum(x.partitions for x in system.producers)),
        G_LOGS: room.take(2 * system.partitions * LG_STRIDE),
        G_COSTS: room.take(len(system.costs) * K_STRIDE),
        G_EXCHANGES: room.take(len(system.exchanges) * X_STRIDE),
        G_SERVICES: room.take(len(system.services) * S_STRIDE),
        G_LOST: room.take(n) if any(x.loses for x in system.services) or system.models else NONE,
        G_EXECUTORS: room.take(len(system.micro_batch.executors) if system.micro_batch else 0),
        **{place: room.take(LINE + len(table)) + LINE for place, table in tables.items()},
        G_STAMPS: room.take(op.STAMPS * n),
        **{place: room.take(n) for place in _COLUMNS},
    }
    residuals = [NONE if c.residual is None else room.take(len(c.residual)) for c in system.costs]
    programs = {
        program: room.take(len(program) * OP_STRIDE) for program in dict.fromkeys(t.program for t in system.threads)
    }
    serving = [i for i, t in enumerate(system.threads) if any(code == op.SERVE for code, *_ in t.program)]
    serves = {i: room.take(AHEAD_MAX) for i in serving}
    shares = [room.take(len(system.threads) + 1) if host.shares else NONE for host in system.hosts]
    working, running = room.take(2 * len(system.threads)), room.take(len(system.threads))
    inboxes = [
        (room.take(len(x.readers) * I_STRIDE), room.take(len(x.writers) * len(x.readers) * B_STRIDE))
        for x in system.exchanges
    ]
    servers = [_ServiceRoom(room, x, n) for x in system.services]
    logs = [room.take(2 * int(count)) for count in _log_room(system)]
    models = layout_models.Places(room, system) if system.models else None
    leaves = 1 << (len(system.threads) - 1).bit_length()
    pool = 4096 + 16 * len(system.threads)
    bases |= {G_AGENDA: room.take(4 * leaves), G_MESSAGES: room.take(pool * M_STRIDE)}

    a = zeros(room.size)
    known = {**_settings(system), **bases, G_MESSAGES_CAP: pool}
    known[G_MODELS] = models.base if models else NONE
    for place, value in known.items():
        a[place] = value
    for place, table in tables.items():
        a[bases[place] : bases[place] + len(table)] = table
        a[bases[place] - 1] = table[0] if table.min() == table.max() else NONE
    for i, c in enumerate(system.costs):
        k = bases[G_COSTS] + i * K_STRIDE
        one = c.fixed + c.record + c.point * system.points
        whole = ((one + c.byte * size) >> COST_BITS for size in system.record_bytes)
        a[k : k + K_STRIDE] = (c.fixed, c.batch, c.record, c.point, c.byte, c.cold, residuals[i], *whole)
        if c.residual is not None:
            a[residuals[i] : residuals[i] + len(c.residual)] = c.residual
    for program, base in programs.items():
        a[base : base + len(program) * OP_STRIDE] = np.asarray(program, dtype=np.int64).ravel()
    _records(a, system)
    _hosts(a, system, shares, working, running)
    _clients(a, system)
    _logs(a, system, logs)
    _threads(a, system, programs, serves)
    _roles(a, system)
    _exchanges(a, system, inboxes)
    _services(a, system, servers)
    _micro_batch(a, system)
    if models:
        models.fill(a, system)
    _agenda(a, leaves)
    return a


def _agenda(a: Arena, leaves: int) -> None:
    a[G_LEAVES] = leaves
    nodes = a[a[G_AGENDA] : a[G_AGENDA] + 4 * leaves].reshape(-1, 2)
    nodes[:, 0] = FAR
    nodes[leaves:, 1] = np.arange(leaves)


def _log_room(system: System) -> Int64s:
    """Records that each log may hold: of the output, as often as a record may be scored again."""
    count = _per_partition(system)
    again = system.models.kills if system.models else 0
    return np.concatenate([count, count * (1 + again)])


def _per_partition(system: System) -> Int64s:
    """Records of each partition."""
    return np.bincount(system.partition, minlength=system.partitions).astype(np.int64)


def _settings(system: System) -> dict[int, int]:
    """The header's plain values."""
    return {
        G_SEED: system.seed,
        G_FREE: NONE,
        G_INBOX: NONE,
        G_INBOX_TAIL: NONE,
        G_THREADS_N: len(system.threads),
        G_HOSTS_N: len(system.hosts),
        G_BROKER0: system.broker_threads[0] if system.broker_threads else NONE,
        G_BROKERS: len(system.broker_threads),
        G_GENERATORS: len(system.generators),
        G_RECORDS: system.records,
        G_COLUMN: system.records,
        G_BACKLOG: system.backlog,
        G_POINTS: system.points,
        G_BYTES_IN: system.record_bytes[0],
        G_BYTES_OUT: system.record_bytes[1],
        G_PARTITIONS: system.partitions,
        G_LINGER: system.linger_ns,
        G_BATCH_RECORDS: system.batch_records,
        G_BATCH_BYTES: system.batch_bytes,
        G_MAX_FLIGHT: system.max_in_flight,
        G_FETCH_MIN: system.fetch_min_bytes,
        G_FETCH_WAIT: system.fetch_max_wait_ns,
        G_FETCH_MAX: system.fetch_max_bytes,
        G_PARTITION_MAX: system.partition_fetch_bytes,
        G_QUEUED_RECORDS: system.queued_records,
        G_QUEUED_BYTES: system.queued_bytes,
        G_FETCH_BACKOFF: system.fetch_backoff_ns,
        G_DELIVERY_POLL: system.delivery_poll_ns,
        G_AHEAD: _ahead(system),
        G_NETWORK_MIN: int(system.network.min()),
        G_WAKE_MIN: int(system.wake.min()),
        G_NEXT: NONE,
        G_SHARED: NONE,
        G_AT: NONE,
        G_TAKEN_BACK: NONE,
        G_TASKS: NONE,
        G_TASKS_TAIL: NONE,
        G_MB_STARTED: NONE,
        G_SPARE: 3 * len(system.threads) + system.partitions + 16 + _most_sent(system),
    }


def _most_sent(system: System) -> int:
    """The requests, with their forks, that one thread may send on at one instant."""
    return max(
        (x.batch_records * (1 + max((len(e.services) for e in x.edges), default=0)) for x in system.services), default=0
    )


def _ahead(system: System) -> int:
    """Whether threads may run ahead: then what is scheduled lies in the future, and keys order it all."""
    return int(all(table.min() > 0 for table in (system.wake, system.timer, system.network)))


def _records(a: Arena, system: System) -> None:
    """Due times, partitions, and nothing reached yet; a backlog was sent and appended before time 0."""
    n, stamps = system.records, int(a[G_STAMPS])
    a[stamps : stamps + op.STAMPS * n] = NONE
    a[stamps : stamps + n] = system.created
    for column in (op.SENT, op.APPENDED):
        a[stamps + column * n : stamps + column * n + system.backlog] = 0
    a[a[G_PARTITION] : a[G_PARTITION] + n] = system.partition
    for place in (G_WORKER, G_BATCH):
        a[a[place] : a[place] + n] = NONE


def _hosts(a: Arena, system: System, shares: list[int], working: int, running: int) -> None:
    first = int(a[G_HOST_THREADS])
    for h, host in enumerate(system.hosts):
        own = [i for i, t in enumerate(system.threads) if t.host == h]
        plenty = len(own) <= host.cores
        if host.shares:
            share = [host.shares[min(n, len(host.shares)) - 1] for n in range(1, len(own) + 1)]
            plenty = min(share, default=WHOLE) == WHOLE
            a[shares[h] + 1 : shares[h] + 1 + len(own)] = share
        # Where cores cannot run out no slice and no share ever matters: 0 spares the loop their accounting.
        slice_ns = 0 if plenty or host.shares else host.slice_ns
        b = a[G_HOSTS] + h * H_STRIDE
        a[b : b + H_SHARES] = (host.cores, slice_ns, host.cores, NONE, NONE, 0, first, len(own))
        a[b + H_SHARES], a[b + H_WORKING] = (NONE if plenty or not host.shares else shares[h]), working
        a[b + H_NEXT], a[b + H_RUNNING] = NONE, running
        a[first : first + len(own)] = own
        first += len(own)
        working += 2 * len(own)
        running += len(own)


def _clients(a: Arena, system: System) -> None:
    lane = 0
    for k, p in enumerate(system.producers):
        b = a[G_PRODUCERS] + k * P_STRIDE
        size = system.record_bytes[p.topic]
        limit = min(system.batch_records, -(-system.batch_bytes // size))
        most = min(system.batch_records, max(1, system.batch_bytes // size))
        a[b : b + P_STRIDE] = (
            *(p.client, p.application, p.topic, p.first_partition, p.partitions, lane),
            *(0, 0, 0, size, limit, most, p.application, NONE, NONE, 0),
        )
        for _ in range(p.partitions):
            a[a[G_FIRSTS] + lane] = a[a[G_FULLS] + lane] = FAR
            lane += 1
    for k, c in enumerate(system.consumers):
        b = a[G_CONSUMERS] + k * C_STRIDE
        a[b : b + 6] = (c.client, c.application, c.topic, c.first_partition, c.partitions, c.max_poll_records)
        a[b + C_PARKED] = NONE
        for q in range(c.first_partition, c.first_partition + c.partitions):
            a[a[G_LOGS] + (c.topic * system.partitions + q) * LG_STRIDE + LG_CONSUMER] = k


def _logs(a: Arena, system: System, bases: list[int]) -> None:
    """Logs: records, and behind them, at the first of each batch, where the batch ends; the backlog lies in them."""
    capacities, batch = _log_room(system), system.backlog_batch_records
    read = {(c.topic, q) for c in system.consumers for q in range(c.first_partition, c.first_partition + c.partitions)}
    for x, base in enumerate(bases):
        lg, capacity = a[G_LOGS] + x * LG_STRIDE, int(capacities[x])
        a[lg + LG_BASE], a[lg + LG_ENDS] = base, capacity
        if divmod(x, system.partitions) not in read:
            a[lg + LG_CONSUMER] = NONE
        if x >= system.partitions:
            continue
        records = np.flatnonzero(system.partition[: system.backlog] == x)
        starts = np.arange(0, len(records), batch)
        a[base : base + len(records)] = records
        a[base + capacity + starts] = np.minimum(starts + batch, len(records))
        a[lg + LG_N] = len(records)


def _threads(
    a: Arena, system: System, programs: dict[tuple[tuple[int, int, int, int], ...], int], serves: dict[int, int]
) -> None:
    places = (
        T_TAKEN,
        T_TAKEN_TAIL,
        T_QUEUE_NEXT,
        T_MESSAGE,
        T_MAILBOX,
        T_MAILBOX_TAIL,
        T_CONN,
        T_CONN_TAIL,
        T_DELIVERIES,
        T_DELIVERIES_TAIL,
    )
    brokers = set(system.broker_threads)
    for i, t in enumerate(system.threads):
        b = a[G_THREADS] + i * T_STRIDE
        a[b + T_HOST], a[b + T_PROGRAM], a[b + T_STATE], a[b + T_INDEX] = t.host, programs[t.program], WAKING, t.index
        for place in (*places, T_ASIDE, T_DUE, T_PRODUCER, T_CONSUMER):
            a[b + place] = NONE
        a[b + T_SIGNALLED] = a[b + T_DUE_KEY] = FAR
        a[b + T_EVENT] = a[b + T_ARRIVES] = a[b + T_TIMER_KEY] = FAR
        # Where cores cannot run out nobody can tell a thread that is ahead of the clock from one that is not.
        host = a[G_HOSTS] + t.host * H_STRIDE
        a[b + T_SHARES] = int(a[host + H_SHARES] != NONE)
        a[b + T_AHEAD] = int(a[G_AHEAD] == 1 and a[host + H_SLICE] == 0 and a[host + H_SHARES] == NONE)
        a[b + T_SERVES] = serves.get(i, NONE)
        # Broker threads share one process and its caches: they go cold together.
        a[b + T_HOME] = system.broker_threads[0] if i in brokers else i
        a[b + T_WAKE_KEY] = draw_key(system.seed, i, PURPOSE_WAKE, 0)
        a[b + T_NETWORK_KEY] = draw_key(system.seed, i, PURPOSE_NETWORK, 0)
    for k, p in enumerate(system.producers):
        for t_ in (p.client, p.application):
            if t_ >= 0:
                a[a[G_THREADS] + t_ * T_STRIDE + T_PRODUCER] = k
                a[a[G_THREADS] + t_ * T_STRIDE + T_CALLED_BACK] = int(p.calls_back)
    for g, t_ in enumerate(system.generators):
        b = a[G_THREADS] + t_ * T_STRIDE
        a[b + T_PRODUCER], a[b + T_RECORD] = g, system.backlog + g - len(system.generators)
        if g < len(system.producers):
            a[a[G_PRODUCERS] + g * P_STRIDE + P_FILLER] = t_
    for k, c in enumerate(system.consumers):
        for t_ in (c.client, c.application):
            a[a[G_THREADS] + t_ * T_STRIDE + T_CONSUMER] = k


def _roles(a: Arena, system: System) -> None:
    """Whose program is straight code, too, on a host where it may run ahead, beside the thread it shares state with."""
    if system.models:  # what is killed comes from outside of all that a role looks at
        return
    known = {
        generator(): GENERATOR,
        broker_thread(): BROKER,
        consumer_client(): CONSUMER,
        producer_client(): PRODUCER,
        worker(serves=True): WORKER,
        collector(): COLLECTOR,
    }

    def role(t: int) -> int:
        ahead = a[a[G_THREADS] + t * T_STRIDE + T_AHEAD] == 1
        return known.get(system.threads[t].program, NOBODY) if ahead else NOBODY

    def host(t: int) -> int:
        return system.threads[t].host

    roles = {t: role(t) for t in range(len(system.threads)) if role(t) in (GENERATOR, BROKER)}
    for c in system.consumers:
        if role(c.client) == CONSUMER and host(c.client) == host(c.application):
            roles[c.client] = CONSUMER
            if role(c.application) in (WORKER, COLLECTOR):
                roles[c.application] = role(c.application)
    for k, p in enumerate(system.producers):
        filler = int(a[a[G_PRODUCERS] + k * P_STRIDE + P_FILLER])
        if role(p.client) == PRODUCER and filler >= 0 and host(p.client) == host(filler):
            roles[p.client] = PRODUCER
    for t, own in roles.items():
        a[a[G_THREADS] + t * T_STRIDE + T_ROLE] = own


def _exchanges(a: Arena, system: System, places: list[tuple[int, int]]) -> None:
    for k, x in enumerate(system.exchanges):
        inboxes, buffers = places[k]
        b = a[G_EXCHANGES] + k * X_STRIDE
        a[b : b + X_STRIDE] = (len(x.readers), x.capacity, x.flush_ns, x.buffer_records, inboxes, buffers)
        for i, t in enumerate(x.writers):
            tb = a[G_THREADS] + t * T_STRIDE
            a[tb + T_WRITES], a[tb + T_PLACE], a[tb + T_TURN] = k, i, i % len(x.readers)
            if x.flush_ns:
                a[tb + T_PHASE] = draw(system.seed, t, 0, PURPOSE_FLUSH, 0) % x.flush_ns
        for i, t in enumerate(x.readers):
            inbox = inboxes + i * I_STRIDE
            a[inbox : inbox + I_STRIDE] = (t, NONE, NONE, 0, 0, NONE, NONE)
            a[a[G_THREADS] + t * T_STRIDE + T_INBOX] = inbox


class _ServiceRoom:
    """Where the lists and columns of a service are."""

    def __init__(self, room: _Room, x: Service, records: int) -> None:
        self.threads = room.take(len(x.threads))
        self.edges = room.take(len(x.edges) * D_STRIDE)
        self.targets = [room.take(len(e.services)) for e in x.edges]
        self.visits = room.take(VISITS * records) if x.keeps else NONE
        self.batching = room.take(x.batching.places) if x.batching else NONE
        self.cache = self.keys = self.waiters = NONE
        if x.cache:
            self.cache = room.take(cache.places(x.cache.keys))
            self.keys, self.waiters = room.take(records), room.take(2 * x.cache.keys)


def _services(a: Arena, system: System, places: list[_ServiceRoom]) -> None:
    for k, (x, place) in enumerate(zip(system.services, places, strict=True)):
        b = a[G_SERVICES] + k * S_STRIDE
        a[b : b + S_TAKES] = (
            *(place.threads, len(x.threads), x.batch_records, x.delay_ns, NONE, NONE, 0, place.edges, len(x.edges)),
            *(x.joins, x.capacity, x.earliest_first, x.expiry_ns, x.first_batches, place.visits),
            *(place.batching, x.batch_records, place.cache, place.keys, place.waiters),
            x.cache.answer_bytes if x.cache else 0,
        )
        if x.batching:
            header = x.batching.header
            a[place.batching : place.batching + len(header)] = header
            a[b + S_BATCH] = header[V_LIMIT]
        if x.cache:
            header = cache.header(x.cache.room)
            a[place.cache : place.cache + len(header)] = header
            a[place.keys : place.keys + system.records] = x.cache.key
            a[place.waiters : place.waiters + 2 * x.cache.keys] = NONE
        a[place.threads : place.threads + len(x.threads)] = x.threads
        for i, edge in enumerate(x.edges):
            d, first = place.edges + i * D_STRIDE, place.targets[i]
            a[d : d + D_STRIDE] = (edge.below, len(edge.services), first)
            a[first : first + len(edge.services)] = edge.services
        if place.visits != NONE:
            a[place.visits : place.visits + VISITS * system.records] = NONE


def _micro_batch(a: Arena, system: System) -> None:
    m = system.micro_batch
    if m is None:
        return
    a[G_MB_DRIVER], a[G_MB_INTERVAL], a[G_MB_POLL], a[G_MB_MAX] = m.driver, m.interval_ns, m.poll_ns, m.max_records
    a[G_EXECUTORS_N] = len(m.executors)
    a[a[G_EXECUTORS] : a[G_EXECUTORS] + len(m.executors)] = m.executors


def grow(a: Arena) -> Arena:
    """A larger arena: the message pool moves to its end with twice the room."""
    cap, base = 2 * int(a[G_MESSAGES_CAP]), len(a)
    out = zeros(base + cap * M_STRIDE)
    out[:base] = a
    used = a[G_MESSAGES_CAP] * M_STRIDE
    out[base : base + used] = a[a[G_MESSAGES] : a[G_MESSAGES] + used]
    out[G_MESSAGES], out[G_MESSAGES_CAP] = base, cap
    return out
