"""How the cost of one record spreads around what the fit says, from the stamps of single records.

CPU is counted by run, and a run says nothing of how one record differs from the next.  Stamps do, for what lies between
two of them with nothing else: scoring, and in a poll of several records the parsing of the next one.  They tell time,
not CPU; where a thread was put aside in between, the simulator has that already as waiting for a core.  So the runs
whose worker waited least for a core speak first, as many as are needed, and what exceeds the usual by half a slice is
left out.  The rest is brought to mean 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.profiles import ProfileRun

#: Quantiles of a residual: at 0, 1/16, ..., 1.
QUANTILES = 17
#: Fewer records than this carry no tail.
FEWEST = 1000


def residuals(
    runs: Sequence[ProfileRun], records: Mapping[str, Any], model: Any, slice_ns: float
) -> dict[str, tuple[float, ...]]:
    """Cost -> quantiles of actual over fitted, mean 1; a cost without records enough is left out.

    Args:
        runs: Of the profile.
        records: Run -> columns of records.parquet.
        model: Of the scenario: other models' runs say nothing of its scoring.
        slice_ns: Of the host.
    """
    own = sorted((r for r in runs if r.scenario.model == model), key=_waited)
    scored, parsed = [], []
    for run in own:
        score, parse = _spans(records[run.name])
        scored.append(score)
        parsed.append(parse)
    found = {}
    for name, samples in (("worker.score", scored), ("worker.decode", parsed)):
        quantiles = _quantiles(samples, slice_ns)
        if quantiles is not None:
            found[name] = quantiles
    return found


def _waited(run: ProfileRun) -> float:
    """The worker's wait for a core over its CPU; where nobody counted it, last."""
    worker = run.counters["workers"][0]
    used = worker["app_cpu_ns"]
    return float(worker["run_wait_ns"] / used) if used and worker.get("run_wait_ns") is not None else float("inf")


def _spans(records: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ns that scoring took, and from one record's output to the next one's scoring, within a poll."""
    names = ("score_begin", "score_end", "produced", "batch", "worker")
    columns = {name: np.asarray(records[name]) for name in names}
    seen = (columns["score_begin"] >= 0) & (columns["score_end"] >= 0) & (columns["produced"] >= 0)
    order = np.lexsort((columns["score_begin"][seen], columns["worker"][seen]))
    begin, end, produced, batch, worker = (
        columns[n][seen][order] for n in ("score_begin", "score_end", "produced", "batch", "worker")
    )
    together = (np.diff(batch) == 0) & (np.diff(worker) == 0) & (batch[1:] >= 0)
    return (end - begin).astype(np.float64), (begin[1:] - produced[:-1])[together].astype(np.float64)


def _quantiles(samples: Sequence[NDArray[np.float64]], slice_ns: float) -> tuple[float, ...] | None:
    """Of all runs' samples, each over its run's own mean: what differs from run to run is the fit's."""
    ratios: list[NDArray[np.float64]] = []
    for sample in samples:
        if sum(map(len, ratios)) >= FEWEST:
            break
        usual = sample[sample > 0]
        if len(usual):
            usual = usual[usual <= np.median(usual) + slice_ns / 2]
            ratios.append(usual / np.mean(usual))
    every = np.concatenate(ratios) if ratios else np.empty(0)
    if len(every) < FEWEST:
        return None
    quantiles = np.quantile(every, np.linspace(0.0, 1.0, QUANTILES))
    # The table is read by straight lines between the quantiles: its last line ends where it has the mean of what lies
    # there, not at the largest ever seen; and it is that reading that has mean 1.
    last = every[every >= quantiles[-2]]
    quantiles[-1] = max(quantiles[-2], 2 * float(np.mean(last)) - quantiles[-2])
    mean = float(np.mean((quantiles[1:] + quantiles[:-1]) / 2))
    return tuple(float(q) for q in quantiles / mean)
