"""What the command line shows: how far a prediction can be trusted, whether its SLO is met, progress on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from analysis.first_screen import trust_line
from analysis.text import number
from scenarios.cli import quiet
from scenarios.spec import Bound

__all__ = ["Progress", "say_all", "slo_lines", "trust_line"]

#: Without a terminal, at most one line of progress in this time.
_LINE_EVERY_S = 5.0


def slo_lines(bounds: Sequence[Bound], metrics: Mapping[str, float | None]) -> list[str]:
    """Whether the SLO is met, and each bound that is broken; empty where there is none."""
    from analysis.metrics import bound_broken

    if not bounds:
        return []
    broken = bound_broken(bounds, metrics)
    return [f"SLO broken: {line}" for line in broken] or ["SLO met"]


class Progress:
    """A count that grows to a total: a bar on a terminal, a line now and then elsewhere; always on stderr."""

    def __init__(self, what: str) -> None:
        """Nothing is shown before the first call.

        Args:
            what: What is counted, in the plural.
        """
        self._what = what
        self._bar: Any = None
        self._task: Any = None
        self._began = self._last = time.monotonic()
        self._first: float | None = None

    def __enter__(self) -> Self:
        if quiet():
            return self
        if sys.stderr.isatty():
            from rich import progress
            from rich.console import Console

            columns = (
                progress.TextColumn("{task.description}"),
                progress.BarColumn(),
                progress.MofNCompleteColumn(),
                progress.TimeRemainingColumn(),
            )
            self._bar = progress.Progress(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task(self._what, total=None)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, done: float, total: float) -> None:
        """So much of so much is done; the first call says what was done before."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total)
            return
        if quiet():
            return
        now = time.monotonic()
        if self._first is None:
            self._first = done
            self._began = self._last = now
        if now - self._last >= _LINE_EVERY_S and done < total:
            self._last = now
            gone = done - self._first
            left = f", {_clock((now - self._began) / gone * (total - done))} left" if gone else ""
            self.say(f"{number(done)} of {number(total)} {self._what}{left}")

    def say(self, text: str) -> None:
        """A line on stderr, above the bar where there is one."""
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False)
        else:
            print(text, file=sys.stderr, flush=True)


def say_all(lines: Iterable[str]) -> None:
    """Lines on stderr, unless `--quiet`."""
    if quiet():
        return
    for line in lines:
        print(line, file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"
