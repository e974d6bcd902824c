"""In which settings runs differ: their scenarios as resolved, key by key."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

#: Sections that say nothing of what one run was.
_APART = frozenset({"name", "sweep", "expect", "check", "profile"})
ABSENT = "-"


def differences(scenarios: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Dotted key -> what it is in each scenario, in their order; only keys in which they differ.

    Args:
        scenarios: Name of a run -> its scenario as resolved.
    """
    flat = {name: _flat(scenario) for name, scenario in scenarios.items()}
    keys = sorted({key for settings in flat.values() for key in settings})
    found = {key: [settings.get(key, ABSENT) for settings in flat.values()] for key in keys}
    return {key: values for key, values in found.items() if len(set(values)) > 1}


def _flat(scenario: Mapping[str, Any], lead: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in scenario.items():
        if not lead and key in _APART:
            continue
        if isinstance(value, Mapping):
            found |= _flat(value, f"{lead}{key}.")
        elif not _empty(value):
            found[f"{lead}{key}"] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return found


def _empty(value: Any) -> bool:
    return value is None or (isinstance(value, Sequence) and not len(value))
