"""The import table: which room may import which.  Read off the text, so an import inside a function counts too."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

ALLOWED: dict[str, frozenset[str]] = {
    "scenarios": frozenset(),
    "models": frozenset({"scenarios"}),
    "analysis": frozenset({"scenarios"}),
    "control": frozenset({"scenarios"}),
    "sim": frozenset({"scenarios", "control", "analysis"}),
    "real": frozenset({"scenarios", "control", "models", "analysis"}),
    "calibration": frozenset({"scenarios", "analysis", "sim"}),
}
#: Ours, but for no room to import.
OUTSIDE = frozenset({"tests", "benchmarks"})
IMPORTERS = frozenset({"import_module", "__import__", "run_module"})


def imported(source: str) -> list[tuple[int, str]]:
    """Line and dotted name of every import, wherever it stands, `import_module("name")` included."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.lineno, "." * node.level + (node.module or "")))
        elif isinstance(node, ast.Call) and node.args:
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            name = node.args[0]
            if called in IMPORTERS and isinstance(name, ast.Constant) and isinstance(name.value, str):
                found.append((node.lineno, name.value))
    return found


def forbidden(room: str, source: str) -> list[tuple[int, str]]:
    """The imports in `source`, a module of `room`, that the table does not allow; relative ones included."""
    ours = (frozenset(ALLOWED) | OUTSIDE) - ALLOWED[room] - {room}
    return [(line, name) for line, name in imported(source) if name.split(".")[0] in ours or name.startswith(".")]


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_only_what_the_table_allows(room: str) -> None:
    modules = sorted((ROOT / room).rglob("*.py"))
    assert modules, f"{room}/ has no modules"
    broken = [
        f"{module.relative_to(ROOT)}:{line}: {name}"
        for module in modules
        for line, name in forbidden(room, module.read_text(encoding="utf-8"))
    ]
    assert not broken, f"{room} may import {sorted(ALLOWED[room]) or 'nothing of ours'}:\n" + "\n".join(broken)


def test_the_table_names_every_package() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages - OUTSIDE == set(ALLOWED)


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("sim", "import real"),
        ("sim", "from real.run import run"),
        ("real", "def f():\n    import sim.costs"),
        ("real", "import importlib\nimportlib.import_module('sim')"),
        ("scenarios", "from analysis import columns"),
        ("control", "from .x import y"),
        ("models", "from tests.conftest import x"),
    ],
)
def test_the_test_sees_a_forbidden_import(room: str, source: str) -> None:
    assert forbidden(room, source)


def test_the_test_lets_an_allowed_import_pass() -> None:
    assert not forbidden("calibration", "import os\nfrom sim.costs import CPU_COSTS\nimport simpy, realm")
