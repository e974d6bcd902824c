"""The prediction cache by hand, and against laws of caches."""

from __future__ import annotations

import numpy as np
import pytest

from control.cache import (
    C_COALESCED,
    C_EVICTED,
    C_HAND,
    C_HITS,
    C_MISSES,
    C_PRESENT,
    C_USED,
    HIT,
    IN_FLIGHT,
    MISS,
    NOBODY,
    Counts,
    Ints,
    PredictionCache,
    answer,
    ask,
    forget,
    header,
    places,
)


def cache(room: int, keys: int) -> Ints:
    c = np.zeros(places(keys), dtype=np.int64)
    c[: len(header(room))] = header(room)
    return c


def use(c: Ints, *keys: int, size: int = 1) -> list[int]:
    """Asks for each, and answers what nobody had."""
    found = []
    for key in keys:
        found.append(ask(c, 0, key))
        if found[-1] == MISS:
            answer(c, 0, key, size)
    return found


def present(c: Ints, keys: int) -> list[int]:
    """The keys of which the answers are there, by asking a copy."""
    return [k for k in range(keys) if ask(c.copy(), 0, k) == HIT]


def test_the_clock_by_hand() -> None:
    c = cache(room=3, keys=9)
    assert use(c, 0, 1, 2, 0) == [MISS, MISS, MISS, HIT]
    # The hand stands at 0, which was asked for: it loses its mark and stays; 1 leaves.
    assert use(c, 3) == [MISS]
    assert present(c, 9) == [0, 2, 3]
    # The hand stands at 2, and 3 came in behind it: 2, 0, 3.  2 has no mark.
    assert use(c, 4) == [MISS]
    assert present(c, 9) == [0, 3, 4]
    # 0, 3, 4 are left in this order, and all asked for: a round takes their marks, then 0 leaves.
    assert use(c, 0, 3, 4, 5) == [HIT, HIT, HIT, MISS]
    assert present(c, 9) == [3, 4, 5]
    assert (c[C_USED], c[C_PRESENT], c[C_EVICTED]) == (3, 3, 3)


def test_bytes_not_entries_are_bounded() -> None:
    c = cache(room=10, keys=9)
    use(c, 0, 1, 2, size=3)
    use(c, 3, size=8)  # 9 of 10 are used: 0, 1 and 2 leave for it, two are not enough
    assert present(c, 9) == [3]
    assert c[C_USED] == 8
    use(c, 4, size=2)
    assert present(c, 9) == [3, 4]
    assert c[C_USED] == 10


def test_what_the_whole_cache_cannot_hold_is_not_kept_and_moves_nobody() -> None:
    c = cache(room=10, keys=9)
    use(c, 0, 1, size=5)
    assert use(c, 2, size=11) == [MISS]
    assert present(c, 9) == [0, 1]
    assert ask(c, 0, 2) == MISS


def test_a_cache_without_room_only_brings_together_what_is_in_flight() -> None:
    c = cache(room=0, keys=2)
    assert [ask(c, 0, 0), ask(c, 0, 0)] == [MISS, IN_FLIGHT]
    answer(c, 0, 0, 1)
    assert ask(c, 0, 0) == MISS


def test_what_is_in_flight_is_asked_for_once_and_never_leaves() -> None:
    c = cache(room=2, keys=9)
    assert [ask(c, 0, k) for k in (0, 0, 1, 0)] == [MISS, IN_FLIGHT, MISS, IN_FLIGHT]
    use(c, 2, 3, 4, 5)  # more than fits passes through
    assert [ask(c, 0, 0), ask(c, 0, 1)] == [IN_FLIGHT, IN_FLIGHT]
    answer(c, 0, 0, 1)
    assert ask(c, 0, 0) == HIT
    assert (c[C_HITS], c[C_MISSES], c[C_COALESCED]) == (1, 6, 4)


def test_what_is_forgotten_is_computed_by_who_asks_next() -> None:
    c = cache(room=2, keys=3)
    assert ask(c, 0, 0) == MISS
    forget(c, 0, 0)
    assert ask(c, 0, 0) == MISS
    answer(c, 0, 0, 1)
    forget(c, 0, 0)  # not in flight any more
    answer(c, 0, 0, 1)  # nor a second time
    assert c[C_USED] == 1
    assert ask(c, 0, 0) == HIT


def test_the_last_one_leaves_and_another_comes() -> None:
    c = cache(room=1, keys=3)
    use(c, 0, 1, 2)
    assert present(c, 3) == [2]
    assert c[C_HAND] == 2
    assert cache(1, 1)[C_HAND] == NOBODY


