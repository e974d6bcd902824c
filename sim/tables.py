"""Tables of the simulator's command line.  Each function returns a rich table and prints nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from analysis.text import number

if TYPE_CHECKING:
    from rich.table import Table

    from sim.capacity import Capacity
    from sim.replicate import Replications


def capacity_table(found: Sequence[Capacity], title: str = "") -> Table:
    """One line a point: what it sustains, what it drains, and how the search ended."""
    from rich.markup import escape
    from rich.table import Table

    keys = list(dict.fromkeys(key for each in found for key in each.swept))
    table = Table(title=escape(title) or None, title_justify="left")
    for key in keys:
        table.add_column(escape(key))
    for heading in ("sustainable /s", "drain /s", "utilisation"):
        table.add_column(heading, justify="right")
    table.add_column("probes", justify="right")
    table.add_column("search")
    for each in found:
        table.add_row(
            *(escape(str(each.swept.get(key, ""))) for key in keys),
            number(each.sustainable.rate_per_s),
            number(each.drain.rate_per_s),
            number(each.utilisation, 2),
            str(len(each.sustainable.probes)),
            escape(each.sustainable.reason),
        )
    return table


def calibrations_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """One line a calibration."""
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    for heading in ("name", "of", "cores", "this host", "created", "held-out errors"):
        table.add_column(heading)
    for row in rows:
        table.add_row(
            escape(row["name"]),
            escape(" ".join(str(word) for word in row["regime"].values())),
            str(row["cores"]),
            "yes" if row["host_match"] else "no",
            escape(row["created"]),
            str(len(row["held_out"])) if row["held_out"] else "none yet",
        )
    return table


def replications_table(found: Replications) -> Table:
    """One line a metric: the mean over the replications and its interval; what has no value in all is left out."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(found.scenario.name), title_justify="left")
    table.add_column("metric")
    for heading in ("mean", "95 % interval", "+-"):
        table.add_column(heading, justify="right")
    for name, each in found.intervals.items():
        if each is None:
            continue
        interval = "-" if each.lo is None else f"{number(each.lo, 4)} to {number(each.hi, 4)}"
        relative = "-" if each.relative is None else f"{each.relative:.2%}"
        table.add_row(name, number(each.mean, 4), interval, relative)
    return table


def stages_table(stages: Mapping[str, Mapping[str, Any]]) -> Table:
    """One line a stage of a graph: what it took, how busy it was, how long records waited and were worked on."""
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    table.add_column("stage")
    for heading in ("records", "a batch", "busy", "dropped", "expired", "wait ms, p50 | p99", "time ms, p50 | p99"):
        table.add_column(heading, justify="right")
    for name, told in stages.items():
        table.add_row(
            escape(name),
            *(number(told[key]) for key in ("records", "batch_mean")),
            number(told["utilisation"], 2),
            *(number(told[key]) for key in ("dropped", "expired")),
            *(f"{number(told[f'{what}_ms_p50'])} | {number(told[f'{what}_ms_p99'])}" for what in ("wait", "time")),
        )
    return table
