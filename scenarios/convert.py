"""Between the schema (text form) and the spec (base units), both ways, by the fields' own types."""

from __future__ import annotations

import dataclasses
from typing import Any

from pydantic.fields import FieldInfo

from scenarios import profiles, schema, spec
from scenarios.fields import quantity_of
from scenarios.metric_names import METRIC_NAMES, PARTS
from scenarios.schema import ARRIVAL_FIELDS, Section, section_of

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
    profile = profiles.PROFILES[file.broker.client]
    broker = dataclasses.replace(
        _to_spec(file.broker),
        producer=dataclasses.replace(profile.producer, **_values(file.broker.producer)),
        consumer=dataclasses.replace(profile.consumer, **_values(file.broker.consumer)),
    )
    return spec.Scenario(
        name=file.name,
        workload=_to_spec(file.workload),
        broker=broker,
        engine=_to_spec(file.engine),
        serving=_to_spec(file.serving),
        model=_to_spec(file.model),
        hosts=_to_hosts(file.hosts),
        slo=bounds["slo"],
        expect=bounds["expect"],
        sweep=dict(file.sweep),
        repeats=repeats,
        calibration=file.calibration,
        profile=None if file.profile is None else _to_spec(file.profile),
        check=None if file.check is None else _to_spec(file.check),
        deadline_ns=file.deadline,
    )


def _to_spec(section: Section) -> Any:
    return section.SPEC(**_values(section))


def _values(section: Section) -> dict[str, Any]:
    """The fields that were written, under their names in the spec; the spec's own defaults fill the rest."""
    values: dict[str, Any] = {}
    for name in section.model_fields_set:
        value = getattr(section, name)
        if isinstance(value, schema.BacklogSection):
            value = value.records
        elif name == "backlog":
            value = 0
        elif isinstance(value, Section):
            value = _to_spec(value)
        values[spec_field(type(section), name)] = value
    return values


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
        "workload": _text(schema.Workload, scenario.workload),
        "broker": _text(schema.Broker, scenario.broker),
        "engine": _text(schema.Engine, scenario.engine),
        "serving": _text(schema.Serving, scenario.serving),
        "model": _text(schema.Model, scenario.model),
        "hosts": _hosts_text(scenario.hosts),
        "slo": _bounds_text(scenario.slo),
        "expect": _bounds_text(scenario.expect),
        "sweep": {key: list(values) for key, values in scenario.sweep.items()} | {"repeats": scenario.repeats},
    }
    if scenario.calibration is not None:
        text["calibration"] = scenario.calibration
    if scenario.profile is not None:
        text["profile"] = _text(schema.Profile, scenario.profile)
    if scenario.check is not None:
        text["check"] = _text(schema.Check, scenario.check)
    if scenario.deadline_ns is not None:
        text["deadline"] = field_text(schema.ScenarioFile.model_fields["deadline"], scenario.deadline_ns)
    return text


def field_text(field: FieldInfo, value: Any) -> Any:
    """A field's value in base units as it would be written in a file."""
    quantity = quantity_of(field)
    if isinstance(value, dict):
        return dict(value)
    if isinstance(value, tuple):
        return [item if quantity is None else quantity.dimension.format(item) for item in value]
    return value if quantity is None else quantity.dimension.format(value)


def _text(section: type[Section], value: Any) -> dict[str, Any]:
    names = list(section.model_fields)
    if section is schema.Arrival:
        names = ["kind", *ARRIVAL_FIELDS[value.kind]]
    text: dict[str, Any] = {}
    for name in names:
        field = section.model_fields[name]
        held = getattr(value, spec_field(section, name))
        if name == "backlog":
            text[name] = {"records": held}
        elif held is not None:
            inner = section_of(field.annotation)
            text[name] = field_text(field, held) if inner is None else _text(inner, held)
    return text


def _hosts_text(hosts: spec.Hosts) -> str | dict[str, Any]:
    if hosts.predicts_this_host:
        return THIS
    text: dict[str, Any] = {name: {"cores": host.cores} for name, host in hosts.hosts.items()}
    for part, host in hosts.parts.items():
        if part != host:
            text[part] = {"on": host}
    return text


def _bounds_text(bounds: tuple[spec.Bound, ...]) -> dict[str, Any]:
    text: dict[str, list[str]] = {}
    for bound in bounds:
        written = METRIC_NAMES[bound.metric].write(bound.value)
        text.setdefault(bound.metric, []).append(f"{bound.op} {written}")
    return {metric: written[0] if len(written) == 1 else written for metric, written in text.items()}
