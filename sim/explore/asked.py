"""What the page asks for: a scenario file, its changes, a calibration; and the same as a file or a command."""

from __future__ import annotations

import dataclasses
import io
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scenarios import load
from scenarios.errors import ScenarioError
from scenarios.spec import Scenario
from sim import store
from sim.costs import Calibration
from sim.explore import controls

#: Tried in this order where the scenario's own calibration is of another engine and none was chosen.
FALLBACKS = (store.SHIPPED, "crayfish-gcp-2023", "textbook")


@dataclass(frozen=True, slots=True)
class Asked:
    """One question.

    Attributes:
        file: The scenario's file.
        sets: `--set` texts: those of the command line first, then the page's.
        calibration: By name; None for the scenario's own, or the first that is of its engine.
    """

    file: Path
    sets: tuple[str, ...] = ()
    calibration: str | None = None


def from_page(file: Path, given: tuple[str, ...], calibration: str | None, said: Mapping[str, Any]) -> Asked:
    """A question from what the page sent: `values` of controls by key, and `calibration`.

    Raises:
        ScenarioError: It is no such thing.
    """
    values, name = said.get("values", {}), said.get("calibration") or calibration
    if not isinstance(values, Mapping):
        raise ScenarioError(controls.PAGE, None, None, "values", "must map controls to values")
    if name is not None and (not isinstance(name, str) or (name != calibration and name not in store.names())):
        found = ", ".join(names())
        raise ScenarioError(controls.PAGE, None, None, "calibration", f"there is no {name!r}; there are: {found}")
    return Asked(file, (*given, *controls.sets(values)), name)


def names() -> list[str]:
    """Calibrations to choose from; one that is a folder of regimes by the folder's name."""
    return list(dict.fromkeys(name.partition("/")[0] for name in store.names()))


def understood(asked: Asked) -> tuple[Scenario, Calibration, list[str]]:
    """The scenario (of a sweep, its first point), its calibration, and what is to be said of the choice.

    Where a calibration is taken in the place of the scenario's, the scenario that is returned names it.

    Raises:
        ScenarioError: The scenario cannot be.
        CalibrationError: No calibration is of its engine, or the one chosen is not.
    """
    scenario = load.load(asked.file, asked.sets)
    scenario = dataclasses.replace(scenario, sweep={}, repeats=1)
    try:
        return scenario, store.choose(scenario, asked.calibration), []
    except store.CalibrationError as error:
        if asked.calibration is not None or scenario.hosts.predicts_this_host:
            raise
        for name in FALLBACKS:
            try:
                found = store.choose(scenario, name)
            except store.CalibrationError:
                continue
            return dataclasses.replace(scenario, calibration=name), found, [f"{error}; {name} is taken instead"]
        raise


def command(asked: Asked, scenario: Scenario) -> str:
    """The command line that runs the same.

    Args:
        asked: The question.
        scenario: As `understood` gave it.
    """
    words = ["python", "-m", "sim", "run", str(asked.file)]
    for text in asked.sets:
        words += ["--set", text]
    calibration = asked.calibration or scenario.calibration
    if calibration is not None:
        words += ["--calibration", calibration]
    return shlex.join(words)


def as_yaml(asked: Asked) -> str:
    """A scenario file that says all of it and stands alone: what is as by default is left out.

    Raises:
        ScenarioError: The scenario cannot be.
        CalibrationError: No calibration is of its engine.
    """
    from ruamel.yaml import YAML

    scenario, _, _ = understood(asked)
    same = command(asked, scenario)
    scenario = dataclasses.replace(scenario, calibration=asked.calibration or scenario.calibration or store.SHIPPED)
    whole = load.resolved(scenario)
    engine, arrival = {"kind": scenario.engine.kind}, whole["workload"]["arrival"]
    stages = {"stages": whole["stages"]} if scenario.stages else {}
    least = {"engine": engine, "workload": {"arrival": {"kind": "constant", "rate": "1 /s"}}, **stages}
    short = _without(whole, load.resolved(load.from_resolved(least)))
    short["engine"] = engine | short.get("engine", {})
    short["workload"] = {**short.get("workload", {}), "arrival": arrival}
    short |= stages
    if load.from_resolved(short) != scenario:  # a default that depends on something else
        short = whole
    yaml, text = YAML(), io.StringIO()
    yaml.default_flow_style = False
    yaml.width = 120
    yaml.dump(short, text)
    return f"# The same: {same}\n{text.getvalue()}"


def _without(whole: Mapping[str, Any], plain: Mapping[str, Any]) -> dict[str, Any]:
    """What differs; a section of which anything does keeps the word that says of which kind it is."""
    found: dict[str, Any] = {}
    for key, value in whole.items():
        other = plain.get(key)
        if isinstance(value, Mapping) and isinstance(other, Mapping) and key != "hosts":
            inner = _without(value, other)
            if any(other.get(k) != v for k, v in inner.items()):
                found[key] = inner
        elif value != other or key == "kind":
            found[key] = value
    return found
