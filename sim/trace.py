"""A trace of what every thread did in a short window of a simulated run, for ui.perfetto.dev.

The file is JSON of the Chrome trace event format: a process for each process of the pipeline, a track for each thread,
a slice for each CPU operation (longer than its work where the thread waited for a core in between), and for some
records a flow through all slices that worked on them.  The run is the SimPy reference's, which gives the stamps of the
compiled loop.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scenarios.spec import MS_NS, Scenario
from sim import operations as op
from sim import system
from sim.costs import Calibration
from sim.reference import ReferenceExecution
from sim.reference_machine import COST_NAMES, WORKS
from sim.reference_parts import Thread
from sim.system import System

WINDOW_NS = 200 * MS_NS
#: The reference takes some thousand records a second: a window after more than this begins earlier.
RECORDS_BEFORE = 30_000
EVENTS_MAX = 200_000
FLOWS_MAX = 200
_SERVER_SCORE = "server.score"


@dataclass(frozen=True, slots=True)
class Slice:
    """One CPU operation: who, what, from when to when, its work, and the records it worked on."""

    thread: int
    name: str
    begin_ns: int
    end_ns: int
    work_ns: int
    records: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Trace:
    """Slices in the order of their begin.

    Attributes:
        system: What was run.
        begin_ns: Where the window begins.
        end_ns: Where it ends; earlier than asked where there were too many slices.
        slices: Those that ended in the window.
        flows: Record -> the slices that worked on it, of those created in the window first.
        cut: Whether the window was cut short.
    """

    system: System
    begin_ns: int
    end_ns: int
    slices: tuple[Slice, ...]
    flows: dict[int, list[Slice]] = field(default_factory=dict)
    cut: bool = False


class _Traced(ReferenceExecution):
    """The reference, which notes every CPU operation from an instant on."""

    def __init__(self, sys: System, from_ns: int) -> None:
        self.slices: list[Slice] = []
        self._from_ns = from_ns
        self._open: dict[int, tuple[Slice, int]] = {}  # by thread, and what CPU time it had before
        self._numbers = {t.name: i for i, t in enumerate(sys.threads)}
        super().__init__(sys, self._did)

    def _did(self, now: int, name: str, text: str) -> None:
        """An operation: the thread's CPU operation before it is over."""
        if not text.startswith("CPU"):
            self._close(self._numbers[name], now)

    def _cpu(self, me: Thread, cost: int, source: int, variant: int) -> int | None:
        now = self._clock.now
        self._close(me.number, now)
        records, named = self._worked_on(me, source), self._name(me, cost, source, variant)
        outcome = super()._cpu(me, cost, source, variant)
        if outcome == WORKS:
            self._open[me.number] = Slice(me.number, named, now, now, me.remaining, records), me.cpu
        return outcome

    def _close(self, thread: int, now: int) -> None:
        """What a thread works on is over, unless it was preempted before it could begin and starts again."""
        if thread not in self._open:
            return
        slice_, before = self._open.pop(thread)
        if now > self._from_ns and self._parts.threads[thread].cpu - before >= slice_.work_ns:
            self.slices.append(dataclasses.replace(slice_, end_ns=now))

    def _worked_on(self, me: Thread, source: int) -> tuple[int, ...]:
        if source in (op.RECORD_IN, op.RECORD_OUT):
            return (me.record,)
        if source == op.MESSAGE and me.message is not None:
            return tuple(record for _, records in me.message.batches for record in records)
        if source == op.POLLED:
            return tuple(me.polled)
        if source == op.TAKEN:
            return tuple(request.record for request in me.taken)
        if source == op.TASK_RECORDS and me.task is not None:
            return tuple(me.task.records)
        return ()

    def _name(self, me: Thread, cost: int, source: int, variant: int) -> str:
        if variant == op.FETCH_OR_EMPTY and source == op.MESSAGE and not self._worked_on(me, source):
            cost += 1
        return COST_NAMES[cost] if cost < len(COST_NAMES) else _SERVER_SCORE


def begins_ns(scenario: Scenario, sys: System) -> int:
    """Where a window begins: after the warm-up, or where too many records would have to be simulated before it."""
    warmup_ns = min(scenario.workload.warmup_ns, sys.load_ns)
    due = sys.created[sys.backlog :]
    if len(due) > RECORDS_BEFORE and int(due[RECORDS_BEFORE]) < warmup_ns:
        return int(due[RECORDS_BEFORE])
    return warmup_ns


