"""Tables, plots and the report: the values are there, and nothing is loaded from elsewhere."""

from __future__ import annotations

import dataclasses
import html.parser
import json
import math
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis import text
from analysis.plots import Sample, curves, stages
from analysis.report import check_sample, offered, report, run_samples
from analysis.runs import RunError, read_run, write_run
from analysis.tables import check_table, run_table, sweep_table
from analysis.verdict import evaluate
from scenarios.load import resolved
from scenarios.spec import Engine

Make = Callable[..., Any]

ROW: dict[str, Any] = {
    "kind": "rate",
    "parallelism": 2,
    "rate_per_s": 200.0,
    "metric": "latency_p50",
    "predicted": 4.321,
    "predicted_lo": 3.9,
    "predicted_hi": 4.8,
    "measured": 4.7,
    "repeats": [4.6, 4.7, 5.1],
    "error": math.log(4.7 / 4.321),
    "signed": math.log(4.321 / 4.7),
    "ceiling": 0.05,
    "utilisation": 0.61,
    "band": "below 0.7",
    "scored": True,
    "ok": True,
}
DRAIN = ROW | {
    "kind": "drain",
    "rate_per_s": None,
    "metric": "drain_throughput_per_s",
    "predicted": 1234.0,
    "ceiling": None,
    "utilisation": None,
    "scored": False,
    "ok": None,
}


@pytest.fixture
def runs(tmp_path: Path, make_paced: Make, make_scenario: Make, make_meta: Make) -> list[Path]:
    paths: list[Path] = []
    for backend, parallelism, rate, delay in [
        ("sim", 1, 100, 4.0),
        ("sim", 1, 200, 6.0),
        ("sim", 2, 200, 5.0),
        ("real", 1, 200, 7.0),
        ("real", 1, 200, 9.0),
        ("sim", 1, 300, 6.0),
    ]:
        scenario = dataclasses.replace(make_scenario(rate, 20, warmup=5), engine=Engine(parallelism=parallelism))
        records = make_paced(rate, 20, delay_ms=delay, served=220.0 if rate == 300 else None)
        name = f"run-{len(paths)}"
        found = evaluate(scenario, records)
        paths.append(
            write_run(tmp_path, make_meta(name, backend=backend, scenario=resolved(scenario), **found), records)
        )
    return paths


