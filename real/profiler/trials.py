"""A run cut into trials of so many completions: the series that convergence is read from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from real.profiler.open_loop import Open

#: Completions of a trial, where that is more than ten batches.
LEAST = 300
_BATCHES = 10


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial.

    Attributes:
        ended_s: Of its last answer, from the run's start.
        throughput_per_s: Completions over the time since the trial before.
        mean_ms: Latency.
        p99_ms: Latency.
        batch: Requests of a batch, on average.
        queue: Requests that waited when a batch was taken, on average.
        completions: How many.
    """

    ended_s: float
    throughput_per_s: float
    mean_ms: float
    p99_ms: float
    batch: float
    queue: float
    completions: int


def length(batch: int) -> int:
    """Completions of a trial."""
    return max(LEAST, _BATCHES * batch)


def trials(run: Open, completions: int, *, skip_s: float = 0.0) -> list[Trial]:
    """The whole trials of a run, in order of its answers.

    Args:
        run: An open-loop run.
        completions: A trial ends with the batch that brings so many.
        skip_s: Batches answered before that are left out.
    """
    found: list[Trial] = []
    begin, count, since = 0, 0, skip_s
    ended = run.done[run.first] / 1e9
    begin = int(np.searchsorted(np.maximum.accumulate(ended), skip_s)) if len(ended) else 0
    for at in range(begin, len(run.sizes)):
        count += int(run.sizes[at])
        if count < completions:
            continue
        batches = slice(begin, at + 1)
        last = float(ended[batches].max())
        of = np.concatenate([np.arange(f, f + s) for f, s in zip(run.first[batches], run.sizes[batches], strict=True)])
        latency_ms = (run.done[of] - run.due[of]) / 1e6
        found.append(
            Trial(
                last,
                count / max(1e-9, last - since),
                float(latency_ms.mean()),
                float(np.percentile(latency_ms, 99)),
                float(run.sizes[batches].mean()),
                float(run.queue[batches].mean()),
                count,
            )
        )
        begin, count, since = at + 1, 0, last
    return found
