"""Decision tables of the policies that react: each row is an instant, worked out by hand."""

from __future__ import annotations

import pytest

from control.scaling.cilantro import Cilantro, Learned
from control.scaling.ds2 import Ds2
from control.scaling.inferline import InferLine, poisson_envelope
from control.scaling.keda import Keda
from control.scaling.observation import JobView
from control.scaling.simple import Aiad, FairShare, Hold, Oneshot
from tests.control.seen import decided, facts, view

LATE, GOOD = 0.9, 0.5  # seconds; the objective is .72


def test_hold() -> None:
    assert decided(Hold(facts(2), 32), 10, view(1, latency_s=9.0), view(5)) == {}


def test_fair_share() -> None:
    policy = FairShare(facts(10), 32)
    assert decided(policy, 10, *[view(1)] * 9, view(3)) == dict.fromkeys(range(9), 3)  # floor(32 / 10)
    assert decided(policy, 20, *[view(4)] * 10, quota=40) == {}
    assert decided(policy, 30, *[view(2)] * 10, quota=4) == dict.fromkeys(range(10), 1)


def test_aiad() -> None:
    policy = Aiad(facts(1), 32, down_after_s=40)  # up after 3 ticks, down after 4
    table = [
        (LATE, 2, {}),  # 1
        (LATE, 2, {}),  # 2
        (GOOD, 2, {}),  # -1: it starts again on the other side
        (LATE, 2, {}),  # 1
        (LATE, 2, {}),  # 2
        (LATE, 2, {0: 3}),  # 3: one more, count 0
        (LATE, 3, {}),  # 1
        (0.72, 3, {}),  # -1: exactly the objective is not above it
        (GOOD, 3, {}),  # -2
        (0.0, 3, {}),  # -3: no traffic counts down too
        (GOOD, 3, {0: 2}),  # -4: one less, count 0
        (GOOD, 1, {}),
        (GOOD, 1, {}),
        (GOOD, 1, {}),
        (GOOD, 1, {}),  # -4, but one is the least
    ]
    for tick, (latency_s, replicas, expected) in enumerate(table, 1):
        assert decided(policy, 10 * tick, view(replicas, latency_s=latency_s)) == expected, tick


def test_aiad_counts_each_job_by_itself_and_not_beyond_its_bounds() -> None:
    policy = Aiad(facts(2), 32, up_after_s=20, max_replicas=4)
    assert decided(policy, 10, view(4, latency_s=LATE), view(2, latency_s=GOOD)) == {}
    assert decided(policy, 20, view(4, latency_s=LATE), view(2, latency_s=LATE)) == {}
    assert decided(policy, 30, view(4, latency_s=LATE), view(2, latency_s=LATE)) == {1: 3}


def test_oneshot() -> None:
    policy = Oneshot(facts(1), 32, down_after_s=40)
    table = [
        (0.9, 2, {}),
        (1.0, 2, {}),
        (1.2, 2, {0: 4}),  # ceil(2 x 1.2 / .72 = 3.33)
        (0.2, 8, {}),
        (0.2, 8, {}),
        (0.2, 8, {}),
        (0.2, 8, {0: 3}),  # ceil(8 x .2 / .72 = 2.22)
        (0.0, 8, {}),
        (0.0, 8, {}),
        (0.0, 8, {}),
        (0.0, 8, {0: 1}),  # ceil(0), but one is the least
        (99.0, 8, {}),
        (99.0, 8, {}),
        (99.0, 8, {0: 100}),  # 1,100, but a hundred is the most
    ]
    for tick, (latency_s, replicas, expected) in enumerate(table, 1):
        assert decided(policy, 10 * tick, view(replicas, latency_s=latency_s)) == expected, tick


def test_ds2() -> None:
    policy = Ds2(facts(1), 32, interval_s=30)

    def job(replicas: int, arriving: float, busy: float, served: int, *, still: bool = False) -> JobView:
        finished = served + 1000  # dropped requests keep no replica busy and do not count
        return view(
            replicas, recent_rate_per_s=arriving, utilisation=busy, finished=finished, served=served, busy=still
        )

    table = [
        (job(2, 21.0, 0.4, 150), {}),  # busy 8 s
        (job(2, 21.0, 0.6, 150), {}),  # 12 s
        (job(2, 21.0, 0.5, 150), {0: 6}),  # 10 s: 150 / 30 s = 5/s, at .7 3.5/s: 21 / 3.5 = 6
        (job(6, 21.0, 0.5, 450), {}),  # 30 s
        (job(6, 21.0, 0.5, 450), {}),
        (job(6, 21.0, 0.5, 450), {}),  # 450 / 90 s = 5/s: still 6
        (job(6, 7.0, 0.0, 0), {}),
        (job(6, 7.0, 0.0, 0), {}),
        (job(6, 7.0, 0.0, 0), {0: 2}),  # nothing served: as planned, 1 / .18 x .7 = 3.89/s: 1.8
        (job(2, 21.0, 0.5, 150), {}),
        (job(2, 21.0, 0.5, 150), {}),
        (job(2, 21.0, 0.5, 150, still=True), {}),  # 6, but an earlier action is on its way
    ]
    for tick, (each, expected) in enumerate(table, 1):
        assert decided(policy, 10 * tick, each) == expected, tick


