"""The `counters` of run.json: what each part used and did between two snapshots.

Threads are told apart by what the processes said of themselves (application, consumer client, producer client); the
rest is `other`.  Requests lie between two reports of a client's statistics and are interpolated to the edges.  The
broker's own counts are the sums of what its clients sent it; nothing else talks to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from real.procfs import Times, spent
from real.sampler import Snapshot
from real.servers.counts import Served
from real.wire import Coll, Gen, Work

Samples = Sequence[tuple[int, int]]
Counts = dict[str, Any]
_WORKER_THREADS = ("app", "consumer", "producer")


def requests_between(samples: Samples, begin_ns: int, end_ns: int) -> int | None:
    """Requests between two instants of the real-time clock; None without statistics."""
    if not samples:
        return None
    at, count = zip(*samples, strict=True)
    begin, end = np.interp([begin_ns, end_ns], at, count)
    return round(float(end - begin))


class Window:
    """What happened between two snapshots."""

    def __init__(
        self,
        begin: Snapshot,
        end: Snapshot,
        roles: Mapping[str, Mapping[str, Any]],
        hosts: Mapping[str, str] | None = None,
    ) -> None:
        """Between two snapshots.

        Args:
            begin: The first.
            end: The second.
            roles: Process or worker -> what it reported: `app`, `consumer`, ... threads and `requests`.
            hosts: Worker -> the process that has it, where that has others too.
        """
        self.begin, self.end, self.roles, self.hosts = begin, end, roles, hosts or {}

    def counters(self, generators: int, workers: int) -> Counts:
        """The object of run.json."""
        parts = [self._generator(f"generator.{i}") for i in range(generators)]
        each = [self._worker(f"worker.{i}") for i in range(workers)]
        ways: Counts = {}  # to the engine and from it, where a broker is between
        if "collector" in self.end.slots:
            collector = self._collector()
            ways = {"broker": self._broker(parts, each, collector), "collector": collector}
        generator = {key: _sum([part[key] for part in parts]) for key in parts[0]} if parts else {}
        return {
            "window_ns": self.end.at_ns - self.begin.at_ns,
            "generator": generator,
            **ways,
            "workers": each,
            **({"server": self._server()} if "server" in self.end.threads else {}),
            **({"engine": self._shared(each)} if self.hosts else {}),
            "host": self._host(),
        }

    def _generator(self, name: str) -> Counts:
        slots = self._slots(name)
        return {
            **self._threads(name, {"app": "app", "client": "client"}),
            "sleeps": slots[Gen.SLEEPS],
            "records": slots[Gen.RECORDS],
            "bytes": slots[Gen.BYTES],
            "produce_requests": self._requests(name, "Produce"),
        }

    def _worker(self, name: str) -> Counts:
        slots = self._slots(name)
        known = {
            "polls": Work.POLLS,
            "polls_empty": Work.POLLS_EMPTY,
            "records": Work.RECORDS,
            "points": Work.POINTS,
            "bytes_in": Work.BYTES_IN,
            "bytes_out": Work.BYTES_OUT,
            "poll_cpu_ns": Work.POLL_CPU,
            "decode_cpu_ns": Work.DECODE_CPU,
            "score_cpu_ns": Work.SCORE_CPU,
            "encode_cpu_ns": Work.ENCODE_CPU,
            "produce_cpu_ns": Work.PRODUCE_CPU,
        }
        return {
            **self._threads(name, {word: word for word in _WORKER_THREADS}),
            **{key: slots[slot] for key, slot in known.items()},
            "fetch_requests": self._requests(name, "Fetch"),
            "fetch_empty": None,
            "produce_requests": self._requests(name, "Produce"),
        }

    def _server(self) -> Counts:
        """Of an external server: all of its processes; what it took and kept, where it is ours and counts that."""
        whole = self._total("server") or Times()
        found = {"cpu_ns": whole.cpu_ns, "run_wait_ns": whole.wait_ns, "wakeups": whole.wakeups}
        if "server" in self.end.slots:
            slots = self._slots("server")
            found |= {"batches": slots[Served.BATCHES], "requests": slots[Served.REQUESTS]}
            found |= {"failed": slots[Served.FAILED], "busy_ns": slots[Served.BUSY_NS]}
            if slots[Served.HITS] + slots[Served.MISSES] + slots[Served.COALESCED]:
                found |= {"cache_hits": slots[Served.HITS], "cache_misses": slots[Served.MISSES]}
                found |= {"cache_coalesced": slots[Served.COALESCED], "cache_evicted": slots[Served.EVICTED]}
        return found

    def _shared(self, workers: list[Counts]) -> Counts:
        """What the process of several workers used beside their own threads."""
        (name,) = set(self.hosts.values())
        whole = self._total(name) or Times()
        own = [sum(w[f"{word}_cpu_ns"] for word in _WORKER_THREADS) for w in workers]
        return {
            "cpu_ns": max(0, whole.cpu_ns - sum(own)),
            "run_wait_ns": max(0, whole.wait_ns - sum(w["run_wait_ns"] for w in workers)),
            "wakeups": max(0, whole.wakeups - sum(w["wakeups"] for w in workers)),
        }

    def _collector(self) -> Counts:
        slots = self._slots("collector")
        return {
            **self._threads("collector", {"app": "app", "consumer": "consumer"}),
            "polls": slots[Coll.POLLS],
            "polls_empty": slots[Coll.POLLS_EMPTY],
            "records": slots[Coll.RECORDS],
            "bytes": slots[Coll.BYTES],
            "fetch_requests": self._requests("collector", "Fetch"),
        }

    def _broker(self, generators: list[Counts], workers: list[Counts], collector: Counts) -> Counts:
        times = self._total("broker")
        sources, readers = [*generators, *workers], [*workers, collector]
        return {
            "cpu_ns": None if times is None else times.cpu_ns,
            "run_wait_ns": None if times is None else times.wait_ns,
            "wakeups": None if times is None else times.wakeups,
            "produce_requests": _sum([part["produce_requests"] for part in sources]),
            "fetch_requests": _sum([part["fetch_requests"] for part in readers]),
            "fetch_empty": None,
            "records_in": _sum([part["records"] for part in sources]),
            "bytes_in": _sum([*(g["bytes"] for g in generators), *(w["bytes_out"] for w in workers)]),
            "records_out": _sum([part["records"] for part in readers]),
            "bytes_out": _sum([*(w["bytes_in"] for w in workers), collector["bytes"]]),
        }

    def _host(self) -> Counts:
        used = sum(self.end.cores.used_ns) - sum(self.begin.cores.used_ns)
        ours = [self._total(name) for name in self.end.threads]
        harness = self._total("harness") or Times()
        return {
            "cores": len(self.end.cores.used_ns),
            "used_ns": used,
            "steal_ns": self.end.cores.steal_ns - self.begin.cores.steal_ns,
            # Everything that is no part of the pipeline: the harness, other processes, the kernel's own threads.
            "other_cpu_ns": max(0, used - sum(t.cpu_ns for t in ours if t is not None) + harness.cpu_ns),
            "harness_cpu_ns": harness.cpu_ns,
        }

    def _threads(self, name: str, classes: Mapping[str, str]) -> Counts:
        """CPU by class of thread, with run-queue wait and wake-ups of the whole process and of each class."""
        host, role = self.hosts.get(name, name), self.roles.get(name, {})
        used = spent(self.begin.threads.get(host, {}), self.end.threads.get(host, {}))
        if host != name:  # the rest is not this one's
            mine = {tid for key in classes.values() for tid in _tids(role.get(key))}
            used = {tid: times for tid, times in used.items() if tid in mine}
        sums = {word: Times() for word in (*classes, "other")}
        for tid, times in used.items():
            word = next((word for word in classes if tid in _tids(role.get(classes[word]))), "other")
            sums[word] += times
        whole = Times()
        for times in sums.values():
            whole += times
        return {
            **{f"{word}_cpu_ns": times.cpu_ns for word, times in sums.items()},
            "run_wait_ns": whole.wait_ns,
            "wakeups": whole.wakeups,
            **{f"{word}_run_wait_ns": times.wait_ns for word, times in sums.items()},
            **{f"{word}_wakeups": times.wakeups for word, times in sums.items()},
        }

    def _slots(self, name: str) -> list[int]:
        begin, end = self.begin.slots[name], self.end.slots[name]
        return [b - a for a, b in zip(begin, end, strict=True)]

    def _requests(self, name: str, kind: str) -> int | None:
        samples = self.roles.get(name, {}).get("requests", {}).get(kind, [])
        return requests_between(samples, self.begin.at_ns, self.end.at_ns)

    def _total(self, name: str) -> Times | None:
        if name not in self.end.threads:
            return None
        whole = Times()
        for times in spent(self.begin.threads.get(name, {}), self.end.threads[name]).values():
            whole += times
        if name in self.begin.cpu_ns and name in self.end.cpu_ns:
            # Of a process that a fault replaced there is what its threads used since.
            whole = replace(whole, cpu_ns=max(whole.cpu_ns, self.end.cpu_ns[name] - self.begin.cpu_ns[name]))
        return whole


def _tids(value: Any) -> Sequence[int]:
    if value is None:
        return ()
    return value if isinstance(value, list) else (value,)


def _sum(values: Sequence[int | None]) -> int | None:
    return None if any(v is None for v in values) else sum(v for v in values if v is not None)
