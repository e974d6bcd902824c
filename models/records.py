"""Records in protobuf: one row of a file each, with the type that says which model scores it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.messages import WINE_FIELDS, MessageError, message, parse

if TYPE_CHECKING:
    from scenarios.spec import Scenario

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

#: The rows of a scenario that names no file.
SHIPPED = Path(__file__).with_name("data") / "winequality_red.csv"
_SCORED = b"\x0a"  # how a Scored begins; no Record does
_MAX_ROWS, _MAX_VALUES = 1_000_000, 10_000


class SourceError(ValueError):
    """A data file that cannot be read as rows of numbers.  Names the file and the line."""


def encode_record(values: Any, kind: str, created_ms: int) -> bytes:
    """The bytes of a record.

    Args:
        values: Of one point; eleven are a wine's.
        kind: Type of record.
        created_ms: Epoch milliseconds.
    """
    numbers = [float(each) for each in values]
    record = message("Record")(data_type=kind, ts=created_ms)
    if len(numbers) == len(WINE_FIELDS):
        for name, number in zip(WINE_FIELDS, numbers, strict=True):
            setattr(record, name, number)
    else:
        record.values.extend(numbers)
    return bytes(record.SerializeToString())


def record_values(record: Any) -> Floats:
    """float32 (1, values) of a parsed record."""
    if record.values:
        return np.array([list(record.values)], np.float32)
    return np.array(
        [
            (
                *(record.fixed_acidity, record.volatile_acidity, record.citric_acid, record.residual_sugar),
                *(record.chlorides, record.free_sulfur_dioxide, record.total_sulfur_dioxide, record.density),
                *(record.pH, record.sulphates, record.alcohol),
            )
        ],
        np.float32,
    )


def read_input(data: bytes) -> tuple[Floats, int, str, Floats | None]:
    """Values, creation, type and (of an output) prediction of a payload.

    Raises:
        MessageError: Neither a record nor an output.
    """
    if not data:
        raise MessageError("an empty record")
    prediction = None
    if data[:1] == _SCORED:
        scored = parse("Scored", data)
        record, prediction = scored.record, np.array([list(scored.prediction)], np.float32)
    else:
        record = parse("Record", data)
    values = record_values(record)
    if not np.isfinite(values).all():
        raise MessageError("a value is not finite")
    return values, record.ts, record.data_type, prediction


def encode_scored(record: bytes, prediction: Floats, model: str, version: int) -> bytes:
    """The bytes of an output: the record as it came, its prediction, and which model it is of."""
    rest = message("Scored")(prediction=prediction.reshape(-1).tolist(), model=model, version=version)
    return _SCORED + _varint(len(record)) + record + bytes(rest.SerializeToString())


def restamped(record: bytes, created_ms: int) -> bytes:
    """A record with another creation time."""
    found = parse("Record", record)
    found.ts = created_ms
    return bytes(found.SerializeToString())


def read_rows(path: Path | str) -> Doubles:
    """The rows of a data file: (rows, values).

    Separated by semicolons, commas or tabs; a first line that is not numbers is a heading.  Of twelve columns the
    last, a wine's quality, is left out.

    Raises:
        SourceError: It cannot be read, or is no table of finite numbers.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: cannot be read as text: {error}") from None
    first = text.partition("\n")[0]
    separator = max(";,\t", key=first.count)
    rows: list[list[float]] = []
    for number, row in enumerate(csv.reader(text.splitlines(), delimiter=separator), 1):
        if not row:
            continue
        try:
            numbers = [float(word) for word in row]
        except ValueError as error:
            if number == 1:
                continue
            raise SourceError(f"{path}:{number}: {error}") from None
        if rows and len(numbers) != len(rows[0]):
            raise SourceError(f"{path}:{number}: {len(numbers)} values, the first row has {len(rows[0])}")
        rows.append(numbers)
    if not rows:
        raise SourceError(f"{path}: no row of numbers")
    if len(rows) > _MAX_ROWS or len(rows[0]) > _MAX_VALUES:
        raise SourceError(f"{path}: at most {_MAX_ROWS:,} rows of {_MAX_VALUES:,} values")
    found = np.array(rows, np.float64)
    if not np.isfinite(found).all():
        raise SourceError(f"{path}: a value is not finite")
    return found[:, :-1] if found.shape[1] == len(WINE_FIELDS) + 1 else found


def record_pool(scenario: Scenario, created_ms: int) -> list[bytes]:
    """Ready records: every row of the source as the first type, then as the second, ...

    Record r of the load is row r (begun again after the last) in the type of `scenarios.model_stream.type_numbers`.

    Raises:
        SourceError: The source cannot be read.
    """
    from scenarios.model_stream import record_types

    rows = read_rows(scenario.workload.payload.source or SHIPPED)
    return [encode_record(row, kind, created_ms) for kind in record_types(scenario) for row in rows]


def pool_places(scenario: Scenario, pool: int, records: int) -> NDArray[np.int64]:
    """Where in `record_pool` (of so many) each record of the load is found."""
    from scenarios.model_stream import record_types, type_numbers

    rows = pool // len(record_types(scenario))
    return np.arange(records, dtype=np.int64) % rows + rows * type_numbers(scenario, records)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
