"""How busy each group of threads and each host was in a window of a simulated run, and which is the bottleneck."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from sim import operations as op
from sim.counters import Reading, read
from sim.execution import LoopExecution
from sim.explain_stages import Timeline
from sim.system import Int64s, System

#: Parts whose work no record waits for.
_BACKGROUND = "background"
#: Groups that serve one queue together: any of them may be the busiest, all of them together have to keep up.
_POOLS = ("broker", "server", "stage.")
#: What a group of threads does, by the name of its threads without numbers.
ROLES = {
    "generator.app": "generators",
    "generator.client": "generators' producer clients",
    "broker": "broker",
    "source.app": "sources",
    "source.consumer": "sources' consumer clients",
    "worker.app": "scoring tasks",
    "worker.source": "source actors",
    "worker.sink": "sink actors",
    "worker.consumer": "tasks' consumer clients",
    "worker.producer": "tasks' producer clients",
    "sink.app": "sinks",
    "sink.producer": "sinks' producer clients",
    "driver.app": "driver",
    "server": "server",
    "collector.app": "collector",
    "collector.consumer": "collector's consumer client",
}


@dataclass(frozen=True, slots=True)
class Busy:
    """How busy a group of threads, or a host, was.

    Attributes:
        name: What it is.
        kind: `threads` or `host`.
        count: Threads, or cores.
        cpu: Share of the time that its busiest thread worked; of a host the share of what its cores can do.
        cpu_mean: The same, mean over its threads.
        waiting: Share of the time that its threads waited for a core, mean.
        occupied: Share of the time that its busiest thread had a record, a call or a task at hand; None if not known.
        pool: Whether its threads serve one queue together.
        limits: Whether it can be what limits the pipeline.
    """

    name: str
    kind: str
    count: int
    cpu: float
    cpu_mean: float
    waiting: float
    occupied: float | None
    pool: bool = False
    limits: bool = True

    @property
    def utilisation(self) -> float:
        """The larger of what its busiest thread worked and was occupied; of a pool what all of them worked."""
        return self.cpu_mean if self.pool else max(self.cpu, self.occupied or 0.0)


def readings(sys: System, *at_ns: int) -> list[Reading]:
    """The counters at some instants of a run, ascending."""
    execution, found = LoopExecution(sys), []
    for at in at_ns:
        execution.advance(at)
        found.append(read(execution, at))
    return found


def busy(found: Timeline, begin_ns: int, end_ns: int) -> list[Busy]:
    """Groups of threads and hosts in a window of a run, the busiest first."""
    begin, end = readings(found.system, begin_ns, end_ns)
    return between(found.system, begin, end, _occupied(found, begin_ns, end_ns))


def between(sys: System, begin: Reading, end: Reading, occupied: Mapping[int, float]) -> list[Busy]:
    """The same from what was read at a window's edges, and the share of it that threads had something at hand."""
    window = max(1, end.at_ns - begin.at_ns)
    cpu = (np.array(end.cpu_ns) - np.array(begin.cpu_ns)) / window
    wait = (np.array(end.wait_ns) - np.array(begin.wait_ns)) / window
    groups: dict[str, list[int]] = {}
    for i, t in enumerate(sys.threads):
        groups.setdefault(re.sub(r"\.\d+", "", t.name), []).append(i)
    rows = []
    for group, mine in groups.items():
        shares = [occupied[i] for i in mine if i in occupied]
        rows.append(
            Busy(
                ROLES.get(group, group),
                "threads",
                len(mine),
                float(cpu[mine].max()),
                float(cpu[mine].mean()),
                float(wait[mine].mean()),
                max(shares) if shares else None,
                group.startswith(_POOLS),
                _BACKGROUND not in group,
            )
        )
    for h, host in enumerate(sys.hosts):
        mine = [i for i, t in enumerate(sys.threads) if t.host == h]
        used = float(cpu[mine].sum()) / _capacity(sys, h)
        name = "cores" if len(sys.hosts) == 1 else f"cores of {host.name}"
        rows.append(Busy(name, "host", host.cores, used, used, float(wait[mine].mean()) if mine else 0.0, None, True))
    return sorted(rows, key=lambda row: -row.utilisation)


def bottleneck(rows: Iterable[Busy]) -> Busy:
    """The busiest that a record has to pass."""
    return max((row for row in rows if row.limits), key=lambda row: row.utilisation)


def _capacity(sys: System, h: int) -> float:
    """What a host can do at most, in cores."""
    host = sys.hosts[h]
    if host.shares is None:
        return float(host.cores)
    return max(n * share / 256 for n, share in enumerate(host.shares, start=1))


def _occupied(found: Timeline, begin_ns: int, end_ns: int) -> dict[int, float]:
    """Of threads that have one record at hand at a time, the share of the window that they had one.

    It counts what CPU time does not: the wait for an answer, for a delivery, for a core.
    """
    sys, at = found.system, found.instants
    scoring = np.array(sys.workers, dtype=np.int64)
    spent: dict[int, float] = {}

    def add(threads: Int64s, whose: Int64s, came: Int64s, left: Int64s) -> None:
        known = (whose >= 0) & (whose < len(threads)) & (came >= 0) & (left >= 0)
        inside = np.clip(left[known], begin_ns, end_ns) - np.clip(came[known], begin_ns, end_ns)
        total = np.bincount(whose[known], weights=inside, minlength=len(threads))
        for i, ns in zip(threads.tolist(), total.tolist(), strict=True):
            spent[i] = ns / max(1, end_ns - begin_ns)

    if sys.micro_batch and "fetched" in at:
        add(scoring, *_tasks(at["worker"], at["batch"], at["partition"], at["fetched"], at["acked"]))
    elif "got" in at and "scored" in at:
        add(scoring, at["worker"], at["got"], at["scored"])
    elif "begun" in at and "out_enqueued" in at:
        add(scoring, at["worker"], at["begun"], at["out_enqueued"])
    waiting = [i for i, t in enumerate(sys.threads) if {op.GET, op.FLUSH} <= {code for code, *_ in t.program}]
    if waiting and "taken_out" in at:
        add(np.array(waiting, dtype=np.int64), at["sink"], at["taken_out"], at["acked"])
    return spent


def _tasks(
    worker: Int64s, batch: Int64s, partition: Int64s, begun: Int64s, ended: Int64s
) -> tuple[Int64s, Int64s, Int64s]:
    """Of each micro-batch's tasks that are done: the executor, when it began, when its last record was delivered."""
    known = np.flatnonzero((worker >= 0) & (begun >= 0) & (ended >= 0))
    partitions = int(partition.max(initial=0)) + 1
    _, first, which = np.unique(batch[known] * partitions + partition[known], return_index=True, return_inverse=True)
    last = np.zeros(len(first), dtype=np.int64)
    np.maximum.at(last, which, ended[known])
    return worker[known][first], begun[known][first], last
