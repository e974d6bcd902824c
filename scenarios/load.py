"""From a file to a `Scenario`, with every error told by file, line, column and key.

The way: read the YAML with its places, follow `extends:`, put in each `--set`, take out `sweep:`, validate against the
schema, then against the rules, then convert to the spec.  Each value of a sweep goes the same way once when the file
is loaded, so a sweep cannot fail at its last point for a wrong word.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from scenarios import convert, rules, schema, spec
from scenarios.document import ARRIVAL, Document, Keys, Place, parse_value, read_file
from scenarios.errors import ScenarioError, together
from scenarios.fields import nearest
from scenarios.messages import elsewhere, told
from scenarios.schema import sweepable

MAX_POINTS = 10_000  # of one sweep
SET = "--set"
TRACE: Keys = (*ARRIVAL, "path")


@dataclasses.dataclass(frozen=True)
class _Sweep:
    """A `sweep:` section: the values of each key as written, the places of the values, and the repeats."""

    values: dict[str, list[Any]]
    repeats: int
    errors: list[ScenarioError]


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
    return _scenario(*_checked(_document(path, sets)))


def expand(path: str | Path, sets: Sequence[str] = ()) -> list[tuple[dict[str, Any], spec.Scenario]]:
    """The grid of a file's sweep, as written, the last key fastest.

    Returns:
        For each point the swept keys with their values as written, and the scenario with them set and its `sweep`
        empty (its `repeats` stays).  One point with no keys where there is no sweep.

    Raises:
        ScenarioError: As `load`, and a combination of swept values that cannot be.
    """
    document, sweep = _checked(_document(path, sets))
    points = []
    for chosen in itertools.product(*sweep.values.values()):
        point = document.copy()
        for key, value in zip(sweep.values, chosen, strict=True):
            point.put(tuple(key.split(".")), value, _value_place(document, key, sweep.values[key].index(value)))
        _resolve_trace(point)
        scenario = _scenario(point, dataclasses.replace(sweep, values={}))
        points.append((dict(zip(sweep.values, chosen, strict=True)), scenario))
    return points


def resolved(scenario: spec.Scenario) -> dict[str, Any]:
    """The full JSON-able form, every setting with its unit, that `from_resolved` reads back to an equal scenario."""
    return convert.to_text(scenario)


def from_resolved(data: Mapping[str, Any], file: str = "resolved scenario") -> spec.Scenario:
    """The scenario that `resolved` wrote.  A trace file is not looked for: the run may be from elsewhere.

    Args:
        data: What `resolved` gave, perhaps by way of JSON.
        file: What errors name.

    Raises:
        ScenarioError: It is not such a form.
    """
    document = Document(file, dict(data)).copy()
    sweep = _take_sweep(document)
    if sweep.errors:
        raise together(sweep.errors)
    return _scenario(document, sweep, traces=False)


def _document(path: str | Path, sets: Sequence[str]) -> Document:
    document = _read(Path(path), ())
    for text in sets:
        _put_set(document, text)
    _resolve_trace(document)
    return document


def _read(path: Path, above: tuple[Path, ...], asked_by: ScenarioError | None = None) -> Document:
    document = read_file(path, asked_by)
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
    path: Keys = ("sweep", key.partition(".")[2]) if parts[0] == "sweep" and len(parts) > 1 else tuple(parts)
    document.put(path, value, Place(SET))
    sweep = document.data.get("sweep")
    if path[0] != "sweep" and isinstance(sweep, dict) and key in sweep:
        del sweep[key]


def _resolve_trace(document: Document) -> None:
    """A trace's path is relative to the file that names it (of a `--set`, to the current directory)."""
    written = document.get(TRACE)
    if not isinstance(written, str) or not written or "\0" in written:
        return
    place = document.values.get(TRACE, Place(document.file))
    folder = Path() if place.file == SET else Path(place.file).parent
    document.get(ARRIVAL)["path"] = str((folder / written).resolve())


def _checked(document: Document) -> tuple[Document, _Sweep]:
    """The document without its sweep, and the sweep, every value of it tried."""
    sweep = _take_sweep(document)
    for key, values in sweep.values.items():
        keys = tuple(key.split("."))
        if document.get(keys) is None:
            document.put(keys, values[0], _value_place(document, key, 0))
    _resolve_trace(document)
    _, _, errors = _validate(document, traces=True)
    errors = sweep.errors + errors
    if not errors:
        for key, values in sweep.values.items():
            for at, value in enumerate(values):
                errors += _try(document, key, at, value)
    if errors:
        raise together(_in_order(errors))
    return document, sweep


