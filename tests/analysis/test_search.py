"""The protocol of sustainable throughput, on pipelines that are a formula."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import search
from analysis.search import Outcome, drain, paced, prefilled, sustainable
from scenarios.spec import Arrival, Scenario, Workload


class Pipeline:
    """STABLE up to a capacity that may differ from repeat to repeat, CLIENT-BOUND above what its generator can."""

    def __init__(self, *capacity_per_s: float, generator_per_s: float = 1e9) -> None:
        self.capacity, self.generator = capacity_per_s, generator_per_s
        self.asked: list[tuple[float, int]] = []

    def __call__(self, rate: float, repeat: int) -> Outcome:
        self.asked.append((rate, repeat))
        if rate > self.generator:
            return Outcome("CLIENT-BOUND")
        return Outcome("STABLE" if rate <= self.capacity[repeat % len(self.capacity)] else "OVERLOADED", f"r{repeat}")


@given(st.floats(3, 9e5), st.floats(1, 1e6))
def test_it_comes_within_the_tolerance_below_the_capacity(capacity: float, start: float) -> None:
    found = sustainable(Pipeline(capacity), start)
    assert found.confirmed
    assert found.rate_per_s is not None
    assert capacity / 1.0305 <= found.rate_per_s <= capacity  # rates have four digits
    assert found.reason == search.CONFIRMED


def test_the_probes_are_bracket_then_bisection_with_one_repeat_then_five() -> None:
    pipeline = Pipeline(1000)
    found = sustainable(pipeline, 300)
    assert [rate for rate, _ in pipeline.asked[:3]] == [300, 600, 1200]
    assert [repeat for _, repeat in pipeline.asked] == [0] * (len(pipeline.asked) - 4) + [1, 2, 3, 4]
    assert [(p.rate_per_s, p.repeat) for p in found.probes] == pipeline.asked
    assert len(found.probes) <= 13


def test_it_halves_where_the_start_is_too_high() -> None:
    pipeline = Pipeline(100)
    found = sustainable(pipeline, 1000)
    assert [rate for rate, _ in pipeline.asked[:5]] == [1000, 500, 250, 125, 62.5]
    assert found.rate_per_s == pytest.approx(98.5, abs=1.5)


def test_it_steps_down_until_every_repeat_is_stable() -> None:
    found = sustainable(Pipeline(1000, 1000, 900), 800)
    assert found.confirmed
    assert found.rate_per_s is not None
    assert 900 / 1.031 <= found.rate_per_s <= 900
    at_it = [p for p in found.probes if p.rate_per_s == found.rate_per_s]
    assert [p.outcome.verdict for p in at_it] == ["STABLE"] * 5


def test_fewer_repeats_are_said() -> None:
    found = sustainable(Pipeline(1000), 800, repeats=2)
    assert found.confirmed
    assert found.repeats == 2
    assert "2 of the 5 repeats" in found.reason


def test_a_generator_at_its_limit_is_the_reason() -> None:
    found = sustainable(Pipeline(1000, generator_per_s=500), 400)
    assert found.rate_per_s == pytest.approx(492, abs=8)
    assert "CLIENT-BOUND" in found.reason


def test_a_generator_that_is_only_too_slow_to_overshoot_is_no_reason() -> None:
    found = sustainable(Pipeline(1000, generator_per_s=1500), 800)
    assert found.rate_per_s == pytest.approx(985, abs=15)
    assert found.reason == search.CONFIRMED


def test_nothing_stable() -> None:
    found = sustainable(Pipeline(0.5), 100)
    assert (found.rate_per_s, found.confirmed) == (None, False)
    assert "nothing STABLE down to 1 /s" in found.reason


def test_stable_at_the_highest_rate() -> None:
    found = sustainable(Pipeline(1e9), 100, highest_per_s=1000)
    assert (found.rate_per_s, found.confirmed) == (1000, True)
    assert "highest rate tried" in found.reason


def test_no_more_probes_than_allowed() -> None:
    pipeline = Pipeline(1000)
    found = sustainable(pipeline, 300, max_probes=4)
    assert len(pipeline.asked) == 4
    assert not found.confirmed
    assert found.rate_per_s is not None
    assert 600 <= found.rate_per_s <= 1000
    assert "4 probes" in found.reason


def test_an_interrupted_search_goes_on_where_it_was(tmp_path: Path) -> None:
    journal = tmp_path / "deep" / "search.json"
    whole = sustainable(Pipeline(1000), 300)
    first = Pipeline(1000)

    def interrupted(rate: float, repeat: int) -> Outcome:
        if len(first.asked) == 6:
            raise KeyboardInterrupt
        return first(rate, repeat)

    with pytest.raises(KeyboardInterrupt):
        sustainable(interrupted, 300, journal=journal)
    rest = Pipeline(1000)
    found = sustainable(rest, 300, journal=journal)
    assert found == whole
    assert first.asked + rest.asked == [(p.rate_per_s, p.repeat) for p in whole.probes]
    again = Pipeline(1000)
    assert sustainable(again, 300, journal=journal) == whole
    assert again.asked == []


def test_an_invalid_run_ends_the_search_and_is_tried_again(tmp_path: Path) -> None:
    journal = tmp_path / "search.json"

    def broken(rate: float, repeat: int) -> Outcome:
        return Outcome("INVALID", "runs/x") if rate > 500 else Outcome("STABLE")

    found = sustainable(broken, 300, journal=journal)
    assert (found.rate_per_s, found.confirmed) == (300, False)
    assert "INVALID (runs/x)" in found.reason
    assert sustainable(Pipeline(1000), 300, journal=journal).confirmed


def test_a_damaged_journal_is_named(tmp_path: Path) -> None:
    journal = tmp_path / "search.json"
    journal.write_text("{")
    with pytest.raises(ValueError, match=r"search\.json: not the probes"):
        sustainable(Pipeline(1000), 300, journal=journal)


@pytest.mark.parametrize("wrong", [{"start_per_s": 0}, {"start_per_s": 5, "repeats": 0}, {"start_per_s": 2e9}])
def test_impossible_arguments(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"expected 0 <|repeats"):
        sustainable(Pipeline(1000), **wrong)  # type: ignore[arg-type]


def test_every_step_is_told() -> None:
    told: list[str] = []
    found = sustainable(Pipeline(1000), 800, repeats=1, tell=told.append)
    assert len(told) == len(found.probes)
    assert told[0] == "800 /s, repeat 1: STABLE"


def test_drain_is_the_median_of_the_repeats() -> None:
    rates = [100.0, 300.0, 200.0]
    found = drain(lambda k: Outcome("STABLE", metrics={"drain_throughput_per_s": rates[k]}), 3)
    assert (found.rate_per_s, found.lo, found.hi) == (200, 100, 300)
    assert len(found.outcomes) == 3


@pytest.mark.parametrize("missing", [Outcome("STABLE"), Outcome("INVALID", metrics={"drain_throughput_per_s": 1.0})])
def test_a_drain_without_a_rate_gives_none(missing: Outcome) -> None:
    good = Outcome("STABLE", metrics={"drain_throughput_per_s": 1.0})
    assert drain(lambda k: missing if k else good, 2).rate_per_s is None


def test_the_runs_of_probes() -> None:
    base = Scenario(workload=Workload(Arrival("poisson", 50.0), seed=7, records=10, backlog_records=4), repeats=3)
    at_rate = paced(base, 120.0, 2).workload
    assert (at_rate.arrival.kind, at_rate.arrival.rate_per_s, at_rate.seed) == ("poisson", 120.0, 9)
    assert (at_rate.records, at_rate.backlog_records) == (None, 0)
    drained = prefilled(base, 500, 1).workload
    assert (drained.backlog_records, drained.arrival.rate_per_s, drained.warmup_ns, drained.seed) == (500, 0.0, 0, 8)
    ramp = dataclasses.replace(base, workload=Workload(Arrival("ramp", 1.0, to_rate_per_s=5.0)))
    with pytest.raises(ValueError, match="kind ramp"):
        paced(ramp, 10.0, 0)
