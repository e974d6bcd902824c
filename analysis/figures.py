"""A figure of a report: a plot, and the numbers it was drawn from, which the page offers as a file."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Figure:
    """One plot.

    Attributes:
        title: Above it.
        svg: The plot.
        data: Column -> values, all of one length; None where there is none.
        of: What the file is named after beside the title: a run.
        wide: Whether it is as wide as the page.
    """

    title: str
    svg: str
    data: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    of: str = ""
    wide: bool = False

    @property
    def file(self) -> str:
        """What its data is called when it is saved."""
        return re.sub(r"[^A-Za-z0-9]+", "-", f"{self.title} {self.of}").strip("-").lower() + ".csv"

    @property
    def link(self) -> str:
        """Its data as an address that holds all of it."""
        return f"data:text/csv;charset=utf-8,{quote(self.csv())}"

    def csv(self) -> str:
        """Its data as comma-separated values, names first; a column of other length is an error."""
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow(self.data)
        writer.writerows(
            ["" if value is None else value for value in row] for row in zip(*self.data.values(), strict=True)
        )
        return out.getvalue()
