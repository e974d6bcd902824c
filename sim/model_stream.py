"""The `model_stream` of run.json, of a simulated run: what became of every model message, of each worker and of all."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.columns import OUTCOMES
from scenarios.model_stream import publications, record_types
from scenarios.spec import MS_NS, ModelStream, Scenario
from sim.execution import Execution, ModelsReading
from sim.system import Int64s, Models, System, present

CAME, BEGUN, DONE, SWAPPED = range(4)
_SUMS = (
    *("models_received", "loaded", "load_failures", "superseded", "swaps", "restored"),
    *("changelog_bytes", "changelog_writes", "snapshot_bytes"),
)


def told(
    scenario: Scenario, stream: ModelStream, execution: Execution, records: dict[str, Any], start_ms: int
) -> dict[str, Any]:
    """The object of run.json.

    Args:
        scenario: What was simulated.
        stream: Its stream of models.
        execution: At the run's end.
        records: Columns of records.parquet.
        start_ms: The run's start, epoch.

    Returns:
        Sums over the workers, `workers` with each one's own, `types` with what served at the end (of several stores,
        the one that scored most records with it), `sent`: messages published; times in ns, `since` in epoch ms.
    """
    reading = execution.models()
    assert reading is not None
    of = _Of(scenario, stream, execution.system, reading, records, start_ms)
    workers = [of.worker(app) for app in execution.system.workers]
    outcome = np.asarray(records["outcome"])
    dropped = {word: int((outcome == OUTCOMES.index(word)).sum()) for word in ("dropped_no_model", "bad")}
    return {
        "sent": len(of.sent),
        "sizes_bytes": of.sizes_bytes(),
        **{key: sum(each[key] for each in workers) for key in _SUMS},
        **dropped,
        "types": of.types(range(len(reading.stores))),
        "load_ns": [took for each in workers for took in each["load_ns"]],
        "swap_gap_ns": [took for each in workers for took in each["swap_gap_ns"]],
        "workers": workers,
    }


class _Of:
    """One run's models."""

    def __init__(
        self,
        scenario: Scenario,
        stream: ModelStream,
        system: System,
        reading: ModelsReading,
        records: dict[str, Any],
        start_ms: int,
    ) -> None:
        self.stream, self.reading, self.start_ms = stream, reading, start_ms
        self.models: Models = present(system.models)
        self.names = record_types(scenario)
        self.deliveries = [y for r in self.models.receivers for y in r.deliveries]
        load = scenario.workload
        self.sent = publications(stream, load.warmup_ns + load.duration_ns)
        #: version by delivery: a receiver of all messages or of some gets them in the order they were sent
        self.versions: list[int] = []
        for receiver in self.models.receivers:
            ahead = iter(self.sent)
            for y in receiver.deliveries:
                self.versions.append(next(x.version for x in ahead if stream.messages.index(x.message) == y.model))
        done = (records["score_end"] >= 0) & (reading.scored >= 0)
        self.scored: Int64s = np.where(done, reading.scored, -1)
        self.begin, self.took = records["score_begin"], records["score_end"] - records["score_begin"]
        self.worker_of, self.outcome, self.workers = records["worker"], records["outcome"], system.workers
        self.partition, self.consumers = records["partition"], system.consumers

    def sizes_bytes(self) -> list[int]:
        """Of the model of each message, in the order they were sent."""
        size = {version: y.size_bytes for version, y in zip(self.versions, self.deliveries, strict=True)}
        return [size.get(each.version, -1) for each in self.sent]

    def worker(self, app: int) -> dict[str, Any]:
        """What one worker received, loaded and kept."""
        receivers = [k for k, r in enumerate(self.models.receivers) if r.application == app]
        stores = [s for s, owner in enumerate(self.models.owners) if owner == app]
        mine = [self.reading.receivers[k] for k in receivers]
        own = [self.reading.stores[s] for s in stores]
        kept, writes = sum(s.bytes for s in own), sum(s.keeps for s in own)
        snapshot = self.stream.state.kind == "snapshot"
        found = [d for k in receivers for d in self._numbers(k) if not self.deliveries[d].fails]
        row = self.reading.deliveries
        return {
            "models_received": sum(r.received for r in mine),
            "loaded": sum(r.loaded for r in mine),
            "load_failures": sum(r.failed for r in mine),
            "superseded": sum(s.superseded for s in own),
            "swaps": sum(s.swaps for s in own),
            "restored": sum(r.restored for r in mine),
            "changelog_bytes": 0 if snapshot else kept,
            "changelog_writes": 0 if snapshot else writes,
            "snapshot_bytes": kept if snapshot else 0,
            "dropped_no_model": self._dropped(app),
            "types": self.types(stores),
            "load_ns": [int(row[d, DONE] - row[d, BEGUN]) for d in found if row[d, DONE] >= 0],
            "swap_gap_ns": [self._gap(d) for d in found if row[d, SWAPPED] >= 0],
        }

    def _numbers(self, k: int) -> range:
        first = sum(len(r.deliveries) for r in self.models.receivers[:k])
        return range(first, first + len(self.models.receivers[k].deliveries))

    def _dropped(self, app: int) -> int:
        reads = next(c for c in self.consumers if c.application == app)
        here = (self.partition >= reads.first_partition) & (self.partition < reads.first_partition + reads.partitions)
        return int((here & (self.outcome == OUTCOMES.index("dropped_no_model"))).sum())

    def _gap(self, d: int) -> int:
        """How long records waited for the sake of a model: its load, if they wait for that, and its swap."""
        row, used = self.reading.deliveries[d], self.scored == d
        load = row[DONE] - row[BEGUN] if self.stream.load == "inline" else 0
        first = int(self.begin[used].min()) if used.any() else int(row[SWAPPED])
        return int(load) + max(0, first - int(row[SWAPPED]))

    def types(self, stores: Any) -> dict[str, Any]:
        """Type -> what serves it at the end in some of the stores, in the one that scored most with it."""
        found: dict[str, Any] = {}
        for s in stores:
            for kind, d in enumerate(self.reading.stores[s].current):
                if d < 0:
                    continue
                about = self._current(d)
                name = self.names[kind]
                if name not in found or about["usage"] > found[name]["usage"]:
                    found[name] = about
        return found

    def _current(self, d: int) -> dict[str, Any]:
        y = self.deliveries[d]
        message, took = self.stream.messages[y.model], self.took[self.scored == d]
        return {
            "name": message.name,
            "description": message.description,
            "format": message.format,
            "version": self.versions[d],
            "size_bytes": y.size_bytes,
            "since": self.start_ms + int(self.reading.deliveries[d, SWAPPED]) // MS_NS,
            "usage": len(took),
            "total_ns": int(took.sum()),
            "min_ns": int(took.min()) if len(took) else 0,
            "max_ns": int(took.max(initial=0)),
        }