def _try(document: Document, key: str, at: int, value: Any) -> list[ScenarioError]:
    trial = document.copy()
    place = _value_place(document, key, at)
    path = f"sweep.{key}[{at}]"
    try:
        trial.put(tuple(key.split(".")), value, place)
    except ScenarioError as error:
        return [ScenarioError(place.file, place.line, place.column, path, error.message)]
    _resolve_trace(trial)
    return [
        ScenarioError(
            place.file,
            place.line,
            place.column,
            path,
            error.message if error.key == key else f"{error.key}: {error.message}",
        )
        for error in _validate(trial, traces=True)[2]
    ]


def _value_place(document: Document, key: str, at: int) -> Place:
    for path in (("sweep", key, at), ("sweep", key)):
        if path in document.values:
            return document.values[path]
    return Place(document.file)


def _take_sweep(document: Document) -> _Sweep:
    """Cut `sweep:` out of a document (its places stay) and check its shape."""
    sweep = _Sweep({}, 1, [])
    section = document.data.pop("sweep", None)
    if section is None:
        return sweep
    if not isinstance(section, dict):
        return dataclasses.replace(
            sweep, errors=[document.error(("sweep",), "must map dotted keys to lists of values")]
        )
    for key, values in section.items():
        path = ("sweep", key)
        if key == "repeats":
            sweep = _with_repeats(sweep, document, values)
        elif key not in (allowed := sweepable()) and not key.startswith("hosts."):
            hint = nearest(key, allowed) or elsewhere(key)
            message = f"no such key to sweep; {hint or 'write a dotted key, such as engine.parallelism'}"
            sweep.errors.append(document.error(path, message, at_key=True))
        elif not isinstance(values, list) or not values:
            sweep.errors.append(document.error(path, "must be a list of values, such as [1, 2, 4]"))
        else:
            sweep.values[key] = values
    points = math.prod(len(values) for values in sweep.values.values())
    if points > MAX_POINTS:
        sweep.errors.append(document.error(("sweep",), f"{points:,} points, more than {MAX_POINTS:,}", at_key=True))
    return sweep


def _with_repeats(sweep: _Sweep, document: Document, value: Any) -> _Sweep:
    from pydantic import TypeAdapter

    from scenarios.fields import Repeats

    adapter: TypeAdapter[int] = TypeAdapter(Repeats)
    try:
        return dataclasses.replace(sweep, repeats=adapter.validate_python(value))
    except ValidationError as error:
        sweep.errors.append(document.error(("sweep", "repeats"), error.errors()[0]["msg"]))
        return sweep


def _scenario(document: Document, sweep: _Sweep, *, traces: bool = True) -> spec.Scenario:
    file, bounds, errors = _validate(document, traces=traces)
    if file is None or errors:
        raise together(_in_order(errors))
    return dataclasses.replace(convert.to_scenario(file, bounds, sweep.repeats), sweep=dict(sweep.values))


def _validate(
    document: Document, *, traces: bool
) -> tuple[schema.ScenarioFile | None, dict[str, tuple[spec.Bound, ...]], list[ScenarioError]]:
    """The validated file and its bounds, and all that is wrong with it."""
    try:
        file = schema.ScenarioFile.model_validate(document.data)
    except ValidationError as error:
        return None, {}, [told(document, dict(item)) for item in error.errors(include_url=False)]
    found = list(rules.problems(file))
    bounds = {}
    for section in ("slo", "expect"):
        bounds[section], wrong = rules.read_bounds(section, getattr(file, section))
        found += wrong
    errors = [document.error(path, message, at_key=at_key) for path, message, at_key in found]
    if traces and not errors and file.workload.arrival.path is not None:
        errors += _trace_errors(document, file.workload.arrival)
    return file, bounds, errors


def _trace_errors(document: Document, arrival: schema.Arrival) -> list[ScenarioError]:
    from scenarios import traces

    assert arrival.path is not None
    try:
        if "\0" in arrival.path or not Path(arrival.path).is_file():
            return [document.error(TRACE, f"no such file: {arrival.path!r}")]
        traces.read(arrival.path, arrival.trace_kind)
    except OSError as error:
        return [document.error(TRACE, f"cannot be read: {error.strerror}")]
    except ScenarioError as error:
        return [error]
    return []


def _in_order(errors: list[ScenarioError]) -> list[ScenarioError]:
    return sorted(errors, key=lambda error: (error.file, error.line or 0, error.column or 0))
