"""What every test shares: `kafka` tests skip by name where Java or Maven is missing, and folders for runs."""

from __future__ import annotations

import shutil
import signal
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hypothesis import settings

# The first example may compile the loop, so a deadline would measure numba, not the code under test.
settings.register_profile("weir", deadline=None, print_blob=True)
settings.load_profile("weir")

# A job in a shell's background has interrupts ignored, and its children inherit that; some tests interrupt theirs.
signal.signal(signal.SIGINT, signal.default_int_handler)

#: What generated tests met, and how often; told at the end of the run.
COVERAGE: defaultdict[str, Counter[str]] = defaultdict(Counter)

#: What a real broker needs on the PATH.
KAFKA_TOOLS = ("java", "mvn")

#: Tests of real processes on whatever machine there is: one that fails is tried once more, and told by name at the end.
TRIED_TWICE = ("real", "pages", "docs")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rooms = tuple(Path(__file__).parent / room for room in TRIED_TWICE)
    for item in items:
        if any(item.path.is_relative_to(room) for room in rooms):
            item.add_marker(pytest.mark.flaky(reruns=1))
    missing = [tool for tool in KAFKA_TOOLS if shutil.which(tool) is None]
    if not missing:
        return
    skip = pytest.mark.skip(reason=f"needs a real broker: {' and '.join(missing)} not on the PATH")
    for item in items:
        if item.get_closest_marker("kafka") is not None:
            item.add_marker(skip)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    again = terminalreporter.stats.get("rerun", [])
    if again:
        terminalreporter.section(f"failed at the first try: {len(again)}")
        for report in again:
            crash = getattr(report.longrepr, "reprcrash", None)
            terminalreporter.write_line(f"{report.nodeid}: {(crash.message if crash else '?').splitlines()[0]}")
    for title, counts in COVERAGE.items():
        terminalreporter.section(f"{title}: {sum(counts.values())}")
        for what, count in sorted(counts.items()):
            terminalreporter.write_line(f"{count:4} {what}")


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    """An empty folder that stands for `runs/`."""
    path = tmp_path / "runs"
    path.mkdir()
    return path
