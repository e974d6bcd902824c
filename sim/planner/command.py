"""`python -m sim plan`: the cheapest configuration that meets an objective, and the tuner that keeps it met."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from scenarios.plan_spec import PlanScenario

EXIT_EXPECT = 3


def plan_command(
    scenario: Annotated[Path, typer.Argument(metavar="SCENARIO", help="A scenario with a menu.", show_default=False)],
    sets: Annotated[list[str] | None, typer.Option("--set", help="key.path=value, as often as needed.")] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw cost against latency into this .svg, .png or .pdf.")
    ] = None,
    pipeline: Annotated[
        Path | None,
        typer.Option("--pipeline", help="Write the plan as a scenario for `real run`, where it is one."),
    ] = None,
    no_frontier: Annotated[bool, typer.Option("--no-frontier", help="Find the plan alone.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of tables.")] = False,
) -> None:
    """Find the cheapest configuration that meets an objective; with `tune:`, follow it through a load that changes."""
    from scenarios.cli import check_writable, reported, terminate_as_interrupt, writing

    terminate_as_interrupt()
    with reported():
        from analysis.metrics import bound_broken
        from scenarios.errors import ScenarioError
        from scenarios.load import expand_any
        from scenarios.plan_spec import PlanScenario

        points = expand_any(scenario, sets or [])
        asked = [(swept, each) for swept, each in points if isinstance(each, PlanScenario)]
        if not asked:
            raise ScenarioError(str(scenario), None, None, "", "has no menu to plan from; see docs/planner.md")
        if plot is not None and plot.suffix not in (".svg", ".png", ".pdf"):
            raise ScenarioError("--plot", None, None, "", f"{plot.name!r} is no .svg, .png or .pdf")
        if plot is not None and no_frontier:
            raise ScenarioError("--plot", None, None, "", "there is no frontier to draw with --no-frontier")
        if (plot is not None or pipeline is not None) and len(asked) > 1:
            raise ScenarioError(str(scenario), None, None, "sweep", "--plot and --pipeline are of one plan")
        for path in (plot, pipeline):
            if path is not None:
                check_writable(path)
        found, broken = [], []
        for swept, each in asked:
            result, scenario_text = planned(each, with_frontier=not no_frontier)
            where = f"{', '.join(f'{key} {value}' for key, value in swept.items())}: " if swept else ""
            broken += [f"{where}{line}" for line in bound_broken(each.expect, _metrics(result))]
            found.append({**swept, **result})
            if not as_json:
                show(result, where)
            if plot is not None and result["cost_per_h"] is not None:
                with writing(plot):
                    draw(result, plot)
                print(plot, file=sys.stderr)
            if pipeline is not None and scenario_text:
                with writing(pipeline):
                    pipeline.write_text(scenario_text, encoding="utf-8")
                print(pipeline, file=sys.stderr)
            elif pipeline is not None:
                why = result.get("no_pipeline") or "there is no plan"
                print(f"not written as a scenario: {why}", file=sys.stderr)
        if as_json:
            print(json.dumps(found if asked[0][0] else found[0], ensure_ascii=False))
        for line in broken:
            print(f"expect: {line}", file=sys.stderr)
        raise SystemExit(EXIT_EXPECT if broken else 0)


def planned(scenario: PlanScenario, *, with_frontier: bool = True) -> tuple[dict[str, Any], str]:
    """Plan one scenario and, with a `tune:` section, follow it.

    Returns:
        The object of `--json`, and the plan as a scenario file (empty where it cannot be one).
    """
    from sim.planner import export, plan, tune

    made = plan.make(scenario, with_frontier=with_frontier)
    found = plan.summary(made)
    if made.choices is None:
        return found, ""
    if scenario.tune is not None:
        found["tune"] = tune.summary(tune.tune(scenario, made.choices, made.rate_per_s, made.shares))
    return found, "" if found["no_pipeline"] else export.as_pipeline(scenario, made.choices)


def show(found: dict[str, Any], lead: str = "") -> None:
    """Print a plan."""
    from rich.console import Console

    from sim.planner import shown

    console = Console(width=None if sys.stdout.isatty() else 200)
    if lead:
        print(lead)
    first, *more = shown.lines(found)
    shown.screen(found, first).show()
    for line in more:
        print(line)
    if found["cost_per_h"] is None:
        return
    console.print(shown.plan_table(found))
    console.print(shown.cost_table(found))
    if "tune" in found:
        console.print(shown.tune_table(found))
        for line in shown.decision_lines(found):
            print(line)


def draw(found: dict[str, Any], path: Path) -> None:
    """Draw a plan's frontier."""
    from analysis import frontier

    frontier.plot(
        path,
        [(point["cost_per_h"], point["latency_ms"]) for point in found["frontier"]],
        slo_ms=found["slo_ms"],
        percentile=found["percentile"],
        currency=found["prices"]["currency"] if found["prices"] else "the menu's prices",
        plan=frontier.Mark("the plan", found["cost_per_h"], found["sample_latency_ms"]),
        others=[frontier.Mark(each["name"], each["cost_per_h"], each["latency_ms"]) for each in found["baselines"]],
        title=found["name"],
    )


def _metrics(found: dict[str, Any]) -> dict[str, float | None]:
    """What `expect:` may bound."""
    metrics: dict[str, float | None] = {
        name: found[name] for name in ("cost_per_h", "cost_per_million", "latency_ms", "attainment")
    }
    metrics["greedy_gap"] = found.get("greedy", {}).get("gap")
    tune = found.get("tune")
    metrics["attainment_tuned"] = None if tune is None else tune["tuned"]["attainment"]
    metrics["attainment_untuned"] = None if tune is None else tune["untuned"]["attainment"]
    metrics["decisions"] = None if tune is None else float(len(tune["decisions"]))
    return metrics
