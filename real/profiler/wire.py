"""How the driver and a replica talk over a Unix socket.

A request: its number, how many points to score at once, and how often.  An answer: the number, how many stamps follow,
how long the replica had nothing to do before (ns), and for each time the points were scored when that began and ended
(ns, monotonic) and the CPU it took (ns).
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from real.errors import DeadlineError

REQUEST = struct.Struct("<qii")
HEAD = struct.Struct("<qiq")
STAMPS = struct.Struct("<qqq")
_CONNECT_S = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One request's answer.

    Attributes:
        number: Of the request.
        idle_ns: What the replica waited for it.
        stamps: (began, ended, CPU) in ns for each time.
        read_ns: When the driver read it.
    """

    number: int
    idle_ns: int
    stamps: list[tuple[int, int, int]]
    read_ns: int


class HungUpError(Exception):
    """The replica is gone."""


class Link:
    """The driver's end of one replica's socket.

    Attributes:
        waiting: Numbers of the requests that are not answered, oldest first.
    """

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._left = b""
        self.waiting: deque[int] = deque()

    def fileno(self) -> int:
        """For `select`."""
        return self._link.fileno()

    def send(self, number: int, points: int, times: int = 1) -> None:
        """Asks for points to be scored at once, so many times."""
        self.waiting.append(number)
        try:
            self._link.sendall(REQUEST.pack(number, points, times))
        except OSError:
            raise HungUpError from None

    def read(self) -> list[Answer]:
        """The answers that are there; blocks while there is not a byte of one."""
        try:
            data = self._link.recv(1 << 18)
        except OSError:
            raise HungUpError from None
        if not data:
            raise HungUpError
        now = time.monotonic_ns()
        data = self._left + data
        at, found = 0, []
        while len(data) - at >= HEAD.size:
            number, count, idle = HEAD.unpack_from(data, at)
            end = at + HEAD.size + count * STAMPS.size
            if len(data) < end:
                break
            stamps = list(STAMPS.iter_unpack(data[at + HEAD.size : end]))
            found.append(Answer(number, idle, stamps, now))
            self.waiting.remove(number)
            at = end
        self._left = data[at:]
        return found

    def close(self) -> None:
        """The replica ends."""
        self._link.close()


def answer(number: int, stamps: list[tuple[int, int, int]], idle_ns: int = 0) -> bytes:
    """An answer's bytes."""
    return HEAD.pack(number, len(stamps), idle_ns) + b"".join(STAMPS.pack(*each) for each in stamps)


def listen(path: Path | str) -> socket.socket:
    """A socket that one driver connects to."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(os.fspath(path))
    listener.listen(1)
    return listener


def connect(path: Path | str) -> Link:
    """Connects to a replica that listens."""
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    link.settimeout(_CONNECT_S)
    try:
        link.connect(os.fspath(path))
    except TimeoutError:
        raise DeadlineError(f"{path}: no answer within {_CONNECT_S:.0f} s") from None
    link.settimeout(None)
    return Link(link)
