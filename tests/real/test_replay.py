"""A trace replayed as requests: the schedule, the open loop, the counting; nothing is asserted about speed."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from real import replay
from real.errors import ChildDiedError, RefusedError
from real.loop import free_descriptors, in_loop
from real.pool import workers
from real.pool.http import HttpClient, HttpError
from real.pool.provider import Done
from real.replay import Asked, Sent, on_pool, over_http, schedule, send_all, told
from scenarios.errors import ScenarioError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.csv"
    path.write_text("job,minute,rate\n0,0,5\n0,1,5\n1,0,20\n1,1,40\n")
    return path


class Handler(BaseHTTPRequestHandler):
    """Answers by path; counts connections and what was posted."""

    protocol_version = "HTTP/1.1"
    connections = 0
    posted: list[bytes] = []  # noqa: RUF012  # of all handlers together

    def setup(self) -> None:
        super().setup()
        type(self).connections += 1

    def do_GET(self) -> None:
        if self.path == "/slow":
            time.sleep(1.0)
        if self.path == "/cut":
            self.close_connection = True
            return
        self.send_response(404 if self.path == "/none" else 200)
        if self.path == "/chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
            return
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"abc")
        if self.path == "/once":  # says nothing of it, and hangs up
            self.close_connection = True

    def do_POST(self) -> None:
        self.posted.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Handler.connections = 0
    Handler.posted.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{made.server_address[1]}"
        made.shutdown()
        thread.join()


def test_the_counts_of_a_minute_are_exact_and_even_gaps_are_even(trace: Path) -> None:
    due, lasting_s = schedule(Asked(trace, job=1, gaps="even", unit_s=10.0, scale=0.5), trial=0)
    assert lasting_s == 20.0
    expected = np.concatenate([np.arange(10) * 1.0, 10 + np.arange(20) * 0.5]) * 1e9
    assert due.tolist() == expected.astype(int).tolist()
    due, _ = schedule(Asked(trace, job=1, first_minute=1, minutes=1), trial=0)
    assert (len(due), due[0]) == (40, 0)


def test_trials_differ_by_their_seed(trace: Path) -> None:
    first, again, second = (schedule(Asked(trace, job=1, seed=7), trial)[0] for trial in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)
    assert np.array_equal(second, schedule(Asked(trace, job=1, seed=8), 0)[0])


def test_no_request_waits_for_another() -> None:
    """Each answer comes only once the last request was sent: a closed loop would never get there."""
    due = np.arange(20, dtype=np.int64) * 1_000_000

    async def go() -> Sent:
        all_sent, count = asyncio.Event(), 0

        async def send() -> None:
            nonlocal count
            count += 1
            if count == len(due):
                all_sent.set()
            await all_sent.wait()

        return await send_all(due, send, timeout_s=30.0)

    sent = asyncio.run(go())
    assert sent.errors == {}
    assert sent.done.min() >= sent.sent.max()
    assert bool(np.all(sent.sent >= sent.due))


def test_a_trial_in_numbers() -> None:
    due = np.array([0, 1, 2, 3], np.int64) * 1_000_000_000
    sent = due + np.array([0, 1, 2, 1]) * 1_000_000
    done = due + np.array([10, 20, 60, 0]) * 1_000_000
    done[3] = 0
    found = told(Sent(due, sent, done, {"timeout": 1}), seed=3, lasting_s=8.0)
    assert (found["requests"], found["answered"], found["errors"]) == (4, 3, {"timeout": 1})
    assert (found["offered_per_s"], found["achieved_per_s"]) == (0.5, 0.375)
    assert (found["latency_mean_ms"], found["latency_p50_ms"], found["latency_max_ms"]) == (30.0, 20.0, 60.0)
    assert (found["late_p50_ms"], found["late_max_ms"]) == (1.0, 2.0)
    assert found["latency_p99_ms"] is None  # three requests carry none


def test_what_was_never_sent_is_not_late() -> None:
    due = np.array([0, 1, 2], np.int64) * 1_000_000_000
    sent = np.array([1_000_000, 1_002_000_000, -1], np.int64)
    found = told(Sent(due, sent, due * 0, {}), seed=3, lasting_s=3.0)
    assert (found["unsent"], found["answered"], found["late_max_ms"]) == (1, 0, 2.0)


def test_more_connections_than_select_knows_and_exact_timers() -> None:
    """The last of so many sockets has a number that select has not; a sleep is not rounded up to a millisecond."""

    async def go() -> tuple[int, list[float]]:
        pairs = [socket.socketpair() for _ in range(600)]
        try:
            here, there = pairs[-1]
            reader, writer = await asyncio.open_connection(sock=here)
            there.sendall(b"there")
            assert await reader.readexactly(5) == b"there"
            loop, slept = asyncio.get_running_loop(), []
            for _ in range(20):
                began = loop.time()
                await asyncio.sleep(0.0002)
                slept.append(loop.time() - began)
            number = here.fileno()
            writer.close()
            return number, slept
        finally:
            for each in (end for pair in pairs for end in pair):
                each.close()

    if free_descriptors() < 1300:
        pytest.skip("the limit on open files is too low")
    number, slept = in_loop(go)
    assert number > 1023
    assert 0.0002 <= min(slept) < 0.001


def test_more_requests_under_way_than_connections_may_be_fail_by_name(trace: Path, server: str) -> None:
    async def go() -> Sent:
        client = HttpClient(f"{server}/slow", most=2)
        try:
            return await send_all(np.zeros(5, np.int64), client.send, timeout_s=30.0)
        finally:
            await client.close()

    assert asyncio.run(go()).errors == {"more than 2 open connections": 3}


def test_over_http(trace: Path, server: str) -> None:
    found = over_http(Asked(trace, unit_s=0.2, trials=2), f"{server}/", None, idle=4, timeout_s=30.0)
    assert [trial["seed"] for trial in found["trials"]] == [42, 43]
    for trial in found["trials"]:
        assert (trial["requests"], trial["answered"], trial["errors"]) == (10, 10, {})
        assert 1 <= trial["connections"] <= 10
    assert found["mean"]["answered"] == 10
    assert "0" not in str(replay.table(found).columns[-1]._cells)  # no error in the table


def test_without_idle_connections_each_request_opens_its_own(trace: Path, server: str) -> None:
    found = over_http(Asked(trace, unit_s=0.2), f"{server}/", None, idle=0, timeout_s=30.0)
    assert found["trials"][0]["connections"] == Handler.connections == 10


def test_a_body_is_posted(trace: Path, server: str) -> None:
    found = over_http(Asked(trace, unit_s=0.1, minutes=1), f"{server}/", b"payload", idle=4, timeout_s=30.0)
    assert found["trials"][0]["answered"] == 5
    assert Handler.posted == [b"payload"] * 5


@pytest.mark.parametrize(("path", "kind"), [("/none", "status 404"), ("/cut", "cut off"), ("/slow", "timeout")])
def test_errors_are_counted_by_kind(trace: Path, server: str, path: str, kind: str) -> None:
    found = over_http(Asked(trace, unit_s=0.1, minutes=1), server + path, None, idle=4, timeout_s=0.3)
    assert found["trials"][0]["errors"] == {kind: 5}
    assert found["trials"][0]["latency_mean_ms"] is None


def test_nobody_there(trace: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}/"
        found = over_http(Asked(trace, unit_s=0.1, minutes=1), url, None, idle=4, timeout_s=5.0)
    assert found["trials"][0]["errors"] == {"refused": 5}


@pytest.mark.parametrize("path", ["/", "/chunked", "/once"])
def test_one_connection_serves_one_request_after_the_other(server: str, path: str) -> None:
    async def go() -> int:
        client = HttpClient(server + path, idle=1)
        for _ in range(4):
            await client.send()
        await client.close()
        return client.opened

    # Where the server hangs up, the request is sent again on a new one.
    assert asyncio.run(go()) == (4 if path == "/once" else 1)


def test_what_is_no_http_is_an_error() -> None:
    async def go() -> None:
        async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"SSH-2.0-hello\r\n")
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            with pytest.raises(HttpError, match="no HTTP"):
                await HttpClient(f"http://127.0.0.1:{port}/").send()

    asyncio.run(go())


@pytest.mark.parametrize("url", ["ftp://host/", "host:80", "http://", "http://host:99999/", "http://a b/"])
def test_a_url_that_is_none_is_refused(trace: Path, url: str) -> None:
    with pytest.raises(RefusedError, match="--url"):
        over_http(Asked(trace), url, None, idle=1, timeout_s=1.0)


def test_a_trace_that_lacks_what_is_asked_is_refused(trace: Path) -> None:
    with pytest.raises(RefusedError, match="has 0 to 1"):
        schedule(Asked(trace, job=2), 0)
    with pytest.raises(RefusedError, match="the trace has 1 from minute 1"):
        schedule(Asked(trace, first_minute=1, minutes=2), 0)
    with pytest.raises(ScenarioError):
        schedule(Asked(trace.with_name("none.csv")), 0)


def test_on_a_pool(trace: Path) -> None:
    found = on_pool(Asked(trace, job=1, unit_s=0.5), 2, 0.002, None, timeout_s=30.0)
    (trial,) = found["trials"]
    assert (trial["requests"], trial["answered"], trial["errors"]) == (60, 60, {})
    assert trial["latency_p50_ms"] >= 2.0


def test_a_replica_that_dies_ends_the_replay(trace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve = workers.Worker.serve

    def dies(self: workers.Worker, request: int, service_ns: int, done: Done) -> None:
        if request == 3:
            self.process.popen.kill()
        serve(self, request, service_ns, done)

    monkeypatch.setattr(workers.Worker, "serve", dies)
    with pytest.raises(ChildDiedError, match="replica-1 was killed by signal 9"):
        on_pool(Asked(trace, job=1, unit_s=0.5), 1, 0.002, None, timeout_s=30.0)


def test_more_replicas_than_files_may_be_open_are_refused(trace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("real.pool.run.free_descriptors", lambda: 11)
    with pytest.raises(RefusedError, match=r"--pool: 3 processes; the limit on open files .* leaves room for 2"):
        on_pool(Asked(trace), 3, 0.002, None, timeout_s=30.0)


def test_the_command(trace: Path, server: str) -> None:
    def ended(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "real", "replay", str(trace), "--unit", "100 ms", *options]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)

    found = ended("--url", f"{server}/", "--json")
    assert (found.returncode, json.loads(found.stdout)["trials"][0]["answered"]) == (0, 10)
    assert ended("--url", f"{server}/none").returncode == 1
    assert "--url URL or --pool REPLICAS" in ended().stderr
    assert ended("--url", f"{server}/", "--timeout", "3 kg").returncode == 2
    there = trace.parent / "none"
    without = ended("--url", f"{server}/", "--data", str(there))
    assert (without.returncode, without.stderr) == (2, f"error: {there}: cannot be read: No such file or directory\n")
