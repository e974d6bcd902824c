"""The run format: `runs/<id>/` with run.json, records.parquet and host.parquet, the same for both backends.

A run is written under the temporary name `.<id>.tmp-<pid>` and renamed to `<id>` when it is complete.  One that ends
early is renamed to `<id>.partial`; one that was killed keeps its temporary name.  Both can be read and are marked
`interrupted`: their records are what had been written.  Whatever cannot be read is one `RunError`.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from analysis.columns import (
    HOST_COLUMNS,
    OUTCOME_COLUMN,
    OUTCOMES,
    RECORD_COLUMNS,
    SCHEMA_VERSION,
)
from analysis.records import HOST_TEXT, INTEGER_COLUMNS, Columns, host_table, outcome_codes, record_table

RUN_FILE, RECORDS_FILE, HOST_FILE = "run.json", "records.parquet", "host.parquet"
#: Keys that every run.json has; `RunWriter.finish` refuses one without them.
META_KEYS = (
    "schema",
    "id",
    "name",
    "backend",
    "started",
    "start_epoch_ms",
    "scenario",
    "seed",
    "versions",
    "fingerprint",
    "calibration",
    "append_clock",
    "reason",
    "verdict",
    "verdict_reason",
    "metrics",
    "accounting",
    "counters",
    "timing",
)


class RunError(Exception):
    """A run that cannot be read or written.  Names the path and what is wrong with it."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path


def new_run_id(name: str, backend: str, now: datetime | None = None) -> str:
    """A run's identifier, `<UTC yyyymmdd-hhmmss>-<name>-<backend>-<4 hex>`: sorts by time, names what it is."""
    when = (now or datetime.now(UTC)).astimezone(UTC)
    word = re.sub(r"[^A-Za-z0-9_.]+", "-", name).strip("-.") or "unnamed"
    return f"{when:%Y%m%d-%H%M%S}-{word}-{backend}-{secrets.token_hex(2)}"


def write_run(root: Path | str, run: Mapping[str, Any], records: Columns, host: Columns | None = None) -> Path:
    """Writes a whole run.

    Args:
        root: The folder of runs.
        run: The object of run.json; `schema` is added, `id` names the folder.
        records: Columns of records.parquet (see `RunWriter.add_records`), or a pyarrow table of them.
        host: Columns of host.parquet; None where nothing was measured.

    Returns:
        The run's folder.

    Raises:
        RunError: The folder is there already, or cannot be written.
        ValueError: A key or column is missing, unknown or of the wrong type.
    """
    with RunWriter(Path(root), str(run["id"])) as writer:
        writer.add_records(records)
        if host is not None:
            writer.add_host(host)
        return writer.finish(run)


