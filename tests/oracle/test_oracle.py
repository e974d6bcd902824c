"""The oracle against stamps computed by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from scenarios.draws import PURPOSE_CPU, TABLE_SIZE, draw, quantile
from scenarios.spec import MS_NS, Broker, ConsumerSettings, Engine, ProducerSettings, Scenario, Workload
from sim.costs import CPU_COSTS, Calibration
from tests.oracle import cases, kernel, pipeline, python_engine, world

Due = Callable[..., None]
STAMPS = world.STAMPS[:-3]


@pytest.fixture
def due(monkeypatch: pytest.MonkeyPatch) -> Due:
    """Sets when records are due."""

    def at(*times_ns: int) -> None:
        times = np.array(times_ns, np.int64)
        monkeypatch.setattr(pipeline, "schedule", lambda _arrival, _horizon_ns, _seed: times)
        monkeypatch.setattr(
            pipeline,
            "partition_of",
            lambda scenario, n: np.arange(n, dtype=np.int64) % scenario.broker.partitions,
        )

    return at


def scenario_of(
    *,
    producers: int = 1,
    partitions: int = 1,
    io_threads: int = 1,
    workers: int = 1,
    points: int = 1,
    backlog: int = 0,
    producer: ProducerSettings = ProducerSettings(linger_ns=0),  # noqa: B008  # frozen
    consumer: ConsumerSettings = ConsumerSettings(),  # noqa: B008  # frozen
) -> Scenario:
    return Scenario(
        workload=Workload(
            points=points,
            warmup_ns=0,
            duration_ns=10 * MS_NS,
            drain_ns=10 * MS_NS,
            producers=producers,
            partitioner="round-robin",
            backlog_records=backlog,
        ),
        broker=Broker(partitions=partitions, io_threads=io_threads, producer=producer, consumer=consumer),
        engine=Engine(parallelism=workers),
    )


def got(result: dict[str, NDArray[np.int64]], *names: str) -> list[list[int]]:
    return [result[name].tolist() for name in names]


def test_the_numbers_of_the_costs_are_their_places_in_the_calibration() -> None:
    assert list(CPU_COSTS) == list(pipeline.COST_NAMES)


COSTS = cases.calibration(
    {
        "generator.wake": cases.cost(1_000),
        "generator.record": cases.cost(2_000, point=100, byte=1),
        "producer.request": cases.cost(4_000, record=500, byte=1),
        "broker.produce": cases.cost(6_000, byte=2),
        "broker.fetch": cases.cost(7_000, batch=300, record=200, byte=1),
        "broker.fetch_empty": cases.cost(3_000),
        "consumer.fetch": cases.cost(9_000, batch=100, byte=1),
        "consumer.fetch_empty": cases.cost(2_500),
        "worker.poll": cases.cost(11_000),
        "worker.poll_empty": cases.cost(700),
        "worker.decode": cases.cost(record=1_000, byte=3),
        "worker.encode": cases.cost(1_500, point=250, byte=1),
        "worker.produce": cases.cost(record=800, byte=1),
        "collector.poll": cases.cost(5_000),
        "collector.record": cases.cost(record=1_000, byte=1),
    },
    wake=(10_000.0,),
    timer=(20_000.0,),
    network=(50_000.0,),
    score={1: 100_000.0, 4: 400_000.0},
    sizes={"input_fixed": 400.0, "input_per_point": 300.0, "output_fixed": 1_000.0, "output_per_point": 50.0},
)


def test_one_record_through_every_stage(due: Due) -> None:
    due(1_000_000)
    result = python_engine.simulate(scenario_of(points=2), COSTS)  # 1,000 bytes in, 1,100 out
    expected = {
        "created": 1_000_000,
        "sent": 1_020_000,  # timer 20,000; then generator.wake 1,000
        # generator.record 3,200 (1,024,200); wake 10,000; producer.request 5,500 (1,039,700); network 50,000;
        # wake 10,000 (1,099,700); broker.produce 8,000
        "appended": 1_107_700,
        # the parked fetch: broker.fetch 8,500 (1,116,200); network; wake; consumer.fetch 10,100 (1,186,300);
        # wake (1,196,300); worker.poll 11,000
        "fetched": 1_207_300,
        "score_begin": 1_211_300,  # worker.decode 4,000
        "score_end": 1_411_300,  # 2 points between 1 and 4 on a straight line through the origin: 200,000
        "produced": 1_414_400,  # worker.encode 3,100
        # worker.produce 1,900 (1,416,300); wake (1,426,300); producer.request 5,600 (1,431,900); network;
        # wake (1,491,900); broker.produce 8,200
        "out_appended": 1_500_100,
        # the answer is in the list at 1,560,100; the application polls at 1,416,300, for 1 ms and the timer's 20,000
        # (2,436,300); worker.poll_empty 700
        "acked": 2_437_000,
        "partition": 0,
        "worker": 0,
        "batch": 0,
    }
    assert {name: values.tolist() for name, values in result.items()} == {k: [v] for k, v in expected.items()}


def test_what_lies_behind_the_horizon_is_not_reached(due: Due) -> None:
    due(1_000_000)
    scenario = scenario_of(points=2)
    load = replace(scenario.workload, duration_ns=1_411_300, drain_ns=0)
    result = python_engine.simulate(replace(scenario, workload=load), COSTS)
    assert got(result, "created", "score_begin", "worker") == [[1_000_000], [1_211_300], [0]]
    assert got(result, "score_end", "produced", "acked", "out_appended") == [[-1]] * 4
    load = replace(load, duration_ns=1_411_301)
    assert got(python_engine.simulate(replace(scenario, workload=load), COSTS), "score_end") == [[1_411_300]]


def scoring(ns: int, **fixed: int) -> Calibration:
    """Nothing costs anything but scoring and what is named (`_` for the dot)."""
    cpu = {name.replace("_", ".", 1): cases.cost(value) for name, value in fixed.items()}
    return cases.calibration(cpu, timer=(1_000.0,), network=(100_000.0,), score={1: float(ns)})


def test_a_batch_waits_until_the_linger_of_its_first_record_is_over(due: Due) -> None:
    due(1_000_000, 3_000_000, 6_500_000)
    settings = ProducerSettings(linger_ns=5 * MS_NS)
    result = python_engine.simulate(scenario_of(producer=settings), scoring(10_000))
    assert got(result, "sent", "appended", "fetched", "score_end", "batch") == [
        [1_001_000, 3_001_000, 6_501_000],
        [6_102_000, 6_102_000, 11_602_000],  # enqueued at 1,001,000; the client's timer; network
        [6_202_000, 6_202_000, 11_702_000],
        [6_212_000, 6_222_000, 11_712_000],
        [0, 0, 1],
    ]


def test_a_full_batch_does_not_wait_and_the_rest_keeps_its_own_clock(due: Due) -> None:
    due(1_000_000, 2_000_000, 2_000_000, 2_000_000)
    settings = ProducerSettings(linger_ns=5 * MS_NS, batch_records=3)
    result = python_engine.simulate(scenario_of(producer=settings), scoring(10_000))
    assert got(result, "appended") == [[2_101_000, 2_101_000, 2_101_000, 7_102_000]]
    in_bytes = replace(settings, batch_records=100, batch_bytes=2_500)  # three records reach it, two fit
    result = python_engine.simulate(scenario_of(producer=in_bytes), scoring(10_000))
    assert got(result, "appended") == [[2_101_000, 2_101_000, 7_102_000, 7_102_000]]


def test_one_request_in_flight_holds_the_next_batch_back(due: Due) -> None:
    due(1_000_000, 1_010_000, 1_020_000)
    settings = ProducerSettings(linger_ns=0, max_in_flight=1)
    result = python_engine.simulate(scenario_of(producer=settings), scoring(10_000, broker_produce=30_000))
    # sent at 1,001,000; appended 130,000 later; the answer 100,000 later; then the other two together
    assert got(result, "appended") == [[1_131_000, 1_361_000, 1_361_000]]


def test_two_records_that_tie_go_in_the_order_of_their_threads(due: Due) -> None:
    due(1_000_000, 1_000_000)
    one = scenario_of(producers=2)
    result = python_engine.simulate(one, scoring(10_000, broker_produce=40_000, worker_decode=5_000))
    # Both requests arrive at 1,101,000; one broker thread takes client 2's, then completes the parked fetch at once.
    assert got(result, "sent", "appended", "fetched", "score_begin", "batch") == [
        [1_001_000, 1_001_000],
        [1_141_000, 1_181_000],
        [1_241_000, 1_441_000],  # the next fetch goes at 1,241,000 and finds the second record at 1,341,000
        [1_246_000, 1_446_000],
        [0, 1],
    ]
    two = scenario_of(producers=2, io_threads=2)
    result = python_engine.simulate(two, scoring(10_000, broker_produce=40_000, worker_decode=5_000))
    assert got(result, "appended", "fetched", "score_end", "batch") == [
        [1_141_000, 1_141_000],  # broker thread 4 first: its append satisfies the fetch before the other is there
        [1_241_000, 1_441_000],
        [1_256_000, 1_456_000],
        [0, 1],
    ]


def test_a_message_goes_before_a_wake_up_of_the_same_instant(due: Due) -> None:
    # The client's linger ends at 6,002,000, and there the second record is enqueued by a generator that works longer;
    # CORE comes after WAKE, so the batch has gone.
    due(1_000_000, 6_000_000)
    settings = ProducerSettings(linger_ns=5 * MS_NS)
    result = python_engine.simulate(scenario_of(producer=settings), scoring(0, generator_record=1_000))
    # enqueued at 1,002,000, due at 6,002,000, woken at 6,003,000; the second is enqueued at 6,002,000, before it
    assert got(result, "appended") == [[6_103_000, 6_103_000]]
    due(1_000_000, 6_001_000)
    result = python_engine.simulate(scenario_of(producer=settings), scoring(0, generator_record=1_000))
    # now it is enqueued at 6,003,000 too, but by a CORE event
    assert got(result, "appended") == [[6_103_000, 11_104_000]]


def test_a_fetch_that_finds_too_little_is_answered_when_its_time_is_over(due: Due) -> None:
    due(1_000_000)
    settings = ConsumerSettings(fetch_min_bytes=5_000, fetch_max_wait_ns=3 * MS_NS)
    result = python_engine.simulate(scenario_of(consumer=settings), scoring(10_000, broker_fetch=1_000))
    # The fetch is at the broker at 100,000 and expires at 3,100,000; the output's at the same instants, and it was
    # asked again at 3,200,000: 3,300,000, 6,300,000.
    assert got(result, "appended", "fetched", "score_end") == [[1_101_000], [3_201_000], [3_211_000]]
    assert got(result, "out_appended") == [[3_311_000]]


def test_a_backlog_is_polled_in_turns(due: Due) -> None:
    due()
    settings = ConsumerSettings(max_poll_records=3)
    scenario = scenario_of(partitions=2, backlog=8, consumer=settings)
    result = python_engine.simulate(scenario, scoring(10_000))
    assert got(result, "created", "sent", "appended") == [[0] * 8] * 3
    # Partition 0 holds 0 2 4 6, partition 1 holds 1 3 5 7: three of 0; its last and two of 1; the rest of 1.
    assert got(result, "batch", "score_end") == [
        [0, 1, 0, 1, 0, 2, 1, 2],
        [210_000, 250_000, 220_000, 260_000, 230_000, 270_000, 240_000, 280_000],
    ]


def test_each_worker_reads_its_own_range() -> None:
    assert [list(pipeline.assigned(5, 3, w)) for w in range(3)] == [[0, 1], [2, 3], [4]]
    assert [list(pipeline.assigned(1, 2, w)) for w in range(2)] == [[0], []]


def test_a_table_between_and_beyond_what_was_measured() -> None:
    table = {2: 100.0, 8: 400.0, 32: 6_400.0}
    assert pipeline.score_ns(table, 8) == 400.0
    assert pipeline.score_ns(table, 4) == pytest.approx(200.0)
    assert pipeline.score_ns(table, 16) == pytest.approx(1_600.0)
    assert pipeline.score_ns(table, 1) == 50.0
    assert pipeline.score_ns(table, 64) == 12_800.0


def test_what_is_drawn_in_blocks_is_what_is_drawn_one_by_one() -> None:
    table = np.cumsum(np.arange(TABLE_SIZE, dtype=np.int64))
    drawn = kernel.Drawn(table.tolist(), 1 << 40, PURPOSE_CPU, 7)
    for thread in (0, 5):
        for entity in (0, 1, 255, 256, 100_000):
            expected = quantile(table.tolist(), draw(1 << 40, thread, entity, PURPOSE_CPU, 7))
            assert drawn.of(thread, entity) == expected


def check_causality(scenario: Scenario, result: dict[str, NDArray[np.int64]]) -> None:
    horizon = scenario.workload.warmup_ns + scenario.workload.duration_ns + scenario.workload.drain_ns
    order = ("created", "sent", "appended", "fetched", "score_begin", "score_end", "produced", "out_appended", "acked")
    for before, after in pairwise(order):
        reached = result[after] >= 0
        assert (result[before][reached] >= 0).all(), after
        assert (result[before][reached] <= result[after][reached]).all(), after
    assert max(result[name].max(initial=-1) for name in STAMPS) < horizon
    each, more = divmod(scenario.broker.partitions, scenario.engine.parallelism)
    for sequence in np.flatnonzero(result["fetched"] >= 0).tolist():
        partition, worker = int(result["partition"][sequence]), int(result["worker"][sequence])
        first = worker * each + min(worker, more)
        assert first <= partition < first + each + (worker < more)
    for worker in range(scenario.engine.parallelism):  # a worker does one record at a time
        mine = np.flatnonzero((result["worker"] == worker) & (result["produced"] >= 0))
        mine = mine[np.lexsort((result["produced"][mine], result["score_begin"][mine]))]
        assert (result["score_begin"][mine][1:] >= result["produced"][mine][:-1]).all()


@pytest.mark.parametrize("case", cases.lattice(), ids=lambda case: str(case[0]))
def test_causes_come_first_when_everything_ties(case: cases.Case) -> None:
    _, scenario, calibration = case
    result = python_engine.simulate(scenario, calibration)
    check_causality(scenario, result)
    assert (result["produced"] >= 0).sum() > 20


@pytest.mark.parametrize("seed", range(40))
def test_causes_come_first_whatever_is_drawn(seed: int) -> None:
    scenario, calibration = cases.random_case(seed)
    check_causality(scenario, python_engine.simulate(scenario, calibration))
