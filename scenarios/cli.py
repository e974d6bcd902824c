"""How every room's command line tells its user about a scenario error or an interruption."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from scenarios.errors import ScenarioError

#: Set by `--quiet`: no progress and no notes on stderr, only errors.  In the environment, so that children know too.
QUIET = "WEIR_QUIET"
#: Set by a command that starts another one of ours: it ends when its parent does, however that ends.
DIES_WITH_PARENT = "WEIR_DIES_WITH_PARENT"
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


def quieten(asked: bool) -> bool:
    """What `--quiet` does."""
    if asked:
        os.environ[QUIET] = "1"
    return asked


def quiet() -> bool:
    """Whether progress and notes are not wanted."""
    return bool(os.environ.get(QUIET))


def die_with_parent() -> None:
    """Has the kernel send SIGTERM when the parent dies, where the parent asked for that (Linux)."""
    if DIES_WITH_PARENT not in os.environ:
        return
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)  # PR_SET_PDEATHSIG
    if os.environ[DIES_WITH_PARENT] != str(os.getppid()):
        raise SystemExit(EXIT_INTERRUPTED)  # it died before


def terminate_as_interrupt() -> None:
    """Makes SIGTERM an interruption: what was done is kept, and the exit code is 130."""

    def interrupt(_number: int, frame: FrameType | None) -> None:
        handler = signal.getsignal(signal.SIGINT)
        if callable(handler):  # an event loop's own, while one runs: it ends its task, wherever the signal comes
            handler(signal.SIGINT, frame)
        else:
            raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns an `OSError` inside, where a file that the user named is written, into a `ScenarioError` that names it."""
    try:
        yield
    except OSError as error:
        raise ScenarioError(str(path), None, None, "", f"cannot be written: {error.strerror or error}") from None


def check_writable(path: Path) -> None:
    """Finds out before the work whether its result can be written; leaves no file behind and changes none.

    Raises:
        ScenarioError: It cannot.
    """
    with writing(path):
        place = Path(os.path.realpath(path))
        new = not place.exists()
        if new or place.is_file() or place.is_dir():  # a pipe is not opened twice
            place.open("ab").close()
        if new:
            place.unlink()


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
