"""A comparison in words and as a table.  Each function returns what is printed and prints nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.compare import Comparison
from analysis.difference import REAL, Estimate, Held
from analysis.text import NOTHING, number
from scenarios.metric_names import METRIC_NAMES

if TYPE_CHECKING:
    from rich.table import Table

_STYLE = {"real": "bold", "noise": "dim", "same": "dim", "no interval": "dim italic"}
_UPPER = {each.column: each.upper for each in METRIC_NAMES.values() if each.column}


def verdict_line(found: Comparison) -> str:
    """The first line: broken limits, else the headline's difference, and how many metrics differ."""
    tested = sum(each.known for each in found.estimates.values())
    broken = [held_text(each) for each in found.held if each.broken]
    if broken:
        return f"REGRESSION: {'; '.join(broken)}"
    name = found.headline
    if name is None:
        return "no verdict: no metric has an interval"
    real = found.count(REAL)
    told = f"{name} {_change(found.estimates[name])}"
    if not real:
        return f"NO DIFFERENCE beyond noise in {tested} metrics ({told})"
    return f"B {_side(name, found)}: {told}; {real} of {tested} metrics differ beyond noise"


def lines(found: Comparison) -> list[str]:
    """What stands between the first line and the table."""
    said = [
        f"{side}: {each.what} ({each.backend}, {each.verdict})" for side, each in zip("AB", found.sides, strict=True)
    ]
    said.append(f"intervals of 95 %: {found.how}")
    if found.saved is not None:
        common = "common random numbers" if found.replications else "the common schedule"
        said.append(f"{common} saved {saved_text(found.saved)} of the difference's variance (median of the metrics)")
    if found.records is not None:
        r = found.records
        said.append(
            f"record by record (acked): {number(r['p50_ms'])} ms at the median, {number(r['p5_ms'])} to "
            f"{number(r['p95_ms'])} for nine in ten, {r['slower']:.0%} slower; "
            f"pairing saved {saved_text(r['variance_saved'])}"
        )
    said += [f"note: {note}" for note in found.notes]
    said += [f"limit {held_text(each)}" for each in found.held]
    return said


def comparison_table(found: Comparison) -> Table:
    """One line a metric: A, B, the difference with its interval, and whether it is real."""
    from rich.table import Table

    table = Table()
    table.add_column("metric")
    for heading in ("A", "B", "difference", "95 % interval", "relative"):
        table.add_column(heading, justify="right")
    if found.paired:
        table.add_column("variance saved", justify="right")
    table.add_column("judged")
    for name, each in found.estimates.items():
        interval = each.interval()
        word = found.judged[name]
        table.add_row(
            name,
            number(each.a, 4),
            number(each.b, 4),
            signed(each.difference),
            NOTHING if interval is None else f"{signed(interval[0])} to {signed(interval[1])}",
            NOTHING if each.relative is None else f"{each.relative:+.1%}",
            *([saved_text(each.saved)] if found.paired else []),
            f"[{_STYLE[word]}]{word}[/]",
        )
    return table


def held_text(held: Held) -> str:
    """What became of a limit."""
    side = f"{abs(held.worse):.1%} {'worse' if held.worse > 0 else 'better'}"
    asked = f"{held.limit.word.removeprefix('latency_')}={held.limit.share * 100:.4g}%"
    word = "broken" if held.broken else "exceeded, but within noise" if held.over else "held"
    return f"{asked} {word}: {held.metric} is {side}"


def signed(value: float) -> str:
    """A number with its sign."""
    return number(value) if value <= 0 else f"+{number(value)}"


def saved_text(share: float | None) -> str:
    """A share of variance saved."""
    return NOTHING if share is None else f"{share:.0%}"


def _side(name: str, found: Comparison) -> str:
    upper = _UPPER.get(name)
    if upper is None:
        return "differs"
    return "is worse" if (found.estimates[name].difference > 0) == upper else "is better"


def _change(each: Estimate) -> str:
    interval = each.interval()
    assert interval is not None, "a headline has an interval"
    if not each.a:
        return f"{signed(each.difference)} ({signed(interval[0])} to {signed(interval[1])})"
    low, high = (bound / abs(each.a) for bound in interval)
    return f"{each.relative:+.1%} ({low:+.1%} to {high:+.1%})"
