"""What the simulator's commands share: how errors and interruptions end them, how tables are printed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from scenarios.cli import quieten

#: Options that `run` and `sweep` have alike.
Junit = Annotated[Path | None, typer.Option("--junit", help="Write a JUnit XML file too, a test a point.")]
Markdown = Annotated[Path | None, typer.Option("--markdown", help="Write a summary in Markdown too.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", callback=quieten, help="No progress and no notes on stderr.")]

EXIT_FAILED, EXIT_USAGE, EXIT_EXPECT, EXIT_CALIBRATION = 1, 2, 3, 4


@contextmanager
def reported() -> Iterator[None]:
    """Errors as a message on stderr and an exit code; SIGTERM counts as an interruption."""
    from concurrent.futures.process import BrokenProcessPool

    from analysis.runs import RunError
    from analysis.search import SearchError
    from scenarios import cli
    from sim.execution import SimulationError
    from sim.store import CalibrationError
    from sim.system import UnsupportedError

    cli.terminate_as_interrupt()
    with ExitStack() as stack:
        stack.enter_context(cli.reported())
        try:
            yield
        except CalibrationError as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(EXIT_CALIBRATION) from None
        except (UnsupportedError, SearchError) as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(EXIT_USAGE) from None
        except (SimulationError, RunError) as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(EXIT_FAILED) from None
        except BrokenProcessPool:
            print("error: a worker process died, for want of memory perhaps: try --jobs 1", file=sys.stderr)
            raise SystemExit(EXIT_FAILED) from None


@contextmanager
def resumable(folder: Path, counts: list[int] | None) -> Iterator[None]:
    """Says on an interruption what is kept, and how to go on.

    Args:
        folder: Where it is kept.
        counts: Simulations done and in all, kept up to date; None where that is not known.
    """
    try:
        yield
    except KeyboardInterrupt:
        kept = f"{counts[0]} of {counts[1]} simulations are kept" if counts else "probes made are kept"
        print(f"{kept} in {folder}; the same command goes on from there", file=sys.stderr)
        raise


def which(swept: dict[str, Any]) -> str:
    """What leads a line that is of one point of a sweep."""
    return f"{', '.join(f'{key} {value}' for key, value in swept.items())}: " if swept else ""


def print_table(table: Any) -> None:
    """Prints a rich table; into a file or a pipe no column is cut."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 200).print(table)


@contextmanager
def kept(folder: Path) -> Iterator[Callable[[int, int], None]]:
    """Progress of simulations that are kept in a folder; an interruption says how many."""
    from sim import shown

    counts = [0, 0]
    with resumable(folder, counts), shown.Progress("simulations") as progress:

        def tell(done: int, total: int) -> None:
            counts[:] = [done, total]
            progress(done, total)

        yield tell
