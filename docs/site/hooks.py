"""What MkDocs is given beside the pages: the reference, made from the commands and the schema as they are."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def on_files(files: Any, config: Any) -> Any:
    """Called by MkDocs with the pages it found; adds the generated ones."""
    from mkdocs.structure.files import File

    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    for name, made in {"reference/commands.md": commands, "reference/scenario.md": settings}.items():
        files.append(File.generated(config, name, content=made()))
    return files


def commands() -> str:
    """Every command with its arguments and options."""
    import typer

    from weir import ROOMS

    lines = ["# Commands", "", "`weir ROOM COMMAND` and `python -m ROOM COMMAND` are the same.", ""]
    for room, what in ROOMS.items():
        lines += [f"## {room}", "", f"{what}.", ""]
        lines += _command(typer.main.get_command(import_module(f"{room}.__main__").app), room)
    return "\n".join(lines)


def _command(command: Any, name: str) -> list[str]:
    subcommands = getattr(command, "commands", None)
    if subcommands is not None:
        return [
            line for word, each in subcommands.items() if not each.hidden for line in _command(each, f"{name} {word}")
        ]
    lines = [f"### {name}", "", *(command.help or "").splitlines(), ""]
    rows = [row for each in command.params if not getattr(each, "hidden", False) and (row := _parameter(each))]
    return [*lines, *(["| | |", "|---|---|", *rows, ""] if rows else [])]


def _parameter(each: Any) -> str:
    named = each.param_type_name == "argument"
    words = (each.metavar or each.name.upper()) if named else ", ".join(each.opts)
    told = (getattr(each, "help", None) or "").replace("|", "\\|")
    default = each.default
    shown = "" if default in (None, False, (), []) or callable(default) or named else f" Default: `{default}`."
    return f"| `{words}` | {told}{shown} |" if words != "--help" else ""


def settings() -> str:
    """Every setting of a scenario: the resolved defaults, and each key with its description, by section."""
    import contextlib
    import io

    from scenarios.__main__ import app
    from scenarios.json_schema import json_schema

    told = io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.suppress(SystemExit):
        app(["defaults"])
    schema = json_schema()
    lines = [
        "# Settings of a scenario",
        "",
        "Every setting and its default:",
        "",
        "```yaml",
        told.getvalue().rstrip(),
        "```",
    ]
    for name, section in sorted({"scenario": schema, **schema.get("$defs", {})}.items()):
        rows = [f"| `{key}` | {_text(about)} |" for key, about in section.get("properties", {}).items() if _text(about)]
        if rows:
            lines += ["", f"## {name}", "", "| key | |", "|---|---|", *rows]
    return "\n".join([*lines, ""])


def _text(about: Any) -> str:
    return str(about.get("description", "")).replace("|", "\\|").replace("\n", " ") if isinstance(about, dict) else ""
