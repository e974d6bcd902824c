"""What would relieve a pipeline: changes of one setting each, simulated with the same draws as the pipeline itself."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from analysis import stats
from analysis.columns import VERDICTS
from analysis.metrics import resolve
from analysis.search import TOLERANCE, SearchError
from analysis.text import number
from scenarios.metric_names import METRIC_NAMES
from scenarios.spec import MS_NS, HostSpec, Scenario, Stage
from sim import kept, sweeping
from sim.costs import Calibration
from sim.pipelines import holds_backlog
from sim.pipelines.pipeline import DEFAULT_HOST

SUSTAINABLE = "sustainable_throughput"
#: What is asked where neither the command nor an SLO says: the first that the run can say.
_LATENCIES = ("latency_p99", "latency_p95", "latency_p90", "latency_p50", "latency_mean")
_KEYS = ("verdict", "metrics")


@dataclass(frozen=True, slots=True)
class Change:
    """One setting at another value."""

    name: str  # in words
    setting: str  # the key, its value and the other
    scenario: Scenario
    calibration: Calibration


@dataclass(frozen=True, slots=True)
class Effect:
    """What a change does to a metric.

    Attributes:
        name: Of the change.
        setting: What is changed, from what to what.
        verdict: The worst of the repeats.
        value: The metric after the change, median over the repeats; None where a repeat has none.
        change: Median over the repeats of (after - before), each pair with the same draws.
        lo: Least of these.
        hi: Greatest of these.
        relative: `change` over the metric before.
        gain: `relative`, above zero where the metric gets better; 0 within what a search can tell apart.
        spread: Standard deviation of the paired differences; None for fewer than two repeats.
        spread_unpaired: What it would be if the draws were independent.
    """

    name: str
    setting: str
    verdict: str
    value: float | None
    change: float | None = None
    lo: float | None = None
    hi: float | None = None
    relative: float | None = None
    gain: float | None = None
    spread: float | None = None
    spread_unpaired: float | None = None

    @property
    def helps(self) -> bool:
        """Whether the metric gets better in every repeat."""
        if not self.gain or self.lo is None or self.hi is None:
            return False
        return self.gain > 0 and self.lo * self.hi > 0


def changes(scenario: Scenario, calibration: Calibration) -> list[Change]:
    """What can be tried on this pipeline."""
    s, made = scenario, []

    def add(name: str, key: str, before: Any, after: Any, **sections: Any) -> None:
        changed = replace(s, **sections)
        made.append(Change(name, f"{key} {_text(key, before)} -> {_text(key, after)}", changed, calibration))

    def times(factor: float, name: str, key: str, field: str = "", now: Any = None) -> None:
        """One setting of a section times a factor; a setting without a value is `now`."""
        section, _, word = key.partition(".")
        owner, field = getattr(s, section), field or word
        before = getattr(owner, field) or now
        if not before:
            return
        after = type(before)(before * factor)
        add(name, key, before, after, **{section: replace(owner, **{field: after})})

    e, b = s.engine, s.broker
    if not s.stages:
        times(2, "twice the scoring tasks", "engine.parallelism")
    if holds_backlog(e.kind):
        times(2, "twice the partitions", "broker.partitions")
        if 2 * e.parallelism > b.partitions:
            before, after = (e.parallelism, b.partitions), (2 * e.parallelism, 2 * b.partitions)
            tasks, partitions = replace(e, parallelism=after[0]), replace(b, partitions=after[1])
            key = "engine.parallelism, broker.partitions"
            add("twice tasks and partitions", key, before, after, engine=tasks, broker=partitions)
        p = b.producer
        if p.linger_ns:
            half, key = replace(p, linger_ns=p.linger_ns // 2), "broker.producer.linger"
            add("half the linger", key, p.linger_ns, half.linger_ns, broker=replace(b, producer=half))
            larger = replace(p, batch_bytes=2 * p.batch_bytes, batch_records=2 * p.batch_records)
            before, after = (p.batch_bytes, p.batch_records), (larger.batch_bytes, larger.batch_records)
            key = "broker.producer.batch_bytes, batch_records"
            add("twice the producers' batch", key, before, after, broker=replace(b, producer=larger))
        times(2, "twice the broker's threads", "broker.io_threads")
    times(2, "twice the generators", "workload.producers")
    if s.serving.kind == "external":
        times(2, "twice the server's workers", "serving.workers", now=e.parallelism)
        times(2, "twice the server's batch", "serving.batch", "batch_records")
        times(0.5, "half the server's batch delay", "serving.batch_delay", "batch_delay_ns")
    if e.kind == "flink" and not e.chained:
        times(0.5, "half the buffer timeout", "engine.buffer_timeout", "buffer_timeout_ns")
        times(2, "twice the sources", "engine.source_parallelism", now=b.partitions)
        times(2, "twice the sinks", "engine.sink_parallelism", now=b.partitions)
    if e.kind == "spark":
        times(0.5, "half the trigger interval", "engine.trigger_interval", "trigger_interval_ns")
        times(2, "twice the task slots", "engine.task_slots", now=None)
    if e.kind == "ray":
        times(2, "twice the CPUs to reserve", "engine.total_cpus")
    for k, stage in enumerate(s.stages):
        _of_stage(k, stage, s, add)
    return made + _more_cores(scenario, calibration)


def _of_stage(k: int, stage: Stage, s: Scenario, add: Callable[..., None]) -> None:
    """What can be tried on one stage of a graph; nobody knows what a batch beyond its table takes."""

    def tried(name: str, word: str, before: int, after: int, changed: Stage) -> None:
        if before:
            stages = (*s.stages[:k], changed, *s.stages[k + 1 :])
            add(f"{name} of {stage.name}", f"stages.{stage.name}.{word}", before, after, stages=stages)

    workers, batch, delay = 2 * stage.workers, 2 * stage.batch_records, stage.batch_delay_ns // 2
    tried("twice the workers", "workers", stage.workers, workers, replace(stage, workers=workers))
    if not stage.table_ns:
        tried("twice the batch", "batch", stage.batch_records, batch, replace(stage, batch_records=batch))
    changed = replace(stage, batch_delay_ns=delay)
    tried("half the batch delay", "batch_delay", stage.batch_delay_ns, delay, changed)


def _more_cores(scenario: Scenario, calibration: Calibration) -> list[Change]:
    """Each host with twice the cores, and as much more capacity."""
    named = scenario.hosts.hosts
    parts = {"generator", "engine"}
    parts |= {"broker", "collector"} if holds_backlog(scenario.engine.kind) else set()
    parts |= {"server"} if scenario.serving.kind == "external" else set()
    made = []
    for host in sorted({scenario.hosts.parts.get(part, DEFAULT_HOST) for part in parts}):
        changed, costs = scenario, calibration
        measured = calibration.host
        now = named[host].cores if host in named else measured.cores
        if host in named:
            hosts = replace(scenario.hosts, hosts={**named, host: HostSpec(2 * now)})
            changed = replace(scenario, hosts=hosts)
        else:
            costs = replace(costs, host=replace(measured, cores=2 * now, curve=twice(measured.curve)))
        if host in calibration.curves:
            costs = replace(costs, curves={**calibration.curves, host: twice(calibration.curves[host])})
        where = "hosts.cores" if host == DEFAULT_HOST else f"hosts.{host}.cores"
        made.append(Change("twice the cores", f"{where} {now} -> {2 * now}", changed, costs))
    return made


def twice(curve: tuple[float, ...]) -> tuple[float, ...]:
    """The capacity curve of two such hosts, half the threads on each: c2(n) = 2 c(n / 2)."""
    known = (0.0, *curve)

    def at(half_threads: int) -> float:
        low = half_threads // 2
        return known[low] if half_threads % 2 == 0 else (known[low] + known[low + 1]) / 2

    return tuple(2 * at(n) for n in range(1, 2 * len(curve) + 1))


def _text(key: str, value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if key.endswith(("linger", "delay", "timeout", "interval")):
        return f"{number(value / MS_NS)} ms"
    return f"{value:g}"


def asked_metric(scenario: Scenario, verdict: str, metrics: Mapping[str, float | None]) -> str:
    """The metric that changes are ranked by: the SLO's, else the throughput where the run falls behind, else p99.

    Where the run has too few records for that percentile, the highest that it has.
    """
    for bound in scenario.slo:
        if resolve(bound.metric, metrics)[1] is not None:
            return bound.metric
    if verdict in ("OVERLOADED", "BACKLOGGED"):
        return "throughput"
    return next((word for word in _LATENCIES if resolve(word, metrics)[1] is not None), "throughput")


def check_metric(word: str) -> None:
    """Refuses a metric that no run has.

    Raises:
        SearchError: There is none of that name.
    """
    if word not in METRIC_NAMES and word not in {known.column for known in METRIC_NAMES.values()}:
        raise SearchError(f"--metric {word}: there is no such metric; there are {', '.join(METRIC_NAMES)}")


def better_below(word: str) -> bool:
    """Whether less of a metric is better."""
    known = METRIC_NAMES.get(word)
    if known is None:
        known = next((name for name in METRIC_NAMES.values() if name.column == word), None)
    return known is None or known.upper


def effects(
    scenario: Scenario,
    calibration: Calibration,
    tried: Sequence[Change],
    metric: str | None,
    *,
    repeats: int,
    root: Path,
    processes: int | None = None,
    fresh: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[str, float | None, list[Effect]]:
    """Simulates the pipeline and every change, as often as asked, and ranks the changes.

    Args:
        scenario: The pipeline as it is.
        calibration: Its costs.
        tried: Of `changes`.
        metric: A word of `metric_names`, or a name of run.json's metrics; None for `asked_metric`.
        repeats: Repeat k has seed + k, in every configuration.
        root: The folder of runs; finished simulations are kept in its `.cache/sweep`.
        processes: How many; None for as many as there are cores.
        fresh: Simulates anew what is kept.
        progress: Called at the start and after each simulation.

    Returns:
        (the metric's word, its value before the changes, the effects from the best to the worst).
    """
    configurations = [(scenario, calibration), *((c.scenario, c.calibration) for c in tried)]
    if metric == SUSTAINABLE:
        values, verdicts = _sustained(configurations, root, processes, fresh=fresh)
    else:
        jobs = []
        for one, costs in configurations:
            for repeat in range(repeats):
                seeded = sweeping.seeded(one, repeat)
                file = root / kept.FOLDER / f"{sweeping.identity(seeded, costs, 'loop')}.json"
                jobs.append(sweeping.Job(seeded, costs, "loop", file))
        found = kept.results(sweeping.run_job, jobs, _KEYS, processes=processes, fresh=fresh, progress=progress)
        groups = [found[i : i + repeats] for i in range(0, len(found), repeats)]
        metric = metric or asked_metric(scenario, groups[0][0]["verdict"], groups[0][0]["metrics"])
        name = resolve(metric, groups[0][0]["metrics"])[0]  # the same clock before and after
        values = [[run["metrics"].get(name) for run in group] for group in groups]
        verdicts = [min((str(run["verdict"]) for run in group), key=VERDICTS.index) for group in groups]
    below, resolution = better_below(metric), TOLERANCE if metric == SUSTAINABLE else 0.0
    ranked = [
        _effect(change, after, verdict, values[0], below=below, resolution=resolution)
        for change, after, verdict in zip(tried, values[1:], verdicts[1:], strict=True)
    ]
    ranked.sort(key=lambda effect: (effect.gain is None, -(effect.gain or 0.0)))
    before = [value for value in values[0] if value is not None]
    return metric, statistics.median(before) if before else None, ranked


def _effect(
    change: Change,
    after: Sequence[float | None],
    verdict: str,
    before: Sequence[float | None],
    *,
    below: bool,
    resolution: float,
) -> Effect:
    pairs = [(a, b) for a, b in zip(after, before, strict=True) if a is not None and b is not None]
    if len(pairs) < len(after):
        known = [a for a in after if a is not None]
        value = statistics.median(known) if len(known) == len(after) else None
        return Effect(change.name, change.setting, verdict, value)
    differences = [a - b for a, b in pairs]
    middle, lo, hi = stats.spread(differences)
    was = statistics.median(b for _, b in pairs)
    relative = middle / was if was else None
    gain = None if relative is None else 0.0 if abs(relative) <= resolution else -relative if below else relative
    spread = unpaired = None
    if len(pairs) > 1:
        spread = statistics.stdev(differences)
        unpaired = (statistics.variance([a for a, _ in pairs]) + statistics.variance([b for _, b in pairs])) ** 0.5
    return Effect(
        change.name,
        change.setting,
        verdict,
        statistics.median(a for a, _ in pairs),
        middle,
        lo,
        hi,
        relative,
        gain,
        spread,
        unpaired,
    )


def _sustained(
    configurations: Sequence[tuple[Scenario, Calibration]], root: Path, processes: int | None, *, fresh: bool
) -> tuple[list[list[float | None]], list[str]]:
    """The sustainable throughput of each, one repeat."""
    from sim import capacity, cores

    jobs = [capacity.Job({}, one, costs, "loop", 1, root, fresh) for one, costs in configurations]
    with closing(cores.spread(capacity.capacity, jobs, processes)) as results:
        found = dict(results)
    return [[found[i].sustainable.rate_per_s] for i in range(len(jobs))], ["STABLE"] * len(jobs)


def as_rows(found: Sequence[Effect]) -> list[dict[str, Any]]:
    """JSON objects."""
    return [dataclasses.asdict(effect) for effect in found]
