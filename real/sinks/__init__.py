"""Where metrics go while something runs: Prometheus, InfluxDB, a file.  A new sink: one module, one line in `KINDS`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from real.sinks.base import Sink
    from real.sinks.points import Point


def _file(text: str) -> Sink:
    from real.sinks.file import FileSink

    return FileSink.asked(text)


def _influxdb(text: str) -> Sink:
    from real.sinks.influxdb import InfluxSink

    return InfluxSink.asked(text)


def _prometheus(text: str) -> Sink:
    from real.sinks.prometheus import PrometheusSink

    return PrometheusSink.asked(text)


#: First word of what is asked for -> what opens it.
KINDS: dict[str, Callable[[str], Sink]] = {"prometheus": _prometheus, "influxdb": _influxdb, "file": _file}


class Sinks:
    """Several sinks as one."""

    def __init__(self, asked: Sequence[str] = ()) -> None:
        """Opens them.

        Args:
            asked: `prometheus://HOST:PORT`, `influxdb://HOST:PORT/DATABASE`, `file:PATH`.

        Raises:
            RefusedError: One is of no known kind, or cannot be had.
        """
        from real.errors import RefusedError

        self.all: list[Sink] = []
        try:
            for text in asked:
                kind = text.partition(":")[0]
                if kind not in KINDS or ":" not in text:
                    raise RefusedError("--metrics", f"{text!r} is none of {', '.join(f'{word}:' for word in KINDS)}")
                self.all.append(KINDS[kind](text))
        except RefusedError:
            self.close()
            raise

    def put(self, points: Sequence[Point]) -> None:
        """Hands points to each."""
        for sink in self.all:
            sink.put(points)

    def close(self) -> list[str]:
        """Ends them; a line for each that lost something."""
        for sink in self.all:
            sink.close()
        return [
            f"{sink.where}: {sink.lost:,} of {sink.lost + sink.sent:,} points lost" for sink in self.all if sink.lost
        ]
