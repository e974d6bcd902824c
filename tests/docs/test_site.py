"""The site is built from the repository: every page, the reference from commands and schema, nothing from a network."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from weir import ROOMS

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("mkdocs is not installed (the extra `docs`)")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_in_it(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")}
    missing = [str(page) for page in pages if not (site / page.with_suffix(".html")).exists()]
    assert [page for page in missing if Path(page).name != "README.md"] == []


def test_the_reference_has_every_command_and_setting(site: Path) -> None:
    commands = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    assert all(f">{room}</h2>" in commands for room in ROOMS)
    for words in ("sim run", "sim explain", "real run", "calibration check", "analysis compare", "scenarios schema"):
        assert f">{words}</h3>" in commands
    assert "--junit" in commands
    settings = (site / "reference" / "scenario.html").read_text(encoding="utf-8")
    assert all(f"<code>{key}</code>" in settings for key in ("parallelism", "partitions", "duration"))


def test_it_asks_no_other_machine(site: Path) -> None:
    for page in site.rglob("*.html"):
        loaded = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(?:https?:)?//([^"/]+)', page.read_text("utf-8"))
        assert loaded == [], page


@pytest.mark.parametrize("page", ["README.md", *(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md"))])
def test_links_of_a_page_lead_somewhere(page: str) -> None:
    path = ROOT / page
    told = re.sub(r"```.*?```|`[^`]*`", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    broken = [link for link in LINK.findall(told) if not (path.parent / link).exists()]
    assert broken == []
