"""The simulator: programs, the SimPy reference, the compiled loop and the costs they consume.

From Python: `from sim import simulate, sweep` (`sim.library`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sim.library import Run, Sweep, simulate, sweep

__all__ = ["Run", "Sweep", "simulate", "sweep"]


def __getattr__(name: str) -> Any:
    """Imports the library when it is asked for: `import sim` alone stays light."""
    if name in __all__:
        from sim import library

        return getattr(library, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
