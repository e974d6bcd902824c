"""Jars of the JVM parts: made by Maven on first use into a per-user cache, offline afterwards.

A set of jars is one folder of the cache, named by its part and a hash of what it is made of; it appears under that
name only when it is whole.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from real.errors import BrokerError, HarnessError, RefusedError
from real.fingerprint import java_version
from real.processes import Supervisor

JVM = Path(__file__).resolve().parents[1] / "jvm"
OLDEST_JAVA = 17
_LIMIT_S = 900


def cache_root() -> Path:
    """The per-user cache of this project."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "weir"


def java(key: str, word: str, instead: str = "") -> str:
    """The Java launcher.

    Args:
        key: Key of the scenario that asks for it.
        word: Its value.
        instead: What could be asked for that needs none.

    Raises:
        RefusedError: There is none, or it is too old.
    """
    needs = f"{word} needs Java {OLDEST_JAVA} or newer"
    found = shutil.which("java")
    if found is None:
        raise RefusedError(key, f"{needs} (no java on the PATH){instead}")
    version = java_version(found)
    number = re.match(r"(?:1\.)?(\d+)", version)
    if number is None or int(number[1]) < OLDEST_JAVA:
        raise RefusedError(key, f"{needs} ({found} is {version or 'of no version that it tells'}){instead}")
    return found


def digest(files: Sequence[Path]) -> str:
    """A hash of files, for the name of what is made of them."""
    found = hashlib.sha256()
    for path in sorted(files):
        found.update(path.read_bytes())
    return found.hexdigest()[:12]


def jars(part: str, supervisor: Supervisor, say: Callable[[str], None]) -> Path:
    """The folder of a part's jars; nothing of it is compiled.

    Args:
        part: A folder of `real/jvm` with a `pom.xml`.
        supervisor: Runs Maven.
        say: Takes lines of progress.

    Raises:
        RefusedError: They are not there yet and Maven is not on the PATH.
        BrokerError: Maven could not fetch them; carries its last words.
    """
    pom = JVM / part / "pom.xml"
    folder = cache_root() / "jars" / f"{part}-{digest([pom])}"
    copy = ["-f", str(pom), "dependency:copy-dependencies", "-DincludeScope=runtime"]

    def command(temporary: Path) -> list[str]:
        return [*copy, f"-DoutputDirectory={temporary / 'lib'}"]

    try:
        return made(folder, command, f"the jars of the {part}", "broker.kind", supervisor, say)
    except HarnessError as error:
        raise BrokerError(str(error)) from error


def made(
    folder: Path,
    command: Callable[[Path], Sequence[str]],
    what: str,
    key: str,
    supervisor: Supervisor,
    say: Callable[[str], None],
    lib: str = "lib",
) -> Path:
    """A folder of jars that Maven makes where it is not there yet.

    Args:
        folder: Of the cache.
        command: Temporary folder -> Maven's arguments, that leave the jars below it.
        what: Is made.
        key: Key of the scenario that asks for it.
        supervisor: Runs Maven.
        say: Takes lines of progress.
        lib: Where below the temporary folder they are then.

    Raises:
        RefusedError: They are not there yet and Maven is not on the PATH.
        HarnessError: Maven could not make them; carries its last words.
    """
    if folder.is_dir():
        return folder
    maven = shutil.which("mvn")
    if maven is None:
        raise RefusedError(key, f"{what} are made by Maven, once (no mvn on the PATH)")
    say(f"making {what} in {folder} (once)")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
        target = Path(temporary) / lib
        try:
            said = supervisor.run(f"maven-{folder.name}", [maven, "-B", "-q", *command(Path(temporary))], _LIMIT_S)
        except HarnessError as error:
            raise HarnessError(f"{what} cannot be made: {error}") from error
        if not any(target.glob("*.jar")):
            raise HarnessError(f"Maven made no {what}:\n{said}")
        try:
            target.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process made them meanwhile
                raise
    return folder
