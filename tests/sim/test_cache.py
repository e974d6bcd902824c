"""A server that keeps answers: by hand, and by the law that its throughput follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scenarios.keys import keys_of
from scenarios.spec import S_NS, US_NS, Arrival, Cache, Engine, Scenario, Serving, Workload
from sim import costs
from sim import operations as op
from sim.execution import Execution, LoopExecution, ServiceReading
from sim.reference import ReferenceExecution
from sim.run import simulate
from sim.system import Cache as Keeps
from sim.system import Exchange, Int64s, Service, System
from tests.sim.layouts import Layout, costing, generator, gets, server, table

ROOT = Path(__file__).resolve().parents[2]
EXECUTORS = pytest.mark.parametrize("execution", [LoopExecution, ReferenceExecution])


def asked(due: Sequence[int], keys: Sequence[int], *, room: int, callers: int = 8, batch: int = 1) -> System:
    """Callers and one server thread: 100 us a batch, 10 us for a message; an answer takes one byte."""
    layout = Layout(due)
    layout.host()
    gen = layout.generator(generator(exchange=0))
    program = gets(0, is_worker=True).do(op.STAMP, op.SCORE_BEGIN, op.ONE).do(op.CALL, 0).do(op.RECV)
    program.do(op.STAMP, op.SCORE_END, op.ONE).do(op.DONE).do(op.JUMP, "next")
    readers = tuple(layout.thread(f"caller.{n}", program, index=n) for n in range(callers))
    layout.exchanges.append(Exchange((gen,), readers))
    score = layout.cost(costing(100 * US_NS))
    kept = Keeps(room, 1, max(keys) + 1, np.array(keys, dtype=np.int64))
    layout.services.append(Service((layout.thread("server", server(0, score=score)),), batch, cache=kept))
    layout.workers = list(readers)
    return layout.system(network=table(10.0 * US_NS), horizon_ns=60 * S_NS)


def run(execution: type[LoopExecution | ReferenceExecution], sys: System) -> tuple[list[float], ServiceReading]:
    """How long each record's call took, in us, and what the server did."""
    under_way: Execution = execution(sys)
    under_way.advance(sys.horizon_ns)
    stamps: dict[str, Int64s] = under_way.stamps()
    return ((stamps["score_end"] - stamps["score_begin"]) / US_NS).tolist(), under_way.services()[0]


@EXECUTORS
def test_by_hand(execution: type[LoopExecution | ReferenceExecution]) -> None:
    due = [at * US_NS for at in (0, 50, 60, 300, 400, 900, 1200)]
    times, did = run(execution, asked(due, [0, 0, 1, 0, 2, 1, 0], room=2))
    # Key 0 is scored from 10 to 110.  50: it is in flight, the answer comes at 120.  60: key 1 waits until 110, scored
    # at 210.  300: key 0 is there: two messages.  400: key 2, for which 1 has to go, since 0 was asked for.  900: key 1
    # again, for which 0 has to go, which has no mark any more.  1200: key 0 again.
    assert times == [120, 70, 160, 20, 120, 120, 120]
    assert did == ServiceReading(5, 5, 40 * US_NS, 0, 0, 0, hits=1, misses=5, coalesced=1, evicted=3)


@EXECUTORS
def test_those_who_wait_are_answered_as_they_came(
    execution: type[LoopExecution | ReferenceExecution],
) -> None:
    times, did = run(execution, asked([0, 5 * US_NS, 7 * US_NS, 20 * US_NS], [0, 0, 0, 0], room=0))
    assert times == [120, 115, 113, 100]
    assert (did.taken, did.coalesced, did.hits) == (1, 3, 0)


@EXECUTORS
def test_a_batch_answers_all_who_wait_for_any_of_it(execution: type[LoopExecution | ReferenceExecution]) -> None:
    times, did = run(execution, asked([0] * 6, [5, 0, 1, 0, 1, 2], room=10, batch=3))
    # Keys 5, 0 and 1 together, which answers the others that ask for 0 and 1; then 2.
    assert times == [120, 120, 120, 120, 120, 220]
    assert (did.takes, did.taken, did.coalesced) == (2, 4, 2)


@pytest.mark.parametrize(("popular", "room"), [(10, 1 << 20), (40, 20)])
def test_throughput_is_what_the_server_does_by_what_misses(popular: int, room: int) -> None:
    """mu / (1 - h): the server is busy all the time, and only with what is neither there nor in flight."""
    rng = np.random.default_rng(5)
    n = 20_000
    keys = np.where(rng.random(n) < 0.5, rng.integers(0, popular, n), popular + np.arange(n)).tolist()
    execution = LoopExecution(asked([0] * n, keys, room=room, callers=200))
    execution.advance(60 * S_NS)
    did, end = execution.services()[0], int(execution.stamps()["score_end"].max())
    h = (did.hits + did.coalesced) / n
    assert 0.3 < h < 0.51
    assert n / end == pytest.approx(1 / (100 * US_NS) / (1 - h), rel=0.01)


def test_a_scenario_with_a_cache() -> None:
    scenario = Scenario(
        "cached",
        workload=Workload(arrival=Arrival("poisson", rate_per_s=2000.0), duration_ns=2 * S_NS, warmup_ns=0),
        engine=Engine("standalone", parallelism=16),
        serving=Serving("external", workers=4, batch_records=8, cache=Cache(keys=1000)),
    )
    calibration = costs.read(ROOT / "calibrations" / "textbook.json")
    runs = [simulate(scenario, calibration, backend=backend) for backend in ("loop", "simpy")]
    assert runs[0].meta["counters"] == runs[1].meta["counters"]
    did = runs[0].meta["counters"]["server"]
    sent = runs[0].meta["accounting"]["sent"]
    # Nothing leaves a cache of 32 MiB: each key that is asked for is scored once.  The window may end before the last
    # records of the 16 tasks have asked.
    keys = len(np.unique(keys_of(scenario.workload.seed, sent, 1000, 1.0)))
    assert did["cache_evicted"] == 0
    assert keys - 16 <= did["requests"] <= did["cache_misses"] <= keys
    assert sent - keys - 16 <= did["cache_hits"] + did["cache_coalesced"] <= sent - keys
    assert did["batches"] <= did["requests"]
    without = simulate(replace(scenario, serving=replace(scenario.serving, cache=None)), calibration)
    assert without.meta["counters"]["server"]["requests"] == pytest.approx(sent, abs=16)
    assert "cache_hits" not in without.meta["counters"]["server"]
