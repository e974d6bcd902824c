"""The `model_stream` of run.json: what became of every model message, of each worker and of all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.columns import OUTCOMES
from real.model_stream.cast import Models
from real.model_stream.wire import EVENT, FAILED, LOADED, RESTORED, SENT, SUPERSEDED, SWAPPED, Count
from real.wire import read_rows

_KINDS = {LOADED: "loaded", FAILED: "failed", SUPERSEDED: "superseded", SWAPPED: "swapped", RESTORED: "restored"}
_COUNTS = {
    "models_received": Count.RECEIVED,
    "loaded": Count.LOADED,
    "load_failures": Count.LOAD_FAILURES,
    "superseded": Count.SUPERSEDED,
    "swaps": Count.SWAPS,
    "restored": Count.RESTORED,
    "changelog_bytes": Count.CHANGELOG_BYTES,
    "changelog_writes": Count.CHANGELOG_WRITES,
}


def counters(models: Models, roles: Mapping[str, Mapping[str, Any]], accounting: Mapping[str, int]) -> dict[str, Any]:
    """The object of run.json.

    Args:
        models: Of the run.
        roles: Worker -> what it reported at its end (`models`), where it did.
        accounting: Of the run's records.

    Returns:
        Sums over the workers, `workers` with each one's own, `types` with what served at the end (of several workers,
        the one that scored most records with it), `sent`: messages published, `sizes_bytes`: of their models.
    """
    workers = [_worker(models, name, roles.get(name, {})) for name in models.slots]
    types: dict[str, Any] = {}
    for each in workers:
        for kind, about in each["types"].items():
            if kind not in types or about["usage"] > types[kind]["usage"]:
                types[kind] = about
    return {
        "sent": int((read_rows(models.sent, SENT)[:, 3] > 0).sum()),
        "sizes_bytes": list(models.sizes_bytes),
        **{key: sum(each[key] for each in workers) for key in _COUNTS},
        **{word: accounting[word] for word in ("dropped_no_model", "bad") if word in OUTCOMES},
        "types": types,
        "load_ns": [took for each in workers for took in each["load_ns"]],
        "swap_gap_ns": [took for each in workers for took in each["swap_gap_ns"]],
        "workers": workers,
    }


def _worker(models: Models, name: str, role: Mapping[str, Any]) -> dict[str, Any]:
    slots = models.slots[name].values
    events = _events(models.events(name), slots[Count.EVENTS])
    return {
        **{key: slots[slot] for key, slot in _COUNTS.items()},
        "dropped_no_model": slots[Count.DROPPED],
        "types": role.get("models", {}).get("types", {}),
        "load_ns": [each["took_ns"] for each in events if each["event"] == "loaded"],
        "swap_gap_ns": [each["took_ns"] for each in events if each["event"] == "swapped"],
        "events": events,
    }


def _events(path: Path, used: int) -> list[dict[str, Any]]:
    names = ("at_ns", "partition", "offset", "took_ns", "version")
    rows = read_rows(path, EVENT)[:used].tolist()
    return [{"event": _KINDS[row[0]], **dict(zip(names, row[1:], strict=True))} for row in rows if row[0] in _KINDS]
