"""Reads a profile's folder: its runs, its probes, its microbenchmarks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.runs import RunError, read_run
from scenarios.load import from_resolved
from scenarios.spec import Scenario


class ProfileError(Exception):
    """A folder that is no profile, or one a cost model cannot be fitted from."""


@dataclass(frozen=True, slots=True)
class ProfileRun:
    """One run of a profile: its name in it, its folder, what was run and what was counted."""

    name: str
    path: Path
    scenario: Scenario
    meta: dict[str, Any]

    @property
    def counters(self) -> dict[str, Any]:
        """The run's counters."""
        found: dict[str, Any] = self.meta["counters"]
        return found

    @property
    def drained(self) -> bool:
        """Whether the run drained a backlog."""
        return self.scenario.workload.backlog_records > 0


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile: `host` and `scoring` are the probes of profile.json."""

    path: Path
    scenario: Scenario
    runs: tuple[ProfileRun, ...]
    host: dict[str, Any]
    scoring: dict[int, dict[str, float]]
    fingerprint: dict[str, Any]
    started: str
    quick: bool

    def run(self, prefix: str) -> list[ProfileRun]:
        """The runs of one variation (its repeats)."""
        return [r for r in self.runs if r.name.rpartition(".")[0] == prefix]


def read_profile(path: Path) -> Profile:
    """Reads a profile.

    Raises:
        ProfileError: It is none, it is not complete, or a run of it is not usable (then the message says which).
    """
    file = Path(path) / "profile.json"
    try:
        meta = json.loads(file.read_text())
    except FileNotFoundError:
        raise ProfileError(f"{path}: no profile (there is no profile.json in it)") from None
    except (OSError, json.JSONDecodeError) as error:
        raise ProfileError(f"{file}: cannot be read: {error}") from error
    runs = []
    for entry in meta["runs"]:
        try:
            run = read_run(Path(path) / entry["run"])
        except RunError as error:
            raise ProfileError(str(error)) from error
        # The mock broker forgets and lives in the harness: good for tests, no ground for costs.
        if (
            run.meta["scenario"]["broker"]["kind"] == "mock"
            and not meta["scenario"].get("broker", {}).get("kind") == "mock"
        ):
            raise ProfileError(f"{run.path}: made on a mock broker, the profile on a real one; they are not mixed")
        if run.meta["verdict"] == "INVALID":
            raise ProfileError(f"{run.path}: {entry['name']} is INVALID: {run.meta['verdict_reason']}")
        runs.append(ProfileRun(entry["name"], run.path, from_resolved(run.meta["scenario"]), run.meta))
    if not runs:
        raise ProfileError(f"{path}: the profile has no runs")
    if not meta.get("complete"):
        raise ProfileError(f"{path}: the profile was interrupted after {len(runs)} runs; make it again")
    return Profile(
        Path(path),
        from_resolved(meta["scenario"]),
        tuple(runs),
        meta["host"],
        {int(k): v for k, v in meta["scoring"].items()},
        meta["fingerprint"],
        meta["started"],
        bool(meta["quick"]),
    )