def test_keda() -> None:
    policy = Keda(facts(1), 32, polling_s=20, stabilisation_s=60)  # polls at every second tick, remembers three
    table = [
        (35, 2, {}),
        (35, 2, {0: 4}),  # ceil(3.5)
        (42, 4, {}),
        (42, 4, {}),  # 42 / 40 = 1.05, within the tolerance: 4
        (5, 4, {}),
        (5, 4, {}),  # 1, but 4, 4, 1 were recommended of late
        (5, 4, {}),
        (5, 4, {}),  # 4, 1, 1
        (15, 4, {}),
        (15, 4, {0: 2}),  # 1, 1, 2
        (0, 2, {}),
        (0, 2, {}),  # 1, 2, 1
        (0, 2, {}),
        (0, 2, {}),  # 2, 1, 1
        (0, 2, {}),
        (0, 2, {0: 1}),  # 1, 1, 1: never to zero
    ]
    for tick, (queued, replicas, expected) in enumerate(table, 1):
        assert decided(policy, 10 * tick, view(replicas, queued=queued)) == expected, tick


def test_cilantro() -> None:
    policy = Cilantro(facts(2), 4, forget=1.0)

    def job(replicas: int, arriving: float, reward: float, *, still: bool = False) -> JobView:
        return view(replicas, recent_rate_per_s=arriving, slo_rate=reward, busy=still)

    table = [
        (job(1, 10.0, 0.0), job(1, 2.0, 1.0), {}),  # a round is two ticks
        # 10/s on a replica brought nothing, so two replicas: 5/s were never seen.  The other job is fine.
        (job(1, 10.0, 0.0), job(1, 2.0, 1.0), {0: 2}),
        (job(2, 10.0, 0.5), job(1, 2.0, 1.0), {}),
        (job(2, 10.0, 0.5), job(1, 2.0, 1.0), {0: 3}),  # 5/s is worth .5, 3.3/s was never seen
        (job(3, 10.0, 1.0), job(1, 2.0, 1.0), {}),
        (job(3, 10.0, 1.0), job(1, 2.0, 1.0), {}),
        (job(3, 10.0, 0.0, still=True), job(1, 2.0, 1.0), {}),
        (job(3, 10.0, 0.0, still=True), job(1, 2.0, 1.0), {}),  # nothing is learned from a job on the move
        (job(3, 6.0, 1.0), job(1, 2.0, 1.0), {}),
        (job(3, 6.0, 1.0), job(1, 2.0, 1.0), {0: 2}),  # 3/s on a replica would do, as 3.3/s did
    ]
    for tick, (one, other, expected) in enumerate(table, 1):
        assert decided(policy, 10 * tick, one, other, quota=4) == expected, tick


def test_what_cilantro_learns_never_rises_with_the_load() -> None:
    learned = Learned(width=1.0, bins=10, forget=1.0)
    for load, reward in ((2.5, 0.8), (4.5, 1.0), (4.5, 0.7), (7.5, 0.1), (99.0, 0.0)):
        learned.learn(load, reward)
    import numpy as np

    # .8 at 2 and .85, seen twice, at 4 are pooled to (.8 + 1.7) / 3.
    found = learned.reward(np.array([0.0, 2.0, 3.0, 4.0, 5.0, 7.0, 8.0, 9.0, 50.0]))
    assert found == pytest.approx([1.0, 2.5 / 3, 2.5 / 3, 2.5 / 3, 2.5 / 3, 0.1, 0.1, 0.0, 0.0])


def test_inferline() -> None:
    policy = InferLine(facts(1), 32)

    def job(replicas: int, five: float, ten: float, minutes: tuple[float, ...] = (600.0,)) -> JobView:
        return view(replicas, rates_per_min=minutes, envelope_per_s={5.0: five, 10.0: ten})

    # Planned for 10/s: three replicas (447.7 ms), each 5.556/s, utilisation .6; envelope 10 + 4 sqrt(10 / window):
    # 15.66/s in 5 s, 14/s in 10 s.
    table = [
        (10, job(1, 9.0, 9.0, ()), {}),  # no minute seen yet
        (60, job(1, 9.0, 9.0), {0: 3}),
        (70, job(3, 15.6, 14.0), {}),  # within the envelope, and settling
        (80, job(3, 15.6, 15.0), {0: 5}),  # 15 / (5.556 x .6) = 4.5
        (90, job(5, 5.0, 5.0), {}),  # settling: 10 s
        (100, job(5, 5.0, 5.0), {0: 2}),  # 5 / 3.333 = 1.5
        (110, job(2, 16.0, 13.0), {0: 5}),  # the short window alone: 16 / 3.333 = 4.8
        (120, job(5, 16.0, 13.0), {}),  # five are what it asks for
        (130, job(5, 14.0, 13.0), {}),  # 14 / 3.333 = 4.2
    ]
    for now_s, each, expected in table:
        assert decided(policy, now_s, each) == expected, now_s


def test_inferline_asks_for_its_windows() -> None:
    found = InferLine(facts(1), 32).envelope_windows_s
    assert found[0] == 0.18
    assert 5.0 in found
    assert max(found) <= 60.0
    assert poisson_envelope(0.01, [1.0], 4.0) == {1.0: pytest.approx(1.01)}  # at least one request more
