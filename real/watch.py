"""`real run --watch`: rates, lag, latencies, workers and models of a run while it runs, and the same on `/metrics`.

On a terminal a table that is drawn anew each second, elsewhere a line every few seconds, always on stderr.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from analysis.text import number
from real.progress import stopped
from real.sinks.base import Sink
from real.sinks.points import Point, Value

#: What `--metrics` is asked for as well: a free port of this machine.
METRICS = "prometheus://127.0.0.1:0"
#: Without a terminal, a line in this time.
LINE_EVERY_S = 2.0
LATENCIES = ("p50", "p95", "p99")
_SCORED = "handled_total"


@dataclass
class State:
    """What is known of the run, newest first.

    Attributes:
        began_ns: Of the first point.
        at_ns: Of the newest.
        run: Fields of the run.
        workers: Of each worker, what it handles a second; None before its second point.
        models: Of each worker and type, its model's name and version.
    """

    began_ns: int = 0
    at_ns: int = 0
    run: dict[str, Value] = field(default_factory=dict)
    workers: dict[str, float | None] = field(default_factory=dict)
    models: dict[tuple[str, str], str] = field(default_factory=dict)
    _before: dict[str, tuple[int, int]] = field(default_factory=dict)

    def take(self, points: Sequence[Point]) -> None:
        """Takes in what came; a latency stays until there is a newer one, as where no record was acknowledged."""
        models: dict[tuple[str, str], str] = {}
        for point in points:
            if point.measurement == "weir_run":
                if self.began_ns == 0 or _total(point.fields, "sent_total") < _total(self.run, "sent_total"):
                    self._restart(point.at_ns)
                self.at_ns = point.at_ns
                self.run.update(point.fields)
            elif point.measurement == "weir_worker":
                self._worker(point)
            elif point.measurement == "weir_model":
                told = f"{point.tags['model']} {point.fields['version']}"
                models[point.tags["worker"], point.tags["type"]] = told
        self.models = models or self.models

    def _restart(self, at_ns: int) -> None:
        """The next run of a sweep begins."""
        self.began_ns = at_ns
        self.run, self.workers, self.models, self._before = {}, {}, {}, {}

    def _worker(self, point: Point) -> None:
        name, count = point.tags["worker"], _total(point.fields, _SCORED)
        if name in self._before:
            before_ns, before = self._before[name]
            if point.at_ns > before_ns:
                self.workers[name] = max(0, count - before) / ((point.at_ns - before_ns) / 1e9)
        else:
            self.workers[name] = None
        self._before[name] = (point.at_ns, count)

    def rows(self) -> list[tuple[str, str]]:
        """What is shown: a name and its value each."""
        run = self.run
        rows = [
            ("in /s | out /s", f"{_number(run, 'sent_per_s')} | {_number(run, 'throughput_per_s')}"),
            ("lag", _number(run, "lag")),
            (
                f"latency ms, {' | '.join(LATENCIES)}",
                " | ".join(_number(run, f"latency_acked_ms_{name}") for name in LATENCIES),
            ),
            ("sent | out", f"{_total(run, 'sent_total'):,} | {_total(run, 'out_total'):,}"),
        ]
        if _total(run, "bad_total") or _total(run, "failed_total"):
            rows.append(("bad | failed", f"{_total(run, 'bad_total'):,} | {_total(run, 'failed_total'):,}"))
        rows += [(f"{name} /s", number(rate)) for name, rate in sorted(self.workers.items())]
        rows += [(f"{worker} {kind}", told) for (worker, kind), told in sorted(self.models.items())]
        return rows

    def line(self) -> str:
        """The same in one line."""
        seconds = (self.at_ns - self.began_ns) / 1e9
        return f"{seconds:.0f} s: " + "; ".join(f"{name}: {value}" for name, value in self.rows())


class Watching(Sink):
    """Shows the progress of a session and, while something runs, what it does; takes the place of `progress.Shown`.

    It is a sink: `Session.sinks` hands it the points.
    """

    where = "the terminal"

    def __init__(self, out: Any = None) -> None:
        """Nothing is shown before it is entered.

        Args:
            out: Where to; stderr if not given.
        """
        super().__init__()
        self._out = out or sys.stderr
        self._state = State()
        self._lock = threading.Lock()
        self._live: Any = None
        self._text, self._step, self._told = "", "", -LINE_EVERY_S

    def __enter__(self) -> Self:
        if self._out.isatty():
            from rich.console import Console
            from rich.live import Live

            # Two pictures a second: drawing costs CPU on the host that is measured.
            self._live = Live(console=Console(file=self._out), refresh_per_second=2, transient=True)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def hidden(self) -> AbstractContextManager[None]:
        """Out of the way of what is printed inside."""
        return stopped(self._live)

    def __call__(self, text: str, fraction: float | None) -> None:
        """Shows a step and its share of the whole."""
        with self._lock:
            self._text = text if fraction is None else f"{text} ({fraction:.0%})"
            step = text.partition(":")[0]
            if self._live is not None:
                self._draw()
            elif step != self._step:
                self._print(text if fraction is None else step)
            self._step = step

    def put(self, points: Sequence[Point]) -> None:
        """See `Sink.put`."""
        with self._lock:
            self._state.take(points)
            self.sent += len(points)
            if self._live is not None:
                self._draw()
            elif self._state.run and time.monotonic() - self._told >= LINE_EVERY_S:
                self._told = time.monotonic()
                self._print(self._state.line())

    def close(self) -> None:
        """See `Sink.close`; what is shown ends with the `with` block."""

    def _print(self, text: str) -> None:
        print(text, file=self._out, flush=True)

    def _draw(self) -> None:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(show_header=False)
        table.add_column()
        table.add_column(justify="right")
        for name, value in self._state.rows() if self._state.run else ():
            table.add_row(Text(name), Text(value))
        self._live.update(Group(Text(self._text), table) if self._state.run else Text(self._text))


def _total(fields: Mapping[str, Value], name: str) -> int:
    return int(fields.get(name, 0))


def _number(fields: Mapping[str, Value], name: str) -> str:
    value = fields.get(name)
    return number(None if value is None else float(value))
