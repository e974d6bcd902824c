"""Every setting with its default, as a YAML file a user can copy lines from."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from scenarios import cluster_schema, convert, schema
from scenarios.fields import Quantity, quantity_of
from scenarios.schema import section_of
from scenarios.section import Section

_WIDTH = 40
_EXAMPLES = {
    "extends": "first_light.yaml",
    "calibration": "NAME",
    "bootstrap": "localhost:9092",
    "path": "trace.csv.gz",
    "cv": "1",
    "period": "20 s",
    "records": "8000",
    "deadline": "10 min",
    "trace": "trace.csv.gz",
    "history": "days_before.csv.gz",
    "minutes": "60",
    "buffer_capacity": "720",
    "max_offsets_per_trigger": "10000",
    "total_cpus": "64",
    "cpus_times_parallelism": "0.33",
    "task_slots": "60",
    "workers": "1",
    "protocol": "crayfish",
    "Engine.source_parallelism": "32",
    "Engine.sink_parallelism": "32",
    "slo": "720 ms",
    "Job.trace": "0",
    "Job.name": "camera",
    "Job.replicas": "1",
}


def defaults_yaml(*, cluster: bool = False) -> str:
    """The text: one line a setting, its meaning beside it; what has no default is commented out.

    Args:
        cluster: Of a scenario with jobs instead of one pipeline.
    """
    lines = [
        "# Every setting of a scenario and its default.  A line that starts with # has none, or is not always used.",
        "",
    ]
    _section(cluster_schema.ClusterFile if cluster else schema.ScenarioFile, "", lines, off=False)
    return "\n".join(lines) + "\n"


def _section(section: type[Section], indent: str, lines: list[str], *, off: bool, held: Any = None) -> None:
    for name, field in section.model_fields.items():
        inner = section_of(field.annotation)
        if held is not None:
            default: Any = getattr(held, name)
        else:
            default = field.get_default(call_default_factory=True) if not field.is_required() else None
        absent = off or default is None or name not in _read(section)
        mark = "# " if absent else ""
        if inner is not None and default != ():
            lines.append(_line(f"{mark}{indent}{name}:", field.description))
            _section(inner, indent + "  ", lines, off=absent, held=default)
            continue
        value: Any = _EXAMPLES.get(f"{section.__name__}.{name}", _EXAMPLES.get(name, _sample(quantity_of(field))))
        if default is not None:
            value = "{}" if default == {} else convert.field_text(field, default)
        lines.append(_line(f"{mark}{indent}{name}: {_flow(value)}", field.description))


def _read(section: type[Section]) -> Collection[str]:
    """The fields of a section that are read where all of them have their defaults."""
    if section is schema.Arrival:
        return ("kind", "rate")
    if section is schema.Engine:
        return schema.ENGINE_COMMON
    return ("kind", "runtime") if section is schema.Serving else section.model_fields


def _sample(quantity: Quantity | None) -> str:
    return "..." if quantity is None else quantity.dimension.example


def _flow(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_flow(item) for item in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _line(text: str, description: str | None) -> str:
    return f"{text:<{_WIDTH}} # {description}" if description else text
