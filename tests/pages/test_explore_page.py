"""The explore page in a real browser: moved, typed into, read, copied from, in both themes and on a narrow screen."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from scenarios.load import load
from tests.pages.chromium import CACHE
from tests.pages.conftest import ROOT, Watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

STATIC = ROOT / "sim" / "explore" / "static"


@pytest.fixture
def watched(browser: Browser, address: str) -> Iterator[Watched]:
    """The page as it is opened, its first full run shown."""
    found = Watched(browser, origin=address.rstrip("/"))
    found.page.goto(address)
    full(found.page)
    yield found
    assert found.errors == []
    assert [url for url in found.asked if not url.startswith((address, "blob:", "data:"))] == []
    found.context.close()


def full(page: Page) -> None:
    page.wait_for_selector(".badge.full")


def previews(page: Page) -> int:
    return int(page.get_attribute("body", "data-previews") or 0)


def type_into(page: Page, field: str, text: str) -> None:
    """Types and leaves the field; returns when a preview of it was drawn."""
    before = previews(page)
    page.fill(field, text)
    page.press(field, "Tab")
    page.wait_for_function("before => Number(document.body.dataset.previews) > before", arg=before)


def slider(key: str) -> str:
    return f'[data-key="{key}"] input[type=range]'


def test_a_slider_moved_by_keyboard_shows_a_preview_then_the_full_run(watched: Watched) -> None:
    page = watched.page
    type_into(page, "#workload-seed", "11")  # what was not asked before, so the full run takes its time
    before = previews(page)
    page.focus(slider("engine.parallelism"))
    page.keyboard.press("PageUp")
    page.wait_for_function("before => Number(document.body.dataset.previews) > before", arg=before)
    assert page.input_value("#engine-parallelism") != "1"
    assert "preview: " in page.inner_text("#horizon")
    assert "of 60 s of load; the full run is under way" in page.inner_text("#horizon")
    full(page)
    assert "full run: 60 s of load, 1,800,000 records" in page.inner_text("#horizon")
    assert page.inner_text("#off").startswith("The preview (")
    assert "was off by at most" in page.inner_text("#off")
    shown = page.locator("#figures tbody tr").first.locator("td").all_inner_texts()
    assert all(text not in ("", "…") for text in shown)
    assert page.locator("#tried tbody tr").count() >= 2


def test_every_step_of_the_keyboard_moves_on(watched: Watched) -> None:
    page = watched.page
    page.focus(slider("engine.parallelism"))
    seen = [1]
    for _ in range(12):
        page.keyboard.press("ArrowRight")
        seen.append(int(page.input_value("#engine-parallelism")))
    assert seen == sorted(set(seen))
    page.keyboard.press("Home")
    assert page.input_value("#engine-parallelism") == "1"


def test_a_slider_move_is_previewed_at_once(watched: Watched, record_property: Any) -> None:
    """How long a preview takes is told, not judged: that is the machine's business."""
    page = watched.page
    page.focus(slider("engine.parallelism"))
    for _ in range(15):
        before = previews(page)
        page.keyboard.press("PageUp" if before % 2 else "ArrowRight")
        page.wait_for_function("before => Number(document.body.dataset.previews) > before", arg=before)
    times = page.evaluate("state.times")[-15:]
    record_property("preview_ms_median", statistics.median(times))
    print(f"from the slider's move to the preview drawn: median {statistics.median(times):.0f} ms of {sorted(times)}")
    assert all(0 < each < 60_000 for each in times)
    page.wait_for_function("() => /; drawn after [0-9]+ ms/.test(document.getElementById('horizon').innerText)")


def test_typing_is_as_good_and_a_mistake_is_told_at_its_control(watched: Watched) -> None:
    page = watched.page
    type_into(page, "#workload-arrival-rate", "250")
    full(page)
    assert "15,000 records" in page.inner_text("#horizon")
    page.fill("#engine-parallelism", "0")
    page.press("#engine-parallelism", "Enter")
    page.wait_for_selector("#wrong:not([hidden])")
    assert "engine.parallelism" in page.inner_text("#wrong")
    assert page.locator('[data-key="engine.parallelism"][data-wrong]').count() == 1
    type_into(page, "#engine-parallelism", "2")
    assert page.is_hidden("#wrong")
    full(page)


def test_an_slo_is_a_line_and_a_price_is_a_cost(watched: Watched) -> None:
    page = watched.page
    type_into(page, "#workload-arrival-rate", "250")
    type_into(page, "#slo-latency_p99", "60")
    full(page)
    assert "met: p99 <= 60 ms, predicted" in page.inner_text("#slo")
    assert "SLO" in page.inner_text("#latency .u-legend")
    type_into(page, "#slo-latency_p99", "1")
    full(page)
    assert "broken: p99 <= 1 ms" in page.inner_text("#slo")
    before = previews(page)
    page.fill("#price", "2.5")
    assert page.inner_text("#cost").startswith("2.50 an hour for 1 worker, ")
    assert previews(page) == before  # a price is no question to the simulator
    assert "%" in page.inner_text("#bottleneck")


