"""Replays a trace as requests, open loop: each is sent at its scheduled instant, whatever became of those before.

Latencies are from the scheduled instant, so that a late start is not hidden; how late requests were sent is told too.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from real.errors import RefusedError
from real.loop import free_descriptors, in_loop
from scenarios import cluster_arrivals as arrivals
from scenarios.cluster_spec import Cluster, ClusterScenario, Job, JobModel, Load, PolicyChoice, Service

if TYPE_CHECKING:
    from rich.table import Table

Int64s = npt.NDArray[np.int64]
Send = Callable[[], Awaitable[None]]

_LEAD_NS = 50_000_000
_UNBOUNDED = 1 << 40
#: Samples that a percentile needs to be told.
_CARRIED = {"p50": 2, "p90": 100, "p99": 1_000, "p999": 10_000}


@dataclass(frozen=True, slots=True)
class Asked:
    """What is replayed, and how often."""

    trace: Path
    job: int = 0
    first_minute: int = 0
    minutes: int | None = None
    unit_s: float = 60.0
    scale: float = 1.0
    gaps: Literal["exponential", "even"] = "exponential"
    seed: int = 42
    trials: int = 1

    def load(self, trial: int) -> Load:
        """The requests of one trial."""
        return Load(
            trace=str(self.trace),
            first_minute=self.first_minute,
            minutes=self.minutes,
            unit_s=self.unit_s,
            scale=self.scale,
            gaps=self.gaps,
            seed=self.seed + trial,
        )


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of the requests of a trial, in the order of their schedule; ns since its start.

    Attributes:
        due: When each was to be sent.
        sent: When it was; below 0 for those that never were.
        done: When the answer was there; 0 for those that failed.
        errors: How many failed, by kind.
    """

    due: Int64s
    sent: Int64s
    done: Int64s
    errors: dict[str, int]


def schedule(asked: Asked, trial: int) -> tuple[Int64s, float]:
    """When the requests of a trial are due, ns, and how long the replayed part of the trace lasts, seconds.

    Raises:
        ScenarioError: The trace cannot be read.
        RefusedError: It has no such job or minute.
    """
    load = asked.load(trial)
    try:
        per_minute = arrivals.counts(load, [Job("replayed", trace=asked.job)])
    except ValueError as error:
        raise RefusedError("", str(error)) from None
    if asked.minutes is not None and per_minute.shape[1] < asked.minutes:
        raise RefusedError("--minutes", f"the trace has {per_minute.shape[1]} from minute {asked.first_minute}")
    return arrivals.arrivals(per_minute, load)[0], per_minute.shape[1] * asked.unit_s


def over_http(asked: Asked, url: str, body: bytes | None, idle: int, timeout_s: float) -> dict[str, Any]:
    """Replays over HTTP.

    Args:
        asked: What.
        url: Where to.
        body: POSTed; GET where None.
        idle: Connections kept open while idle.
        timeout_s: A request without an answer by then has failed.

    Returns:
        The object of `--json`.

    Raises:
        RefusedError: The URL, the job or the minutes are none.
        ScenarioError: The trace cannot be read.
    """
    from real.pool.http import HttpClient

    HttpClient(url)
    trials = []
    for trial in range(asked.trials):
        due, lasting_s = schedule(asked, trial)

        async def go(due: Int64s = due) -> tuple[Sent, int]:
            client = HttpClient(url, body, idle, free_descriptors())
            try:
                return await send_all(due, client.send, timeout_s), client.opened
            finally:
                await client.close()

        sent, opened = in_loop(go)
        trials.append({**told(sent, asked.seed + trial, lasting_s), "connections": opened})
    return {"trace": str(asked.trace), "to": url, "trials": trials, "mean": _mean(trials)}


def on_pool(asked: Asked, replicas: int, service_s: float, model: str | None, timeout_s: float) -> dict[str, Any]:
    """Replays to a pool of replicas that is started here, anew for each trial, and never scaled.

    Args:
        asked: What.
        replicas: How many.
        service_s: What a replica waits for a request ...
        model: ... unless it scores with this model of the zoo.
        timeout_s: A request without an answer by then has failed.

    Returns:
        The object of `--json`.

    Raises:
        RefusedError: The job, the minutes or the model are none, or there are too many replicas.
        ScenarioError: The trace cannot be read.
        HarnessError: A replica died or did not become ready.
    """
    from real.pool.run import refuse_too_many

    refuse_too_many("--pool", replicas)
    trials = []
    for trial in range(asked.trials):
        due, lasting_s = schedule(asked, trial)
        scenario = ClusterScenario(
            name="replay",
            jobs=(Job("replayed", JobModel(model or "wait", Service(service_s), service_s), replicas=replicas),),
            cluster=Cluster(quota=replicas, router=Service(), max_queue=_UNBOUNDED),
            policy=PolicyChoice(name="none"),
        )
        sent = _live(replace(scenario, workload=asked.load(trial)), due, score=model is not None, timeout_s=timeout_s)
        trials.append(told(sent, asked.seed + trial, lasting_s))
    to = f"{replicas} replicas, {model or f'{service_s * 1000:g} ms'}"
    return {"trace": str(asked.trace), "to": to, "trials": trials, "mean": _mean(trials)}


