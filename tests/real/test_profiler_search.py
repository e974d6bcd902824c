"""Convergence, the rate search, verdicts, intervals and Clipper's dump, on runs that are computed, not made."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from real.profiler import dump as dumps
from real.profiler import judge, noise
from real.profiler.convergence import State, by_latency, by_queue
from real.profiler.cores import Pinning
from real.profiler.devices import Device
from real.profiler.grid import Asked, Cell
from real.profiler.open_loop import Open
from real.profiler.search import Step, search
from real.profiler.service import Batches
from real.profiler.shown import line
from real.profiler.trials import Trial, length, trials
from scenarios.spec import Model

BASE_MS, EACH_MS = 2.0, 0.5


def capacity_per_s(batch: int) -> float:
    return batch / (BASE_MS + EACH_MS * batch) * 1e3


def served(rate_per_s: float, batch: int, count: int, late_ns: int = 0, seconds: float | None = None) -> Open:
    """One server that takes what waits, up to a batch, and takes 2 + 0.5 n ms: exactly what it would do."""
    due = (np.arange(count) * 1e9 / rate_per_s).astype(np.int64)
    sent = due + late_ns
    done, began = np.full(count, -1, np.int64), np.full(count, -1, np.int64)
    rows, free, head = [], 0, 0
    while head < count:
        at = max(free, int(sent[head]))
        waiting = int(np.searchsorted(sent, at, side="right")) - head
        size = min(batch, waiting)
        free = at + int((BASE_MS + EACH_MS * size) * 1e6)
        began[head : head + size], done[head : head + size] = at, free
        rows.append((at, size, 0, head, at, free, waiting))
        head += size
    table = np.array(rows, np.int64)
    if seconds is not None:  # the run ends then, and what waits is left
        table = table[table[:, 5] <= seconds * 1e9]
    return Open(
        due=due,
        sent=sent,
        done=done,
        began=began,
        dispatched=table[:, 0],
        sizes=table[:, 1],
        replica=table[:, 2],
        first=table[:, 3],
        batch_began=table[:, 4],
        batch_ended=table[:, 5],
        queue=table[:, 6],
        unsent=0,
        lasted_ns=free,
        driver_ns=0,
    )


def trial(queue: float, batch: float = 8.0, p99: float = 1.0) -> Trial:
    return Trial(0.0, 0.0, 0.0, p99, batch, queue, 300)


def queues(values: list[float], batch: float = 8.0) -> list[Trial]:
    return [trial(value, batch) for value in values]


def test_the_states_of_a_queue() -> None:
    noisy = np.random.default_rng(1).normal(0, 1, 19)
    assert by_queue(queues([10.0] * 19), 8, 1.0) is State.CONVERGED
    assert by_queue(queues([2.0] * 19, batch=2.0), 8, 0.5) is State.LOW
    assert by_queue(queues([2.0] * 9), 8, 1.0) is State.UNKNOWN
    assert by_queue(queues([40.0 + 5 * k + noisy[k] for k in range(19)]), 8, 1.0) is State.INCREASING
    assert by_queue(queues([140.0 - 5 * k + noisy[k] for k in range(19)]), 8, 1.0) is State.DECREASING
    assert by_queue(queues([100.0 + (k % 2) for k in range(19)]), 8, 1.0) is State.HIGH
    # Stable on average, but it swings.
    assert by_queue(queues([0.0, 40.0] * 9 + [0.0]), 8, 1.0) is State.HIGH
    # A batch of one is always full: then the time replicas score tells.
    assert by_queue(queues([1.0] * 19, batch=1.0), 1, 0.5) is State.LOW
    assert by_queue(queues([1.0] * 19, batch=1.0), 1, 0.95) is State.CONVERGED


def test_only_the_last_fifteen_trials_count_and_never_the_first_four() -> None:
    assert by_queue(queues([500.0] * 4 + [10.0] * 15), 8, 1.0) is State.CONVERGED
    assert by_queue(queues([500.0] * 9 + [10.0] * 15), 8, 1.0) is State.CONVERGED
    assert by_queue(queues([500.0] * 4 + [10.0] * 6), 8, 1.0) is State.CONVERGED


def test_the_states_of_a_percentile() -> None:
    def series(values: list[float], batch: float = 4.0) -> list[Trial]:
        return [trial(0.0, batch, value) for value in values]

    flat = [100.0 + (k % 2) for k in range(19)]
    assert by_latency(series(flat), 8, 500.0) is State.CONVERGED
    assert by_latency(series(flat), 8, 50.0) is State.HIGH
    assert by_latency(series(flat, batch=8.0), 8, 500.0) is State.HIGH
    assert by_latency(series(flat, batch=1.0), 1, 500.0) is State.CONVERGED
    assert by_latency(series([10.0 * k for k in range(19)]), 8, 500.0) is State.INCREASING
    assert by_latency(series([500 - 10.0 * k for k in range(19)]), 8, 500.0) is State.DECREASING


def test_trials_are_whole_and_add_up() -> None:
    assert (length(1), length(32), length(64)) == (300, 320, 640)
    run = served(1000.0, 8, 4000)
    series = trials(run, 300)
    assert all(300 <= each.completions < 308 for each in series)
    assert sum(each.completions for each in series) <= 4000
    assert series[-1].throughput_per_s == pytest.approx(1000.0, rel=0.02)
    assert len(trials(run, 300, skip_s=2.0)) == pytest.approx(len(series) / 2, abs=1)
    over = trials(served(4 * capacity_per_s(8), 8, 4000), 300)
    assert over[-1].throughput_per_s == pytest.approx(capacity_per_s(8), rel=0.01)
    assert over[-1].batch == 8.0


def probe(batch: int, per_trial: int = 300) -> tuple[list[float], Callable[[float], Step]]:
    asked: list[float] = []

    def go(rate: float) -> Step:
        asked.append(rate)
        seconds = per_trial * 20 / min(rate, capacity_per_s(batch))
        run = served(rate, batch, int(rate * seconds), seconds=seconds)
        return Step(rate, by_queue(trials(run, per_trial), batch, judge.busy(run, 1)))

    return asked, go


@pytest.mark.parametrize("batch", [1, 2, 8, 32])
@pytest.mark.parametrize("start", [0.01, 0.6, 0.99, 1.0, 1.5, 20.0])
def test_the_search_finds_the_capacity_from_anywhere(batch: int, start: float) -> None:
    capacity = capacity_per_s(batch)
    _, go = probe(batch)
    found = search(start * capacity, go)
    assert found.reason == "converged"
    assert found.rate_per_s == pytest.approx(capacity, rel=0.10)


def test_the_search_lowers_as_well_as_raises() -> None:
    for start, first in ((10.0, -1), (0.1, 1)):
        asked, go = probe(8)
        search(start * capacity_per_s(8), go)
        assert math.copysign(1, asked[1] - asked[0]) == first
        steps = np.sign(np.diff(asked))
        assert {-1.0, 1.0} <= set(steps.tolist())


def test_a_disturbed_probe_does_not_end_the_search() -> None:
    capacity, _, calls = capacity_per_s(8), [0], [0]

    def go(rate: float) -> Step:
        calls[0] += 1
        # The second probe is disturbed: a rate far below the capacity looks too high.
        state = State.HIGH if rate > capacity or calls[0] == 2 else State.LOW
        return Step(rate, state)

    found = search(0.1 * capacity, go)
    assert found.reason == "converged"
    assert found.rate_per_s == pytest.approx(capacity, rel=0.10)


def test_a_driver_that_cannot_send_faster_ends_the_search() -> None:
    found = search(10.0, lambda rate: Step(rate, State.LOW, client_bound=rate > 100))
    assert found.reason == "client-bound"
    assert found.rate_per_s == 80.0


def test_a_search_has_an_end() -> None:
    found = search(10.0, lambda rate: Step(rate, State.LOW), most=12)
    assert (found.reason, len(found.steps)) == ("steps", 12)


def test_the_overload_law() -> None:
    from real.profiler.cell import slope

    for batch in (1, 8):
        rate = 4 * capacity_per_s(batch)
        run = served(rate, batch, 6000)
        assert slope(run) == pytest.approx(1 - capacity_per_s(batch) / rate, abs=0.005)


def verdict(run: Open, batch: int, rate: float) -> str:
    return judge.open_loop(run, trials(run, 100), batch, 1, rate).verdict


def test_verdicts_of_open_loops() -> None:
    capacity = capacity_per_s(8)
    assert verdict(served(0.5 * capacity, 8, 4000), 8, 0.5 * capacity) == judge.STEADY
    assert verdict(served(2 * capacity, 8, 4000), 8, 2 * capacity) == judge.SATURATED
    # Sent 200 ms late at the end of 3 s.
    late = served(0.5 * capacity, 8, 2000, late_ns=200_000_000)
    assert verdict(late, 8, 0.5 * capacity) == judge.CLIENT_BOUND
    unsent = replace(served(0.5 * capacity, 8, 2000), unsent=100)
    assert verdict(unsent, 8, 0.5 * capacity) == judge.CLIENT_BOUND
    # Requests wait while the server does nothing: it is not the server's queue.
    run = served(2 * capacity, 8, 4000)
    starved = replace(run, batch_ended=run.batch_began + (run.batch_ended - run.batch_began) // 2)
    assert verdict(starved, 8, 2 * capacity) == judge.CLIENT_BOUND


def test_a_load_generator_that_is_the_limit_makes_a_useless_profile() -> None:
    """The same 192 /s and batches of one whatever the batch size, as a sleeping client once measured."""
    run = served(192.0, 64, 3000)
    assert run.sizes.mean() == pytest.approx(1.0, abs=0.01)
    assert verdict(run, 64, 605.0) == judge.CLIENT_BOUND


def full(took_ns: list[int], gap_ns: int = 1000, idle_ns: int = 0) -> Batches:
    took = np.array(took_ns, np.int64)
    began = np.cumsum(took + gap_ns + idle_ns) - took
    idle = np.full(len(took), idle_ns, np.int64)
    return Batches(np.zeros(len(took), np.int64), began, began + took, took, idle, float(began[-1] / 1e9))


def test_verdicts_of_full_batches() -> None:
    assert judge.full_batches(full([1_000_000] * 100), 1).verdict == judge.SATURATED
    assert judge.full_batches(full([1_000_000] * 100, idle_ns=500_000), 1).verdict == judge.CLIENT_BOUND
    assert judge.full_batches(full([1_000_000] * 50 + [1_300_000] * 50), 1).verdict == judge.UNSTABLE
    assert judge.full_batches(full([1_000_000] * 100), 2).verdict == judge.SATURATED
    found = full([1_000_000] * 100, gap_ns=250_000)
    assert found.rates_per_s(1)[0] == pytest.approx(800.0, rel=0.01)
    assert found.busy(1) == pytest.approx(0.8, rel=0.01)


def test_the_interval_is_the_wider_of_blocks_and_repeats() -> None:
    assert noise.interval([10.0], []).relative is None
    calm = noise.interval([10.0], [[10.0, 10.1, 9.9, 10.0]])
    assert calm.relative is not None
    assert calm.relative < 0.02
    apart = noise.interval([10.0, 12.0], [[10.0, 10.1, 9.9], [12.0, 12.1, 11.9]])
    assert apart.relative is not None
    assert apart.relative >= 1 / 11
    three = noise.interval([10.0, 12.0, 11.0], [[10.0] * 9, [12.0] * 9, [11.0] * 9])
    assert [three.lo, three.hi] == pytest.approx([11 - 2.484, 11 + 2.484], abs=0.01)
    assert noise.block_rates(np.arange(4, dtype=np.int64)) == []
    assert noise.block_rates(np.arange(6, dtype=np.int64) * 1_000_000_000) == [1.0] * 5
    rates = noise.block_rates(np.arange(1000, dtype=np.int64) * 1_000_000)
    assert rates == pytest.approx([1000.0] * 20)


def test_a_straight_line_through_batch_sizes_and_one_that_is_none() -> None:
    base, each, error = line({n: 2 + 0.5 * n for n in (1, 2, 4, 8, 16, 32)})
    assert [base, each, error] == pytest.approx([2.0, 0.5, 0.0], abs=1e-9)
    # Neither term below zero: a steeper than proportional series has no fixed part.
    base, each, error = line({1: 1.0, 2: 2.5, 4: 6.0})
    assert base == 0.0
    assert error > 0.05


# -- Clipper's dump


def cell(batch: int) -> Cell:
    asked = Asked(models=((Model(name="sleep"), "none"),), pinning=Pinning((), (0,), (1,)))
    return Cell(Model(name="sleep"), "none", batch, 1, 1, ((1,),), (Device(),), asked)


def test_the_rank_formula() -> None:
    x = np.arange(1.0, 101.0)
    assert dumps.ranked(x, 0.50) == 50.5
    assert dumps.ranked(x, 0.99) == pytest.approx(99.99)
    assert dumps.ranked(x, 0.001) == 1.0
    assert dumps.ranked(x, 0.9999) == 100.0
    assert dumps.ranked(np.array([7.0]), 0.5) == 7.0
    found = dumps.histogram("microseconds", np.array([1.0, 2.0, 3.0, 6.0]))
    assert found["std_dev"] == pytest.approx(np.sqrt(3.5))  # of the population
    assert (found["size"], found["min"], found["max"], found["mean"]) == (4, 1.0, 6.0, 3.0)
    assert dumps.histogram("queries", np.arange(100_000.0))["size"] == dumps.RESERVOIR


def test_meters_are_moving_averages_that_start_at_zero() -> None:
    """15.6 /s for 45 s: rate_k = mu (1 - exp(-T / 60 k))."""
    found = dumps.meter(np.arange(0, 45, 1 / 15.6), 45.0)
    assert found["rate"] == pytest.approx(15.6, rel=0.01)
    for minutes, told in ((1, 8.23), (5, 2.17), (15, 0.761)):
        assert found[f"rate_{minutes}min"] == pytest.approx(told, rel=0.01)
    # Made long before: idle time dilutes the whole rate.
    assert dumps.meter(np.arange(70, 115, 1 / 15.6), 116.6)["rate"] == pytest.approx(702 / 116.6, rel=0.01)


def test_the_dump_has_clippers_names_and_numbers() -> None:
    found = json.loads(json.dumps(dumps.dump(cell(8), served(4 * capacity_per_s(8), 8, 4000), 784)))
    server = found["clipper_metrics"]
    named = {key: value for kind in server.values() for item in kind for key, value in item.items()}
    assert all(len(item) == 1 for kind in server.values() for item in kind)
    assert named["model:sleep:1:batch_size"]["mean"] == pytest.approx(8.0, abs=0.1)
    assert named["model:sleep:1:prediction_latency"]["p50"] == pytest.approx(6000.0)  # of a batch, in microseconds
    assert named["app:sleep:num_predictions"]["count"] == 4000
    assert named["app:sleep:default_prediction_ratio"]["ratio"] == 0.0
    assert named["internal:rpc_request_queueing_delay"]["max"] > 1e6
    assert {"histograms", "meters", "ratio_counters", "counters"} == set(server)
    assert set(named["internal:aggregate_model_throughput"]) == {
        "unit",
        "rate",
        "rate_1min",
        "rate_5min",
        "rate_15min",
    }
    assert found["node_configs"][0]["batch_size"] == 8
    assert not any(isinstance(value, str) and value.replace(".", "").isdigit() for value in named.values())


def test_the_sanity_rule() -> None:
    over = dumps.dump(cell(8), served(4 * capacity_per_s(8), 8, 4000), 784)
    assert dumps.broken(over) == []
    below = dumps.dump(cell(8), served(0.5 * capacity_per_s(8), 8, 4000), 784)
    assert [text.split(":")[0] for text in dumps.broken(below)] == [
        "p99 does not rise all through",
        f"batches are {below['client_metrics']['mean_batch_sizes'][-1]:.3g} of 8 on average",
    ]
    assert dumps.rises([1.0, 2.0, 3.0]) is True
    assert dumps.rises(["1.0", "2.5", "3.0"]) is True  # Clipper's own files
    assert dumps.rises([1.0, 3.0, 2.0]) is False
    assert dumps.rises([3.0, 2.0, 1.0]) is False
    assert dumps.rises([1.0, 2.0]) is None
