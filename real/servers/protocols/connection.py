"""One kept HTTP/1.1 connection whose every exchange has a deadline, however the bytes trickle."""

from __future__ import annotations

import socket
import time

from real.servers.protocols.base import CallError

_CHUNK = 1 << 16
_HEAD_MOST = 1 << 16
Headers = dict[bytes, bytes]


class _GoneError(Exception):
    """The server closed a kept connection before it answered: the request may be sent again."""


class Connection:
    """Sends a request, reads the whole answer; connects when it has to."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._socket: socket.socket | None = None
        self._left = b""
        self._host_line = f"Host: {host}:{port}\r\n".encode()

    def exchange(
        self, method: str, path: str, headers: bytes, body: bytes, timeout_s: float
    ) -> tuple[int, Headers, bytes]:
        """One request and its answer.

        Args:
            method: GET or POST.
            path: With its leading slash.
            headers: Lines, each with its end, beside Host and Content-Length.
            body: Of the request.
            timeout_s: For all of it.

        Returns:
            Status, headers (lower case), body.

        Raises:
            CallError: None in time, or the connection broke, or what came is no HTTP.
        """
        end = time.monotonic() + timeout_s
        head = f"{method} {path} HTTP/1.1\r\n".encode() + self._host_line + headers
        request = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
        try:
            while True:
                kept = self._socket is not None
                try:
                    return self._once(request, end, kept)
                except _GoneError:
                    self.close()
        except TimeoutError:
            self.close()
            raise CallError("timeout", f"no answer within {timeout_s:g} s") from None
        except OSError as error:
            self.close()
            raise CallError("connection", f"{self._host}:{self._port}: {error.strerror or error}") from None
        except (ValueError, IndexError):
            self.close()
            raise CallError("answer", "what came back is no HTTP") from None

    def close(self) -> None:
        """Hangs up."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._left = None, b""

    def _once(self, request: bytes, end: float, kept: bool) -> tuple[int, Headers, bytes]:
        if self._socket is None:
            self._socket = socket.create_connection((self._host, self._port), _until(end))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._socket.settimeout(_until(end))
            self._socket.sendall(request)
            self._more(end)
        except (BrokenPipeError, ConnectionResetError):
            if kept:
                raise _GoneError from None
            raise
        except EOFError:
            if kept:
                raise _GoneError from None
            raise ConnectionResetError("the server hung up") from None
        try:
            status, headers, body = self._answer(end)
        except EOFError:
            raise ConnectionResetError("the server hung up within its answer") from None
        if headers.get(b"connection") == b"close":
            self.close()
        return status, headers, body

    def _answer(self, end: float) -> tuple[int, Headers, bytes]:
        while True:
            lines = self._until_mark(b"\r\n\r\n", end).split(b"\r\n")
            version, code = lines[0].split(None, 2)[:2]
            if not version.startswith(b"HTTP/1."):
                raise ValueError("no HTTP")
            if int(code) >= 200:
                break
        pairs = (line.partition(b":") for line in lines[1:])
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        if headers.get(b"transfer-encoding", b"").lower().endswith(b"chunked"):
            return int(code), headers, self._chunks(end)
        return int(code), headers, self._exactly(int(headers.get(b"content-length", b"0")), end)

    def _chunks(self, end: float) -> bytes:
        body = b""
        while size := int(self._until_mark(b"\r\n", end).partition(b";")[0], 16):
            body += self._exactly(size, end)
            self._exactly(2, end)
        while self._until_mark(b"\r\n", end):
            pass
        return body

    def _until_mark(self, mark: bytes, end: float) -> bytes:
        while (at := self._left.find(mark)) < 0:
            if len(self._left) > _HEAD_MOST:
                raise ValueError("an endless head")
            self._more(end)
        found, self._left = self._left[:at], self._left[at + len(mark) :]
        return found

    def _exactly(self, size: int, end: float) -> bytes:
        parts, have = [self._left], len(self._left)
        while have < size:
            self._left = b""
            self._more(end)
            parts.append(self._left)
            have += len(self._left)
        whole = b"".join(parts)
        self._left = whole[size:]
        return whole[:size]

    def _more(self, end: float) -> None:
        assert self._socket is not None
        self._socket.settimeout(_until(end))
        data = self._socket.recv(_CHUNK)
        if not data:
            raise EOFError
        self._left += data


def _until(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
