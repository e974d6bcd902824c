"""Batching policies in a running pipeline: what a server takes, against arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from control.batching import Rules
from scenarios.load import load
from scenarios.spec import MS_NS, S_NS
from sim import costs, system
from sim.execution import Execution, LoopExecution
from sim.reference import ReferenceExecution
from sim.system import Int64s, Service, System
from tests.sim.layouts import Layout, costing, generator, station

ROOT = Path(__file__).resolve().parents[2]
BASE_NS, EACH_NS = MS_NS, MS_NS // 5
EXECUTORS = pytest.mark.parametrize("execution", [LoopExecution, ReferenceExecution])


def one_server(rules: Rules, due: Sequence[int], *, threads: int = 1, base_ns: int = BASE_NS) -> System:
    """Requests that come when they are due, and threads that take 1 + 0.2 n ms for n; nothing else takes any."""
    layout = Layout(due)
    layout.host()
    layout.generator(generator(service=0))
    sizes = layout.cost(*(costing(base_ns + n * EACH_NS) for n in range(1, rules.most + 1)))
    program = station(0, by_size=sizes)
    own = tuple(layout.thread(f"server.{k}", program, index=k) for k in range(threads))
    layout.services.append(Service(own, rules.most, rules.wait_ns, batching=rules))
    layout.workers = list(own)
    return layout.system(horizon_ns=10 * S_NS)


def run(execution: type[LoopExecution | ReferenceExecution], sys: System) -> dict[str, Int64s]:
    under_way: Execution = execution(sys)
    under_way.advance(sys.horizon_ns)
    return under_way.stamps()


def sizes(stamps: dict[str, Int64s], thread: int = 0) -> list[int]:
    """Requests in each batch of a thread."""
    mine = stamps["batch"][(stamps["worker"] == thread) & (stamps["score_end"] >= 0)]
    return [int(n) for n in np.bincount(mine)]


@EXECUTORS
def test_aimd_climbs_to_nine_tenths_of_its_slo(execution: type[LoopExecution | ReferenceExecution]) -> None:
    stamps = run(execution, one_server(Rules("aimd", 300, slo_ns=20 * MS_NS), [0] * 3000))
    found = sizes(stamps)
    assert found[:44] == [*range(1, 86, 2), 85]  # t(85) = 18 ms
    assert set(found[43:-1]) == {85}
    assert stamps["score_end"][0] == BASE_NS + EACH_NS
    assert stamps["score_end"].max() == sum(BASE_NS + n * EACH_NS for n in found)


@EXECUTORS
def test_a_slower_server_gets_smaller_batches(execution: type[LoopExecution | ReferenceExecution]) -> None:
    stamps = run(execution, one_server(Rules("aimd", 300, slo_ns=20 * MS_NS), [0] * 1500, base_ns=11 * MS_NS))
    found = sizes(stamps)
    assert found[:19] == [*range(1, 36, 2), 35]  # t(35) = 18 ms
    assert set(found[19:-1]) == {35}


@EXECUTORS
def test_a_quiet_hour_teaches_aimd_nothing(execution: type[LoopExecution | ReferenceExecution]) -> None:
    """Requests that come one by one are full batches of one only while the limit is one; then a crowd comes."""
    due = [*range(0, 500 * MS_NS, 5 * MS_NS), *[600 * MS_NS] * 50]
    found = sizes(run(execution, one_server(Rules("aimd", 300, slo_ns=20 * MS_NS), due)))
    assert found[:100] == [1] * 100
    assert found[100:] == [3, 5, 7, 9, 11, 13, 2]


@EXECUTORS
def test_a_line_through_samples_gives_the_batch(execution: type[LoopExecution | ReferenceExecution]) -> None:
    rules = Rules("quantile", 300, slo_ns=20 * MS_NS, samples=20)
    found = sizes(run(execution, one_server(rules, [0] * 1500)))
    assert found[:21] == list(range(1, 42, 2))  # the first is left out
    assert set(found[21:-1]) == {95}  # t(95) = 20 ms


@EXECUTORS
def test_a_deadline_that_is_missed_is_missed_ever_after(execution: type[LoopExecution | ReferenceExecution]) -> None:
    """Hundred requests at once: each batch is what the mean throughput of those before does in the time left.

    1 in 1.2 ms: 0.83 a ms, 18.8 left: 15 in 4 ms: 2.29 a ms, 14.8 left: 33 in 7.6 ms: 2.98 a ms, 7.2 left: 21 in
    5.2 ms: 3.24 a ms, 2 left: 6 in 2.2 ms.  That is 20.2 ms; nothing is left, and the rest goes one by one.
    """
    found = sizes(run(execution, one_server(Rules("deadline", 300, slo_ns=20 * MS_NS), [0] * 100)))
    assert found == [1, 15, 33, 21, 6, *[1] * 24]


@EXECUTORS
def test_a_full_batch_is_waited_for(execution: type[LoopExecution | ReferenceExecution]) -> None:
    due = [0, 10 * MS_NS, 20 * MS_NS, 200 * MS_NS]
    stamps = run(execution, one_server(Rules("fixed", 3), due))
    assert sizes(stamps) == [3, 1]
    assert stamps["score_begin"].tolist() == [20 * MS_NS] * 3 + [300 * MS_NS]


@EXECUTORS
def test_threads_share_what_they_learn(execution: type[LoopExecution | ReferenceExecution]) -> None:
    """Two threads take one each; the first to be done sees room, the second's batch is not full any more."""
    stamps = run(execution, one_server(Rules("aimd", 300, slo_ns=20 * MS_NS), [0] * 100, threads=2))
    by_thread = [sizes(stamps, k) for k in range(2)]
    # Both take 1 until 1.2 ms.  Thread 0 takes 3 then, as does thread 1; both are done at 2.8 ms; then 5, then 7.
    assert [found[:4] for found in by_thread] == [[1, 3, 5, 7], [1, 3, 5, 7]]


