"""The models of the engine families against stamps computed by hand, and the host whose threads share its cores."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from scenarios.draws import PURPOSE_FLUSH, TABLE_SIZE, draw
from scenarios.spec import MS_NS, ConsumerSettings, ProducerSettings
from tests.oracle import actors, brokerless, dataflow, families, micro_batch, python_engine
from tests.oracle.kernel import Clockwork, Life, Shared, Terms, Thread
from tests.oracle.pipeline import Buffers, Int64s, Pipeline

WAKE, TIMER, NETWORK = 10_000, 20_000, 50_000


def constant(ns: int) -> tuple[int, ...]:
    return (ns,) * TABLE_SIZE


def fixed(**ns: int) -> dict[str, Terms]:
    """Costs, `_` for the dot."""
    return {name.replace("_", ".", 1): Terms(fixed=value * 1024) for name, value in ns.items()}


def pipeline(*created: int, wake: int = WAKE, timer: int = TIMER, network: int = NETWORK, **costs: int) -> Pipeline:
    return Pipeline(
        seed=7,
        created=created,
        partition=[0] * len(created),
        horizon_ns=40 * MS_NS,
        producer=ProducerSettings(linger_ns=0),
        costs=fixed(**costs),
        wake=constant(wake),
        timer=constant(timer),
        network=constant(network),
    )


def got(result: dict[str, Int64s], *names: str) -> list[list[int]]:
    return [result[name].tolist() for name in names]


# Exchanges


def test_one_record_without_a_broker() -> None:
    costs = {"generator_wake": 500, "generator_record": 2_500, "exchange_get": 1_000, "exchange_put": 2_000}
    result = brokerless.run(pipeline(1_000_000, **costs, worker_score=100_000, worker_encode=4_000))
    expected = {
        **dict.fromkeys(("sent", "appended", "fetched"), 1_020_000),  # timer 20,000
        # generator.wake and .record 3,000 (1,023,000); wake; exchange.get
        "score_begin": 1_034_000,
        "score_end": 1_134_000,
        # exchange.put 2,000 (1,136,000); wake; exchange.get, worker.encode
        **dict.fromkeys(("produced", "acked", "out_appended"), 1_151_000),
        "created": 1_000_000,
        "partition": 0,
        "worker": 0,
        "batch": -1,
    }
    assert {name: values.tolist() for name, values in result.items()} == {k: [v] for k, v in expected.items()}


def test_each_writer_goes_round_the_readers_from_its_own_place() -> None:
    told = replace(pipeline(*range(0, 8_000_000, 1_000_000)), generators=2, workers=3)
    # generator 0 sends the even records to 0, 1, 2, 0; generator 1 the odd ones to 1, 2, 0, 1
    assert got(brokerless.run(told), "worker") == [[0, 1, 1, 2, 2, 0, 0, 1]]


def test_a_buffer_that_is_not_full_is_passed_on_at_the_next_tick() -> None:
    flush = 5 * MS_NS
    told = replace(pipeline(2_000_000, 3_000_000, 9_000_000), to_scoring=Buffers(flush_ns=flush, records=100))
    result = dataflow.run(told)
    source = 4  # generator, its client, a broker thread, the source's client, the source
    phase = draw(7, source, 0, PURPOSE_FLUSH, 0) % flush
    fetched = result["fetched"]
    ticks = [int(t) + flush - (int(t) - phase) % flush for t in fetched]
    assert all((tick - phase) % flush == 0 for tick in ticks)
    assert got(result, "score_begin") == [[tick + WAKE for tick in ticks]]
    at_two = replace(told, to_scoring=Buffers(flush_ns=flush, records=2))
    first = dataflow.run(at_two)["score_begin"].tolist()
    assert first[:2] == [min(ticks[0], int(fetched[1])) + WAKE, min(ticks[1], int(fetched[1])) + WAKE]


@pytest.mark.parametrize(("capacity", "second_poll"), [(0, 270_000), (1, 330_000)])
def test_a_source_waits_for_room(capacity: int, second_poll: int) -> None:
    told = replace(
        pipeline(0, 0, 0, 0, network=0, worker_decode=80_000, worker_score=200_000),
        backlog=4,
        consumer=ConsumerSettings(max_poll_records=3),
        to_scoring=Buffers(capacity=capacity),
    )
    # The broker wakes at 10,000, the client at 20,000, the source at 30,000; decoded at 110,000, 190,000, 270,000.
    # Scoring takes the first at 120,000 and the second at 320,000, when the third finds room: the source wakes for it.
    assert got(dataflow.run(told), "fetched", "score_begin") == [
        [30_000, 30_000, 30_000, second_poll],
        [120_000, 320_000, 520_000, 720_000],
    ]


def test_a_sink_of_actors_waits_for_each_delivery() -> None:
    told = pipeline(0, 0, wake=0, worker_encode=1_000, broker_produce=30_000)
    result = actors.run(replace(told, backlog=2, calls_back=True))
    assert (result["out_appended"] - result["produced"]).tolist() == [NETWORK + 30_000] * 2
    assert (result["acked"] - result["out_appended"]).tolist() == [NETWORK] * 2
    assert result["produced"][1] == result["acked"][0] + 1_000
    told_by_poll = actors.run(replace(told, backlog=2))  # the sink serves the callback itself, at once
    assert got(told_by_poll, "acked", "produced") == got(result, "acked", "produced")


# Calls

SERVER = {"server_wake": 5_000, "server_request": 3_000, "call_request": 2_000, "call_response": 4_000}


def served(*created: int, servers: int = 1, batch_records: int = 1, delay_ns: int = 0) -> Pipeline:
    """Scoring tasks as many as generators, and servers that need 100,000 for one request and 150,000 for two."""
    return replace(
        pipeline(*created, **SERVER),
        generators=2,
        workers=2,
        servers=servers,
        batch_records=batch_records,
        delay_ns=delay_ns,
        server_score=[Terms(fixed=100_000 * 1024), Terms(fixed=150_000 * 1024)],
    )


def test_requests_are_answered_one_after_the_other() -> None:
    # sent at 1,020,000; both tasks wake at 1,030,000; call.request; at the server at 1,082,000; it wakes at 1,092,000
    result = brokerless.run(served(1_000_000, 1_000_000))
    assert got(result, "score_begin", "score_end") == [
        [1_030_000, 1_030_000],
        # 5,000 + 103,000 (1,200,000), then 103,000 more (1,303,000); network, wake, call.response
        [1_264_000, 1_367_000],
    ]
    two = brokerless.run(served(1_000_000, 1_000_000, servers=2))
    # Only the first to come finds the queue empty, but without a delay each request wakes a server.
    assert got(two, "score_end") == [[1_264_000, 1_264_000]]


def test_requests_are_answered_together() -> None:
    result = brokerless.run(served(1_000_000, 1_000_000, batch_records=2, delay_ns=MS_NS))
    assert got(result, "score_end") == [[1_314_000, 1_314_000]]  # 5,000 + 153,000 from 1,092,000 on; 64,000


def test_an_incomplete_batch_waits_for_the_delay_of_its_first() -> None:
    result = brokerless.run(served(1_000_000, batch_records=2, delay_ns=MS_NS))
    # at the server at 1,082,000; it looks at 1,092,000 and waits until 2,082,000; the timer's 20,000; it slept twice:
    # 10,000, and 103,000 (2,215,000); 64,000
    assert got(result, "score_end") == [[2_279_000]]


def test_a_poll_loop_calls_too() -> None:
    told = replace(served(1_000_000), generators=1, workers=1)
    result = python_engine.run(told)
    called = 2_000 + NETWORK + WAKE + 5_000 + 103_000 + NETWORK + WAKE + 4_000
    assert (result["score_end"] - result["score_begin"]).tolist() == [called]


# Callbacks


def test_the_java_client_calls_back_on_its_own_thread() -> None:
    told = replace(pipeline(1_000_000), calls_back=True)
    java, other = python_engine.run(told), python_engine.run(replace(told, calls_back=False))
    assert (java["acked"] - java["out_appended"]).tolist() == [NETWORK + WAKE]
    # The application thread looks each ms from when it enqueued; the answer is there well before.
    assert (other["acked"] - other["produced"]).tolist() == [MS_NS + TIMER]


# Micro-batches


def test_batches_by_hand() -> None:
    told = pipeline(*(1_000_000, 2_000_000, 5_500_000, 7_000_000), wake=0, timer=0, network=0)
    told = replace(
        told,
        costs=fixed(batch_plan=1_000_000, worker_score=100_000, task_end=50_000, batch_commit=30_000),
        interval_ns=10 * MS_NS,
        poll_ns=5 * MS_NS,
    )
    # Looks at 0 and 5,000,000; plans until 6,000,000, when three records are there; done and committed at 6,380,000.
    # The next look is then, the one after at 11,380,000: too early for the next batch, at 15,000,000; plans 1,000,000.
    assert got(micro_batch.run(told), "fetched", "score_end", "acked", "batch") == [
        [6_000_000, 6_000_000, 6_000_000, 16_000_000],
        [6_100_000, 6_200_000, 6_300_000, 16_100_000],
        [6_300_000, 6_300_000, 6_300_000, 16_100_000],  # served when all is enqueued: by the flush
        [0, 0, 0, 1],
    ]


def test_a_batch_holds_so_many_records_and_the_next_goes_on_behind_it() -> None:
    told = replace(
        pipeline(*[0] * 9, wake=0, timer=0, network=0, worker_score=100_000),
        partition=[0, 1, 2] * 3,
        partitions=3,
        backlog=9,
        workers=2,
        max_records=4,
    )
    result = micro_batch.run(told)
    # Three of partition 0 and one of 1; then from 2 on: its three, nothing new of 0, one of 1; then the last.
    assert got(result, "batch") == [[0, 0, 1, 0, 1, 1, 0, 2, 1]]
    assert got(result, "worker") == [[0, 1, 0, 0, 1, 0, 0, 0, 0]]


# Shared cores


def body(me: Thread, begin: int, work: int, ends: dict[int, int]) -> Generator[Any, Any, None]:
    yield me.start()
    me.woke()
    yield me.wait_until(begin)
    me.woke()
    yield me.cpu(work)
    ends[me.number] = me.env._now


def ends_of(curve: tuple[float, ...], *works: tuple[int, int]) -> list[int]:
    """When each of the works (begin, ns) is done."""
    none = constant(0)
    clockwork = Clockwork(1, none, none, none, none)
    host = Shared(clockwork.env, curve)
    ends: dict[int, int] = {}
    for number, (begin, work) in enumerate(works):
        Life(clockwork.env, body(Thread(clockwork, number, host), begin, work, ends))
    clockwork.env.run(until=1_000_000)
    return [ends[number] for number in range(len(works))]


def test_two_share_what_two_get_done() -> None:
    # Alone for 100 ns; then 192/256 each: 900 ns of work take 1,200; the other has 100 ns left, alone.
    assert ends_of((1.0, 1.5), (0, 1_000), (100, 1_000)) == [1_300, 1_400]


def test_the_last_value_of_the_curve_goes_on() -> None:
    assert ends_of((1.0,), (0, 512), (0, 512), (0, 512), (0, 512)) == [2_048] * 4


def test_progress_is_floored_and_the_end_is_ceiled() -> None:
    # 85/256 each of three: 100 ns of work are 25,600 units, 301.2 ns; all are through at 302, the first by its number.
    assert ends_of((1.0,), (0, 100), (0, 100), (0, 100)) == [302] * 3


def test_an_end_is_put_off_when_another_begins() -> None:
    # 50 ns alone, then the first has 50 left at half: 150; the other has done 50 of its 100, alone from there.
    assert ends_of((1.0,), (0, 100), (50, 100)) == [150, 200]


# What holds whatever is drawn


@pytest.mark.parametrize("family", families.FAMILIES)
@pytest.mark.parametrize("shared", [False, True])
def test_causes_come_first(family: str, shared: bool) -> None:
    order = ("created", "sent", "appended", "fetched", "score_begin", "score_end", "produced", "out_appended", "acked")
    through = 0
    for seed in range(10):
        scenario, calibration = families.random_case(family, seed, shared=shared)
        oracle, told = families.pipeline_of(family, scenario, calibration)
        result = oracle(told)
        for before, after in pairwise(order):
            reached = result[after] >= 0
            assert (result[before][reached] >= 0).all(), after
            assert (result[before][reached] <= result[after][reached]).all(), after
        assert max(result[name].max(initial=-1) for name in order[1:]) < told.horizon_ns
        for worker in range(told.workers):  # a worker does one record at a time
            mine = np.flatnonzero((result["worker"] == worker) & (result["score_end"] >= 0))
            begin, end = np.sort(result["score_begin"][mine]), np.sort(result["score_end"][mine])
            assert (begin[1:] >= end[:-1]).all()
        through += int((result["out_appended"] >= 0).sum())
    assert through > 100
