"""Whether a server says that it is ready."""

from __future__ import annotations

from typing import Any

from real.servers.protocols.base import CallError
from real.servers.protocols.connection import Connection

_LIMIT_S = 2.0


def http_ok(port: int, path: str) -> bool:
    """Whether a GET on loopback is answered with 200."""
    return _get(port, path) is not None


def http_json(port: int, path: str) -> Any:
    """The JSON that a GET on loopback is answered with; None without, or with a status other than 200."""
    import orjson

    body = _get(port, path)
    try:
        return None if body is None else orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _get(port: int, path: str) -> bytes | None:
    connection = Connection("127.0.0.1", port)
    try:
        status, _, body = connection.exchange("GET", path, b"", b"", _LIMIT_S)
    except CallError:
        return None
    finally:
        connection.close()
    return body if status == 200 else None
