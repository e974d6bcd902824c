"""Between the schema (text form) and the spec (base units), both ways, by the fields' own types."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from pydantic.fields import FieldInfo

from scenarios import profiles, registry, schema, spec
from scenarios.fields import quantity_of
from scenarios.metric_names import METRIC_NAMES, PARTS, MetricName
from scenarios.model_stream_schema import Fault, ModelStream, StoreState
from scenarios.schema import ARRIVAL_FIELDS, ENGINE_COMMON, ENGINE_FIELDS, section_of
from scenarios.section import Section
from scenarios.units import DURATION

THIS = "this"
DEFAULT_HOST = "default"


def spec_field(section: type[Section], name: str) -> str:
    """Name in the spec of a schema field: the same, plus the unit where it has one."""
    if name in section.RENAMED:
        return section.RENAMED[name]
    known = {item.name for item in dataclasses.fields(section.SPEC)}
    if name in known:
        return name
    quantity = quantity_of(section.model_fields[name])
    assert quantity is not None, f"{section.__name__}.{name} has no counterpart in the spec"
    return name + quantity.dimension.suffix


def to_scenario(file: schema.ScenarioFile, bounds: dict[str, tuple[spec.Bound, ...]], repeats: int) -> spec.Scenario:
    """The spec of a file that `scenarios.rules` found sound.

    Args:
        file: The validated file.
        bounds: The bounds of ``slo`` and ``expect``, already read.
        repeats: The value of ``sweep.repeats``.
    """
    client = file.broker.client
    if "client" not in file.broker.model_fields_set:
        client = profiles.DEFAULTS.get(file.engine.kind, client)
    profile = profiles.PROFILES[client]
    broker = dataclasses.replace(
        to_spec(file.broker),
        client_profile=client,
        producer=dataclasses.replace(profile.producer, **written(file.broker.producer)),
        consumer=dataclasses.replace(profile.consumer, **written(file.broker.consumer)),
    )
    return spec.Scenario(
        name=file.name,
        workload=to_spec(file.workload),
        broker=broker,
        engine=to_spec(file.engine),
        serving=to_spec(file.serving),
        model=_to_model(file.model),
        stages=tuple(_to_stage(name, stage) for name, stage in file.stages.items()),
        hosts=_to_hosts(file.hosts),
        slo=bounds["slo"],
        expect=bounds["expect"],
        sweep=dict(file.sweep),
        repeats=repeats,
        calibration=file.calibration,
        profile=None if file.profile is None else to_spec(file.profile),
        check=None if file.check is None else to_spec(file.check),
        deadline_ns=file.deadline,
        protocol=file.protocol,
        model_stream=None if file.model_stream is None else to_spec(file.model_stream),
        faults=tuple(to_spec(fault) for fault in file.faults),
    )


def to_spec(section: Section) -> Any:
    """A section as its dataclass of the spec; what was not written has the spec's default."""
    return section.SPEC(**written(section))


def written(section: Section) -> dict[str, Any]:
    """The fields of a section that were written, under their names in the spec; its own defaults fill the rest."""
    values: dict[str, Any] = {}
    for name in section.model_fields_set:
        value = getattr(section, name)
        if isinstance(value, schema.BacklogSection):
            value = value.records
        elif name == "backlog":
            value = 0
        elif name == "warmup" and isinstance(value, str):
            values["warmup_rule"], value = value, 0
        elif isinstance(value, Section):
            value = to_spec(value)
        elif isinstance(value, tuple) and value and isinstance(value[0], Section) and value[0].SPEC:
            value = tuple(to_spec(item) for item in value)
        values[spec_field(type(section), name)] = value
    return values


def _to_model(model: schema.Model) -> spec.Model:
    found: spec.Model = to_spec(model)
    return found if found.path is None else dataclasses.replace(found, name=registry.OWN_MODEL)


def _to_stage(name: str, stage: schema.GraphStage) -> spec.Stage:
    values = written(stage)
    table = tuple(sorted((int(size), ns) for size, ns in stage.table.items()))
    values.pop("table", None)
    return spec.Stage(**{**values, "name": name, "table_ns": table, "next": tuple(map(to_spec, stage.next))})


def _stage_text(stage: spec.Stage) -> dict[str, Any]:
    table = {str(size): DURATION.format(ns) for size, ns in stage.table_ns}
    return {**section_text(schema.GraphStage, stage), "table": table}


def _to_hosts(entries: dict[str, schema.HostEntry]) -> spec.Hosts:
    if THIS in entries:
        return spec.Hosts(predicts_this_host=True)
    hosts: dict[str, spec.HostSpec] = {}
    parts: dict[str, str] = {}
    for name, entry in entries.items():
        if entry.cores is not None:
            hosts[name] = spec.HostSpec(entry.cores)
        if name in PARTS:
            parts[name] = name if entry.on is None else entry.on
    return spec.Hosts(hosts=hosts, parts=parts)


