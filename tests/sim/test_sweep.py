"""Sweeps: the same on one process or many, each simulation made once, kept, and told apart by all it depends on."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from scenarios.spec import S_NS, Arrival, Bound, Broker, Engine, Scenario, Workload
from sim import cores, sweeping
from sim.costs import Calibration, write
from sim.sweeping import Point
from sim.warm import small_calibration

BASE = Scenario(
    name="small",
    workload=Workload(Arrival("poisson", 400.0), warmup_ns=0, duration_ns=2 * S_NS, drain_ns=S_NS, seed=3),
    broker=Broker(partitions=4),
    repeats=2,
)
POINTS: list[tuple[dict[str, Any], Scenario]] = [
    ({"engine.parallelism": n}, dataclasses.replace(BASE, engine=Engine(parallelism=n))) for n in (1, 2, 4)
]


@pytest.fixture
def costs() -> Calibration:
    return small_calibration(cores=4)


def run(root: Path, costs: Calibration, **settings: Any) -> list[Point]:
    settings = {"processes": 1, **settings}
    return sweeping.sweep(POINTS, [costs] * len(POINTS), root=root, **settings)


def test_the_same_on_one_process_or_two(tmp_path: Path, costs: Calibration) -> None:
    one, two = run(tmp_path / "one", costs), run(tmp_path / "two", costs, processes=2)
    assert one == two
    assert [p.swept["engine.parallelism"] for p in two] == [1, 2, 4]
    assert [len(p.repeats) for p in two] == [2, 2, 2]
    assert one[0].repeats[0] != one[0].repeats[1]
    assert one[0].repeats[0] != one[1].repeats[0]


def test_repeats_have_the_next_seeds_and_pair_between_points(tmp_path: Path, costs: Calibration) -> None:
    points = run(tmp_path, costs)
    shifted = dataclasses.replace(BASE, workload=dataclasses.replace(BASE.workload, seed=4), repeats=1)
    (alone,) = sweeping.sweep([({}, shifted)], [costs], root=tmp_path / "other", processes=1)
    assert alone.repeats[0] == points[0].repeats[1]
    sent = [[r["accounting"]["sent"] for r in p.repeats] for p in points]
    assert sent[0] == sent[1] == sent[2]  # the same arrivals at each point
    assert sent[0][0] != sent[0][1]


def test_what_is_kept_is_not_simulated_again(
    tmp_path: Path, costs: Calibration, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(tmp_path, costs)
    asked: list[int] = []

    def counted(function: Any, jobs: Sequence[Any], processes: int | None) -> Any:
        asked.append(len(jobs))
        return spread(function, jobs, processes)

    spread = cores.spread
    monkeypatch.setattr(cores, "spread", counted)
    told: list[tuple[int, int]] = []
    assert run(tmp_path, costs, progress=lambda done, total: told.append((done, total))) == first
    assert told == [(6, 6)]
    kept = sorted((tmp_path / sweeping.FOLDER).iterdir())
    kept[0].unlink()
    kept[1].write_text("{")
    kept[2].write_text("[]")
    assert run(tmp_path, costs) == first
    assert run(tmp_path, costs, fresh=True) == first
    assert asked == [0, 3, 6]


def test_an_interrupted_sweep_goes_on_where_it_was(tmp_path: Path, costs: Calibration) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, costs, progress=interrupt)
    told: list[int] = []
    points = run(tmp_path, costs, progress=lambda done, _total: told.append(done))
    assert told == [4, 5, 6]
    assert points == run(tmp_path / "whole", costs)


def test_identity_is_all_that_a_result_depends_on(tmp_path: Path, costs: Calibration) -> None:
    def name(scenario: Scenario, calibration: Calibration = costs, backend: str = "loop") -> str:
        return sweeping.identity(scenario, calibration, backend)

    workload = BASE.workload
    same = dataclasses.replace(
        BASE, name="other", slo=(Bound("loss", "<=", 0.0),), repeats=9, sweep={"engine.parallelism": [1]}
    )
    assert name(same) == name(BASE)
    trace = tmp_path / "counts.csv"
    traced = dataclasses.replace(workload, arrival=Arrival("trace", path=str(trace)))
    others = [
        name(dataclasses.replace(BASE, workload=dataclasses.replace(workload, seed=4))),
        name(dataclasses.replace(BASE, workload=dataclasses.replace(workload, drain_ns=2 * S_NS))),
        name(dataclasses.replace(BASE, broker=Broker(partitions=5))),
        name(BASE, dataclasses.replace(costs, score_table={1: 11_000.0})),
        name(BASE, backend="simpy"),
    ]
    for text in ("1\n", "2\n"):
        trace.write_text(text)
        others.append(name(dataclasses.replace(BASE, workload=traced)))
    assert len({name(BASE), *others}) == 1 + len(others)


def test_a_point_says_medians_least_greatest_and_the_worst_verdict() -> None:
    def repeat(verdict: str, rate: float | None) -> dict[str, Any]:
        return {"verdict": verdict, "metrics": {"throughput_per_s": rate}, "accounting": {"sent": 10, "scored": 9}}

    rows = [repeat("STABLE", 5.0), repeat("OVERLOADED", 1.0), repeat("BACKLOGGED", 3.0)]
    found = Point({"k": 1}, BASE, {"name": "c"}, tuple(rows)).summary()
    assert found["k"] == 1
    assert found["verdict"] == "OVERLOADED"
    assert found["verdicts"] == ["STABLE", "OVERLOADED", "BACKLOGGED"]
    medians = [found[key]["throughput_per_s"] for key in ("metrics", "metrics_lo", "metrics_hi")]
    assert medians == [3.0, 1.0, 5.0]
    assert found["accounting"] == {"sent": 30, "scored": 27}
    assert found["calibration"] == {"name": "c"}
    without = Point({}, BASE, {}, (*rows, repeat("STABLE", None)))
    assert without.metrics == {"throughput_per_s": None}


def _square(x: int) -> int:
    if x < 0:
        raise LookupError(f"no {x}")
    return x * x


def _slow(seconds: float) -> int:
    if seconds:
        time.sleep(seconds)
    return os.getpid()


@pytest.mark.parametrize("processes", [1, 2])
def test_spread_gives_each_result_with_its_place(processes: int) -> None:
    assert dict(cores.spread(_square, [3, 4, 5], processes)) == {0: 9, 1: 16, 2: 25}
    assert dict(cores.spread(_square, [], processes)) == {}
    with pytest.raises(LookupError, match="no -1"):
        list(cores.spread(_square, [1, -1], processes))


def test_workers_end_when_the_caller_leaves() -> None:
    results: Generator[tuple[int, int], None, None] = cores.spread(_slow, [0.0, 600.0, 600.0], 2)
    with closing(results):
        place, pid = next(results)
        assert place == 0
        assert pid != os.getpid()
    began = time.monotonic()
    while _runs(pid) and time.monotonic() - began < 20:
        time.sleep(0.02)
    assert not _runs(pid)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_same_bytes_whatever_the_process_the_hash_seed_and_the_workers(tmp_path: Path, costs: Calibration) -> None:
    """Four commands of processes of their own: what they print and what they keep is one and the same."""
    write(costs, tmp_path / "small.json")
    (tmp_path / "swept.yaml").write_text(
        "workload: {arrival: {kind: poisson, rate: 400 /s}, warmup: 0 s, duration: 2 s, drain: 1 s}\n"
        "sweep: {zip: {engine.parallelism: [1, 2], broker.partitions: [4, 8]}, workload.points: [1, 8], repeats: 2}\n"
    )

    def command(out: str, hash_seed: str, jobs: int) -> tuple[bytes, dict[str, bytes]]:
        files = ["-m", "sim", "sweep", str(tmp_path / "swept.yaml"), "--calibration", str(tmp_path / "small.json")]
        done = subprocess.run(
            [sys.executable, *files, "--json", "--jobs", str(jobs), "-o", str(tmp_path / out)],
            cwd=Path(__file__).resolve().parents[2],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr
        folder = tmp_path / out / sweeping.FOLDER
        return done.stdout, {path.name: path.read_bytes() for path in folder.iterdir()}

    whole = command("one", "0", 1)
    assert len(whole[1]) == 8
    assert command("two", "1", 2) == whole
    for name in sorted(whole[1])[::2]:  # as if it had been cut
        (tmp_path / "two" / sweeping.FOLDER / name).unlink()
    assert command("two", "4242", 2) == whole
    (tmp_path / "two" / sweeping.FOLDER / min(whole[1])).unlink()
    assert command("two", "random", 1) == whole
