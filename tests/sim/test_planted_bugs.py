"""The comparison of loop and reference catches bugs: every one that is planted, and none where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.conftest import COVERAGE
from tests.sim.planted_bugs import BUGS, ROOT


def test_every_planted_bug_is_caught() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "tests.sim.planted_bugs"],
        cwd=ROOT,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr
    none, *each = map(json.loads, found.stdout.splitlines())
    assert none["bug"] is None
    assert not none["caught"], "the loop as it is differs from the reference"
    assert [one["bug"] for one in each] == [bug.what for bug in BUGS]
    assert [one["bug"] for one in each if not one["caught"]] == []
    COVERAGE["planted bugs, all caught"].update({one["bug"]: 1 for one in each})
