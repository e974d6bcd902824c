"""What a record carries: one input of `points` model inputs, or that input and its prediction.

`json` is Crayfish's message: `creationTimestamp` (epoch ms), `dataPointSz1` (points), `dataPointSz2` (values a
point), `dataPoint` (ONE string of all values, each followed by a comma) and `prediction` (null, or a string of the
same form).  `binary` is a 28-byte header and raw little-endian float32.  `protobuf` is a row of a file and its type
(`models.records`).  In all of them an output repeats the whole input.

How the JSON values are parsed (784 values, 8.3 kB, one core; microseconds): `orjson` on "[" + string + "]" 24,
pyarrow split and cast 46, `numpy.fromstring` 57 (deprecated), split and `numpy.array` 68, split and `float` 76; the
outer object takes 4.  `orjson` it is.  An output is the decoded object dumped again with the prediction set: the
value string is carried over, as Crayfish's engines do, not formatted anew.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scenarios.spec import Scenario

Floats = NDArray[np.float32]

FORMATS = ("json", "binary", "protobuf")
#: The creation time of a payload from the pool until `restamp` sets it: thirteen digits, as every time until 2286.
POOL_CREATED_MS = 1_500_000_000_000

_MAGIC, _VERSION = b"WEIR", 1
_HEADER = struct.Struct("<4sHHIIIq")  # magic, version, 0, points, values a point, outputs a point (0: input), created
_CREATED_OFFSET = 20
_JSON_PREFIX = b'{"creationTimestamp":'
_JSON_STAMP_DIGITS = 13
_DUMP_ARRAY = orjson.OPT_SERIALIZE_NUMPY


class PayloadError(ValueError):
    """A payload that cannot be parsed; the engine counts the record as `bad`."""


@dataclass(frozen=True, slots=True)
class Message:
    """A parsed payload.

    Attributes:
        values: float32 (points, values a point); read-only where it is a view of a binary payload.
        created_ms: Epoch milliseconds.
        prediction: float32 (points, outputs), None in an input.
        body: What `encode_output` starts from: the JSON object as decoded, or the payload itself.
        record_type: Of a protobuf record; else empty.
    """

    values: Floats
    created_ms: int
    prediction: Floats | None
    body: Any
    record_type: str = ""

    @property
    def points(self) -> int:
        """Model inputs in the record."""
        return len(self.values)


def encode_input(fmt: str, values: Floats, created_ms: int = POOL_CREATED_MS) -> bytes:
    """A payload from an array.

    Args:
        fmt: `json`, `binary`, or `protobuf` (one point, of no type).
        values: float32 (points, ...): what follows the first axis is flattened.
        created_ms: Epoch milliseconds.

    Raises:
        ValueError: Unknown format, no points, (json) a value that is not finite, or (protobuf) several points.
    """
    flat = _flat(values)
    if fmt == "protobuf":
        from models.records import encode_record

        if len(flat) != 1:
            raise ValueError(f"a protobuf record holds one point, not {len(flat)}")
        return encode_record(flat[0], "", created_ms)
    if fmt == "json":
        return _json_input(len(flat), flat.shape[1], _text(flat), created_ms)
    _require_binary(fmt)
    header = _HEADER.pack(_MAGIC, _VERSION, 0, len(flat), flat.shape[1], 0, created_ms)
    return header + flat.astype("<f4", copy=False).tobytes()


def parse_input(fmt: str, data: bytes) -> Message:
    """Parses an input (or an output: its prediction is then read too).

    Raises:
        PayloadError: Anything but a whole payload of that format.
        ValueError: Unknown format.
    """
    if fmt == "json":
        return _parse_json(data)
    if fmt == "protobuf":
        return _parse_record(data)
    _require_binary(fmt)
    return _parse_binary(data)


def decode_input(fmt: str, data: bytes) -> Floats:
    """The values of a payload: float32 (points, values a point).  Raises as `parse_input`."""
    return parse_input(fmt, data).values


def encode_output(
    fmt: str, source: bytes | Message | Floats, prediction: Floats, model: tuple[str, int] = ("", 0)
) -> bytes:
    """The output record: the whole input and the prediction.

    Args:
        fmt: `json`, `binary` or `protobuf`.
        source: The input: as parsed (fastest), as bytes, or as an array (then encoded first).
        prediction: float32 (points, outputs).
        model: Name and version, which (protobuf) the output carries.

    Raises:
        PayloadError: `source` are bytes that cannot be parsed.
        ValueError: A prediction of the wrong length, or (json) one that is not finite.
    """
    if isinstance(source, np.ndarray):
        source = encode_input(fmt, source)
    message = parse_input(fmt, source) if isinstance(source, bytes) else source
    answer = _flat(prediction)
    if len(answer) != message.points:
        raise ValueError(f"a prediction of {len(answer)} points for an input of {message.points}")
    if fmt == "json":
        return orjson.dumps({**message.body, "prediction": _text(answer)})
    if fmt == "protobuf":
        from models.records import encode_scored

        return encode_scored(message.body, answer, *model)
    _require_binary(fmt)
    body: bytes = message.body
    points, width = message.values.shape
    header = _HEADER.pack(_MAGIC, _VERSION, 0, points, width, answer.shape[1], message.created_ms)
    end = _HEADER.size + 4 * points * width
    return header + body[_HEADER.size : end] + answer.astype("<f4", copy=False).tobytes()


def decode_output(fmt: str, data: bytes) -> Message:
    """Parses an output; `prediction` is set.

    Raises:
        PayloadError: Not a whole payload, or one without a prediction.
    """
    message = parse_input(fmt, data)
    if message.prediction is None:
        raise PayloadError("an output without a prediction")
    return message


def restamp(fmt: str, data: bytes, created_ms: int) -> bytes:
    """A ready payload with another creation time (thirteen digits in json); nothing is parsed."""
    if fmt == "json":
        start = len(_JSON_PREFIX)
        return b"%b%0*d%b" % (_JSON_PREFIX, _JSON_STAMP_DIGITS, created_ms, data[start + _JSON_STAMP_DIGITS :])
    if fmt == "protobuf":
        from models.records import restamped

        return restamped(data, created_ms)
    _require_binary(fmt)
    return data[:_CREATED_OFFSET] + struct.pack("<q", created_ms) + data[_CREATED_OFFSET + 8 :]


def payload_pool(scenario: Scenario) -> list[bytes]:
    """The `workload.payload.pool` ready payloads that a generator draws from: a pure function of the scenario.

    With `pad_bytes` (no-op model) the values of a record take that many bytes, whatever the model's input is.

    Raises:
        ValueError: `pad_bytes` has no room for a value of each point.
    """
    from models.zoo import inputs

    workload = scenario.workload
    payload, points = workload.payload, workload.points
    if payload.format == "protobuf":
        from models.records import record_pool

        return record_pool(scenario, POOL_CREATED_MS)
    if payload.pad_bytes:
        rng = np.random.default_rng([workload.seed, 0x9AD])
        return [_padded(payload.format, points, payload.pad_bytes, rng) for _ in range(payload.pool)]
    x = inputs(scenario.model, payload.pool * points, workload.seed)
    return [encode_input(payload.format, x[i * points : (i + 1) * points]) for i in range(payload.pool)]


def _padded(fmt: str, points: int, pad_bytes: int, rng: np.random.Generator) -> bytes:
    """A payload of `pad_bytes` of values: exact in json, rounded down to whole float32 a point in binary."""
    if pad_bytes < 4 * points:
        raise ValueError(f"payload.pad_bytes: {pad_bytes} bytes cannot hold a value for each of {points} points")
    if fmt == "binary":
        width = pad_bytes // 4 // points
        return encode_input(fmt, rng.random((points, width), dtype=np.float32))
    # Values of about eleven characters ("0.47318864,"), the mean of random float32 texts; some are one longer.
    width = max(1, pad_bytes // 11 // points)
    count = points * width
    size, longer = divmod(pad_bytes, count)
    digits = rng.integers(48, 58, (count, size - 2), dtype=np.uint8).tobytes()  # ASCII "0" to "9"
    texts = []
    for i in range(count):
        own = digits[i * (size - 2) : (i + 1) * (size - 2)]
        texts.append(b"0." + (own if i < longer else own[:-1]) + b",")
    return _json_input(points, width, b"".join(texts).decode("ascii"), POOL_CREATED_MS)


def _flat(values: Floats) -> Floats:
    if values.ndim < 1 or len(values) == 0:
        raise ValueError("a payload holds at least one point")
    return np.ascontiguousarray(values.reshape(len(values), -1), dtype=np.float32)


def _text(flat: Floats) -> str:
    if flat.size == 0:
        return ""
    text = orjson.dumps(flat.reshape(-1), option=_DUMP_ARRAY)
    if b"n" in text:  # null: how JSON writes what is not a number
        raise ValueError("a value that is not finite cannot be written as JSON")
    return text[1:-1].decode("ascii") + ","


def _json_input(points: int, width: int, text: str, created_ms: int) -> bytes:
    return orjson.dumps(
        {
            "creationTimestamp": created_ms,
            "dataPointSz1": points,
            "dataPointSz2": width,
            "dataPoint": text,
            "prediction": None,
        }
    )


def _parse_json(data: bytes) -> Message:
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise PayloadError(f"not JSON: {error}") from None
    try:
        created = body["creationTimestamp"]
        points, width, text = body["dataPointSz1"], body["dataPointSz2"], body["dataPoint"]
        prediction = body["prediction"]
    except (KeyError, TypeError):
        raise PayloadError("a field of the message is missing") from None
    if type(created) is not int or type(points) is not int or type(width) is not int or type(text) is not str:
        raise PayloadError("a field of the message has the wrong type")
    if points < 1 or width < 0:
        raise PayloadError(f"sizes {points} x {width}")
    values = _numbers(text, points * width).reshape(points, width)
    if prediction is None:
        return Message(values, created, None, body)
    if type(prediction) is not str:
        raise PayloadError("a field of the message has the wrong type")
    answer = _numbers(prediction, None)
    if len(answer) % points:
        raise PayloadError(f"{len(answer)} predicted values for {points} points")
    return Message(values, created, answer.reshape(points, -1), body)


def _parse_record(data: bytes) -> Message:
    from models.messages import MessageError
    from models.records import read_input

    try:
        values, created, kind, prediction = read_input(data)
    except MessageError as error:
        raise PayloadError(str(error)) from None
    return Message(values, created, prediction, data, kind)


def _numbers(text: str, expected: int | None) -> Floats:
    """Parses "1.5,2,": orjson reads the numbers, and what JSON would take beside numbers is refused."""
    if not text:
        numbers: list[float] = []
    elif text[-1] != ",":
        raise PayloadError("the values do not end with a comma")
    else:
        if '"' in text or "l" in text or "u" in text or "[" in text or "{" in text:
            raise PayloadError("a value is not a number")
        try:
            numbers = orjson.loads(f"[{text[:-1]}]")
        except orjson.JSONDecodeError as error:
            raise PayloadError(f"a value is not a number: {error}") from None
    if expected is not None and len(numbers) != expected:
        raise PayloadError(f"{len(numbers)} values, expected {expected}")
    with np.errstate(over="ignore"):
        values = np.fromiter(numbers, np.float32, len(numbers))
    if not np.isfinite(values).all():
        raise PayloadError("a value is out of range")
    return values


def _parse_binary(data: bytes) -> Message:
    if len(data) < _HEADER.size:
        raise PayloadError(f"{len(data)} bytes, a header has {_HEADER.size}")
    magic, version, reserved, points, width, outputs, created = _HEADER.unpack_from(data)
    if magic != _MAGIC or version != _VERSION or reserved != 0:
        raise PayloadError("not a payload of this format and version")
    expected = _HEADER.size + 4 * points * (width + outputs)
    if points < 1 or len(data) != expected:
        raise PayloadError(f"{len(data)} bytes, expected {expected}")
    values = np.frombuffer(data, "<f4", points * width, _HEADER.size).reshape(points, width)
    if not outputs:
        return Message(values, created, None, data)
    answer = np.frombuffer(data, "<f4", points * outputs, _HEADER.size + 4 * points * width)
    return Message(values, created, answer.reshape(points, outputs), data)


def _require_binary(fmt: str) -> None:
    if fmt != "binary":
        raise ValueError(f"no payload format {fmt!r}; there are {', '.join(FORMATS)}")
