"""The one exception of this room: something in a scenario is wrong, and where.

A command that meets it prints it and ends with exit code 2 (`scenarios.cli.reported`).
"""

from __future__ import annotations


class ScenarioError(Exception):
    """A scenario cannot be used.

    Attributes:
        file: The file as it was named by the user, or ``--set``.
        line: Line of the offending word, from 1; None where there is none.
        column: Column of the offending word, from 1; None where there is none.
        key: Dotted key, such as ``engine.parallelism``; empty when the file itself is at fault.
        message: What is wrong, what is allowed, and the nearest valid word.
        more: The other errors found in the same pass, in the order of the file.
    """

    def __init__(
        self,
        file: str,
        line: int | None,
        column: int | None,
        key: str,
        message: str,
        more: tuple[ScenarioError, ...] = (),
    ) -> None:
        super().__init__(file, line, column, key, message, more)
        self.file = file
        self.line = line
        self.column = column
        self.key = key
        self.message = message
        self.more = more

    def __str__(self) -> str:
        """``file:line:column: key: message``, one line for each error found."""
        return "\n".join([self._own_line(), *(str(error) for error in self.more)])

    def saying(self, message: str) -> ScenarioError:
        """The same place and key with another message."""
        return ScenarioError(self.file, self.line, self.column, self.key, message)

    def _own_line(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        return ": ".join(part for part in (place, self.key, self.message) if part)


def together(errors: list[ScenarioError]) -> ScenarioError:
    """Several errors (at least one) as one exception: the first, carrying the others."""
    first, *others = errors
    return ScenarioError(first.file, first.line, first.column, first.key, first.message, tuple(others))
