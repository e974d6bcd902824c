"""The table of the zoo in docs/models.md: sizes and parameter counts, from the definitions and the exporters."""

from __future__ import annotations

import tempfile
from pathlib import Path

from models import files, zoo
from models.definition import FORMATS, ModelDef, ModelError

BEGIN, END = "<!-- models -->", "<!-- /models -->"


def table() -> str:
    """The table, a line a model: input, outputs, trained values, formats, size of its ONNX file.

    A light model's file is written and weighed; a heavy one's size is that of its values, from the definition.
    """
    lines = [
        "| model | input | outputs | trained values | formats | ONNX | what it is |",
        "|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory(prefix="weir-models-") as directory:
        for name in zoo.MODELS:
            definition = zoo.model(name)
            cells = (
                name,
                "x".join(map(str, definition.input_shape)),
                f"{definition.outputs:,}",
                f"{definition.parameters:,}",
                ", ".join(fmt for fmt in FORMATS if fmt in definition.formats) or "-",
                _size(definition, Path(directory)),
                definition.summary,
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _size(definition: ModelDef, directory: Path) -> str:
    if "onnx" not in definition.formats:
        return "-"
    if definition.heavy:
        return f"about {4 * definition.parameters / 1e6:,.0f} MB"
    size_kb = files.size(zoo.export(definition.name, directory)) / 1e3
    return f"{size_kb:,.0f} kB" if size_kb >= 10 else f"{size_kb:.1f} kB"


def embed(page: str) -> str:
    """A page with the table between its markers replaced.

    Raises:
        ModelError: The page has no such markers.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ModelError(f"no {BEGIN} ... {END} to put the table between")
    return f"{before}{BEGIN}\n{table()}{END}{after}"


def write(path: Path) -> None:
    """Replaces the table in a page.

    Raises:
        ModelError: The page has no markers, or cannot be read or written.
    """
    try:
        page = path.read_text(encoding="utf-8")
        path.write_text(embed(page), encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: {error}") from error
