"""Results for a build server: JUnit XML, a test a point, and a summary in Markdown.

A test fails where an `expect` of the scenario is broken, or a prediction lies above its bound, and errs where the run
is INVALID.  A broken `slo` is told and fails nothing, as with the exit codes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from analysis.metrics import bound_broken
from analysis.text import number, percent, which

#: Metrics of the Markdown table, where a point has them: heading by name.
SHOWN = {
    "offered_per_s": "offered /s",
    "throughput_per_s": "throughput /s",
    "drain_throughput_per_s": "drain /s",
    "latency_append_ms_p50": "p50 ms",
    "latency_append_ms_p99": "p99 ms",
    "violation_rate": "violation rate",
    "lost_utility": "lost utility",
    "p99_ms": "p99 ms of jobs",
}
#: What XML 1.0 cannot hold at all.
_NO_XML = re.compile(r"[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Case:
    """One test of a summary.

    Attributes:
        suite: Whose it is: the scenario's name.
        name: Which point.
        verdict: In a word.
        failures: What was expected and does not hold.
        error: Why there is no result to judge; empty where there is one.
        slo: Bounds of the SLO that are broken; None where none was asked.
        metrics: Its figures.
    """

    suite: str
    name: str
    verdict: str
    failures: tuple[str, ...] = ()
    error: str = ""
    slo: tuple[str, ...] | None = None
    metrics: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def outcome(self) -> str:
        """`ok`, `failed` or `error`."""
        return "error" if self.error else "failed" if self.failures else "ok"


def of_run(meta: Mapping[str, Any], scenario: Any) -> Case:
    """Of one run, by its run.json."""
    return of_point({}, str(meta["verdict"]), meta["metrics"], scenario, str(meta.get("verdict_reason") or ""))


def of_point(
    swept: Mapping[str, Any], verdict: str, metrics: Mapping[str, float | None], scenario: Any, reason: str = ""
) -> Case:
    """Of one point of a sweep.

    Args:
        swept: The swept keys and their values.
        verdict: The worst of its repeats.
        metrics: Medians over them.
        scenario: With its `expect` and `slo`.
        reason: Of the verdict.
    """
    slo = getattr(scenario, "slo", ())
    return Case(
        str(scenario.name),
        ", ".join(f"{key}={value}" for key, value in swept.items()) or "run",
        verdict,
        tuple(bound_broken(scenario.expect, metrics)),
        (reason or "INVALID") if verdict == "INVALID" else "",
        tuple(bound_broken(slo, metrics)) if slo else None,
        metrics,
    )


def of_check(name: str, rows: Iterable[Mapping[str, Any]]) -> list[Case]:
    """Of a check: a test a row that is scored, failed where its error is above its bound."""
    return [
        Case(
            name,
            f"{row['metric']} at {which(row)}",
            f"off by {percent(row.get('error'), row.get('signed'))}",
            (f"predicted {number(row.get('predicted'))}, measured {number(row.get('measured'))}: above its bound",)
            if row.get("ok") is False
            else (),
        )
        for row in rows
        if row.get("scored")
    ]


def junit(cases: Sequence[Case]) -> str:
    """JUnit XML, a suite a scenario."""
    root = ElementTree.Element("testsuites", _counts(cases))
    for suite in dict.fromkeys(case.suite for case in cases):
        mine = [case for case in cases if case.suite == suite]
        at = ElementTree.SubElement(root, "testsuite", {"name": _clean(suite), **_counts(mine)})
        for case in mine:
            told = {"classname": _clean(suite), "name": _clean(case.name)}
            one = ElementTree.SubElement(at, "testcase", told)
            if case.error:
                ElementTree.SubElement(one, "error", {"message": _clean(case.error)})
            elif case.failures:
                failure = ElementTree.SubElement(one, "failure", {"message": _clean(case.failures[0])})
                failure.text = _clean("\n".join(case.failures))
            said = [case.verdict, *(f"SLO broken: {line}" for line in case.slo or ())]
            said += [f"{name} {value:.6g}" for name, value in case.metrics.items() if value is not None]
            ElementTree.SubElement(one, "system-out").text = _clean("\n".join(said))
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def markdown(cases: Sequence[Case]) -> str:
    """A summary in Markdown: how many hold, a line a point, then what is broken."""
    good = sum(case.outcome == "ok" for case in cases)
    shown = {name: head for name, head in SHOWN.items() if any(c.metrics.get(name) is not None for c in cases)}
    heads = ["scenario", "point", "", "verdict", "SLO", *shown.values()]
    lines = [f"**{good} of {len(cases)} as expected**", "", _row(heads)]
    lines.append("|" + "|".join(["---"] * 5 + ["---:"] * len(shown)) + "|")
    for case in cases:
        slo = "-" if case.slo is None else "broken" if case.slo else "met"
        figures = [number(case.metrics.get(name)) for name in shown]
        lines.append(_row([case.suite, case.name, case.outcome, case.verdict, slo, *figures]))
    broken = [f"- {case.suite}, {case.name}: {line}" for case in cases for line in (case.error, *case.failures) if line]
    broken += [f"- {case.suite}, {case.name}: SLO broken: {line}" for case in cases for line in case.slo or ()]
    return "\n".join([*lines, *([""] if broken else []), *broken]) + "\n"


def check_files(*paths: Path | None) -> None:
    """Finds out before the work whether the files can be written.

    Raises:
        ScenarioError: One cannot.
    """
    from scenarios.cli import check_writable

    for path in paths:
        if path is not None:
            check_writable(path)


def write(cases: Sequence[Case], junit_file: Path | None, markdown_file: Path | None) -> None:
    """Writes the files that are asked for.

    Raises:
        ScenarioError: One cannot be written.
    """
    from scenarios.cli import writing

    for path, made in ((junit_file, junit), (markdown_file, markdown)):
        if path is not None:
            with writing(path):
                path.write_text(made(cases), encoding="utf-8")


def _counts(cases: Sequence[Case]) -> dict[str, str]:
    outcomes = [case.outcome for case in cases]
    counts = {"tests": len(cases), "failures": outcomes.count("failed"), "errors": outcomes.count("error")}
    return {name: str(count) for name, count in counts.items()}


def _clean(text: str) -> str:
    return _NO_XML.sub("?", text)


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
