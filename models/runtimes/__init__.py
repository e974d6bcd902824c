"""Runtimes: what scores a model's file inside the engine's own process.  One file a runtime, one line here.

A runtime's module ends in a `RUNTIME`.  A package of a third party adds one through the entry point group
`weir.runtimes` (name -> a `Runtime`).  Runtimes use one thread (Crayfish's setting): parallelism is the engine's, and a
core is one worker's.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from models.definition import ModelDef, ModelError, Scorer

ENTRY_POINT_GROUP = "weir.runtimes"

#: word -> the module whose `RUNTIME` it is
RUNTIMES: dict[str, str] = {
    "onnx": "models.runtimes.onnx",
    "torch": "models.runtimes.torch",
    "tensorflow": "models.runtimes.tensorflow",
    "sklearn": "models.runtimes.sklearn",
    "lightgbm": "models.runtimes.lightgbm",
    "pmml": "models.runtimes.pmml",
}


@dataclass(frozen=True, slots=True)
class Runtime:
    """A runtime.

    Attributes:
        name: The word a scenario uses.
        formats: That it scores, best first: the first that a model has is taken.
        load: (model, path of a file of one of `formats`) -> scorer; `ModelError` where it refuses the file.
        packages: Modules that it imports.
        extra: The extra that brings them; empty: they are always there.
    """

    name: str
    formats: tuple[str, ...]
    load: Callable[[ModelDef, Path], Scorer]
    packages: tuple[str, ...] = ()
    extra: str = ""

    def present(self) -> bool:
        """Whether its packages are installed; nothing is imported."""
        return all(find_spec(package) is not None for package in self.packages)

    def format_of(self, definition: ModelDef) -> str | None:
        """The format in which it scores a model; None: it cannot."""
        has = ("onnx",) if definition.file is not None else definition.formats
        return next((fmt for fmt in self.formats if fmt in has), None)


def names() -> list[str]:
    """Every runtime known here, built in or added by an entry point."""
    from importlib.metadata import entry_points

    return list(dict.fromkeys([*RUNTIMES, *(entry.name for entry in entry_points(group=ENTRY_POINT_GROUP))]))


def runtime(name: str) -> Runtime:
    """A runtime.

    Raises:
        ModelError: No runtime has that name, or its entry point is not a `Runtime`.
    """
    if name in RUNTIMES:
        found = import_module(RUNTIMES[name]).RUNTIME
        assert isinstance(found, Runtime), f"{RUNTIMES[name]}.RUNTIME"
        return found
    from importlib.metadata import entry_points

    for entry in entry_points(group=ENTRY_POINT_GROUP, name=name):
        found = entry.load()
        if not isinstance(found, Runtime):
            raise ModelError(f"runtime {name!r}: entry point {entry.value} is {type(found).__name__}, not a Runtime")
        return found
    near = difflib.get_close_matches(name, names(), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ModelError(f"no runtime {name!r}; there are {', '.join(names())}{hint}")


def scoring(fmt: str) -> list[Runtime]:
    """The runtimes installed here that score a format."""
    found = [runtime(name) for name in names()]
    return [each for each in found if fmt in each.formats and each.present()]
