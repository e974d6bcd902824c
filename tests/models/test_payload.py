"""Payloads: round trips in both formats, the exact JSON message, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models import payload
from models.payload import PayloadError
from scenarios.spec import Model, Payload, Scenario, Workload

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
ARRAYS = hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=6), elements=FINITE)
#: Of any values; a protobuf record is a row of a file, of one point.
OF_VALUES = ("json", "binary")
FORMATS = st.sampled_from(OF_VALUES)
STAMPS = st.integers(10**12, 10**13 - 1)


@given(FORMATS, ARRAYS, STAMPS)
def test_an_input_comes_back_bit_for_bit(fmt: str, x: payload.Floats, created: int) -> None:
    data = payload.encode_input(fmt, x, created)
    message = payload.parse_input(fmt, data)
    np.testing.assert_array_equal(message.values, x.reshape(len(x), -1))
    np.testing.assert_array_equal(payload.decode_input(fmt, data), message.values)
    assert message.values.dtype == np.float32
    assert (message.created_ms, message.prediction, message.points) == (created, None, len(x))


@given(FORMATS, ARRAYS, STAMPS, st.data())
def test_an_output_is_the_whole_input_and_the_prediction(
    fmt: str, x: payload.Floats, created: int, draw: st.DataObject
) -> None:
    y = draw.draw(hnp.arrays(np.float32, (len(x), 3), elements=FINITE))
    data = payload.encode_input(fmt, x, created)
    out = payload.encode_output(fmt, data, y)
    assert out == payload.encode_output(fmt, payload.parse_input(fmt, data), y)
    message = payload.decode_output(fmt, out)
    np.testing.assert_array_equal(message.values, x.reshape(len(x), -1))
    np.testing.assert_array_equal(message.prediction, y)
    assert message.created_ms == created
    assert len(out) > len(data)
    with pytest.raises(PayloadError, match="without a prediction"):
        payload.decode_output(fmt, data)


@given(FORMATS, ARRAYS, STAMPS, STAMPS)
def test_restamp_equals_encoding_with_that_time(fmt: str, x: payload.Floats, a: int, b: int) -> None:
    assert payload.restamp(fmt, payload.encode_input(fmt, x, a), b) == payload.encode_input(fmt, x, b)


@given(FORMATS, st.binary(max_size=200))
def test_garbage_is_a_payload_error(fmt: str, data: bytes) -> None:
    with pytest.raises(PayloadError):
        payload.parse_input(fmt, data)


@given(FORMATS, ARRAYS, st.data())
def test_a_cut_payload_is_a_payload_error(fmt: str, x: payload.Floats, draw: st.DataObject) -> None:
    data = payload.encode_input(fmt, x)
    with pytest.raises(PayloadError):
        payload.parse_input(fmt, data[: draw.draw(st.integers(0, len(data) - 1))])


def test_the_json_message_is_crayfishs() -> None:
    x = np.array([[0.5, 2.0], [1e-7, -3.0]], np.float32)
    data = payload.encode_input("json", x, 1_700_000_000_123)
    assert json.loads(data) == {
        "creationTimestamp": 1_700_000_000_123,
        "dataPointSz1": 2,
        "dataPointSz2": 2,
        "dataPoint": "0.5,2.0,1e-7,-3.0,",
        "prediction": None,
    }
    out = json.loads(payload.encode_output("json", data, np.array([[1.0], [0.25]], np.float32)))
    assert out == {**json.loads(data), "prediction": "1.0,0.25,"}


def test_the_binary_header() -> None:
    data = payload.encode_input("binary", np.array([[1.0, 2.0]], np.float32), 7)
    assert data[:28].hex(" ", -4) == "57454952 01000000 01000000 02000000 00000000 07000000 00000000"
    assert np.frombuffer(data, "<f4", offset=28).tolist() == [1.0, 2.0]


GOOD = {"creationTimestamp": 1, "dataPointSz1": 1, "dataPointSz2": 2, "dataPoint": "1,2,", "prediction": None}


@pytest.mark.parametrize(
    "change",
    [
        {"dataPoint": "1,2"},  # no trailing comma
        {"dataPoint": "1,x,"},
        {"dataPoint": "1,,"},
        {"dataPoint": "1,"},  # too few
        {"dataPoint": "1,2,3,"},  # too many
        {"dataPoint": '1,"2",'},
        {"dataPoint": "1,[2],"},
        {"dataPoint": "1,null,"},
        {"dataPoint": "1,true,"},
        {"dataPoint": "1,NaN,"},
        {"dataPoint": "1,1e39,"},  # beyond float32
        {"dataPoint": "],1,2,["},
        {"dataPoint": [1, 2]},
        {"dataPoint": ""},
        {"dataPointSz1": 0},
        {"dataPointSz1": -1, "dataPointSz2": -2},
        {"dataPointSz1": True},
        {"dataPointSz1": "1"},
        {"dataPointSz2": 2.0},
        {"creationTimestamp": None},
        {"prediction": 4},
        {"prediction": "nan,"},
    ],
)
def test_corrupt_json(change: dict[str, object]) -> None:
    payload.parse_input("json", json.dumps(GOOD).encode())
    with pytest.raises(PayloadError):
        payload.parse_input("json", json.dumps({**GOOD, **change}).encode())


@pytest.mark.parametrize("field", GOOD)
def test_a_missing_field(field: str) -> None:
    with pytest.raises(PayloadError, match="missing"):
        payload.parse_input("json", json.dumps({k: v for k, v in GOOD.items() if k != field}).encode())


def test_wrong_use_is_an_error() -> None:
    one = np.ones((1, 2), np.float32)
    with pytest.raises(ValueError, match="not finite"):
        payload.encode_input("json", np.array([[np.nan]], np.float32))
    with pytest.raises(ValueError, match="at least one point"):
        payload.encode_input("json", np.empty((0, 4), np.float32))
    with pytest.raises(ValueError, match="2 points for an input of 1"):
        payload.encode_output("json", one, np.ones((2, 1), np.float32))
    for call in (payload.encode_input, payload.encode_output):
        with pytest.raises(ValueError, match="no payload format 'avro'; there are json, binary"):
            call("avro", one, one)  # type: ignore[arg-type]


def _pool(fmt: str, *, points: int = 1, pad: int = 0, seed: int = 1, model: str = "noop", pool: int = 4) -> list[bytes]:
    load = Workload(points=points, seed=seed, payload=Payload(format=fmt, pool=pool, pad_bytes=pad))  # type: ignore[arg-type]
    return payload.payload_pool(Scenario(model=Model(model), workload=load))


@pytest.mark.parametrize("fmt", OF_VALUES)
def test_a_pool_is_a_function_of_the_scenario(fmt: str) -> None:
    pool = _pool(fmt, points=3, model="ffnn")
    assert len(set(pool)) == 4
    assert all(payload.decode_input(fmt, p).shape == (3, 784) for p in pool)
    assert pool == _pool(fmt, points=3, model="ffnn")
    assert pool != _pool(fmt, points=3, model="ffnn", seed=2)


@given(st.integers(1, 5), st.integers(20, 5000))
def test_padding_has_the_size_asked_for(points: int, pad: int) -> None:
    for data in _pool("json", points=points, pad=pad, pool=2):
        assert len(json.loads(data)["dataPoint"]) == pad
        assert len(payload.decode_input("json", data)) == points
    for data in _pool("binary", points=points, pad=pad, pool=2):
        assert len(data) == 28 + pad // 4 // points * 4 * points


def test_padding_without_room_for_the_points() -> None:
    with pytest.raises(ValueError, match="pad_bytes: 7 bytes cannot hold a value for each of 2 points"):
        _pool("json", points=2, pad=7)
