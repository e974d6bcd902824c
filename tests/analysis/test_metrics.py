"""Metrics computed by hand, and what always holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.accounting import accounting, misplaced, violation
from analysis.columns import OUTCOMES, STAMP_COLUMNS
from analysis.lag import lag_series
from analysis.metrics import bound_broken, drain_throughput, metrics, resolve, stage_ms, t_gen, t_out
from analysis.records import empty_records
from analysis.window import window_ns
from scenarios.metric_names import METRIC_NAMES
from scenarios.spec import MS_NS, S_NS, Bound, Scenario, Workload

Make = Callable[..., Any]

FOUR = Scenario(workload=Workload(warmup_ns=1 * S_NS, duration_ns=2 * S_NS))


def _four() -> dict[str, Any]:
    """One record of the warm-up, three of the window, one after it."""
    r = empty_records(5)
    r["created"] = np.array([500, 1000, 1500, 2999, 3000]) * MS_NS
    r["sent"] = r["created"] + 2 * MS_NS
    r["appended"] = np.array([503, 1003, 1503, 3002, 3003]) * MS_NS
    r["fetched"] = r["appended"] + MS_NS
    r["score_begin"] = r["fetched"] + MS_NS // 2
    r["score_end"] = r["score_begin"] + MS_NS // 4
    r["produced"] = r["score_end"] + MS_NS // 4
    r["out_appended"] = np.array([700, 1010, 1520, 3029, 3900]) * MS_NS
    r["acked"] = r["out_appended"] + 500_000
    r["outcome"][:] = 0
    return r


def test_by_hand() -> None:
    counters = {
        "generator": {"app_cpu_ns": 1000, "client_cpu_ns": 2000, "other_cpu_ns": 3000, "records": 3},
        "broker": {"cpu_ns": 40_000},
        "workers": [
            {"app_cpu_ns": 1e4, "consumer_cpu_ns": 0, "producer_cpu_ns": 5e3, "other_cpu_ns": 0, "records": 1},
            {"app_cpu_ns": 3e4, "consumer_cpu_ns": 0, "producer_cpu_ns": 5e3, "other_cpu_ns": 0, "records": 3},
        ],
        "collector": {"app_cpu_ns": 1000, "consumer_cpu_ns": None, "other_cpu_ns": 0, "records": 3},
    }
    m = metrics(FOUR, _four(), counters)
    assert m["offered_per_s"] == 1.5
    assert m["achieved_per_s"] == 1.0  # the last of the window was sent after it
    assert m["throughput_per_s"] == pytest.approx(3 / 2.019)
    assert m["throughput_gen_per_s"] == pytest.approx(3 / 2.029)
    assert m["latency_append_ms_mean"] == pytest.approx(20.0)
    assert m["latency_acked_ms_mean"] == pytest.approx(20.5)
    assert m["latency_append_ms_p50"] is None  # three records carry no percentile
    assert m["drain_throughput_per_s"] is None
    assert m["lag_max"] == 0.0  # nothing is in the system at 1, 2 and 3 s
    assert m["cpu_us_per_record_generator"] == 2.0
    assert m["cpu_us_per_record_broker"] == 10.0
    assert m["cpu_us_per_record_engine"] == 12.5
    assert m["cpu_us_per_record_collector"] is None  # a part of it is not known
    assert m["loss"] == 0.0
    assert metrics(FOUR, pd.DataFrame(_four()), counters) == m


def test_what_was_turned_away_is_a_share_of_what_was_sent() -> None:
    r = _four()
    r["outcome"][:] = [OUTCOMES.index(w) for w in ("scored", "dropped_queue", "expired", "failed", "rejected")]
    m = metrics(FOUR, r)
    assert m["refused"] == pytest.approx(2 / 3)  # of the three records of the window
    assert m["loss"] == 0.0
    r["outcome"][:] = [OUTCOMES.index(w) for w in ("lost", "expired", "lost", "scored", "lost")]
    m = metrics(FOUR, r)
    assert [m["loss"], m["refused"]] == pytest.approx([1 / 3, 1 / 3])
    r["sent"][2], r["outcome"][2] = -1, -1  # what was never sent is no part of either
    assert metrics(FOUR, r)["refused"] == pytest.approx(1 / 2)
    drained = replace(FOUR, workload=replace(FOUR.workload, backlog_records=5))
    r["outcome"][:] = [OUTCOMES.index(w) for w in ("lost", "expired", "scored", "scored", "scored")]
    r["sent"] = r["created"]
    assert metrics(drained, r)["loss"] == pytest.approx(1 / 5)


def test_stages_by_hand() -> None:
    stages = stage_ms(FOUR, _four())
    assert stages["created-sent"] == 2.0
    assert stages["sent-appended"] == 1.0
    assert stages["fetched-score_begin"] == 0.5
    assert stages["produced-acked"] == pytest.approx(np.median([5.5, 15.5, 25.5]))
    assert stages["acked-out_appended"] == -0.5  # the broker's clock reads low
    assert list(stages) == [f"{a}-{b}" for a, b in pairwise(STAMP_COLUMNS)]


def test_every_metric_that_a_scenario_may_bound_is_there() -> None:
    columns = {name.column for name in METRIC_NAMES.values() if name.column}
    assert columns == set(metrics(FOUR, _four()))


@pytest.mark.parametrize("count", [19, 20, 99, 100, 199, 200, 999, 1_000, 9_999, 10_000])
def test_a_percentile_needs_ten_records_beyond_it(make_paced: Make, make_scenario: Make, count: int) -> None:
    r = {c: a[:count] for c, a in make_paced(1000, 10).items()}
    m = metrics(make_scenario(1000, 10), r)
    fewest = {"p50": 20, "p90": 100, "p95": 200, "p99": 1_000, "p999": 10_000}
    for clock in ("append", "acked"):
        for name, least in fewest.items():
            assert (m[f"latency_{clock}_ms_{name}"] is not None) == (count >= least)
        assert m[f"latency_{clock}_ms_mean"] is not None
    assert (m["generator_lag_ms_p99"] is not None) == (count >= 1_000)


def test_nothing_sent_is_no_metric() -> None:
    assert set(metrics(FOUR, empty_records(0)).values()) == {None}
    m = metrics(FOUR, empty_records(0), {"generator": {"records": 0}, "workers": []})
    assert set(m.values()) == {None}


def test_latency_counts_from_the_scheduled_time(make_paced: Make, make_scenario: Make) -> None:
    late = make_paced(100, 20)
    for stamp in STAMP_COLUMNS[1:]:
        late[stamp] += 50 * MS_NS
    m = metrics(make_scenario(100, 20), late)
    assert m["latency_append_ms_p50"] == pytest.approx(54.0)
    assert m["generator_lag_ms_p99"] == pytest.approx(50.0)


def test_both_throughput_formulas_and_their_known_relation() -> None:
    """Cut a quarter as warm-up: T_gen = 0.75 mu / (1 - 0.25 mu / lambda)."""
    rate, mu, n = 1000.0, 250.0, 40_000
    k = np.arange(n)
    created, out = (k * S_NS / rate).astype(np.int64), (k * S_NS / mu).astype(np.int64)
    kept = slice(n // 4, None)
    assert t_out(out[kept]) == pytest.approx(mu, rel=1e-3)
    assert t_gen(created[kept], out[kept]) == pytest.approx(0.75 * mu / (1 - 0.25 * mu / rate), rel=1e-3)
    assert t_out(out[:1]) is None
    assert t_out(np.array([5, 5])) is None
    assert t_gen(created[:0], out[:0]) is None


def test_drain_throughput_leaves_out_both_ends() -> None:
    n = 1000
    r = empty_records(n)
    r["created"][:] = r["sent"][:] = 0
    gaps = np.full(n, 10 * MS_NS)
    gaps[:100], gaps[-100:] = 900 * MS_NS, 70 * MS_NS  # a slow start and a slow end
    r["out_appended"] = np.cumsum(gaps)
    drained = Scenario(workload=Workload(backlog_records=n))
    assert drain_throughput(drained, r) == pytest.approx(100.0)
    assert drain_throughput(Scenario(), r) is None
    assert drain_throughput(drained, {c: a[:19] for c, a in r.items()}) is None
    assert drain_throughput(drained, r | {"out_appended": np.full(n, 5)}) is None
    m = metrics(drained, r | {"outcome": np.zeros(n, np.int8)})
    assert m["drain_throughput_per_s"] == pytest.approx(100.0)
    assert m["latency_append_ms_mean"] is None  # a backlog's records were due before the run
    assert m["offered_per_s"] is None
    assert stage_ms(drained, r)["created-sent"] == 0.0


def test_a_backlog_is_apart_from_the_load() -> None:
    r = _four()
    r["created"][:2] = 1000 * MS_NS
    m = metrics(Scenario(workload=Workload(warmup_ns=S_NS, duration_ns=2 * S_NS, backlog_records=2)), r)
    assert m["offered_per_s"] == 1.0


def test_a_load_that_ends_by_its_count_ends_the_window(make_paced: Make, make_scenario: Make) -> None:
    early = make_scenario(100, 60, warmup=5, records=2000)
    assert window_ns(early, make_paced(100, 20)) == (5 * S_NS, 20 * S_NS)
    m = metrics(early, make_paced(100, 20))
    assert m["offered_per_s"] == m["achieved_per_s"] == 100.0
    assert window_ns(make_scenario(100, 60, warmup=5, records=9000), make_paced(100, 20)) == (5 * S_NS, 60 * S_NS)


def test_lag_by_hand() -> None:
    r = empty_records(6)
    r["sent"] = np.array([0, 1, 2, 3, 4, -1]) * S_NS
    r["appended"] = np.array([0, S_NS, 2 * S_NS, 3 * S_NS, -1, -1])  # 4: known only as sent; 5: never sent
    r["fetched"] = np.array([1, 2, 3, -1, -1, -1]) * S_NS
    r["out_appended"] = np.array([5 * S_NS, 2 * S_NS, -1, -1, -1, -1])
    r["outcome"] = np.array([OUTCOMES.index(w) for w in ("scored", "scored", "bad", "in_flight", "in_flight")] + [-1])
    times, lag = lag_series(r, begin_ns=0, end_ns=6 * S_NS)
    assert times.tolist() == [k * S_NS for k in range(7)]
    assert lag.tolist() == [1, 2, 2, 2, 3, 2, 2]
    _, halves = lag_series(r, begin_ns=S_NS // 2, end_ns=2 * S_NS, step_ns=S_NS // 2)
    assert halves.tolist() == [1, 2, 2, 2]
    assert lag_series(r, begin_ns=5, end_ns=4)[1].tolist() == []


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.sampled_from(OUTCOMES)), max_size=40),
    st.integers(0, 20),
    st.integers(1, 7),
)
def test_lag_equals_counting_one_by_one(rows: list[tuple[int, int, str]], begin: int, step: int) -> None:
    r = empty_records(len(rows))
    for i, (appended, stay, word) in enumerate(rows):
        r["sent"][i] = r["appended"][i] = appended
        r["outcome"][i] = OUTCOMES.index(word)
        if word in ("scored", "defaulted"):
            r["out_appended"][i] = appended + stay
        elif word != "in_flight":
            r["fetched"][i] = appended + stay
    leaves = [10**9 if w == "in_flight" else a + s for a, s, w in rows]
    times, lag = lag_series(r, begin_ns=begin, end_ns=60, step_ns=step)
    for t, value in zip(times, lag, strict=True):
        assert value == sum(row[0] <= t < left for row, left in zip(rows, leaves, strict=True))


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([None, *OUTCOMES]), st.integers(0, 3)), max_size=30))
def test_accounting_counts_each_word_where_it_stands(rows: list[tuple[bool, str | None, int]]) -> None:
    r = empty_records(len(rows))
    for i, (sent, word, surplus) in enumerate(rows):
        r["sent"][i] = 5 if sent else -1
        r["outcome"][i] = -1 if word is None else OUTCOMES.index(word)
        r["out_appended"][i] = 9
        r["duplicates"][i] = surplus
    counts = accounting(r)
    assert counts["sent"] == sum(sent for sent, _, _ in rows)
    assert counts["duplicates"] == sum(surplus for _, _, surplus in rows)
    for word in OUTCOMES:
        assert counts[word] == sum(w == word for _, w, _ in rows)
    whole = all(sent == (word is not None) for sent, word, _ in rows)
    assert (misplaced(r) is None) == whole
    if whole:
        assert violation(counts) is None


@given(st.lists(st.integers(0, 2_000), min_size=20, max_size=300), st.integers(1, 500))
def test_what_holds_of_every_run(delays: list[int], gap: int) -> None:
    r = empty_records(len(delays))
    r["created"] = r["sent"] = np.arange(len(delays)) * gap * MS_NS
    r["appended"] = r["created"]
    r["out_appended"] = r["acked"] = r["created"] + np.array(delays) * MS_NS
    r["outcome"][:] = 0
    m = metrics(Scenario(workload=Workload(warmup_ns=0, duration_ns=1000 * S_NS)), r)
    latency = [m[f"latency_append_ms_{p}"] for p in ("p50", "p90", "p95", "p99", "p999")]
    known = [v for v in latency if v is not None]
    assert known == sorted(known)
    assert all(min(delays) <= v <= max(delays) for v in known)
    assert m["latency_append_ms_mean"] == pytest.approx(np.mean(delays))
    if m["throughput_per_s"] is not None and m["throughput_gen_per_s"] is not None:
        first_out = min(d + i * gap for i, d in enumerate(delays))
        assert first_out >= 0
        assert m["throughput_gen_per_s"] <= m["throughput_per_s"] + 1e-9
    assert m["lag_max"] is not None
    assert 0 <= m["lag_max"] <= len(delays)


VALUES: dict[str, float | None] = {
    "latency_append_ms_p50": 2.0,
    "latency_acked_ms_p50": 2.6,
    "latency_append_ms_p99": 40.0,
    "latency_acked_ms_p99": 41.0,
    "latency_append_ms_p999": None,
    "latency_acked_ms_p999": None,
    "latency_append_ms_p90": 3.0,
    "latency_acked_ms_p90": None,
    "throughput_per_s": 100.0,
    "loss": 0.0,
    "sustainable_throughput_per_s": 900.0,
    "cpu_us_per_record_engine": 12.0,
}


def test_an_alias_takes_the_fine_clock_below_5_ms() -> None:
    assert resolve("latency_p50", VALUES) == ("latency_acked_ms_p50", 2.6)
    assert resolve("latency_p99", VALUES) == ("latency_append_ms_p99", 40.0)
    assert resolve("latency_p90", VALUES) == ("latency_append_ms_p90", 3.0)  # the callback was not measured
    assert resolve("latency_append_p50", VALUES) == ("latency_append_ms_p50", 2.0)
    assert resolve("latency_acked_ms_p99", VALUES) == ("latency_acked_ms_p99", 41.0)
    assert resolve("throughput", VALUES) == ("throughput_per_s", 100.0)
    assert resolve("sustainable_throughput", VALUES) == ("sustainable_throughput_per_s", 900.0)
    assert resolve("cpu_per_record_engine", VALUES) == ("cpu_us_per_record_engine", 12.0)
    assert resolve("nothing", VALUES) == ("nothing", None)


def test_a_broken_bound_is_named_with_its_value() -> None:
    holds = [
        Bound("latency_p50", "<", 2.7),
        Bound("latency_p99", "<=", 40.0),
        Bound("throughput", ">=", 100.0),
        Bound("throughput", ">", 99.0),
        Bound("loss", "==", 0.0),
    ]
    assert bound_broken(holds, VALUES) == []
    assert bound_broken([Bound("latency_p50", "<", 2.5)], VALUES) == ["latency_p50 < 2.5: latency_acked_ms_p50 is 2.6"]
    assert bound_broken([Bound("latency_p999", "<", 50.0)], VALUES) == [
        "latency_p999 < 50: latency_append_ms_p999 has no value in this run"
    ]
