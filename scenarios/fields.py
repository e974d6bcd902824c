"""The field types of the schema: bounded quantities and registry words, with messages a user can act on.

Each is an annotation that pydantic asks both for validation and for its JSON Schema.  Values are held in base units.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, get_args

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from scenarios import registry
from scenarios.units import COUNT, DURATION, NUMBER, RATE, SECONDS, SIZE, Dimension, UnitError


def nearest(word: str, words: Iterable[str]) -> str:
    """``did you mean 'x'?`` for the nearest of the words, or nothing."""
    lowered = {known.lower(): known for known in words}
    close = difflib.get_close_matches(word.lower(), list(lowered), 1, 0.6)
    if not close:  # linger_ms for linger, batch for batch_bytes
        close = [
            known for known in lowered if word and (word.lower().startswith(known) or known.startswith(word.lower()))
        ]
    return f"did you mean {lowered[close[0]]!r}?" if close else ""


def problem(message: str) -> PydanticCustomError:
    """An error whose text stands as it is, whatever braces it holds."""
    return PydanticCustomError("weir", "{text}", {"text": message})


@dataclass(frozen=True)
class Quantity:
    """A number of one dimension within bounds, both included, in base units."""

    dimension: Dimension
    low: int | float
    high: int | float
    hint: str = ""  # what to write instead of a value below `low`

    def read(self, value: Any) -> int | float:
        """Text to base units, within bounds.

        Raises:
            PydanticCustomError: Wrong unit or out of bounds.
        """
        try:
            number = self.dimension.parse(value)
        except UnitError as error:
            raise problem(str(error)) from None
        if not self.low <= number <= self.high:
            side, bound = ("at least", self.low) if number < self.low else ("at most", self.high)
            hint = f"; {self.hint}" if self.hint and number < self.low else ""
            raise problem(f"{value} is out of bounds; it must be {side} {self.dimension.format(bound)}{hint}")
        return number

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        bounds = f"{self.dimension.format(self.low)} to {self.dimension.format(self.high)}"
        if not self.dimension.units:
            kind = "integer" if self.dimension.whole else "number"
            return {"type": kind, "minimum": self.low, "maximum": self.high}
        words = "|".join(re.escape(unit) for unit in self.dimension.units)
        return {
            "type": "string",
            "pattern": rf"^\s*\+?[0-9.]+([eE][+-]?[0-9]+)?\s*({words})\s*$",
            "description": f"a {self.dimension.name} with its unit, {bounds}",
            "examples": [self.dimension.example],
        }


@dataclass(frozen=True)
class QuantityOrWord(Quantity):
    """A quantity, or one of a few words that stand for themselves."""

    words: tuple[str, ...] = ()

    def read(self, value: Any) -> Any:
        """A word as it is, anything else as a quantity."""
        if value in self.words and isinstance(value, str):
            return value
        try:
            return super().read(value)
        except PydanticCustomError as error:
            raise problem(f"{error}; or {', '.join(self.words)}") from None

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [super().__get_pydantic_json_schema__(schema, handler), {"enum": list(self.words)}]}


@dataclass(frozen=True)
class RegistryWord:
    """A word of `scenarios.registry`: ``engines``, ``runtimes`` or ``models``."""

    kind: str

    def read(self, value: Any) -> str:
        """The word, if something is registered under it."""
        if not isinstance(value, str):
            raise problem(f"{value!r} is not one of the {self.kind}: {', '.join(registry.known(self.kind))}")
        if not registry.is_known(self.kind, value):
            words = registry.known(self.kind)
            raise problem(listed(f"no {self.kind[:-1]} is called {value!r}", value, words))
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "examples": list(registry.known(self.kind))}


@dataclass(frozen=True)
class Word:
    """One word of a fixed list that is kept elsewhere."""

    words: tuple[str, ...]

    def read(self, value: Any) -> str:
        """The word, if it is on the list."""
        if value not in self.words or not isinstance(value, str):
            raise problem(listed(f"{value!r} is not allowed", str(value), self.words))
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.words)}


@dataclass(frozen=True)
class OneOrMany:
    """A list whose only item may also be written without the list."""

    def expand(self, value: Any) -> Any:
        """A list unchanged, anything else as a list of one."""
        return value if isinstance(value, list | tuple) else [value]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.expand, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        many = handler(schema)
        return {"anyOf": [many["items"], many]}


@dataclass(frozen=True)
class Shorthand:
    """A mapping that may also be written as one word: `model: ffnn` for `model: {name: ffnn}`.

    Attributes:
        key: Key of the mapping the word stands for; where it is empty the word itself is the key, of an empty mapping.
        words: The words allowed; empty for any.
        rest: What else the mapping holds then, as (key, value).
    """

    key: str
    words: tuple[str, ...] = ()
    rest: tuple[tuple[str, Any], ...] = ()

    def expand(self, value: Any) -> Any:
        """The mapping a word stands for; anything else unchanged."""
        if not isinstance(value, str):
            return value
        if self.words and value not in self.words:
            raise problem(listed(f"{value!r} is not known here", value, self.words) + ", or a mapping")
        return {self.key: value, **dict(self.rest)} if self.key else {value: {}}

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.expand, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        word: dict[str, Any] = {"type": "string"} | ({"enum": list(self.words)} if self.words else {})
        return {"anyOf": [word, handler(schema)]}


def listed(message: str, word: str, words: Iterable[str]) -> str:
    """The message, the nearest valid word, and all that are allowed."""
    words = list(words)
    hint = nearest(word, words)
    return f"{message}; {hint} allowed: {', '.join(words)}" if hint else f"{message}; allowed: {', '.join(words)}"


def quantity_of(field: FieldInfo) -> Quantity | None:
    """The quantity a field holds, also inside a tuple or beside None."""
    for item in field.metadata:
        if isinstance(item, Quantity):
            return item
    return _within(field.annotation)


def _within(annotation: Any) -> Quantity | None:
    for argument in get_args(annotation):
        if isinstance(argument, Quantity):
            return argument
        found = _within(argument)
        if found is not None:
            return found
    return None


MS = 1_000_000
S = 1_000 * MS
HOUR = 3_600 * S
KIB = 1_024
GIB = KIB**3
_SLOW = "one record every 5 s is '0.2 /s'"

Duration = Annotated[int, Quantity(DURATION, 0, 24 * HOUR)]
Warmup = Annotated[int | str, QuantityOrWord(DURATION, 0, 24 * HOUR, words=("auto", "first-quarter"))]
LongDuration = Annotated[int, Quantity(DURATION, 1, 7 * 24 * HOUR)]
Step = Annotated[int, Quantity(DURATION, MS, 24 * HOUR)]
Unit = Annotated[int, Quantity(DURATION, 1, 24 * HOUR)]
Seconds = Annotated[float, Quantity(SECONDS, 0.0, 86_400.0)]
PositiveSeconds = Annotated[float, Quantity(SECONDS, 1e-6, 86_400.0)]
Rate = Annotated[float, Quantity(RATE, 0.0, 1e8, _SLOW)]
PositiveRate = Annotated[float, Quantity(RATE, 1e-6, 1e8, _SLOW)]
Size = Annotated[int, Quantity(SIZE, 1, GIB)]
PadSize = Annotated[int, Quantity(SIZE, 0, 64 * KIB * KIB)]
QueueSize = Annotated[int, Quantity(SIZE, KIB, 64 * GIB)]
Points = Annotated[int, Quantity(COUNT, 1, 65_536)]
Records = Annotated[int, Quantity(COUNT, 1, 500_000_000)]
Backlog = Annotated[int, Quantity(COUNT, 0, 100_000_000)]
Small = Annotated[int, Quantity(COUNT, 1, 4_096)]
Partitions = Annotated[int, Quantity(COUNT, 1, 10_000)]
Million = Annotated[int, Quantity(COUNT, 1, 1_000_000)]
TenMillion = Annotated[int, Quantity(COUNT, 1, 10_000_000)]
Repeats = Annotated[int, Quantity(COUNT, 1, 1_000)]
Retries = Annotated[int, Quantity(COUNT, 0, 100)]
Samples = Annotated[int, Quantity(COUNT, 2, 1_000)]
Seed = Annotated[int, Quantity(COUNT, 0, 2**63 - 1)]
Factor = Annotated[float, Quantity(NUMBER, 0.0, 100.0)]
Variation = Annotated[float, Quantity(NUMBER, 0.01, 100.0)]
Cpus = Annotated[float, Quantity(NUMBER, 0.0, 1e6)]
Scale = Annotated[float, Quantity(NUMBER, 1e-6, 1e6)]
Weight = Annotated[float, Quantity(NUMBER, 0.0, 1e6)]
Spread = Annotated[float, Quantity(NUMBER, 0.0, 10.0)]
Share = Annotated[float, Quantity(NUMBER, 0.001, 0.999)]
Natural = Annotated[int, Quantity(COUNT, 0, 1_000_000)]
Probability = Annotated[float, Quantity(NUMBER, 0.0, 1.0)]
ErrorBound = Annotated[float, Quantity(NUMBER, 1e-6, 10.0)]
