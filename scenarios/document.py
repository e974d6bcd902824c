"""A YAML file as plain data that remembers where every key and value was written.

Also where two files become one (`extends:`) and where a single value is put in (`--set`, a point of a sweep): the
places go along, so an error names the file that holds the word at fault.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from scenarios.errors import ScenarioError
from scenarios.schema import ARRIVAL_FIELDS, ENGINE_FIELDS, SERVING_FIELDS

Keys = tuple[str | int, ...]

#: In the path of a setting: any item of the list there.
EACH = "*"
MAX_BYTES = 1 << 20
MAX_NODES = 100_000
MAX_DEPTH = 40
ARRIVAL: Keys = ("workload", "arrival")
#: Sections whose kind decides which of their fields are read: the fields of each kind, and the kind by default.
KINDS: dict[Keys, tuple[dict[str, tuple[str, ...]], str]] = {
    ARRIVAL: (ARRIVAL_FIELDS, "constant"),
    ("engine",): (ENGINE_FIELDS, "python"),
    ("serving",): (SERVING_FIELDS, "embedded"),
}
#: Sections that one word may stand for, and the key of theirs that it is the value of.
WORDS: dict[Keys, str] = {("model",): "name", ("policy",): "name"}


@dataclass(frozen=True)
class Place:
    """Where a word stands; line and column from 1, None where the source has no lines."""

    file: str
    line: int | None = None
    column: int | None = None


@dataclass
class Document:
    """The data of a scenario and the places of its keys and values, by path.

    Attributes:
        file: Its name as the user gave it.
        data: Mappings, lists, text, numbers, booleans and None only.
        keys: Place of the key at a path.
        values: Place of the value at a path.
    """

    file: str
    data: dict[str, Any] = field(default_factory=dict)
    keys: dict[Keys, Place] = field(default_factory=dict)
    values: dict[Keys, Place] = field(default_factory=dict)

    def error(self, path: Keys, message: str, *, at_key: bool = False) -> ScenarioError:
        """An error about the value (or the key) at a path; of a missing one, at the nearest mapping around it."""
        place = self.keys.get(path) if at_key else None
        around = path
        while place is None and around:
            place = self.values.get(around)
            around = around[:-1]
        place = place or self.values.get((), Place(self.file))
        return ScenarioError(place.file, place.line, place.column, dotted(path), message)

    def get(self, path: Keys) -> Any:
        """The value at a path of keys (and places in lists), or None."""
        current: Any = self.data
        for part in path:
            if isinstance(part, int) and isinstance(current, list):
                current = current[part] if 0 <= part < len(current) else None
            else:
                current = current.get(part) if isinstance(current, dict) else None
        return current

    def matches(self, pattern: Keys) -> list[Keys]:
        """The paths of the values there are that fit a path in which `EACH` stands for any item of a list."""
        found: list[Keys] = [()]
        for part in pattern:
            if part == EACH:
                found = [(*path, i) for path in found for i in range(_length(self.get(path)))]
            else:
                found = [(*path, part) for path in found if isinstance(self.get(path), dict)]
        return [path for path in found if self.get(path) is not None]

    def copy(self) -> Document:
        """A copy whose data can be changed."""
        return replace(self, data=copy.deepcopy(self.data), keys=dict(self.keys), values=dict(self.values))

    def as_written(self, path: Keys) -> Keys:
        """A path of validated data as one of the document: an item that was written without its list has no index."""
        current: Any = self.data
        found: Keys = ()
        for part in path:
            if isinstance(part, int) and not isinstance(current, list):
                continue
            found = (*found, part)
            try:
                current = current[part]
            except (LookupError, TypeError):
                current = None
        return found

    def spell_out(self) -> None:
        """Make each word that stands for a section a mapping, so that whatever is laid over it merges."""
        for section, key in WORDS.items():
            value = self.get(section)
            if isinstance(value, str):
                place = self.values[section]
                self.data[str(section[0])] = {key: value}
                self.keys[(*section, key)] = self.values[(*section, key)] = place

    def put(self, path: Keys, value: Any, place: Place) -> None:
        """Set one value; None removes it.

        Raises:
            ScenarioError: Something on the way is not a mapping.
        """
        path = meant(path, value)
        if path[-1] == "kind" and path[:-1] in KINDS:
            self.drop_unused(path[:-1], value)
        parent: Any = self.data
        for depth, part in enumerate(path[:-1]):
            if parent.get(part) is None:
                parent[part] = {}
                self.values[path[: depth + 1]] = self.keys[path[: depth + 1]] = place
            if not isinstance(parent[part], dict):
                message = f"{dotted(path[: depth + 1])} is not a mapping, so it has no {path[depth + 1]}"
                raise ScenarioError(place.file, place.line, place.column, dotted(path), message)
            parent = parent[part]
        self._forget(path)
        if value is None and path[-1] in parent:
            del parent[path[-1]]
            return
        parent[path[-1]] = copy.deepcopy(value)
        self.keys[path] = self.values[path] = place

    def extended_by(self, child: Document) -> Document:
        """This document with another laid over it: mappings merge, anything else is replaced, a null removes."""
        merged = self.copy()
        merged.file = child.file
        for section in KINDS:
            new_kind = child.get((*section, "kind"))
            if new_kind is not None:
                merged.drop_unused(section, new_kind)
        merged.lay(child, child.data, merged.data, ())
        if () in child.values:
            merged.values[()] = child.values[()]
        return merged

    def lay(self, child: Document, over: dict[str, Any], under: dict[str, Any], at: Keys) -> None:
        """Lay one mapping of `child` over the mapping `under` of this document, both at the path `at`."""
        for key, value in over.items():
            path = (*at, key)
            if isinstance(value, dict) and isinstance(under.get(key), dict):
                self.lay(child, value, under[key], path)
                self.keys[path], self.values[path] = child.keys[path], child.values[path]
                continue
            self._forget(path)
            if value is None and key in under:
                del under[key]
                continue
            under[key] = copy.deepcopy(value)
            self.keys |= {found: place for found, place in child.keys.items() if found[: len(path)] == path}
            self.values |= {found: place for found, place in child.values.items() if found[: len(path)] == path}

    def _forget(self, path: Keys) -> None:
        for places in (self.keys, self.values):
            for found in [found for found in places if found[: len(path)] == path]:
                del places[found]

    def drop_unused(self, section: Keys, kind: Any) -> None:
        """Another kind of arrivals, engine or server: what only the old one reads does not come along."""
        data = self.get(section)
        fields, standard = KINDS[section]
        if not isinstance(data, dict) or kind not in fields or data.get("kind", standard) == kind:
            return
        for name in [name for name in data if name != "kind" and name not in fields[kind]]:
            if name in fields.get(str(data.get("kind", standard)), ()):
                del data[name]
                self._forget((*section, name))


def meant(path: Keys, value: Any) -> Keys:
    """The path of what a value says: a word that stands for a section is one key of it."""
    return (*path, WORDS[path]) if path in WORDS and isinstance(value, str) else path


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list) else 0


def dotted(path: Keys) -> str:
    """``profile.rates[1]``: a path as messages write it."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def read_file(path: Path, asked_by: ScenarioError | None = None) -> Document:
    """A scenario file as a document, its `extends:` not yet followed.

    Args:
        path: The file.
        asked_by: The error to raise, with the reason filled in, when the file cannot be read (the `extends:` line).

    Raises:
        ScenarioError: Missing, not text, not YAML, a key twice, or no mapping at its top.
    """
    file = str(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        reason = f"no such file{_nearby(path)}" if missing else f"cannot be read: {error.strerror}"
        if asked_by is not None:
            raise asked_by.saying(f"{file}: {reason}") from None
        raise ScenarioError(file, None, None, "", reason) from None
    if len(raw) > MAX_BYTES:
        raise ScenarioError(file, None, None, "", f"larger than a scenario may be ({MAX_BYTES} bytes)")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ScenarioError(file, line, None, "", "not UTF-8 text") from None
    document = _parse(text, file, lines=True)
    if not isinstance(document.data, dict):
        place = document.values[()]
        what = "empty" if document.data is None else "not a mapping"
        raise ScenarioError(file, place.line, place.column, "", f"the file is {what}; a scenario is keys and values")
    return document


def parse_value(text: str, file: str) -> Any:
    """The value of a `--set`, written as in a file (``4``, ``10 ms``, ``[1, 2]``).

    Raises:
        ScenarioError: Not YAML.
    """
    return _parse(text, file, lines=False).data


def _parse(text: str, file: str, *, lines: bool) -> Document:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError
    from ruamel.yaml.reader import ReaderError

    yaml: Any = YAML(typ="safe", pure=True)
    try:
        root = yaml.compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if lines and mark is not None else (None, None)
        raise ScenarioError(file, line, column, "", _syntax(str(error.problem), str(error.context or ""))) from None
    except ReaderError as error:
        line = text[: int(error.position)].count("\n") + 1 if lines else None
        raise ScenarioError(file, line, None, "", "a character that YAML does not allow") from None
    except YAMLError as error:
        raise ScenarioError(file, None, None, "", f"not YAML: {error}") from None
    except RecursionError:
        raise ScenarioError(file, None, None, "", "nested too deeply") from None
    document = Document(file)
    document.data = _Builder(document, lines).build(root, (), 0)
    document.values.setdefault((), Place(file, 1, 1) if lines else Place(file))
    return document


def _syntax(message: str, context: str) -> str:
    hint = ""
    if "'>'" in message or "block scalar" in context:
        hint = "; a bound that starts with > stands in quotes: '>= 1000 /s'"
    elif "\\t" in message:
        hint = "; indent with spaces"
    return f"not YAML: {message}{hint}"


class _Builder:
    """Plain data out of YAML nodes, with the places noted in a document."""

    def __init__(self, document: Document, lines: bool) -> None:
        self.document = document
        self.lines = lines
        self.nodes = 0

    def build(self, node: Any, path: Keys, depth: int) -> Any:
        if node is None:
            return None
        self.nodes += 1
        place = self._place(node)
        if depth > MAX_DEPTH or self.nodes > MAX_NODES:
            raise ScenarioError(
                place.file, place.line, place.column, dotted(path[:3]), "nested too deeply, or too long"
            )
        self.document.values[path] = place
        kind = str(node.tag).rpartition(":")[2]
        if kind == "map":
            return self._mapping(node, path, depth)
        if kind == "seq":
            return [self.build(item, (*path, at), depth + 1) for at, item in enumerate(node.value)]
        return self._scalar(str(node.value), kind, place, path)

    def _mapping(self, node: Any, path: Keys, depth: int) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            place = self._place(key_node)
            if not isinstance(key_node.value, str):
                raise ScenarioError(place.file, place.line, place.column, dotted(path), "a key must be a word")
            key = key_node.value
            inner = (*path, key)
            if key in data:
                first = self.document.keys[inner]
                where = f" (first on line {first.line})" if first.line is not None else ""
                raise ScenarioError(place.file, place.line, place.column, dotted(inner), f"written twice{where}")
            self.document.keys[inner] = place
            data[key] = self.build(value_node, inner, depth + 1)
        return data

    def _scalar(self, text: str, kind: str, place: Place, path: Keys) -> Any:
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() == "true"
        if kind in ("int", "float"):
            try:
                return _integer(text) if kind == "int" else _real(text)
            except ValueError:
                message = f"{text[:40]!r} is not a number"
                raise ScenarioError(place.file, place.line, place.column, dotted(path), message) from None
        if kind not in ("str", "timestamp"):
            message = f"the tag {kind!r} is not read here"
            raise ScenarioError(place.file, place.line, place.column, dotted(path), message)
        return text

    def _place(self, node: Any) -> Place:
        if not self.lines:
            return Place(self.document.file)
        return Place(self.document.file, node.start_mark.line + 1, node.start_mark.column + 1)


def _integer(text: str) -> int:
    plain = text.replace("_", "")
    try:
        return int(plain, 0)
    except ValueError:
        return int(plain)  # 017 is seventeen in YAML 1.2


def _real(text: str) -> float:
    plain = text.replace("_", "").lower()
    return float(plain.replace(".inf", "inf").replace(".nan", "nan"))


def _nearby(path: Path) -> str:
    """The file of that folder whose name is nearest, where one is near."""
    import difflib

    there = [each.name for each in path.parent.glob(f"*{path.suffix}")] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, there, n=1)
    return f"; did you mean {str(path.parent / near[0])!r}?" if near else ""
