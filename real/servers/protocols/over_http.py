"""Clients over HTTP: the Open Inference Protocol v2, TorchServe, Ray Serve, TensorFlow Serving's REST."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from real.servers.protocols.base import Address, CallError, answered, raw_floats
from real.servers.protocols.connection import Connection, Headers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

_JSON = b"Content-Type: application/json\r\n"
_RAW = b"Content-Type: application/octet-stream\r\n"
#: Where the JSON of a binary Open Inference message ends.
LENGTH_HEADER = "Inference-Header-Content-Length"
_WORDS = 300  # of an error's body are told


class _Http:
    """One connection to an address."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._connection = Connection(address.host, address.port)

    def close(self) -> None:
        """See `Client.close`."""
        self._connection.close()

    def _post(self, path: str, headers: bytes, body: bytes, timeout_s: float) -> tuple[Headers, bytes]:
        status, found, answer = self._connection.exchange("POST", path, headers, body, timeout_s)
        if status != 200:
            raise CallError("server", f"status {status}: {answer[:_WORDS].decode(errors='replace')}")
        return found, answer


class OipHttp(_Http):
    """Open Inference Protocol v2: one tensor there, the first output back."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._path = f"/v2/models/{address.model}/infer"

    def call(self, x: Floats, timeout_s: float) -> Floats:
        """See `Client.call`."""
        import orjson

        tensor: dict[str, Any] = {"name": "input", "shape": self.address.shape(x), "datatype": "FP32"}
        if not self.address.binary:
            body = orjson.dumps({"inputs": [{**tensor, "data": x.reshape(-1)}]}, option=orjson.OPT_SERIALIZE_NUMPY)
            headers = _JSON
        else:
            data = x.astype("<f4", copy=False).tobytes()
            tensor["parameters"] = {"binary_data_size": len(data)}
            head = orjson.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}})
            headers, body = _RAW + f"{LENGTH_HEADER}: {len(head)}\r\n".encode(), head + data
        found, answer = self._post(self._path, headers, body, timeout_s)
        return oip_output(found, answer, len(x))


def oip_output(headers: Headers, body: bytes, points: int) -> Floats:
    """The first output of an answer.

    Raises:
        CallError: There is none.
    """
    import numpy as np

    size = headers.get(LENGTH_HEADER.lower().encode())
    head = body if size is None else body[: int(size)]
    output = _json(head, "outputs", 0)
    if size is not None and isinstance(output.get("parameters"), dict):
        length = output["parameters"].get("binary_data_size")
        if isinstance(length, int):
            return raw_floats(body[int(size) : int(size) + length], points)
    return answered(np.asarray(output.get("data", []), np.float32), points)


class TfsRest(_Http):
    """TensorFlow Serving's REST: `:predict` with instances."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._path = f"/v1/models/{address.model}:predict"

    def call(self, x: Floats, timeout_s: float) -> Floats:
        """See `Client.call`."""
        import numpy as np
        import orjson

        shaped = x.reshape(self.address.shape(x))
        body = orjson.dumps({"instances": shaped}, option=orjson.OPT_SERIALIZE_NUMPY)
        _, answer = self._post(self._path, _JSON, body, timeout_s)
        return answered(np.asarray(_json(answer, "predictions"), np.float32), len(x))


class _Raw(_Http):
    """Raw float32 there and back."""

    path = "/"

    def call(self, x: Floats, timeout_s: float) -> Floats:
        """See `Client.call`."""
        _, answer = self._post(self.path, _RAW, x.astype("<f4", copy=False).tobytes(), timeout_s)
        return raw_floats(answer, len(x))


class TorchServeHttp(_Raw):
    """TorchServe's predictions; JSON would cost more than most models do."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self.path = f"/predictions/{address.model}"


class RayHttp(_Raw):
    """A deployment of Ray Serve."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self.path = f"/{address.model}"


def _json(body: bytes, *path: str | int) -> Any:
    import orjson

    try:
        found = orjson.loads(body)
        for step in path:
            found = found[step]
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError):
        raise CallError("answer", f"no {'.'.join(map(str, path))} in the answer {body[:_WORDS]!r}") from None
    return found
