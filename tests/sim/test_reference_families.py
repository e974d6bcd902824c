"""Exchanges, services, micro-batches and processor sharing: the reference against arithmetic, the loop against it."""

from __future__ import annotations

import heapq
import random
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from scenarios.draws import PURPOSE_CPU, PURPOSE_FLUSH, TABLE_SIZE, draw, quantile
from scenarios.spec import MS_NS, S_NS, US_NS
from sim import operations as op
from sim.execution import LoopExecution, SimulationError
from sim.reference import ReferenceExecution
from sim.system import COST_BITS, RESIDUAL_BITS, Cost, Exchange, Int64s, Service, System
from tests.sim import families, layouts, model_systems, pipelines

RANDOM = range(60)


def run(system: System) -> ReferenceExecution:
    execution = ReferenceExecution(system)
    execution.advance(system.horizon_ns)
    return execution


def us(stamps: dict[str, Int64s], name: str) -> list[float]:
    return [float(at) / US_NS for at in stamps[name]]


# Pencil and paper: `families` says what is laid out


def test_calls_in_batches() -> None:
    execution = run(families.calls_in_batches())
    stamps = execution.stamps()
    # A timed sleep takes 2 us more, a wake-up 1, a message 3.
    assert us(stamps, "sent") == [0, 6, 42]
    assert us(stamps, "score_begin") == [0, 7, 43]
    # The server waits for company from 4 to 11, where the second request wakes it: 2 x 1 + 9 us of work for both.
    # The third waits in vain, from 46 on: 1 + 6 us of work from 58.
    assert us(stamps, "score_end") == [26, 26, 69]
    for name in ("produced", "acked", "out_appended"):
        assert us(stamps, name) == [26, 26, 69]
    assert stamps["worker"].tolist() == [0, 1, 2]
    assert [reading.cpu_ns for reading in execution.threads()] == [0, 0, 0, 0, 18 * US_NS]


def test_flush_ticks() -> None:
    system = families.flush_ticks()
    phase = draw(system.seed, 0, 0, PURPOSE_FLUSH, 0) % (100 * US_NS)
    assert 20 * US_NS < phase < 80 * US_NS
    stamps = run(system).stamps()
    assert stamps["sent"].tolist() == [at * US_NS for at in (10, 20, 250, 260, 270, 280)]
    # Three records pass on at once; the timer that was pending then finds nothing, and the last record has its own.
    full = 270 * US_NS
    assert stamps["score_begin"].tolist() == [phase, phase, full, full, full, phase + 300 * US_NS]


def test_a_flush_timer_is_never_due_now() -> None:
    system = families.flush_ticks()
    phase = draw(system.seed, 0, 0, PURPOSE_FLUSH, 0) % (100 * US_NS)
    system.created[:] = phase
    assert run(system).stamps()["score_begin"].tolist() == [*[phase] * 3, *[phase] * 3]  # two full buffers
    system.created[:] = [phase, *[phase + 1] * 5]
    stamps = run(system).stamps()
    assert stamps["score_begin"].tolist() == [phase + 1] * 6
    system.created[:] = [phase, phase, *[phase + 200 * US_NS] * 4]
    stamps = run(system).stamps()
    assert stamps["score_begin"].tolist() == [
        *[phase + 100 * US_NS] * 2,
        *[phase + 200 * US_NS] * 3,
        phase + 300 * US_NS,
    ]


def test_back_pressure() -> None:
    stamps = run(families.back_pressure()).stamps()
    # Writers wait in line: each record needs the room that the one before it leaves, and 1 us for the wake-up.
    assert us(stamps, "sent") == [0, 0, 0, 11, 1, 31]
    assert us(stamps, "score_begin") == [0, 20, 10, 40, 30, 50]
    assert us(stamps, "acked") == [10, 30, 20, 50, 40, 60]


