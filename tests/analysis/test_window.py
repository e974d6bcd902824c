"""Which records the metrics are of: fixed, found, or the first quarter cut."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from analysis.metrics import metrics
from analysis.text import warmup_text
from analysis.verdict import evaluate
from analysis.window import FEWEST, cut, edges_ns, in_window, settled, window_ns
from scenarios.spec import MS_NS, S_NS, Scenario

Make = Callable[..., Any]


def ruled(scenario: Scenario, rule: str, **load: Any) -> Scenario:
    workload = dataclasses.replace(scenario.workload, warmup_ns=0, warmup_rule=rule, **load)  # type: ignore[arg-type]
    return dataclasses.replace(scenario, workload=workload)


def slow_begin(r: dict[str, Any], until_s: float, extra_ms: float = 40.0) -> dict[str, Any]:
    """Latencies that are longer at first, and noise that is the same throughout."""
    noise = np.random.default_rng(2).integers(0, MS_NS, len(r["created"]))
    late = noise + np.where(r["created"] < until_s * S_NS, int(extra_ms * MS_NS), 0)
    for stamp in ("out_appended", "acked"):
        r[stamp] = r[stamp] + late
    return r


@pytest.mark.parametrize("until_s", [2.0, 6.0, 9.0])
def test_a_slow_begin_is_found_and_left_out(until_s: float, make_paced: Make, make_scenario: Make) -> None:
    records = slow_begin(make_paced(100, 20), until_s)
    scenario = ruled(make_scenario(100, 20), "auto")
    found = cut(scenario, records)
    assert found.settled
    assert until_s <= found.at_ns / S_NS <= until_s + 0.6
    assert found.by["latency"] >= found.by["throughput"] or found.at_ns == found.by["throughput"] * S_NS
    assert window_ns(scenario, records) == (found.at_ns, 20 * S_NS)
    assert in_window(scenario, records).sum() == (np.asarray(records["created"]) >= found.at_ns).sum()
    p99 = metrics(scenario, records)["latency_acked_ms_p99"]
    assert p99 is None or p99 < 7
    mean = metrics(scenario, records)["latency_acked_ms_mean"]
    assert mean == pytest.approx(5.5, abs=0.1)


def test_it_may_cut_only_where_counters_can_be_read(make_paced: Make, make_scenario: Make) -> None:
    records = slow_begin(make_paced(100, 20), 3.3)
    scenario = ruled(make_scenario(100, 20), "auto")
    edges = edges_ns(scenario, records)
    assert cut(scenario, records).at_ns in edges
    assert (edges[0], edges[-1]) == (0, 10 * S_NS)
    assert edges_ns(make_scenario(100, 20, warmup=5), records) == []


def test_a_queue_that_grows_does_not_settle(make_paced: Make, make_scenario: Make) -> None:
    told = evaluate(ruled(make_scenario(100, 20), "auto"), make_paced(100, 20, served=60, drain_s=60))
    assert (told["verdict"], told["warmup"]["settled"]) == ("OVERLOADED", False)
    assert told["warmup"]["cut_s"] == 10
    assert "latency did not settle" in told["warmup"]["why"]


def test_a_load_that_ends_by_its_records_is_divided_where_it_ended(make_paced: Make, make_scenario: Make) -> None:
    records = slow_begin(make_paced(100, 20), 4.0)
    scenario = ruled(make_scenario(100, 60), "auto", records=2000)
    found = cut(scenario, records)
    assert 4.0 <= found.at_ns / S_NS <= 4.6
    assert window_ns(scenario, records) == (found.at_ns, 20 * S_NS)


def test_too_few_records_are_left_whole(make_paced: Make, make_scenario: Make) -> None:
    records = make_paced(10, 19)
    found = cut(ruled(make_scenario(10, 19), "auto"), records)
    assert len(records["created"]) < FEWEST
    assert (found.at_ns, found.settled) == (0, False)
    assert "fewer than" in found.why
    assert cut(ruled(make_scenario(10, 19), "first-quarter"), {c: v[:3] for c, v in records.items()}).at_ns == 0


def test_nothing_answered_is_left_whole(make_paced: Make, make_scenario: Make) -> None:
    records = make_paced(100, 20)
    records["acked"][:] = records["out_appended"][:] = -1
    assert cut(ruled(make_scenario(100, 20), "auto"), records).at_ns == 0
    assert cut(ruled(make_scenario(100, 20), "first-quarter"), records).at_ns == 0


def test_a_quarter_of_what_was_answered_is_cut(make_paced: Make, make_scenario: Make) -> None:
    scenario = ruled(make_scenario(100, 20), "first-quarter")
    records = make_paced(100, 20)
    assert cut(scenario, records).at_ns == 5 * S_NS
    assert settled(scenario, records).workload.warmup_ns == 5 * S_NS
    assert settled(scenario, records).workload.duration_ns == 15 * S_NS


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_under_overload_the_quarter_biases_the_later_definition_of_throughput(
    share: float, make_paced: Make, make_scenario: Make
) -> None:
    """With a quarter cut, T_gen / T_out = 0.75 / (1 - 0.25 mu / lambda)."""
    scenario = ruled(make_scenario(400, 20), "first-quarter")
    found = metrics(scenario, make_paced(400, 20, served=400 * share, drain_s=1000))
    assert found["throughput_gen_per_s"] is not None
    assert found["throughput_per_s"] is not None
    ratio = found["throughput_gen_per_s"] / found["throughput_per_s"]
    assert ratio == pytest.approx(0.75 / (1 - 0.25 * share), rel=0.02)


def test_a_fixed_warm_up_is_told_too(make_paced: Make, make_scenario: Make) -> None:
    told = evaluate(make_scenario(100, 20, warmup=5), make_paced(100, 20))["warmup"]
    assert (told["rule"], told["cut_s"], told["settled"]) == ("fixed", 5.0, True)
    assert warmup_text(told) == "5 s"
    assert warmup_text(None) == "-"
    records = slow_begin(make_paced(100, 20), 6.0)
    text = warmup_text(evaluate(ruled(make_scenario(100, 20), "auto"), records)["warmup"])
    assert text.startswith("6")
    assert "(auto: latency 6" in text