def test_engine_and_serving_bring_their_own_controls(watched: Watched) -> None:
    page = watched.page
    type_into(page, "#workload-arrival-rate", "250")
    assert page.is_hidden("#serving-workers")
    page.select_option("#serving-kind", "external")
    assert page.is_visible("#serving-workers")
    page.wait_for_function("() => document.getElementById('busy').innerText.includes('server')")
    page.select_option("#serving-kind", "embedded")
    page.select_option("#engine-kind", "kafka-streams")
    page.wait_for_selector("#notes:not([hidden])")
    assert "is taken instead" in page.inner_text("#notes")
    full(page)


def test_the_scenario_is_copied_as_yaml_and_plots_as_data(watched: Watched, tmp_path: Path) -> None:
    page = watched.page
    type_into(page, "#workload-arrival-rate", "250")
    full(page)
    page.click("#copy")
    page.wait_for_function("() => document.getElementById('copy').innerText === 'Copied'")
    (tmp_path / "copied.yaml").write_text(page.evaluate("navigator.clipboard.readText()"))
    assert load(tmp_path / "copied.yaml").workload.arrival.rate_per_s == 250
    with page.expect_download() as download:
        page.click("#save")
    assert load(download.value.path()).workload.arrival.rate_per_s == 250
    with page.expect_download() as download:
        page.click('a[data-of="rates"]')
    assert download.value.suggested_filename == "scalability-rates.csv"
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    assert list(rows[0]) == ["seconds", "offered", "out"]
    assert all(abs(float(row["offered"]) - 250) < 3 for row in rows)
    page.click("details summary")
    assert "--set 'workload.arrival.rate=250 /s'" in page.inner_text("#command")


def test_settings_live_in_the_address_and_presets_begin_anew(watched: Watched) -> None:
    page = watched.page
    type_into(page, "#workload-arrival-rate", "250")
    page.reload()
    full(page)
    assert page.input_value("#workload-arrival-rate") == "250"
    page.select_option("#preset", "bursty/debug.yaml")
    page.wait_for_function("() => document.getElementById('name').innerText === 'bursty-debug'")
    page.wait_for_selector("#tried tbody tr")  # its own first full run: the badge may be of the one before
    assert page.input_value("#workload-arrival-rate") == "50"
    type_into(page, "#engine-parallelism", "2")
    full(page)
    page.wait_for_function("() => document.querySelectorAll('#tried tbody tr').length === 2")
    page.click("#tried tbody tr:nth-child(2) button")
    page.wait_for_function("() => document.getElementById('engine-parallelism').value === '1'")
    page.click("#reset")
    full(page)


def test_all_of_it_is_reached_by_keyboard_and_named(watched: Watched) -> None:
    page = watched.page
    nameless = page.evaluate(
        "[...document.querySelectorAll('input, select, button')].filter(e => !e.disabled && !e.hidden && "
        "!(e.labels?.length || e.ariaLabel || e.innerText)).map(e => e.outerHTML)"
    )
    assert nameless == []
    page.focus("#preset")
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert {"workload-arrival-rate", "engine-kind", "price", "reset", "copy", "save", "csv"} <= set(reached)
    assert page.evaluate("[...document.querySelectorAll('.plots [role=img]')].every(e => e.ariaLabel)")


@pytest.mark.parametrize("dark", [False, True])
def test_light_and_dark_wide_and_narrow(browser: Browser, address: str, tmp_path: Path, *, dark: bool) -> None:
    for width in (1360, 400):
        found = Watched(browser, dark=dark, width=width)
        found.page.goto(address)
        full(found.page)
        assert found.background() == ("rgb(20, 24, 29)" if dark else "rgb(255, 255, 255)")
        assert not found.overflows()
        picture = found.page.screenshot(full_page=True, path=tmp_path / f"explore-{dark}-{width}.png")
        assert picture.startswith(b"\x89PNG")
        inked = found.page.evaluate(
            "[...document.querySelectorAll('.plots canvas')].map(c => new Set(c.getContext('2d')"
            ".getImageData(0, 0, c.width, c.height).data).size)"
        )
        assert len(inked) == 4
        assert min(inked) > 8  # colours: something was drawn
        assert found.errors == []
        found.context.close()


@pytest.mark.parametrize("name", ["uPlot.iife.min.js", "uPlot.min.css"])
def test_the_bundled_plotting_library_is_the_published_one(name: str) -> None:
    fetched = sorted(CACHE.glob(f"*/{name}"))
    if not fetched:
        pytest.skip("nothing to compare with: no Chromium was fetched by npm")
    assert (STATIC / "uplot" / name).read_bytes() == fetched[-1].read_bytes()