def trace(
    scenario: Scenario,
    calibration: Calibration,
    *,
    begin_ns: int | None = None,
    window_ns: int = WINDOW_NS,
    events_max: int = EVENTS_MAX,
    flows_max: int = FLOWS_MAX,
) -> Trace:
    """Runs a scenario up to the end of a window of it.

    Args:
        scenario: What to run.
        calibration: Where every cost comes from.
        begin_ns: Where the window begins; None for after the warm-up, but not after too many records.
        window_ns: How long it is.
        events_max: Most slices; the window ends with the last of so many.
        flows_max: Most records whose flow is kept.
    """
    sys = system.build(scenario, calibration)
    begin = begins_ns(scenario, sys) if begin_ns is None else begin_ns
    end = min(begin + window_ns, sys.horizon_ns)
    execution = _Traced(sys, begin)
    step = max(1, window_ns // 100)
    for until in (*range(begin, end, step), end):
        execution.advance(until)
        if len(execution.slices) > events_max or execution.acked() == sys.records:
            break
    found = sorted(execution.slices[:events_max], key=lambda s: (s.begin_ns, s.thread))
    cut = len(execution.slices) > events_max
    if cut:
        end = execution.slices[events_max - 1].end_ns
    return Trace(sys, begin, end, tuple(found), _flows(sys, found, begin, flows_max), cut)


def _flows(sys: System, slices: Sequence[Slice], begin_ns: int, most: int) -> dict[int, list[Slice]]:
    """The slices of each record, of the first so many records that are due in the window (or lay there before)."""
    begin = next((r for r in range(sys.records) if sys.created[r] >= begin_ns), sys.records)
    wanted = set(itertools.islice(itertools.chain(range(begin, sys.records), range(begin)), most))
    flows: dict[int, list[Slice]] = {}
    for each in slices:
        for record in dict.fromkeys(each.records):
            if record in wanted:
                flows.setdefault(record, []).append(each)
    return {record: steps for record, steps in sorted(flows.items()) if len(steps) > 1}


def events(found: Trace) -> list[dict[str, Any]]:
    """The trace's events: names of processes and threads, slices and flows, in the order of their times."""
    sys = found.system
    processes = {name: i for i, name in enumerate(dict.fromkeys(t.process for t in sys.threads), start=1)}
    where = [{"pid": processes[t.process], "tid": i + 1} for i, t in enumerate(sys.threads)]
    named: list[dict[str, Any]] = []
    for name, pid in processes.items():
        named.append(_meta("process_name", pid, 0, {"name": name}))
        named.append(_meta("process_sort_index", pid, 0, {"sort_index": pid}))
    for i, t in enumerate(sys.threads):
        named.append(_meta("thread_name", where[i]["pid"], i + 1, {"name": t.name}))
        named.append(_meta("thread_sort_index", where[i]["pid"], i + 1, {"sort_index": i + 1}))
    timed: list[tuple[int, int, dict[str, Any]]] = []
    for each in found.slices:
        args: dict[str, Any] = {"work_us": each.work_ns / 1_000, "records": len(each.records)}
        if each.records:
            args["first_record"] = each.records[0]
        event = {"ph": "X", "name": each.name, "cat": "cpu", "ts": each.begin_ns / 1_000}
        event |= {"dur": (each.end_ns - each.begin_ns) / 1_000, **where[each.thread], "args": args}
        timed.append((each.begin_ns, 0, event))
    for record, steps in found.flows.items():
        for k, step in enumerate(steps):
            phase = "s" if k == 0 else "f" if k == len(steps) - 1 else "t"
            event = {"ph": phase, "name": "record", "cat": "record", "id": record, "ts": step.begin_ns / 1_000}
            event |= where[step.thread] | ({"bp": "e"} if phase == "f" else {})
            timed.append((step.begin_ns, 1, event))
    timed.sort(key=lambda item: item[:2])
    return named + [event for _, _, event in timed]


def write(found: Trace, path: Path) -> int:
    """Writes a trace; returns how many events it has."""
    written = events(found)
    other = {
        "begin_ms": found.begin_ns / MS_NS,
        "end_ms": found.end_ns / MS_NS,
        "cut_short": found.cut,
        "flows": len(found.flows),
    }
    document = {"traceEvents": written, "displayTimeUnit": "ns", "otherData": other}
    path.write_text(json.dumps(document, separators=(",", ":")) + "\n", encoding="utf-8")
    return len(written)


def _meta(name: str, pid: int, tid: int, args: dict[str, Any]) -> dict[str, Any]:
    return {"ph": "M", "name": name, "pid": pid, "tid": tid, "args": args}
