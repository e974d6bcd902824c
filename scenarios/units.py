"""Quantities in text and in base units: ``100 ms`` is 100,000,000 ns, ``12 /min`` is 0.2 /s, ``3 KiB`` is 3,072 bytes.

Reading is exact: a duration or a size goes through fractions to an integer, and one that is not a whole number of
nanoseconds or bytes is refused.  `Dimension.format` writes text that `Dimension.parse` reads back to the same value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?"
_QUANTITY = re.compile(rf"^\s*(?P<number>{_NUMBER})\s*(?P<unit>[^\s\d.+-].*?)?\s*$")


class UnitError(ValueError):
    """A quantity that cannot be read; the message says what to write instead."""


@dataclass(frozen=True, eq=False)
class Dimension:
    """A kind of quantity.

    Attributes:
        name: For messages: ``duration``.
        units: Unit word -> its size in the base unit; empty when a bare number is meant.
        written: Units used for writing, largest first; of a dimension that is not whole, below 1 only.
        base: Unit word of the base unit; empty for a bare number.
        suffix: What a name in base units ends with (``_ns``).
        whole: The value is an integer in base units.
        example: A good value, for messages.
    """

    name: str
    units: Mapping[str, Fraction]
    written: tuple[str, ...]
    base: str
    suffix: str
    whole: bool
    example: str

    def parse(self, value: Any) -> int | float:
        """Text (or a bare number, where the dimension has no unit) in base units.

        Raises:
            UnitError: It is not such a quantity; the message names the units allowed and an example.
        """
        if not self.units:
            return self._bare(value)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise UnitError(f"{_shown(value)} is not a {self.name}; write {self.example}")
        if not isinstance(value, str):
            raise UnitError(f"{value!r} has no unit; {self._allowed()}, such as {_number_text(value)} {self._likely()}")
        match = _QUANTITY.match(value)
        if match is None:
            raise UnitError(f"{value!r} is not a {self.name}; write {self.example}")
        unit = match["unit"]
        if unit is None:
            raise UnitError(f"{value!r} has no unit; {self._allowed()}, such as {value.strip()} {self._likely()}")
        if unit not in self.units:
            raise UnitError(f"{value!r} has the unit {unit!r}; {self._allowed()}, such as {self.example}")
        exact = Fraction(match["number"]) * self.units[unit]
        if not self.whole:
            try:
                return float(exact)
            except OverflowError:
                raise UnitError(f"{value!r} is too large") from None
        if exact.denominator != 1:
            raise UnitError(f"{value!r} is not a whole number of {self.base}")
        return int(exact)

    def format(self, value: int | float) -> str | int | float:
        """The value in base units as text with a unit (or the bare number), read back exactly by `parse`."""
        if not self.units:
            return value
        if not self.whole:
            for unit in self.written if 0 < abs(value) < 1 else ():
                text = f"{_number_text(round(value / float(self.units[unit]), 9))} {unit}"
                if self.parse(text) == value:
                    return text
            return f"{_number_text(value)} {self.base}"
        if value == 0:
            return f"0 {self.base if self.name == 'size' else 's'}"
        for unit in self.written:
            if int(value) % self.units[unit] == 0:
                return f"{int(int(value) / self.units[unit])} {unit}"
        return f"{value} {self.base}"

    def _bare(self, value: Any) -> int | float:
        if isinstance(value, str):
            match = _QUANTITY.match(value)
            if match is not None and match["unit"] is not None:
                raise UnitError(f"{value!r} has a unit; a {self.name} is a bare number, such as {self.example}")
            raise UnitError(f"{value!r} is not a {self.name}; write a bare number, such as {self.example}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UnitError(f"{_shown(value)} is not a {self.name}; write a bare number, such as {self.example}")
        if isinstance(value, float) and not math.isfinite(value):
            raise UnitError(f"{value!r} is not a finite number")
        if not self.whole:
            return float(value)
        if value != int(value):
            raise UnitError(f"{value!r} is not a whole number")
        return int(value)

    def _allowed(self) -> str:
        return f"a {self.name} needs one of {', '.join(self.units)}"

    def _likely(self) -> str:
        return self.example.split()[1]


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, list | tuple) else repr(value)


def _number_text(value: int | float) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return repr(value)


DURATION = Dimension(
    "duration",
    {
        "ns": Fraction(1),
        "us": Fraction(1_000),
        "ms": Fraction(1_000_000),
        "s": Fraction(1_000_000_000),
        "min": Fraction(60_000_000_000),
        "h": Fraction(3_600_000_000_000),
    },
    ("s", "ms", "us", "ns"),
    "ns",
    "_ns",
    True,
    "100 ms",
)
SECONDS = Dimension(
    "duration",
    {word: size / 1_000_000_000 for word, size in DURATION.units.items()},
    ("ms",),
    "s",
    "_s",
    False,
    "720 ms",
)
RATE = Dimension(
    "rate",
    {"/s": Fraction(1), "/min": Fraction(1, 60), "/h": Fraction(1, 3600)},
    (),
    "/s",
    "_per_s",
    False,
    "500 /s",
)
SIZE = Dimension(
    "size",
    {
        "B": Fraction(1),
        "KB": Fraction(1_000),
        "KiB": Fraction(1_024),
        "MB": Fraction(1_000_000),
        "MiB": Fraction(1_048_576),
        "GB": Fraction(1_000_000_000),
        "GiB": Fraction(1_073_741_824),
    },
    ("GiB", "GB", "MiB", "MB", "KiB", "KB", "B"),
    "B",
    "_bytes",
    True,
    "8 KiB",
)
COUNT = Dimension("count", {}, (), "", "", True, "4")
NUMBER = Dimension("number", {}, (), "", "", False, "0.5")
