"""The locks: name==version with hashes, no address, and they hold what pyproject.toml asks for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PIN = re.compile(r"^([a-z0-9-]+)==[\w.+!-]+( ; [^\\]+)? \\$")
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}( \\)?$")
LOCKS = {"requirements.lock": (), "requirements-dev.lock": ("dev",)}


def read(lock: str) -> dict[str, set[str]]:
    """Each pinned line (name, version, marker) and its hashes; any other line fails the test."""
    pins: dict[str, set[str]] = {}
    pin = None
    for number, line in enumerate((ROOT / lock).read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("#"):
            continue
        if PIN.match(line):
            pin = line.removesuffix(" \\")
            pins[pin] = set()
        elif HASH.match(line) and pin is not None:
            pins[pin].add(line.strip().removesuffix(" \\"))
        else:
            pytest.fail(f"{lock}:{number}: expected a pin or its hash, got {line!r}")
    return pins


def names(pins: dict[str, set[str]]) -> set[str]:
    return {pin.split("==")[0] for pin in pins}


@pytest.mark.parametrize("lock", LOCKS)
def test_each_pin_has_its_hashes(lock: str) -> None:
    assert [pin for pin, hashes in read(lock).items() if not hashes] == []


@pytest.mark.parametrize(("lock", "extras"), LOCKS.items())
def test_the_lock_holds_what_the_project_asks_for(lock: str, extras: tuple[str, ...]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"]]
    for extra in extras:
        asked += project["optional-dependencies"][extra]
    wanted = {re.split(r"[^\w.-]", name)[0].lower().replace(".", "-").replace("_", "-") for name in asked}
    assert wanted - names(read(lock)) == set(), "run `make lock`"


def test_both_locks_pin_the_same_versions() -> None:
    base, dev = read("requirements.lock"), read("requirements-dev.lock")
    assert base.items() <= dev.items(), "run `make lock`"
