"""The process that simulates for the page: questions as lines of JSON on stdin, answers as lines on stdout.

It ends when its stdin does, that is with the server, and does not hear Ctrl-C itself.  A question may be withdrawn
while it is worked on; that is noticed at the next simulated second.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

from scenarios.cli import die_with_parent
from scenarios.errors import ScenarioError

#: Above so many records the full run waits until it is asked for by name.
HOLD_RECORDS = 4_000_000
#: Memory of a run by its records: twice what runs of 0.9 and 1.8 million differed by (203), for an arena that grows.
BYTES_PER_RECORD = 400


class WithdrawnError(Exception):
    """Nobody waits for the answer any more."""


class Worker:
    """Answers one question after the other."""

    def __init__(self, out: IO[str]) -> None:
        """Answers go to `out`."""
        from sim.explore.shorter import Pace

        self._out = out
        self._pace = Pace()
        self._withdrawn: set[int] = set()
        self._asked: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def listen(self, lines: IO[str]) -> None:
        """Takes questions and withdrawals; ends the process at the end of them."""
        for line in lines:
            said = json.loads(line)
            if "withdraw" in said:
                self._withdrawn.add(int(said["withdraw"]))
            else:
                self._asked.put(said)
        os._exit(0)

    def work(self) -> None:
        """For ever."""
        while True:
            said = self._asked.get()
            self._number = int(said["number"])
            try:
                self._check()
                self._answer(said)
            except WithdrawnError:
                self._tell("withdrawn")
            except ScenarioError as error:
                self._tell("wrong", message=str(error), keys=[e.key for e in (error, *error.more)])
            except Exception as error:  # noqa: BLE001  # whatever it is, the page tells it and the next question counts
                self._tell("wrong", message=_told(error), keys=[])
            self._withdrawn.discard(self._number)

    def _answer(self, said: dict[str, Any]) -> None:
        from sim.explore.asked import Asked, command, understood
        from sim.explore.shorter import expected, shorter

        asked = Asked(Path(said["file"]), tuple(said["sets"]), said["calibration"])
        scenario, costs, notes = understood(asked)
        count = expected(scenario)
        if said["preview"]:
            short = shorter(scenario, self._pace.records(scenario))
            began = time.perf_counter()
            found = self._run(short, costs, scenario, preview=True)
            self._pace.took(short, found["records"], time.perf_counter() - began)
            more = {"notes_more": notes, "command": command(asked, scenario)}
            self._tell("preview", whole=short == scenario, **more, **found)
            return
        if count > HOLD_RECORDS and not said["anyway"]:
            self._tell("held", records=count)
            return
        _room_for(count)
        self._tell("full", notes_more=notes, whole=True, **self._run(scenario, costs, scenario, preview=False))

    def _run(self, scenario: Any, costs: Any, asked: Any, *, preview: bool) -> dict[str, Any]:
        from sim.counters import Window
        from sim.explore.answer import answer
        from sim.run import simulate

        seen: list[Window] = []

        def progress(now_ns: int, end_ns: int) -> None:
            self._check()
            if not preview:
                self._tell("progress", done=now_ns / end_ns)

        # Read from second to second only where that many seconds are simulated that one may want to end it.
        result = simulate(scenario, costs, progress=progress, host=not preview, observe=seen.append)
        return answer(scenario, result, seen[0], asked)

    def _check(self) -> None:
        if self._number in self._withdrawn:
            raise WithdrawnError

    def _tell(self, kind: str, **fields: Any) -> None:
        self._out.write(json.dumps({"number": self._number, "kind": kind, **fields}, allow_nan=False) + "\n")
        self._out.flush()


def _told(error: Exception) -> str:
    from analysis.search import SearchError
    from sim.execution import SimulationError
    from sim.store import CalibrationError
    from sim.system import UnsupportedError

    expected = (CalibrationError, SimulationError, UnsupportedError, SearchError, OSError)
    return str(error) if isinstance(error, expected) else f"{type(error).__name__}: {error}"


def _room_for(records: int) -> None:
    """Refuses what would not fit into memory.

    Raises:
        ScenarioError: It would not.
    """
    import psutil

    free, needed = psutil.virtual_memory().available, records * BYTES_PER_RECORD
    if needed > free:
        message = f"{records:,} records need about {needed / 2**30:.0f} GiB, {free / 2**30:.1f} GiB are free"
        raise ScenarioError("the full run", None, None, "", f"{message}; a lower rate or a shorter duration fits")


def main() -> None:
    """Warms up, says that it is ready, and answers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    from sim.run import simulate
    from sim.warm import SMALL, small_calibration

    out = sys.stdout
    sys.stdout = sys.stderr  # nothing but answers goes there
    worker = Worker(out)
    threading.Thread(target=worker.listen, args=(sys.stdin,), daemon=True).start()
    simulate(SMALL, small_calibration())
    out.write(json.dumps({"number": 0, "kind": "ready"}) + "\n")
    out.flush()
    worker.work()


if __name__ == "__main__":
    main()
