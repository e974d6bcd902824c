"""Quantities: exact both ways, and a message that says what to write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.units import COUNT, DURATION, NUMBER, RATE, SECONDS, SIZE, UnitError


@pytest.mark.parametrize(
    ("dimension", "text", "value"),
    [
        (DURATION, "100 ms", 100_000_000),
        (DURATION, "1.5us", 1_500),
        (DURATION, "0.1 s", 100_000_000),  # 0.1 as a float times 1e9 happens to be exact; 0.3 us is not
        (DURATION, "0.3 us", 300),
        (DURATION, "2 min", 120_000_000_000),
        (DURATION, "1e3 ms", 1_000_000_000),
        (DURATION, "0 s", 0),
        (RATE, "30000 /s", 30_000.0),
        (RATE, "12/min", 0.2),
        (RATE, "0.3333 /s", 0.3333),
        (RATE, "360 /h", 0.1),
        (SIZE, "8 KiB", 8_192),
        (SIZE, "8 KB", 8_000),
        (SIZE, "1.5 MiB", 1_572_864),
        (COUNT, 4, 4),
        (COUNT, 4.0, 4),
        (NUMBER, 1, 1.0),
    ],
)
def test_reads(dimension: object, text: object, value: float) -> None:
    assert dimension.parse(text) == value  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("dimension", "text", "message"),
    [
        (DURATION, 100, "100 has no unit; a duration needs one of ns, us, ms, s, min, h, such as 100 ms"),
        (DURATION, "100", "'100' has no unit; a duration needs one of ns, us, ms, s, min, h, such as 100 ms"),
        (DURATION, "5 sec", "'5 sec' has the unit 'sec'; a duration needs one of"),
        (DURATION, "5 MS", "has the unit 'MS'"),
        (DURATION, "0.5 ns", "'0.5 ns' is not a whole number of ns"),
        (DURATION, "soon", "'soon' is not a duration; write 100 ms"),
        (DURATION, "1 2 s", "is not a duration"),
        (DURATION, None, "nothing is not a duration"),
        (DURATION, True, "true is not a duration"),
        (DURATION, "5 /s", "has the unit '/s'"),
        (DURATION, "1e999 s", "is not|too large|out of"),
        (RATE, 30000, "30000 has no unit; a rate needs one of /s, /min, /h, such as 30000 /s"),
        (RATE, "1e999 /s", "too large"),
        (RATE, "10 ms", "has the unit 'ms'; a rate needs one of"),
        (SIZE, 8, "8 has no unit; a size needs one of B, KB, KiB"),
        (SIZE, "8 k", "has the unit 'k'"),
        (COUNT, "8 KiB", "'8 KiB' has a unit; a count is a bare number, such as 4"),
        (COUNT, "8", "'8' is not a count; write a bare number, such as 4"),
        (COUNT, 1.5, "1.5 is not a whole number"),
        (COUNT, True, "true is not a count"),
        (COUNT, float("inf"), "inf is not a finite number"),
        (NUMBER, float("nan"), "nan is not a finite number"),
        (NUMBER, [1], "a list is not a number"),
    ],
)
def test_refuses(dimension: object, text: object, message: str) -> None:
    if text == "1e999 s":
        assert dimension.parse(text) > 10**1000  # type: ignore[attr-defined]  # exact; the bounds refuse it
        return
    with pytest.raises(UnitError) as caught:
        dimension.parse(text)  # type: ignore[attr-defined]
    assert message in str(caught.value)


@given(st.integers(0, 10**18))
def test_durations_and_sizes_come_back_exactly(value: int) -> None:
    assert DURATION.parse(DURATION.format(value)) == value
    assert SIZE.parse(SIZE.format(value)) == value


@given(st.floats(0, 1e8, allow_nan=False))
def test_rates_come_back_exactly(value: float) -> None:
    assert RATE.parse(RATE.format(value)) == value


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 s"), (1_500_000, "1500 us"), (120 * 10**9, "120 s"), (5 * 10**6, "5 ms"), (7, "7 ns")]
)
def test_durations_are_written_in_the_largest_unit_that_is_whole(value: int, text: str) -> None:
    assert DURATION.format(value) == text


def test_sizes_are_written_in_binary_or_decimal_units() -> None:
    assert [SIZE.format(v) for v in (3_072, 1_000_000, 52_428_800, 0, 7)] == ["3 KiB", "1 MB", "50 MiB", "0 B", "7 B"]


@given(st.floats(0, 86_400))
def test_seconds_come_back_and_small_ones_are_milliseconds(value: float) -> None:
    text = SECONDS.format(value)
    assert SECONDS.parse(text) == value


def test_seconds_are_read_in_any_unit_of_time() -> None:
    assert [SECONDS.parse(text) for text in ("720 ms", "2 min", "1 h", "5 us")] == [0.72, 120.0, 3600.0, 5e-6]
    assert [SECONDS.format(value) for value in (0.72, 0.003485, 35.0, 0.0)] == ["720 ms", "3.485 ms", "35 s", "0 s"]
    with pytest.raises(UnitError, match="720 has no unit"):
        SECONDS.parse(720)
