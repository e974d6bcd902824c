"""The traffic envelope and the tuner's arithmetic, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from control.envelope import (
    Planned,
    Rules,
    Tuner,
    describe,
    envelope,
    exceeded,
    recent_rate,
    replicas_for,
    scale_down,
    scale_up,
    trailing,
    utilisation,
    widest,
    windows,
)

#: 100 records a second through A (all of them, 50/s a replica) and B (half of them, 100/s a replica).
PLAN = Planned(100.0, {1.0: 120.0, 10.0: 105.0}, (1.0, 0.5), (50.0, 100.0), (3, 1))


def test_windows_double_from_the_service_time_to_a_minute() -> None:
    assert windows(0.1) == pytest.approx([0.1 * 2**k for k in range(10)])  # the last is 51.2 s
    assert windows(15.0) == (15.0, 30.0, 60.0)
    assert windows(90.0) == (90.0,)
    with pytest.raises(ValueError, match="longer than 0"):
        windows(0.0)


def test_envelope_by_hand() -> None:
    times = [0.0, 0.1, 0.2, 0.3, 5.0]
    # Three in [0, 0.25), not the one at 0.3; four in any second; all five in ten.
    assert envelope(times, (0.25, 1.0, 10.0)) == {0.25: 12.0, 1.0: 4.0, 10.0: 0.5}
    assert envelope([], (1.0,)) == {1.0: 0.0}
    assert envelope([3.0], (0.5,)) == {0.5: 2.0}


def test_a_window_does_not_hold_its_own_end() -> None:
    assert envelope([0.0, 1.0, 2.0], (1.0,)) == {1.0: 1.0}
    assert trailing([0.0, 1.0, 2.0], 1.0).tolist() == [1, 1, 1]


@pytest.mark.parametrize("length", [0.01, 0.37, 4.0])
def test_windows_that_end_at_arrivals_give_the_same_envelope(length: float) -> None:
    times = np.sort(np.random.default_rng(5).exponential(0.05, 4000).cumsum())
    assert trailing(times, length).max() / length == envelope(times, (length,))[length]


def test_an_even_rate_has_a_flat_envelope() -> None:
    times = np.arange(6000) / 128.0  # exact in binary
    assert envelope(times, (0.5, 2.0, 20.0)) == {0.5: 128.0, 2.0: 128.0, 20.0: 128.0}


def test_the_widest_of_several() -> None:
    assert widest([{1.0: 5.0, 2.0: 4.0}, {1.0: 3.0, 2.0: 4.5}]) == {1.0: 5.0, 2.0: 4.5}
    assert describe({2.0: 4.5, 1.0: 5.0}) == [{"window_s": 1.0, "per_s": 5.0}, {"window_s": 2.0, "per_s": 4.5}]


def test_exceeded_goes_window_by_window() -> None:
    planned = {1.0: 120.0, 10.0: 105.0}
    assert exceeded({1.0: 120.0, 10.0: 105.0}, planned) == {}
    assert exceeded({1.0: 121.0, 10.0: 104.0}, planned) == {1.0: 121.0}
    assert exceeded({1.0: 121.0, 10.0: 110.0}, planned, 0.04) == {10.0: 110.0}
    assert exceeded({5.0: 1e9}, planned) == {}, "a window that was not planned is not judged"


def test_recent_rate_is_the_largest_of_successive_windows() -> None:
    times = [70.5, 71.0, 72.0, 96.0, 97.0]  # three in [70, 75), two in [95, 100)
    assert recent_rate(times, 100.0) == 3 / 5
    assert recent_rate(times, 103.0) == 2 / 5  # [73, 78) holds none of the three; [93, 98) two
    assert recent_rate([], 100.0) == 0.0


def test_utilisation_and_replicas_are_each_others_inverse() -> None:
    assert utilisation(100.0, 0.5, 2, 50.0) == 0.5
    for k in range(1, 50):
        assert replicas_for(100.0, 0.7, 13.0, utilisation(100.0, 0.7, k, 13.0)) == k
    assert replicas_for(0.0, 1.0, 10.0, 0.5) == 1


def test_scaling_up_by_hand() -> None:
    assert PLAN.utilisations == pytest.approx((2 / 3, 1 / 2))
    assert scale_up(PLAN, {1.0: 120.0, 10.0: 105.0}, (3, 1)) == ([3, 1], "")
    # By the rate alone: A ceil(150 / (50 * 2/3)) = ceil(4.5), B ceil(150 * 0.5 / (100 * 0.5)) = ceil(1.5).
    wanted, reason = scale_up(PLAN, {1.0: 150.0, 10.0: 100.0}, (3, 1))
    assert wanted == [5, 2]
    assert reason == "150/s in 1 s, planned for 120/s"
    # By the ratio 150 / 120 to the same window: as if 125 a second: A ceil(3.75), B ceil(1.25).
    assert scale_up(PLAN, {1.0: 150.0}, (3, 1), Rules(matched=True))[0] == [4, 2]
    # By the ratio the long window weighs more here, by the rate the short one.
    seen = {1.0: 132.0, 10.0: 126.0}
    assert scale_up(PLAN, seen, (3, 1), Rules(matched=True))[1].startswith("126/s in 10 s")
    assert scale_up(PLAN, seen, (3, 1))[1].startswith("132/s in 1 s")
    assert scale_up(PLAN, {1.0: 150.0}, (9, 9))[0] == [9, 9], "never down"


def test_scaling_down_by_hand() -> None:
    # The target is the smallest utilisation, B's half: A ceil(40 / 25), B ceil(20 / 50).
    wanted, reason = scale_down(PLAN, 40.0, (3, 2))
    assert wanted == [2, 1]
    assert "40/s" in reason
    assert scale_down(PLAN, 100.0, (3, 1)) == ([3, 1], "")
    assert scale_down(PLAN, 0.0, (3, 2))[0] == [1, 1]


def test_the_tuner_goes_up_at_once_and_down_after_a_quiet_while() -> None:
    tuner = Tuner(PLAN)
    calm, rush = {1.0: 100.0, 10.0: 100.0}, {1.0: 150.0, 10.0: 100.0}
    table = [
        # at, observed, recent, before -> after, changes
        (10.0, calm, 40.0, [3, 2], [3, 2], False),  # not 15 s yet
        (15.0, calm, 40.0, [3, 2], [2, 1], True),
        (16.0, rush, 100.0, [2, 1], [5, 2], True),  # up does not wait
        (17.0, rush, 100.0, [5, 2], [5, 2], False),  # what was asked for is there
        (30.0, calm, 40.0, [5, 2], [5, 2], False),  # 14 s after the change
        (31.0, calm, 40.0, [5, 2], [2, 1], True),
        (60.0, calm, 40.0, [2, 1], [2, 1], False),
    ]
    for now, seen, recent, before, after, changes in table:
        wanted, reason = tuner.decide(now, seen, recent, before)
        assert (wanted, bool(reason)) == (after, changes), now
    assert tuner.changed_s == 31.0


def test_a_rush_that_is_answered_holds_off_scaling_down() -> None:
    tuner = Tuner(PLAN)
    assert tuner.decide(100.0, {1.0: 150.0}, 10.0, [5, 2]) == ([5, 2], "")
