"""Every shell block of the README and of docs/ is run as it stands, or says why not."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.docs.blocks import Block, BlockError, of_page, of_repository

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = of_repository(ROOT)
#: A guard against a command that hangs, on a machine however loaded.
LIMIT_S = 900
#: Of the words of the output that a page shows, so many must come; the rest are names of a machine or its moods.
SAME_WORDS = 0.8
#: Folders a command reads, as links; calibrations are copied, for commands write there.
READ = ("scenarios", "docs", "tests", "benchmarks", "models", "Makefile", "pyproject.toml")


def _parameter(block: Block) -> object:
    marks = [getattr(pytest.mark, mark) for mark in block.marks]
    if block.not_run is not None:
        marks.append(pytest.mark.skip(reason=f"{block.page}:{block.line}: {block.not_run}"))
    missing = [name for name in block.needs if importlib.util.find_spec(name) is None]
    if missing:
        marks.append(pytest.mark.skip(reason=f"{block.page}:{block.line}: {', '.join(missing)} not installed"))
    return pytest.param(block, marks=marks, id=f"{block.page}:{block.line}")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder that looks like the repository to a command; what it writes stays there."""
    folder = tmp_path / "weir"
    folder.mkdir()
    for name in READ:
        if (ROOT / name).exists():
            (folder / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "calibrations", folder / "calibrations", ignore=shutil.ignore_patterns("*.local.json"))
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, words in {"python": "", "weir": "-m weir"}.items():
        script = commands / name
        script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {words} "$@"\n')
        script.chmod(0o755)
    return folder


def _environment(place: Path) -> dict[str, str]:
    found = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "COLUMNS")}
    return {
        **found,
        "PATH": f"{place.parent / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYTHONSAFEPATH": "1",  # rooms come from the repository, not through the links
    }


def _run(script: str, place: Path) -> tuple[int, str]:
    command = ["bash", "-eo", "pipefail", "-c", script]
    done = subprocess.run(
        command,
        cwd=place,
        env=_environment(place),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_S,
    )
    return done.returncode, done.stdout


def _interrupted(script: str, until: str, place: Path) -> tuple[int, str]:
    """Runs it until it says something, and interrupts it as Ctrl-C does."""
    process = subprocess.Popen(
        ["bash", "-c", f"exec {script}"],
        cwd=place,
        env=_environment(place),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    said = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if until in line:
                break
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=LIMIT_S)
        return process.returncode, "".join(said) + rest
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.mark.parametrize("block", [_parameter(block) for block in BLOCKS])
def test_a_block_of_a_page(block: Block, place: Path) -> None:
    for command in block.before:
        code, said = _run(command, place)
        assert code == 0, f"{block.page}:{block.line}: before it, {command} ended with {code}:\n{said}"
    began = time.monotonic()
    run = _run(block.script, place) if block.until is None else _interrupted(block.script, block.until, place)
    code, said = run
    assert code in block.exit_codes, (
        f"{block.page}:{block.line}: ended with {code} after {time.monotonic() - began:.0f} s:\n{said[-4000:]}"
    )
    missing = words(block.output) - words(said.splitlines())
    allowed = (1 - SAME_WORDS) * len(words(block.output))
    assert len(missing) <= allowed, f"{block.page}:{block.line}: shows {sorted(missing)}, printed was:\n{said[-4000:]}"


def words(lines: tuple[str, ...] | list[str]) -> set[str]:
    """The words of an output, without numbers, frames and what a page leaves out by `...`."""
    kept = [re.sub(r"\S*\.\.\.\S*", " ", line) for line in lines]
    return {word for line in kept for word in re.findall(r"[A-Za-z][A-Za-z-]{2,}", line)}


def test_pages_have_blocks() -> None:
    assert {block.page for block in BLOCKS} >= {"README.md", "docs/planner.md", "docs/statistics.md"}
    assert all(block.commands for block in BLOCKS)


def test_a_block_that_is_wrong_is_seen(place: Path) -> None:
    (block,) = of_page("a.md", "Text.\n\n    python -m sim runn a.yaml\n")
    assert _run(block.script, place)[0] != 0
    assert words(["│ throughput /s │ 12 │"]) - words(["┃ thruput /s ┃"]) == {"throughput"}


def test_which_blocks_are_shell() -> None:
    page = """
    $ weir sim run a.yaml
    STABLE

A picture:

    sim -> python

```yaml
python: yes
```

<!-- run: slow; exit 3; with FILE = a.yaml; before true -->
```sh
weir sim run FILE
```

- a list
    python -m nothing
"""
    first, second = of_page("a.md", page)
    assert (first.commands, first.output) == (("weir sim run a.yaml",), ("STABLE",))
    assert (second.script, second.marks, second.exit_codes) == ("weir sim run a.yaml", ("slow",), (3,))
    assert second.before == ("true",)


@pytest.mark.parametrize(
    ("comment", "said"),
    [
        ("<!-- not run: -->\n\n    weir sim\n", "does not say why"),
        ("<!-- run: fast -->\n\n    weir sim\n", "'fast' is not understood"),
        ("<!-- run: slow -->\n\nText.\n", "no shell block follows"),
    ],
)
def test_a_comment_that_is_not_understood(comment: str, said: str) -> None:
    with pytest.raises(BlockError, match=said):
        of_page("a.md", comment)
