"""What a run is doing, each second, for sinks: read from mapped memory and over the workers' state, from outside.

Measurements: `weir_run` (tags scenario, engine), `weir_worker` (and worker), `weir_model` (and worker, type, model).
Latencies are those of the records acknowledged since the point before, from their scheduled send time.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from real.model_stream.wire import Count
from real.sinks import Sinks
from real.sinks.points import Point, Value
from real.wire import OUT_NONE, OUT_PRODUCED, WORKER_ROW, Coll, Gen, Work

if TYPE_CHECKING:
    from real.cast import Cast

EVERY_S = 1.0
_STATE_S = 1.0
_PERCENTILES = {"p50": 50, "p95": 95, "p99": 99}
#: Of the models' counters, those that a point carries.
MODEL_COUNTS = {
    "models_received_total": Count.RECEIVED,
    "models_loaded_total": Count.LOADED,
    "load_failures_total": Count.LOAD_FAILURES,
    "superseded_total": Count.SUPERSEDED,
    "swaps_total": Count.SWAPS,
    "dropped_no_model_total": Count.DROPPED,
    "changelog_bytes_total": Count.CHANGELOG_BYTES,
}


@dataclass
class _Seen:
    """How far a worker's rows have been read, and those whose acknowledgement was still to come."""

    rows: NDArray[np.int64]
    used: int = 0
    waiting: list[int] = field(default_factory=list)

    def acknowledged(self) -> NDArray[np.int64]:
        """Rows that were acknowledged since the last call."""
        end = self.used
        while end < len(self.rows) and self.rows[end, 6] != OUT_NONE:
            end += 1
        fresh = [i for i in range(self.used, end) if self.rows[i, 6] == OUT_PRODUCED]
        self.used = end
        candidates = np.array([*self.waiting, *fresh], np.int64)
        if not len(candidates):
            return np.empty((0, self.rows.shape[1]), np.int64)
        done = self.rows[candidates, 7] > 0
        self.waiting = candidates[~done].tolist()
        found: NDArray[np.int64] = self.rows[candidates[done]]
        return found