class _Balance(html.parser.HTMLParser):
    """Every element that needs an end has one, in order; and what is loaded."""

    VOID = frozenset({"meta", "br", "link", "img", "input", "hr"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self.loaded += [
            v for k, v in attrs if v and (k == "src" or k.endswith("href")) and not v.startswith(("#", "data:text/csv"))
        ]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_report_holds_the_tables_and_loads_nothing(tmp_path: Path, runs: list[Path]) -> None:
    out = report(runs, [ROW, DRAIN], tmp_path / "deep" / "report.html")
    page = out.read_text(encoding="utf-8")
    balance = _Balance()
    balance.feed(page)
    assert balance.open == []
    assert balance.loaded == []
    assert not re.search(r"https?://|@import|url\((?!#)", page)
    assert "prefers-color-scheme: dark" in page
    assert page.count("<svg") == 7 + 6 * 3 + 2  # figures and stages; of each run three; residuals
    assert page.count("<a download") == page.count("<svg")
    for value in ("run-5", "OVERLOADED", "STABLE", "lag grows by", "4.32 (3.9 to 4.8)", "4.6, 4.7, 5.1", "not scored"):
        assert value in page
    assert "-8.8 %" in page  # 4.321 against 4.7
    assert "5.1 %" in page  # the ceiling
    assert "<td>4,000</td>" in page  # accounting of a run of 200 /s
    assert "&#34;rate&#34;: &#34;300 /s&#34;" in page  # the scenario
    for stage in ("created to sent", "acked to out_appended"):
        assert stage in page
    assert [p.name for p in out.parent.iterdir()] == ["report.html"]


def test_a_report_of_runs_alone_and_of_a_check_alone(tmp_path: Path, runs: list[Path]) -> None:
    assert "Check of predictions" not in report(runs[:1], None, tmp_path / "a.html").read_text()
    only = report([], [ROW], tmp_path / "b.html").read_text()
    assert "Verdicts" not in only
    assert "200 /s, parallelism 2" in only
    with pytest.raises(ValueError, match="nothing to report"):
        report([], [], tmp_path / "c.html")
    with pytest.raises(RunError, match="no such run"):
        report([tmp_path / "none"], None, tmp_path / "c.html")


def test_what_is_in_a_run_is_text_not_markup(
    tmp_path: Path, make_paced: Make, make_meta: Make, make_scenario: Make
) -> None:
    evil = make_meta("evil", name="<script>alert(1)</script>", scenario=resolved(make_scenario()))
    evil["verdict_reason"] = "[red]<b>x</b>"
    page = report([write_run(tmp_path, evil, make_paced())], None, tmp_path / "r.html").read_text()
    assert "<script" not in page
    assert "<b>" not in page
    assert "[red]<b>x</b>" in _printed(run_table(evil))


def test_an_unfinished_run_is_reported_as_invalid(tmp_path: Path, make_meta: Make) -> None:
    from analysis.runs import RunWriter

    writer = RunWriter(tmp_path, "half")
    writer.begin(make_meta("half"))
    page = report([writer.abandon()], None, tmp_path / "r.html").read_text()
    assert "INVALID" in page
    assert "did not complete" in page


def test_runs_become_samples(runs: list[Path]) -> None:
    samples = {(s.metric, s.parallelism, s.rate_per_s): s for s in run_samples(read_run(p).meta for p in runs)}
    both = samples["latency_acked_ms_p50", 1, 200.0]
    assert both.predicted == pytest.approx(7.0)
    assert both.lo is None
    assert list(both.measured) == pytest.approx([8.0, 10.0])
    assert samples["throughput_per_s", 1, 300.0].predicted == pytest.approx(220, rel=0.01)
    assert check_sample(ROW).metric == "latency_acked_ms_p50"
    assert check_sample(DRAIN).rate_per_s is None


def test_the_rate_of_a_run_is_its_scenarios(make_meta: Make) -> None:
    run = make_meta("r", metrics={"offered_per_s": 99.3})
    assert offered(run) == 100.0
    run["scenario"]["workload"]["arrival"] = {"kind": "trace"}
    assert offered(run) == 99.0
    assert offered(make_meta("r", metrics={"offered_per_s": None})) is None


@pytest.mark.parametrize("values", [(), (0.0,), (5.0, 4.0e4)])
def test_plots_take_what_there_is(values: tuple[float, ...]) -> None:
    one = Sample("latency_acked_ms_p50", "rate", 1, 100.0, measured=values)
    svg = curves({"a & b": [(100.0, one)]}, xlabel="x", ylabel="<y>", log_y=True, integer_x=True)
    assert svg.startswith("<svg viewBox=")
    assert "http" not in svg
    assert "currentColor" in svg
    assert "#010203" not in svg
    assert stages({"r": {"created-sent": None, "sent-appended": -0.5}}).count("<svg") == 1


def test_the_same_plot_is_the_same_text() -> None:
    one, two = (stages({"r": {"created-sent": 1.0, "sent-appended": 0.5}}) for _ in range(2))
    assert one == two


def _printed(table: Any) -> str:
    from rich.console import Console

    console = Console(width=200, record=True, quiet=False, file=Path("/dev/null").open("w"))  # noqa: SIM115
    with console.file:
        console.print(table)
    return console.export_text()


def test_terminal_tables(runs: list[Path]) -> None:
    metas = [read_run(p).meta for p in runs]
    one = _printed(run_table(metas[0]))
    for value in ("run-0", "STABLE", "offered /s", "scored", "2,000"):
        assert value in one
    assert "drain" not in one
    sweep = _printed(sweep_table([({"engine.parallelism": 1, "[x]": i}, m) for i, m in enumerate(metas)], "title"))
    for value in ("title", "engine.parallelism", "[x]", "OVERLOADED", "throughput /s"):
        assert value in sweep
    assert "drain" not in sweep
    check = _printed(check_table([ROW, ROW | {"ok": False}, DRAIN]))
    for value in ("200 /s, parallelism 2", "drain, parallelism 2", "above its bound", "not scored", "-8.8 %", "0.61"):
        assert value in check


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "-"),
        (math.nan, "-"),
        (0.0, "0"),
        (0.012345, "0.0123"),
        (1.0, "1"),
        (12.345, "12.3"),
        (100.0, "100"),
        (999.6, "1,000"),
        (12345.6, "12,346"),
        (-2.5, "-2.5"),
        (1e-7, "1.00e-07"),
        (math.inf, "inf"),
    ],
)
def test_numbers(value: float | None, expected: str) -> None:
    assert text.number(value) == expected


def test_percentages() -> None:
    assert text.percent(None) == "-"
    assert text.percent(math.log(1.5), 0.1) == "+50 %"
    assert text.percent(math.log(1.05), -0.1) == "-5.0 %"
    assert text.percent(0.0, 0.0) == "0.0 %"


def _call(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "analysis", *args], capture_output=True, text=True)


def test_command_line(tmp_path: Path, runs: list[Path]) -> None:
    shown = _call("show", str(runs[0]), "--json")
    assert shown.returncode == 0
    assert json.loads(shown.stdout)["verdict"] == "STABLE"
    assert "STABLE" in _call("show", str(runs[0])).stdout
    check = tmp_path / "check.json"
    check.write_text(json.dumps({"rows": [ROW]}))
    made = _call("report", *map(str, runs[:2]), "--check", str(check), "-o", str(tmp_path / "r.html"))
    assert (made.returncode, made.stdout.strip()) == (0, str(tmp_path / "r.html"))
    assert "Check of predictions" in (tmp_path / "r.html").read_text()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("show", "nowhere"), "nowhere: no such run"),
        (("report",), "nothing to report"),
        (("report", "--check", "nowhere.json"), "nowhere.json: cannot be read"),
        (("report", "--check", "{bad}"), "expected a list of rows"),
    ],
)
def test_wrong_use_is_exit_code_2(tmp_path: Path, args: tuple[str, ...], message: str) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text("[1]")
    found = _call(*(a.format(bad=bad) for a in args))
    assert (found.returncode, found.stdout) == (2, "")
    assert message in found.stderr
    assert "Traceback" not in found.stderr


def test_help_is_light() -> None:
    heavy = {"numpy", "pandas", "matplotlib", "pyarrow", "jinja2"}
    script = f"import sys, analysis.__main__; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.strip() == "[]"
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        assert _call("--help").returncode == 0
        times.append(time.perf_counter() - begun)
    assert min(times) < 2.0  # the modules above are what counts; a busy machine is slow at everything
