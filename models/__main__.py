"""`python -m models`: what models there are, and their files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="The model zoo.", no_args_is_help=True, add_completion=False)


@app.command("list")
def list_models() -> None:
    """One line a model: name, parameters, input shape, outputs, what it is."""
    from models.zoo import model, names

    for name in names():
        m = model(name)
        shape = "x".join(map(str, m.input_shape))
        typer.echo(f"{m.name:<10} {m.parameters:>12,} parameters  input {shape:<10} outputs {m.outputs:<5} {m.summary}")


@app.command("export")
def export_model(
    name: Annotated[str, typer.Argument(help="A model of the list.")],
    directory: Annotated[Path, typer.Option("-o", "--out", help="Folder of the file.")] = Path(".cache/models"),
    seed: Annotated[int, typer.Option(help="The seed its weights are drawn from.", min=0)] = 0,
) -> None:
    """Writes a model's ONNX file and prints its path."""
    from models.definition import ModelError
    from models.zoo import export

    try:
        path = export(name, directory, seed)
    except (ModelError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(str(path))


if __name__ == "__main__":
    app()
