"""Models by reference: read through fsspec, and only from below configured roots.

A location comes with a message, so from whoever may write to the topic: without roots nothing is read.  A root is a
folder (`/srv/models`, `file:///srv/models`) or a prefix of a store (`s3://bucket/models`).  Links are followed before a
path is compared with its root.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

ROOTS_VARIABLE = "WEIR_MODEL_ROOTS"
PROTOCOLS = ("file", "s3")


class LocationError(Exception):
    """A location that may not be read, or cannot be."""


def configured_roots() -> list[str]:
    """Roots of the environment: `WEIR_MODEL_ROOTS`, separated by commas."""
    return [word.strip() for word in os.environ.get(ROOTS_VARIABLE, "").split(",") if word.strip()]


def _split(location: str) -> tuple[str, str]:
    """Protocol and path; a file's path with its links followed."""
    if "\0" in location:
        raise LocationError(f"{location!r} is no location")
    parts = urlsplit(location)
    if "://" not in location:
        return "file", os.path.realpath(location)
    if parts.scheme not in PROTOCOLS:
        raise LocationError(f"{location!r}: models are read from {' and '.join(PROTOCOLS)}, not from {parts.scheme}")
    if parts.query or parts.fragment:
        raise LocationError(f"{location!r}: a location has no query")
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise LocationError(f"{location!r}: a file of another host")
        return "file", os.path.realpath(unquote(parts.path))
    path = f"{parts.netloc}{parts.path}"
    if not parts.netloc or any(word in ("", ".", "..") for word in path.rstrip("/").split("/")):
        raise LocationError(f"{location!r}: a bucket and a key without empty parts, . and ..")
    return parts.scheme, path.rstrip("/")


def allowed(location: str, roots: Sequence[str]) -> tuple[str, str]:
    """Protocol and path of a location that lies below a root.

    Raises:
        LocationError: It does not, or is of another protocol.
    """
    protocol, path = _split(location)
    for root in roots:
        own, base = _split(root)
        if own == protocol and path.startswith(base.rstrip("/") + "/"):
            return protocol, path
    said = ", ".join(roots) if roots else f"none is configured ({ROOTS_VARIABLE})"
    raise LocationError(f"{location!r} does not lie below a root of models: {said}")


def _filesystem(protocol: str) -> Any:
    import fsspec

    try:
        return fsspec.filesystem(protocol)
    except ImportError as error:
        raise LocationError(f"{protocol}: {error}; pip install 'weir[s3]'") from None


def read(location: str, roots: Sequence[str], max_bytes: int) -> bytes:
    """A model's file.

    Raises:
        LocationError: It may not be read, is not there, or is larger than that.
    """
    protocol, path = allowed(location, roots)
    try:
        with _filesystem(protocol).open(path, "rb") as file:
            data: bytes = file.read(max_bytes + 1)
    except LocationError:
        raise
    except Exception as error:  # noqa: BLE001 - a store's client raises what it likes
        raise LocationError(f"{location!r} cannot be read: {type(error).__name__}: {error}") from None
    if len(data) > max_bytes:
        raise LocationError(f"{location!r} is larger than {max_bytes:,} bytes")
    return data


def fetch_folder(location: str, roots: Sequence[str], max_bytes: int, into: Path) -> Path:
    """Copies a model that is a folder (a SavedModel), files and folders only.

    Returns:
        The copy, inside `into`.

    Raises:
        LocationError: As `read`; or it is no folder.
    """
    protocol, path = allowed(location, roots)
    target = into / "model"
    try:
        files = sorted(_filesystem(protocol).find(path))
    except LocationError:
        raise
    except Exception as error:  # noqa: BLE001 - as above
        raise LocationError(f"{location!r} cannot be listed: {type(error).__name__}: {error}") from None
    if not files or files == [path]:
        raise LocationError(f"{location!r} is no folder with a model in it")
    left = max_bytes
    for each in files:
        inner = each[len(path) :].lstrip("/")
        if ".." in inner.split("/"):
            raise LocationError(f"{location!r}: a file called {inner!r}")
        prefix = "" if protocol == "file" else f"{protocol}://"
        data = read(prefix + each, roots, left)  # a link out of the folder's root is refused there
        left -= len(data)
        (target / inner).parent.mkdir(parents=True, exist_ok=True)
        (target / inner).write_bytes(data)
    return target
