"""Tables of cluster runs for the terminal.  Each function returns a rich table and prints nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from analysis.cluster import METRICS
from analysis.text import number

if TYPE_CHECKING:
    from rich.table import Table

_JOB = {
    "requests": "requests",
    "drops": "drops",
    "violation_rate": "violation rate",
    "p99_s_median": "p99 s, median minute",
    "utility": "utility",
    "effective_utility": "effective utility",
    "replicas_mean": "replicas",
}


def cluster_table(rows: Sequence[Mapping[str, Any]], lead: Sequence[str], title: str = "") -> Table:
    """One line a run, or a point of a sweep.

    Args:
        rows: Metrics by name, and what the leading columns show.
        lead: Keys of the leading columns.
        title: Above the table.
    """
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title) or None, title_justify="left")
    for key in lead:
        table.add_column(escape(key))
    for heading in METRICS.values():
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*(escape(str(row.get(key, ""))) for key in lead), *(number(row.get(name)) for name in METRICS))
    return table


def jobs_table(jobs: Sequence[Mapping[str, Any]]) -> Table:
    """One line a job.

    Args:
        jobs: Of `analysis.cluster.job_summaries`.
    """
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    table.add_column("job")
    for heading in _JOB.values():
        table.add_column(heading, justify="right")
    for job in jobs:
        table.add_row(escape(str(job["name"])), *(number(job[key]) for key in _JOB))
    return table
