"""`python -m sim explore`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from sim.cli import reported


def explore_command(
    scenario: Annotated[Path, typer.Argument(metavar="SCENARIO", help="A scenario file.", show_default=False)],
    sets: Annotated[list[str] | None, typer.Option("--set", help="key.path=value, as often as needed.")] = None,
    calibration: Annotated[
        str | None, typer.Option("--calibration", help="Name or .json file, instead of the scenario's.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="On loopback; 0 for any free one.")] = 0,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The address as a JSON object.")] = False,
) -> None:
    """Serve a local page of sliders: a preview at once, then the full run; until Ctrl-C."""
    with reported():
        from sim import shown
        from sim.explore import asked, server

        given = asked.Asked(scenario, tuple(sets or []), calibration)
        asked.understood(given)  # what is wrong with it is told here, not on the page

        def ready(address: str) -> None:
            print(json.dumps({"address": address}) if as_json else address, flush=True)
            shown.say_all(["Ctrl-C ends it"] if sys.stderr.isatty() else [])
            if show:
                import webbrowser

                webbrowser.open(address)

        server.serve(server.Explorer(given.file, given.sets, calibration), port, ready)
