"""The Python that a server runs in: this one, or another that `WEIR_PYTHON_<SERVER>` names.

Model servers bring frameworks of gigabytes, and not all of them agree on versions; each may have an environment of its
own.  That environment needs what this project needs, beside the server.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from real.errors import RefusedError

PREFIX: Final = "WEIR_PYTHON_"
_LIMIT_S: Final = 60.0
_LOOK: Final = """
import sys
from importlib.util import find_spec
print(find_spec(sys.argv[1]) is not None)
"""
_VERSION: Final = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))"


@dataclass(frozen=True, slots=True)
class Environment:
    """One Python.

    Attributes:
        python: Its interpreter.
        variable: Of the environment, that names it.
        named: Whether it does.
    """

    python: str
    variable: str
    named: bool

    @classmethod
    def of(cls, server: str) -> Environment:
        """Of a server.

        Raises:
            RefusedError: The variable names no program.
        """
        variable = PREFIX + server.upper().replace("-", "_")
        named = os.environ.get(variable)
        if not named:
            return cls(sys.executable, variable, False)
        found = shutil.which(named)
        if found is None:
            raise RefusedError(variable, f"{named!r} is no program; name a Python that has {server}")
        return cls(found, variable, True)

    def lacks(self, module: str, extra: str) -> str | None:
        """One line on a module that is not there; None: it is."""
        if not module or _has(self.python, module):
            return None
        install = f"pip install 'weir[{extra}]'"
        if self.named:
            return f"{self.python} ({self.variable}) has no {module}: {install} there"
        return f"{module} is not installed: {install}, or name a Python that has it in {self.variable}"

    def version(self, package: str) -> str:
        """Version of a package there; empty where it is not."""
        return _version(self.python, package)

    def program(self, name: str) -> str:
        """A command that a package installed there."""
        beside = Path(self.python).parent / name
        return str(beside) if beside.exists() else name


@cache
def _has(python: str, module: str) -> bool:
    if python == sys.executable:
        return find_spec(module) is not None
    return _asked(python, _LOOK, module) == "True"


@cache
def _version(python: str, package: str) -> str:
    if python == sys.executable:
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            return ""
    return _asked(python, _VERSION, package)


def _asked(python: str, code: str, word: str) -> str:
    """What a short program says there; empty if it fails."""
    try:
        done = subprocess.run(
            [python, "-c", code, word], capture_output=True, text=True, timeout=_LIMIT_S, check=False, cwd="/"
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
