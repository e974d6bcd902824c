"""The engine that docs/engines/your-own.md writes: installed as the page says, it runs alike on both executors."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "engines" / "your-own.md"
FILES = {"python": "my_engine.py", "yaml": "dealer.yaml", "toml": "pyproject.toml"}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The page's blocks as files, and the entry point as an installer would write it."""
    for language, name in FILES.items():
        (block,) = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
        (tmp_path / name).write_text(block)
    group, line = re.findall(r'entry-points\."(.+)"\]\n(.+)\n', (tmp_path / "pyproject.toml").read_text())[0]
    installed = tmp_path / "mine-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(f"[{group}]\n{line.replace(chr(34), '')}\n")
    return tmp_path


def simulated(package: Path, *options: str) -> list[dict[str, float]]:
    found = subprocess.run(
        [sys.executable, "-m", "sim", *options, "--json"],
        cwd=package,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(package)))},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr
    told = [json.loads(line) for line in found.stdout.splitlines()]
    return told[0] if isinstance(told[0], list) else told


def test_the_engine_of_the_page(package: Path) -> None:
    code = (package / "my_engine.py").read_text().splitlines()
    assert sum(bool(line) and "import" not in line for line in code) <= 22
    swept = simulated(package, "sweep", "dealer.yaml", "-o", "runs")
    assert len(swept) == 3
    (loop,) = simulated(package, "run", "dealer.yaml", "-o", "runs")
    (reference,) = simulated(package, "run", "dealer.yaml", "-o", "runs", "--backend", "simpy")
    different = {"path", "run", "id", "timing", "backend", "started"}
    assert {k: v for k, v in loop.items() if k not in different} == {
        k: v for k, v in reference.items() if k not in different
    }
