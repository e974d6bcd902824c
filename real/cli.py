"""How the commands of this room tell their user about an error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


@contextmanager
def reported() -> Iterator[None]:
    """Errors as a message on stderr and an exit code; SIGTERM counts as an interruption."""
    from analysis.runs import RunError
    from real.errors import HarnessError, RefusedError
    from scenarios.cli import terminate_as_interrupt
    from scenarios.errors import ScenarioError

    terminate_as_interrupt()
    try:
        yield
    except ScenarioError as error:
        print(f"error: {error}" if not error.more else str(error), file=sys.stderr)
        raise SystemExit(EXIT_USAGE) from None
    except RefusedError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(EXIT_USAGE) from None
    except (HarnessError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(EXIT_FAILED) from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(EXIT_INTERRUPTED) from None
