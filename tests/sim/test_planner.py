"""The planner and the tuner: the estimator against SimPy, the search against trying everything, the toy menu."""

from __future__ import annotations

import dataclasses
import itertools
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from control.envelope import envelope
from control.planning import Choice, Choices, Estimate, cost_per_h, cost_per_million, fastest, greedy
from scenarios.draw_arrays import Int64s
from scenarios.errors import ScenarioError
from scenarios.load import any_from_resolved, load, load_any, resolved
from scenarios.plan_load import read_prices
from scenarios.plan_spec import Edge, Option, Phase, PlanLoad, PlanScenario, PlanSettings, Stage
from scenarios.spec import MS_NS, S_NS, Arrival
from sim.__main__ import app
from sim.planner import load as loads
from sim.planner import plan, reference, tune
from sim.planner.baselines import baselines
from sim.planner.estimator import NONE, Estimator, Flow, Trace, draw_trace, percentile_ns, rank
from sim.planner.search import Sample, cheapest, frontier

SHIPPED = Path(__file__).resolve().parents[2] / "scenarios" / "plan"
ONE = (Stage("m"),)


def shipped(name: str, *sets: str) -> PlanScenario:
    scenario = load_any(SHIPPED / f"{name}.yaml", sets)
    assert isinstance(scenario, PlanScenario)
    return scenario


def alone(arrivals: Any) -> Trace:
    return Trace(np.asarray(arrivals, dtype=np.int64), ((),))


def chain_trace(arrivals: Int64s) -> Trace:
    return Trace(arrivals, ((), (np.ones(len(arrivals), dtype=np.bool_),)))


def exponential(rate_per_s: float, n: int, seed: int) -> Int64s:
    gaps: Int64s = np.rint(np.random.default_rng(seed).exponential(S_NS / rate_per_s, n)).astype(np.int64)
    return gaps.cumsum()


# --- the estimator


