"""A real headless Chromium; where none can be had, every test of a page skips and says why."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.pages import chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[2]
START_S = 300.0  # the first server may compile the loop
WAIT_MS = 120_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The browser; its driver keeps an event loop in this thread, which tests elsewhere must not find running."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs a browser's driver: pip install playwright")
    try:
        program = chromium.find()
    except chromium.NoChromiumError as error:
        pytest.skip(str(error))
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(
            executable_path=str(program),
            env=chromium.environment(program),
            args=["--no-sandbox", "--disable-gpu"],  # the pages are our own; a container has no sandbox
        )
        yield found
        found.close()


class Watched:
    """A page of its own context, and what went wrong on it."""

    def __init__(self, browser: Browser, *, dark: bool = False, width: int = 1360, origin: str | None = None) -> None:
        self.context = browser.new_context(
            color_scheme="dark" if dark else "light",
            viewport={"width": width, "height": 1000},
            accept_downloads=True,
        )
        if origin:
            self.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=origin)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.errors: list[str] = []
        self.asked: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.page.on("request", lambda request: self.asked.append(request.url))

    def background(self) -> Any:
        return self.page.evaluate("getComputedStyle(document.body).backgroundColor")

    def overflows(self) -> bool:
        return bool(self.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where `sim explore` serves the large scalability scenario."""
    command = [sys.executable, "-m", "sim", "explore", "scenarios/scalability.yaml"]
    said = tmp_path_factory.mktemp("explore") / "stderr"
    with said.open("wb") as errors:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True)
    assert process.stdout is not None
    with process.stdout:
        timer = threading.Timer(START_S, process.kill)
        timer.start()
        found = process.stdout.readline().strip()
        timer.cancel()
        yield found
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    lines = said.read_text().splitlines()
    assert [line for line in lines if line != "interrupted" and not line.startswith("compiling")] == []
