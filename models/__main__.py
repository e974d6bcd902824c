"""`python -m models`: what models there are, their files, whether these agree, and training."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from models.check import Checked

app = typer.Typer(help="The model zoo.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

EXIT_OFF = 5
CACHE = Path(".cache/models")
ALL = "all"

Name = Annotated[str, typer.Argument(help="A model of the list.", show_default=False)]
Seed = Annotated[int, typer.Option(help="The seed its weights are drawn from.", min=0)]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]


@contextmanager
def _reported() -> Iterator[None]:
    """Turns a `ModelError` inside into its message and exit code 2, answers that differ into exit code 5."""
    from models.definition import MismatchError, ModelError
    from scenarios.cli import EXIT_USAGE, reported

    with reported():
        try:
            yield
        except ModelError as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(EXIT_OFF if isinstance(error, MismatchError) else EXIT_USAGE) from None


@app.callback()
def _app() -> None:
    """The model zoo."""
    from scenarios.cli import die_with_parent

    die_with_parent()


@app.command("list")
def list_models(as_json: Json = False) -> None:
    """One line a model: input, outputs, parameters, formats, and the runtimes installed here that score it."""
    from models.runtimes import names as runtime_names
    from models.runtimes import runtime
    from models.zoo import model, names

    with _reported():
        present = [each for each in map(runtime, runtime_names()) if each.present()]
        rows: list[dict[str, Any]] = []
        for name in names():
            m = model(name)
            rows.append(
                {
                    "name": m.name,
                    "input_shape": list(m.input_shape),
                    "outputs": m.outputs,
                    "parameters": m.parameters,
                    "formats": list(m.formats),
                    "runtimes": [each.name for each in present if each.format_of(m) is not None],
                    "summary": m.summary,
                }
            )
        if as_json:
            _print_json(rows)
            return
        for row in rows:
            shape = "x".join(map(str, row["input_shape"]))
            formats = ",".join(row["formats"]) or "-"
            runtimes = ",".join(row["runtimes"]) or "-"
            print(
                f"{row['name']:<20} {row['parameters']:>11,} parameters  input {shape:<10} outputs {row['outputs']:<5} "
                f"formats {formats:<38} runs here in {runtimes:<20} {row['summary']}"
            )


@app.command("export")
def export_model(
    name: Name,
    directory: Annotated[Path, typer.Option("-o", "--out", help="Folder of the file.")] = CACHE,
    seed: Seed = 0,
    fmt: Annotated[
        str, typer.Option("--format", help="onnx, torchscript, savedmodel, graphdef, h5, pmml, lightgbm, npz, or all.")
    ] = "onnx",
) -> None:
    """Write a model's file of a format (or all that can be written here) and print its path."""
    from models.definition import ModelError
    from models.zoo import export, model

    with _reported():
        asked = list(model(name).formats) if fmt == ALL else [fmt]
        if not asked:
            raise ModelError(f"model {name!r} has no file to export: nothing is scored from a file")
        for each in asked:
            try:
                print(export(name, directory, seed, each, _say))
            except ModelError as error:
                if fmt != ALL or "not installed" not in str(error):
                    raise
                _say(f"{each}: {error}")


@app.command("check")
def check_model(
    name: Annotated[str, typer.Argument(help="A model of the list, or an ONNX file of yours.", show_default=False)],
    directory: Annotated[Path, typer.Option("-o", "--out", help="Folder of model files.")] = CACHE,
    seed: Seed = 0,
    fmt: Annotated[list[str] | None, typer.Option("--format", help="Only these; as often as needed.")] = None,
    as_json: Json = False,
) -> None:
    """Export a model and hold every format, in every runtime installed here, against the numpy reference.

    Exit code 5 if one is off by more than 1e-4 (a classifier: if one label differs).  Of a file of
    yours: whether it can be a scenario's `model: {path: ...}`, and what it takes and answers.
    """
    from models.check import check

    with _reported():
        if name.endswith(".onnx"):
            _own(Path(name), as_json=as_json)
            return
        _show_checked(check(name, directory, seed, fmt or None, _say), as_json=as_json)


@app.command("table")
def table_of_models(
    page: Annotated[
        Path | None, typer.Option("--write", help="Replace the table between the markers of this page instead.")
    ] = None,
) -> None:
    """Print the table of the zoo: sizes, parameter counts, formats."""
    from models.table import table, write

    with _reported():
        if page is None:
            print(table(), end="")
        else:
            write(page)


@app.command("train")
def train_model(
    name: Annotated[str, typer.Argument(help="ffnn, or a wine model.", show_default=False)],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of its files.", show_default=False)],
    data: Annotated[
        Path | None,
        typer.Option(help="CSV, the label last; none: the shipped wines, or ten synthetic classes for ffnn."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Draws rows, first weights, samples.", min=0)] = 0,
    epochs: Annotated[int, typer.Option(help="Of ffnn: times that each row is seen.", min=1, max=10_000)] = 20,
    label_first: Annotated[bool, typer.Option("--label-first", help="Of ffnn: the class is the first column.")] = False,
    as_json: Json = False,
) -> None:
    """Fit a model on four fifths of the rows, say how good it is on the rest, write its weights and its formats.

    Its ONNX file can be a scenario's model: `model: {path: OUT/NAME.onnx}`.
    """
    from models.train import save, train

    with _reported():
        trained = train(name, data, seed, epochs, label_first=label_first, say=_say)
        found = save(trained, out)
        facts = {
            "model": name,
            "rows_fitted": trained.rows[0],
            "rows_held_out": trained.rows[1],
            "metric": trained.metric,
            "fitted": trained.fitted,
            "held_out": trained.held_out,
            "baseline": trained.baseline,
        }
        if as_json:
            _print_json({**facts, "files": [_checked(each) for each in found], "folder": str(out)})
            return
        print(
            f"{name}: {trained.metric} {trained.held_out:.3f} on {trained.rows[1]} rows kept out "
            f"({trained.fitted:.3f} on the {trained.rows[0]} fitted on; "
            f"always the {'commonest class' if trained.metric == 'accuracy' else 'mean'}: {trained.baseline:.3f})"
        )
        _show_checked(found, as_json=False)
        print(f"files: {out}")


def _own(path: Path, *, as_json: bool) -> None:
    from models.onnx_file import read

    found = read(path)
    facts = {"path": str(path), "input_shape": list(found.input_shape), "outputs": found.outputs}
    if as_json:
        _print_json(facts)
    else:
        shape = "x".join(map(str, found.input_shape))
        print(f"{path}: ok: input {shape}, outputs {found.outputs}, {found.parameters:,} parameters")


def _show_checked(found: list[Checked], *, as_json: bool) -> None:
    if as_json:
        _print_json([_checked(each) for each in found])
        return
    for each in found:
        size = "" if each.bytes is None else f"{each.bytes:,} bytes"
        if each.runtime is None:
            print(f"{each.model:<20} {each.fmt:<11} not compared: {each.note} {size}".rstrip())
        else:
            print(f"{each.model:<20} {each.fmt:<11} {each.runtime:<11} off by {each.error:.1e}  {size}".rstrip())


def _checked(each: Checked) -> dict[str, Any]:
    return {
        "model": each.model,
        "format": each.fmt,
        "runtime": each.runtime,
        "error": each.error,
        "bytes": each.bytes,
        "note": each.note,
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _print_json(value: Any) -> None:
    import json

    print(json.dumps(value, indent=1))


if __name__ == "__main__":
    app()
