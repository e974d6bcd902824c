"""Where the time of a record goes: the instants at which it passes from one stage of a simulated run to the next.

A run has nine stamps a record.  More are had from the same system with its stamps at other places of the programs: a
stamp takes no time, so nothing else changes, which is checked.  Two instants follow by rule from stamps: when a
producer's batch was ready to be sent, and until when the thread that polls was at work on what it had polled before.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.columns import STAMP_COLUMNS
from sim import operations as op
from sim.execution import LoopExecution, SimulationError
from sim.explain_graph import ways
from sim.programs import Operations
from sim.system import INPUT, OUTPUT, Int64s, System, Thread

#: Operations whose operands are places in the program, and how many of them are.
_JUMPS = dict.fromkeys(
    (op.JUMP, op.ARRIVE, op.PRODUCE_NEXT, op.COMPLETE_NEXT, op.FETCH_EVAL, op.POLL, op.NEXT, op.NEXT_TASK), 1
) | {op.BRANCH_KIND: 2}
_CAME, _BEGUN = 0, 1  # rows of visits


@dataclass(frozen=True, slots=True)
class Place:
    """Where else a stamp is set: before or after every such operation of the threads that are meant."""

    instant: str
    column: int
    operations: tuple[int, ...]
    after: bool
    of: Callable[[Thread], bool]


@dataclass(frozen=True, slots=True)
class Timeline:
    """The way of every record through one run.

    Attributes:
        system: What was run.
        spans: (stage, ns of each record) in the order of the way; they sum to the latency of a record.
        whole: Which records went all the way: the spans of others mean nothing.
        instants: Every instant found, by name.
    """

    system: System
    spans: tuple[tuple[str, Int64s], ...]
    whole: NDArray[np.bool_]
    instants: Mapping[str, Int64s]


def _codes(t: Thread) -> set[int]:
    return {operation[0] for operation in t.program}


def _scores(t: Thread) -> bool:
    return any(code == op.GET and whose == op.MINE for code, _, whose, _ in t.program)


def _ends(t: Thread) -> bool:
    return op.GET in _codes(t) and not _scores(t)


def _generates(t: Thread) -> bool:
    return op.ARRIVE in _codes(t)


#: Of each pass one stamp a column.
PASSES: tuple[tuple[Place, ...], ...] = (
    (
        Place("enqueued", op.SENT, (op.ENQUEUE, op.PUT, op.CALL), False, _generates),
        Place("begun", op.FETCHED, (op.NEXT, op.NEXT_TASK), True, lambda t: True),
        Place("got", op.SCORE_BEGIN, (op.GET,), True, _scores),
        Place("answered", op.SCORE_END, (op.RECV,), True, lambda t: op.CALL in _codes(t)),
        Place("out_enqueued", op.PRODUCED, (op.ENQUEUE,), False, lambda t: not _generates(t)),
    ),
    (
        Place("handed", op.FETCHED, (op.PUT,), False, lambda t: op.POLL in _codes(t)),
        Place("called", op.SCORE_BEGIN, (op.CALL,), False, lambda t: not _generates(t)),
        Place("scored", op.SCORE_END, (op.PUT,), False, _scores),
    ),
    (
        Place("through", op.FETCHED, (op.PUT,), True, lambda t: op.POLL in _codes(t)),
        Place("taken_out", op.SCORE_END, (op.GET,), True, _ends),
    ),
)


def timeline(sys: System) -> Timeline:
    """Runs a system, and again for each pass, and puts the records' ways together.

    Raises:
        SimulationError: The pipeline came to a deadlock.
    """
    sys = dataclasses.replace(sys, services=tuple(dataclasses.replace(s, keeps=True) for s in sys.services))
    execution = LoopExecution(sys)
    execution.advance(sys.horizon_ns)
    found = {name: column.copy() for name, column in execution.stamps().items()}
    visits = [execution.visits(k).copy() for k in range(len(sys.services))]
    del execution
    for places in PASSES:
        found |= _pass(sys, places, found)
    if any(service.edges for service in sys.services):
        spans = _graph_spans(sys, visits, found)
    else:
        if visits:
            found |= {"came": visits[0][_CAME], "served": visits[0][_BEGUN]}
        stages = _stages(sys, found)
        begins = [found["created"], *(end for _, end in stages)]
        spans = [(name, end - begin) for (name, end), begin in zip(stages, begins, strict=False)]
    return Timeline(sys, tuple(spans), found["out_appended"] >= 0, found)


def _graph_spans(sys: System, visits: Sequence[Int64s], at: Mapping[str, Int64s]) -> list[tuple[str, Int64s]]:
    sent, enqueued, whole = at["sent"], at["enqueued"], at["out_appended"] >= 0
    first = [("generator is late", sent - at["created"]), ("serialise and send", enqueued - sent)]
    return first + ways(sys, visits, enqueued, whole)


def _pass(sys: System, places: Sequence[Place], base: Mapping[str, Int64s]) -> dict[str, Int64s]:
    """The instants of places; and whose a record was as it was read, or in the end, where that is not who scores it."""
    there = [p for p in places if any(p.of(t) and p.column in _stamped(sys) and _has(t, p) for t in sys.threads)]
    if not there:
        return {}
    threads = tuple(dataclasses.replace(t, program=_moved(t, there, sinks=places is PASSES[-1])) for t in sys.threads)
    execution = LoopExecution(dataclasses.replace(sys, threads=threads))
    execution.advance(sys.horizon_ns)
    stamps = execution.stamps()
    for column in ("acked", "out_appended"):
        if not np.array_equal(stamps[column], base[column]):
            raise SimulationError(f"the run is another with its stamps elsewhere: {column} differs")
    found = {p.instant: stamps[STAMP_COLUMNS[p.column]].copy() for p in there}
    who = {1: "reader", 2: "sink"}.get(PASSES.index(tuple(places)))
    return found | ({who: stamps["worker"].copy()} if who else {})


def _stamped(sys: System) -> set[int]:
    return {a for t in sys.threads for code, a, _, _ in t.program if code == op.STAMP}


def _has(t: Thread, p: Place) -> bool:
    return any(code in p.operations for code, *_ in t.program)


def _moved(t: Thread, places: Sequence[Place], *, sinks: bool) -> Operations:
    """A thread's program with stamps at other places; a column that is set elsewhere now is not set where it was.

    Args:
        t: The thread.
        places: Of one pass.
        sinks: The record's worker becomes its sink; else it stays who read it.
    """
    mine = [p for p in places if p.of(t) and _has(t, p)]
    columns = {p.column for p in places}
    operations: list[tuple[int, int, int, int]] = []
    place_of = []
    for code, a, b, c in t.program:
        place_of.append(len(operations))
        # A STAMP of a whole poll or task sets worker and batch as well: it stays, and is overwritten.
        if code == op.STAMP and a in columns and b == op.ONE and not (a == op.FETCHED and _generates(t)):
            continue
        around = [p for p in mine if code in p.operations]
        whose = b if code != op.GET else op.MINE if sinks and _ends(t) else 0
        operations += [(op.STAMP, p.column, op.ONE, 0) for p in around if not p.after]
        operations.append((code, a, whose, c))
        operations += [(op.STAMP, p.column, op.ONE, 0) for p in around if p.after]
    place_of.append(len(operations))
    fixed = []
    for operation in operations:
        code, operands = operation[0], list(operation[1:])
        for i in range(_JUMPS.get(code, 0)):
            operands[i] = place_of[operands[i]]
        fixed.append((code, operands[0], operands[1], operands[2]))
    return tuple(fixed)


def _stages(sys: System, at: dict[str, Int64s]) -> list[tuple[str, Int64s]]:
    """The stages of this pipeline, in order, and when each record comes to the end of them."""
    stages: list[tuple[str, Int64s]] = []

    def until(name: str, instant: str) -> None:
        if instant in at:
            stages.append((name, at[instant]))

    until("generator is late", "sent")
    until("serialise and enqueue", "enqueued")
    if sys.broker_threads:
        at["ready"] = _ready(sys, INPUT, at["enqueued"], at["appended"], _lanes(sys, _generator(sys), at))
        until("linger: batch fills", "ready")
        until("send, broker queue and append", "appended")
        if "begun" in at:
            at["free"] = _free(sys, at)
            until("queue: reader busy with earlier records", "free")
        until("trigger, plan and task start" if sys.micro_batch else "fetch and poll", "fetched")
        until("behind others of its task" if sys.micro_batch else "behind others of its poll", "begun")
    if "handed" in at:
        until("decode and serialise to hand on", "handed")
        until("blocked: scoring has no room", "through")
    if "got" in at:
        until("exchange to scoring: buffer and queue", "got")
        until("take up", "score_begin")
    else:
        until("decode", "score_begin")
    if "called" in at and "answered" in at:
        until("call: encode request", "called")
        if "served" in at:
            until("call: to the server", "came")
            until("server queue, its batch delay included", "served")
            until("server scores and answers", "answered")
        else:
            until("call: server and network", "answered")
        until("call: decode answer", "score_end")
    else:
        until("scoring", "score_end")
    if "scored" in at:
        until("serialise to hand on", "scored")
    if "taken_out" in at:
        until("exchange to sink: buffer and queue", "taken_out")
    if not sys.broker_threads:
        until("encode" if "taken_out" in at or "got" not in at else "end", "out_appended")
        return stages
    until("encode", "produced")
    if "out_enqueued" in at:
        until("enqueue output", "out_enqueued")
        at["out_ready"] = _ready(
            sys, OUTPUT, at["out_enqueued"], at["out_appended"], _lanes(sys, at.get("sink", at["worker"]), at)
        )
        until("output linger: batch fills", "out_ready")
    until("output send, broker queue and append", "out_appended")
    return stages


def _generator(sys: System) -> Int64s:
    """Which generator sends each record."""
    found: Int64s = (np.arange(sys.records, dtype=np.int64) - sys.backlog) % max(1, len(sys.generators))
    return found


def _lanes(sys: System, client: Int64s, at: Mapping[str, Int64s]) -> Int64s:
    """A number for each client and partition."""
    found: Int64s = client * sys.partitions + at["partition"]
    return found


def _ready(sys: System, topic: int, enqueued: Int64s, appended: Int64s, lane: Int64s) -> Int64s:
    """When each record's batch was ready to be sent: its lane held enough, or the batch's first record had lingered."""
    ready = np.where(appended < 0, -1, np.maximum(enqueued, 0))
    sent = np.arange(len(enqueued)) >= (sys.backlog if topic == INPUT else 0)
    known = np.flatnonzero((enqueued >= 0) & (appended >= 0) & sent)
    if not len(known):
        return ready
    order = known[np.lexsort((enqueued[known], lane[known]))]
    at, of = enqueued[order], lane[order]
    begins = np.concatenate([[True], (np.diff(of) != 0) | (np.diff(appended[order]) != 0)])
    first = np.flatnonzero(begins)
    enough = first + max(1, min(sys.batch_records, -(-sys.batch_bytes // sys.record_bytes[topic]))) - 1
    there = np.minimum(enough, len(order) - 1)
    due = at[first] + sys.linger_ns
    due = np.where((enough == there) & (of[there] == of[first]), np.minimum(due, at[there]), due)
    ready[order] = np.minimum(np.maximum(at, due[np.cumsum(begins) - 1]), appended[order])
    return ready


def _free(sys: System, at: Mapping[str, Int64s]) -> Int64s:
    """Until when what reads was at work on earlier records, or when the record was appended if that is later."""
    appended, fetched, batch = at["appended"], at["fetched"], at["batch"]
    if sys.micro_batch:
        reader, left = np.zeros_like(batch), at["acked"]
    else:
        reader, left = at.get("reader", at["worker"]), at.get("through", at.get("out_enqueued", at["score_end"]))
    free = np.where(fetched < 0, -1, appended)
    known = np.flatnonzero((fetched >= 0) & (reader >= 0) & (batch >= 0))
    if not len(known):
        return free
    key = reader[known] * (int(batch[known].max()) + 1) + batch[known]
    polls, which = np.unique(key, return_inverse=True)
    ends = np.full(len(polls), -1, dtype=np.int64)
    np.maximum.at(ends, which, left[known])
    before = np.concatenate([[-1], ends[:-1]])
    owner = polls // (int(batch[known].max()) + 1)
    before[np.concatenate([[True], owner[1:] != owner[:-1]])] = -1
    free[known] = np.minimum(np.maximum(appended[known], before[which]), fetched[known])
    return free
