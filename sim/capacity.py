"""Sustainable and drain throughput of a simulated pipeline, by the protocol of `analysis.search`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis import search
from analysis.search import Outcome
from analysis.text import number
from scenarios.spec import S_NS, Scenario
from sim import store, sweeping
from sim.costs import Calibration
from sim.pipelines import holds_backlog

#: Where the probes of searches are kept, in the folder of runs.
FOLDER = Path(".cache") / "capacity"
#: The first backlog drained; the one that counts lasts about this long, so that no single poll shows in its rate.
FIRST_BACKLOG, DRAIN_S = 8_000, 10.0
#: No probe has more records than this: it bounds memory, and the highest rate searched.
MAX_RECORDS = 10_000_000


@dataclass(frozen=True, slots=True)
class Job:
    """One point whose throughput is searched."""

    swept: Mapping[str, Any]
    scenario: Scenario
    calibration: Calibration
    backend: str
    repeats: int
    root: Path
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a point sustains."""

    swept: dict[str, Any]
    scenario: Scenario
    trust: dict[str, Any]
    sustainable: search.Sustainable
    drain: search.Drain
    backlog_records: int
    bottleneck: dict[str, Any] | None = None

    @property
    def utilisation(self) -> float | None:
        """The scenario's offered rate over the sustainable throughput."""
        offered, rate = self.scenario.workload.arrival.rate_per_s, self.sustainable.rate_per_s
        return offered / rate if rate and offered else None

    @property
    def metrics(self) -> dict[str, float | None]:
        """By the names that bounds use."""
        return {
            "sustainable_throughput_per_s": self.sustainable.rate_per_s,
            "drain_throughput_per_s": self.drain.rate_per_s,
        }

    def summary(self) -> dict[str, Any]:
        """The object of `--json`."""
        found = dataclasses.asdict(self.sustainable)
        found["probes"] = search.probe_rows(self.sustainable.probes)
        return {
            **self.swept,
            "name": self.scenario.name,
            "seed": self.scenario.workload.seed,
            "sustainable": found,
            "drain": {
                "rate_per_s": self.drain.rate_per_s,
                "lo": self.drain.lo,
                "hi": self.drain.hi,
                "repeats": len(self.drain.outcomes),
                "backlog_records": self.backlog_records,
            },
            "metrics": self.metrics,
            "utilisation": self.utilisation,
            "bottleneck": self.bottleneck,
            "calibration": self.trust,
        }


def capacity(job: Job) -> Capacity:
    """Searches one point; called in a worker.  Its steps are told on stderr.

    Raises:
        SearchError: Its arrivals are of a kind that no one rate describes.
        system.UnsupportedError: the scenario needs programs the simulator does not have.
    """
    lead = " ".join(f"{key}={value}" for key, value in job.swept.items())
    tell = _teller(f"{lead}: " if lead else "")
    load_s = (job.scenario.workload.warmup_ns + job.scenario.workload.duration_ns) / S_NS
    highest_per_s = MAX_RECORDS / load_s
    search.paced(job.scenario, 1.0, 0)  # refuses what has no one rate before anything is run
    drained, backlog = _drained(job, tell)
    # A pipeline sustains about what it drains: a good place to start.
    start_per_s = drained.rate_per_s or job.scenario.workload.arrival.rate_per_s or 1000.0
    journal = job.root / FOLDER / f"{sweeping.identity(_any_rate(job.scenario), job.calibration, job.backend)}.json"
    if job.fresh:
        journal.unlink(missing_ok=True)
    found = search.sustainable(
        lambda rate, repeat: _run(job, search.paced(job.scenario, rate, repeat)),
        min(max(start_per_s, 1.0), highest_per_s),
        repeats=job.repeats,
        highest_per_s=highest_per_s,
        journal=journal,
        tell=tell,
    )
    trust = store.trust(search.paced(job.scenario, found.rate_per_s or start_per_s, 0), job.calibration)
    busiest = _busiest(job, found.rate_per_s) if found.rate_per_s else None
    return Capacity(dict(job.swept), job.scenario, trust, found, drained, backlog, busiest)


def _busiest(job: Job, rate_per_s: float) -> dict[str, Any] | None:
    """What is busiest at the rate that was found: nothing kept of a probe says it."""
    from sim.run import simulate

    scenario = search.paced(job.scenario, rate_per_s, 0)
    found: dict[str, Any] | None = simulate(scenario, job.calibration, backend=job.backend, host=False).meta[
        "bottleneck"
    ]
    return found


def _drained(job: Job, tell: Callable[[str], None]) -> tuple[search.Drain, int]:
    """The drain throughput, and the backlog it was of: the scenario's, or one that lasts a while.

    A pipeline without a topic has none.
    """

    def once(records: int, repeat: int) -> Outcome:
        outcome = _run(job, search.prefilled(job.scenario, records, repeat))
        rate = outcome.metrics["drain_throughput_per_s"]
        tell(f"backlog of {records:,}, repeat {repeat + 1}: {number(rate)} /s out")
        return outcome

    if not holds_backlog(job.scenario.engine.kind):
        return search.Drain(None, None, None), 0
    backlog = job.scenario.workload.backlog_records
    if not backlog:
        rate = once(FIRST_BACKLOG, 0).metrics["drain_throughput_per_s"] or 0.0
        backlog = min(max(FIRST_BACKLOG, int(float(f"{rate * DRAIN_S:.2g}"))), MAX_RECORDS)
    return search.drain(lambda repeat: once(backlog, repeat), job.repeats), backlog


def _run(job: Job, scenario: Scenario) -> Outcome:
    from sim.run import simulate

    result = simulate(scenario, job.calibration, backend=job.backend)
    return Outcome(result.meta["verdict"], "", result.metrics)


def _any_rate(scenario: Scenario) -> Scenario:
    """The scenario as far as a search depends on it."""
    return search.paced(scenario, 1.0, 0)


def _teller(lead: str) -> Callable[[str], None]:
    return lambda text: print(f"{lead}{text}", file=sys.stderr, flush=True)
