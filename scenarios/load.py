"""From a file to a `Scenario`, a `ClusterScenario` or a `PlanScenario`, every error told by file, line, column and key.

A file with `jobs:` (or `cluster:`) is of a cluster, one with `menu:` (or `pipeline:`) of a plan, any other of a
pipeline: `load`, `expand` and `from_resolved` want a pipeline, `load_any`, `expand_any` and `any_from_resolved` take
them all.

The way: read the YAML with its places, follow `extends:`, put in each `--set`, take out `sweep:`, validate against the
schema, then against the rules, then convert to the spec.  Each value of a sweep goes the same way once when the file
is loaded, so a sweep cannot fail at its last point for a wrong word.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import ValidationError

from scenarios import cluster_load, convert, model_stream_rules, plan_load, rules, schema, spec, sweeps
from scenarios.cluster_spec import ClusterScenario
from scenarios.document import ARRIVAL, EACH, Document, Keys, Place, meant, parse_value, read_file
from scenarios.errors import ScenarioError, together
from scenarios.fields import listed
from scenarios.language import Bounds, Language
from scenarios.messages import told
from scenarios.metric_names import METRIC_NAMES
from scenarios.plan_spec import PlanScenario
from scenarios.schema import may_be_nothing

SET = "--set"
NULLS = ("null", "Null", "NULL", "~")
TRACE: Keys = (*ARRIVAL, "path")

AnyScenario: TypeAlias = spec.Scenario | ClusterScenario | PlanScenario


def load(path: str | Path, sets: Sequence[str] = ()) -> spec.Scenario:
    """The scenario in a file.

    Where a swept key is set by the sweep alone, the scenario holds its first value.

    Args:
        path: The file.
        sets: ``key.path=value`` each, put in after the file and what it extends; one on a swept key pins it.

    Raises:
        ScenarioError: Anything wrong in the file, in a file it extends, in its trace, or in a `--set`; all that were
            found in one pass.
    """
    return as_pipeline(load_any(path, sets), str(path))


def load_any(path: str | Path, sets: Sequence[str] = ()) -> AnyScenario:
    """As `load`, of any kind."""
    return _scenario(*_checked(_document(path, sets)))


def expand(path: str | Path, sets: Sequence[str] = ()) -> list[tuple[dict[str, Any], spec.Scenario]]:
    """The grid of a file's sweep, as written, the last key fastest.

    Returns:
        For each point the swept keys with their values as written, and the scenario with them set and its `sweep`
        empty (its `repeats` stays).  One point with no keys where there is no sweep.

    Raises:
        ScenarioError: As `load`, and a combination of swept values that cannot be.
    """
    return [(swept, as_pipeline(scenario, str(path))) for swept, scenario in expand_any(path, sets)]


def expand_any(path: str | Path, sets: Sequence[str] = ()) -> list[tuple[dict[str, Any], AnyScenario]]:
    """As `expand`, of any kind."""
    document, sweep = _checked(_document(path, sets))
    points = []
    for chosen in itertools.product(*(range(len(axis)) for axis in sweep.axes)):
        point = document.copy()
        swept: dict[str, Any] = {}
        for axis, at in zip(sweep.axes, chosen, strict=True):
            axis.put(point, at)
            swept |= axis.row(at)
        _resolve_files(point)
        points.append((swept, _scenario(point, dataclasses.replace(sweep, written={}))))
    return points


def resolved(scenario: AnyScenario) -> dict[str, Any]:
    """The full JSON-able form, every setting with its unit, that `from_resolved` reads back to an equal scenario."""
    if isinstance(scenario, ClusterScenario):
        return cluster_load.to_text(scenario)
    return plan_load.to_text(scenario) if isinstance(scenario, PlanScenario) else convert.to_text(scenario)


def from_resolved(data: Mapping[str, Any], file: str = "resolved scenario") -> spec.Scenario:
    """The scenario that `resolved` wrote.  A trace file is not looked for: the run may be from elsewhere.

    Args:
        data: What `resolved` gave, perhaps by way of JSON.
        file: What errors name.

    Raises:
        ScenarioError: It is not such a form.
    """
    return as_pipeline(any_from_resolved(data, file), file)


def any_from_resolved(data: Mapping[str, Any], file: str = "resolved scenario") -> AnyScenario:
    """As `from_resolved`, of any kind."""
    document = Document(file, dict(data)).copy()
    sweep = _take_sweep(document)
    if sweep.errors:
        raise together(sweep.errors)
    return _scenario(document, sweep, traces=False)


def as_pipeline(scenario: AnyScenario, file: str) -> spec.Scenario:
    """The scenario, if it is of a pipeline.

    Args:
        scenario: Of any kind.
        file: What the error names.

    Raises:
        ScenarioError: It is of another kind.
    """
    if isinstance(scenario, ClusterScenario):
        message = "is of a cluster (it has jobs); only sim run, sim sweep and real run take that"
        raise ScenarioError(file, None, None, "", message)
    if isinstance(scenario, PlanScenario):
        raise ScenarioError(file, None, None, "", "is of a plan (it has a menu); only python -m sim plan takes that")
    return scenario


def _language(document: Document) -> Language:
    return next(language for language in LANGUAGES if not language.marks or document.data.keys() & language.marks)


def _document(path: str | Path, sets: Sequence[str]) -> Document:
    document = _read(Path(path), ())
    for text in sets:
        _put_set(document, text)
    _resolve_files(document)
    return document


def _read(path: Path, above: tuple[Path, ...], asked_by: ScenarioError | None = None) -> Document:
    document = read_file(path, asked_by)
    document.spell_out()
    own_name = document.data.setdefault("name", _stem(path))
    base = document.data.get("extends")
    if base is None:
        document.data.pop("extends", None)
        return document
    problem = document.error(("extends",), "")
    if not isinstance(base, str) or not base or "\0" in base:
        raise problem.saying("write the name of a file, relative to this one")
    chain = (*above, path.resolve())
    base_path = path.parent / base
    if base_path.resolve() in chain:
        names = " -> ".join(item.name for item in (*chain, base_path.resolve()))
        raise problem.saying(f"a scenario that extends itself: {names}")
    del document.data["extends"]
    if own_name is not None and ("name",) not in document.keys:
        document.keys[("name",)] = document.values[("name",)] = document.values[()]
    return _read(base_path, chain, problem).extended_by(document)


def _stem(path: Path) -> str:
    """A file's name as a scenario's, where it gives itself none."""
    return (
        re.sub(r"[^A-Za-z0-9._-]+", "-", path.name.removesuffix(".yaml").removesuffix(".yml")).strip("-._") or "unnamed"
    )


def _put_set(document: Document, text: str) -> None:
    key, equals, written = text.partition("=")
    key = key.strip()
    if not equals or not key:
        raise ScenarioError(SET, None, None, key, f"{text!r} is not key.path=value")
    try:
        value = parse_value(written, SET)
    except ScenarioError as error:
        raise ScenarioError(SET, None, None, key, error.message) from None
    parts = key.split(".")
    swept = parts[0] == "sweep" and len(parts) > 1
    path: Keys = sweeps.set_path(key.partition(".")[2]) if swept else tuple(parts)
    empty = value is None and written.partition("#")[0].strip() not in NULLS
    if empty and not may_be_nothing(path, _language(document).root):
        raise ScenarioError(SET, None, None, key, f"has no value; write {key}=null for nothing")
    unknown = _unknown_stage(document, path)
    if unknown:
        raise ScenarioError(SET, None, None, key, f"{unknown}; a new one is written stages.NAME={{...}}")
    document.put(path, value, Place(SET))
    if path[0] != "sweep":
        sweeps.pin(document, path, value)


def _unknown_stage(document: Document, path: Keys) -> str:
    """What is wrong with a path to a setting of a stage: that there is no such stage."""
    if path[0] != "stages" or len(path) < 3 or _language(document) is not PIPELINE:
        return ""
    stages = document.get(path[:1])
    names = [str(name) for name in stages] if isinstance(stages, dict) else []
    if path[1] in names:
        return ""
    message = f"no stage is called {path[1]!r}"
    return listed(message, str(path[1]), names) if names else f"{message}; there are no stages"


def _resolve_files(document: Document) -> None:
    """A trace's path is relative to the file that names it (of a `--set`, to the current directory)."""
    for keys in _language(document).files:
        for path in document.matches(keys):
            section = document.get(path[:-1])
            written = section.get(path[-1])
            if not isinstance(written, str) or not written or "\0" in written or "://" in written:
                continue
            place = document.values.get(path, Place(document.file))
            folder = Path() if place.file == SET else Path(place.file).parent
            section[path[-1]] = str((folder / written).resolve())


