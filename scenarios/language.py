"""What differs between the kinds of scenario, for the loader that reads them all: the sections, the rules, the spec."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from scenarios import spec
from scenarios.document import Document, Keys
from scenarios.errors import ScenarioError
from scenarios.metric_names import MetricName
from scenarios.problem import Problem
from scenarios.section import Section

Bounds = dict[str, tuple[spec.Bound, ...]]


@dataclass(frozen=True)
class Language:
    """One kind of scenario.

    Attributes:
        root: Its file.
        marks: Keys that only a file of this kind has; empty for the kind that any other file is of.
        bounds: Sections that bound metrics -> the words they may use.
        open_keys: What a swept key may begin with where the file chooses the names.
        swept_example: A key to sweep, for messages.
        files: Keys whose values are names of files, relative to the file that they stand in.
        problems: Every impossible combination in a file whose fields are each valid.
        file_errors: What is wrong with the files a sound scenario names.
        to_spec: The spec of a sound file with its bounds and `sweep.repeats`.
    """

    root: type[Section]
    marks: tuple[str, ...]
    bounds: Mapping[str, Mapping[str, MetricName]]
    open_keys: tuple[str, ...]
    swept_example: str
    files: tuple[Keys, ...]
    problems: Callable[[Any], Iterable[Problem]]
    file_errors: Callable[[Document, Any], list[ScenarioError]]
    to_spec: Callable[[Any, Bounds, int], Any]
