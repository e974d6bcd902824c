"""docs/exit-codes.md, line by line: each command that it names ends with the code that it names."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "exit-codes.md"
LINES = re.findall(r"^\| `([^`]+)` \| (\d+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
#: Where the files lie that the page names without a folder.
FOLDERS = {"toy.yaml": "plan", "graph.yaml": "engines"}
#: A short load: what a command ends with does not depend on how much it simulates.
SHORT = ("--set", "workload.duration=2 s", "--set", "workload.warmup=0 s")


def words_of(command: str, folder: Path) -> list[str]:
    room, name, *rest = shlex.split(command)
    words = []
    for word in rest:
        file = ROOT / "scenarios" / FOLDERS.get(word, "") / word
        words.append(str(file) if word.endswith(".yaml") and file.exists() else word)
    if room == "sim" and name in ("run", "sweep") and "first_light.yaml" in rest:
        words += ["-o", str(folder), *SHORT]
    return [room, name, *words]


def ended(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", "weir", *words]
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=600
    )


@pytest.mark.parametrize(("command", "code"), LINES, ids=[command for command, _ in LINES])
def test_a_line_of_the_page(command: str, code: str, tmp_path: Path) -> None:
    found = ended(*words_of(command, tmp_path), cwd=tmp_path)
    assert found.returncode == int(code), found.stdout[-2000:] + found.stderr
    assert "Traceback" not in found.stderr
    if code not in ("0", "1"):
        assert found.stderr.strip(), "says nothing"


def test_the_page_tries_every_code_that_a_command_can_be_brought_to() -> None:
    told = set(re.findall(r"^\| (\d+) \| ", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert told == {"0", "1", "2", "3", "4", "5", "130"}
    # 5 takes real runs or a whole zoo (tests/calibration, tests/models), 130 an interruption (below).
    assert told - {code for _, code in LINES} == {"5", "130"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_with_130(number: signal.Signals, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "weir", "sim", "explore", str(ROOT / "scenarios" / "demo.yaml")]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "http://" in line:
                break
        process.send_signal(number)
        rest, _ = process.communicate(timeout=120)
        assert process.returncode == 130, rest
    finally:
        process.kill()
        process.wait()
