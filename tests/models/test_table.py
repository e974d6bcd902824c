"""The table in docs/models.md is the one that the definitions give."""

from __future__ import annotations

from pathlib import Path

import pytest

from models import table, zoo
from models.definition import ModelError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "models.md"


def test_the_page_has_the_table_of_the_zoo() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert table.embed(page) == page, "python -m models table --write docs/models.md"
    for name in zoo.MODELS:
        assert f"| {name} |" in page


def test_a_page_is_written_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "p.md"
    page.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")
    table.write(page)
    assert page.read_text() == f"before\n{table.BEGIN}\n{table.table()}{table.END}\nafter\n"
    page.write_text("no marks")
    with pytest.raises(ModelError, match=r"no <!-- models --> \.\.\. <!-- /models -->"):
        table.write(page)
    assert page.read_text() == "no marks"
    with pytest.raises(ModelError, match=r"missing\.md"):
        table.write(tmp_path / "missing.md")
