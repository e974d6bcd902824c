"""What is drawn of a run and of a check, by the data that the plots offer: small runs whose figures are known."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest

from analysis import residuals, run_figures, settings
from analysis.figures import Figure
from analysis.report import report
from analysis.runs import write_run
from analysis.verdict import evaluate
from scenarios.load import resolved

Make = Callable[..., Any]


def table(figure: Figure) -> list[dict[str, str]]:
    """The file that the page offers, read back."""
    head, comma, content = figure.link.partition(",")
    assert (head, comma) == ("data:text/csv;charset=utf-8", ",")
    return list(csv.DictReader(io.StringIO(unquote(content))))


def test_a_figures_data_is_a_file_that_reads_back() -> None:
    figure = Figure('A "quoted", title', "<svg/>", {"a, b": [1, 2.5], "c": [None, 'x "y"']}, of="run-1")
    assert figure.file == "a-quoted-title-run-1.csv"
    assert table(figure) == [{"a, b": "1", "c": ""}, {"a, b": "2.5", "c": 'x "y"'}]
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        Figure("t", "", {"a": [1, 2], "b": [1]}).csv()


def test_the_waterfall_ends_at_the_mean_latency(make_paced: Make, make_scenario: Make) -> None:
    records = make_paced(100, 20, delay_ms=4.0)
    found = run_figures.waterfall("r", make_scenario(100, 20, warmup=5), records)
    assert found is not None
    rows = table(found)
    assert [row["stage"] for row in rows][:2] == ["created to sent", "sent to appended"]
    begins = [float(row["begins_ms"]) for row in rows]
    ends = [float(row["begins_ms"]) + float(row["takes_ms"]) for row in rows]
    assert begins[0] == 0.0
    assert begins[1:] == pytest.approx(ends[:-1])
    whole = (records["acked"] - records["created"])[500:].mean() / 1e6
    assert ends[-1] == pytest.approx(whole)
    assert "currentColor" in found.svg


def test_the_time_line_counts_what_came_and_went(make_paced: Make, make_scenario: Make) -> None:
    found = run_figures.timeline("r", make_scenario(100, 40), make_paced(100, 40, served=50.0, drain_s=0.0))
    assert found is not None
    rows = table(found)
    assert [float(row["second"]) for row in rows] == list(range(1, 41))
    assert {float(row["offered_per_s"]) for row in rows} == {100.0}
    assert all(abs(float(row["out_per_s"]) - 50.0) <= 1.0 for row in rows[1:])
    lag = [int(row["in_the_system"]) for row in rows]
    assert lag[-1] == pytest.approx(50 * 40, rel=0.02)  # half of what comes stays
    assert float(rows[10]["latency_p50_ms"]) == pytest.approx(10_500, rel=0.02)  # the record due at 10.5 s goes at 21 s
    assert rows[-1]["latency_p50_ms"] == ""  # nothing of the last second was answered


@pytest.mark.parametrize("count", [3, 12])
def test_the_lag_of_partitions_sums_to_the_runs(make_paced: Make, make_scenario: Make, count: int) -> None:
    records, scenario = make_paced(100, 40, served=80.0), make_scenario(100, 40)
    records["partition"] = np.arange(len(records["created"])) % count
    found, line = (of("r", scenario, records) for of in (run_figures.partitions, run_figures.timeline))
    assert found is not None
    assert line is not None
    rows = table(found)
    assert list(rows[0]) == ["second", *(f"partition_{p}" for p in range(count))]
    sums = [sum(int(row[f"partition_{p}"]) for p in range(count)) for row in rows]
    assert sums == [int(row["in_the_system"]) for row in table(line)]
    assert ("the fullest" in found.svg) == (count == 12)


def test_what_a_run_does_not_have_is_not_drawn(make_paced: Make, make_scenario: Make) -> None:
    records = make_paced(100, 20)
    records["partition"][:] = -1
    drawn = [figure.title for figure in run_figures.figures("r", make_scenario(100, 20), records)]
    assert drawn == ["Where the time goes", "Time-line"]
    for stamp in ("fetched", "score_begin", "score_end", "produced", "acked", "out_appended"):
        records[stamp][:] = -1
    drawn = [figure.title for figure in run_figures.figures("r", make_scenario(100, 20), records)]
    assert drawn == ["Where the time goes", "Time-line"]  # as far as they went
    empty = {name: values[:0] for name, values in records.items()}
    assert run_figures.figures("r", make_scenario(100, 20), empty) == []


def test_residuals_stand_beside_the_ceiling() -> None:
    rows = [
        {"kind": "rate", "parallelism": 1, "rate_per_s": 200.0, "metric": "latency_p99", "signed": math.log(0.5)}
        | {"predicted": 5.0, "measured": 10.0, "ceiling": math.log(1.25)},
        {
            "kind": "drain",
            "parallelism": 2,
            "metric": "drain_throughput_per_s",
            "signed": math.log(1.1),
            "ceiling": None,
        },
        {"kind": "drain", "parallelism": 2, "metric": "loss", "signed": None},
    ]
    found = residuals.figures(rows)
    assert [figure.title for figure in found] == ["Residuals, latency", "Residuals, throughput"]
    one = table(found[0])[0]
    assert float(one["off_percent"]) == pytest.approx(-50.0)
    assert float(one["ceiling_low_percent"]) == pytest.approx(-20.0)
    assert float(one["ceiling_high_percent"]) == pytest.approx(25.0)
    assert table(found[1])[0]["ceiling_low_percent"] == ""
    assert residuals.figures([]) == []


def test_only_settings_that_differ_are_listed(make_scenario: Make) -> None:
    one, two = resolved(make_scenario(100, 20)), resolved(make_scenario(200, 20))
    two["name"] = "another"
    two["engine"]["parallelism"] = 4
    assert settings.differences({"one": one, "two": two}) == {
        "engine.parallelism": ["1", "4"],
        "workload.arrival.rate": ["100 /s", "200 /s"],
    }
    assert settings.differences({"one": one}) == {}


def test_the_report_shows_what_differs_and_how_to_print(
    tmp_path: Path, make_paced: Make, make_scenario: Make, make_meta: Make
) -> None:
    runs = []
    for rate in (100, 200):
        scenario, records = make_scenario(rate, 20), make_paced(rate, 20)
        meta = make_meta(f"run-{rate}", scenario=resolved(scenario), **evaluate(scenario, records))
        runs.append(write_run(tmp_path, meta, records))
    page = report(runs, None, tmp_path / "r.html").read_text()
    assert "In what the runs differ" in page
    assert page.count("workload.arrival.rate") == 1
    assert "@media print" in page
    assert "In what the runs differ" not in report(runs[:1], None, tmp_path / "one.html").read_text()
