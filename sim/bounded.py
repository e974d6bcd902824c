"""A run whose memory does not grow with its length: the compiled loop over a window of the records.

Columns hold the records in flight and those that are due next.  Records keep their sequence numbers; the header's
places of columns and logs lie as much before the arena as was let go, so the loop runs as it is.  Between two
stretches of the run the records that were answered are handed on, in order, from the oldest to the first that was not;
what is left moves to the front, and records that are due next come in behind.  Cutting a run changes nothing in it, so
its stamps are those of a run that keeps them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from analysis.columns import STAMP_COLUMNS
from scenarios import arrivals
from scenarios.spec import Scenario
from sim import arena, layout, loop, system
from sim import operations as op
from sim.costs import Calibration
from sim.execution import LoopExecution, deadlock
from sim.system import Int64s, System, UnsupportedError

#: Records of the window at first; it doubles while more than half of it is in flight.
WINDOW = 1 << 18
#: Records of the system that the arena is laid out for, before the window stands behind it.
_FIRST = 64
_PLACES = (arena.G_PARTITION, arena.G_WORKER, arena.G_BATCH, arena.G_LINK, arena.G_KEY)
_ROWS = op.STAMPS + len(_PLACES)
_PARTITION = op.STAMPS

#: take(columns of records that follow one another, sequence of the first): stamps as in `LoopExecution.stamps`
Take = Callable[[dict[str, Int64s], int], None]


def build(scenario: Scenario, calibration: Calibration) -> System:
    """The system of a scenario but for its records: it has only the first few.

    Raises:
        UnsupportedError: The scenario cannot be run in a window.
    """
    load = scenario.workload
    _refuse(load.backlog_records > 0, "workload.backlog", "a backlog is in flight as a whole")
    _refuse(load.warmup_rule != "fixed", "workload.warmup", f"{load.warmup_rule} is found from every record")
    few = min(_FIRST, _FIRST if load.records is None else load.records)
    made = system.build(replace(scenario, workload=replace(load, records=few)), calibration)
    for asked, where in (
        (made.models, "model_stream, faults"),
        (made.micro_batch, "engine.kind: micro-batches"),
        (not made.broker_threads, "engine.kind: no broker"),
        (any(x.cache for x in made.services), "serving.cache"),
        (any(x.keeps or x.loses for x in made.services), "engine.kind: stages"),
    ):
        _refuse(bool(asked), where, "needs every record to the end")
    return made


def _refuse(asked: bool, where: str, why: str) -> None:
    if asked:
        raise UnsupportedError(f"{where}: not with --records none: {why}")


class _Due:
    """Records that are still to come."""

    def __init__(self, scenario: Scenario, size: int) -> None:
        load = scenario.workload
        self._blocks: Iterator[Int64s] = arrivals.blocks(
            load.arrival, load.warmup_ns + load.duration_ns, load.seed, size=size, limit=load.records
        )
        self._next = next(self._blocks, None)

    @property
    def over(self) -> bool:
        """Whether none is left."""
        return self._next is None

    def take(self, count: int) -> Int64s:
        """When the next ones are due: `count`, or as many as there are."""
        parts, missing = [np.empty(0, dtype=np.int64)], count
        while missing > 0 and self._next is not None:
            part, rest = self._next[:missing], self._next[missing:]
            parts.append(part)
            missing -= len(part)
            self._next = rest if len(rest) else next(self._blocks, None)
        return np.concatenate(parts)


class BoundedExecution(LoopExecution):
    """The compiled loop over a window of the records.

    Attributes:
        first: Sequence of the oldest record in the window.
        limit: Sequence behind the last one.
        window: Room for records.
    """

    def __init__(self, scenario: Scenario, sys: System, take: Take, *, window: int = WINDOW) -> None:
        """Lays it out.

        Args:
            scenario: What is run.
            sys: Of `build`.
            take: Called with records that are done, each once, in order.
            window: Records of the window at first.
        """
        super().__init__(sys)
        self._scenario, self._take = scenario, take
        self._due = _Due(scenario, window)
        self.first = self.limit = 0
        self.window, self._messages = window, int(self._arena[arena.G_MESSAGES_CAP])
        self._fixed = int(self._arena[arena.G_MESSAGES])
        self._pool = 0  # room for logs
        self._view = np.empty((_ROWS, 0), dtype=np.int64)
        self._created_last = 0
        #: logs whose reader goes through its polls record by record, and is done with those behind its cursor
        a, lines = self._arena, self._logs()
        programs = [
            sys.threads[sys.consumers[c].application].program if c != arena.NONE else ()
            for c in lines[:, arena.LG_CONSUMER].tolist()
        ]
        self._by_cursor = np.array([any(code == op.NEXT for code, *_ in p) for p in programs], dtype=bool)
        a[arena.G_RECORDS] = arena.FAR
        self._lay(np.empty((_ROWS, 0), dtype=np.int64))

    @property
    def total(self) -> int | None:
        """Records of the run; None until the last one has come into the window."""
        return self.limit if self._due.over else None

    def advance(self, until_ns: int) -> None:
        """Takes every event before `until_ns`."""
        self._until_ns = until_ns
        while True:
            stop = min(until_ns, self._known_ns())
            if stop < until_ns and stop <= int(self._arena[arena.G_NOW]):
                self._turn()
                continue
            while (state := self._advance(stop)) == loop.GROW:
                self._messages *= 2
                self._lay(self._view[:, : self.limit - self.first].copy())
            if state == loop.DEADLOCK:
                raise deadlock(self)
            if stop == until_ns:
                return
            self._turn()

    def finish(self) -> None:
        """Hands on what is left, answered or not."""
        a = self._arena
        for i in range(len(self.system.threads)):
            self._stamp_work_under_way(i, int(a[arena.G_STAMPS]))
        self._hand_on(self.limit - self.first)
        self.first = self.limit

    def _known_ns(self) -> int:
        """Before this no generator looks for a record beyond the window."""
        if self._due.over:
            return arena.FAR
        return int(self._view[op.CREATED, self.limit - self.first - len(self.system.generators)])

    def _turn(self) -> None:
        """Hands on what is answered, and lets in what is due next."""
        n = self.limit - self.first
        open_ = (self._view[op.OUT_APPENDED, :n] < 0) | (self._view[op.ACKED, :n] < 0)
        k = int(np.argmax(open_)) if open_.any() else n
        self._hand_on(k)
        self.first += k
        self._lay(self._view[:, k:n].copy())

    def _hand_on(self, k: int) -> None:
        if k:
            columns = {name: self._view[i, :k] for i, name in enumerate(STAMP_COLUMNS)}
            for i, name in enumerate(("partition", "worker", "batch")):
                columns[name] = self._view[_PARTITION + i, :k]
            self._take(columns, self.first)

    def _logs(self) -> Int64s:
        base, count = int(self._arena[arena.G_LOGS]), 2 * self.system.partitions
        return self._arena[base : base + count * arena.LG_STRIDE].reshape(count, arena.LG_STRIDE)

    def _lay(self, kept: Int64s) -> None:
        """Lays columns and logs out anew: `kept` at the front, then what is due next."""
        log_records, log_ends, live, dead = self._open_logs()
        came, now = kept.shape[1], int(self._arena[arena.G_NOW])
        least = max(self.window, 4 * len(self.system.generators) + 4)
        while came > least // 2:
            least *= 2
        new = self._due.take(least - came)
        while not self._due.over and int(new[-len(self.system.generators)]) <= now:  # many are due at one instant
            new = np.concatenate([new, self._due.take(least)])
            least *= 2
        n = came + len(new)
        columns = np.full((_ROWS, len(new)), arena.NONE, dtype=np.int64)
        columns[op.CREATED] = new
        columns[_PARTITION] = arrivals.partition_from(self._scenario, self.first + came, len(new))
        self.limit = self.first + n

        partition = np.concatenate([kept[_PARTITION], columns[_PARTITION]])
        to_come = [
            np.bincount(partition[np.concatenate([kept[row], columns[row]]) < 0], minlength=self.system.partitions)
            for row in (op.APPENDED, op.OUT_APPENDED)
        ]
        need = live + np.concatenate(to_come)
        self._make_room(least, 2 * int(need.sum()))
        self._view[:, :came] = kept
        self._view[:, came:n] = columns
        a, base = self._arena, self._columns - self.first
        a[arena.G_STAMPS] = base
        for i, place in enumerate(_PLACES):
            a[place] = base + (op.STAMPS + i) * self.window
        a[arena.G_COLUMN] = self.window
        if self._due.over:
            a[arena.G_RECORDS] = self.limit

        lines, at = self._logs(), self._columns + _ROWS * self.window + 2 * (np.cumsum(need) - need)
        places = _spread(at, live)
        a[places] = log_records
        a[places + np.repeat(need, live)] = log_ends
        lines[:, arena.LG_BASE], lines[:, arena.LG_ENDS] = at - dead, need

    def _open_logs(self) -> tuple[Int64s, Int64s, Int64s, Int64s]:
        """Of the logs, what somebody will still read: records, ends of batches, how many each, how many before."""
        lines = self._logs()
        dead = np.where(self._by_cursor, lines[:, arena.LG_CURSOR], lines[:, arena.LG_POLLED])
        live = lines[:, arena.LG_N] - dead
        places = _spread(lines[:, arena.LG_BASE] + dead, live)
        ends = self._arena[places + np.repeat(lines[:, arena.LG_ENDS], live)]
        return self._arena[places], ends, live, dead

    def _make_room(self, window: int, pool: int) -> None:
        """An arena with so much room, where this one has less."""
        a, cap = self._arena, int(self._arena[arena.G_MESSAGES_CAP])
        if window > self.window or pool > self._pool or self._messages > cap or not self._view.shape[1]:
            self.window, self._pool = window, max(pool + pool // 4, self._pool, 5 * window)
            self._columns = -(-(self._fixed + self._messages * arena.M_STRIDE) // arena.LINE) * arena.LINE
            out = layout.zeros(self._columns + _ROWS * window + self._pool)
            out[: self._fixed] = a[: self._fixed]
            used = int(a[arena.G_MESSAGES_N]) * arena.M_STRIDE
            out[self._fixed : self._fixed + used] = a[a[arena.G_MESSAGES] : a[arena.G_MESSAGES] + used]
            out[arena.G_MESSAGES], out[arena.G_MESSAGES_CAP] = self._fixed, self._messages
            self._arena = out
            self._view = out[self._columns : self._columns + _ROWS * window].reshape(_ROWS, window)


def _spread(base: Int64s, count: Int64s) -> Any:
    """`base[i]`, `base[i]` + 1, ... for `count[i]` places, of each i in order."""
    return np.repeat(base - (np.cumsum(count) - count), count) + np.arange(int(count.sum()), dtype=np.int64)
