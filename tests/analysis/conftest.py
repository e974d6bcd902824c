"""Runs small enough to compute by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from analysis.columns import OUTCOMES, SCHEMA_VERSION
from analysis.records import empty_records
from scenarios.spec import MS_NS, S_NS, Arrival, Scenario, Workload

Columns = dict[str, Any]


def paced(
    rate: int = 100,
    seconds: int = 20,
    *,
    served: float | None = None,
    sent_rate: float | None = None,
    drain_s: float = 10.0,
    delay_ms: float = 4.0,
) -> Columns:
    """A constant load of `rate`, served in order at `served` a second (None: each `delay_ms` after its creation)."""
    n = rate * seconds
    r = empty_records(n)
    k = np.arange(n)
    r["created"] = k * S_NS // rate
    r["sent"] = r["created"].copy() if sent_rate is None else (k * S_NS / sent_rate).astype(np.int64)
    r["appended"] = r["sent"] + MS_NS
    delay = int(delay_ms * MS_NS)
    out = r["sent"] + delay if served is None else np.maximum(r["sent"] + delay, (k * S_NS / served).astype(np.int64))
    for i, stamp in enumerate(("fetched", "score_begin", "score_end", "produced"), start=4):
        r[stamp] = out - (8 - i) * 100_000
    r["out_appended"], r["acked"] = out, out + MS_NS
    r["outcome"][:] = OUTCOMES.index("scored")
    late = out > (seconds + drain_s) * S_NS
    for stamp in ("fetched", "score_begin", "score_end", "produced", "acked", "out_appended"):
        r[stamp][late] = -1
    r["outcome"][late] = OUTCOMES.index("in_flight")
    r["partition"], r["worker"], r["batch"] = k % 4, np.zeros(n, np.int64), k // 10
    return r


def scenario(rate: float = 100, seconds: int = 20, warmup: int = 0, **load: Any) -> Scenario:
    """The scenario of `paced`."""
    return Scenario(
        name="by-hand",
        workload=Workload(
            arrival=Arrival(rate_per_s=rate), warmup_ns=warmup * S_NS, duration_ns=(seconds - warmup) * S_NS, **load
        ),
    )


def meta(run_id: str, **more: Any) -> dict[str, Any]:
    """A run.json."""
    return {
        "schema": SCHEMA_VERSION,
        "id": run_id,
        "name": "by-hand",
        "backend": "sim",
        "started": "2024-01-02T03:04:05Z",
        "start_epoch_ms": 1_704_164_645_000,
        "scenario": {
            "name": "by-hand",
            "engine": {"kind": "python", "parallelism": 1},
            "workload": {"arrival": {"kind": "constant", "rate": "100 /s"}},
        },
        "seed": 1,
        "versions": {"python": "3.11"},
        "fingerprint": {"cpu": "x"},
        "calibration": {"name": "here", "match": True, "outside": []},
        "append_clock": "broker",
        "reason": "complete",
        "verdict": "STABLE",
        "verdict_reason": "",
        "metrics": {},
        "accounting": {},
        "counters": {},
        "timing": {},
        **more,
    }


HOST = {"second": [0, 1], "kind": ["core", "process"], "name": ["0", "broker"]} | {
    c: [5, 6] for c in ("cpu_ns", "wait_ns", "rss_bytes")
}


@pytest.fixture
def make_paced() -> Callable[..., Columns]:
    return paced


@pytest.fixture
def make_scenario() -> Callable[..., Scenario]:
    return scenario


@pytest.fixture
def make_meta() -> Callable[..., dict[str, Any]]:
    return meta


@pytest.fixture
def host() -> dict[str, Any]:
    return dict(HOST)
