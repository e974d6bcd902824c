"""Points to a file: InfluxDB's line protocol, or JSON lines where its name ends in .jsonl; appended to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self
from urllib.parse import unquote

from real.errors import RefusedError
from real.sinks.base import Sink
from real.sinks.points import Point, as_json, line


class FileSink(Sink):
    """See the module."""

    def __init__(self, path: Path) -> None:
        """Opens the file.

        Raises:
            RefusedError: It cannot be written.
        """
        super().__init__()
        self.where = str(path)
        self._write = as_json if path.suffix == ".jsonl" else line
        try:
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise RefusedError("--metrics", f"{path}: cannot be written: {error.strerror}") from None

    @classmethod
    def asked(cls, text: str) -> Self:
        """From `file:PATH`."""
        path = unquote(text.removeprefix("file:").removeprefix("//"))
        if not path:
            raise RefusedError("--metrics", f"{text!r} names no file; file:PATH")
        return cls(Path(path))

    def put(self, points: Sequence[Point]) -> None:
        """See `Sink.put`; a disk that is full loses points, not the run."""
        lines = [text for text in map(self._write, points) if text is not None]
        try:
            self._file.write("".join(f"{text}\n" for text in lines))
            self._file.flush()
        except OSError:
            self.lost += len(lines)
            return
        self.sent += len(lines)

    def close(self) -> None:
        """See `Sink.close`."""
        try:
            self._file.close()
        except OSError:
            return  # counted when it was written
