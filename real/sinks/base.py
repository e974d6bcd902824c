"""A sink: where points go while something runs, without ever holding it up."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from real.sinks.points import Point


class Sink(ABC):
    """One sink.

    Attributes:
        where: What a user is told of it.
        sent: Points that it has taken and delivered.
        lost: Points that could not be delivered.
    """

    where = ""

    def __init__(self) -> None:
        self.sent = self.lost = 0

    @abstractmethod
    def put(self, points: Sequence[Point]) -> None:
        """Takes points; returns at once, raises nothing."""

    @abstractmethod
    def close(self) -> None:
        """Delivers what is under way, for a bounded time, and ends."""
