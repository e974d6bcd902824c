"""Comparisons against differences that are known: none, one too small to see, one that only pairing shows."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from analysis import blocks, compare, compare_shown
from analysis.__main__ import app
from analysis.columns import OUTCOMES
from analysis.difference import NOISE, ONE_FIGURE, REAL, SAME, Estimate, Limit, hold, judge, read_limits, replicated
from analysis.metrics import metrics
from analysis.records import empty_records
from analysis.runs import Run, read_run, write_run
from scenarios import load
from scenarios.spec import MS_NS, S_NS, Arrival, Scenario, Workload

Make = Callable[..., Any]
SECONDS, RATE = 20, 500


def queue(arrivals: int, services: int, *, slower: float = 1.0, rate: float = RATE) -> dict[str, Any]:
    """Records through one server: Poisson arrivals, exponential services of 1 ms, each a function of its own seed."""
    gaps = np.random.default_rng(arrivals).exponential(S_NS / rate, 2 * RATE * SECONDS)
    created = np.cumsum(gaps).astype(np.int64)
    created = created[created < SECONDS * S_NS]
    service = (np.random.default_rng((services, 7)).exponential(slower * MS_NS, len(created))).astype(np.int64)
    done = np.cumsum(service)
    # A record ends at the latest of: every earlier one's begin, and the work from there on.
    out = done + np.maximum.accumulate(created - (done - service))
    r = empty_records(len(created))
    r["created"], r["sent"], r["appended"] = created, created.copy(), created.copy()
    r["fetched"] = r["score_begin"] = out - service
    for stamp in ("score_end", "produced", "acked", "out_appended"):
        r[stamp] = out.copy()
    r["outcome"][:] = OUTCOMES.index("scored")
    r["partition"] = r["worker"] = np.zeros(len(created), np.int64)
    r["batch"] = np.arange(len(created))
    return r


SCENARIO = Scenario(
    name="queue",
    workload=Workload(Arrival("poisson", float(RATE)), warmup_ns=0, duration_ns=SECONDS * S_NS, drain_ns=10 * S_NS),
)


@pytest.fixture
def run_of(tmp_path: Path, make_meta: Make) -> Callable[..., Run]:
    def make(name: str, records: dict[str, Any], scenario: Scenario = SCENARIO, **more: Any) -> Run:
        meta = make_meta(name, scenario=load.resolved(scenario), **more)
        return read_run(write_run(tmp_path, meta, records))

    return make


# One metric


def test_the_variance_of_a_difference_by_hand() -> None:
    found = replicated([1, 2, 3], [2, 4, 3])
    # variances 1 and 1, covariance 1/2, each over three replications
    assert (found.a, found.b, found.difference, found.relative) == (2, 3, 1, 0.5)
    assert (found.var_a, found.var_b, found.cov) == pytest.approx((1 / 3, 1 / 3, 1 / 6))
    assert found.variance() == pytest.approx(1 / 3)
    assert found.saved == pytest.approx(0.5)
    lo, hi = found.interval() or (0, 0)
    half = 4.30265273 * math.sqrt(1 / 3)  # t of two degrees of freedom
    assert (lo, hi) == pytest.approx((1 - half, 1 + half))
    assert found.variance(2.0) == pytest.approx(1 / 3 + 4 / 3 - 4 / 6)
    assert replicated([1, 2, 3], [2, 4, 3], paired=False).saved == 0
    with pytest.raises(ValueError, match="at least two, got 1 and 1"):
        replicated([1], [2])


def test_a_difference_that_is_always_the_same_is_real_and_none_at_all_the_same() -> None:
    found = {"shift": replicated([1, 2, 4], [3, 4, 6]), "none": replicated([1, 2, 4], [1, 2, 4])}
    assert judge(found) == {"shift": REAL, "none": SAME}
    assert found["shift"].saved == pytest.approx(1)


def test_what_is_real_is_so_for_all_metrics_together() -> None:
    def of(chance_at: float) -> Estimate:
        return Estimate(0.0, chance_at, 0.5, 0.5, 0.0, 1e9)

    # Two standard errors: real alone, noise as one of three; 2.5 (p .012) is real as the first of three alike.
    assert judge({"x": of(2.0)}) == {"x": REAL}
    assert judge({"x": of(2.0), "y": of(0.1), "z": of(0.2)})["x"] == NOISE
    assert judge({"x": of(2.5), "y": of(0.1), "z": of(0.2)}) == {"x": REAL, "y": NOISE, "z": NOISE}
    assert judge({"x": of(2.5), "y": of(2.0), "z": Estimate(1, 2)}) == {"x": REAL, "y": REAL, "z": ONE_FIGURE}


def test_limits_are_read() -> None:
    assert read_limits(["p99=5%", "throughput = 0.02"], "--x") == [
        Limit("latency_p99", 0.05),
        Limit("throughput", 0.02),
    ]
    for wrong, message in (
        ("p99", "such as p99=5%"),
        ("p99=five", "such as p99=5%"),
        ("p99=-5%", "such as p99=5%"),
        ("p98=5%", "did you mean 'p99'"),
        ("p99=2000%", "at most 1000 %"),
    ):
        with pytest.raises(ValueError, match=rf"--x '{wrong.split('=')[0]}.*{message}"):
            read_limits([wrong], "--x")
    with pytest.raises(ValueError, match="above 0"):
        read_limits(["p99=0%"], "--precision")


@pytest.mark.parametrize(
    ("word", "b", "error", "broken", "over"),
    [
        ("latency_acked_p99", 112.0, 1.0, True, True),
        ("latency_acked_p99", 106.0, 1.0, False, True),
        ("latency_acked_p99", 104.0, 1.0, False, False),
        ("latency_acked_p99", 50.0, 1.0, False, False),
        ("throughput", 90.0, 1.0, True, True),
        ("throughput", 94.0, 1.0, False, True),
        ("throughput", 120.0, 1.0, False, False),
    ],
)
def test_a_limit_is_broken_only_beyond_noise(word: str, b: float, error: float, broken: bool, over: bool) -> None:
    each = Estimate(100.0, b, error, error, 0.0, 100)
    found = hold(Limit(word, 0.05), {"latency_acked_ms_p99": each, "throughput_per_s": each})
    assert (found.broken, found.over) == (broken, over)


def test_a_limit_that_nothing_can_be_said_of_is_refused() -> None:
    values = {"throughput_per_s": Estimate(1, 2), "loss": Estimate(0, 1, 0.1, 0.1)}
    for word, message in (
        ("throughput", "one figure each"),
        ("loss", "is 0 in A"),
        ("latency_p99", "does not have a value on both sides"),
    ):
        with pytest.raises(ValueError, match=message):
            hold(Limit(word, 0.1), values)


# Two runs


def both(x: dict[str, Any], y: dict[str, Any], *, paired: bool, resamples: int = 150) -> dict[str, Estimate]:
    sides = [(SCENARIO, r, metrics(SCENARIO, r)) for r in (x, y)]
    cut = blocks.cutting([(s, r) for s, r, _ in sides])
    assert cut is not None
    return blocks.estimates(sides[0], sides[1], cut.blocks, paired=paired, resamples=resamples)


@pytest.mark.parametrize("paired", [True, False])
def test_intervals_of_two_runs_of_one_queue_cover_no_difference(paired: bool) -> None:
    names = ("latency_acked_ms_mean", "latency_acked_ms_p50", "latency_acked_ms_p99")
    inside, real, cases = dict.fromkeys(names, 0), 0, 30
    for k in range(cases):
        arrivals = (k, k) if paired else (k, k + 1000)
        found = both(queue(arrivals[0], k), queue(arrivals[1], k + 500), paired=paired)
        for name in names:
            lo, hi = found[name].interval() or (0.0, 0.0)
            inside[name] += lo <= 0 <= hi
        real += REAL in judge(found).values()
    for name in names:
        assert inside[name] / cases >= 0.85, name
    assert real / cases <= 0.15


def test_pairing_shows_what_is_lost_in_noise_without_it() -> None:
    """Every service takes 4 % longer, the arrivals and the services' draws are the same."""
    a, b = queue(1, 1), queue(1, 1, slower=1.04)
    paired, apart = (both(a, b, paired=way)["latency_acked_ms_mean"] for way in (True, False))
    assert paired.difference == apart.difference > 0
    assert paired.saved is not None
    assert paired.saved > 0.8
    assert judge({"x": paired}) == {"x": REAL}
    assert judge({"x": apart}) == {"x": NOISE}


