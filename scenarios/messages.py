"""What a validation error says: pydantic's error in this project's words, at the place of the key at fault."""

from __future__ import annotations

import re
from typing import Any

from scenarios.document import Document, Keys
from scenarios.errors import ScenarioError
from scenarios.fields import listed, nearest
from scenarios.schema import ScenarioFile, dotted_keys, keys_at
from scenarios.section import Section


def told(document: Document, item: dict[str, Any], root: type[Section] = ScenarioFile) -> ScenarioError:
    """One error of pydantic in this project's words, at its place.

    Args:
        document: What was validated.
        item: Of pydantic's `errors()`.
        root: What it was validated as.
    """
    path = document.as_written(tuple(item["loc"]))
    kind, value, context = item["type"], item["input"], item.get("ctx") or {}
    if kind == "extra_forbidden":
        return document.error(path, _unknown_key(path, root), at_key=True)
    if kind == "missing":
        return document.error(path, "is missing")
    if kind == "literal_error":
        words = re.findall(r"'([^']*)'", str(context["expected"]))
        return document.error(path, listed(f"{_short(value)} is not allowed", str(value), words))
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        keys = keys_at(path, root)
        which = f" of {', '.join(keys)}" if keys else ""
        return document.error(path, f"{'empty, ' if value is None else f'{_short(value)} is '}not a mapping{which}")
    if kind in ("tuple_type", "list_type"):
        return document.error(path, f"{_short(value)} is not a list; write [{_short(value)}]")
    if kind == "too_short":
        return document.error(path, "must hold at least one value")
    if kind in ("bool_type", "bool_parsing"):
        return document.error(path, f"{_short(value)} is neither true nor false")
    if kind == "string_type":
        return document.error(path, f"{_short(value)} is not text; put it in quotes if it is meant as a name")
    if kind == "string_pattern_mismatch":
        shapes = {
            **dict.fromkeys(("name", "model", "type"), "letters, digits, '.', '_' and '-', at most 80"),
            "bootstrap": "host:port[,host:port]",
            "target": "worker-N, instance-N or generator-N, counted from 0; engine, server or broker",
        }
        return document.error(
            path, f"{_short(value)} is not allowed; write {shapes.get(str(path[-1]), context['pattern'])}"
        )
    return document.error(path, str(item["msg"]))


def _unknown_key(path: Keys, root: type[Section]) -> str:
    allowed = keys_at(path[:-1], root)
    word = str(path[-1])
    hint = nearest(word, allowed) or elsewhere(word, root)
    parts = (hint, f"allowed: {', '.join(allowed)}" if allowed else "")
    return "; ".join(part for part in ("unknown key", " ".join(part for part in parts if part)) if part)


def elsewhere(word: str, root: type[Section] = ScenarioFile) -> str:
    """The full key, where the word is one of another section."""
    leaf = word.rpartition(".")[2]
    found = [key for key in dotted_keys(root) if key.rpartition(".")[2] == leaf]
    return f"did you mean {' or '.join(repr(key) for key in found[:3])}?" if found else ""


def _short(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
