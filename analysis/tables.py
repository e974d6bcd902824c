"""Tables for the terminal: one run, a sweep, a check.  Each function returns a rich table and prints nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from analysis.text import VERDICT_STYLE, bound_text, number, percent, warmup_text, which

if TYPE_CHECKING:
    from rich.table import Table

#: Metric -> heading, in the order of a run's table.
RUN_METRICS = {
    "offered_per_s": "offered /s",
    "achieved_per_s": "achieved /s",
    "throughput_per_s": "throughput /s",
    "throughput_gen_per_s": "throughput (from creation) /s",
    "drain_throughput_per_s": "drain throughput /s",
    "lag_slope_per_s": "lag slope /s",
    "lag_max": "lag at most",
    "generator_lag_ms_p99": "generator late, p99 ms",
    "cpu_us_per_record_generator": "generator CPU us/record",
    "cpu_us_per_record_broker": "broker CPU us/record",
    "cpu_us_per_record_engine": "engine CPU us/record",
    "cpu_us_per_record_collector": "collector CPU us/record",
    "loss": "loss",
    "refused": "refused",
}
STATISTICS = ("mean", "p50", "p90", "p95", "p99", "p999")
#: Metric -> heading, for a line of a sweep.
SWEEP_METRICS = {
    "offered_per_s": "offered /s",
    "throughput_per_s": "throughput /s",
    "drain_throughput_per_s": "drain /s",
    "latency_append_ms_p50": "p50 ms",
    "latency_append_ms_p95": "p95 ms",
    "latency_append_ms_p99": "p99 ms",
    "lag_slope_per_s": "lag slope /s",
}


def run_table(meta: Mapping[str, Any]) -> Table:
    """One run: verdict, metrics that have a value, latency by both clocks, accounting.

    Args:
        meta: run.json.
    """
    from rich.table import Table

    values, counts = meta.get("metrics") or {}, meta.get("accounting") or {}
    table = Table(title=_plain(meta.get("id", "")), title_justify="left", show_header=False)
    table.add_column("what")
    table.add_column("value", justify="right")
    word = str(meta.get("verdict"))
    table.add_row("verdict", f"[{VERDICT_STYLE.get(word, 'bold')}]{word}[/]")
    if meta.get("verdict_reason"):
        table.add_row("", _plain(meta["verdict_reason"]))
    table.add_row("backend", str(meta.get("backend")))
    table.add_row("warm-up cut", _plain(warmup_text(meta.get("warmup"))), end_section=True)
    for name, heading in RUN_METRICS.items():
        if values.get(name) is not None:
            table.add_row(heading, number(values[name]))
    table.add_section()
    for statistic in STATISTICS:
        append, acked = (values.get(f"latency_{clock}_ms_{statistic}") for clock in ("append", "acked"))
        if append is not None or acked is not None:
            table.add_row(f"latency {statistic} ms, append | acked", f"{number(append)} | {number(acked)}")
    table.add_section()
    for name, count in counts.items():
        if count or name in ("sent", "scored"):
            table.add_row(name, f"{count:,}")
    return table


def sweep_table(points: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], title: str = "") -> Table:
    """One line for each point of a sweep; columns without a value anywhere are left out.

    Args:
        points: (the swept keys and their values, run.json) of each point.
        title: Above the table.
    """
    from rich.table import Table

    keys = list(dict.fromkeys(key for swept, _ in points for key in swept))
    shown = [m for m in SWEEP_METRICS if any((meta.get("metrics") or {}).get(m) is not None for _, meta in points)]
    table = Table(title=_plain(title) or None, title_justify="left")
    for key in keys:
        table.add_column(_plain(key))
    for name in shown:
        table.add_column(SWEEP_METRICS[name], justify="right")
    table.add_column("verdict")
    for swept, meta in points:
        word = str(meta.get("verdict"))
        values = meta.get("metrics") or {}
        table.add_row(
            *(_plain(swept.get(key, "")) for key in keys),
            *(number(values.get(name)) for name in shown),
            f"[{VERDICT_STYLE.get(word, 'bold')}]{word}[/]",
        )
    return table


def check_table(rows: Sequence[Mapping[str, Any]], title: str = "") -> Table:
    """Predictions against measurements, one line a metric and point.

    Args:
        rows: Result rows of a check.
        title: Above the table.
    """
    from rich.table import Table

    table = Table(title=_plain(title) or None, title_justify="left")
    for heading, justify in (("what", "left"), ("metric", "left"), ("predicted", "right"), ("measured", "right")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]  # rich names its literals privately
    for heading in ("repeats", "error", "ceiling", "utilisation", ""):
        table.add_column(heading, justify="right" if heading else "left")
    for row in rows:
        ok = row.get("ok")
        mark = "[dim]not scored[/]" if not row.get("scored") else "" if ok is None else _MARK[bool(ok)]
        table.add_row(
            which(row),
            _plain(row["metric"]),
            bound_text(row),
            number(row.get("measured")),
            str(len(row.get("repeats") or ())),
            percent(row.get("error"), row.get("signed")),
            percent(row.get("ceiling")),
            number(row.get("utilisation"), 2),
            mark,
        )
    return table


_MARK = {True: "[green]ok[/]", False: "[red]above its bound[/]"}


def _plain(value: object) -> str:
    from rich.markup import escape

    return escape(str(value))