def _live(scenario: ClusterScenario, due: Int64s, *, score: bool, timeout_s: float) -> Sent:
    from analysis.cluster import SERVED
    from control.scaling.choose import make_policy
    from real.pool import provider
    from real.pool.life import live
    from real.processes import Supervisor

    with Supervisor() as supervisor:
        lived = live(
            scenario,
            [due],
            make_policy(scenario, [due]),
            lambda: provider.make("workers", scenario, supervisor, score=score),
        )
    if lived.error is not None:
        raise lived.error
    latency, served = lived.trail.latencies_ns[0], lived.trail.outcomes[0] == SERVED
    in_time = served & (latency <= round(timeout_s * 1e9))
    entered_ns = lived.routers.jobs[0].entered_ns
    counts = {"timeout": ~in_time & (entered_ns >= 0), "never sent": entered_ns < 0}
    errors = {kind: int(which.sum()) for kind, which in counts.items() if which.any()}
    return Sent(due, entered_ns, np.where(in_time, due + latency, 0), errors)


async def send_all(due: Int64s, send: Send, timeout_s: float) -> Sent:
    """Sends a request at each of these instants, ns from now on, and waits for the last answer.

    Args:
        due: Ascending.
        send: Sends one; `HttpError` says that it failed.
        timeout_s: For each.
    """
    from real.pool.http import HttpError

    sent, done = np.zeros(len(due), np.int64), np.zeros(len(due), np.int64)
    errors: Counter[str] = Counter()
    start_ns = time.monotonic_ns() + _LEAD_NS

    async def one(i: int) -> None:
        sent[i] = time.monotonic_ns() - start_ns
        try:
            async with asyncio.timeout(timeout_s):
                await send()
            done[i] = time.monotonic_ns() - start_ns
        except TimeoutError:
            errors["timeout"] += 1
        except HttpError as error:
            errors[str(error)] += 1

    async with asyncio.TaskGroup() as tasks:
        for i, at_ns in enumerate(due.tolist()):
            early_ns = at_ns + start_ns - time.monotonic_ns()
            if early_ns > 0:
                await asyncio.sleep(early_ns / 1e9)
            tasks.create_task(one(i))
    return Sent(due, sent, done, dict(errors.most_common()))


def told(sent: Sent, seed: int, lasting_s: float) -> dict[str, Any]:
    """A trial in numbers.

    Args:
        sent: What became of its requests.
        seed: Of their arrivals.
        lasting_s: What the replayed part of the trace lasts.
    """
    answered = sent.done > 0
    latencies_ms = (sent.done - sent.due)[answered] / 1e6
    handed_over = sent.sent >= 0
    late_ms = (sent.sent - sent.due)[handed_over] / 1e6
    span_s = max(lasting_s, float(sent.done.max()) / 1e9 if len(sent.done) else 0.0)
    return {
        "seed": seed,
        "requests": len(sent.due),
        "answered": int(answered.sum()),
        "unsent": int(np.count_nonzero(~handed_over)),
        "errors": sent.errors,
        "offered_per_s": len(sent.due) / lasting_s,
        "achieved_per_s": int(answered.sum()) / span_s,
        "late_p50_ms": _percentile(late_ms, "p50"),
        "late_p99_ms": _percentile(late_ms, "p99"),
        "late_max_ms": float(late_ms.max()) if len(late_ms) else None,
        "latency_mean_ms": float(latencies_ms.mean()) if len(latencies_ms) else None,
        **{f"latency_{word}_ms": _percentile(latencies_ms, word) for word in _CARRIED},
        "latency_max_ms": float(latencies_ms.max()) if len(latencies_ms) else None,
    }


def _percentile(values: npt.NDArray[np.float64], word: str) -> float | None:
    """A percentile, where the sample carries it."""
    q = 99.9 if word == "p999" else float(word[1:])
    return float(np.percentile(values, q)) if len(values) >= _CARRIED[word] else None


def _mean(trials: list[dict[str, Any]]) -> dict[str, float | None]:
    """Means over the trials; None where one has no value."""
    names = [name for name in trials[0] if name not in ("seed", "errors")]
    return {
        name: None if any(trial[name] is None for trial in trials) else float(np.mean([t[name] for t in trials]))
        for name in names
    }


#: Column -> heading.
_SHOWN = {
    "requests": "requests",
    "answered": "answered",
    "offered_per_s": "offered /s",
    "achieved_per_s": "achieved /s",
    "late_p99_ms": "late p99 ms",
    "latency_mean_ms": "mean ms",
    "latency_p50_ms": "p50 ms",
    "latency_p90_ms": "p90 ms",
    "latency_p99_ms": "p99 ms",
    "latency_max_ms": "max ms",
}


def table(found: dict[str, Any]) -> Table:
    """A line for each trial, and their mean."""
    from rich.table import Table

    from analysis.text import number

    made = Table("seed", title=f"{Path(found['trace']).name} to {found['to']}")
    for heading in _SHOWN.values():
        made.add_column(heading, justify="right")
    made.add_column("errors")
    for trial in found["trials"]:
        errors = ", ".join(f"{count:,} {kind}" for kind, count in trial["errors"].items())
        made.add_row(str(trial["seed"]), *(number(trial[name]) for name in _SHOWN), errors)
    if len(found["trials"]) > 1:
        made.add_row("mean", *(number(found["mean"][name]) for name in _SHOWN), "")
    return made
