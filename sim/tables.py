"""Tables of the simulator's command line.  Each function returns a rich table and prints nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from analysis.text import number

if TYPE_CHECKING:
    from rich.table import Table

    from sim.capacity import Capacity


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
