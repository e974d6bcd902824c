"""The life of one run: start the processes, assign, preload, load, drain, stop.

The run starts (time 0) at a whole millisecond of the real-time clock, once every process is ready and every partition
has a worker.  It ends when every acknowledged record is accounted for, or when the drain is over, or early: a process
died, the deadline passed, the mock broker lost its backlog, someone interrupted.  An early end after time 0 is a
reason, not an exception: what there is gets written.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from real import gc_logs, settings
from real.brokers.base import Broker
from real.cast import ENGINE, Cast
from real.errors import BacklogLostError, ChildDiedError, DeadlineError, HarnessError
from real.faults import Faults
from real.model_stream.cast import PUBLISHER
from real.model_stream.wire import Count
from real.plan import GRACE_NS, Plan
from real.processes import Supervisor
from real.sampler import Part, Sampler, Snapshot, counted_part, process_part
from real.sinks import Sinks
from real.sinks.watch import Watch
from real.wire import Coll, Gen, Work
from scenarios.spec import MS_NS, S_NS, Scenario

Progress = Callable[[str, float | None], None]

_LEAD_NS = 300 * MS_NS  # from "everything is ready" to the start: the order reaches every process before
_TICK_NS = 50 * MS_NS
_DRAIN_TICK_NS = 10 * MS_NS  # of a backlog run, whose window ends when the last output is seen
#: Processes live this long beyond the window, so that the clients' statistics cover its end.
_STATISTICS_NS = 2 * settings.STATISTICS_MS * MS_NS
_READY_S, _STOP_S, _SALVAGE_S = 60.0, 15.0, 4.0


@dataclass
class Ending:
    """How a run went, and where its files are.

    Attributes:
        reason: Of `columns.REASONS`.
        error: What ended it early.
        t0_ns: Its start, real-time clock.
        begin: Snapshot at the window's begin; None where the run did not get there.
        end: Snapshot at its end.
        committed: Final committed position by partition.
        roles: Process -> threads and requests it reported.
        timing: How long each step took, seconds; and how far the real-time clock was set meanwhile.
    """

    reason: str
    error: BaseException | None
    t0_ns: int
    begin: Snapshot | None = None
    end: Snapshot | None = None
    committed: dict[int, int] = field(default_factory=dict)
    roles: dict[str, dict[str, Any]] = field(default_factory=dict)
    timing: dict[str, float] = field(default_factory=dict)


class Life:
    """One run.

    Attributes:
        directory: Of its files (inside the supervisor's temporary folder).
        sampler: What was sampled; set once the processes are there.
    """

    def __init__(
        self,
        scenario: Scenario,
        plan: Plan,
        supervisor: Supervisor,
        broker: Broker,
        topics: tuple[str, str],
        directory: Path,
        *,
        poison: Sequence[int] = (),
        progress: Progress | None = None,
        sinks: Sinks | None = None,
    ) -> None:
        self.scenario, self.plan, self.supervisor, self.broker = scenario, plan, supervisor, broker
        self.topics, self.directory, self.poison = topics, directory, list(poison)
        self._progress = progress or (lambda _text, _fraction: None)
        self.cast = Cast(scenario, plan, supervisor, broker, topics, directory)
        self._slots, self._parts = self.cast.slots, self.cast.parts
        self._watch = None if sinks is None else Watch(self.cast, sinks, plan.due)
        self._generators, self._workers, self._engine = self.cast.generators, self.cast.workers, self.cast.processes
        self._publishers = [] if scenario.model_stream is None else [PUBLISHER]
        self._collectors = [] if self.cast.engine.brokerless else ["collector"]
        self._faults = Faults(scenario.faults, self.cast, supervisor, broker, self._took)
        self._assigned: dict[str, list[int]] = {}
        self._roles: dict[str, dict[str, Any]] = {}
        self._committed: dict[int, int] = {}
        self._timing: dict[str, float] = {}
        self._begin: Snapshot | None = None
        self._end: Snapshot | None = None
        deadline = scenario.deadline_ns or plan.stop_ns + GRACE_NS
        self._deadline = time.monotonic() + deadline / S_NS
        self._t0 = 0
        #: How long the broker's logs of garbage collections were before the run.
        self.gc_before = gc_logs.lengths(broker.gc_logs)

    def rows(self, name: str) -> Path:
        """A side file."""
        return self.cast.rows(name)

    def go(self) -> Ending:
        """Runs it.

        Raises:
            HarnessError: It did not get as far as its start.
            KeyboardInterrupt: Interrupted before its start.
        """
        reason, error = "complete", None
        try:
            self._prepare()
            if self._watch is not None:
                self._watch.start()
            self._load()
            self._finish()
            if self.plan.by_records:
                reason = "records"
        except (HarnessError, KeyboardInterrupt) as caught:
            if not self._t0:
                raise
            reason, error = _reason(caught), caught
            self._salvage()
        finally:
            if self._watch is not None:
                self._watch.stop()
            self.supervisor.kill(list(self._parts.values()))
            for name in self._engine:
                if name in self._parts:
                    self.cast.engine.ended(self._parts[name], self.supervisor)
            if self.cast.server is not None:
                self.cast.server.stop()
        return Ending(reason, error, self._t0, self._begin, self._end, self._committed, self._roles, self._timing)

    # -- before the start ---------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        began = time.monotonic()
        self._progress("starting the processes", None)
        self.cast.start(self.poison, lambda line: self._progress(line, None))
        backlog = self.plan.backlog
        if backlog:
            self._preload()
        for name in [*self._generators, *self._publishers, *self._collectors, *self._engine]:
            self._roles[name] = self._report(name, "ready")
        self.cast.engine.accept(self.scenario, self.directory)
        self._timing["ready_s"] = time.monotonic() - began
        joined = time.monotonic()
        for name in self._engine:
            self._parts[name].order("join")
        if self._collectors:  # else there are no partitions
            self._until(self._all_assigned, self.cast.engine.ready_s, "assigning every partition to a worker")
        self._timing["assign_s"] = time.monotonic() - joined
        parts = {name: process_part(process.pid, self._slots.get(name)) for name, process in self._parts.items()}
        parts |= {name: self.cast.engine.part(self._parts[name], self._slots.get(name)) for name in self._engine}
        for name in self._workers:
            parts.setdefault(name, counted_part(self._slots[name]))
        if self.cast.server is not None:
            parts["server"] = self.cast.server.part()
        if self._collectors:
            parts["broker"] = Part(self.broker.pid, lambda wakeups: self.broker.threads(wakeups=wakeups))
        self.sampler = Sampler(parts)
        self._t0 = math.ceil((time.time_ns() + _LEAD_NS) / MS_NS) * MS_NS
        for process in self._parts.values():
            process.order("start", t0_ns=self._t0)

    def _preload(self) -> None:
        began = time.monotonic()
        for name in self._generators:
            self._parts[name].order("preload")
        total = self.plan.backlog
        waiting = set(self._generators)

        def done() -> bool:
            for name in list(waiting):
                if self._parts[name].take("preloaded"):
                    waiting.discard(name)
            acked = sum(self._slots[name].values[Gen.ACKED] for name in self._generators)
            self._progress(f"filling the topic with {total:,} records", acked / total)
            return not waiting

        self._until(done, math.inf, "filling the topic")
        self._timing["preload_s"] = time.monotonic() - began

    def _all_assigned(self) -> bool:
        for name in self._engine:
            while (event := self._parts[name].take("assigned")) is not None:
                worker = f"worker.{event['worker']}" if "worker" in event else name
                self._assigned[worker] = event["partitions"]
        held = sorted(p for own in self._assigned.values() for p in own)
        partitions = self.scenario.broker.partitions
        if ENGINE in self._assigned:  # what reads is no worker's
            return held == list(range(partitions))
        fewest = min(len(own) for own in self._assigned.values()) if len(self._assigned) == len(self._workers) else -1
        return held == list(range(partitions)) and fewest >= min(1, partitions // len(self._workers))

    # -- the load -----------------------------------------------------------------------------------------------

    def _load(self) -> None:
        """Watches the load and the drain, and samples on time."""
        plan, sampler = self.plan, self.sampler
        window = plan.window_ns
        second, accounted_at = 0, -1
        tick = _TICK_NS if window else _DRAIN_TICK_NS
        steady = time.time_ns() - time.monotonic_ns()
        while True:
            now = time.time_ns() - self._t0
            if now >= second * S_NS:
                sampler.second(second - 1)
                second = now // S_NS + 1
            if self._begin is None and now >= (window[0] if window else 0):
                self._begin = sampler.snapshot()
            self._faults.step(now, self._t0, sampler)
            if accounted_at < 0 and self._accounted() and self._faults.settled(now, self._progressed()):
                accounted_at = now
            ended = plan.window_ns is not None and now >= plan.window_ns[1]
            if self._end is None and (ended or (window is None and (accounted_at >= 0 or now >= plan.stop_ns))):
                self._end = sampler.snapshot()
                end_ns = window[1] if window else now
            if self._end is not None and accounted_at >= 0 and now >= end_ns + _STATISTICS_NS:
                break
            if now >= plan.stop_ns:
                break
            edges = [second * S_NS, plan.stop_ns, *(window or ())]
            ahead = min(edge - now for edge in edges if edge > now)
            self._wait(min(ahead, tick) / S_NS)
            self._watch_backlog()
            self._tell(now)
        ran = (time.time_ns() - self._t0) / S_NS
        self._timing["load_s"] = min(ran, plan.load_end_ns / S_NS)
        self._timing["drain_s"] = ran - self._timing["load_s"]
        self._timing["clock_step_ms"] = (time.time_ns() - time.monotonic_ns() - steady) / MS_NS

    def _progressed(self) -> int:
        return self._count(self._collectors, Coll.RECORDS) + self._count(self._workers, Work.RECORDS)

    def _out(self) -> int:
        """Different records that came out; without a collector, those that the workers are done with."""
        if not self._collectors:
            return self._count(self._workers, Work.ACKED)
        return self._count(self._collectors, Coll.UNIQUE)

    def _dropped(self) -> int:
        models = self.cast.models
        return 0 if models is None else sum(slots.values[Count.DROPPED] for slots in models.slots.values())

    def _count(self, names: Sequence[str], *slots: int) -> int:
        return sum(self._slots[name].values[slot] for name in names for slot in slots)

    def _accounted(self) -> bool:
        """Whether everything is sent, and each acknowledged record has an outcome."""
        for name in self._generators:
            if "left" not in self._roles[name]:
                event = self._parts[name].take("sent")
                if event is None:
                    return False
                self._roles[name]["left"] = event["left"]
        acked = self._count(self._generators, Gen.ACKED)
        done = self._out() + self._count(self._workers, Work.BAD, Work.FAILED) + self._dropped()
        return bool(done >= acked)

    def _watch_backlog(self) -> None:
        """Ends the run before the mock broker drops what it acknowledged (both topics)."""
        limit = self.broker.backlog_limit_bytes
        if limit is None:
            return
        out = self._count(self._workers, Work.BYTES_OUT) - self._slots["collector"].values[Coll.BYTES]
        if out > limit * self.scenario.broker.partitions:
            raise BacklogLostError(f"the output topic holds {out} unread bytes: the mock broker is about to drop some")
        for p in range(self.scenario.broker.partitions):
            held = self._count(self._generators, Gen.PART + p) - self._count(self._workers, Work.PART + p)
            if held > limit:
                raise BacklogLostError(f"partition {p} holds {held} unread bytes; the mock broker keeps about {limit}")

    def _tell(self, now: int) -> None:
        out, total = self._out(), len(self.plan.due)
        what = "load" if now < self.plan.load_end_ns else "drain"
        share = out / total if self.plan.window_ns is None else min(1.0, max(0, now) / self.plan.load_end_ns)
        self._progress(f"{what}: {out:,} of {total:,} records out", share)

    # -- the end ------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """Stops in the direction of the flow: nothing is left behind by stopping a reader before its writer."""
        began = time.monotonic()
        self._progress("stopping", None)
        self._until(lambda: self._faults.step(0, self._t0, self.sampler), _READY_S, "bringing killed workers back")
        for names in (self._generators, self._publishers, self._faults.living(self._engine)):
            for name in names:
                self._stop(name)
            for name in names:
                self._done(name)
        wanted = self._count(self._workers, Work.ACKED)
        for name in self._collectors:
            collector = self._slots[name].values
            with contextlib.suppress(DeadlineError):  # outputs that cannot be read are found as lost
                self._until(partial(self._collected, collector, wanted), 5.0, "collecting the last outputs")
            self._stop(name)
            self._done(name)
        self._timing["stop_s"] = time.monotonic() - began

    def _collected(self, found: Any, wanted: int) -> bool:
        """Whether every output is read; of those in transactions nobody reads the ones that were withdrawn."""
        if self.scenario.engine.delivery == "exactly-once" and self._accounted():
            return True
        return bool(found[Coll.RECORDS] >= wanted)

    def _stop(self, name: str) -> None:
        self._parts[name].expected = True
        self._parts[name].order("stop")

    def _done(self, name: str) -> None:
        process = self._parts[name]
        event = self._until(lambda: process.take("done") or not process.alive(), _STOP_S + 30, f"stopping {name}")
        if not isinstance(event, dict):
            process.read()
            event = process.take("done")
            if event is None:
                raise process.died()
        self._took(name, event)

    def _salvage(self) -> None:
        """After an early end: whoever still lives is asked to write what it has, shortly, in the flow's direction."""
        for process in self._parts.values():
            process.expected = True
        if self.cast.server is not None:
            self.cast.server.expected()
        end = time.monotonic() + _SALVAGE_S
        self._collect_done([*self._generators, *self._publishers, *self._engine], end)
        wanted = self._count(self._workers, Work.ACKED)
        for name in self._collectors:
            collector = self._slots[name].values
            while collector[Coll.RECORDS] < wanted and time.monotonic() < end and self._parts[name].alive():
                time.sleep(0.02)
        self._collect_done(self._collectors, end + 1.0)

    def _collect_done(self, names: Sequence[str], end: float) -> None:
        waiting = {name for name in names if self._parts[name].alive()}
        for name in waiting:
            self._parts[name].order("stop")
        while waiting and time.monotonic() < end:
            try:
                self.supervisor.wait(0.02)
            except HarnessError:  # the broker is gone too: nobody can finish
                return
            for name in list(waiting):
                event = self._parts[name].take("done")
                if event is not None:
                    self._took(name, event)
                if event is not None or not self._parts[name].alive():
                    waiting.discard(name)

    def _took(self, name: str, event: dict[str, Any]) -> None:
        if "workers" in event:
            self._roles.update({f"worker.{i}": role for i, role in enumerate(event["workers"])})
        else:
            self._roles.setdefault(name, {})["requests"] = event["requests"]
            if "models" in event:
                self._roles[name]["models"] = event["models"]
        for each in event.get("workers", [event]):
            if self.cast.server is not None and "calls" in each:
                self.cast.server.took(each["calls"])
        self._committed.update({int(p): at for p, at in event.get("committed", {}).items()})

    # -- waiting ------------------------------------------------------------------------------------------------

    def _wait(self, seconds: float) -> None:
        self.supervisor.wait(seconds)
        if time.monotonic() > self._deadline:
            raise DeadlineError("the run took longer than its deadline")

    def _until(self, condition: Callable[[], Any], limit_s: float, what: str) -> Any:
        end = time.monotonic() + limit_s
        while not (found := condition()):
            if time.monotonic() > end:
                raise DeadlineError(f"{what} took longer than {limit_s:.0f} s")
            self._wait(0.02)
        return found

    def _report(self, name: str, event: str) -> dict[str, Any]:
        process = self._parts[name]
        limit_s = self.cast.engine.ready_s if name in self._engine else _READY_S
        found: dict[str, Any] = self._until(lambda: process.take(event), limit_s, f"{name}: waiting for {event!r}")
        return found


def _reason(caught: BaseException) -> str:
    if isinstance(caught, KeyboardInterrupt):
        return "interrupted"
    if isinstance(caught, ChildDiedError) and caught.name.startswith(("worker.", ENGINE)):
        return "worker-died"
    if isinstance(caught, DeadlineError):
        return "deadline"
    return "backlog-lost" if isinstance(caught, BacklogLostError) else "error"
