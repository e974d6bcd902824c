"""The JSON Schema of a scenario file, from the same types that validate it, with defaults as text with units."""

from __future__ import annotations

from typing import Any

from scenarios.convert import field_text
from scenarios.schema import ScenarioFile, Section, section_of, sweepable

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The schema as a JSON-able mapping."""
    schema = ScenarioFile.model_json_schema()
    _defaults_as_text(ScenarioFile, schema["properties"], schema["$defs"])
    schema["properties"]["sweep"] = {
        "type": "object",
        "description": ScenarioFile.model_fields["sweep"].description,
        "properties": {key: {"type": ["array", "null"], "minItems": 1} for key in sweepable()}
        | {"repeats": {"type": "integer", "minimum": 1}},
        "patternProperties": {r"^hosts\.": {"type": ["array", "null"], "minItems": 1}},
        "additionalProperties": False,
    }
    return {"$schema": DIALECT} | schema | {"title": "Weir scenario"}


def _defaults_as_text(section: type[Section], properties: dict[str, Any], definitions: dict[str, Any]) -> None:
    for name, field in section.model_fields.items():
        inner = section_of(field.annotation)
        if inner is not None:
            properties[name].pop("default", None)
            _defaults_as_text(inner, definitions[inner.__name__]["properties"], definitions)
        elif properties[name].get("default") is not None:
            properties[name]["default"] = field_text(field, field.get_default(call_default_factory=True))