class RunWriter:
    """Writes one run; leaving the `with` block without `finish` keeps what there is as `<id>.partial`.

    Attributes:
        directory: Where the run is being written, for files beside the run's own (logs).
    """

    def __init__(self, root: Path, run_id: str) -> None:
        """Creates the temporary folder.

        Raises:
            RunError: A run of that identifier exists, or the folder cannot be created.
        """
        self.root, self.run_id = Path(root), run_id
        self.directory = self.root / f".{run_id}.tmp-{os.getpid()}"
        self._final = self.root / run_id
        self._writers: dict[str, Any] = {}
        self._last_sequence = -1
        self._meta: dict[str, Any] = {}
        self._open = True
        if self._final.exists():
            raise RunError(self._final, "a run of that identifier exists")
        try:
            self.directory.mkdir(parents=True)
        except OSError as error:
            raise RunError(self.directory, f"cannot be created: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._open:
            self.abandon("interrupted" if kind is None or issubclass(kind, KeyboardInterrupt) else "error")

    def begin(self, meta: Mapping[str, Any]) -> None:
        """Writes what is known of run.json before the run starts, so that a killed run still says what it was."""
        self._meta = {**meta, "schema": SCHEMA_VERSION, "id": self.run_id}
        self._write_meta({**self._meta, "reason": "interrupted"})

    def add_records(self, records: Columns) -> None:
        """Writes a block of records: the columns of `columns.RECORD_COLUMNS`, and `visible` where there is one.

        Blocks come in order of sequence.  Identifiers, stamps and duplicates are integers; `outcome` holds words of
        `columns.OUTCOMES`, or integers that index it, and for a record that was never sent None or -1.

        Raises:
            ValueError: A column is missing, unknown, of another length or type; sequences do not ascend.
        """
        self._write(RECORDS_FILE, record_table(records, self._last_sequence))
        sequence = np.asarray(records["sequence"])
        if len(sequence):
            self._last_sequence = int(sequence[-1])

    def add_host(self, host: Columns) -> None:
        """Writes a block of the host's samples: the columns of `columns.HOST_COLUMNS`.

        Raises:
            ValueError: A column is missing, unknown, of another length or type.
        """
        self._write(HOST_FILE, host_table(host))

    def add_table(self, name: str, columns: Columns) -> None:
        """Writes a table of another name, `<name>.parquet`, whole.

        Args:
            name: Of the file, without its ending.
            columns: Arrays or lists of one length.
        """
        import pyarrow as pa

        self._write(f"{name}.parquet", pa.table({column: pa.array(values) for column, values in columns.items()}))

    def finish(self, meta: Mapping[str, Any]) -> Path:
        """Writes run.json and gives the run its name.

        Raises:
            ValueError: run.json lacks a key, or holds what JSON cannot (not-a-number).
            RunError: The files cannot be written.
        """
        whole = {**self._meta, **meta, "schema": SCHEMA_VERSION, "id": self.run_id}
        missing = [key for key in META_KEYS if key not in whole]
        if missing:
            raise ValueError(f"run.json lacks {', '.join(missing)}")
        self._write_meta(whole)
        return self._close(self._final)

    def abandon(self, reason: str = "interrupted") -> Path:
        """Ends a run early: it stays as `<id>.partial`, readable and marked."""
        self._write_meta({**self._meta, "schema": SCHEMA_VERSION, "id": self.run_id, "reason": reason})
        return self._close(self.root / f"{self.run_id}.partial")

    def _close(self, name: Path) -> Path:
        self._open = False
        for writer in self._writers.values():
            writer.close()
        try:
            self.directory.rename(name)
        except OSError as error:
            raise RunError(name, f"cannot be renamed from {self.directory.name}: {error.strerror}") from error
        return name

    def _write(self, name: str, table: Any) -> None:
        import pyarrow.parquet as pq

        if name not in self._writers:
            text = [f.name for f in table.schema if f.name in (OUTCOME_COLUMN, *HOST_TEXT)]
            self._writers[name] = pq.ParquetWriter(
                self.directory / name, table.schema, compression="zstd", use_dictionary=text
            )
        self._writers[name].write_table(table)

    def _write_meta(self, meta: Mapping[str, Any]) -> None:
        text = json.dumps(meta, indent=1, allow_nan=False, default=_plain, ensure_ascii=False)
        temporary = self.directory / (RUN_FILE + ".tmp")
        temporary.write_text(text + "\n", encoding="utf-8")
        temporary.replace(self.directory / RUN_FILE)


@dataclass(frozen=True)
class Run:
    """A run as read.  Records and host are read when first asked for.

    Attributes:
        path: Its folder.
        meta: run.json; of an interrupted run, what had been written of it.
        complete: False where the folder is partial or temporary.
    """

    path: Path
    meta: dict[str, Any]
    complete: bool = True

    @cached_property
    def records(self) -> Any:
        """records.parquet as a pandas DataFrame, `outcome` categorical; of an interrupted run it may be empty.

        Raises:
            RunError: The file is missing, damaged, or has other columns.
        """
        frame = self._frame(RECORDS_FILE, RECORD_COLUMNS, INTEGER_COLUMNS)
        import pandas as pd

        try:
            codes = outcome_codes(frame[OUTCOME_COLUMN])
        except ValueError as error:
            raise RunError(self.path / RECORDS_FILE, str(error)) from error
        frame[OUTCOME_COLUMN] = pd.Categorical.from_codes(codes, categories=list(OUTCOMES))
        return frame

    @cached_property
    def host(self) -> Any:
        """host.parquet as a pandas DataFrame; empty where nothing was measured.

        Raises:
            RunError: The file is damaged, or has other columns.
        """
        if not (self.path / HOST_FILE).exists():
            import pandas as pd

            return pd.DataFrame({c: [] for c in HOST_COLUMNS})
        return self._frame(HOST_FILE, HOST_COLUMNS, tuple(c for c in HOST_COLUMNS if c not in HOST_TEXT))

    def table(self, name: str, columns: tuple[str, ...]) -> Any:
        """Another table of the run, `<name>.parquet`, as a pandas DataFrame.

        Raises:
            RunError: The file is missing, damaged, or lacks one of the columns.
        """
        return self._frame(f"{name}.parquet", columns, ())

    def _frame(self, name: str, columns: tuple[str, ...], integers: tuple[str, ...]) -> Any:
        import pandas as pd
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.path / name
        try:
            table = pq.read_table(path)
        except (OSError, pa.ArrowException) as error:
            if not self.complete:  # killed before the file's end was written
                return pd.DataFrame({c: np.empty(0, np.int64 if c in integers else object) for c in columns})
            what = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {error}"
            raise RunError(path, what) from error
        missing = [c for c in columns if c not in table.column_names]
        if missing:
            raise RunError(path, f"has no column {', '.join(missing)}: not a file of this schema ({SCHEMA_VERSION})")
        for column in table.schema:
            if column.name in integers and column.type != pa.int64():
                raise RunError(path, f"column {column.name} is {column.type}, expected int64")
            if column.name in integers and table[column.name].null_count:
                raise RunError(path, f"column {column.name} has nulls")
        return table.to_pandas()


def read_run(path: Path | str) -> Run:
    """Reads a run's folder (or its run.json).

    Raises:
        RunError: Not a run, damaged, or of another schema.
    """
    path = Path(path)
    if path.name == RUN_FILE:
        path = path.parent
    file = path / RUN_FILE
    try:
        meta = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(path, "no run here (there is no run.json)" if path.is_dir() else "no such run") from None
    except (OSError, ValueError) as error:
        raise RunError(file, f"cannot be read: {error}") from error
    if not isinstance(meta, dict) or "schema" not in meta:
        raise RunError(file, "not the run.json of a run (no schema)")
    if meta["schema"] != SCHEMA_VERSION:
        raise RunError(file, f"has schema {meta['schema']!r}, this version reads {SCHEMA_VERSION}")
    complete = not (path.name.endswith(".partial") or ".tmp-" in path.name)
    if complete:
        missing = [key for key in META_KEYS if key not in meta]
        if missing:
            raise RunError(file, f"lacks {', '.join(missing)}")
    else:
        empty: dict[str, Any] = {
            key: {} for key in ("versions", "fingerprint", "metrics", "accounting", "counters", "timing")
        }
        defaults = {**dict.fromkeys(META_KEYS), **empty, "name": path.name, "scenario": {}, "verdict": "INVALID"}
        meta = {**defaults, **{k: v for k, v in meta.items() if v is not None}}
        meta["reason"] = meta["reason"] or "interrupted"
        meta["verdict"] = "INVALID"
        meta["verdict_reason"] = meta["verdict_reason"] or f"the run did not complete ({meta['reason']})"
    return Run(path, meta, complete)


def find_runs(root: Path | str) -> list[Path]:
    """The complete runs in a folder, oldest first."""
    return sorted(p.parent for p in Path(root).glob(f"*/{RUN_FILE}") if not _unfinished(p.parent.name))


def _unfinished(name: str) -> bool:
    return name.startswith(".") or name.endswith(".partial")


def _plain(value: Any) -> Any:
    """Numpy scalars and arrays, and paths, in run.json."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"run.json cannot hold a {type(value).__name__}")
