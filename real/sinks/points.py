"""A point: what was so at one instant, as InfluxDB's line protocol writes it, and as JSON.

A field whose name ends in `_total` only grows while a process lives; any other is what it is now.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

Value = float | int | str | bool
_INT64 = 1 << 63


@dataclass(frozen=True, slots=True)
class Point:
    """One point.

    Attributes:
        measurement: What of.
        tags: What it is told apart by; an empty one is left out.
        fields: Its values; one that is no number (NaN, infinite) is left out.
        at_ns: When, nanoseconds since the epoch.
    """

    measurement: str
    tags: Mapping[str, str]
    fields: Mapping[str, Value]
    at_ns: int


def line(point: Point) -> str | None:
    """A point in line protocol, no newline; None where no field is left."""
    fields = []
    for name, value in point.fields.items():
        text = _value(value)
        if text is not None:
            fields.append(f"{_name(name)}={text}")
    if not fields:
        return None
    tags = "".join(f",{_name(key)}={_name(value)}" for key, value in sorted(point.tags.items()) if value)
    return f"{_escaped(point.measurement, ', ')}{tags} {','.join(fields)} {point.at_ns}"


def as_json(point: Point) -> str | None:
    """A point as one line of JSON, no newline; None where no field is left."""
    fields = {name: value for name, value in point.fields.items() if _value(value) is not None}
    if not fields:
        return None
    about = {"at_ns": point.at_ns, "measurement": point.measurement, "tags": dict(point.tags), "fields": fields}
    return json.dumps(about, ensure_ascii=False)


def _value(value: Value) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value}i" if -_INT64 <= value < _INT64 else None
    if isinstance(value, str):
        text = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{text}"'
    return repr(float(value)) if math.isfinite(value) else None


def _name(text: str) -> str:
    """A tag or the name of a field; a backslash at its end would escape what comes after it."""
    return _escaped(text.rstrip("\\") or "_", ",= ")


def _escaped(text: str, marks: str) -> str:
    text = text.replace("\n", " ").replace("\r", " ")
    return "".join(f"\\{each}" if each in marks else each for each in text)
