"""`python -m scenarios`: check scenario files, print the defaults, print the JSON Schema."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from scenarios.cli import reported

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help="The scenario language."
)


@app.command()
def validate(
    files: Annotated[list[Path], typer.Argument(help="Scenario files.", show_default=False)],
    sets: Annotated[list[str] | None, typer.Option("--set", help="key.path=value, as often as needed.")] = None,
) -> None:
    """Check scenario files; exit code 2 and where to look if one is wrong."""
    from scenarios.errors import ScenarioError
    from scenarios.load import expand_any

    wrong = False
    with reported():
        for file in files:
            try:
                points = expand_any(file, sets or [])
            except ScenarioError as error:
                print(error, file=sys.stderr)
                wrong = True
                continue
            scenario = points[0][1]
            runs = len(points) * scenario.repeats
            swept = f", {len(points)} points x {scenario.repeats} repeats = {runs} runs" if runs > 1 else ""
            print(f"{file}: ok: {scenario.name}{swept}")
    if wrong:
        raise SystemExit(2)


@app.command()
def defaults(
    cluster: Annotated[bool, typer.Option("--cluster", help="Of a scenario with jobs instead.")] = False,
) -> None:
    """Print every setting with its default, as commented YAML."""
    from scenarios.defaults import defaults_yaml

    with reported():
        print(defaults_yaml(cluster=cluster), end="")


@app.command()
def schema() -> None:
    """Print the JSON Schema of a scenario file."""
    import json

    from scenarios.json_schema import json_schema

    with reported():
        print(json.dumps(json_schema(), indent=2))


if __name__ == "__main__":
    app()
