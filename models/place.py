"""Where a runtime scores, and by how many threads, as whoever starts the process decides it: by its environment."""

from __future__ import annotations

import os

#: Threads that a runtime may use; absent: one, for parallelism is the engine's, and a core is one worker's.
THREADS = "WEIR_THREADS"
#: Number of the GPU that a runtime scores on; absent: it scores on the CPU.
GPU = "WEIR_GPU"


def threads() -> int:
    """Threads that a runtime may use."""
    return int(os.environ.get(THREADS, "1"))


def gpu() -> int | None:
    """The GPU to score on; None: the CPU."""
    number = os.environ.get(GPU)
    return None if number is None else int(number)