def test_batches_by_hand() -> None:
    # A batch of n takes 2 + n ms.  The first record goes alone (0 to 3); two of the three that wait then go together
    # (3 to 7), the one of them that arrives at that very instant included; the last one follows (7 to 10).
    option = Option("x", 1.0, 2 * MS_NS, MS_NS)
    estimator = Estimator(ONE, alone([0, 1 * MS_NS, 3 * MS_NS, 3 * MS_NS]))
    assert (estimator.run([option], [Choice(0, 2, 1)]) // MS_NS).tolist() == [3, 6, 4, 7]
    # Two replicas: the second serves record 1 from 1 to 4; the first the other two from 3 to 7.
    assert (estimator.run([option], [Choice(0, 2, 2)]) // MS_NS).tolist() == [3, 3, 4, 4]
    assert estimator.evaluations == 2


def test_replicas_come_and_go_by_hand() -> None:
    option = Option("x", 1.0, 10 * MS_NS, 0, max_batch=1)
    estimator = Estimator(ONE, alone(np.array([0, 0, 0, 0, 50, 50], dtype=np.int64) * MS_NS))

    def latencies(replicas: int, *schedule: tuple[int, int]) -> list[int]:
        steps = [(at * MS_NS, n) for at, n in schedule]
        flow = estimator.advance(Flow(), option, Choice(0, 1, replicas), steps)
        return [int(each) // MS_NS for each in estimator.latencies(flow)]

    assert latencies(1) == [10, 20, 30, 40, 10, 20]
    assert latencies(1, (15, 1)) == [10, 20, 25, 30, 10, 10]  # the second replica serves from 15 ms on
    assert latencies(2, (5, -1)) == [10, 10, 20, 30, 10, 20]  # one goes at 10 ms, its record done
    assert latencies(2, (20, -1), (45, 1)) == [10, 10, 20, 20, 10, 10]
    assert latencies(1, (5, -1)) == [10, 20, 30, 40, 10, 20], "the last one stays"


def random_pipeline(rng: np.random.Generator) -> tuple[tuple[Stage, ...], tuple[tuple[Option, ...], ...], Choices]:
    """Two to five models with random ways, joins and shares; whole milliseconds, so that instants coincide."""
    stages: list[Stage] = []
    menu, choices = [], []
    for at in range(int(rng.integers(2, 6))):
        before = [s.name for s in stages if rng.random() < 0.6]
        stages.append(Stage(f"m{at}", tuple(Edge(name, float(rng.choice([1.0, 0.5, 0.2]))) for name in before)))
        menu.append((Option("x", 1.0, int(rng.integers(0, 4)) * MS_NS, int(rng.integers(1, 5)) * MS_NS),))
        choices.append(Choice(0, int(rng.choice([1, 2, 4, 8])), int(rng.integers(1, 4))))
    return tuple(stages), tuple(menu), tuple(choices)


@pytest.mark.parametrize("seed", range(25))
def test_every_latency_is_that_of_simpy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pipeline, menu, choices = random_pipeline(rng)
    arrivals = np.sort(rng.integers(0, 1500, 400)) * MS_NS
    trace = draw_trace(pipeline, arrivals.astype(np.int64), seed)
    fast = Estimator(pipeline, trace).run([own[0] for own in menu], choices)
    assert np.array_equal(fast, reference.latencies(pipeline, menu, choices, trace))


def test_every_latency_is_that_of_simpy_on_a_gamma_trace_of_the_cascade() -> None:
    scenario = shipped("cascade", "workload.queries=3000")
    (trace, *_) = loads.samples(scenario)
    choices = (Choice(0, 2, 7), Choice(1, 8, 1), Choice(0, 4, 1), Choice(0, 1, 1))
    options = [own[c.option] for own, c in zip(scenario.menu, choices, strict=True)]
    fast = Estimator(scenario.pipeline, trace).run(options, choices)
    assert np.array_equal(fast, reference.latencies(scenario.pipeline, scenario.menu, choices, trace))


@pytest.mark.parametrize("rho", [0.3, 0.7])
def test_the_mean_wait_of_m_d_1(rho: float) -> None:
    """W = rho s / (2 (1 - rho)), within 4 standard errors over independent traces."""
    service = 10 * MS_NS
    option = Option("x", 1.0, service, 0)
    waits = [
        float(Estimator(ONE, alone(exponential(rho * 100, 40_000, seed))).run([option], [Choice(0, 1, 1)]).mean())
        - service
        for seed in range(20)
    ]
    expected = rho * service / (2 * (1 - rho))
    assert abs(np.mean(waits) - expected) < 4 * np.std(waits, ddof=1) / np.sqrt(len(waits))


def test_an_overloaded_model_serves_full_batches() -> None:
    """Records leave at B / t(B), so the n-th waits n / mu - n / lambda longer than the first."""
    option = Option("x", 1.0, 20 * MS_NS, 6 * MS_NS)
    arrivals = np.arange(20_000, dtype=np.int64) * (S_NS // 200)
    latencies = Estimator(ONE, alone(arrivals)).run([option], [Choice(0, 8, 1)])
    mu = option.throughput_per_s(8)
    assert mu == pytest.approx(8 / 0.068)
    slope = (latencies[-1] - latencies[10_000]) / S_NS / 9_999
    assert slope == pytest.approx(1 / mu - 1 / 200, rel=1e-3)


def test_ways_are_shares_and_a_join_waits_for_both() -> None:
    pipeline = (Stage("a"), Stage("b", (Edge("a", 0.3),)), Stage("c", (Edge("a"), Edge("b"))))
    trace = draw_trace(pipeline, np.arange(20_000, dtype=np.int64) * S_NS, 7)
    estimator = Estimator(pipeline, trace)
    assert estimator.shares == pytest.approx((1.0, 0.3, 1.0), abs=4 * np.sqrt(0.21 / 20_000))
    options = [Option("x", 1.0, ms * MS_NS, 0) for ms in (5, 20, 1)]
    latencies = estimator.run(options, [Choice(0)] * 3)
    by_b = estimator.visited[1]
    assert set(latencies[by_b]) == {26 * MS_NS}
    assert set(latencies[~by_b]) == {6 * MS_NS}
    flow = estimator.advance(estimator.advance(Flow(), options[0], Choice(0)), options[1], Choice(0))
    assert (flow.done[1][~by_b] == NONE).all()
    other = draw_trace(pipeline, trace.arrivals[:100], 7)
    assert np.array_equal(other.taken[1][0], trace.taken[1][0][:100]), "a record's way does not depend on the others"


def test_the_percentile_is_the_nearest_rank() -> None:
    latencies = np.arange(1, 1001, dtype=np.int64)
    assert percentile_ns(latencies, 99.0) == 990
    assert percentile_ns(latencies, 99.9) == 999
    assert percentile_ns(latencies[:150], 99.0) == 149  # ceil(148.5)
    assert rank(1, 50.0) == 1


def test_a_table_is_linear_between_its_sizes() -> None:
    option = Option("x", 1.0, table_ns=((1, 10), (4, 40), (8, 60)), max_batch=8)
    assert [option.service_ns(n) for n in (1, 2, 4, 6, 8)] == [10, 20, 40, 50, 60]
    assert option.batches == (1, 2, 4, 8)
    with pytest.raises(ValueError, match="largest measured is 8"):
        option.service_ns(9)


# --- the searches


def small(margin: float = 0.1, rate: float = 100.0, cv: float = 2.0, slo_ms: int = 250) -> PlanScenario:
    """The toy menu with batches up to 8, short traces and at most 3 replicas: small enough to try everything."""
    toy = shipped("toy")
    return dataclasses.replace(
        toy,
        workload=PlanLoad(Arrival("gamma", rate, cv), queries=2000, seed=3),
        menu=tuple(tuple(dataclasses.replace(option, max_batch=8) for option in own) for own in toy.menu),
        slo_ns=slo_ms * MS_NS,
        plan=PlanSettings(samples=2, margin=margin, max_replicas=3),
    )


def everything(scenario: PlanScenario) -> dict[Choices, list[Int64s]]:
    """Latencies of every configuration there is, on each sample trace."""
    traces = loads.samples(scenario)
    found = {}
    every = [
        [Choice(o, b, r) for o in range(len(own)) for b in own[o].batches for r in range(1, 4)] for own in scenario.menu
    ]
    for choices in itertools.product(*every):
        options = [own[c.option] for own, c in zip(scenario.menu, choices, strict=True)]
        found[choices] = [Estimator(scenario.pipeline, trace).run(options, choices) for trace in traces]
    return found


@pytest.mark.parametrize(("rate", "cv", "slo_ms"), [(100.0, 2.0, 250), (60.0, 1.0, 250), (60.0, 4.0, 120)])
def test_the_search_finds_what_trying_everything_finds(rate: float, cv: float, slo_ms: int) -> None:
    scenario = small(rate=rate, cv=cv, slo_ms=slo_ms)
    tried = everything(scenario)
    feasible = {
        choices: percentile_ns(np.concatenate(latencies), 99.0)
        for choices, latencies in tried.items()
        if percentile_ns(np.concatenate(latencies), 99.0) <= 0.9 * scenario.slo_ns
        and all(percentile_ns(each, 99.0) <= scenario.slo_ns for each in latencies)
    }
    expected = min((cost_per_h(scenario.menu, choices), latency) for choices, latency in feasible.items())
    sample = Sample(scenario, loads.samples(scenario))
    best = cheapest(sample, None, 3, 10**6)
    assert best.complete
    assert (best.cost_per_h, best.latency_ns) == expected
    assert best.choices in feasible
    dearest = max(feasible, key=lambda choices: cost_per_h(scenario.menu, choices))
    assert cheapest(sample, dearest, 3, 10**6) == best, "whatever it starts from"


def test_the_greedy_plan_is_feasible_and_no_single_step_betters_it() -> None:
    sample = Sample(small(), loads.samples(small()))
    found = greedy(sample.menu, sample.shares, sample.estimate)
    assert found.choices is not None
    assert sample.estimate(found.choices).feasible
    for at, choice in enumerate(found.choices):
        fewer = dataclasses.replace(choice, replicas=choice.replicas - 1)
        trial = (*found.choices[:at], fewer, *found.choices[at + 1 :])
        assert choice.replicas == 1 or not sample.estimate(trial).feasible
    costs = [step.cost_per_h for step in found.steps]
    peak = costs.index(max(costs))
    assert costs == sorted(costs[:peak]) + sorted(costs[peak:], reverse=True)


def test_the_frontier_is_that_of_everything() -> None:
    scenario = small(rate=60.0)
    tried = everything(scenario)
    points = sorted(
        (cost_per_h(scenario.menu, c), percentile_ns(np.concatenate(each), 99.0)) for c, each in tried.items()
    )
    sample = Sample(scenario, loads.samples(scenario))
    found, complete = frontier(sample, [], 4.0, 3, 10**6)
    assert complete
    assert len(found) >= 3
    for cost, latency in points:
        if cost <= 4.0 and latency <= 4 * scenario.slo_ns:
            assert any(p.cost_per_h <= cost and p.latency_ns <= latency * 1.0404 for p in found), (cost, latency)
    for sooner, later in itertools.pairwise(found):
        assert sooner.cost_per_h < later.cost_per_h
        assert sooner.latency_ns > later.latency_ns


def test_a_search_that_is_cut_off_says_so() -> None:
    sample = Sample(small(), loads.samples(small()))
    assert not cheapest(sample, None, 3, 5).complete


def test_the_greedy_search_by_hand() -> None:
    """One model; an estimator that asks for 40 records a second of capacity and nothing else."""
    menu = ((Option("slow", 1.0, 0, 100 * MS_NS, max_batch=1), Option("fast", 5.0, 30 * MS_NS, 20 * MS_NS, (), 4)),)
    assert fastest(menu[0]) == 1

    def estimate(choices: Choices) -> Estimate:
        (choice,) = choices
        capacity = choice.replicas * menu[0][choice.option].throughput_per_s(choice.batch)
        return Estimate(capacity >= 40 * (1 - 1e-12), round(1e9 / capacity))

    found = greedy(menu, (1.0,), estimate)
    # fast: 20/s alone, so two replicas (10.00); then four slow ones at 10/s each cost 4.00; nothing is cheaper.
    assert [(step.action, step.cost_per_h) for step in found.steps] == [
        ("fastest hardware, one replica", 5.0),
        ("add a replica", 10.0),
        ("slow, batch 1", 4.0),
    ]
    assert found.choices == (Choice(0, 1, 4),)
    # Without the cheap hardware batches are doubled for what they let go: 2 / 70 ms = 28.6/s, 4 / 110 ms = 36.4/s.
    only = (menu[0][1:],)

    def of_fast(choices: Choices) -> Estimate:
        (choice,) = choices
        capacity = choice.replicas * only[0][0].throughput_per_s(choice.batch)
        return Estimate(capacity >= 57, round(1e9 / capacity))

    found = greedy(only, (1.0,), of_fast)
    assert [step.cost_per_h for step in found.steps] == [5.0, 10.0, 15.0, 15.0, 10.0, 10.0]
    assert found.choices == (Choice(0, 4, 2),)
    nothing = greedy(only, (1.0,), lambda _: Estimate(False, 0), max_replicas=2)
    assert nothing.choices is None
    assert "2 unbatched replicas" in nothing.reason


def test_costs() -> None:
    scenario = shipped("toy")
    assert cost_per_h(scenario.menu, (Choice(1, 16, 3), Choice(0, 8, 2))) == 2.9
    assert cost_per_million(3.6, 100.0) == pytest.approx(10.0)  # 360,000 records an hour


# --- the toy menu


def independent(rate: float, cv: float, n: int, seed: int) -> Int64s:
    """Gamma gaps by numpy's own generator."""
    shape = 1 / cv**2
    gaps: Int64s = np.rint(np.random.default_rng(seed).gamma(shape, S_NS / (rate * shape), n)).astype(np.int64)
    return gaps.cumsum()


@pytest.mark.parametrize(("name", "cv", "least", "most"), [("toy", 1.0, 1.0, 1.0), ("bursty", 4.0, 1.9, 2.9)])
def test_the_toy_plan_costs_what_it_must_and_holds_on_other_days(
    name: str, cv: float, least: float, most: float
) -> None:
    scenario = shipped(name)
    made = plan.make(scenario, with_frontier=False)
    found = plan.summary(made)
    assert found["verdict"] == "PLANNED"
    assert least <= found["cost_per_h"] <= most
    assert found["exact"] == {"cost_per_h": found["cost_per_h"], "complete": True}
    assert found["reference_equal"] is True
    assert found["cost_per_million"] == pytest.approx(found["cost_per_h"] / 0.36, rel=0.03)
    assert [each["queries"] for each in found["validation"]] == [12_000] * 5
    assert all(each["latency_ms"] <= 250 for each in found["validation"])
    assert made.choices is not None
    for seed in range(5):
        seen = plan.trial(scenario, made.choices, chain_trace(independent(100.0, cv, 12_000, seed)))
        assert seen.latency_ns <= scenario.slo_ns
        assert seen.attainment >= 0.99


def test_an_objective_below_the_service_times_is_infeasible() -> None:
    for slo in ("18 ms", "20 ms"):
        found = plan.summary(plan.make(shipped("toy", f"slo.latency_p99={slo}")))
        assert found["verdict"] == "INFEASIBLE"
        assert found["floor_ms"] == 18.5  # 10 + 1.5 on a v100, 6 + 1 on a k80
        assert "18.5 ms" in found["reason"]
        assert found["cost_per_h"] is None
    assert found["reason"].endswith("the objective is 20 ms, 10% of it kept free")


def test_without_the_margin_20_ms_can_be_bought() -> None:
    found = plan.summary(
        plan.make(
            shipped("toy", "slo.latency_p99=20 ms", "plan.margin=0", "workload.queries=2000"), with_frontier=False
        )
    )
    assert found["verdict"] == "PLANNED"
    assert found["cost_per_h"] > 15


def test_too_few_replicas_are_infeasible_too() -> None:
    found = plan.summary(plan.make(shipped("toy", "plan.max_replicas=1", "workload.arrival.rate=2000 /s")))
    assert found["verdict"] == "INFEASIBLE"
    assert "at most 1 replicas a model no configuration does" in found["reason"]


def test_a_failed_trace_joins_the_sample() -> None:
    """Planned for one short trace without a margin, the first plan is too cheap for the days that follow."""
    sets = ("plan.samples=1", "plan.margin=0", "workload.queries=1500", "workload.seed=100")
    scenario = shipped("bursty", *sets)
    made = plan.make(scenario, with_frontier=False)
    assert made.rounds > 1
    assert made.joined > 0
    assert made.verdict == "PLANNED"
    once = dataclasses.replace(scenario, plan=dataclasses.replace(scenario.plan, rounds=1))
    unproven = plan.make(once, with_frontier=False)
    assert unproven.verdict == "UNPROVEN"
    assert "late on" in unproven.reason


def test_fresh_traces_are_fresh() -> None:
    scenario = shipped("toy", "workload.queries=1000")
    seen = [
        t.arrivals.tobytes() for t in (*loads.samples(scenario), *loads.fresh(scenario, 0), *loads.fresh(scenario, 1))
    ]
    assert len(set(seen)) == len(seen) == 14


def test_a_trace_file_is_cut_in_two(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    (tmp_path / "gaps.csv").write_text("\n".join(f"{gap:.6f}" for gap in rng.exponential(0.01, 20_000)))
    (tmp_path / "traced.yaml").write_text(
        f"extends: {SHIPPED / 'toy.yaml'}\n"
        "workload: {arrival: {kind: trace, path: gaps.csv, trace_kind: gaps, interval: 1 s}, queries: 20000}\n"
    )
    scenario = load_any(tmp_path / "traced.yaml")
    assert isinstance(scenario, PlanScenario)
    (sample,), (rest,) = loads.samples(scenario), loads.fresh(scenario, 0)
    assert (len(sample), len(rest)) == (5_000, 15_000)
    found = plan.summary(plan.make(scenario, with_frontier=False))
    assert (found["verdict"], found["cost_per_h"]) == ("PLANNED", 1.0)
    assert [each["queries"] for each in found["validation"]] == [15_000]


def test_too_short_a_sample_is_refused() -> None:
    with pytest.raises(ScenarioError, match="500 records; a p99 takes 1,000"):
        plan.make(shipped("toy", "workload.queries=500"))


def test_black_boxes_by_hand() -> None:
    """At 150/s a box of A on a k80 and B on a cpu must batch: 8 gives 117.6/s, 16 gives 137.9/s, so two boxes."""
    scenario = shipped("toy", "workload.arrival={kind: constant, rate: 150 /s}")
    traces = loads.samples(scenario)
    mean, peak = baselines(scenario, traces, (1.0, 1.0))
    assert (mean.name, peak.name) == ("cg-mean", "cg-peak")
    assert mean.rate_per_s == pytest.approx(150, rel=1e-3)
    # One box on k80s at batch 32 carries 150.9/s in 212 + 38 = 250 ms for 1.80; two of k80 and cpu cost 2.00.
    assert (mean.cost_per_h, [c.batch for c in mean.choices]) == (1.8, [32, 32])
    assert peak.rate_per_s == envelope(traces[0].arrivals / S_NS, (0.25,))[0.25]
    assert peak.cost_per_h == 2.0


# --- the tuner


@cache
def planned_for_150() -> plan.Plan:
    return plan.make(shipped("ramp"), with_frontier=False)


def followed(name: str, *sets: str) -> tune.Tuned:
    """One of the shipped loads, which have one plan; a set concerns `tune:` alone."""
    scenario = shipped(name, *sets)
    made = planned_for_150()
    assert dataclasses.replace(scenario, name=made.scenario.name, tune=None, expect=()) == dataclasses.replace(
        made.scenario, tune=None, expect=()
    )
    assert made.choices is not None
    return tune.tune(scenario, made.choices, made.rate_per_s, made.shares)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_steady_load_is_left_alone(seed: int) -> None:
    found = followed("steady", f"tune.seed={seed}")
    assert found.decisions == ()
    assert found.tuned == found.untuned
    assert found.tuned.attainment >= 0.99
    assert found.queries > 80_000


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_ramp_is_followed(seed: int) -> None:
    found = followed("ramp", f"tune.seed={seed}")
    assert found.tuned.attainment >= 0.98
    assert found.untuned.attainment < 0.80
    assert all(each.after > each.before for each in found.decisions)
    assert 60 < found.decisions[0].at_s < 100
    assert found.untuned.cost_per_h == 1.9
    assert 1.9 < found.tuned.cost_per_h < 4.0


def test_burstiness_is_seen_in_a_short_window() -> None:
    found = followed("burst")
    first = found.decisions[0]
    assert 120 < first.at_s <= 125
    window = float(first.reason.split(" in ")[1].split(" s,")[0])
    assert window < 0.5
    assert found.tuned.attainment > 0.98 > found.untuned.attainment


def test_replicas_go_when_the_load_does() -> None:
    phases = "tune.phases=[{rate: 150 /s, duration: 60 s}, {rate: 40 /s, duration: 120 s}]"
    found = followed("ramp", phases)
    down = [each for each in found.decisions if each.after < each.before]
    assert down
    assert 60 + 25 < down[0].at_s < 60 + 45  # the last 30 s no longer hold the old rate
    assert found.tuned.cost_per_h < found.untuned.cost_per_h
    assert found.tuned.attainment >= 0.99


def test_inferlines_own_rule_buys_more() -> None:
    own = followed("ramp", "tune.matched=false", "tune.tolerance=0")
    ours = followed("ramp")
    assert own.tuned.attainment >= 0.98
    assert own.tuned.cost_per_h > ours.tuned.cost_per_h


def test_a_tuned_replica_is_paid_from_its_decision() -> None:
    """One replica more for half of the time costs half of its price."""
    scenario = shipped("ramp", "tune.phases=[{rate: 10 /s, duration: 100 s}]")
    assert scenario.tune is not None
    trace = draw_trace(scenario.pipeline, loads.phased(scenario.tune.phases, 1), 1)
    choices = (Choice(1, 8, 2), Choice(0, 8, 1))
    served = tune._serve(scenario, scenario.tune, choices, trace, [[(50 * S_NS, 1)], []])
    assert served.cost_per_h == pytest.approx(1.8 + 0.45 + 0.1)
    assert served.replicas == (3, 1)


def test_phases_have_their_rates() -> None:
    phases = (Phase(100.0, 100.0, 100 * S_NS), Phase(100.0, 300.0, 100 * S_NS), Phase(50.0, 50.0, 100 * S_NS, 0.5))
    times = loads.phased(phases, 1)
    assert (np.diff(times) >= 0).all()
    counts = np.diff(np.searchsorted(times, np.arange(0, 301, 50) * S_NS))
    expected = [5000, 5000, 7500, 12_500, 2500, 2500]  # the ramp: 100 to 200, then 200 to 300
    assert counts == pytest.approx(expected, abs=4 * np.sqrt(12_500))


# --- the scenario and the command


@pytest.mark.parametrize("name", sorted(path.stem for path in SHIPPED.glob("*.yaml")))
def test_shipped_scenarios_come_back_from_their_resolved_form(name: str) -> None:
    scenario = shipped(name)
    assert any_from_resolved(json.loads(json.dumps(resolved(scenario)))) == scenario


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ("menu.A.k90={base: 3 ms, each: 1 ms}", "no price for 'k90' in ec2-2018.json; did you mean 'k80'?"),
        ("menu.C={cpu: {each: 1 ms}}", "no model of the pipeline is called 'C'"),
        ("pipeline.C.after.A=1", "has no hardware for the model 'C'"),
        ("pipeline.B.after.X=1", "no model of the pipeline is called 'X'"),
        ("pipeline.A.after.B=1", "A would come after itself"),
        ("pipeline.B.after.A=1.5", "must be at most 1"),
        ("menu.A.cpu.table={1: 3 ms}", "what the table says, or base and each"),
        ("menu.A.cpu={table: {1: 9 ms, 2: 3 ms}}", "a larger batch takes less time"),
        ("menu.A.cpu={table: {one: 9 ms}}", "maps batch sizes to times"),
        ("menu.A.cpu={price: 1}", "how long does a batch take?"),
        ("menu.A.cpu={table: {4: 9 ms}, max_batch: 8}", "no time is known for a batch above 4"),
        ("plan.marginn=0.2", "did you mean 'margin'?"),
        ("slo.latency_p95=30 ms", "a plan is made for one percentile"),
        ("workload.duration=60 s", "a duration or a number of queries"),
        ("workload.arrival.period=3 s", "arrival kind gamma has no period"),
        ("prices=nowhere.json", "cannot be read"),
    ],
)
def test_what_is_wrong_is_told(sets: str, message: str) -> None:
    with pytest.raises(ScenarioError, match="(?s)" + "".join(f"[{c}]" if c in "?.[]" else c for c in message)):
        shipped("toy", sets)


def test_an_error_has_its_place(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text((SHIPPED / "toy.yaml").read_text().replace("k80: {base: 20 ms", "k80: {bse: 20 ms"))
    with pytest.raises(ScenarioError) as told:
        load_any(file)
    assert (told.value.line, told.value.key) == (14, "menu.A.k80.bse")
    with pytest.raises(ScenarioError, match="is of a plan"):
        load(SHIPPED / "toy.yaml")


def test_another_price_file_is_another_plan(tmp_path: Path) -> None:
    prices = read_prices(str(SHIPPED.parent / "prices" / "ec2-2018.json"))
    assert prices.date.startswith("2018")
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"date": "2030-01-01", "currency": "EUR", "per_h": {"cpu": 1, "k80": 2, "v100": 0.5}}))
    found = plan.summary(plan.make(shipped("toy", f"prices={file}"), with_frontier=False))
    assert found["models"]["A"]["hardware"] == "v100"
    assert found["prices"] == {"date": "2030-01-01", "currency": "EUR", "source": ""}
    for text, message in (("{", "not JSON"), ("{}", "per_h"), ('{"per_h": {"cpu": -1}}', "not a price")):
        file.write_text(text)
        with pytest.raises(ScenarioError, match=message):
            shipped("toy", f"prices={file}")


def test_the_command_prints_one_object(tmp_path: Path) -> None:
    picture = tmp_path / "frontier.svg"
    done = CliRunner().invoke(app, ["plan", str(SHIPPED / "toy.yaml"), "--json", "--plot", str(picture)])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["verdict"], found["cost_per_h"]) == ("PLANNED", 1.0)
    assert found["models"]["A"] | {"utilisation": 0} == {
        "hardware": "k80",
        "batch": 16,
        "replicas": 1,
        "cost_per_h": 0.9,
        "utilisation": 0,
    }
    costs = [point["cost_per_h"] for point in found["frontier"]]
    assert costs[0] == 1.0
    assert costs == sorted(costs)
    assert [each["name"] for each in found["baselines"]] == ["cg-mean", "cg-peak"]
    assert "<svg" in picture.read_text()


