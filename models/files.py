"""A model's files on disk: written whole or not at all, by one process at a time, checked against their hash.

A file is `<name>-r<revision>-s<seed><suffix>`, its SHA-256 beside it (`.sha256`); a SavedModel is a folder, its hash
that of every file in it.  One that does not match its hash is written again.
"""

from __future__ import annotations

import fcntl
import glob
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from models.definition import FORMATS, ModelDef, ModelError

Say = Callable[[str], None]
#: Looks at a file that was written, under its temporary name; `ModelError` if it must not appear under its own.
Verify = Callable[[Path], None]


def cache() -> Path:
    """The per-user cache of model files, for those that are heavy to write."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "weir" / "models"


def folder(definition: ModelDef, light: Path) -> Path:
    """Where a run keeps a model's files: a heavy model's stay for the next run, a light one's go into `light`."""
    return cache() if definition.heavy else light


def path_of(definition: ModelDef, directory: Path, seed: int, fmt: str) -> Path:
    """Where a model's file of a format stands, whether it is there or not."""
    return directory / f"{definition.name}-r{definition.revision}-s{seed}{FORMATS[fmt]}"


def write(
    definition: ModelDef,
    directory: Path,
    seed: int,
    fmt: str,
    say: Say | None = None,
    verify: Verify | None = None,
) -> Path:
    """Writes a model's file, or finds the one written before.

    Args:
        definition: Of a model that has the format.
        directory: Made where it is missing.
        seed: The seed its weights are drawn from.
        fmt: A format.
        say: Told what is done and how long it took.
        verify: Looks at what was written before it appears.

    Raises:
        ModelError: It cannot be written, or does not pass `verify`.
    """
    path = path_of(definition, directory, seed, fmt)
    if _whole(path):
        return path
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _alone(path):
            if _whole(path):  # another process has written it meanwhile
                return path
            _write(definition, path, seed, fmt, say or (lambda _text: None), verify)
    except OSError as error:
        raise ModelError(f"model {definition.name!r}: {path} cannot be written: {error}") from error
    return path


def _write(definition: ModelDef, path: Path, seed: int, fmt: str, say: Say, verify: Verify | None) -> None:
    for left in path.parent.glob(f".tmp-*-{glob.escape(path.name)}"):  # of a writer that was killed: the lock is ours
        _remove(left)
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    hash_path = _hash_path(path)
    began = time.monotonic()
    say(f"{definition.name}: writing {fmt}, {definition.parameters:,} parameters")
    try:
        definition.formats[fmt](seed, temporary)
        if verify is not None:
            verify(temporary)
        digest = digest_of(temporary)
        hash_path.unlink(missing_ok=True)  # from here to its return the file counts as damaged
        _remove(path)
        temporary.replace(path)
        temporary.write_text(digest + "\n", encoding="ascii")
        temporary.replace(hash_path)
    finally:
        _remove(temporary)
    say(f"{definition.name}: {path} has {size(path):,} bytes, {time.monotonic() - began:.1f} s")


def _whole(path: Path) -> bool:
    hash_path = _hash_path(path)
    try:
        return digest_of(path) == hash_path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return False


def _hash_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Holds the lock of a file; the system lets go of it when the process ends, however it ends."""
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _parts(path: Path) -> list[Path]:
    return sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]


def digest_of(path: Path) -> str:
    """SHA-256 of a file; of a folder, over the names and hashes of the files in it."""
    if not path.is_dir():
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    total = hashlib.sha256()
    for each in _parts(path):
        total.update(f"{each.relative_to(path)}\0{digest_of(each)}\n".encode())
    return total.hexdigest()


def size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return sum(each.stat().st_size for each in _parts(path))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
