"""Progress on stderr: a line that is rewritten on a terminal, a line for each new step elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any, Self

from scenarios.cli import quiet


class Shown:
    """Shows progress; calling it is `real.life.Progress`."""

    def __init__(self) -> None:
        self._live: Any = None
        self._task: Any = None
        self._last = ""

    def __enter__(self) -> Self:
        if sys.stderr.isatty() and not quiet():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
            # Two pictures a second: drawing costs CPU on the host that is measured.
            self._live = Progress(*columns, console=Console(stderr=True), refresh_per_second=2, transient=True)
            self._live.start()
            self._task = self._live.add_task("", total=None)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def hidden(self) -> AbstractContextManager[None]:
        """Out of the way of what is printed inside."""
        return stopped(self._live)

    def __call__(self, text: str, fraction: float | None) -> None:
        """Shows a step and its share of the whole."""
        if self._live is not None:
            self._live.update(self._task, description=text, total=None if fraction is None else 1.0, completed=fraction)
            return
        if quiet():
            return
        step = text.partition(":")[0]
        if step != self._last:
            self._last = step
            print(text if fraction is None else step, file=sys.stderr, flush=True)


@contextmanager
def stopped(live: Any) -> Iterator[None]:
    """Takes a live picture of rich's, if there is one, off the terminal for what is printed inside."""
    if live is not None:
        live.stop()
    try:
        yield
    finally:
        if live is not None:
            live.start()
