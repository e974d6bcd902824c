"""`python -m real serve`: runs on request, one broker for all of them.

Whoever needs real runs and must not import the harness starts this as a process.  A line of JSON in, a line out:

    {"scenario": {...as resolved...}}            ->  {"run": "runs/...", "verdict": "STABLE", "error": null}

It ends when its input does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from real.errors import HarnessError
from real.life import Progress
from real.session import Session
from scenarios.load import from_resolved


def serve(
    requests: TextIO, answers: TextIO, *, out: Path, broker: str | None, warm_s: float, progress: Progress
) -> None:
    """Answers requests until there are no more.

    Args:
        requests: Lines of JSON.
        answers: Where one line of JSON answers each.
        out: Folder of runs.
        broker: Broker kind that overrides the scenarios'.
        warm_s: How long warming the broker may take.
        progress: Told of each step.

    Raises:
        KeyboardInterrupt: Interrupted; the run under way is kept as `<id>.partial`.
    """
    with Session(out=out, broker=broker, warm_s=warm_s, progress=progress) as session:
        for request in _lines(requests):
            answer: dict[str, Any] = {"run": None, "verdict": None, "error": None}
            try:
                path = session.run(from_resolved(request["scenario"]))
                answer |= {"run": str(path), "verdict": json.loads((path / "run.json").read_text())["verdict"]}
                if isinstance(session.last_error, KeyboardInterrupt):
                    raise session.last_error
                if session.last_error is not None:
                    answer["error"] = str(session.last_error)
            except HarnessError as error:
                answer["error"] = str(error)
            print(json.dumps(answer), file=answers, flush=True)


def _lines(requests: TextIO) -> Iterator[dict[str, Any]]:
    while line := requests.readline():
        yield json.loads(line)
