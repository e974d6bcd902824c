"""The one command: it leads to every room, and helps where it does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import weir

ROOT = Path(__file__).resolve().parents[2]


def called(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "weir", *arguments], cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("room", weir.ROOMS)
def test_every_room_is_a_command(room: str) -> None:
    found = called(room, "--help")
    assert found.returncode == 0, found.stderr
    assert f"Usage: weir {room}" in found.stdout


def test_every_room_with_a_command_is_one() -> None:
    assert set(weir.ROOMS) == {path.parent.name for path in ROOT.glob("*/__main__.py")} - {"benchmarks"}


def test_its_own_help() -> None:
    assert all(f"  {room}" in called("--help").stdout for room in weir.ROOMS)
    assert called().returncode == weir.EXIT_USAGE


def test_a_word_it_does_not_know() -> None:
    found = called("simulate")
    assert found.returncode == weir.EXIT_USAGE
    assert found.stderr == (
        "weir: no command 'simulate'. There are: scenarios, models, sim, real, calibration, analysis.\n"
    )
    assert "did you mean 'scenarios'?" in called("scenario", "list").stderr


def test_exit_codes_are_the_rooms_own() -> None:
    found = called("sim", "run", "no-such-file.yaml")
    assert found.returncode == weir.EXIT_USAGE
    assert "no-such-file.yaml" in found.stderr
