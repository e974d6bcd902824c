"""The loop's source means the same under CPython: with the JIT off it gives the stamps it gives compiled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scenarios.spec import MS_NS
from sim.execution import LoopExecution
from tests.sim import pipelines

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import json, sys
from sim import jit, loop
from sim.execution import LoopExecution
from tests.sim import pipelines
name, records, backlog, cores, slice_ns = sys.argv[1], *map(int, sys.argv[2:])
system = pipelines.small(name, records=records, backlog=backlog, cores=cores, slice_ns=slice_ns)
execution = LoopExecution(system)
execution.advance(system.horizon_ns // 3)
execution.advance(system.horizon_ns)
stamps = {name: column.tolist() for name, column in execution.stamps().items()}
print(json.dumps({"off": jit.JIT_OFF, "plain": not hasattr(loop.run, "py_func"), "stamps": stamps}))
"""


@pytest.mark.parametrize(
    ("name", "records", "backlog", "cores", "slice_ns"),
    [("ones", 20, 5, 256, 3 * MS_NS), ("three-producers-late", 30, 0, 2, MS_NS)],
)
def test_stamps_without_the_jit(name: str, records: int, backlog: int, cores: int, slice_ns: int) -> None:
    arguments = [name, *map(str, (records, backlog, cores, slice_ns))]
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    plain = json.loads(run.stdout)
    assert plain["off"]
    assert plain["plain"]
    system = pipelines.small(name, records=records, backlog=backlog, cores=cores, slice_ns=slice_ns)
    execution = LoopExecution(system)
    execution.advance(system.horizon_ns)
    pipelines.assert_same_stamps(
        {column: np.array(values, np.int64) for column, values in plain["stamps"].items()}, execution.stamps()
    )
