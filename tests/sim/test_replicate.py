"""Replications: kept like a sweep's, as many as a precision needs, intervals that cover closed forms; seeds pair."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from analysis import stats
from analysis.difference import REAL, Limit, judge, replicated
from scenarios.spec import MS_NS, S_NS, Arrival, Broker, Engine, ProducerSettings, Scenario, Workload
from sim import cores, costs, replicate, sweeping
from sim.__main__ import app
from sim.costs import Calibration, CpuCost
from sim.run import simulate
from sim.warm import small_calibration
from tests.oracle import cases

ROOT = Path(__file__).resolve().parents[2]
BASE = Scenario(
    name="small",
    workload=Workload(Arrival("poisson", 400.0), warmup_ns=0, duration_ns=2 * S_NS, drain_ns=S_NS, seed=3),
    broker=Broker(partitions=4),
)


@pytest.fixture
def calibration() -> Calibration:
    return small_calibration(cores=4)


def with_load(scenario: Scenario, **load: Any) -> Scenario:
    return dataclasses.replace(scenario, workload=dataclasses.replace(scenario.workload, **load))


def with_workers(scenario: Scenario, workers: int) -> Scenario:
    return dataclasses.replace(scenario, engine=Engine(parallelism=workers))


def seeds(scenario: Scenario, calibration: Calibration, metric: str, first: int, count: int) -> list[float]:
    found = []
    for seed in range(first, first + count):
        value = simulate(with_load(scenario, seed=seed), calibration, host=False).metrics[metric]
        assert value is not None
        found.append(value)
    return found


# Many seeds of one scenario


def test_they_are_the_repeats_of_a_sweep(tmp_path: Path, calibration: Calibration) -> None:
    told: list[tuple[int, int]] = []
    found = replicate.replicate(BASE, calibration, root=tmp_path, replications=4, processes=1)
    (point,) = sweeping.sweep(
        [({}, dataclasses.replace(BASE, repeats=4))],
        [calibration],
        root=tmp_path,
        processes=1,
        progress=lambda done, total: told.append((done, total)),
    )
    assert found.results == point.repeats
    assert told == [(4, 4)]
    values = [r["metrics"]["latency_acked_ms_mean"] for r in found.results]
    assert len(set(values)) == 4
    interval = found.intervals["latency_acked_ms_mean"]
    assert interval is not None
    assert interval.mean == pytest.approx(np.mean(values))
    assert found.intervals["drain_throughput_per_s"] is None
    said = found.summary()
    assert said["metrics_lo"]["latency_acked_ms_mean"] < said["metrics"]["latency_acked_ms_mean"]
    assert said["accounting"]["sent"] == sum(r["accounting"]["sent"] for r in found.results)


def test_a_precision_is_reached_and_no_further(tmp_path: Path, calibration: Calibration) -> None:
    asked = [Limit("throughput", 0.008)]
    found = replicate.replicate(BASE, calibration, root=tmp_path, precision=asked, processes=1)
    count = len(found.results)
    assert replicate.FIRST < count < replicate.CAP
    assert found.narrow
    (name, relative, enough) = found.reached()["throughput"]
    assert (name, enough) == ("throughput_per_s", True)
    assert relative is not None
    assert relative <= 0.008
    fewer = dataclasses.replace(found, results=found.results[: replicate.FIRST])
    assert not fewer.narrow
    again = replicate.replicate(BASE, calibration, root=tmp_path / "other", precision=asked, processes=2)
    assert again == found
    capped = replicate.replicate(BASE, calibration, root=tmp_path, precision=asked, replications=12, processes=1)
    assert (len(capped.results), capped.narrow) == (12, False)


def test_what_is_kept_is_not_simulated_again(
    tmp_path: Path, calibration: Calibration, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def counted(function: Any, jobs: Sequence[Any], processes: int | None) -> Any:
        made.append(len(jobs))
        return spread(function, jobs, processes)

    spread = cores.spread
    monkeypatch.setattr(cores, "spread", counted)

    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replicate.replicate(BASE, calibration, root=tmp_path, replications=5, processes=1, progress=interrupt)
    whole = replicate.replicate(BASE, calibration, root=tmp_path, replications=5, processes=1)
    more = replicate.replicate(BASE, calibration, root=tmp_path, replications=6, processes=1)
    assert more.results[:5] == whole.results
    assert made == [5, 2, 1]


def test_a_precision_of_what_has_no_value_is_refused(tmp_path: Path, calibration: Calibration) -> None:
    with pytest.raises(replicate.PrecisionError, match="drain_throughput_per_s has no value"):
        replicate.replicate(
            BASE, calibration, root=tmp_path, precision=[Limit("drain_throughput", 0.1)], replications=2, processes=1
        )


# Coverage


def one_server(rate: float, table: tuple[float, ...] = ()) -> tuple[Scenario, Calibration, float]:
    """One worker that serves one record after another for 1 ms on average, and its mean latency, milliseconds.

    The latency is to the append time, which is floored: half a millisecond less on average.
    """
    scenario = Scenario(
        workload=Workload(
            Arrival("poisson", rate), warmup_ns=S_NS, duration_ns=3 * S_NS, drain_ns=S_NS, partitioner="round-robin"
        ),
        broker=Broker(partitions=1, producer=ProducerSettings(linger_ns=0)),
    )
    cpu = {"worker.score": CpuCost(residual=table)} if table else {}
    low, high = np.array(table[:-1] or (1.0,)), np.array(table[1:] or (1.0,))
    first, second = ((low + high) / 2).mean(), ((low**2 + low * high + high**2) / 3).mean()
    assert first == pytest.approx(1)
    load = rate / 1000
    # Pollaczek and Khinchine, of the service's own moments
    expected = 1 + load * second / (2 * (1 - load)) - 0.5
    return scenario, cases.calibration(cpu, score={1: float(MS_NS)}), expected


def exponential() -> tuple[float, ...]:
    """Quantiles of the exponential distribution at 0, 1/16, ..., 15/16; the last one gives it a mean of 1."""
    table = [-math.log(1 - i / 16) for i in range(16)]
    last = 2 * (16 - sum((a + b) / 2 for a, b in pairwise(table))) - table[-1]
    return (*table, last)


@pytest.mark.parametrize("table", [(), exponential()], ids=["M/D/1", "M/M/1"])
@pytest.mark.parametrize("rate", [300.0, 600.0])
def test_intervals_cover_the_closed_form(rate: float, table: tuple[float, ...]) -> None:
    scenario, calibration, expected = one_server(rate, table)
    sets, each = 40, 6
    values = np.reshape(seeds(scenario, calibration, "latency_append_ms_mean", 1, sets * each), (sets, each))
    error = values.std(ddof=1) / math.sqrt(values.size)
    assert abs(values.mean() - expected) < 4 * error
    covered = 0
    for row in values:
        interval = stats.t_interval(row)
        assert interval.lo is not None
        assert interval.hi is not None
        covered += interval.lo <= expected <= interval.hi
    assert covered / sets >= 0.95 - 4 * math.sqrt(0.95 * 0.05 / sets)


# Two scenarios


def test_common_seeds_save_variance_where_they_must(tmp_path: Path) -> None:
    """The same arrivals at a server that is 1 % slower; measured against seeds that really are others."""
    scenario, fast, _ = one_server(700.0)
    slow = cases.calibration({}, score={1: 1.01 * MS_NS})
    rows = replicate.pairs((scenario, scenario), (fast, slow), root=tmp_path, replications=12, processes=1)
    a, b = ([row[side]["metrics"]["latency_append_ms_mean"] for row in rows] for side in "ab")
    found = replicated(a, b)
    assert found.saved is not None
    assert found.saved > 0.9
    assert judge({"x": found}) == {"x": REAL}
    other = seeds(scenario, slow, "latency_append_ms_mean", 1000, 12)
    measured = float(np.var(np.subtract(other, a), ddof=1)) / 12
    assert found.var_a is not None
    assert found.var_b is not None
    assert 0.25 < measured / (found.var_a + found.var_b) < 4  # of 12 each
    assert measured > 10 * found.variance()


def test_records_pair_where_both_have_the_same(tmp_path: Path, calibration: Calibration) -> None:
    both = BASE, with_workers(BASE, 2)
    rows = replicate.pairs(both, (calibration, calibration), root=tmp_path, replications=2, processes=1)
    assert [row["seed"] for row in rows] == [3, 4]
    alone = simulate(with_load(both[1], seed=4), calibration)
    assert rows[1]["b"] == {"verdict": alone.meta["verdict"], "metrics": alone.metrics}
    first = [simulate(each, calibration).records for each in both]
    change = (first[1]["acked"] - first[0]["acked"]) / MS_NS
    assert rows[0]["records"]["paired"] == len(change)
    assert rows[0]["records"]["mean_ms"] == pytest.approx(change.mean())
    assert rows[0]["records"]["slower"] == pytest.approx((change > 0).mean())
    other = with_load(BASE, arrival=Arrival("poisson", 300.0))
    (row,) = replicate.pairs((BASE, other), (calibration, calibration), root=tmp_path, replications=1, processes=1)
    assert row["records"] is None


def test_the_second_scenario_takes_the_seeds_of_the_first(tmp_path: Path, calibration: Calibration) -> None:
    same = with_load(BASE, seed=77)
    (row,) = replicate.pairs((BASE, same), (calibration, calibration), root=tmp_path, replications=1, processes=1)
    assert row["a"] == row["b"]


# The commands

SCENARIO = """
name: small
workload: {arrival: {kind: poisson, rate: 400 /s}, warmup: auto, duration: 3 s, drain: 1 s}
broker: {partitions: 4}
"""


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    scenario, calibration = tmp_path / "small.yaml", tmp_path / "small.json"
    scenario.write_text(SCENARIO)
    costs.write(small_calibration(cores=4), calibration)
    return scenario, calibration


def sim(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_run_with_replications(files: tuple[Path, Path], tmp_path: Path) -> None:
    words = ("run", files[0], "--calibration", files[1], "--out", tmp_path / "runs", "--jobs", 1)
    done = sim(*words, "--replications", 3)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[1] == "verdict      STABLE"
    assert done.stdout.splitlines()[4].startswith("interval     3 replications, seeds 1 to 3")
    assert "3 replications, seeds 1 to 3" in done.stdout
    assert "warm-up cut (auto)" in done.stdout
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [".cache"]
    told = json.loads(sim(*words, "--precision", "throughput=50%", "--json").stdout)
    assert told["replications"] == replicate.FIRST
    assert [(p["metric"], p["enough"]) for p in told["precision"]] == [("throughput_per_s", True)]
    assert told["metrics_lo"]["throughput_per_s"] < told["metrics_hi"]["throughput_per_s"]
    short = sim(*words, "--precision", "throughput=0.01%", "--replications", 3)
    assert "NOT reached" in short.stdout


@pytest.mark.parametrize(
    ("asked", "message"),
    [("p98=1%", "did you mean 'p99'"), ("p99", "such as p99=5%"), ("drain_throughput=1%", "has no value")],
)
def test_a_precision_that_cannot_be_is_one_message(
    files: tuple[Path, Path], tmp_path: Path, asked: str, message: str
) -> None:
    done = sim("run", files[0], "--calibration", files[1], "--out", tmp_path, "--jobs", 1, "--precision", asked)
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.output


def test_expectations_are_of_the_means(files: tuple[Path, Path], tmp_path: Path) -> None:
    files[0].write_text(SCENARIO + "expect: {throughput: '> 1000 /s'}\n")
    done = sim("run", files[0], "--calibration", files[1], "--out", tmp_path / "runs", "--jobs", 1, "--replications", 2)
    assert done.exit_code == 3
    assert "expect: throughput > 1000" in done.stderr


def test_two_scenarios_are_compared_with_common_seeds(files: tuple[Path, Path], tmp_path: Path) -> None:
    def compare(*words: object) -> subprocess.CompletedProcess[str]:
        common = ("--calibration", files[1], "--out", tmp_path / "runs", "--replications", 4, "--jobs", 1)
        command = [sys.executable, "-m", "analysis", "compare", *map(str, (files[0], files[0], *words, *common))]
        return subprocess.run(
            command, cwd=ROOT, env={**os.environ, "COLUMNS": "200"}, capture_output=True, text=True, timeout=300
        )

    told = json.loads(compare("--set-b", "broker.producer.linger=50 ms", "--json").stdout)
    assert (told["replications"], told["paired"]) == (4, True)
    assert told["metrics"]["latency_acked_ms_p50"]["judged"] == REAL
    assert told["metrics"]["latency_acked_ms_p50"]["difference"] > 40
    assert told["records"]["slower"] > 0.9
    done = compare("--set-b", "broker.producer.linger=50 ms", "--max-regression", "p50=10%")
    assert done.returncode == 3
    assert done.stdout.startswith("REGRESSION: p50=10% broken")
    wrong = compare("--set", "broker.linger=1 ms")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "no such" in wrong.stderr or "unknown key" in wrong.stderr
