"""Jars of the JVM parts: fetched by Maven on first use into a per-user cache, offline afterwards.

A set of jars is one folder of the cache, named by its part and a hash of its POM; it appears under that name only
when it is whole.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from real.errors import BrokerError, HarnessError, RefusedError
from real.processes import Supervisor

JVM = Path(__file__).resolve().parents[1] / "jvm"
_LIMIT_S = 900


def cache_root() -> Path:
    """The per-user cache of this project."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "weir"


def java() -> str:
    """The Java launcher.

    Raises:
        RefusedError: There is none.
    """
    found = shutil.which("java")
    if found is None:
        raise RefusedError("broker.kind", "kafka needs Java 17 (no java on the PATH); --broker mock needs none")
    return found


def jars(part: str, supervisor: Supervisor, say: Callable[[str], None]) -> Path:
    """The folder of a part's jars.

    Args:
        part: A folder of `real/jvm` with a `pom.xml`.
        supervisor: Runs Maven.
        say: Takes lines of progress.

    Raises:
        RefusedError: They are not there yet and Maven is not on the PATH.
        BrokerError: Maven could not fetch them; carries its last words.
    """
    pom = JVM / part / "pom.xml"
    folder = cache_root() / "jars" / f"{part}-{hashlib.sha256(pom.read_bytes()).hexdigest()[:12]}"
    if folder.is_dir():
        return folder
    maven = shutil.which("mvn")
    if maven is None:
        raise RefusedError(
            "broker.kind", "kafka needs Maven once, to fetch its jars (no mvn on the PATH); --broker mock"
        )
    say(f"fetching the jars of the {part} into {folder} (once)")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{part}-", dir=folder.parent) as temporary:
        target = Path(temporary) / "lib"
        command = [maven, "-B", "-q", "-f", str(pom), "dependency:copy-dependencies", "-DincludeScope=runtime"]
        try:
            said = supervisor.run(f"maven-{part}", [*command, f"-DoutputDirectory={target}"], _LIMIT_S)
        except HarnessError as error:
            raise BrokerError(f"the jars of the {part} cannot be fetched: {error}") from error
        if not any(target.glob("*.jar")):
            raise BrokerError(f"Maven fetched no jars of the {part}:\n{said}")
        try:
            target.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process fetched them meanwhile
                raise
    return folder
