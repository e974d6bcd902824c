"""What a `sweep:` section says: the axes of its grid, in the order written, the last the fastest.

A plain axis is a key and its values.  Under `zip:` stands a group of keys whose lists go together, the first values,
the second ones and so on: one axis.  Several groups are a list of them, each an axis.

    sweep: {zip: {engine.parallelism: [1, 2, 4], broker.partitions: [4, 8, 16]}, workload.points: [1, 8], repeats: 3}

is six points, three runs each.  A spec holds `{"zip": [GROUP, ...], KEY: VALUES, ...}`, groups always as a list.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from scenarios.document import Document, Keys, Place, dotted, meant
from scenarios.errors import ScenarioError
from scenarios.fields import Repeats, nearest
from scenarios.language import Language
from scenarios.messages import elsewhere
from scenarios.schema import sweepable

MAX_POINTS = 10_000  # of one sweep
ZIP, REPEATS = "zip", "repeats"
_SHAPE = "must map dotted keys to lists of one length, or list such mappings"


@dataclass(frozen=True)
class Axis:
    """Keys that change together.

    Attributes:
        paths: Key -> where its list stands in the document.
        values: Key -> values as written; all of one length where nothing is wrong.
    """

    paths: dict[str, Keys]
    values: dict[str, list[Any]]

    def __len__(self) -> int:
        return min(len(values) for values in self.values.values())

    def row(self, at: int) -> dict[str, Any]:
        """Each key's value of one point."""
        return {key: values[at] for key, values in self.values.items()}

    def place(self, document: Document, key: str, at: int) -> Place:
        """Where the value of a key stands."""
        for path in ((*self.paths[key], at), self.paths[key]):
            if path in document.values:
                return document.values[path]
        return Place(document.file)

    def put(self, document: Document, at: int) -> None:
        """Sets the values of one point.

        Raises:
            ScenarioError: Something on the way to a key is not a mapping.
        """
        for key, value in self.row(at).items():
            document.put(tuple(key.split(".")), value, self.place(document, key, at))

    def about(self, document: Document, at: int, error: ScenarioError) -> ScenarioError:
        """An error that one point has, told of the value at fault (the first one's, where none of them is)."""
        of = next((key for key in self.values if error.key == key or error.key.startswith(f"{key}.")), None)
        key = of or next(iter(self.values))
        place = self.place(document, key, at)
        message = error.message if error.key == key else f"{error.key}: {error.message}"
        return ScenarioError(place.file, place.line, place.column, f"{dotted(self.paths[key])}[{at}]", message)


@dataclass(frozen=True)
class Sweep:
    """A `sweep:` section.

    Attributes:
        axes: In the order written.
        written: What the spec holds of it.
        repeats: Runs of each point.
        errors: What is wrong with its shape.
    """

    axes: list[Axis] = field(default_factory=list)
    written: dict[str, list[Any]] = field(default_factory=dict)
    repeats: int = 1
    errors: list[ScenarioError] = field(default_factory=list)


def keys_of(written: Mapping[str, list[Any]]) -> list[str]:
    """Every swept key of a spec's `sweep`, zipped ones in their place."""
    found = []
    for name, values in written.items():
        found += [key for group in values for key in group] if name == ZIP else [name]
    return found


def set_path(key: str) -> Keys:
    """The path that `--set sweep.KEY=...` means: a swept key is one word, dots and all, in a group too."""
    head, dot, rest = key.partition(".")
    return ("sweep", ZIP, rest) if head == ZIP and dot and rest else ("sweep", key)


def pin(document: Document, path: Keys, value: Any) -> None:
    """Takes a key that was set apart out of the sweep; the rest of its group stays."""
    section = document.data.get("sweep")
    if not isinstance(section, dict):
        return
    for group in (*_groups(section.get(ZIP)), section):
        for key, values in list(group.items()):
            example = values[0] if isinstance(values, list) and values else None
            if key != ZIP and meant(tuple(str(key).split(".")), example) == meant(path, value):
                del group[key]
    groups = _groups(section.get(ZIP))
    if groups and not any(groups):
        del section[ZIP]


