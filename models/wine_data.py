"""The red wines: eleven measurements and a quality each, read from the shipped file or from one of the user's."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from models.definition import ModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Ints = NDArray[np.int64]

FEATURES = (
    *("fixed_acidity", "volatile_acidity", "citric_acid", "residual_sugar", "chlorides", "free_sulfur_dioxide"),
    *("total_sulfur_dioxide", "density", "pH", "sulphates", "alcohol"),
)
TARGET = "quality"
#: The qualities that occur.
QUALITIES = (3, 4, 5, 6, 7, 8)
SHIPPED = Path(__file__).parent / "data" / "winequality_red.csv"


def wine_rows(path: Path | str | None = None) -> tuple[Floats, Ints]:
    """The measurements (rows, 11) and the qualities (rows,).

    Args:
        path: A file of the same form (`;` or `,` between values, a line of names or none); None: the shipped one.

    Raises:
        ModelError: It cannot be read; with the line that is wrong.
    """
    return _rows(Path(path) if path is not None else SHIPPED)


@cache
def _shipped() -> tuple[Floats, Ints]:
    return _read(SHIPPED)


def _rows(path: Path) -> tuple[Floats, Ints]:
    return _shipped() if path == SHIPPED else _read(path)


def _read(path: Path) -> tuple[Floats, Ints]:
    from models.csv_rows import read_rows

    x, quality = read_rows(path, len(FEATURES))
    off = [(i, q) for i, q in enumerate(quality.tolist()) if not 0 <= q <= 8]
    if off:
        raise ModelError(f"{path}: row {off[0][0] + 1}: quality {off[0][1]}, expected 0 to 8")
    return x, quality
