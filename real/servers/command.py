"""`python -m real servers`: which model servers can be started here, and what they do when they are."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from real.cli import EXIT_FAILED, reported

if TYPE_CHECKING:
    from rich.table import Table

    from real.servers.check import Report


def servers_command(
    names: Annotated[list[str] | None, typer.Argument(help="Servers; all of them if none is named.")] = None,
    try_them: Annotated[
        bool, typer.Option("--check", help="Start each four times, call it, kill it, start it again (minutes).")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a server instead of a table.")] = False,
) -> None:
    """List the model servers that can be started here; with --check start, call and kill each."""
    with reported():
        import tempfile

        from real.servers import SERVERS, server
        from real.servers.check import Report, check

        found = [server(name) for name in dict.fromkeys(names or SERVERS)]
        with tempfile.TemporaryDirectory(prefix="weir-models-") as models:
            reports = []
            for each in found:
                if try_them:
                    report = check(each, Path(models), _say)
                else:
                    lacking = each.missing()
                    report = Report(each.word, "" if lacking else each.version(), missing=lacking)
                if as_json:
                    print(json.dumps(dataclasses.asdict(report), ensure_ascii=False), flush=True)
                reports.append(report)
        if not as_json:
            from rich.console import Console

            console = Console(width=max(Console().width, _WIDTH))
            console.print(_checked(reports) if try_them else _listed(reports))
            if try_them:
                print(_CAPTION)
            for report in reports:
                for words in (report.missing, report.error):
                    if words is not None:
                        print(f"{report.server}: {words}")
        if any(report.error is not None for report in reports):
            raise SystemExit(EXIT_FAILED)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _listed(reports: list[Report]) -> Table:
    from rich.table import Table

    from real.servers import server

    table = Table()
    for column in ("server", "what", "version", "protocols"):
        table.add_column(column)
    for report in reports:
        found = server(report.server)
        version = "not here" if report.missing is not None else report.version or "?"
        table.add_row(report.server, found.title, version, ", ".join(found.protocols))
    return table


def _checked(reports: list[Report]) -> Table:
    from rich.table import Table

    table = Table()
    for column in ("server", "protocol"):
        table.add_column(column)
    for column in ("ready s", "RSS MB", "p50 ms", "batching", "gain", "heard s"):
        table.add_column(column, justify="right")
    for report in reports:
        if report.missing is not None or not report.rows:
            table.add_row(report.server, "not here" if report.missing is not None else "")
        for row in report.rows:
            table.add_row(
                f"{report.server} {report.version}",
                row.protocol,
                f"{row.ready_s:.1f}",
                f"{row.rss_mb:.0f}",
                " / ".join(f"{ms:.3g}" for ms in row.p50_ms.values()),
                " / ".join(f"{ms:.3g}" for ms in row.p50_batched_ms.values()),
                f"{row.together:.1f} x" if row.together else "",
                f"{row.heard_s:.2f}",
            )
    return table


#: The tables are no narrower: a terminal that is folds their lines.
_WIDTH = 116
_CAPTION = """p50 ms: of a call of 1 / 32 points, one connection, model ffnn; batching: where it waits up to 2 ms for 8.
gain: calls a second of 16 callers by that batching, of a model that takes 30 ms whatever the batch.
heard s: from kill -9 in mid-run to the harness knowing.  Each was started four times."""