def test_what_a_scenario_says_reaches_the_service(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    calibration = costs.read(ROOT / "calibrations" / "textbook.json")

    def service(serving: str) -> Service:
        path.write_text(f"workload: {{arrival: {{rate: 5 /s}}}}\nserving: {{kind: external, {serving}}}\n")
        return system.build(load(path), calibration).services[0]

    found = service("workers: 2, batch: 64, batching: {policy: quantile, slo: 20 ms, samples: 700}")
    assert found.batching == Rules("quantile", 64, 0, 20 * MS_NS, 700)
    assert service("batch: 64, batching: {policy: quantile, slo: 1 s}").batching == Rules("quantile", 64, slo_ns=S_NS)
    found = service("batch: 64, batch_delay: 2 ms, batching: {policy: deadline, slo: 20 ms}")
    assert (found.delay_ns, found.batching) == (2 * MS_NS, Rules("deadline", 64, 2 * MS_NS, 20 * MS_NS))
    assert service("batch: 64, batching: {policy: fixed}").delay_ns == 100 * MS_NS
    assert service("batch: 64, batching: {policy: eager}").delay_ns == 0
    assert service("batch: 64, batch_delay: 3 ms").batching is None


def test_first_batches_are_numbered_after_the_largest() -> None:
    """The cost of a cold batch stands behind those of all sizes, whatever the limit is."""
    for execution in (LoopExecution, ReferenceExecution):
        layout = Layout([0] * 10)
        layout.host()
        layout.generator(generator(service=0))
        by_size = layout.cost(*(costing(n * MS_NS) for n in range(1, 6)), costing(50 * MS_NS))
        own = (layout.thread("server", station(0, by_size=by_size)),)
        rules = Rules("aimd", 5, slo_ns=20 * MS_NS)
        layout.services.append(Service(own, 5, batching=rules, first_batches=1))
        layout.workers = list(own)
        stamps = run(execution, layout.system())
        # The cold one was too slow: the limit stays 1; then 3, 5 and 1.
        assert sizes(stamps) == [1, 1, 3, 5]
        assert stamps["score_end"].tolist() == [50 * MS_NS, 51 * MS_NS] + [54 * MS_NS] * 3 + [59 * MS_NS] * 5
