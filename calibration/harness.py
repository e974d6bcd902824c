"""Real runs for whoever may not import the harness: `python -m real serve` as a process, asked line by line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from analysis.runs import read_run
from scenarios.cli import DIES_WITH_PARENT
from scenarios.load import resolved
from scenarios.spec import Scenario


class HarnessFailedError(Exception):
    """The harness could not make a run; the message is its own."""


class Harness:
    """One `python -m real serve`, started at the first run and ended with the block.

    with Harness(Path("runs")) as harness:
        meta = harness.run(scenario)
    """

    def __init__(self, out: Path, *, broker: str | None = None, warm_s: float | None = None) -> None:
        """Nothing is started yet.

        Args:
            out: Folder of runs.
            broker: Broker kind that overrides the scenarios'.
            warm_s: How long warming the broker may take; None for the usual.
        """
        self._command = [sys.executable, "-m", "real", "serve", "--out", str(out)]
        if broker is not None:
            self._command += ["--broker", broker]
        if warm_s is not None:
            self._command += ["--warm", str(warm_s)]
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()  # the harness ends when its requests do, and everything it started with it
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait(30)

    def run(self, scenario: Scenario) -> tuple[Path, dict[str, Any]]:
        """Makes one run; returns its folder and the object of its run.json.

        Raises:
            HarnessFailedError: It could not be made.
        """
        if self._process is None:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                env={**os.environ, DIES_WITH_PARENT: str(os.getpid())},
            )
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps({"scenario": resolved(scenario)}) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            raise HarnessFailedError(
                f"the harness ended with exit code {process.wait()}; its message stands above"
            ) from None
        line = process.stdout.readline()
        if not line:
            raise HarnessFailedError(f"the harness ended with exit code {process.wait()}; its message stands above")
        answer = json.loads(line)
        if answer["run"] is None or answer["error"] is not None:
            raise HarnessFailedError(str(answer["error"] or "no run was made"))
        path = Path(answer["run"])
        return path, read_run(path).meta