def test_exit_codes(tmp_path: Path) -> None:
    def code(*words: str) -> int:
        return CliRunner().invoke(app, ["plan", *words, "--no-frontier"]).exit_code

    toy = str(SHIPPED / "toy.yaml")
    infeasible = ["--set", "slo.latency_p99=15 ms"]
    assert code(toy, *infeasible) == 0, "that it cannot be met is an answer"
    assert code(toy, *infeasible, "--set", "expect.cost_per_h=5") == 3
    assert code(toy, "--set", "expect.cost_per_h=1") == 0
    assert code(toy, "--set", "expect.cost_per_h=0.99") == 3
    assert code(toy, "--plot", str(tmp_path / "x.txt")) == 2
    assert code(str(SHIPPED.parent / "demo.yaml")) == 2


@pytest.mark.parametrize("option", ["--plot", "--pipeline"])
def test_what_cannot_be_written_is_told_before_the_work(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sim.planner.command.planned", lambda *_, **__: pytest.fail("there was work"))
    path = tmp_path / "none" / "plan.svg"
    done = CliRunner().invoke(app, ["plan", str(SHIPPED / "toy.yaml"), option, str(path)])
    assert (done.exit_code, done.stderr) == (2, f"{path}: cannot be written: No such file or directory\n")


def test_a_sweep_is_a_list() -> None:
    sets = ["--set", "sweep.workload.arrival.rate=[50 /s, 100 /s]", "--no-frontier", "--json"]
    done = CliRunner().invoke(app, ["plan", str(SHIPPED / "toy.yaml"), *sets])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [each["workload.arrival.rate"] for each in found] == ["50 /s", "100 /s"]
    assert found[0]["cost_per_h"] <= found[1]["cost_per_h"]


def test_tables_are_printed() -> None:
    done = CliRunner().invoke(app, ["plan", str(SHIPPED / "ramp.yaml")])
    assert done.exit_code == 0, done.output
    for words in ("PLANNED", "no configuration is cheaper", "cg-peak", "untuned", "A: 2 to 3 replicas"):
        assert words in done.stdout


def test_a_plan_for_one_model_of_the_zoo_is_a_pipeline_scenario(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    done = CliRunner().invoke(app, ["plan", str(SHIPPED / "ffnn.yaml"), "--pipeline", str(file), "--no-frontier"])
    assert done.exit_code == 0, done.output
    scenario = load(file)
    assert (scenario.model.name, scenario.engine.parallelism) == ("ffnn", 1)
    assert scenario.workload.arrival == Arrival("gamma", 1000.0, 1.0)
    assert (scenario.slo[0].metric, scenario.slo[0].value) == ("latency_p99", 30.0)


@pytest.mark.parametrize(
    ("name", "why"), [("toy", "it has 2 models"), ("ffnn", "it batches; the Python engine scores record by record")]
)
def test_a_plan_that_is_no_pipeline_scenario_says_why(name: str, why: str) -> None:
    sets = ["menu.ffnn.cpu.max_batch=4", "workload.arrival.rate=4000 /s", "menu.ffnn.cpu.base=900 us"]
    scenario = shipped(name, *(sets if name == "ffnn" else []))
    assert why in plan.summary(plan.make(scenario, with_frontier=False))["no_pipeline"]
