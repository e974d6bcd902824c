"""The server's side of a simulating process: questions as they come, each with its answers, any of them withdrawn."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from typing import Any

from scenarios.cli import DIES_WITH_PARENT
from sim.explore.asked import Asked

#: Longest line of an answer; one holds a few hundred numbers.
_LINE_BYTES = 1 << 22
#: Kinds after which no more is said of a question.
LAST = ("preview", "full", "held", "wrong", "withdrawn")
READY = 0
_DIED = "the process that simulates died, for want of memory perhaps; the next question starts it anew"

Told = dict[str, Any]


class Question:
    """One question under way."""

    def __init__(self, to: Simulator, number: int) -> None:
        """Put by `Simulator.ask`."""
        self._to, self._number = to, number
        self._answers: asyncio.Queue[Told] = asyncio.Queue()

    async def answer(self) -> Told:
        """The next answer; none comes after one of a kind of `LAST`."""
        told = await self._answers.get()
        if told["kind"] in LAST:
            self._to.forget(self._number, withdraw=False)
        return told

    def answered(self, told: Told) -> None:
        """An answer came."""
        self._answers.put_nowait(told)

    def withdraw(self) -> None:
        """Asks for no more answers; whoever waits for one gets to know."""
        self._to.forget(self._number, withdraw=True)
        self._answers.put_nowait({"kind": "withdrawn"})


class Simulator:
    """One process of `sim.explore.worker`, which takes questions in turn; started again should it die."""

    def __init__(self) -> None:
        """Nothing is started yet."""
        self._process: Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._numbers = itertools.count(READY + 1)
        self._waiting: dict[int, Question] = {}

    async def start(self) -> None:
        """Starts the process unless it runs; returns when it is ready.

        Raises:
            OSError: It does not start, or dies at once.
        """
        async with self._starting:
            if self._process is not None and self._process.returncode is None:
                return
            environment = {**os.environ, DIES_WITH_PARENT: str(os.getpid())}
            command = [sys.executable, "-m", "sim.explore.worker"]
            # A group of its own: Ctrl-C is for the server, which ends it.
            self._process = await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=PIPE, env=environment, limit=_LINE_BYTES, start_new_session=True
            )
            ready = self._waiting[READY] = Question(self, READY)
            self._reader = asyncio.create_task(self._read(self._process))
            told = await ready.answer()
            self.forget(READY, withdraw=False)
            if told["kind"] != "ready":
                raise OSError("the process that simulates died as it started; what it said stands above")

    async def ask(self, asked: Asked, *, preview: bool, anyway: bool = False) -> Question:
        """Puts a question; its answers come one by one.

        Raises:
            OSError: The process does not start.
        """
        await self.start()
        number = next(self._numbers)
        question = self._waiting[number] = Question(self, number)
        self._say(
            {
                "number": number,
                "file": str(asked.file),
                "sets": list(asked.sets),
                "calibration": asked.calibration,
                "preview": preview,
                "anyway": anyway,
            }
        )
        return question

    def forget(self, number: int, *, withdraw: bool) -> None:
        """Nobody waits for the answers to a question any more."""
        if self._waiting.pop(number, None) is not None and withdraw:
            self._say({"withdraw": number})

    async def stop(self) -> None:
        """Ends the process, whatever it is at."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        if self._reader is not None:
            await self._reader

    def _say(self, what: Told) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        if not self._process.stdin.is_closing():
            self._process.stdin.write(json.dumps(what).encode() + b"\n")

    async def _read(self, process: Process) -> None:
        """Hands every line to whoever waits for it, and its end to all."""
        assert process.stdout is not None
        while (line := await process.stdout.readline()).endswith(b"\n"):
            told: Told = json.loads(line)
            if told["number"] in self._waiting:
                self._waiting[told["number"]].answered(told)
        await process.wait()
        for question in self._waiting.values():
            question.answered({"kind": "wrong", "message": _DIED, "keys": []})
