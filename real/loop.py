"""Event loops whose timers are exact, however many connections they watch."""

from __future__ import annotations

import asyncio
import resource
import select
import selectors
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from real.child import exact_timers

T = TypeVar("T")

#: File descriptors that stay free for whatever else the process opens.
_SPARE = 32
#: The soft limit is raised to at most this: there are fewer ports to connect from, and children walk their limits.
_DESCRIPTORS_MOST = 1 << 16
_SELECT_MOST = 1024  # select knows no higher descriptors


class ExactSelector(selectors.EpollSelector):
    """Epoll with exact timeouts: by itself it rounds them up to whole milliseconds, a select that waits for it not."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """See `selectors.BaseSelector.select`."""
        if (timeout is None or timeout > 0) and self.fileno() < _SELECT_MOST:
            select.select([self.fileno()], [], [], timeout)
            timeout = 0
        return super().select(timeout)


def in_loop(go: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs a coroutine in a loop whose timers are exact."""
    exact_timers()
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(ExactSelector())) as runner:
        return runner.run(go())


def free_descriptors() -> int:
    """How many files and connections this process may still open, once its soft limit is as high as it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = _DESCRIPTORS_MOST if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS_MOST)
    if soft == resource.RLIM_INFINITY:
        soft = _DESCRIPTORS_MOST
    elif soft < allowed:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
            soft = allowed
        except (OSError, ValueError):
            pass  # the soft limit holds
    return max(0, soft - sum(1 for _ in Path("/proc/self/fd").iterdir()) - _SPARE)
