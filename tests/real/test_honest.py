"""The open loop is held against a server whose latencies are known, stalls included; a closed loop fails the same test.

The server speaks a replica's language.  It answers each request after a time drawn for its number, unless it stalls:
then nothing is answered until the stall is over.  So the true latency of a request that is sent when it is due can be
computed, and a client that waits for an answer before it sends again does not see most of the stall.
"""

from __future__ import annotations

import heapq
import multiprocessing
import select
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from real.child import exact_timers
from real.profiler.noise import percentile_interval
from real.profiler.open_loop import open_loop
from real.profiler.wire import REQUEST, Link, answer, connect, listen

pytestmark = pytest.mark.measures

Floats = npt.NDArray[np.float64]

#: A stall each two seconds, the first half a second after the first request.
EVERY_NS, STALL_NS, FIRST_NS = 2_000_000_000, 200_000_000, 500_000_000
RATE_PER_S, SECONDS = 250, 8
COUNT = RATE_PER_S * SECONDS
GAP_NS = 1_000_000_000 // RATE_PER_S
#: What a loaded machine adds to a request: wake-ups.
MACHINE_NS = 10_000_000


def drawn_ns(count: int) -> npt.NDArray[np.int64]:
    """The latency of each request: 1 ms and an exponential tail of 1.5 ms on average, cut at 20 ms."""
    rng = np.random.default_rng(7)
    return np.minimum(1_000_000 + rng.exponential(1_500_000, count), 20_000_000).astype(np.int64)


def after_stalls(at_ns: int) -> int:
    """When an answer that is ready leaves, ns since the first request."""
    since = (at_ns - FIRST_NS) % EVERY_NS
    return at_ns + STALL_NS - since if at_ns >= FIRST_NS and since < STALL_NS else at_ns


def truth_ms(due_ns: npt.NDArray[np.int64], first_ns: int = 0) -> Floats:
    """The true latency of requests that are sent when they are due, where the first one comes at `first_ns`."""
    ready = (due_ns + drawn_ns(len(due_ns)) - first_ns).tolist()
    return (np.array([after_stalls(at) for at in ready]) + first_ns - due_ns) / 1e6


def serve(path: str, ready: Any) -> None:
    """The server, as a process."""
    exact_timers()
    listener = listen(path)
    ready.send(True)
    link, _ = listener.accept()
    draws = drawn_ns(1 << 16).tolist()
    begin, heap, waiting = 0, list[tuple[int, int, int]](), b""
    while True:
        now = time.monotonic_ns()
        while heap and heap[0][0] <= now:
            _, number, came = heapq.heappop(heap)
            try:
                link.sendall(answer(number, [(came, now, 0)]))
            except OSError:
                return
        wait = max(0.0, (heap[0][0] - time.monotonic_ns()) / 1e9) if heap else None
        readable, _, _ = select.select([link], [], [], wait)
        if not readable:
            continue
        data = link.recv(1 << 16)
        came = time.monotonic_ns()
        if not data:
            return
        begin = begin or came
        waiting += data
        whole = len(waiting) - len(waiting) % REQUEST.size
        for number, _, _ in REQUEST.iter_unpack(waiting[:whole]):
            heapq.heappush(heap, (begin + after_stalls(came - begin + draws[number]), number, came))
        waiting = waiting[whole:]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Link]:
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=serve, args=(str(tmp_path / "s"), theirs), daemon=True)
    process.start()
    try:
        assert mine.poll(60)
        link = connect(tmp_path / "s")
        yield link
        link.close()
    finally:
        process.kill()
        process.join()


def tells_the_truth(latency_ms: Floats, true_ms: Floats) -> bool:
    """The test that a client must pass: the true 99th percentile is within its interval, but for what wake-ups take."""
    _, low, high = percentile_interval(latency_ms, 99)
    true = float(np.percentile(true_ms, 99))
    return bool(low - MACHINE_NS / 1e6 <= true <= high)


def closed_loop(link: Link, seconds: float) -> Floats:
    """What a client measures that waits for each answer and counts from when it sent."""
    exact_timers()
    found, number = [], 0
    end = time.monotonic_ns() + int(seconds * 1e9)
    while time.monotonic_ns() < end:
        sent = time.monotonic_ns()
        link.send(number, 1)
        (got,) = link.read()
        found.append((got.read_ns - sent) / 1e6)
        number += 1
    return np.array(found)


def test_the_open_loop_reports_the_true_percentile(server: Link) -> None:
    exact_timers()
    due = np.arange(COUNT, dtype=np.int64) * GAP_NS
    run = open_loop([server], due, 1, depth=COUNT)
    assert run.accounting() == {"due": COUNT, "unsent": 0, "sent": COUNT, "scored": COUNT, "in_queue": 0}
    true = truth_ms(due, int(run.began[0]))
    assert np.percentile(true, 99) > 100.0  # it is a stall that the percentile sees
    latency = run.latency / 1e6
    assert (latency >= true - 1.0).mean() > 0.99  # nothing is answered before its time
    assert tells_the_truth(latency, true)


def test_a_closed_loop_fails_that_test(server: Link) -> None:
    latency = closed_loop(server, SECONDS)
    true = truth_ms(np.arange(COUNT, dtype=np.int64) * GAP_NS)
    assert not tells_the_truth(latency, true)
    assert np.percentile(latency, 99) < np.percentile(true, 99) / 2


def test_one_sample_of_known_latencies_gives_its_percentile_and_an_interval_around_it() -> None:
    rng = np.random.default_rng(3)
    inside = 0
    for seed in range(40):
        value, low, high = percentile_interval(rng.exponential(1.0, 4000), 99, seed=seed)
        assert low <= value <= high
        inside += low <= -np.log(0.01) <= high
    assert inside >= 32  # 38 of 40 on average
