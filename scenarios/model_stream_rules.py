"""What only several fields of a stream of models, its records and its faults together can get wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath

from scenarios import schema
from scenarios.fields import listed
from scenarios.model_stream import MAX_SENT
from scenarios.model_stream_schema import ModelMessage, ModelStream
from scenarios.problem import Path, Problem

WITHOUT = ("standalone", "graph", "spark", "ray")  # engines that no stream of models comes to


def problems(file: schema.ScenarioFile) -> Iterator[Problem]:
    """Every impossible combination of model_stream, workload.payload and faults, whose fields are each valid."""
    yield from _payload(file)
    yield from _faults(file)
    if file.model_stream is not None:
        yield from _stream(file, file.model_stream)


def _payload(file: schema.ScenarioFile) -> Iterator[Problem]:
    payload, at = file.workload.payload, ("workload", "payload")
    if payload.source is not None and payload.format != "protobuf":
        yield Problem((*at, "source"), "only records in protobuf come from a file; write format: protobuf", True)
    if file.model_stream is None:
        for name in ("source", "types", "poison"):
            if getattr(payload, name):
                yield Problem((*at, name), f"only a pipeline with a model_stream has {name}", at_key=True)
        if payload.format == "protobuf":
            yield Problem((*at, "format"), "protobuf is the format of records beside a model_stream; json or binary")
    if payload.types and not sum(payload.types.values()):
        yield Problem((*at, "types"), "the weights are all 0: no record would have a type")


def _faults(file: schema.ScenarioFile) -> Iterator[Problem]:
    instances = 1 if file.model_stream is None else file.model_stream.instances
    counts = {"worker": file.engine.parallelism, "instance": instances, "generator": file.workload.producers}
    for i, fault in enumerate(file.faults):
        part, _, number = fault.target.partition("-")
        if part in counts and int(number) >= counts[part]:
            last = counts[part] - 1
            yield Problem(("faults", i, "target"), f"there is no {fault.target}: the last one is {part}-{last}")
        if fault.target == "server" and file.serving.kind != "external":
            yield Problem(("faults", i, "target"), "there is no server: the engine scores (embedded)")
        if fault.kind == "pause" and fault.restart is None:
            yield Problem(("faults", i), "who is paused goes on some time: give restart, how long after")


def _stream(file: schema.ScenarioFile, stream: ModelStream) -> Iterator[Problem]:
    at: Path = ("model_stream",)
    if file.engine.kind in WITHOUT:
        yield Problem(at, f"the engine {file.engine.kind} takes no models from a topic", at_key=True)
    if file.engine.delivery == "exactly-once":
        yield Problem(("engine", "delivery"), "what a stream of models keeps is not part of the engine's transactions")
    if file.serving.kind != "embedded":
        yield Problem(("serving", "kind"), "models of a stream are scored by the workers themselves: embedded")
    if not stream.messages:
        yield Problem((*at, "messages"), "no models: write messages: [{name: NAME, model: MODEL}]")
    if stream.instances > file.engine.parallelism:
        most = file.engine.parallelism
        yield Problem(
            (*at, "instances"), f"{stream.instances} instances share the {most} workers of engine.parallelism"
        )
    if stream.state.kind != "changelog" and "commit" in stream.state.model_fields_set:
        yield Problem((*at, "state", "commit"), "only the kind changelog is kept by commits", at_key=True)
    if stream.restore == "snapshot" and stream.state.kind == "none":
        yield Problem(
            (*at, "restore"), "nothing is kept to restore from: give state.kind, or restore latest or earliest"
        )
    load = file.workload
    until = load.duration + (0 if isinstance(load.warmup, str) else load.warmup)
    if stream.repeat and until // stream.every > MAX_SENT:
        yield Problem((*at, "every"), f"more than {MAX_SENT:,} models until the load's end; make it longer")
    types = load.payload.types
    used = dict.fromkeys(message.type for message in stream.messages)
    if not types and len(used) > 1:
        yield Problem((*at, "messages"), f"models of {len(used)} types; say which records there are: payload.types")
    for i, message in enumerate(stream.messages):
        for name, text in _message(stream, message):
            yield Problem((*at, "messages", i, *((name,) if name else ())), text)
        if types and message.type not in types:
            said = listed(f"no record has the type {message.type!r}", message.type, types)
            yield Problem((*at, "messages", i, "type"), said)


def _message(stream: ModelStream, message: ModelMessage) -> Iterator[tuple[str, str]]:
    if (message.model is None) == (message.path is None):
        yield "", "write either model (a registered one) or path (a file)"
    if message.at is not None and stream.repeat:
        yield "at", "messages that are repeated come by first and every"
    if message.fault == "missing" and message.by == "value":
        yield "fault", "only a model sent by reference can be missing"


def file_problems(file: schema.ScenarioFile) -> Iterator[Problem]:
    """What is wrong with the files that a sound scenario names."""
    source = file.workload.payload.source
    if source is not None and ("\0" in source or not FilePath(source).is_file()):
        yield Problem(("workload", "payload", "source"), f"no such file: {source!r}")
    for i, message in enumerate(file.model_stream.messages if file.model_stream else ()):
        path = message.path
        if path is None or "://" in path or message.fault == "missing":
            continue
        if "\0" in path or not FilePath(path).exists():
            yield Problem(("model_stream", "messages", i, "path"), f"no such file: {path!r}")
