"""A small HTTP/1.1 client for the event loop; connections stay open while idle, up to a number of them."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from urllib.parse import urlsplit

from real.errors import RefusedError

_LINE_BYTES = 1 << 16


class HttpError(Exception):
    """A request failed; its text is the kind of failure, one word for all alike."""


class _Stale(Exception):  # noqa: N818  # not a failure: the request is sent again
    """The server had closed a connection that was kept."""


class HttpClient:
    """Sends one request again and again.

    Args:
        url: http or https, with a host.
        body: POSTed where it is given, else GET.
        idle: Connections kept open while nobody uses them; 0: a new one for each request.
        most: Requests under way at a time; one more fails at once.

    Raises:
        RefusedError: The URL is none.
    """

    def __init__(self, url: str, body: bytes | None = None, idle: int = 100, most: int | None = None) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise RefusedError("--url", f"{url!r}: {error}") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or any(c.isspace() for c in url):
            raise RefusedError("--url", f"{url!r} is no http://host[:port]/path")
        self._ssl = ssl.create_default_context() if parts.scheme == "https" else None
        self._host, self._port = parts.hostname, port or (443 if self._ssl else 80)
        self._idle_most, self._idle = idle, list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]()
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = [f"{'GET' if body is None else 'POST'} {target} HTTP/1.1", f"Host: {parts.netloc.rpartition('@')[2]}"]
        if body is not None:
            lines += [f"Content-Length: {len(body)}", "Content-Type: application/octet-stream"]
        if idle == 0:
            lines.append("Connection: close")
        self._request = "\r\n".join([*lines, "", ""]).encode("ascii", "replace") + (body or b"")
        self.opened = self._busy = 0
        self._most = most

    async def send(self) -> None:
        """Sends the request and reads the whole answer.

        Raises:
            HttpError: Refused, cut off, no HTTP, a status of 400 and above, or too many are under way.
        """
        if self._most is not None and self._busy >= self._most:
            raise HttpError(f"more than {self._most} open connections")
        self._busy += 1
        try:
            await self._send()
        finally:
            self._busy -= 1

    async def _send(self) -> None:
        while self._idle:
            try:
                return await self._exchange(*self._idle.pop(), kept=True)
            except _Stale:
                continue
        try:
            reader, writer = await asyncio.open_connection(self._host, self._port, ssl=self._ssl, limit=_LINE_BYTES)
        except ConnectionRefusedError:
            raise HttpError("refused") from None
        except OSError as error:
            raise HttpError(f"cannot connect: {type(error).__name__}") from None
        self.opened += 1
        return await self._exchange(reader, writer, kept=False)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, kept: bool) -> None:
        keep = False
        try:
            writer.write(self._request)
            await writer.drain()
            first = await reader.readline()
            if not first and kept:
                raise _Stale
            status, keep = await self._answer(first, reader)
        except (OSError, asyncio.IncompleteReadError):
            if kept and not reader.at_eof():
                raise _Stale from None
            raise HttpError("cut off") from None
        except (ValueError, IndexError):
            raise HttpError("no HTTP") from None
        finally:
            if keep and len(self._idle) < self._idle_most:
                self._idle.append((reader, writer))
            else:
                writer.close()
        if status >= 400:
            raise HttpError(f"status {status}")

    async def _answer(self, first: bytes, reader: asyncio.StreamReader) -> tuple[int, bool]:
        """Reads an answer to its end: its status, and whether the connection may be used again."""
        if not first:
            raise HttpError("cut off")
        version, code = first.split(None, 2)[:2]
        if not version.startswith(b"HTTP/1."):
            raise HttpError("no HTTP")
        headers: dict[bytes, bytes] = {}
        while (line := await reader.readline()) not in (b"\r\n", b"\n"):
            if not line:
                raise HttpError("cut off")
            name, _, value = line.partition(b":")
            headers[name.strip().lower()] = value.strip().lower()
        status = int(code)
        if 100 <= status < 200:
            return await self._answer(await reader.readline(), reader)
        keep = self._idle_most > 0 and headers.get(b"connection", b"") != b"close" and version != b"HTTP/1.0"
        if headers.get(b"transfer-encoding", b"").endswith(b"chunked"):
            while size := int((await reader.readline()).partition(b";")[0], 16):
                await reader.readexactly(size + 2)
            while (await reader.readline()) not in (b"\r\n", b"\n", b""):
                pass
        elif b"content-length" in headers:
            await reader.readexactly(int(headers[b"content-length"]))
        elif status not in (204, 304):
            await reader.read()
            keep = False
        return status, keep

    async def close(self) -> None:
        """Closes the connections that were kept."""
        for _, writer in self._idle:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        self._idle.clear()
