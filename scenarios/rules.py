"""What only several fields together can get wrong: impossible combinations, and the bounds of slo and expect.

Every rule names the key at fault by its path, so the message can carry that key's line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from scenarios import model_stream_rules, profiles, registry, schema, spec
from scenarios.convert import DEFAULT_HOST, THIS
from scenarios.fields import listed
from scenarios.metric_names import METRIC_NAMES, PARTS, MetricName
from scenarios.problem import Path, Problem
from scenarios.schema import ARRIVAL_FIELDS, ENGINE_COMMON, ENGINE_FIELDS, SERVING_FIELDS, UNCHAINED_FIELDS
from scenarios.units import UnitError

WITHOUT_BROKER = ("standalone", "graph")
LEARNING = ("aimd", "quantile", "deadline")  # batching policies
MAX_RECORDS = 500_000_000  # of one load: its schedule is held in memory, 8 bytes each

_NEEDED = {"gamma": ("cv",), "ramp": ("to_rate",), "square": ("to_rate", "period"), "trace": ("path",)}
_EXAMPLES = {"cv": "cv: 2", "to_rate": "to_rate: 500 /s", "period": "period: 20 s", "path": "path: trace.csv"}
_BOUND = re.compile(r"^\s*(?P<op><=|>=|==|<|>)?\s*(?P<value>.+?)\s*$")


def problems(file: schema.ScenarioFile) -> Iterator[Problem]:
    """Every impossible combination in a file whose fields are each valid."""
    yield from _arrival(file)
    yield from _load(file)
    yield from _broker(file)
    yield from _engine(file)
    yield from _serving(file)
    yield from _stages(file)
    yield from _hosts(file)
    yield from model_stream_rules.problems(file)
    yield from _model(file.model)
    if file.workload.payload.pad and file.model.name != "noop":
        yield Problem(
            ("workload", "payload", "pad"),
            f"pad sets the size of a record of the model noop; with {file.model.name} the model's input sets it",
        )
    if file.check is not None:
        if not (file.check.rates or file.check.drain or file.check.sustainable):
            yield Problem(("check",), "nothing to check: give rates, drain: true or sustainable: true")
        for metric in file.check.max_error:
            if metric not in METRIC_NAMES:
                yield Problem(("check", "max_error", metric), unknown_metric(metric), at_key=True)


def _model(model: schema.Model) -> Iterator[Problem]:
    if model.path is None and model.name == registry.OWN_MODEL:
        yield Problem(("model",), "a model of one's own is its file; write path: my.onnx")
    for key in ("base", "each"):
        if getattr(model, key) is not None and (model.name != "sleep" or model.path is not None):
            yield Problem(("model", key), f"only the model sleep has {key}; a model takes what it takes", at_key=True)


def _arrival(file: schema.ScenarioFile) -> Iterator[Problem]:
    arrival = file.workload.arrival
    at: Path = ("workload", "arrival")
    used = ARRIVAL_FIELDS[arrival.kind]
    for name in schema.Arrival.model_fields:  # in the schema's order, so that messages are too
        if name in arrival.model_fields_set and name != "kind" and name not in used:
            kinds = ", ".join(kind for kind, names in ARRIVAL_FIELDS.items() if name in names)
            yield Problem(
                (*at, name),
                f"arrival kind {arrival.kind} has no {name} (only {kinds}); it uses {', '.join(used)}",
                at_key=True,
            )
    for name in _NEEDED.get(arrival.kind, ()):
        if getattr(arrival, name) is None:
            yield Problem(at, f"arrival kind {arrival.kind} needs {name}; write {_EXAMPLES[name]}")
    if arrival.kind == "trace" or file.profile is not None or file.check is not None:
        return
    backlog = file.workload.backlog
    if backlog is not None and backlog.records > 0:
        return
    if max(arrival.rate, arrival.to_rate or 0.0) == 0.0:
        where = (*at, "rate") if "rate" in arrival.model_fields_set else at
        yield Problem(where, "nothing would be sent: give a rate such as 500 /s, or workload.backlog")


def _load(file: schema.ScenarioFile) -> Iterator[Problem]:
    load = file.workload
    warmup = 0 if isinstance(load.warmup, str) else load.warmup
    if warmup + load.duration == 0:
        yield Problem(("workload", "duration"), "warmup + duration is 0: there would be no load")
    elif load.duration == 0:
        yield Problem(("workload", "duration"), "duration is 0: no record would be counted")
    if isinstance(load.warmup, str) and file.profile is not None:
        yield Problem(("workload", "warmup"), "the runs of a profile are fitted over a fixed window: give a time")
    rate = max(load.arrival.rate, load.arrival.to_rate or 0.0)
    if load.arrival.kind == "bursty":
        rate *= max(load.arrival.low_factor, load.arrival.high_factor)
    expected = rate * (warmup + load.duration) / spec.S_NS
    if expected > MAX_RECORDS and load.records is None:
        yield Problem(
            ("workload", "arrival", "rate"),
            f"up to {expected:,.0f} records in warmup + duration, more than {MAX_RECORDS:,}; shorten it or set records",
        )


def _broker(file: schema.ScenarioFile) -> Iterator[Problem]:
    broker = file.broker
    if broker.client not in profiles.PROFILES:
        yield Problem(("broker", "client"), listed("no such client profile", broker.client, profiles.PROFILES))
    if broker.kind == "external" and broker.bootstrap is None:
        yield Problem(("broker", "kind"), "a broker of kind external needs bootstrap; write bootstrap: localhost:9092")
    if broker.kind != "external" and broker.bootstrap is not None:
        yield Problem(
            ("broker", "bootstrap"),
            f"only a broker of kind external has bootstrap; this one is {broker.kind}",
            at_key=True,
        )
    if broker.kind == "mock":
        standard = spec.Broker()
        for name in ("io_threads", "network_threads"):
            if getattr(broker, name) != getattr(standard, name):
                yield Problem(
                    ("broker", name), "a mock broker has no such threads: it lives in the client library", at_key=True
                )


def _engine(file: schema.ScenarioFile) -> Iterator[Problem]:
    engine = file.engine
    own = ENGINE_FIELDS.get(engine.kind)
    for name in schema.Engine.model_fields:
        if name not in engine.model_fields_set or name in ENGINE_COMMON or own is None:
            continue
        if name not in own:
            kinds = ", ".join(kind for kind, names in ENGINE_FIELDS.items() if name in names)
            yield Problem(("engine", name), f"the engine {engine.kind} has no {name} (only {kinds})", at_key=True)
        elif engine.chained and name in UNCHAINED_FIELDS:
            yield Problem(
                ("engine", name), f"chained operators have no {name}; write chained: false beside it", at_key=True
            )
    if engine.transaction_timeout is not None:
        if engine.delivery != "exactly-once":
            yield Problem(("engine", "transaction_timeout"), "only exactly-once has transactions", at_key=True)
        elif engine.transaction_timeout < engine.commit_interval:
            message = "shorter than commit_interval: the broker would end every transaction before its commit"
            yield Problem(("engine", "transaction_timeout"), message)
    if engine.async_capacity is not None and (own is None or "async_capacity" in own):
        yield Problem(
            ("engine", "async_capacity"), "asynchronous calls are not modelled yet; a task waits for each answer", True
        )
    if engine.kind in WITHOUT_BROKER and file.workload.backlog is not None and file.workload.backlog.records:
        message = f"the engine {engine.kind} has no broker, so no topic that could hold one"
        yield Problem(("workload", "backlog"), message)
    if engine.kind in WITHOUT_BROKER and file.workload.collectors > 1:
        message = f"the engine {engine.kind} has no broker, so no topic that several could read"
        yield Problem(("workload", "collectors"), message)


def _serving(file: schema.ScenarioFile) -> Iterator[Problem]:
    serving = file.serving
    if serving.kind == "embedded":
        for name in SERVING_FIELDS["external"]:
            if name in serving.model_fields_set:
                yield Problem(
                    ("serving", name),
                    f"only an external server has {name}; write kind: external beside it",
                    at_key=True,
                )
        if serving.runtime in registry.SERVERS:
            yield Problem(("serving", "runtime"), f"{serving.runtime} is a server; write kind: external beside it")
        return
    if serving.client.mode == "blocking" and "in_flight" in serving.client.model_fields_set:
        message = "a blocking client has one call under way; write mode: async beside it"
        yield Problem(("serving", "client", "in_flight"), message, at_key=True)
    if serving.batch == 1 and serving.batch_delay:
        yield Problem(("serving", "batch_delay"), "a batch of one request is complete at once: give batch, or no delay")
    yield from _batching(serving)


def _batching(serving: schema.Serving) -> Iterator[Problem]:
    batching, policy = serving.batching, serving.batching.policy
    at: Path = ("serving", "batching")
    learns = policy in LEARNING
    if learns and batching.slo is None:
        yield Problem((*at, "policy"), f"the policy {policy} needs an slo; write slo: 20 ms beside it")
    if not learns and batching.slo is not None:
        yield Problem((*at, "slo"), f"only the policies {', '.join(LEARNING)} go by an slo", at_key=True)
    if policy != "quantile" and batching.samples is not None:
        yield Problem((*at, "samples"), "only the policy quantile takes samples", at_key=True)
    if policy is not None and serving.batch == 1:
        yield Problem(("serving", "batch"), "batch is the most that a policy may take: write batch: 256")
    if policy == "eager" and serving.batch_delay:
        yield Problem(("serving", "batch_delay"), "an eager server does not wait: policy: delayed does", at_key=True)
    if policy == "delayed" and not serving.batch_delay:
        yield Problem((*at, "policy"), "the policy delayed needs serving.batch_delay; write batch_delay: 2 ms")


def _stages(file: schema.ScenarioFile) -> Iterator[Problem]:
    if file.engine.kind != "graph":
        if file.stages:
            message = f"the engine {file.engine.kind} has no stages; write engine: {{kind: graph}}"
            yield Problem(("stages",), message, at_key=True)
        return
    if not file.stages:
        yield Problem(("engine", "kind"), "a graph needs stages; write stages: {NAME: {}}")
    if file.serving.kind != "embedded":
        yield Problem(("serving", "kind"), "a graph's stages are its servers: serving stays embedded")
    ends = {name for name, s in file.stages.items() if sum(b.share or 0 for b in s.next) < 1 and _leaves_some(s)}
    for name, stage in file.stages.items():
        yield from _stage(file, name, stage)
        reached, new = {name}, {name}
        while new:
            new = {to for n in new for b in file.stages[n].next for to in b.to if to in file.stages} - reached
            reached |= new
        if not reached & ends:
            yield Problem(("stages", name, "next"), f"no way from {name} ever ends")


def _leaves_some(stage: schema.GraphStage) -> bool:
    return all(branch.share is not None for branch in stage.next)


def _stage(file: schema.ScenarioFile, name: str, stage: schema.GraphStage) -> Iterator[Problem]:
    at: Path = ("stages", name)
    if stage.table and (stage.base is not None or stage.each is not None):
        yield Problem((*at, "table"), "a table stands instead of base and each", at_key=True)
    for size in stage.table:
        if not size.isdigit() or int(size) < 1:
            yield Problem((*at, "table", size), f"{size!r} is not the size of a batch", at_key=True)
    if stage.batch == 1 and stage.batch_delay:
        yield Problem((*at, "batch_delay"), "a batch of one record is complete at once: give batch, or no delay")
    left = 1.0
    for i, branch in enumerate(stage.next):
        for to in branch.to:
            if to not in file.stages:
                yield Problem((*at, "next", i, "to"), listed(f"no stage is called {to!r}", to, file.stages))
        if branch.share is None and i < len(stage.next) - 1:
            yield Problem((*at, "next", i), "only the last way on may leave out its share: it is what is left")
        left -= branch.share or 0
    if left < -1e-9:
        yield Problem((*at, "next"), f"the shares add up to {1 - left:g}, more than 1")


def _hosts(file: schema.ScenarioFile) -> Iterator[Problem]:
    if THIS in file.hosts:
        if len(file.hosts) > 1 or file.hosts[THIS].model_fields_set:
            yield Problem(("hosts", THIS), "'this' stands alone: hosts: this", at_key=True)
        return
    named = {entry.on for entry in file.hosts.values() if entry.on is not None}
    own = {name for name, entry in file.hosts.items() if entry.cores is not None} | {DEFAULT_HOST}
    for name, entry in file.hosts.items():
        if name not in PARTS and name != DEFAULT_HOST and name not in named:
            yield Problem(
                ("hosts", name),
                listed(f"{name!r} is no part, and no part is on it", name, (*PARTS, DEFAULT_HOST)),
                at_key=True,
            )
        elif (entry.cores is None) == (entry.on is None):
            yield Problem(("hosts", name), "write either cores (a host of its own) or on (the host it sits on)")
        elif entry.on is not None and name not in PARTS:
            yield Problem(("hosts", name, "on"), f"only a part can sit on a host: {', '.join(PARTS)}", at_key=True)
        elif entry.on is not None and entry.on not in own:
            yield Problem(("hosts", name, "on"), listed(f"no host is called {entry.on!r}", entry.on, sorted(own)))


def unknown_metric(metric: str, names: Iterable[str] = METRIC_NAMES) -> str:
    """The message for a metric word nobody knows."""
    return listed("unknown metric", metric, names)


def read_bounds(
    section: str, written: dict[str, Any], names: Mapping[str, MetricName] = METRIC_NAMES
) -> tuple[tuple[spec.Bound, ...], list[Problem]]:
    """The bounds of ``slo`` or ``expect``.

    A value is ``'< 50 ms'``; without an operator a latency, loss, lag or CPU cost is an upper bound and a throughput a
    lower one.  Several bounds on one metric stand in a list.

    Args:
        section: For the messages.
        written: Metric word -> bound or bounds.
        names: The words there are.

    Returns:
        The bounds in the metrics' own units, and what is wrong with the others.
    """
    bounds: list[spec.Bound] = []
    wrong: list[Problem] = []
    for metric, value in written.items():
        name = names.get(metric)
        if name is None:
            wrong.append(Problem((section, metric), unknown_metric(metric, names), at_key=True))
            continue
        for at, item in enumerate(value) if isinstance(value, list) else ((None, value),):
            path: Path = (section, metric) if at is None else (section, metric, at)
            operator, rest = ("<=" if name.upper else ">="), item
            if isinstance(item, str):
                match = _BOUND.match(item)
                operator, rest = (match["op"] or operator, match["value"]) if match else (operator, item)
            try:
                bounds.append(spec.Bound(metric, operator, name.read(rest)))  # type: ignore[arg-type]
            except UnitError as error:
                wrong.append(Problem(path, f"{error}; a bound is written '{name.example}'"))
    return tuple(bounds), wrong
