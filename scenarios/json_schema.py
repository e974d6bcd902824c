"""The JSON Schema of scenario files, from the same types that validate them, with defaults as text with units.

A file is of the kind whose marks it has; one that has none but extends another may be of any kind.
"""

from __future__ import annotations

import re
from typing import Any

from scenarios.convert import field_text
from scenarios.language import Language
from scenarios.load import LANGUAGES
from scenarios.schema import section_of, sweepable
from scenarios.section import Section

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The schema as a JSON-able mapping."""
    definitions: dict[str, Any] = {}
    for language in LANGUAGES:
        schema = _of(language)
        definitions |= schema.pop("$defs") | {language.root.__name__: schema}
    kinds = [{"$ref": f"#/$defs/{language.root.__name__}"} for language in LANGUAGES]
    found: dict[str, Any] = {"if": {"required": ["extends"]}, "then": {"anyOf": kinds}, "else": kinds[-1]}
    for language, kind in reversed(list(zip(LANGUAGES, kinds, strict=True))):
        if language.marks:
            marked = {"anyOf": [{"required": [mark]} for mark in language.marks]}
            found = {"if": marked, "then": kind, "else": found}
    return {"$schema": DIALECT, "title": "Weir scenario", **found, "$defs": definitions}


def _of(language: Language) -> dict[str, Any]:
    root = language.root
    schema = root.model_json_schema()
    _defaults_as_text(root, schema["properties"], schema["$defs"])
    for part in (schema, *schema["$defs"].values()):
        part.pop("required", None)  # it may stand in a file that is extended
    values = {"type": ["array", "null"], "minItems": 1}
    group: dict[str, Any] = {
        "type": ["object", "null"],
        "properties": dict.fromkeys(sweepable(root), values),
        "patternProperties": {rf"^{re.escape(key)}": values for key in language.open_keys},
        "additionalProperties": False,
    }
    schema["$defs"][f"{root.__name__}Zip"] = group | {
        "description": "dotted key -> values; the lists are of one length, and change together",
    }
    zipped = {"$ref": f"#/$defs/{root.__name__}Zip"}
    schema["properties"]["sweep"] = group | {
        "type": "object",
        "description": root.model_fields["sweep"].description,
        "properties": group["properties"]
        | {"zip": {"anyOf": [zipped, {"type": "array", "items": zipped, "minItems": 1}]}}
        | {"repeats": {"type": "integer", "minimum": 1}},
    }
    return schema


def _defaults_as_text(section: type[Section], properties: dict[str, Any], definitions: dict[str, Any]) -> None:
    for name, field in section.model_fields.items():
        inner = section_of(field.annotation)
        if inner is not None:
            properties[name].pop("default", None)
            _defaults_as_text(inner, definitions[inner.__name__]["properties"], definitions)
        elif properties[name].get("default") is not None:
            properties[name]["default"] = field_text(field, field.get_default(call_default_factory=True))
