"""The columns of a run in memory: what is asked of them, and the tables they are written as."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from analysis.columns import (
    DUPLICATES_COLUMN,
    HOST_COLUMNS,
    ID_COLUMNS,
    NO_STAMP,
    OUTCOME_COLUMN,
    OUTCOMES,
    RECORD_COLUMNS,
    STAMP_COLUMNS,
)

#: Column name -> values: a dictionary of arrays, a pandas DataFrame or a pyarrow table.
Columns = Mapping[str, Any]

#: Present only where a broker's transactions delay the reader.
OPTIONAL_COLUMNS = ("visible",)
INTEGER_COLUMNS = (*ID_COLUMNS, *STAMP_COLUMNS, *OPTIONAL_COLUMNS, DUPLICATES_COLUMN)
HOST_TEXT = ("kind", "name")


def outcome_codes(outcome: Any) -> Any:
    """Indices into `columns.OUTCOMES`, int8, -1 for none, from words, from indices or from a pandas categorical.

    Raises:
        ValueError: A word or an index that is no outcome.
    """
    if isinstance(outcome, np.ndarray) and outcome.dtype.kind in "iu":
        return _valid_codes(outcome)
    import pandas as pd

    if isinstance(getattr(outcome, "dtype", None), pd.CategoricalDtype):
        categorical = pd.Categorical(outcome)
        # One more entry at the end, so that -1 (none) finds none.
        table = np.append(outcome_codes(np.asarray(categorical.categories, dtype=object)), -1)
        return table[categorical.codes].astype(np.int8, copy=False)
    values = np.asarray(outcome)
    if values.dtype.kind in "iu":
        return _valid_codes(values)
    words = values.astype(object)
    codes = np.asarray(pd.Index(OUTCOMES, dtype=object).get_indexer(pd.Index(words, dtype=object)))
    unknown = (codes < 0) & ~np.asarray(pd.isna(words), dtype=bool)
    if unknown.any():
        raise ValueError(f"unknown outcome {words[unknown][0]!r}; there are {', '.join(OUTCOMES)}")
    return codes.astype(np.int8)


def _valid_codes(values: Any) -> Any:
    if len(values) and (values.min() < -1 or values.max() >= len(OUTCOMES)):
        raise ValueError(f"outcome index outside -1 to {len(OUTCOMES) - 1}")
    return values.astype(np.int8, copy=False)


def chosen(values: Any, mask: Any) -> Any:
    """`values[mask]`, without a copy where the mask is one run of rows (a window of the load is)."""
    count = int(np.count_nonzero(mask))
    first = int(np.argmax(mask)) if count else 0
    if mask[first : first + count].all():
        return values[first : first + count]
    return values[mask]


def empty_records(count: int) -> dict[str, Any]:
    """Columns for `count` records of which nothing is known yet: sequences from 0, no stamp, no outcome."""
    columns: dict[str, Any] = {c: np.full(count, NO_STAMP, np.int64) for c in RECORD_COLUMNS if c != OUTCOME_COLUMN}
    columns["sequence"] = np.arange(count, dtype=np.int64)
    columns[DUPLICATES_COLUMN] = np.zeros(count, np.int64)
    columns[OUTCOME_COLUMN] = np.full(count, -1, np.int8)
    return columns


def record_table(records: Columns, after: int = -1) -> Any:
    """The pyarrow table of a block of records.

    Args:
        records: Columns, as `runs.RunWriter.add_records` takes them.
        after: The last sequence number before this block.

    Raises:
        ValueError: A column is missing, unknown, of another length or type; sequences do not ascend.
    """
    import pyarrow as pa

    optional = [c for c in OPTIONAL_COLUMNS if c in _names(records)]
    arrays = _checked(records, (*RECORD_COLUMNS, *optional))
    sequence = arrays["sequence"]
    if len(sequence) and (int(sequence[0]) <= after or bool((np.diff(sequence) <= 0).any())):
        raise ValueError("sequence does not ascend")
    columns = {}
    for name, values in arrays.items():
        if name == OUTCOME_COLUMN:
            codes = outcome_codes(values)
            columns[name] = pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), pa.array(OUTCOMES))
        else:
            columns[name] = pa.array(_int64(name, values))
    return pa.table(columns)


def host_table(host: Columns) -> Any:
    """The pyarrow table of a block of the host's samples.  Raises as `record_table`."""
    import pyarrow as pa

    arrays = _checked(host, HOST_COLUMNS)
    return pa.table(
        {c: pa.array([str(v) for v in a]) if c in HOST_TEXT else pa.array(_int64(c, a)) for c, a in arrays.items()}
    )


def _names(columns: Columns) -> list[str]:
    names = getattr(columns, "column_names", None)  # a pyarrow table
    return list(columns.keys() if names is None else names)


def _checked(columns: Columns, expected: tuple[str, ...]) -> dict[str, Any]:
    names = _names(columns)
    missing, unknown = [c for c in expected if c not in names], [c for c in names if c not in expected]
    if missing or unknown:
        raise ValueError(f"columns missing: {', '.join(missing) or '-'}; unknown: {', '.join(unknown) or '-'}")
    arrays = {c: np.asarray(columns[c]) for c in expected}
    lengths = {c: len(a) for c, a in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns of different lengths: {lengths}")
    return arrays


def _int64(name: str, values: Any) -> Any:
    if len(values) and values.dtype.kind not in "iu":
        raise ValueError(f"column {name} is {values.dtype}, expected int64")
    return values.astype(np.int64, copy=False)