def take(document: Document, language: Language, unknown_stage: Callable[[Keys], str]) -> Sweep:
    """Cuts `sweep:` out of a document (its places stay) and checks its shape.

    Args:
        document: Changed.
        language: Its kind.
        unknown_stage: What is wrong with a path, if it is to a stage that there is not.
    """
    sweep = Sweep()
    section = document.data.pop("sweep", None)
    if section is None:
        return sweep
    if not isinstance(section, dict):
        sweep.errors.append(document.error(("sweep",), "must map dotted keys to lists of values"))
        return sweep
    seen: dict[str, Keys] = {}
    allowed = sweepable(language.root)

    def checked(group: Mapping[str, Any], at: Keys) -> Iterator[tuple[str, list[Any]]]:
        for key, values in group.items():
            path = (*at, key)
            if key == REPEATS:
                sweep.errors.append(document.error(path, "stands beside zip, not in it", at_key=True))
            elif key not in allowed and not key.startswith(language.open_keys):
                hint = nearest(key, allowed) or elsewhere(key, language.root)
                message = f"no such key to sweep; {hint or f'write a dotted key, such as {language.swept_example}'}"
                sweep.errors.append(document.error(path, message, at_key=True))
            elif unknown := unknown_stage(tuple(key.split("."))):
                sweep.errors.append(document.error(path, unknown, at_key=True))
            elif key in seen:
                sweep.errors.append(document.error(path, f"is swept twice (also {dotted(seen[key])})", at_key=True))
            elif not isinstance(values, list) or not values:
                sweep.errors.append(document.error(path, "must be a list of values, such as [1, 2, 4]"))
            else:
                seen[key] = path
                yield key, values

    for name, values in section.items():
        if name == REPEATS:
            sweep = _with_repeats(sweep, document, values)
        elif name == ZIP:
            one = isinstance(values, dict)
            groups = _groups(values)
            if not any(groups) or (not one and len(groups) != len(values)):
                sweep.errors.append(document.error(("sweep", ZIP), _SHAPE))
                continue
            written = []
            for number, group in enumerate(groups):
                at: Keys = ("sweep", ZIP) if one else ("sweep", ZIP, number)
                found = dict(checked(group, at))
                if found:  # of a group whose keys were all set apart nothing is left
                    sweep.axes.append(Axis({key: (*at, key) for key in found}, found))
                    sweep.errors.extend(_unequal(document, sweep.axes[-1]))
                    written.append(found)
            if written:
                sweep.written[ZIP] = written
        else:
            for key, found_values in checked({name: values}, ("sweep",)):
                sweep.axes.append(Axis({key: ("sweep", key)}, {key: found_values}))
                sweep.written[key] = found_values
    points = math.prod(len(axis) for axis in sweep.axes)
    if points > MAX_POINTS:
        sweep.errors.append(document.error(("sweep",), f"{points:,} points, more than {MAX_POINTS:,}", at_key=True))
    return sweep


def _groups(written: Any) -> list[dict[str, Any]]:
    """The groups of a `zip:`; what is no group is left out."""
    return [group for group in (written if isinstance(written, list) else [written]) if isinstance(group, dict)]


def _unequal(document: Document, axis: Axis) -> list[ScenarioError]:
    lengths = {key: len(values) for key, values in axis.values.items()}
    first = next(iter(lengths.values()))
    other = next((key for key, length in lengths.items() if length != first), None)
    if other is None:
        return []
    said = ", ".join(f"{key} has {length}" for key, length in lengths.items())
    return [document.error(axis.paths[other], f"lists that are zipped must be of one length: {said}")]


def _with_repeats(sweep: Sweep, document: Document, value: Any) -> Sweep:
    adapter: TypeAdapter[int] = TypeAdapter(Repeats)
    try:
        return dataclasses.replace(sweep, repeats=adapter.validate_python(value))
    except ValidationError as error:
        sweep.errors.append(document.error(("sweep", REPEATS), error.errors()[0]["msg"]))
        return sweep
