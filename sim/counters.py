"""What is counted while a run goes on, and the counters of a run's window as run.json names them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.records import chosen
from scenarios.spec import Scenario
from sim.execution import Execution, ServiceReading
from sim.system import INPUT, OUTPUT, System


@dataclass(frozen=True, slots=True)
class Reading:
    """Every counter at one instant, by the number of its thread, producer or consumer."""

    at_ns: int
    cpu_ns: list[int]
    wait_ns: list[int]
    wakeups: list[int]
    polls: list[int]
    polls_empty: list[int]
    sleeps: list[int]
    coldness: list[int]
    produce_requests: list[int]
    fetches: list[int]
    fetches_empty: list[int]
    services: list[ServiceReading]


def read(execution: Execution, at_ns: int) -> Reading:
    """The counters now."""
    threads, producers, consumers = execution.threads(), execution.producers(), execution.consumers()
    return Reading(
        at_ns,
        [t.cpu_ns for t in threads],
        [t.wait_ns for t in threads],
        [t.wakeups for t in threads],
        [t.polls for t in threads],
        [t.polls_empty for t in threads],
        [t.sleeps for t in threads],
        [t.coldness for t in threads],
        [p.requests for p in producers],
        [c.requests for c in consumers],
        [c.empty for c in consumers],
        execution.services(),
    )


class Window:
    """What was counted between two readings."""

    def __init__(self, sys: System, records: dict[str, Any], begin: Reading, end: Reading) -> None:
        """Between two readings of a system whose records are known."""
        self.sys, self.records, self.begin, self.end = sys, records, begin, end
        self._by_lead: dict[str, list[int]] = defaultdict(list)
        for i, t in enumerate(sys.threads):
            words = t.name.split(".")
            for lead in {words[0], ".".join(words[:2]), t.name}:
                self._by_lead[lead].append(i)

    def threads(self, lead: str) -> list[int]:
        """The threads whose name begins with these words."""
        return self._by_lead.get(lead, [])

    def over(self, field: str, which: Iterable[int]) -> int:
        """The growth of a counter, over some threads or clients."""
        first, last = getattr(self.begin, field), getattr(self.end, field)
        return int(sum(last[i] - first[i] for i in which))

    def cold(self, which: Iterable[int]) -> float:
        """How cold threads came back from their sleeps, summed."""
        return self.over("coldness", which) / 65536

    def within(self, column: str) -> Any:
        """Which records have a stamp in the window."""
        stamps = self.records[column]
        return (stamps >= max(self.begin.at_ns, 0)) & (stamps < self.end.at_ns)

    def count(self, column: str) -> int:
        """How many records have."""
        return int(np.count_nonzero(self.within(column)))

    def scored_by(self) -> Any:
        """How many records each worker scored."""
        worker = chosen(self.records["worker"], self.within("score_end"))
        return np.bincount(worker, minlength=len(self.sys.workers))


def counters(scenario: Scenario, window: Window) -> dict[str, Any]:
    """The counters of a window.  `workers` are the scoring tasks; a part that a pipeline does not have is left out.

    What reads and writes for all workers alike (sources, sinks, a driver, the stages of a graph) is `engine`, with what
    the layout itself says of the engine.
    """
    sys = window.sys
    found: dict[str, Any] = {
        "window_ns": window.end.at_ns - window.begin.at_ns,
        "generator": _generator(window),
        **({"broker": _broker(window)} if sys.broker_threads else {}),
        "workers": _workers(scenario, window),
        **({"server": _server(window)} if window.threads("server") else {}),
        **({"collector": _collector(window)} if window.threads("collector.app") else {}),
        "host": {"steal_ns": 0, "other_cpu_ns": window.over("cpu_ns", window.threads("host"))},
    }
    shared = [i for lead in ("source", "sink", "driver", "stage") for i in window.threads(lead)]
    if shared or sys.facts:
        found["engine"] = {**sys.facts, **_threads(window, shared)}
    return found


def _threads(window: Window, which: list[int]) -> dict[str, int]:
    return {
        "cpu_ns": window.over("cpu_ns", which),
        "run_wait_ns": window.over("wait_ns", which),
        "wakeups": window.over("wakeups", which),
    }


def _server(window: Window) -> dict[str, int]:
    """Of the server that scoring tasks call: the one service of the system."""
    begin, end = window.begin.services[0], window.end.services[0]
    found = {"batches": end.takes - begin.takes, "requests": end.taken - begin.taken}
    if window.sys.services[0].cache:
        found |= {
            "cache_hits": end.hits - begin.hits,
            "cache_misses": end.misses - begin.misses,
            "cache_coalesced": end.coalesced - begin.coalesced,
            "cache_evicted": end.evicted - begin.evicted,
        }
    return {**_threads(window, window.threads("server")), **found}


def _generator(window: Window) -> dict[str, Any]:
    sys, over, cold = window.sys, window.over, window.cold
    apps = list(sys.generators)
    inputs = [k for k, p in enumerate(sys.producers) if p.topic == INPUT]
    clients = [sys.producers[k].client for k in inputs]
    gens = [*apps, *clients]
    sent = window.count("sent")
    return {
        "app_cpu_ns": over("cpu_ns", apps),
        "client_cpu_ns": over("cpu_ns", clients),
        "other_cpu_ns": over("cpu_ns", window.threads("generator.background")),
        "run_wait_ns": over("wait_ns", gens),
        "wakeups": over("wakeups", gens),
        "app_wakeups": over("wakeups", apps),
        "client_wakeups": over("wakeups", clients),
        "app_cold": cold(apps),
        "client_cold": cold(clients),
        "sleeps": over("sleeps", apps),
        "records": sent,
        "bytes": sent * sys.record_bytes[INPUT],
        "produce_requests": over("produce_requests", inputs),
    }


def _broker(window: Window) -> dict[str, Any]:
    sys, over = window.sys, window.over
    (in_bytes, out_bytes), mine = sys.record_bytes, window.threads("broker")
    came, went = window.count("appended"), window.count("out_appended")
    fetched = window.count("fetched")
    consumers = range(len(sys.consumers))
    return {
        "cpu_ns": over("cpu_ns", mine),
        "run_wait_ns": over("wait_ns", mine),
        "wakeups": over("wakeups", mine),
        "cold": window.cold(mine),
        "produce_requests": over("produce_requests", range(len(sys.producers))),
        "fetch_requests": over("fetches", consumers),
        "fetch_empty": over("fetches_empty", consumers),
        "records_in": came + went,
        "bytes_in": came * in_bytes + went * out_bytes,
        "records_out": fetched + went,
        "bytes_out": fetched * in_bytes + went * out_bytes,
    }


def _collector(window: Window) -> dict[str, Any]:
    over, cold = window.over, window.cold
    app, client = window.threads("collector.app"), window.threads("collector.consumer")
    mine = window.threads("collector")
    collected = window.count("out_appended")
    return {
        "app_cpu_ns": over("cpu_ns", app),
        "consumer_cpu_ns": over("cpu_ns", client),
        "other_cpu_ns": over("cpu_ns", window.threads("collector.background")),
        "run_wait_ns": over("wait_ns", mine),
        "wakeups": over("wakeups", mine),
        "app_wakeups": over("wakeups", app),
        "consumer_wakeups": over("wakeups", client),
        "app_cold": cold(app),
        "consumer_cold": cold(client),
        "polls": over("polls", app),
        "records": collected,
        "bytes": collected * window.sys.record_bytes[OUTPUT],
        "fetch_requests": over("fetches", [k for k, c in enumerate(window.sys.consumers) if c.topic == OUTPUT]),
    }


def _workers(scenario: Scenario, window: Window) -> list[dict[str, Any]]:
    sys, over, cold = window.sys, window.over, window.cold
    in_bytes, out_bytes = sys.record_bytes
    done_by = window.scored_by()
    reads = {c.application: k for k, c in enumerate(sys.consumers)}
    writes = {p.application: k for k, p in enumerate(sys.producers)}
    found = []
    idle = over("cpu_ns", window.threads("engine.background"))
    for w in range(len(sys.workers)):
        mine = window.threads(f"worker.{w}")
        consumers = [reads[i] for i in mine if i in reads]
        producers = [writes[i] for i in mine if i in writes]
        fetching = [sys.consumers[k].client for k in consumers]
        producing = [sys.producers[k].client for k in producers]
        apps = [i for i in mine if i not in (*fetching, *producing)]
        done = int(done_by[w])
        found.append(
            {
                "app_cpu_ns": over("cpu_ns", apps),
                "consumer_cpu_ns": over("cpu_ns", fetching),
                "producer_cpu_ns": over("cpu_ns", producing),
                # What goes on whatever the load, in equal shares: together they are the engine's.
                "other_cpu_ns": idle * (w + 1) // len(sys.workers) - idle * w // len(sys.workers),
                "run_wait_ns": over("wait_ns", mine),
                "wakeups": over("wakeups", mine),
                "app_wakeups": over("wakeups", apps),
                "consumer_wakeups": over("wakeups", fetching),
                "producer_wakeups": over("wakeups", producing),
                "consumer_cold": cold(fetching),
                "producer_cold": cold(producing),
                "polls": over("polls", apps),
                "polls_empty": over("polls_empty", apps),
                "records": done,
                "points": done * scenario.workload.points,
                "bytes_in": done * in_bytes,
                "bytes_out": done * out_bytes,
                "fetch_requests": over("fetches", consumers),
                "fetch_empty": over("fetches_empty", consumers),
                "produce_requests": over("produce_requests", producers),
            }
        )
    return found
