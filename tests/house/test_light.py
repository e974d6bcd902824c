"""`python -m ROOM --help` imports no heavy library: they are imported inside the functions that use them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("scenarios", "models", "analysis", "control", "sim", "real", "calibration")
HEAVY = (
    *("numpy", "scipy", "pandas", "pyarrow", "numba", "llvmlite", "simpy", "confluent_kafka"),
    *("onnx", "onnxruntime", "matplotlib", "jinja2"),
)

PROBE = """
import json, runpy, sys
room, *heavy = sys.argv[1:]
sys.argv = [room, "--help"]
code = 0
try:
    runpy.run_module(room, run_name="__main__", alter_sys=True)
except SystemExit as end:
    code = end.code or 0
print(json.dumps({"code": code, "loaded": [name for name in heavy if name in sys.modules]}), file=sys.stderr)
"""


@pytest.mark.parametrize("room", [room for room in ROOMS if (ROOT / room / "__main__.py").exists()])
def test_help_is_light(room: str) -> None:
    command = [sys.executable, "-c", PROBE, room, *HEAVY]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stderr.splitlines()[-1])
    assert seen == {"code": 0, "loaded": []}, f"{room} --help; python -X importtime -m {room} --help shows who"
    assert "Usage" in done.stdout, f"{room} --help printed no usage"
