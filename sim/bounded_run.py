"""One simulated run whose records are not kept: `sim run --records none`.

What `sim.run` does, with `sim.bounded` for the executor and `analysis.tally` for the records.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np

from analysis.records import empty_records
from analysis.tally import Tally
from analysis.verdict import judged
from analysis.window import end_of
from scenarios import arrivals
from scenarios.spec import S_NS, Scenario
from sim import bounded
from sim.bounded import BoundedExecution
from sim.costs import Calibration
from sim.counters import Reading, Window, counters, read
from sim.run import Progress, SimResult, bottleneck, clocks, columns, described, host_columns, spent
from sim.system import Int64s, System


class _Counted(Window):
    """A window of which counts are known, and not the records."""

    def __init__(self, sys: System, tally: Tally, begin: Reading, end: Reading) -> None:
        super().__init__(sys, {}, begin, end)
        self._tally = tally

    def count(self, column: str) -> int:
        return self._tally.within(column)

    def scored_by(self) -> Any:
        return self._tally.scored_by


def simulate(
    scenario: Scenario,
    calibration: Calibration,
    *,
    progress: Progress | None = None,
    host: bool = True,
    window: int = bounded.WINDOW,
) -> SimResult:
    """Predicts one run in memory that does not grow with its length, but for a backlog that does.

    Args:
        scenario: What to run; its `sweep` is ignored.
        calibration: Where every cost comes from.
        progress: Called at each simulated second.
        host: Whether `host` of the result is wanted.
        window: Records in memory at first.

    Returns:
        A result whose `records` are empty.

    Raises:
        system.UnsupportedError: The scenario cannot be run so.
        execution.SimulationError: The pipeline came to a deadlock.
    """
    began = clocks()
    sys = bounded.build(scenario, calibration)
    begin_ns, end_ns = edges = _window(scenario)
    tally = Tally(scenario, edges, len(sys.workers))

    def take(stamps: dict[str, Int64s], first: int) -> None:
        none_lost = np.zeros(len(stamps["created"]), dtype=np.int64)
        tally.add(columns(sys, stamps, none_lost, first=first))

    execution = BoundedExecution(scenario, sys, take, window=window)
    laid_out = clocks()
    stops = sorted({*range(S_NS, sys.horizon_ns, S_NS), begin_ns, end_ns, sys.horizon_ns} - {0})
    readings = [read(execution, 0)]
    for stop in stops:
        execution.advance(stop)
        done = execution.acked() == execution.total and stop >= sys.load_ns and stop >= end_ns
        if done or (host and stop % S_NS == 0) or stop in (begin_ns, end_ns, sys.horizon_ns):
            readings.append(read(execution, stop))
            if progress:
                progress(stop, sys.horizon_ns)
        if done:
            break
    execution.finish()
    ran = clocks()
    first, last = (next(r for r in readings if r.at_ns == at) for at in edges)
    counted = counters(scenario, _Counted(sys, tally, first, last))
    values = tally.metrics(counted)
    word, why = judged(values, tally.counts, "complete", lag=tally.lag, wrong=lambda: tally.wrong, window=lambda: edges)
    ended = clocks()
    meta = {
        **described(scenario, calibration, sys, datetime.now(UTC)),
        "reason": "complete",
        "verdict": word,
        "verdict_reason": why,
        "metrics": values,
        "accounting": tally.counts,
        "warmup": {"rule": "fixed", "cut_s": begin_ns / S_NS, "settled": True, "by_s": {}, "why": ""},
        "bottleneck": bottleneck(sys, (first, last), tally.occupied()),
        "records": "none",
        "counters": counted,
        "timing": {
            "executor": "loop",
            "events": execution.events,
            **spent("layout", began, laid_out),
            **spent("simulate", laid_out, ran),
            **spent("judge", ran, ended),
            "window_records": execution.window,
        },
    }
    return SimResult(meta, empty_records(0), host_columns(sys, readings) if host else {})


def _window(scenario: Scenario) -> tuple[int, int]:
    """`analysis.window.window_ns`, of a schedule in blocks."""
    load = scenario.workload
    begin, end = load.warmup_ns, load.warmup_ns + load.duration_ns
    if load.records is None:
        return begin, end
    count, first, last = 0, 0, 0
    for block in arrivals.blocks(load.arrival, end, load.seed, size=bounded.WINDOW, limit=load.records):
        first = first if count else int(block[0])
        count, last = count + len(block), int(block[-1])
    return begin, end_of(begin, end, count, first, last) if count > 1 and count >= load.records else end