class Watch:
    """Watches one run, in a thread of its own."""

    def __init__(self, cast: Cast, sinks: Sinks, due_ns: NDArray[np.int64], every_s: float = EVERY_S) -> None:
        """Begins with `start`.

        Args:
            cast: The run's processes.
            sinks: Where to; the caller's to close.
            due_ns: Scheduled send time of each record, from the run's start.
            every_s: Between two points.
        """
        self._cast, self._sinks, self._due, self._every = cast, sinks, due_ns, every_s
        self._tags = {"scenario": cast.scenario.name, "engine": cast.scenario.engine.kind}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._seen: dict[str, _Seen] = {}
        self._before: tuple[float, int, int] | None = None

    def start(self) -> None:
        """Begins; the run's processes are there."""
        width = WORKER_ROW.size // 8
        for name in self._cast.workers:
            rows = np.memmap(self._cast.rows(name), np.int64, "r").reshape(-1, width)
            self._seen[name] = _Seen(rows)
        self._thread = threading.Thread(target=self._loop, name="watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends with one last point; the processes may be gone, their counters are not."""
        if self._thread is None:
            return
        self._stopping.set()
        self._thread.join()
        self._thread = None
        self._sinks.put(self.points(models=False))

    def _loop(self) -> None:
        at = time.monotonic()
        while not self._stopping.is_set():
            self._sinks.put(self.points())
            at = max(at + self._every, time.monotonic())
            self._stopping.wait(at - time.monotonic())

    def points(self, *, models: bool = True) -> list[Point]:
        """What is so now; `models`: the workers are asked for theirs."""
        now = time.time_ns()
        return [self._run(now), *self._workers(now), *(self._models(now) if models else ())]

    def _sum(self, names: list[str], *slots: int) -> int:
        return sum(int(self._cast.slots[name].values[slot]) for name in names for slot in slots)

    def _run(self, now: int) -> Point:
        cast = self._cast
        sent, acked = self._sum(cast.generators, Gen.RECORDS), self._sum(cast.generators, Gen.ACKED)
        handled = self._sum(cast.workers, Work.RECORDS)
        collected = "collector" in cast.slots
        out = self._sum(["collector"], Coll.UNIQUE) if collected else self._sum(cast.workers, Work.ACKED)
        fields: dict[str, Value] = {
            "sent_total": sent,
            "acked_total": acked,
            "handled_total": handled,
            "out_total": out,
            "bad_total": self._sum(cast.workers, Work.BAD),
            "failed_total": self._sum(cast.workers, Work.FAILED),
            # What is read again after a restart counts once more there: never below zero.
            "lag": max(0, acked - handled),
        }
        if cast.models is not None:
            slots = cast.models.slots.values()
            fields |= {name: sum(int(each.values[slot]) for each in slots) for name, slot in MODEL_COUNTS.items()}
        clock = time.monotonic()
        if self._before is not None and clock > self._before[0]:
            took = clock - self._before[0]
            fields["sent_per_s"] = (sent - self._before[1]) / took
            fields["throughput_per_s"] = (out - self._before[2]) / took
        self._before = (clock, sent, out)
        return Point("weir_run", self._tags, fields | self._latency(), now)

    def _latency(self) -> dict[str, Value]:
        found = [rows for seen in self._seen.values() if len(rows := seen.acknowledged())]
        if not found:
            return {}
        rows = np.concatenate(found)
        known = rows[(rows[:, 0] >= 0) & (rows[:, 0] < len(self._due))]
        ms = (known[:, 7] - self._due[known[:, 0]]) / 1e6
        return {f"latency_acked_ms_{name}": float(np.percentile(ms, q)) for name, q in _PERCENTILES.items()}

    def _workers(self, now: int) -> list[Point]:
        found = []
        for name in self._cast.workers:
            slots = self._cast.slots[name].values
            fields: dict[str, Value] = {
                "handled_total": int(slots[Work.RECORDS]),
                "acked_total": int(slots[Work.ACKED]),
                "score_cpu_seconds_total": int(slots[Work.SCORE_CPU]) / 1e9,
            }
            found.append(Point("weir_worker", {**self._tags, "worker": name}, fields, now))
        return found

    def _models(self, now: int) -> list[Point]:
        if self._cast.models is None:
            return []
        found = []
        for path in sorted((self._cast.directory / "stream" / "instances").glob("[0-9]*.json")):
            state = _state(path)
            for kind, model in state.get("types", {}).items():
                tags = {**self._tags, "worker": f"worker.{state['instance']}", "type": kind, "model": model["name"]}
                found.append(Point("weir_model", tags, model_fields(model), now))
        for sink in self._sinks.all:
            if hasattr(sink, "forget"):
                sink.forget("weir_model")  # one that was replaced serves no more
        return found


def model_fields(model: dict[str, Any]) -> dict[str, Value]:
    """What of a current model goes into a point."""
    return {
        "version": int(model["version"]),
        "usage_total": int(model["usage"]),
        "score_seconds_total": int(model["total_ns"]) / 1e9,
        "score_max_ms": int(model["max_ns"]) / 1e6,
    }


def _state(path: Path) -> dict[str, Any]:
    """What an instance tells; nothing where it does not answer (killed, or just beginning)."""
    import os

    from real.model_stream.state_http import TOKEN_VARIABLE

    try:
        about = json.loads(path.read_text())
        host = f"[{about['host']}]" if ":" in about["host"] else about["host"]
        request = urllib.request.Request(f"http://{host}:{about['port']}/v1/state")
        if token := os.environ.get(TOKEN_VARIABLE):
            request.add_header("Authorization", f"Bearer {token}")
        with urllib.request.urlopen(request, timeout=_STATE_S) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except (OSError, ValueError):
        return {}