def test_the_shares_of_outcomes_have_intervals() -> None:
    def turned_away(services: int, chance: float) -> tuple[Scenario, dict[str, Any], dict[str, float | None]]:
        r = queue(1, services)
        away = np.random.default_rng(services).random(len(r["sequence"])) < chance
        r["outcome"][away] = OUTCOMES.index("expired")
        r["outcome"][:10] = OUTCOMES.index("lost")
        return SCENARIO, r, metrics(SCENARIO, r)

    found = blocks.estimates(turned_away(1, 0.05), turned_away(2, 0.15), 32, paired=True)
    lo, hi = found["refused"].interval() or (0.0, 0.0)
    assert 0.05 < lo < found["refused"].difference < hi < 0.15
    assert found["loss"].interval() is not None


def test_runs_of_one_schedule_pair_and_others_do_not(run_of: Callable[..., Run]) -> None:
    a, b = run_of("a", queue(1, 1)), run_of("b", queue(1, 1, slower=1.04), backend="real")
    found = compare.runs(a, b)
    assert found.paired
    assert found.headline == "latency_append_ms_p99"
    assert found.judged["latency_acked_ms_mean"] == REAL
    assert found.records is not None
    assert found.records["paired"] == len(a.records)
    assert found.records["slower"] > 0.99
    assert found.estimates["latency_acked_ms_p99"].a == metrics(SCENARIO, a.records)["latency_acked_ms_p99"]
    assert compare_shown.verdict_line(found).startswith("B is worse: latency_append_ms_p99 +")
    other = compare.runs(a, run_of("c", queue(2, 2)))
    assert (other.paired, other.records) == (False, None)
    assert compare_shown.verdict_line(other).startswith("NO DIFFERENCE beyond noise")


