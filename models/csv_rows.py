"""Rows of numbers from a CSV file, one column of which is a whole number: a class, or a quality."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING

from models.definition import ModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Ints = NDArray[np.int64]


def read_rows(path: Path, width: int, *, label_first: bool = False) -> tuple[Floats, Ints]:
    """Reads a file of `width` values and a label a line, `;` or `,` between them; a first line of names may be there.

    Args:
        path: The file.
        width: Values a line.
        label_first: The label is the first column, not the last.

    Returns:
        float32 (rows, width) and int64 (rows,).

    Raises:
        ModelError: The file cannot be read, or a line is wrong; the message says which and what is expected.
    """
    import numpy as np

    values: list[list[float]] = []
    labels: list[int] = []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            separator = ";" if ";" in file.readline() else ","
            file.seek(0)
            for number, row in enumerate(csv.reader(file, delimiter=separator), 1):
                if not row or (number == 1 and not _is_number(row[0])):
                    continue
                if len(row) != width + 1:
                    raise ModelError(f"{path}:{number}: {len(row)} columns, expected {width} values and a label")
                text = row.pop(0) if label_first else row.pop()
                values.append([_value(each, path, number) for each in row])
                label = _value(text, path, number)
                if label != int(label):
                    raise ModelError(f"{path}:{number}: label {text!r}, expected a whole number")
                labels.append(int(label))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ModelError(f"{path}: not a CSV file: {error}") from None
    if not values:
        raise ModelError(f"{path}: no rows")
    return np.array(values, np.float32), np.array(labels, np.int64)


def _value(text: str, path: Path, number: int) -> float:
    if not _is_number(text) or not abs(float(text)) < 1e30:  # beyond that float32 ends soon; not a number neither
        raise ModelError(f"{path}:{number}: {text!r}, expected a number")
    return float(text)


def _is_number(text: str) -> bool:
    try:
        return not math.isnan(float(text))
    except ValueError:
        return False
