"""The cluster scenario for the loader: what combinations are wrong, and the way to and from the spec."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scenarios import cluster_schema as schema
from scenarios import cluster_spec as spec
from scenarios import convert, policy_options
from scenarios.document import Document, Keys
from scenarios.errors import ScenarioError
from scenarios.fields import listed
from scenarios.language import Bounds, Language
from scenarios.metric_names import CLUSTER_METRIC_NAMES
from scenarios.problem import Problem
from scenarios.units import SECONDS

MAX_JOBS = 2_000
MAX_REQUESTS = 500_000_000  # of one run
TRACE: Keys = ("workload", "trace")
HISTORY: Keys = ("workload", "history")

#: Models that need no entry in `models:`.  ResNet-18's planned time is Faro's; its true service time was not published
#: and is ResNet-34's in proportion to the planned ones.
_SHARE = 100 / 180
MODELS = {
    "resnet34": spec.JobModel(),
    "resnet18": spec.JobModel(
        "resnet18",
        spec.Service(
            spec.RESNET34.floor_s * _SHARE, spec.RESNET34.lognormal_sigma, spec.RESNET34.lognormal_scale_s * _SHARE
        ),
        planned_s=0.100,
    ),
}
#: A job's objective where it names none, in planned service times (Faro: 720 ms for 180, 400 ms for 100).
SLO_FACTOR = 4


def problems(file: schema.ClusterFile) -> Iterator[Problem]:
    """Every impossible combination in a file whose fields are each valid."""
    yield from _options(file.policy)
    models = {*MODELS, *file.models}
    for name, model in file.models.items():
        if name not in MODELS and model.planned is None:
            yield Problem(("models", name), "is missing the time that policies plan with; write planned: 180 ms")
        elif _to_model(name, model).service.mean_s == 0:
            yield Problem(("models", name, "service"), "a request would take no time")
    names: set[str] = set()
    for at, entry in enumerate(file.jobs):
        for place, word in enumerate(entry.model):
            if word not in models:
                message = listed(f"no model is called {word!r}", word, sorted(models))
                yield Problem(("jobs", at, "model", place), message)
    total = sum(entry.count for entry in file.jobs)
    if total > MAX_JOBS:
        yield Problem(("jobs",), f"{total:,} jobs, more than {MAX_JOBS:,}", at_key=True)
        return
    for at, name in _names(file.jobs):
        if name in names:
            yield Problem(("jobs", at, "name"), f"another job is called {name!r} too")
            break
        names.add(name)
    if total > file.cluster.quota:
        at_quota = ("cluster", "quota")
        yield Problem(at_quota, f"{file.cluster.quota} replicas are fewer than one for each of {total} jobs")
        return
    start = sum(entry.count * _start(file, entry, total) for entry in file.jobs)
    if start > file.cluster.quota:
        yield Problem(("jobs",), f"{start} replicas at the start, more than the quota of {file.cluster.quota}")


def file_errors(document: Document, file: schema.ClusterFile) -> list[ScenarioError]:
    """What is wrong with the trace and the history, and with what is asked of them."""
    from scenarios import cluster_traces as traces

    found: dict[Keys, Any] = {}
    for keys, name, columns in (
        (TRACE, file.workload.trace, traces.DAY),
        (HISTORY, file.workload.history, traces.HISTORY),
    ):
        if name is None:
            continue
        if "\0" in name or not Path(name).is_file():
            return [document.error(keys, f"no such file: {name!r}")]
        try:
            found[keys] = traces.read(name, columns)
        except ScenarioError as error:
            return [error]
    day = found[TRACE]
    jobs, minutes = day.shape
    load = file.workload
    if load.first_minute >= minutes:
        return [document.error(("workload", "first_minute"), f"the trace ends after {minutes} minutes")]
    if load.minutes is not None and load.first_minute + load.minutes > minutes:
        message = f"the trace has {minutes - load.first_minute} minutes from minute {load.first_minute}"
        return [document.error(("workload", "minutes"), message)]
    for at, entry in enumerate(file.jobs):
        if entry.trace is not None and entry.trace >= jobs:
            path = document.as_written(("jobs", at, "trace"))
            return [document.error(path, f"the trace file has {jobs} jobs, numbered from 0")]
    if HISTORY in found and found[HISTORY].shape[0] != jobs:
        return [document.error(HISTORY, f"has {found[HISTORY].shape[0]} jobs, the trace {jobs}")]
    end = None if load.minutes is None else load.first_minute + load.minutes
    of_trace = day[:, load.first_minute : end].sum(axis=1) * load.scale
    requests = sum(of_trace[number] for number in _trace_numbers(file))
    if requests > MAX_REQUESTS:
        return [document.error(TRACE, f"{requests:,.0f} requests, more than {MAX_REQUESTS:,}; play fewer minutes")]
    if load.minutes is None and not requests:
        return [document.error(TRACE, "no request in it")]
    return []


def to_scenario(file: schema.ClusterFile, bounds: Bounds, repeats: int) -> spec.ClusterScenario:
    """The spec of a file that `problems` found sound.

    Args:
        file: The validated file.
        bounds: The bounds of ``expect``, already read.
        repeats: The value of ``sweep.repeats``.
    """
    models = MODELS | {name: _to_model(name, entry) for name, entry in file.models.items()}
    total = sum(entry.count for entry in file.jobs)
    names, numbers = _names(file.jobs), _trace_numbers(file)
    jobs = []
    for entry in file.jobs:
        for one in range(entry.count):
            model = models[entry.model[one % len(entry.model)]]
            jobs.append(
                spec.Job(
                    name=next(names)[1],
                    model=model,
                    slo_s=SLO_FACTOR * model.planned_s if entry.slo is None else entry.slo,
                    weight=entry.weight,
                    trace=next(numbers),
                    replicas=_start(file, entry, total),
                )
            )
    return spec.ClusterScenario(
        name=file.name,
        workload=convert.to_spec(file.workload),
        jobs=tuple(jobs),
        cluster=dataclasses.replace(
            convert.to_spec(file.cluster), router=_to_service(file.cluster.router, spec.ROUTER)
        ),
        policy=convert.to_spec(file.policy),
        utility=file.utility,
        seed=file.seed,
        expect=bounds["expect"],
        sweep=dict(file.sweep),
        repeats=repeats,
    )


def to_text(scenario: spec.ClusterScenario) -> dict[str, Any]:
    """The full JSON-able form: every setting, quantities with units, every job by itself."""
    models = {job.model.name: job.model for job in scenario.jobs}
    return {
        "name": scenario.name,
        "workload": convert.section_text(schema.Load, scenario.workload),
        "models": {name: _model_text(model) for name, model in models.items()},
        "jobs": [_job_text(job) for job in scenario.jobs],
        "cluster": convert.section_text(schema.Cluster, scenario.cluster),
        "policy": convert.section_text(schema.Policy, scenario.policy),
        "utility": scenario.utility,
        "seed": scenario.seed,
        "expect": convert.bounds_text(scenario.expect, CLUSTER_METRIC_NAMES),
        "sweep": {key: list(values) for key, values in scenario.sweep.items()} | {"repeats": scenario.repeats},
    }


def _options(policy: schema.Policy) -> Iterator[Problem]:
    allowed = policy_options.OPTIONS[policy.name]
    for name, value in policy.options.items():
        at: Keys = ("policy", "options", name)
        if name not in allowed:
            message = listed(f"the policy {policy.name} has no such option", name, sorted(allowed))
            yield Problem(at, message, at_key=True)
            continue
        wrong = policy_options.problem(name, value, allowed[name])
        if wrong:
            yield Problem(at, f"{value!r} is {wrong}")


def _to_model(name: str, entry: schema.JobModel) -> spec.JobModel:
    base = MODELS.get(name)
    planned = entry.planned if entry.planned is not None else base.planned_s if base else 0.0
    service = base.service if base else spec.Service(planned)
    if entry.service is not None:
        service = _to_service(entry.service, base.service if base else spec.Service())
    return spec.JobModel(name, service, planned)


def _to_service(section: schema.Service, base: spec.Service) -> spec.Service:
    return dataclasses.replace(base, **convert.written(section))


def _model_text(model: spec.JobModel) -> dict[str, Any]:
    return {
        "service": convert.section_text(schema.Service, model.service),
        "planned": SECONDS.format(model.planned_s),
    }


def _job_text(job: spec.Job) -> dict[str, Any]:
    return {
        "name": job.name,
        "model": job.model.name,
        "slo": SECONDS.format(job.slo_s),
        "weight": job.weight,
        "trace": job.trace,
        "replicas": job.replicas,
    }


def _names(entries: tuple[schema.Job, ...]) -> Iterator[tuple[int, str]]:
    """(entry, name) of each job: what the entry calls it, else job-0, job-1 by its place among all."""
    place = 0
    for at, entry in enumerate(entries):
        for one in range(entry.count):
            if entry.name is None:
                yield at, f"job-{place}"
            else:
                yield at, entry.name if entry.count == 1 else f"{entry.name}-{one}"
            place += 1


def _trace_numbers(file: schema.ClusterFile) -> Iterator[int]:
    """The number in the trace file of each job.  The file is read only where it matters how many it has."""
    from scenarios import cluster_traces as traces

    place = 0
    for entry in file.jobs:
        for one in range(entry.count):
            number = place if entry.trace is None else entry.trace + one
            if entry.trace is None or entry.count > 1:
                number %= len(traces.read(file.workload.trace, traces.DAY))
            yield number
            place += 1


def _start(file: schema.ClusterFile, entry: schema.Job, jobs: int) -> int:
    """Replicas of a job at the start."""
    if entry.replicas is not None:
        return entry.replicas
    return file.cluster.quota // jobs if file.policy.name == "fairshare" else 1


CLUSTER = Language(
    root=schema.ClusterFile,
    marks=("jobs", "cluster"),
    bounds={"expect": CLUSTER_METRIC_NAMES},
    open_keys=("models.", "policy.options."),
    swept_example="cluster.quota",
    files=(TRACE, HISTORY),
    problems=problems,
    file_errors=file_errors,
    to_spec=to_scenario,
)
