"""What `python -m sim plan` prints: a plan as lines and tables.  Each function takes the object of `--json`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from analysis.first_screen import Screen, bottleneck
from analysis.text import number

if TYPE_CHECKING:
    from rich.table import Table

_MOST_DECISIONS = 20


#: What a plan rests on.
TRUST = "the menu's own batch times and prices; real hardware checks them (sim plan --pipeline, real run)"


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The verdict, the plan's cost and latency, and how it was judged."""
    reason = f": {found['reason']}" if found["reason"] else ""
    yield f"{found['verdict']}{reason}"
    if found["cost_per_h"] is None:
        return
    prices = found["prices"]
    dated = f"{prices['currency']}, prices of {prices['date']}" if prices else "in the menu's own prices"
    per_million = number(found["cost_per_million"])
    yield f"{found['cost_per_h']:.2f} an hour, {per_million} a million records ({dated})"
    tried = found["validation"]
    if tried:
        yield (
            f"p{found['percentile']:g} {number(found['latency_ms'])} ms at worst, {found['attainment']:.2%} within "
            f"{found['slo_ms']:g} ms at least, on {len(tried)} traces of {tried[0]['queries']:,} records that it was "
            "not planned for"
        )
    exact, greedy = found.get("exact"), found["greedy"]
    if exact is not None:
        proof = "no configuration is cheaper" if exact["complete"] else "the exact search was cut off"
        gap = "found nothing" if greedy["gap"] is None else f"is {greedy['gap']:.1%} above it"
        yield f"{proof}; the greedy search {gap}"
    if found["rounds"] > 1:
        yield f"{found['joined']} traces that an earlier plan failed were planned for too"
    if not found["reference_equal"]:
        yield "WARNING: SimPy gives some record another latency"


def screen(found: Mapping[str, Any], verdict: str) -> Screen:
    """The first screen of a plan: the objective, on arrivals it was not planned for, is the SLO."""
    if found["cost_per_h"] is None:
        return Screen(
            ("SLO broken: no configuration is known that meets it",), verdict, "none", bottleneck(None), "none", TRUST
        )
    asked = f"p{found['percentile']:g} {number(found['latency_ms'])} ms at worst, {found['slo_ms']:g} ms asked"
    tried = found["validation"]
    met = found["latency_ms"] is not None and found["latency_ms"] <= found["slo_ms"]
    name, busiest = max(found["models"].items(), key=lambda each: float(each[1]["utilisation"]))
    interval = f"{len(tried)} traces that it was not planned for, the worst counts" if tried else "none: planned on one"
    return Screen(
        (f"SLO met: {asked}" if met else f"SLO broken: {asked}",),
        verdict,
        "the load it is planned for, at the cost below",
        bottleneck({"name": f"model {name}", "utilisation": busiest["utilisation"]}),
        interval,
        TRUST,
    )


def plan_table(found: Mapping[str, Any]) -> Table:
    """One line a model."""
    from rich.table import Table

    table = Table(title=found["name"], title_justify="left")
    table.add_column("model")
    table.add_column("hardware")
    for heading in ("batch", "replicas", "cost per h", "utilisation"):
        table.add_column(heading, justify="right")
    for name, own in found["models"].items():
        table.add_row(
            name,
            own["hardware"],
            str(own["batch"]),
            str(own["replicas"]),
            f"{own['cost_per_h']:.2f}",
            f"{own['utilisation']:.2f}",
        )
    return table


def cost_table(found: Mapping[str, Any]) -> Table:
    """Cost against latency: the frontier, the plan and the baselines."""
    from rich.table import Table

    cut = "" if found["frontier_complete"] else ", search cut off"
    table = Table(title=f"cost against p{found['percentile']:g}{cut}", title_justify="left")
    for heading in ("cost per h", f"p{found['percentile']:g} ms"):
        table.add_column(heading, justify="right")
    table.add_column("configuration")
    for point in found["frontier"]:
        table.add_row(f"{point['cost_per_h']:.2f}", number(point["latency_ms"]), configuration(point["models"]))
    if found["frontier"]:
        table.add_section()
    table.add_row(
        f"{found['cost_per_h']:.2f}", number(found["latency_ms"]), f"{configuration(found['models'])} (the plan)"
    )
    for each in found["baselines"]:
        what = f"{configuration(each['models'])} ({each['name']}, {each['attainment'] or 0:.1%} in time)"
        table.add_row(f"{each['cost_per_h']:.2f}", number(each["latency_ms"]), what)
    return table


def configuration(models: Mapping[str, Mapping[str, Any]]) -> str:
    """``A 1 k80 batch 16, B 1 cpu batch 4``."""
    return ", ".join(f"{name} {own['replicas']} {own['hardware']} batch {own['batch']}" for name, own in models.items())


def tune_table(found: Mapping[str, Any]) -> Table:
    """The longer load, with the tuner and without."""
    from rich.table import Table

    tune = found["tune"]
    table = Table(title=f"{tune['queries']:,} records later", title_justify="left")
    table.add_column("")
    for heading in ("in time", f"p{found['percentile']:g} ms", "cost per h", "most replicas"):
        table.add_column(heading, justify="right")
    for name in ("tuned", "untuned"):
        own = tune[name]
        table.add_row(
            name,
            f"{own['attainment']:.2%}",
            number(own["latency_ms"]),
            f"{own['cost_per_h']:.2f}",
            ", ".join(str(most) for most in own["replicas"]),
        )
    return table


def decision_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The tuner's decisions, the first of them."""
    decisions = found["tune"]["decisions"]
    if not decisions:
        yield "the tuner changed nothing"
    for each in decisions[:_MOST_DECISIONS]:
        yield f"{each['at_s']:8.1f} s  {each['model']}: {each['from']} to {each['to']} replicas; {each['reason']}"
    if len(decisions) > _MOST_DECISIONS:
        yield f"... and {len(decisions) - _MOST_DECISIONS} more"