def test_micro_batches() -> None:
    execution = run(families.micro_batches())
    stamps = execution.stamps()
    # Planned at 10, 112 and 214: an interval of 100 us, waits that end 2 us late, 10 us of planning.
    # The first batch is cut in partition 0, the second begins with partition 1 and ends within partition 2.
    assert stamps["batch"].tolist() == [0, 0, 0, 0, 2, 1, 1, 1, 1, 2]
    assert stamps["worker"].tolist() == [0, 0, 0, 0, 0, 0, 0, 1, 1, 1]
    assert us(stamps, "fetched") == [20] * 4 + [221] + [120] * 4 + [221]
    assert us(stamps, "acked") == [23, 26, 29, 32, 224, 123, 126, 123, 126, 224]
    assert [reading.cpu_ns // US_NS for reading in execution.threads()] == [9 + 7 + 6 + 21, 7 + 6 + 9, 30]


@pytest.mark.parametrize("calls_back", [True, False])
def test_deliveries_end_a_flush(calls_back: bool) -> None:
    told: list[tuple[int, str]] = []
    system = families.deliveries(calls_back=calls_back)
    execution = ReferenceExecution(
        system, trace=lambda at, name, text: told.append((at // US_NS, text)) if name == "executor" else None
    )
    execution.advance(system.horizon_ns)
    assert us(execution.stamps(), "out_appended") == [11, 11]  # 1 + 1 for wake-ups, 3 under way, 1 to wake, 5 of work
    # The client's own thread has the answer at 15 and calls back there; the executor wakes up for it 1 us later.
    assert us(execution.stamps(), "acked") == ([15, 15] if calls_back else [16, 16])
    assert execution.acked() == 2
    assert [line for line in told if "FLUSH" in line[1]] == [(1, "FLUSH, waits"), (16, "FLUSH")]


def test_shared_processor() -> None:
    # 256 units a ns for one thread, 192 each for two, 128 each for three.
    system = families.shared_processor([0, 10, 20], [[100], [100], [50]], (1, 1.5))
    assert system.hosts[0].shares == (256, 192, 128)
    execution = ReferenceExecution(system)
    execution.advance(130)
    # At 10 the virtual time is 2,560, at 20 4,480, at 120 17,280: the third thread is done; at 130 19,200.
    assert [reading.cpu_ns for reading in execution.threads()] == [19_200 // 256, (19_200 - 2_560) // 256, 50]
    execution.advance(system.horizon_ns)
    # The first needs 25,600: 44 ns (43.3) at 192; the second 28,160 from 25,728 on: 10 ns (9.5) alone.
    assert execution.stamps()["acked"].tolist() == [164, 174, 120]
    assert [reading.cpu_ns for reading in execution.threads()] == [100, 100, 50]
    assert all(reading.wait_ns == 0 for reading in execution.threads())


def test_two_finish_at_once_where_shares_round() -> None:
    # 170 units a ns for three: 100 ns of work take 151 ns (150.6), and all of them are done then.
    system = families.shared_processor([0, 0, 0], [[100]] * 3, (1, 2, 2))
    assert system.hosts[0].shares == (256, 256, 170)
    assert run(system).stamps()["acked"].tolist() == [151] * 3


@pytest.mark.parametrize("seed", range(25))
def test_a_shared_processor_ns_by_ns(seed: int) -> None:
    rng = random.Random(seed)
    threads = rng.randrange(2, 6)
    due = sorted(rng.randrange(80) for _ in range(threads))
    works = [[rng.randrange(1, 60) for _ in range(rng.randrange(1, 4))] for _ in range(threads)]
    system = families.shared_processor(due, works, sorted(rng.uniform(0.3, threads) for _ in range(threads)))
    shares = system.hosts[0].shares
    assert shares is not None
    at_work: dict[int, int] = {}  # the units each thread has left
    left, done, cpu = [list(each) for each in works], [-1] * threads, [0] * threads
    look = rng.randrange(100)
    now = 0
    while min(done) < 0:
        over = sorted(t for t, units in at_work.items() if units <= 0)
        begins = [t for t in range(threads) if due[t] == now]
        if now == look:
            begun = [works[t][: len(works[t]) - len(left[t])] for t in range(threads)]
            cpu = [sum(begun[t]) - -(-max(0, at_work.get(t, 0)) // 256) for t in range(threads)]
        for t in over:
            del at_work[t]
        for t in begins + over:
            if left[t]:
                at_work[t] = 256 * left[t].pop(0)
            else:
                done[t] = now
        if at_work:
            share = shares[len(at_work) - 1]
            at_work = {t: units - share for t, units in at_work.items()}
        now += 1
    execution = ReferenceExecution(system)
    execution.advance(look)
    assert [reading.cpu_ns for reading in execution.threads()] == cpu
    execution.advance(system.horizon_ns)
    assert execution.stamps()["acked"].tolist() == done


# A queue with several servers


SERVERS, MEAN_NS = 3, MS_NS


def queue(records: int, utilisation: float) -> System:
    """Poisson arrivals, exponential service, callers enough that none waits for its own earlier call."""
    rng = np.random.default_rng(5)
    due = np.cumsum(rng.exponential(MEAN_NS / SERVERS / utilisation, records)).astype(np.int64)
    layout = layouts.Layout(due.tolist())
    layout.host()
    gen = layout.generator(layouts.generator(exchange=0))
    p = layouts.gets(0).do(op.STAMP, op.SCORE_BEGIN, op.ONE).do(op.CALL, 0).do(op.RECV)
    p.do(op.STAMP, op.SCORE_END, op.ONE).do(op.DONE).do(op.JUMP, "next")
    callers = tuple(layout.thread(f"caller.{n}", p, index=n) for n in range(60))
    layout.exchanges.append(Exchange((gen,), callers))
    exponential = -np.log(1 - (np.arange(TABLE_SIZE) + 0.5) / TABLE_SIZE)
    residual = np.round(exponential / exponential.mean() * (1 << RESIDUAL_BITS)).astype(np.int64)
    service = layout.cost(Cost(MEAN_NS << COST_BITS, 0, 0, 0, 0, 0, residual))
    servers = tuple(layout.thread(f"server.{n}", layouts.server(0, score=service), index=n) for n in range(SERVERS))
    layout.services.append(Service(servers))
    return layout.system(horizon_ns=int(due[-1]) + S_NS)


def test_a_queue_with_several_servers() -> None:
    system = queue(6000, 0.7)
    stamps = run(system).stamps()
    np.testing.assert_array_equal(stamps["score_begin"], system.created)  # no caller was busy
    # The recursion: the next record goes to the idle server of the lowest number, or to the first that is free.
    first, cost = system.services[0].threads[0], len(system.costs) - 2
    residual = system.costs[cost].residual
    busy: list[tuple[int, int]] = []  # until when, server
    idle = list(range(SERVERS))
    ends, waits = [], []
    for record, at in enumerate(system.created.tolist()):
        while busy and busy[0][0] <= at:
            heapq.heappush(idle, heapq.heappop(busy)[1])
        begin = at
        if idle:
            server = heapq.heappop(idle)
        else:
            begin, server = heapq.heappop(busy)
        factor = quantile(residual, draw(system.seed, first + server, record, PURPOSE_CPU, cost))
        heapq.heappush(busy, (begin + ((MEAN_NS * factor) >> RESIDUAL_BITS), server))
        ends.append(begin + ((MEAN_NS * factor) >> RESIDUAL_BITS))
        waits.append(begin - at)
    assert stamps["score_end"].tolist() == ends
    # Erlang's formula: a = 2.1 erlang; P(wait) / (c mu - lambda).
    a = 0.7 * SERVERS
    last = a**3 / 6 / (1 - 0.7)
    expected = last / (1 + a + a**2 / 2 + last) * MEAN_NS / (SERVERS - a)
    batches = np.array(waits, dtype=float).reshape(20, -1).mean(axis=1)
    assert abs(batches.mean() - expected) < 4 * batches.std(ddof=1) / np.sqrt(20)


# Any system


def test_random_systems_come_to_every_operation() -> None:
    told: set[str] = set()
    waits: set[str] = set()

    def trace(_at: int, _name: str, text: str) -> None:
        name = text.split(maxsplit=1)[0].rstrip(",")
        told.add(name)
        if text.endswith("waits"):
            waits.add(name)

    changing = (model_systems.random_model_system(seed, kills=seed % 2 == 0) for seed in range(12))
    for system in (*(families.random_system(seed) for seed in RANDOM), *changing):
        with suppress(SimulationError):  # a worker that never starts again, and nobody else at work
            ReferenceExecution(system, trace=trace).advance(system.horizon_ns)
    assert told == set(op.OPERATION_NAMES)
    assert {"PUT", "GET", "FLUSH", "RECV", "TAKE", "TRIGGER", "JOIN", "TASK", "POLL"} <= waits


@pytest.mark.parametrize("seed", RANDOM)
def test_random_systems_answer_every_record_in_order(seed: int) -> None:
    system = families.random_system(seed)
    whole = run(system)
    rng, pieces = random.Random(seed), ReferenceExecution(system)
    for until in sorted(rng.randrange(system.horizon_ns) for _ in range(5)):
        pieces.advance(until)
        for host, spec in enumerate(system.hosts):
            used = sum(r.cpu_ns for t, r in zip(system.threads, pieces.threads(), strict=True) if t.host == host)
            capacity = spec.cores if spec.shares is None else max(n * s for n, s in enumerate(spec.shares, 1)) / 256
            assert used <= capacity * until + len(system.threads)  # the end of an operation is rounded up
    pieces.advance(system.horizon_ns)
    pipelines.assert_equal_so_far(pieces, whole)
    for second in range(1, 60):
        whole.advance(system.horizon_ns + second * S_NS)
        if whole.acked() == system.records:
            break
    assert whole.acked() == system.records
    stamps = whole.stamps()
    chain = ("created", "sent", "appended", "fetched", "score_begin", "score_end", "produced", "out_appended", "acked")
    kept = whole.lost() == 0
    for earlier, later in pairwise(chain):
        assert (stamps[later][kept] >= 0).all(), later
        assert (stamps[earlier][kept] <= stamps[later][kept]).all(), f"{later} before {earlier}"
    assert (stamps["out_appended"][~kept] == -1).all()


@pytest.mark.parametrize("name", [name for name, _ in families.small_systems()])
def test_the_loop_is_the_reference(name: str) -> None:
    pipelines.assert_loop_is_reference(dict(families.small_systems())[name])


@pytest.mark.parametrize("seed", RANDOM)
def test_the_loop_is_the_reference_at_any_instant(seed: int) -> None:
    system = families.random_system(seed + 1000)
    rng, loop, reference = random.Random(seed), LoopExecution(system), ReferenceExecution(system)
    for until in sorted(rng.randrange(system.horizon_ns) for _ in range(6)):
        loop.advance(until)
        reference.advance(until)
        pipelines.assert_equal_so_far(loop, reference)


# The end


def test_without_events_a_run_is_over_only_if_every_record_was_answered() -> None:
    system = families.back_pressure()
    execution = run(system)
    execution.advance(2 * system.horizon_ns)
    assert execution.acked() == system.records
    stop = tuple(
        (op.HALT, 0, 0, 0) if operation[0] == op.DONE else operation for operation in system.threads[2].program
    )
    threads = (*system.threads[:2], replace(system.threads[2], program=stop))
    with pytest.raises(SimulationError, match=r"generator\.0\.app at PUT, generator\.1\.app at PUT, stage at HALT"):
        run(replace(system, threads=threads))
