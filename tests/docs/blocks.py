"""Shell blocks of Markdown pages, and how each is to be run.

A code block is a shell block where it is fenced as one, where its lines are led by `$ `, or where its first word is a
command.  An HTML comment right before it says what a test has to know, and is not seen by who reads the page:

    <!-- not run: it takes a cluster -->
    <!-- run: slow; kafka; exit 3; until http://; before python -m sim run a.yaml; with FILE = a.yaml -->

`slow` and `kafka` are the tests' marks, `exit` the code to end with (`0 or 5` where the machine decides), `until` a
text after which the command is interrupted, `before` what is run first, `needs` packages, and `with` a word of the
block and what stands for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SHELLS = frozenset({"sh", "bash", "console", "shell"})
COMMANDS = frozenset({"python", "weir", "make", "pip", "git", "curl", "docker", "kubectl", "mvn", "java", "export"})
_COMMENT = re.compile(r"^<!--\s*(not run|run):\s*(.*?)\s*-->$", re.DOTALL)
_KEYS = ("exit", "until", "before", "with", "needs")


class BlockError(Exception):
    """A page says something of a block that is not understood."""


@dataclass(frozen=True)
class Block:
    """One shell block.

    Attributes:
        page: The page, from the repository's root.
        line: Of its first line, from 1.
        commands: What is run, one after the other.
        output: What the page shows of the output, in a block led by `$ `.
        not_run: Why it is not run; None where it is.
        marks: `slow`, `kafka`.
        exit_codes: What it may end with.
        until: A text of the output after which it is interrupted.
        before: What is run first.
        needs: Packages without which it cannot be run.
        substitutes: Words of the block and what stands for them.
    """

    page: str
    line: int
    commands: tuple[str, ...]
    output: tuple[str, ...] = ()
    not_run: str | None = None
    marks: tuple[str, ...] = ()
    exit_codes: tuple[int, ...] = (0,)
    until: str | None = None
    before: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    substitutes: dict[str, str] = field(default_factory=dict)

    @property
    def script(self) -> str:
        """Its commands as they are run."""
        text = "\n".join(self.commands)
        for word, other in self.substitutes.items():
            if word not in text:
                raise BlockError(f"{self.page}:{self.line}: there is no {word!r} to stand something else for")
            text = text.replace(word, other)
        return text


def of_page(page: str, text: str) -> list[Block]:
    """The shell blocks of a page, in its order.

    Raises:
        BlockError: A comment before one is not understood, or stands before no shell block.
    """
    found, claimed = [], set()
    lines = text.splitlines()
    comments = dict(_comments(lines))
    for number, language, code in _code(lines):
        above = number - 1 - (language is not None)  # the fence
        while above > 0 and not lines[above - 1].strip():
            above -= 1
        for first, part in _parts(language, code):
            if not _is_shell(language, part):
                continue
            if above in comments:
                claimed.add(above)
            found.append(_block(page, number + first, part, comments.get(above)))
    lost = sorted(set(comments) - claimed)
    if lost:
        raise BlockError(f"{page}:{lost[0]}: says how a block is run, and no shell block follows")
    return found


def of_repository(root: Path) -> list[Block]:
    """Every shell block of the README, of docs/ and of the rooms' READMEs."""
    pages = [root / "README.md", *sorted((root / "docs").rglob("*.md")), *sorted(root.glob("*/README.md"))]
    return [
        block
        for page in dict.fromkeys(pages)
        for block in of_page(str(page.relative_to(root)), page.read_text(encoding="utf-8"))
    ]


def _comments(lines: list[str]) -> Iterator[tuple[int, re.Match[str]]]:
    """Last line (from 1) of each comment that says how a block is run."""
    start = None
    for number, line in enumerate(lines, 1):
        if start is None and line.startswith("<!--"):
            start = number
        if start is not None and "-->" in line:
            told = _COMMENT.match("\n".join(lines[start - 1 : number]))
            start = None
            if told is not None:
                yield number, told


def _code(lines: list[str]) -> Iterator[tuple[int, str | None, list[str]]]:
    """First line (from 1), language of its fence (None for an indented one) and lines of every code block."""
    at, in_list = 0, False
    while at < len(lines):
        line = lines[at]
        if line.startswith("```"):
            end = next((i for i in range(at + 1, len(lines)) if lines[i].startswith("```")), len(lines))
            yield at + 2, line[3:].strip(), lines[at + 1 : end]
            at = end + 1
            continue
        if re.match(r"\s*([-*]|\d+\.) ", line) and not line.startswith("    "):
            in_list = True
        elif line.strip() and not line.startswith(" "):
            in_list = False
        if line.startswith("    ") and not in_list and (at == 0 or not lines[at - 1].strip()):
            end = at
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
                end += 1
            code = [each[4:] for each in lines[at:end]]
            while code and not code[-1].strip():
                code.pop()
            yield at + 1, None, code
            at = end
            continue
        at += 1


def _parts(language: str | None, code: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Commands, and after an empty line a command with its output: two blocks to a shell, one to Markdown."""
    begin = 0
    for at, line in enumerate(code):
        shown = any(each.startswith("$ ") for each in code[begin:at])
        if at and not code[at - 1].strip() and line.startswith("$ ") and not shown:
            yield begin, code[begin : at - 1]
            begin = at
    yield begin, code[begin:]


def _is_shell(language: str | None, code: list[str]) -> bool:
    if language in SHELLS:
        return True
    if language:
        return False
    first = next((line for line in code if line.strip()), "")
    return first.startswith("$ ") or (first.split() or [""])[0] in COMMANDS


def _block(page: str, line: int, code: list[str], told: re.Match[str] | None) -> Block:
    if any(each.startswith("$ ") for each in code):
        commands = tuple(each[2:] for each in code if each.startswith("$ "))
        output = tuple(each for each in code if not each.startswith("$ ") and each.strip())
    else:
        commands, output = tuple(code), ()
    if told is None:
        return Block(page, line, commands, output)
    if told[1] == "not run":
        if not told[2]:
            raise BlockError(f"{page}:{line}: is not run, and does not say why")
        return Block(page, line, commands, output, not_run=" ".join(told[2].split()))
    marks: list[str] = []
    values: dict[str, list[str]] = {key: [] for key in _KEYS}
    for word in filter(None, map(str.strip, told[2].split(";"))):
        key, _, rest = word.partition(" ")
        if word in ("slow", "kafka"):
            marks.append(word)
        elif key in values and rest:
            values[key].append(rest.strip())
        else:
            raise BlockError(f"{page}:{line}: {word!r} is not understood; there are slow, kafka, {', '.join(_KEYS)}")
    pairs = [each.partition(" = ") for each in values["with"]]
    return Block(
        page,
        line,
        commands,
        output,
        marks=tuple(marks),
        exit_codes=tuple(int(word) for word in (values["exit"] or ["0"])[0].split(" or ")),
        until=values["until"][0] if values["until"] else None,
        before=tuple(values["before"]),
        needs=tuple(" ".join(values["needs"]).split()),
        substitutes={word.strip(): other.strip() for word, _, other in pairs},
    )
