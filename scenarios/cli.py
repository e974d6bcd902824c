"""How every room's command line tells its user about a scenario error or an interruption."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from scenarios.errors import ScenarioError

EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


@contextmanager
def reported() -> Iterator[None]:
    """Turn a `ScenarioError` inside into its message on stderr and exit code 2, an interruption into 130."""
    try:
        yield
    except ScenarioError as error:
        print(error, file=sys.stderr)  # file:line:column first, as editors read it
        raise SystemExit(EXIT_USAGE) from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(EXIT_INTERRUPTED) from None
