"""The report in a real browser: both themes, a narrow screen, paper, and the data behind its plots."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from analysis.report import report
from tests.pages.conftest import ROOT, Watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHECK = {
    "kind": "rate",
    "parallelism": 1,
    "rate_per_s": 200.0,
    "metric": "latency_p99",
    "predicted": 12.0,
    "predicted_lo": 10.0,
    "predicted_hi": 15.0,
    "measured": 16.0,
    "repeats": [15.0, 16.0, 17.0],
    "error": 0.29,
    "signed": -0.29,
    "ceiling": 0.05,
    "utilisation": 0.1,
    "band": "below 0.7",
    "scored": True,
    "ok": False,
}


@pytest.fixture(scope="module")
def page_of_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on two simulated runs of different parallelism and a check."""
    folder = tmp_path_factory.mktemp("report")
    for parallelism in (1, 2):
        command = [sys.executable, "-m", "sim", "run", "scenarios/first_light.yaml", "-o", str(folder / "runs")]
        command += ["--set", f"engine.parallelism={parallelism}", "--set", "workload.duration=10 s"]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return report(sorted((folder / "runs").glob("2*")), [CHECK], folder / "report.html")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1360, 400])
def test_it_reads_on_any_screen(
    browser: Browser, page_of_runs: Path, width: int, *, dark: bool, tmp_path: Path
) -> None:
    found = Watched(browser, dark=dark, width=width)
    found.page.goto(page_of_runs.as_uri())
    assert found.background() == ("rgb(20, 24, 29)" if dark else "rgb(255, 255, 255)")
    assert not found.overflows()
    found.page.locator("details summary").nth(1).click()
    figures = found.page.locator("figure")
    assert figures.count() >= 9
    ink = found.page.evaluate("getComputedStyle(document.querySelector('figure svg text')).fill")
    assert ink == found.page.evaluate("getComputedStyle(document.body).color")
    # Text of a plot on a narrow screen is as large as on paper nearly: at least 6 px
    small = found.page.evaluate(
        "Math.min(...[...document.querySelectorAll('figure svg')].filter(s => s.clientWidth).map(s => "
        "s.clientWidth / s.viewBox.baseVal.width * 7))"
    )
    assert small >= 6.0
    assert found.page.screenshot(full_page=True, path=tmp_path / f"report-{dark}-{width}.png").startswith(b"\x89PNG")
    assert found.errors == []
    assert found.asked == [page_of_runs.as_uri()]
    found.context.close()


def test_a_plots_data_is_saved_from_the_page(browser: Browser, page_of_runs: Path) -> None:
    found = Watched(browser)
    found.page.goto(page_of_runs.as_uri())
    with found.page.expect_download() as download:
        found.page.locator("figure:has-text('Time-line') a[download]").first.click()
    assert download.value.suggested_filename.startswith("time-line-")
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    assert {"second", "latency_p50_ms", "offered_per_s", "in_the_system"} <= set(rows[0])
    found.context.close()


def test_it_prints(browser: Browser, page_of_runs: Path) -> None:
    found = Watched(browser, dark=True)
    found.page.goto(page_of_runs.as_uri())
    found.page.emulate_media(media="print", color_scheme="dark")
    assert found.background() == "rgb(255, 255, 255)"  # paper is light, whatever the screen was
    assert found.page.locator("a[download]").first.is_hidden()
    assert found.page.pdf(format="A4").startswith(b"%PDF")
    found.context.close()
