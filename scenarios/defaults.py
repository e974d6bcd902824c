"""Every setting with its default, as a YAML file a user can copy lines from."""

from __future__ import annotations

from typing import Any

from scenarios import convert, schema
from scenarios.fields import Quantity, quantity_of
from scenarios.schema import Section, section_of

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
}


def defaults_yaml() -> str:
    """The text: one line a setting, its meaning beside it; what has no default is commented out."""
    lines = [
        "# Every setting of a scenario and its default.  A line that starts with # has none, or is not always used.",
        "",
    ]
    _section(schema.ScenarioFile, "", lines, off=False)
    return "\n".join(lines) + "\n"


def _section(section: type[Section], indent: str, lines: list[str], *, off: bool) -> None:
    for name, field in section.model_fields.items():
        inner = section_of(field.annotation)
        default: Any = field.get_default(call_default_factory=True) if not field.is_required() else None
        absent = off or default is None or (section is schema.Arrival and name not in ("kind", "rate"))
        mark = "# " if absent else ""
        if inner is not None:
            lines.append(_line(f"{mark}{indent}{name}:", field.description))
            _section(inner, indent + "  ", lines, off=absent)
            continue
        value: Any = _EXAMPLES.get(name, _sample(quantity_of(field)))
        if default is not None:
            value = "{}" if default == {} else convert.field_text(field, default)
        lines.append(_line(f"{mark}{indent}{name}: {_flow(value)}", field.description))


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
