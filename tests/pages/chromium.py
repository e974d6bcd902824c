"""A Chromium for the tests: the one named, one that is installed, or one fetched by npm as `package-lock.json` says.

What npm brings is packed; it is unpacked once into `.cache/chromium` of the checkout (220 MB), whole or not at all.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = HERE.parents[1] / ".cache" / "chromium"
#: Says which program to take.
VARIABLE = "WEIR_CHROMIUM"
INSTALLED = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome", "google-chrome-stable")
_FETCH_S = 600

UNPACK = """
const {brotliDecompressSync} = require("zlib"), fs = require("fs");
for (const [from, to] of JSON.parse(process.argv[1])) fs.writeFileSync(to, brotliDecompressSync(fs.readFileSync(from)));
"""


class NoChromiumError(Exception):
    """There is none and none can be had; the message says why."""


def find() -> Path:
    """The program.

    Raises:
        NoChromiumError: There is none.
    """
    named = os.environ.get(VARIABLE)
    if named:
        if not os.access(named, os.X_OK):
            raise NoChromiumError(f"{VARIABLE} is {named}, which cannot be run")
        return Path(named)
    for name in INSTALLED:
        found = shutil.which(name)
        if found:
            return Path(found)
    place = CACHE / _version() / "chromium"
    if not place.exists():
        _fetch(place.parent)
    return place


def environment(program: Path) -> dict[str, str]:
    """What the fetched one needs where the system lacks it: its libraries, its fonts."""
    here = dict(os.environ)
    libraries, fonts = program.parent / "lib", program.parent / "fonts.conf"
    if libraries.is_dir() and "not found" in _said(["ldd", str(program)]):
        here["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, (str(libraries), here.get("LD_LIBRARY_PATH"))))
    if fonts.is_file() and not any(Path("/usr/share/fonts").rglob("*.[to]tf")):
        here["FONTCONFIG_PATH"] = str(fonts.parent)
    return here


def _said(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True).stdout if shutil.which(command[0]) else ""


def _version() -> str:
    packages = json.loads((HERE / "package.json").read_text(encoding="utf-8"))["devDependencies"]
    return str(packages["@sparticuz/chromium"])


def _fetch(place: Path) -> None:
    missing = [tool for tool in ("npm", "node") if shutil.which(tool) is None]
    if missing:
        raise NoChromiumError(
            f"needs a Chromium; none is installed, and to fetch one {' and '.join(missing)} is missing"
        )
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix=".fetch-") as folder:
        work = Path(folder)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, work)
        _run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], work)
        packed, whole = work / "node_modules" / "@sparticuz" / "chromium" / "bin", work / "whole"
        whole.mkdir()
        pairs = [(str(packed / f"{name}.br"), str(whole / name)) for name in ("chromium", "al2023.tar", "fonts.tar")]
        _run(["node", "-e", UNPACK, json.dumps(pairs)], work)
        for name in ("al2023.tar", "fonts.tar"):
            with tarfile.open(whole / name) as tar:
                tar.extractall(whole, filter="data")
            (whole / name).unlink()
        (whole / "chromium").chmod(0o755)
        for name in ("uPlot.iife.min.js", "uPlot.min.css"):
            shutil.copy(work / "node_modules" / "uplot" / "dist" / name, whole)
        try:
            whole.rename(place)
        except OSError:  # another session was first
            if not (place / "chromium").exists():
                raise


def _run(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_FETCH_S)
    except subprocess.TimeoutExpired:
        raise NoChromiumError(f"needs a Chromium; {command[0]} did not bring one within {_FETCH_S} s") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise NoChromiumError(f"needs a Chromium; {' '.join(command[:2])} failed: {last}")