def test_a_run_is_the_same_as_itself(run_of: Callable[..., Run]) -> None:
    a = run_of("a", queue(1, 1))
    found = compare.runs(a, a)
    assert set(found.judged.values()) <= {SAME, ONE_FIGURE}
    assert found.saved == pytest.approx(1)
    json.dumps(found.told(), allow_nan=False)


def test_warm_ups_that_were_found_are_cut_alike(run_of: Callable[..., Run]) -> None:
    workload = dataclasses.replace(SCENARIO.workload, warmup_rule="auto")
    scenario = dataclasses.replace(SCENARIO, workload=workload)
    slow = queue(1, 1)
    for stamp in ("acked", "out_appended"):
        slow[stamp] = slow[stamp] + np.where(slow["created"] < 3 * S_NS, 30 * MS_NS, 0)
    found = compare.runs(run_of("a", queue(1, 1), scenario), run_of("b", slow, scenario))
    assert found.paired
    assert found.estimates["latency_acked_ms_mean"].difference == pytest.approx(0, abs=0.05)
    assert any("over the time that both count" in note for note in found.notes)


def test_too_few_records_give_no_interval(run_of: Callable[..., Run], make_paced: Make, make_scenario: Make) -> None:
    few = run_of("few", make_paced(2, 20), make_scenario(2, 20))
    found = compare.runs(few, few)
    assert set(found.judged.values()) == {ONE_FIGURE}
    assert compare_shown.verdict_line(found).startswith("no verdict")


def test_a_correlation_longer_than_any_block_is_told(run_of: Callable[..., Run], make_paced: Make) -> None:
    records = make_paced(RATE, SECONDS)
    drift = records["created"] // 1000  # a thousandth of the time that went by
    for stamp in ("acked", "out_appended"):
        records[stamp] = records[stamp] + drift
    found = compare.runs(run_of("a", records), run_of("b", queue(1, 1)))
    assert "8 blocks" in found.how
    assert any("run longer" in note for note in found.notes)


def test_a_drained_backlog_has_an_interval_of_its_rate(run_of: Callable[..., Run], make_paced: Make) -> None:
    workload = Workload(Arrival("constant", 0.0), warmup_ns=0, duration_ns=S_NS, backlog_records=4000)
    drain = Scenario(name="drain", workload=workload)
    runs = []
    for k, served in enumerate((400.0, 380.0)):
        records = make_paced(4000, 1, served=served, drain_s=100)
        jitter = np.random.default_rng(k).integers(0, 5 * MS_NS, 4000)
        records["created"][:] = records["sent"][:] = 0
        records["out_appended"] = np.sort(records["out_appended"] + jitter)
        runs.append(run_of(f"drain-{k}", records, drain))
    found = compare.runs(runs[0], runs[1])
    assert found.judged["drain_throughput_per_s"] == REAL
    assert found.estimates["drain_throughput_per_s"].relative == pytest.approx(-0.05, abs=0.005)


