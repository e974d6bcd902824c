"""What every sound run must satisfy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from analysis.runs import Run, read_run

MS_NS = 1_000_000
#: (earlier, later): both read from one host's clock; the broker's append stamps are floored to the millisecond.
ORDER = (
    ("created", "sent", 0),
    ("sent", "appended", MS_NS),
    ("appended", "fetched", 0),
    ("fetched", "score_begin", 0),
    ("score_begin", "score_end", 0),
    ("score_end", "produced", 0),
    ("produced", "acked", 0),
    ("produced", "out_appended", MS_NS),
)


def sound(path: Path, *, sent: int, stamps: bool = True) -> Run:
    """Nothing lost, nothing twice, every stamp there and in order."""
    run = read_run(path)
    counts, records = run.meta["accounting"], run.records
    assert run.meta["reason"] in ("complete", "records"), run.meta["verdict_reason"]
    assert run.meta["verdict"] != "INVALID", run.meta["verdict_reason"]
    assert counts["sent"] == counts["scored"] == len(records) == sent
    assert counts["lost"] == counts["duplicates"] == counts["in_flight"] == 0
    if stamps:
        ordered(records)
    return run


def ordered(records: Any) -> None:
    """Every stamp filled, in the order a record meets them; per partition, outputs in the order of inputs."""
    for earlier, later, floor in ORDER:
        assert (records[earlier] >= 0).all(), earlier
        assert (records[later] >= 0).all(), later
        gap = records[later] - records[earlier]
        assert (gap >= -floor).all(), f"{earlier} to {later}: {gap.min()} ns"
    for _, part in records.groupby("partition"):
        assert part["fetched"].is_monotonic_increasing
        assert part["out_appended"].is_monotonic_increasing
        assert part["batch"].groupby(part["worker"]).apply(lambda b: b.is_monotonic_increasing).all()
