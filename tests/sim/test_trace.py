"""The trace of what every thread did: its work is the reference's, its form the Chrome trace event format's."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from scenarios.load import load
from scenarios.spec import MS_NS, Arrival, Scenario
from sim import store, system, trace
from sim.costs import Calibration, HostCosts
from sim.reference import ReferenceExecution
from sim.reference_parts import Thread
from sim.system import System

ROOM = Path(__file__).resolve().parents[2] / "scenarios" / "engines"
SHIPPED = sorted(ROOM.glob("*.yaml"))
SHORT = ("workload.warmup=100 ms", "workload.duration=900 ms", "workload.drain=1 s")
ENGINES = pytest.mark.parametrize("path", SHIPPED, ids=[path.stem for path in SHIPPED])


def shipped(path: Path) -> tuple[Scenario, Calibration]:
    scenario = load(path, SHORT)
    return scenario, store.choose(scenario)


class Works(ReferenceExecution):
    """The reference, which notes the last CPU operation of each thread."""

    def __init__(self, sys: System) -> None:
        self.last = [0] * len(sys.threads)
        super().__init__(sys)

    def _cpu(self, me: Thread, *operands: int) -> Any:
        outcome = super()._cpu(me, *operands)
        self.last[me.number] = me.remaining if outcome is not None else 0
        return outcome


@pytest.mark.parametrize("kind", ["calm", "contended"])
@ENGINES
def test_a_trace_tells_all_the_work_of_every_thread(path: Path, kind: str, tmp_path: Path) -> None:
    scenario, calibration = shipped(path)
    if kind == "contended":
        calibration = replace(calibration, host=HostCosts(1, (1.0,), "slices", MS_NS))
    found = trace.trace(scenario, calibration, begin_ns=0, window_ns=300 * MS_NS)
    by_thread: dict[int, list[trace.Slice]] = defaultdict(list)
    for each in found.slices:
        by_thread[each.thread].append(each)
        assert each.end_ns - each.begin_ns >= each.work_ns > 0
    reference = Works(found.system)
    reference.advance(300 * MS_NS)
    for i, reading in enumerate(reference.threads()):
        mine = by_thread[i]
        assert all(a.end_ns <= b.begin_ns for a, b in pairwise(mine))
        # What is under way at the end of the window is no slice yet.
        under_way = reading.cpu_ns - sum(each.work_ns for each in mine)
        assert 0 <= under_way <= reference.last[i]
    file = tmp_path / "trace.json"
    count = trace.write(found, file)
    written = json.loads(file.read_text())
    assert len(written["traceEvents"]) == count
    check_format(written["traceEvents"], found)


def check_format(events: list[dict[str, Any]], found: trace.Trace) -> None:
    """By the Chrome trace event format: names first, then slices and flows in the order of time."""
    tracks = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["name"] == "thread_name"}
    processes = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    assert sorted(tracks.values()) == sorted(t.name for t in found.system.threads)
    assert set(processes.values()) == {t.process for t in found.system.threads}
    timed = [e for e in events if e["ph"] != "M"]
    assert [e["ts"] for e in timed] == sorted(e["ts"] for e in timed)
    begins: dict[tuple[int, int], set[float]] = defaultdict(set)
    flows: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for e in timed:
        assert (e["pid"], e["tid"]) in tracks
        if e["ph"] == "X":
            assert e["dur"] > 0
            assert e["args"]["work_us"] <= e["dur"] + 1e-6
            begins[e["pid"], e["tid"]].add(e["ts"])
        else:
            flows[e["id"]].append(e)
    assert flows
    for steps in flows.values():
        assert [e["ph"] for e in steps] == ["s", *["t"] * (len(steps) - 2), "f"]
        assert all(e["ts"] in begins[e["pid"], e["tid"]] for e in steps)


def test_a_records_flow_passes_every_part() -> None:
    scenario, calibration = shipped(ROOM / "flink-external.yaml")
    found = trace.trace(scenario, calibration, begin_ns=0, window_ns=300 * MS_NS)
    steps = [each.name for each in found.flows[0]]
    told = ["generator.record", "producer.request", "broker.produce", "worker.decode", "call.request"]
    told += ["server.score", "call.response", "worker.encode", "collector.record"]
    places = [steps.index(name) for name in told]
    assert places == sorted(places)


def test_a_trace_is_bounded() -> None:
    scenario, calibration = shipped(ROOM / "python.yaml")
    found = trace.trace(scenario, calibration, events_max=100, flows_max=3)
    assert found.cut
    assert len(found.slices) == 100
    assert len(found.flows) <= 3
    assert found.begin_ns == 100 * MS_NS
    assert found.end_ns < 300 * MS_NS
    fast = replace(scenario.workload, arrival=Arrival("constant", rate_per_s=1e6))
    sys = system.build(replace(scenario, workload=fast), calibration)
    assert trace.begins_ns(replace(scenario, workload=fast), sys) == 30 * MS_NS
