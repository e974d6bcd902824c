"""One run, and nothing left of it but its folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from real.life import Progress
from real.session import Session
from real.warm import WARM_S
from scenarios.spec import Scenario


def run(
    scenario: Scenario,
    *,
    out: Path,
    broker: str | None = None,
    bootstrap: str | None = None,
    warm_s: float = WARM_S,
    progress: Progress | None = None,
    poison: Sequence[int] = (),
) -> Path:
    """Runs a scenario for real.

    Args:
        scenario: What to run.
        out: Folder of runs.
        broker: Broker kind that overrides the scenario's.
        bootstrap: Address of an external broker.
        warm_s: How long warming the broker may take; 0 leaves it cold.
        progress: Called with what is being done, and its share of the whole where that is known.
        poison: Sequence numbers whose payload cannot be parsed (fault injection).

    Returns:
        The run's folder.

    Raises:
        RefusedError: It cannot be run here.
        ScenarioError: Its trace cannot be read.
        HarnessError: It did not get as far as its start.
        KeyboardInterrupt: It was interrupted (a run that had started is kept as `<id>.partial`).
    """
    with Session(out=out, broker=broker, bootstrap=bootstrap, warm_s=warm_s, progress=progress) as session:
        path = session.run(scenario, poison=poison)
        if isinstance(session.last_error, KeyboardInterrupt):
            raise session.last_error
        return path