def to_text(scenario: spec.Scenario) -> dict[str, Any]:
    """The full JSON-able form: every setting, quantities with units, in the order of the schema."""
    text: dict[str, Any] = {
        "name": scenario.name,
        "workload": section_text(schema.Workload, scenario.workload),
        "broker": section_text(schema.Broker, scenario.broker),
        "engine": section_text(schema.Engine, scenario.engine),
        "serving": section_text(schema.Serving, scenario.serving),
        "model": section_text(schema.Model, scenario.model),
        "hosts": _hosts_text(scenario.hosts),
        **({"stages": {s.name: _stage_text(s) for s in scenario.stages}} if scenario.stages else {}),
        "slo": bounds_text(scenario.slo),
        "expect": bounds_text(scenario.expect),
        "sweep": {key: list(values) for key, values in scenario.sweep.items()} | {"repeats": scenario.repeats},
    }
    if scenario.calibration is not None:
        text["calibration"] = scenario.calibration
    if scenario.profile is not None:
        text["profile"] = section_text(schema.Profile, scenario.profile)
    if scenario.check is not None:
        text["check"] = section_text(schema.Check, scenario.check)
    if scenario.deadline_ns is not None:
        text["deadline"] = field_text(schema.ScenarioFile.model_fields["deadline"], scenario.deadline_ns)
    if scenario.protocol is not None:
        text["protocol"] = scenario.protocol
    if scenario.model_stream is not None:
        text["model_stream"] = section_text(ModelStream, scenario.model_stream)
    if scenario.faults:
        text["faults"] = [section_text(Fault, fault) for fault in scenario.faults]
    return text


def field_text(field: FieldInfo, value: Any) -> Any:
    """A field's value in base units as it would be written in a file."""
    quantity = quantity_of(field)
    if isinstance(value, dict):
        return dict(value)
    if isinstance(value, tuple):
        return [item if quantity is None else quantity.dimension.format(item) for item in value]
    return value if quantity is None else quantity.dimension.format(value)


def section_text(section: type[Section], value: Any) -> dict[str, Any]:
    """A dataclass of the spec as it would be written in a file, every setting; what is None is left out."""
    names = list(section.model_fields)
    if section is schema.Arrival:
        names = ["kind", *ARRIVAL_FIELDS[value.kind]]
    elif section is schema.Engine:
        names = [*ENGINE_COMMON, *_engine_fields(value)]
    elif section is schema.Serving and value.kind == "embedded":
        names = ["kind", "runtime"]
    elif section is schema.ServingClient and value.mode == "blocking":
        names.remove("in_flight")
    elif section is StoreState and value.kind != "changelog":
        names = ["kind"]
    elif section is schema.Payload:
        names = [name for name in names if name not in ("types", "poison") or getattr(value, name)]
    text: dict[str, Any] = {}
    for name in names:
        field = section.model_fields[name]
        held = getattr(value, spec_field(section, name))
        if name == "backlog":
            text[name] = {"records": held}
        elif name == "warmup" and value.warmup_rule != "fixed":
            text[name] = value.warmup_rule
        elif held is not None:
            inner = section_of(field.annotation)
            if inner is None:
                text[name] = field_text(field, held)
            elif isinstance(held, tuple):
                text[name] = [section_text(inner, item) for item in held]
            else:
                text[name] = section_text(inner, held)
    return text


def _engine_fields(engine: spec.Engine) -> list[str]:
    """The fields an engine reads beside those of every engine, in the order of the schema."""
    others = [name for name in schema.Engine.model_fields if name not in ENGINE_COMMON]
    read = ENGINE_FIELDS.get(engine.kind, tuple(others))
    return [name for name in others if name in read and not (engine.chained and name in schema.UNCHAINED_FIELDS)]


def _hosts_text(hosts: spec.Hosts) -> str | dict[str, Any]:
    if hosts.predicts_this_host:
        return THIS
    text: dict[str, Any] = {name: {"cores": host.cores} for name, host in hosts.hosts.items()}
    for part, host in hosts.parts.items():
        if part != host:
            text[part] = {"on": host}
    return text


def bounds_text(bounds: tuple[spec.Bound, ...], names: Mapping[str, MetricName] = METRIC_NAMES) -> dict[str, Any]:
    """Bounds as they would be written in a file."""
    text: dict[str, list[str]] = {}
    for bound in bounds:
        written = names[bound.metric].write(bound.value)
        text.setdefault(bound.metric, []).append(f"{bound.op} {written}")
    return {metric: written[0] if len(written) == 1 else written for metric, written in text.items()}
