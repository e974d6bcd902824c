"""What is wrong at one place of a scenario."""

from __future__ import annotations

from typing import NamedTuple

Path = tuple[str | int, ...]


class Problem(NamedTuple):
    """What is wrong, at the value of a path, or at its key where the key itself is out of place."""

    path: Path
    message: str
    at_key: bool = False