# Replications of scenarios


def pairs(shift: float) -> dict[str, Any]:
    rng = np.random.default_rng(3)
    rows = []
    for seed in range(8):
        base = 10 + rng.normal()
        sides = [
            {"verdict": "STABLE", "metrics": {"latency_acked_ms_p99": value, "drain_throughput_per_s": None}}
            for value in (base, base + shift + 0.1 * rng.normal())
        ]
        records = {"paired": 9.0, "p5_ms": 0.0, "p50_ms": 1.0, "p95_ms": 2.0, "slower": 0.5, "variance_saved": 0.9}
        rows.append({"seed": seed, "a": sides[0], "b": sides[1], "records": records})
    return {"a": {"what": "a.yaml", "name": "a"}, "b": {"what": "b.yaml", "name": "b"}, "pairs": rows}


def test_replications_of_the_same_seeds_are_held_against_each_other() -> None:
    found = compare.replications(pairs(0.5), [Limit("latency_acked_p99", 0.01)])
    each = found.estimates["latency_acked_ms_p99"]
    assert list(found.estimates) == ["latency_acked_ms_p99"]
    assert found.judged["latency_acked_ms_p99"] == REAL
    assert each.saved is not None
    assert each.saved > 0.9
    assert found.broken
    assert compare_shown.verdict_line(found).startswith("REGRESSION: acked_p99=1% broken")
    assert found.told()["replications"] == 8
    assert found.records == pairs(0.5)["pairs"][0]["records"]
    assert any("common random numbers saved 9" in line for line in compare_shown.lines(found))
    assert compare.replications(pairs(0.0)).judged["latency_acked_ms_p99"] == NOISE


# The command


def command(*words: object) -> Any:
    return CliRunner().invoke(app, ["compare", *(str(word) for word in words)])


def test_the_command_by_folder_and_by_id(run_of: Callable[..., Run]) -> None:
    a, b = run_of("a-run", queue(1, 1)), run_of("b-run", queue(1, 1, slower=1.1))
    done = command(a.path, b.path)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[0].startswith("B is worse")
    assert "latency_acked_ms_p99" in done.stdout
    told = json.loads(command("a-r", "b-run", "--out", a.path.parent, "--json").stdout)
    assert told["verdict"] == done.stdout.splitlines()[0]
    row = told["metrics"]["latency_acked_ms_mean"]
    assert row["lo"] <= row["difference"] <= row["hi"]
    assert row["variance"] < row["variance_independent"]


def test_the_command_ends_with_3_where_a_limit_is_broken(run_of: Callable[..., Run]) -> None:
    a, b = run_of("a", queue(1, 1)), run_of("b", queue(1, 1, slower=1.1))
    broken = command(a.path, b.path, "--max-regression", "mean=5%")
    assert (broken.exit_code, broken.stdout.splitlines()[0][:11]) == (3, "REGRESSION:")
    assert command(b.path, a.path, "--max-regression", "mean=5%").exit_code == 0
    assert command(a.path, b.path, "--max-regression", "mean=50%", "--max-regression", "throughput=1%").exit_code == 0


def test_what_cannot_be_compared_is_one_message(run_of: Callable[..., Run], tmp_path: Path, make_meta: Make) -> None:
    a = run_of("one-a", queue(1, 1))
    run_of("one-b", queue(1, 1))
    partial = tmp_path / "x.partial"
    partial.mkdir()
    (partial / "run.json").write_text(json.dumps({"schema": 1}))
    (tmp_path / "s.yaml").write_text("workload: {arrival: {rate: 5 /s}}\n")
    for words, message in (
        (["nothing", a.path], "no such run"),
        (["one", a.path, "--out", tmp_path], "2 runs"),
        ([a.path, partial], "did not complete"),
        ([a.path, tmp_path / "s.yaml"], "is a scenario and"),
        ([a.path, a.path, "--set", "x=1"], "are for two scenarios"),
        ([a.path, a.path, "--max-regression", "p98=1%"], "did you mean 'p99'"),
        ([a.path, a.path, "--max-regression", "drain_throughput=1%"], "does not have a value on both sides"),
    ):
        done = command(*words)
        assert done.exit_code == 2, done.output
        (line,) = done.stderr.strip().splitlines()
        assert message in line
