"""Words that no tracked file may hold: paths of somebody's machine, addresses of registries, issue numbers."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Written in pieces, so that this file does not hold them.
HOSTS = (
    *("pypi" + ".org", "python" + "hosted.org", "repo.maven" + ".apache.org", "repo1.maven" + ".org"),
    *("registry.npm" + "js.org", "crates" + ".io", "anaconda" + ".org", "docker" + ".io", "ghcr" + ".io"),
)
FORBIDDEN = {
    "a path of somebody's machine": re.compile(r"(?<![\w.~-])/(?:" + "work|root|home" + r")/"),
    "the address of a registry": re.compile("|".join(re.escape(host) for host in HOSTS)),
    "the number of an issue": re.compile(r"\bissue" + r" #", re.IGNORECASE),
}


def tracked() -> list[Path]:
    """Tracked files, and new ones that git does not ignore."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: which files are tracked is not known")
    command = [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]


def offences(text: str) -> list[tuple[int, str]]:
    return [
        (number, what)
        for number, line in enumerate(text.splitlines(), 1)
        for what, pattern in FORBIDDEN.items()
        if pattern.search(line)
    ]


def test_no_tracked_file_holds_a_forbidden_word() -> None:
    broken = []
    for path in tracked():
        content = path.read_bytes()
        if b"\0" in content[:8192]:
            continue  # binary
        text = content.decode("utf-8", errors="replace")
        broken += [f"{path.relative_to(ROOT)}:{number}: {what}" for number, what in offences(text)]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(
    "text",
    ["see /" + "home/ann/x", "cwd='/" + "work/main'", "--index-url https://" + HOSTS[0] + "/simple", "Issue" + " #12"],
)
def test_the_test_sees_a_forbidden_word(text: str) -> None:
    assert offences(text)


@pytest.mark.parametrize("text", ["homework/root/x", "example.com/home/", "the root / the work", "an issue"])
def test_the_test_lets_plain_words_pass(text: str) -> None:
    assert not offences(text)