def _checked(document: Document) -> tuple[Document, sweeps.Sweep]:
    """The document without its sweep, and the sweep, every value of it tried."""
    sweep = _take_sweep(document)
    for axis in sweep.axes:
        for key, value in axis.row(0).items():
            if document.get(meant(tuple(key.split(".")), value)) is None:
                document.put(tuple(key.split(".")), value, axis.place(document, key, 0))
    _resolve_files(document)
    _, _, errors = _validate(document, traces=True)
    errors = sweep.errors + errors
    if not errors:
        errors += [error for axis in sweep.axes for at in range(len(axis)) for error in _try(document, axis, at)]
    if errors:
        raise together(_in_order(errors))
    return document, sweep


def _try(document: Document, axis: sweeps.Axis, at: int) -> list[ScenarioError]:
    trial = document.copy()
    try:
        axis.put(trial, at)
    except ScenarioError as error:
        return [axis.about(document, at, error)]
    _resolve_files(trial)
    return [axis.about(document, at, error) for error in _validate(trial, traces=True)[2]]


def _take_sweep(document: Document) -> sweeps.Sweep:
    return sweeps.take(document, _language(document), lambda path: _unknown_stage(document, path))


def _scenario(document: Document, sweep: sweeps.Sweep, *, traces: bool = True) -> AnyScenario:
    file, bounds, errors = _validate(document, traces=traces)
    if file is None or errors:
        raise together(_in_order(errors))
    scenario: AnyScenario = _language(document).to_spec(file, bounds, sweep.repeats)
    return dataclasses.replace(scenario, sweep=dict(sweep.written))


