"""Batching policies by hand, and against laws that hold whatever the policy is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from control.batching import (
    DEADLINE,
    LEARNING,
    POLICIES,
    THROUGHPUTS,
    V_ALPHA,
    V_BETA,
    V_POLICY,
    Batcher,
    Policy,
    Rules,
    fit,
    fitting,
    limit,
    made,
    observe,
)

US, MS = 1_000, 1_000_000


def sleep_model(n: int) -> int:
    """1 + 0.2 n ms."""
    return MS + n * 200 * US


def saturated(batcher: Batcher, *, batches: int = 200) -> list[int]:
    """The limits of a server whose queue never runs short, batch after batch."""
    limits = []
    for _ in range(batches):
        n = batcher.to_take(10_000, 0)
        batcher.observe(n, sleep_model(n))
        limits.append(batcher.limit)
    return limits


# ---------------------------------------------------------------- the three that learn nothing


def test_eager_takes_what_waits() -> None:
    batcher = Batcher(Rules("eager", most=8))
    assert [batcher.to_take(waiting, 0) for waiting in (1, 7, 8, 9)] == [1, 7, 8, 8]


def test_delayed_waits_for_its_delay_or_a_full_batch() -> None:
    batcher = Batcher(Rules("delayed", most=4, delay_ns=2 * MS))
    # Requests at 0, 1 and 1.5 ms, a server that is free: the batch leaves at 2 ms with all three.
    assert [batcher.to_take(n, at) for n, at in ((1, 0), (2, MS), (3, 3 * MS // 2), (3, 2 * MS))] == [0, 0, 0, 3]
    assert batcher.to_take(4, MS) == 4  # complete before the delay is over
    assert batcher.to_take(9, 0) == 4


def test_fixed_waits_for_a_full_batch_a_tenth_of_a_second() -> None:
    batcher = Batcher(Rules("fixed", most=4))
    assert [batcher.to_take(3, at) for at in (0, 50 * MS, 100 * MS - 1, 100 * MS)] == [0, 0, 0, 3]
    assert batcher.to_take(4, 0) == 4
    assert Batcher(Rules("fixed", most=4, delay_ns=MS)).rules.wait_ns == MS


@pytest.mark.parametrize(
    ("delay_ms", "batches", "end_us"), [(0, [1, 10, 1, 10, 1, 10], 3 * 5100), (1, [10, 10, 10], 3 * 3450)]
)
def test_a_delay_brings_together_what_comes_together(delay_ms: int, batches: list[int], end_us: int) -> None:
    """Ten callers ask again 0.05 ms apart, as they have their answers; t = 2 + 0.1 n ms.

    Without a delay the first gets a batch of its own, and the others wait for it: 11 requests in 2.1 + 3 ms.  With one
    they are one batch: 10 in 0.45 + 3 ms, a third more a second.
    """
    batcher = Batcher(Rules("delayed" if delay_ms else "eager", most=10, delay_ns=delay_ms * MS))
    due = [i * 50 * US for i in range(10)]
    now = 0
    taken: list[int] = []
    while len(taken) < len(batches):
        due.sort()
        now = max(now, due[0])
        waiting = [d for d in due if d <= now]
        n = batcher.to_take(len(waiting), now - due[0])
        if n == 0:
            now = min([due[0] + batcher.rules.wait_ns, *(d for d in due if d > now)])
            continue
        now += 2 * MS + n * 100 * US
        due = due[n:] + [now + i * 50 * US for i in range(n)]
        taken.append(n)
    assert taken == batches
    assert now == end_us * US


# ---------------------------------------------------------------- AIMD


def test_aimd_climbs_by_two_and_stays_within_a_tenth_of_the_slo() -> None:
    # 18 ms is 9/10 of the SLO: t(85) = 18 ms is the first size that is not below it.
    limits = saturated(Batcher(Rules("aimd", most=1000, slo_ns=20 * MS)))
    assert limits[:43] == [*range(3, 86, 2), 85]
    assert set(limits[43:]) == {85}


def test_aimd_falls_to_nine_tenths_until_it_meets_the_slo() -> None:
    batcher = Batcher(Rules("aimd", most=1000, slo_ns=200 * MS))
    saturated(batcher, batches=200)
    assert batcher.limit == 401
    batcher.vector[3] = 20 * MS  # from now on a tenth of the SLO
    # 401 > 360 > 324 > ... > 102 > 91, whose 19.2 ms lie between 18 and 20.
    assert saturated(batcher, batches=30)[:16] == [
        *(360, 324, 291, 261, 234, 210, 189, 170, 153, 137, 123, 110, 99, 89, 89, 89),
    ]


def test_aimd_settles_between_85_and_95_from_anywhere_and_with_noise() -> None:
    rng = np.random.default_rng(3)
    batcher = Batcher(Rules("aimd", most=1000, slo_ns=20 * MS))
    for start in (1, 40, 90, 150, 999):
        batcher.vector[4] = start
        assert 85 <= saturated(batcher, batches=100)[-1] <= 95
    limits = []
    for _ in range(2000):
        n = batcher.to_take(10_000, 0)
        batcher.observe(n, round(sleep_model(n) * rng.uniform(0.99, 1.01)))
        limits.append(batcher.limit)
    assert min(limits[100:]) >= 85
    assert max(limits[100:]) <= 95


def test_a_batch_that_was_not_full_says_nothing_of_larger_ones() -> None:
    batcher = Batcher(Rules("aimd", most=1000, slo_ns=20 * MS))
    saturated(batcher, batches=10)
    assert batcher.limit == 21
    for n in (1, 5, 20):
        batcher.observe(n, sleep_model(n))
    assert batcher.limit == 21
    batcher.observe(10, 25 * MS)  # but one that was too slow says enough
    assert batcher.limit == 9


def test_a_limit_stays_within_its_bounds() -> None:
    batcher = Batcher(Rules("aimd", most=6, slo_ns=20 * MS))
    assert saturated(batcher, batches=4) == [3, 5, 6, 6]
    for _ in range(20):
        batcher.observe(batcher.limit, 30 * MS)
    assert batcher.limit == 1


def test_several_servers_that_were_all_too_slow_are_told_once() -> None:
    batcher = Batcher(Rules("aimd", most=100, slo_ns=20 * MS))
    batcher.vector[4] = 100
    for _ in range(3):
        batcher.observe(100, 25 * MS)
    assert batcher.limit == 90


# ---------------------------------------------------------------- quantile regression


@pytest.mark.parametrize(
    ("alpha_us", "beta_us", "batch"),
    [
        (78.07, 476.9, 250),  # linear SVM
        (101.3, 2221.6, 176),  # SVM on Spark; the published fits, SLO 20 ms
        (67.12, 7503.5, 186),  # random forests of depth 16 and 8
        (67.09, 7009.0, 194),
        (99.8, 3349.0, 167),  # the same containers on another day
        (108.7, 8186.0, 109),
        (109.8, 5658.0, 131),
        (91.48, -133.3, 219),  # logistic regression: with beta at 0, not below, it is 219 and not 220
    ],
)
def test_a_line_brings_the_published_batch(alpha_us: float, beta_us: float, batch: int) -> None:
    v = made(Rules("quantile", most=1000, slo_ns=20 * MS))
    v[V_ALPHA], v[V_BETA] = round(alpha_us * US * 16), max(0, round(beta_us * US * 16))
    assert fitting(v, 0) == batch


def test_samples_on_a_line_give_it_back() -> None:
    batcher = Batcher(Rules("quantile", most=1000, slo_ns=20 * MS, samples=60))
    assert saturated(batcher, batches=60)[-1] == 85  # AIMD until there are enough
    assert batcher.line is None
    assert saturated(batcher, batches=3) == [95, 95, 95]  # t(95) = 20 ms
    assert batcher.line == (200_000.0, 1_000_000.0)


def test_the_first_batch_is_left_out() -> None:
    batcher = Batcher(Rules("quantile", most=1000, slo_ns=20 * MS, samples=20))
    took = [19 * MS] + [sleep_model(n) for n in range(3, 43, 2)]
    limits: list[int] = []
    for t in took:
        batcher.observe(batcher.limit if limits else 1, t)
        limits.append(batcher.limit)
    # The first held the limit at 1, so sizes and times are off by one step: t = 1.4 + 0.2 n.
    assert batcher.line == (200_000.0, 1_400_000.0)
    assert limits[-1] == 93


def pinball(sizes: np.ndarray, times: np.ndarray, alpha: float, beta: float) -> float:
    above = times - alpha * sizes - beta
    return float(np.where(above > 0, 0.99 * above, -0.01 * above).sum())


@pytest.mark.parametrize("seed", range(6))
def test_no_line_through_two_samples_is_better(seed: int) -> None:
    """The least pinball loss is attained by a line through two of the samples, so all of those are tried."""
    rng = np.random.default_rng(seed)
    count = 40
    v = made(Rules("quantile", most=1000, slo_ns=20 * MS, samples=count))
    sizes = rng.integers(1, 90, count)
    times = ((3_000_000 + 90_000 * sizes) * (1 + rng.exponential(0.05, count))).astype(np.int64)
    v[6] = count
    v[12 : 12 + count], v[12 + count : 12 + 2 * count] = sizes, times << 4
    fit(v, 0)
    mine = pinball(sizes, times, v[V_ALPHA] / 16, v[V_BETA] / 16)
    lines = []
    for i, j in itertools.combinations(range(count), 2):
        if sizes[i] != sizes[j]:
            alpha = (times[i] - times[j]) / (sizes[i] - sizes[j])
            lines.append((alpha, times[i] - alpha * sizes[i]))
    best = min(pinball(sizes, times, alpha, beta) for alpha, beta in lines if alpha >= 0)
    assert mine <= best * (1 + 1e-6) + count / 16


def test_the_fit_is_of_the_99th_percentile() -> None:
    rng = np.random.default_rng(11)
    count = 1000
    v = made(Rules("quantile", most=4096, slo_ns=20 * MS, samples=count))
    sizes = rng.integers(1, 100, count)
    times = ((500_000 + 100_000 * sizes) * rng.lognormal(0, 0.1, count)).astype(np.int64)
    v[6] = count
    v[12 : 12 + count], v[12 + count : 12 + 2 * count] = sizes, times << 4
    fit(v, 0)
    below = np.mean(times * 16 <= v[V_ALPHA] * sizes + v[V_BETA])
    assert 0.988 <= below <= 0.992
    # z(99 %) = 2.326: the line is exp(0.2326) = 1.262 times the median's.
    assert v[V_ALPHA] / 16 == pytest.approx(126_200, rel=0.05)


def test_beta_is_not_below_zero() -> None:
    v = made(Rules("quantile", most=1000, slo_ns=20 * MS, samples=50))
    sizes = np.arange(10, 60)
    v[6] = 50
    v[12:62], v[62:112] = sizes, (sizes * 100_000 - 500_000) << 4
    fit(v, 0)
    assert (v[V_ALPHA], v[V_BETA]) == (100_000 << 4, 0)


def test_batches_of_one_size_say_nothing_of_others() -> None:
    batcher = Batcher(Rules("quantile", most=1000, slo_ns=20 * MS, samples=10))
    batcher.observe(1, 19 * MS)
    for _ in range(30):
        batcher.observe(1, 19 * MS)  # within the band: the limit stays
    assert (batcher.line, batcher.limit) == (None, 1)


# ---------------------------------------------------------------- deadline budget


def test_a_deadline_buys_what_the_throughput_gets_done() -> None:
    batcher = Batcher(Rules("deadline", most=1000, slo_ns=20 * MS))
    assert batcher.to_take(50, 0) == 1  # nothing is known yet
    batcher.observe(1, 2 * MS)  # 0.5 a ms
    batcher.observe(30, 20 * MS)  # 1.5: one a ms in the mean
    assert [batcher.to_take(50, waited * MS) for waited in (0, 5, 19)] == [20, 15, 1]
    assert batcher.to_take(7, 0) == 7


def test_a_deadline_that_has_passed_buys_one() -> None:
    batcher = Batcher(Rules("deadline", most=1000, slo_ns=20 * MS))
    batcher.observe(30, 20 * MS)
    assert [batcher.to_take(50, waited * MS) for waited in (20, 21, 10_000)] == [1, 1, 1]


def test_only_the_last_hundred_throughputs_count() -> None:
    batcher = Batcher(Rules("deadline", most=1000, slo_ns=20 * MS))
    for _ in range(THROUGHPUTS):
        batcher.observe(8, MS)
    assert batcher.to_take(10_000, 0) == 160
    for _ in range(THROUGHPUTS // 2):
        batcher.observe(4, MS)
    assert batcher.to_take(10_000, 0) == 120
    for _ in range(THROUGHPUTS // 2):
        batcher.observe(4, MS)
    assert batcher.to_take(10_000, 0) == 80


def test_a_deadline_far_off_buys_the_most() -> None:
    v = made(Rules("deadline", most=4096, slo_ns=20 * MS))
    observe(v, 0, 4096, 1)
    assert v[V_POLICY] == DEADLINE
    assert limit(v, 0, 1 << 62) == 4096


# ---------------------------------------------------------------- any


@pytest.mark.parametrize("policy", POLICIES)
def test_a_batch_is_within_what_waits_and_what_is_allowed(policy: Policy) -> None:
    rng = np.random.default_rng(5)
    batcher = Batcher(Rules(policy, most=64, delay_ns=MS, slo_ns=5 * MS, samples=30))
    for _ in range(500):
        waiting, waited = int(rng.integers(1, 200)), int(rng.integers(0, 8 * MS))
        n = batcher.to_take(waiting, waited)
        assert 0 <= n <= min(64, waiting)
        assert n > 0 or waited < MS
        if n:
            batcher.observe(n, round(rng.lognormal(0, 0.5) * (200 * US + n * 100 * US)))


def test_what_a_policy_cannot_go_by_is_refused() -> None:
    for policy in LEARNING:
        with pytest.raises(ValueError, match="slo_ns"):
            Rules(policy, most=4)
    with pytest.raises(ValueError, match="most"):
        Rules(most=0)
    with pytest.raises(ValueError, match="samples"):
        Rules("quantile", slo_ns=MS, samples=1)
