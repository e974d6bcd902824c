"""How numbers and check rows are put into words, the same in the terminal and in the report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

NOTHING = "-"
VERDICT_STYLE = {
    "STABLE": "bold green",
    "BACKLOGGED": "bold yellow",
    "OVERLOADED": "bold red",
    "CLIENT-BOUND": "bold magenta",
    "INVALID": "bold red reverse",
}


def number(value: float | None, digits: int = 3) -> str:
    """A number to so many significant digits (whole ones are all kept), thousands grouped; `-` for None."""
    if value is None or math.isnan(value):
        return NOTHING
    if value == 0 or math.isinf(value):
        return f"{value:g}"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    if abs(value) < 1e-4:
        return f"{value:.{digits - 1}e}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(error: float | None, signed: float | None = None) -> str:
    """A log error as the percentage it is within; with `signed`, led by the side on which the prediction lies."""
    if error is None:
        return NOTHING
    side = "" if signed is None or signed == 0 else "+" if signed > 0 else "-"
    share = math.expm1(error) * 100
    return f"{side}{share:.1f} %" if share < 10 else f"{side}{share:,.0f} %"


def warmup_text(told: Mapping[str, Any] | None) -> str:
    """What `warmup` of run.json says was cut, in one line: `2.4 s (auto: latency 2.4 s, throughput 0.3 s)`."""
    if not told:
        return NOTHING
    text = f"{number(told['cut_s'])} s"
    if told["rule"] == "fixed":
        return text
    by = ", ".join(f"{name} {number(at)} s" for name, at in told["by_s"].items())
    said = "; ".join(part for part in (by, told["why"]) if part)
    return f"{text} ({told['rule']}{': ' + said if said else ''})"


def which(row: Mapping[str, Any]) -> str:
    """The point that a check row is of: `200 /s, parallelism 2`, `drain, parallelism 1`."""
    kind = row.get("kind")
    rate = row.get("rate_per_s")
    lead = f"{number(rate)} /s" if kind == "rate" and rate is not None else str(kind)
    return f"{lead}, parallelism {row.get('parallelism')}"


def bound_text(row: Mapping[str, Any]) -> str:
    """The prediction of a check row with its interval, where it has one."""
    text = number(row.get("predicted"))
    lo, hi = row.get("predicted_lo"), row.get("predicted_hi")
    return text if lo is None or hi is None else f"{text} ({number(lo)} to {number(hi)})"