def _validate(document: Document, *, traces: bool) -> tuple[Any, Bounds, list[ScenarioError]]:
    """The validated file (None where it is none) and its bounds, and all that is wrong with it."""
    language = _language(document)
    try:
        file = language.root.model_validate(document.data)
    except ValidationError as error:
        items = [dict(item) for item in error.errors(include_url=False)]
        # A list that is too short for want of its wrong items: they are told themselves.
        items = [item for item in items if not (item["type"] == "too_short" and item["input"])]
        return None, {}, [told(document, item, language.root) for item in items]
    found = list(language.problems(file))
    bounds: Bounds = {}
    for section, names in language.bounds.items():
        bounds[section], wrong = rules.read_bounds(section, getattr(file, section), names)
        found += wrong
    errors = [document.error(document.as_written(path), text, at_key=at_key) for path, text, at_key in found]
    if traces and not errors:
        errors = language.file_errors(document, file)
    return file, bounds, errors


def _trace_errors(document: Document, file: schema.ScenarioFile) -> list[ScenarioError]:
    from scenarios import traces

    arrival = file.workload.arrival
    found = [document.error(path, text) for path, text, _ in model_stream_rules.file_problems(file)]
    if arrival.path is None:
        return found
    try:
        if "\0" in arrival.path or not Path(arrival.path).is_file():
            return [*found, document.error(TRACE, f"no such file: {arrival.path!r}")]
        traces.read(arrival.path, arrival.trace_kind)
    except OSError as error:
        return [*found, document.error(TRACE, f"cannot be read: {error.strerror}")]
    except ScenarioError as error:
        return [*found, error]
    return found


def _in_order(errors: list[ScenarioError]) -> list[ScenarioError]:
    return sorted(errors, key=lambda error: (error.file, error.line or 0, error.column or 0))


PIPELINE = Language(
    root=schema.ScenarioFile,
    marks=(),
    bounds={"slo": METRIC_NAMES, "expect": METRIC_NAMES},
    open_keys=("hosts.", "stages."),
    swept_example="engine.parallelism",
    files=(TRACE, ("workload", "payload", "source"), ("model", "path"), ("model_stream", "messages", EACH, "path")),
    problems=rules.problems,
    file_errors=_trace_errors,
    to_spec=convert.to_scenario,
)
#: In the order in which a file is held against their marks.
LANGUAGES = (cluster_load.CLUSTER, plan_load.PLAN, PIPELINE)