def test_equal_chances_hit_in_proportion_to_the_room() -> None:
    """Any cache that cannot know the future hits room / keys of independent questions with equal chances."""
    rng = np.random.default_rng(1)
    c = cache(room=40, keys=100)
    use(c, *rng.integers(0, 100, 2000).tolist())
    found = use(c, *rng.integers(0, 100, 40_000).tolist())
    hits = found.count(HIT) / len(found)
    assert hits == pytest.approx(0.4, abs=4 * np.sqrt(0.24 / 40_000) * 1.5)


def test_skewed_chances_hit_between_what_chance_and_foresight_would() -> None:
    rng = np.random.default_rng(2)
    share = 1 / np.arange(1, 1001)
    share /= share.sum()
    c = cache(room=100, keys=1000)
    found = use(c, *rng.choice(1000, 60_000, p=share).tolist())[10_000:]
    hits = found.count(HIT) / len(found)
    assert 0.1 < hits < share[:100].sum()  # the hundred most asked for would be the best to keep
    assert hits > 0.8 * share[:100].sum()


@pytest.mark.parametrize(("hit", "published"), [(0.0, 217), (0.1, 243), (0.4, 365)])
def test_throughput_is_what_the_server_does_by_what_misses(hit: float, published: float) -> None:
    """217 requests/s without a cache: mu / (1 - h) with one, here and as published for a kernel SVM."""
    rng = np.random.default_rng(7)
    mu, n, popular = 217.0, 50_000, 10
    c = cache(room=n, keys=n + popular)
    use(c, *range(popular))
    busy = 0.0
    for i in range(n):
        key = int(rng.integers(0, popular)) if rng.random() < hit else popular + i
        if use(c, key) == [MISS]:
            busy += 1 / mu
    assert n / busy == pytest.approx(mu / (1 - hit), rel=0.02)
    assert n / busy == pytest.approx(published, rel=0.03)


def test_random_use_keeps_the_books() -> None:
    rng = np.random.default_rng(9)
    c = cache(room=50, keys=60)
    flying: set[int] = set()
    asked = 0
    for _ in range(5000):
        key = int(rng.integers(0, 60))
        if rng.random() < 0.6:
            asked += 1
            found = ask(c, 0, key)
            assert (found == IN_FLIGHT) == (key in flying)
            if found == MISS:
                flying.add(key)
        elif flying:
            key = flying.pop()
            if rng.random() < 0.1:
                forget(c, 0, key)
            else:
                answer(c, 0, key, int(rng.integers(1, 20)))
        assert 0 <= c[C_USED] <= 50
        assert len(present(c, 60)) == c[C_PRESENT]
    assert c[C_HITS] + c[C_MISSES] + c[C_COALESCED] == asked


# ---------------------------------------------------------------- keys of any kind


def test_a_real_cache_keeps_answers_and_who_waits() -> None:
    real: PredictionCache[str, str] = PredictionCache(room=10)
    assert real.ask("a", "first") == (MISS, None)
    assert real.ask("a", "second") == (IN_FLIGHT, None)
    assert real.ask("a", "third") == (IN_FLIGHT, None)
    assert real.answer("a", 7, 6) == ["second", "third"]
    assert real.ask("a", "fourth") == (HIT, 7)
    assert real.ask("b", "first") == (MISS, None)
    assert real.answer("b", 8, 6) == []  # no room for both, but the mark of a goes first: a round later it leaves
    assert ("a" in real, "b" in real, real.used) == (False, True, 6)
    assert real.ask("c", "first") == (MISS, None)
    assert real.ask("c", "second") == (IN_FLIGHT, None)
    assert real.forget("c") == ["second"]
    assert real.ask("c", "third") == (MISS, None)
    assert real.answer("c", 9, 11) == []
    assert "c" not in real
    assert real.counts == Counts(hits=1, misses=4, coalesced=3, evicted=1)
    assert real.counts.hit_ratio == 0.5


def test_numbers_of_keys_are_used_again() -> None:
    real: PredictionCache[tuple[str, int], None] = PredictionCache(room=100)
    for i in range(5000):
        assert real.ask(("model", i), None)[0] == MISS
        real.answer(("model", i), i, 1)
    assert len(real._vector) == places(128)
    assert [real.ask(("model", i), None) for i in (4900, 4999)] == [(HIT, 4900), (HIT, 4999)]
    assert real.counts.evicted == 4900


def test_many_in_flight_need_more_numbers_than_there_were() -> None:
    real: PredictionCache[int, int] = PredictionCache(room=1000)
    for i in range(300):
        assert real.ask(i, i)[0] == MISS
    for i in range(300):
        assert real.answer(i, -i, 1) == []
    assert all(real.ask(i, 0) == (HIT, -i) for i in range(300))
