"""HTTP/1.1 of our own server: the Open Inference Protocol v2 and TensorFlow Serving's REST.

Requests of one connection may be pipelined; they are answered in their order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson

from real.servers.own.dispatch import RefusedInputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from real.servers.own.front import Front

    Floats = NDArray[np.float32]

_HEAD_MOST, _BODY_MOST = 1 << 16, 1 << 28
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 413: "Content Too Large", 500: "Internal Server Error"}
_LENGTH, _HEADER_LENGTH, _CHUNKED = b"content-length", b"inference-header-content-length", b"transfer-encoding"
_JSON, _RAW = b"application/json", b"application/octet-stream"

#: status, type, further header lines, body
Answer = tuple[int, bytes, bytes, bytes]
Reply = Callable[[Answer], None]


class BadRequestError(Exception):
    """What was asked is no question."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Session(asyncio.Protocol):
    """One connection."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._buffer = bytearray()
        self._answers: deque[Answer | None] = deque()
        self._first = 0  # number of the oldest request without an answer written
        self._out: asyncio.Transport | None = None
        self._last = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody calls."""
        assert isinstance(transport, asyncio.Transport)
        self._out = transport

    def connection_lost(self, error: Exception | None) -> None:
        """They hung up; what they asked is still computed."""
        self._out = None

    def data_received(self, data: bytes) -> None:
        """Requests, or parts of them."""
        self._buffer += data
        try:
            while not self._last and self._next():
                pass
        except BadRequestError as error:
            self._last = True
            self._reply()(_failed(error.status, str(error)))

    def _next(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > _HEAD_MOST:
                raise BadRequestError(413, f"a head of more than {_HEAD_MOST} bytes")
            return False
        lines = bytes(self._buffer[:end]).split(b"\r\n")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(b":")
            headers[name.strip().lower()] = value.strip()
        try:
            method, target, version = lines[0].split()
            length = int(headers.get(_LENGTH, b"0"))
        except ValueError:
            raise BadRequestError(400, "no HTTP request") from None
        if headers.get(_CHUNKED, b"identity").lower() != b"identity":
            raise BadRequestError(400, "chunked bodies are not taken: send Content-Length")
        if not 0 <= length <= _BODY_MOST:
            raise BadRequestError(413, f"a body of {length} bytes; at most {_BODY_MOST}")
        whole = end + 4 + length
        if len(self._buffer) < whole:
            if headers.get(b"expect", b"").lower() == b"100-continue" and self._out is not None:
                self._out.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return False
        body = bytes(self._buffer[end + 4 : whole])
        del self._buffer[:whole]
        self._last = version == b"HTTP/1.0" or headers.get(b"connection", b"").lower() == b"close"
        reply = self._reply()
        try:
            route(self._front, method, target.partition(b"?")[0].decode("ascii", "replace"), headers, body, reply)
        except BadRequestError as error:
            reply(_failed(error.status, str(error)))
        except RefusedInputError as error:
            reply(_failed(400, str(error)))
        return True

    def _reply(self) -> Reply:
        """A place in the line of answers, and how it is filled."""
        number = self._first + len(self._answers)
        self._answers.append(None)

        def fill(answer: Answer) -> None:
            self._answers[number - self._first] = answer
            self._write()

        return fill

    def _write(self) -> None:
        ready = []
        while self._answers and (answer := self._answers[0]) is not None:
            self._answers.popleft()
            self._first += 1
            status, kind, more, body = answer
            head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Length: {len(body)}\r\n".encode()
            closing = b"Connection: close\r\n" if self._last and not self._answers else b""
            ready += [head, b"Content-Type: ", kind, b"\r\n", more, closing, b"\r\n", body]
        if ready and self._out is not None:
            self._out.write(b"".join(ready))
            if self._last and not self._answers:
                self._out.close()


def route(front: Front, method: bytes, path: str, headers: dict[bytes, bytes], body: bytes, reply: Reply) -> None:
    """Answers one request, now or later.

    Raises:
        BadRequestError: It is none that is answered here.
        RefusedInputError: Its values are no input of the model.
    """
    name = front.model
    if method == b"POST" and path == f"/v2/models/{name}/infer" and "oip-http" in front.protocols:
        _infer(front, headers, body, reply)
    elif method == b"POST" and path == f"/v1/models/{name}:predict" and "tfs-rest" in front.protocols:
        _predict(front, body, reply)
    elif method == b"GET" and path in ("/v2/health/live", "/v2/health/ready", f"/v2/models/{name}/ready"):
        reply((200, _JSON, b"", b"{}"))
    elif method == b"GET" and path == f"/v1/models/{name}":
        state = [{"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}]
        reply((200, _JSON, b"", orjson.dumps({"model_version_status": state})))
    elif method == b"GET" and path == "/v2":
        reply((200, _JSON, b"", orjson.dumps({"name": "weir", "version": front.version, "extensions": ["binary"]})))
    else:
        raise BadRequestError(404, f"nothing at {path}; the model is {name}")


def _infer(front: Front, headers: dict[bytes, bytes], body: bytes, reply: Reply) -> None:
    """Open Inference v2: one FP32 tensor, as JSON or as bytes behind it."""
    import numpy as np

    split = headers.get(_HEADER_LENGTH)
    try:
        at = len(body) if split is None else int(split)
        asked = orjson.loads(body[:at])
        (tensor,) = asked["inputs"]
        shape = [int(n) for n in tensor["shape"]]
        size = (tensor.get("parameters") or {}).get("binary_data_size")
        data = body[at : at + size] if size is not None else np.asarray(tensor["data"], "<f4").tobytes()
        kind, identity = tensor["datatype"], asked.get("id")
        binary = bool((asked.get("parameters") or {}).get("binary_data_output"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadRequestError(400, f"no inference request: {type(error).__name__}: {error}") from None
    if kind != "FP32" or not shape or shape[0] < 1 or len(data) != 4 * int(np.prod(shape)):
        raise BadRequestError(400, f"a tensor of {kind} {shape} with {len(data)} bytes; one of FP32 is scored")

    def done(answer: bytes, outputs: int, error: str | None) -> None:
        if error is not None:
            reply(_failed(500, error))
            return
        output: dict[str, Any] = {"name": "output", "shape": [shape[0], outputs], "datatype": "FP32"}
        said: dict[str, Any] = {"model_name": front.model, "outputs": [output]}
        if identity is not None:
            said["id"] = identity
        if binary:
            output["parameters"] = {"binary_data_size": len(answer)}
            head = orjson.dumps(said)
            reply((200, _RAW, b"Inference-Header-Content-Length: %d\r\n" % len(head), head + answer))
        else:
            output["data"] = np.frombuffer(answer, "<f4")
            reply((200, _JSON, b"", orjson.dumps(said, option=orjson.OPT_SERIALIZE_NUMPY)))

    front.dispatcher.submit(data, shape[0], done)


def _predict(front: Front, body: bytes, reply: Reply) -> None:
    """TensorFlow Serving: `instances`."""
    import numpy as np

    try:
        x = np.asarray(orjson.loads(body)["instances"], "<f4")
    except (ValueError, KeyError, TypeError) as error:
        raise BadRequestError(400, f"no instances: {type(error).__name__}: {error}") from None
    if x.ndim < 1 or len(x) < 1:
        raise BadRequestError(400, "no instances")

    def done(answer: bytes, outputs: int, error: str | None) -> None:
        if error is not None:
            reply(_failed(500, error))
            return
        values = np.frombuffer(answer, "<f4").reshape(-1, outputs)
        reply((200, _JSON, b"", orjson.dumps({"predictions": values}, option=orjson.OPT_SERIALIZE_NUMPY)))

    front.dispatcher.submit(x.tobytes(), len(x), done)


def _failed(status: int, text: str) -> Answer:
    return status, _JSON, b"", orjson.dumps({"error": text})
