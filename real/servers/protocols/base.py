"""What a client of a model server is, whatever protocol it speaks, and how a call can go wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

Kind = Literal["timeout", "connection", "server", "answer"]


class CallError(Exception):
    """A call without an answer.

    Attributes:
        kind: `timeout`: none in time; `connection`: it cannot be reached, or hung up; `server`: it said that it failed;
            `answer`: what it said is no answer to the question.
    """

    def __init__(self, kind: Kind, text: str) -> None:
        super().__init__(text)
        self.kind: Kind = kind

    @property
    def expired(self) -> bool:
        """Whether time ran out: the record's outcome is then `expired`, else `failed`."""
        return self.kind == "timeout"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a model is served.

    Attributes:
        protocol: A word of `protocols.PROTOCOLS`.
        host: Name or number.
        port: Of TCP.
        model: Its name there.
        input_shape: Of one point.
        binary: Open Inference Protocol over HTTP: tensors follow the JSON as bytes (an extension that not all have).
    """

    protocol: str
    host: str
    port: int
    model: str
    input_shape: tuple[int, ...]
    binary: bool = False

    def shape(self, x: Floats) -> tuple[int, ...]:
        """The shape under which points are sent: the model's, where the values make it up."""
        points = len(x)
        return (points, *(self.input_shape if x.size == points * math.prod(self.input_shape) else (x.size // points,)))


class Client(Protocol):
    """Calls a server, one call at a time."""

    def call(self, x: Floats, timeout_s: float) -> Floats:
        """Scores points.

        Args:
            x: float32 (points, ...).
            timeout_s: From now to the whole answer.

        Returns:
            float32 (points, outputs).

        Raises:
            CallError: There is no answer.
        """
        ...

    def close(self) -> None:
        """Hangs up."""
        ...


def answered(values: Floats, points: int) -> Floats:
    """An answer's values as (points, outputs).

    Raises:
        CallError: They do not divide so.
    """
    if values.size == 0 or values.size % points:
        raise CallError("answer", f"{values.size} values in the answer for {points} points")
    return values.reshape(points, -1)


def raw_floats(data: bytes, points: int) -> Floats:
    """Raw little-endian float32 as (points, outputs).

    Raises:
        CallError: They are none.
    """
    import numpy as np

    if len(data) % 4:
        raise CallError("answer", f"{len(data)} bytes are no float32 values")
    return answered(np.frombuffer(data, "<f4"), points)
