"""Our own model server: its protocols, its batches, its cache, its end."""

from __future__ import annotations

import os
import signal
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import orjson
import pytest

from control.batching import Batcher, Rules
from control.cache import PredictionCache
from models.zoo import inputs, reference, trial
from real.errors import ChildDiedError, RefusedError
from real.processes import Supervisor
from real.servers import server
from real.servers.base import SERVED_AS, Ask, Running
from real.servers.counts import Served
from real.servers.own.dispatch import Dispatcher
from real.servers.protocols import client, messages
from real.servers.protocols.base import Address, CallError
from real.servers.protocols.connection import Connection
from scenarios.spec import MS_NS, Model
from tests.real.server_load import Pipelined

pytestmark = pytest.mark.measures

FFNN = Model("ffnn")
PROTOCOLS = ("oip-http", "oip-grpc")


def until(condition: Callable[[], Any], limit_s: float = 60.0) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.005)


@contextmanager
def started(model: Model = FFNN, word: str = "weir", **asked: Any) -> Iterator[Running]:
    with Supervisor() as supervisor:
        ask = Ask(model, 1, supervisor.directory / "models", **asked)
        running = server(word).start(ask, supervisor, lambda _line: None)
        yield running
        running.stop()
        assert running.pids() == []


@pytest.fixture(scope="module")
def ffnn() -> Iterator[Running]:
    with started() as running:
        yield running


def waiting(base_ms: int, each_ms: float = 0.0) -> Model:
    return Model("sleep", base_ns=base_ms * MS_NS, each_ns=round(each_ms * MS_NS))


def called(address: Address, x: Any) -> Any:
    """One call, on a connection of its own."""
    caller = client(address)
    try:
        return caller.call(x, 60.0)
    finally:
        caller.close()


def together(running: Running, xs: list[Any]) -> list[Any]:
    """Calls at a time, each on a thread and a connection of its own."""

    with ThreadPoolExecutor(len(xs)) as pool:
        return list(pool.map(lambda x: called(running.address(None), x), xs))


def counted(running: Running, slot: Served) -> int:
    assert running.slots is not None
    return int(running.slots.values[slot])


# ---------------------------------------------------------------- protocols


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_answers_are_the_models(ffnn: Running, protocol: str) -> None:
    x = trial("ffnn", 1)
    caller = client(ffnn.address(protocol))
    expected = reference("ffnn", 1, x)
    answer = caller.call(x, 60.0)
    assert answer.shape == (64, 10)
    assert np.abs(answer - expected).max() <= 1e-4 * np.abs(expected).max()
    assert np.array_equal(caller.call(x.reshape(64, 784), 60.0), answer)  # as a payload has them
    for points in (1, 32):
        for i in range(200):
            at = i % (64 - points)
            assert np.allclose(caller.call(x[at : at + points], 60.0), expected[at : at + points], atol=1e-5)
    caller.close()


def test_json_without_the_binary_extension_is_understood(ffnn: Running) -> None:
    x = inputs("ffnn", 2, 3)
    tensor = {"name": "anything", "shape": [2, 28, 28], "datatype": "FP32", "data": x.tolist()}
    status, headers, body = posted(ffnn, "/v2/models/weir/infer", orjson.dumps({"id": "7", "inputs": [tensor]}))
    found = orjson.loads(body)
    assert status == 200
    assert headers[b"content-type"] == b"application/json"
    assert found["id"] == "7"
    assert found["outputs"][0]["shape"] == [2, 10]
    assert np.allclose(np.reshape(found["outputs"][0]["data"], (2, 10)), reference("ffnn", 1, x), atol=1e-5)


def posted(running: Running, path: str, body: bytes, headers: bytes = b"") -> tuple[int, dict[bytes, bytes], bytes]:
    address = running.address("oip-http")
    connection = Connection(address.host, address.port)
    try:
        return connection.exchange("POST", path, headers, body, 30.0)
    finally:
        connection.close()


def tensor(**changes: Any) -> bytes:
    one = {"name": "input", "shape": [1, 784], "datatype": "FP32", "data": [0.0] * 784}
    return orjson.dumps({"inputs": [{**one, **changes}]})


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/v2/models/weir/infer", b"{", 400, "no inference request"),
        ("/v2/models/weir/infer", b"[1]", 400, "no inference request"),
        ("/v2/models/weir/infer", b'{"inputs": []}', 400, "no inference request"),
        ("/v2/models/weir/infer", tensor(data=["a"]), 400, "no inference request"),
        ("/v2/models/weir/infer", tensor(shape=[1, 783]), 400, "a tensor of FP32 [1, 783] with 3136 bytes"),
        ("/v2/models/weir/infer", tensor(shape=[0, 784], data=[]), 400, "a tensor of FP32 [0, 784]"),
        ("/v2/models/weir/infer", tensor(shape=[1, 2], data=[0, 0]), 400, "a point has 784 float32 values"),
        ("/v2/models/weir/infer", tensor(datatype="INT8"), 400, "one of FP32 is scored"),
        ("/v2/models/other/infer", tensor(), 404, "the model is weir"),
        ("/v1/models/weir:predict", b"{}", 404, "nothing at /v1/models/weir:predict"),
    ],
)
def test_what_is_no_request_gets_one_clear_message(
    ffnn: Running, path: str, body: bytes, status: int, words: str
) -> None:
    found, _, said = posted(ffnn, path, body)
    assert found == status
    assert words in orjson.loads(said)["error"]
    assert posted(ffnn, "/v2/models/weir/infer", tensor())[0] == 200


def test_what_is_no_http_is_told_and_hung_up_on(ffnn: Running) -> None:
    address = ffnn.address("oip-http")
    chunked = b"POST /v2/models/weir/infer HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    for said in (b"hello\r\n\r\n", chunked, b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"x" * 70_000):
        with socket.create_connection((address.host, address.port)) as link:
            link.sendall(said)
            answer = b""
            while data := link.recv(4096):
                answer += data
        assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 413 "))
        assert b"Connection: close" in answer


def test_pipelined_requests_are_answered_in_their_order(ffnn: Running) -> None:
    address, x = ffnn.address("oip-http"), inputs("ffnn", 40, 5)
    ready = b"GET /v2/health/ready HTTP/1.1\r\n\r\n"
    with socket.create_connection((address.host, address.port)) as link:
        for i in range(40):
            one = {"name": "input", "shape": [1, 784], "datatype": "FP32", "data": x[i].reshape(-1).tolist()}
            body = orjson.dumps({"id": str(i), "inputs": [one]})
            head = f"POST /v2/models/weir/infer HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            link.sendall(head + body + ready)
        answer = b""
        while answer.count(b"HTTP/1.1 200 OK") < 80:
            data = link.recv(1 << 16)
            assert data
            answer += data
    order = [part.split(b'"id":"')[1].split(b'"')[0] for part in answer.split(b"HTTP/1.1 ") if b'"id"' in part]
    assert order == [str(i).encode() for i in range(40)]


def test_grpc_says_what_is_wrong(ffnn: Running) -> None:
    address = ffnn.address("oip-grpc")
    request, response = (messages.message("inference", f"ModelInfer{word}") for word in ("Request", "Response"))
    with grpc.insecure_channel(f"{address.host}:{address.port}") as channel:
        infer = channel.unary_unary(
            messages.OIP_INFER,
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )

        def failing(asked: Any) -> Any:
            with pytest.raises(grpc.RpcError) as caught:
                infer(asked, timeout=30)
            return caught.value.code(), caught.value.details()

        assert failing(request(model_name="other")) == (
            grpc.StatusCode.NOT_FOUND,
            "no model 'other'; the model is weir",
        )
        assert failing(request(model_name=SERVED_AS))[0] == grpc.StatusCode.INVALID_ARGUMENT
        short = request(model_name=SERVED_AS, raw_input_contents=[b"1234"])
        short.inputs.add(name="input", datatype="FP32", shape=[1, 1])
        assert failing(short) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "4 bytes for 1 points; a point has 784 float32 values",
        )
        typed = request(model_name=SERVED_AS, id="9")
        typed.inputs.add(name="input", datatype="FP32", shape=[1, 784]).contents.fp32_contents.extend([0.0] * 784)
        assert infer(typed, timeout=30).id == "9"
        ready = channel.unary_unary(
            messages.OIP_MODEL_READY,
            request_serializer=messages.message("inference", "ModelReadyRequest").SerializeToString,
            response_deserializer=messages.message("inference", "ModelReadyResponse").FromString,
        )
        assert ready(messages.message("inference", "ModelReadyRequest")(name="weir"), timeout=30).ready
        assert not ready(messages.message("inference", "ModelReadyRequest")(name="x"), timeout=30).ready


def test_a_protocol_it_does_not_speak_is_refused(ffnn: Running) -> None:
    with pytest.raises(
        RefusedError, match=r"serving\.client\.protocol: tfs-grpc; this server speaks oip-http, oip-grpc"
    ):
        ffnn.address("tfs-grpc")


# ---------------------------------------------------------------- batches


def test_it_is_the_simulators_policy_and_cache_that_decide() -> None:
    slots = [0] * Served.SIZE
    found = Dispatcher(Rules("aimd", 64, slo_ns=20 * MS_NS), 1 << 20, None, slots, lambda _words: None)
    assert type(found.batcher) is Batcher
    assert type(found.cache) is PredictionCache


def test_without_batches_each_request_is_taken_alone() -> None:
    with started(waiting(20)) as running:
        together(running, [inputs("sleep", 1, 1)] * 6)
        assert (counted(running, Served.BATCHES), counted(running, Served.REQUESTS)) == (6, 6)


def test_an_eager_server_takes_what_came_meanwhile() -> None:
    with started(waiting(400), rules=Rules("eager", 16)) as running:
        address = running.address("oip-http")
        one = tensor(shape=[1, 1], data=[0.0])
        head = f"POST /v2/models/weir/infer HTTP/1.1\r\nContent-Length: {len(one)}\r\n\r\n".encode()
        with socket.create_connection((address.host, address.port)) as link:
            link.sendall((head + one) * 8)  # the first finds the worker idle, the others find it busy with that one
            answer = b""
            while answer.count(b"HTTP/1.1 200 OK") < 8:
                answer += link.recv(1 << 16)
        assert (counted(running, Served.BATCHES), counted(running, Served.REQUESTS)) == (2, 8)


def test_a_delayed_server_waits_for_a_batch_and_no_longer_than_that() -> None:
    with started(waiting(1), rules=Rules("delayed", 8, 3_000 * MS_NS)) as running:
        began = time.monotonic()
        together(running, [inputs("sleep", 1, 1)] * 8)  # complete: at once
        assert (counted(running, Served.BATCHES), counted(running, Served.REQUESTS)) == (1, 8)
        full_s = time.monotonic() - began
        began = time.monotonic()
        together(running, [inputs("sleep", 1, 1)] * 3)  # incomplete: after the delay
        assert (counted(running, Served.BATCHES), counted(running, Served.REQUESTS)) == (2, 11)
        assert full_s < 3.0 <= time.monotonic() - began


def test_two_workers_score_at_a_time() -> None:
    """A short batch overtakes a long one; behind it, with one worker, it would wait."""
    with started(waiting(0, 50), workers=2) as running:
        long = threading.Thread(target=together, args=(running, [inputs("sleep", 100, 1)]))
        long.start()
        until(lambda: together(running, [inputs("sleep", 1, 1)]) and counted(running, Served.BATCHES) == 2)
        assert long.is_alive()
        long.join()
        assert counted(running, Served.BATCHES) == 3


def test_requests_of_several_points_come_back_to_whom_they_belong() -> None:
    x = trial("ffnn", 1)
    expected = reference("ffnn", 1, x)
    edges = [0, 1, 4, 9, 16, 25, 36, 49, 64]
    with started(rules=Rules("delayed", 8, 2_000 * MS_NS)) as running:
        answers = together(running, [x[a:b] for a, b in pairwise(edges)])
        assert counted(running, Served.BATCHES) == 1
    assert np.allclose(np.concatenate(answers), expected, atol=1e-5)


def test_aimd_settles_where_the_slo_says() -> None:
    """t = 1 + 0.2 n ms and 20 ms: 85 takes 18 ms, from where nothing more is added, and 95 takes 20."""
    rules = Rules("aimd", 256, 50 * MS_NS, 20 * MS_NS)
    with started(waiting(1, 0.2), rules=rules) as running, Pipelined(running.address("oip-http"), 4, 64) as load:
        seen: list[int] = []

        def settled() -> bool:
            seen.append(counted(running, Served.LIMIT))
            return len(seen) >= 200 and 85 <= statistics.median(seen[-200:]) <= 95

        until(settled, 120.0)
        assert max(seen) <= 95
        assert load.answers > 1_000


# ---------------------------------------------------------------- cache


def test_what_was_answered_is_not_computed_again() -> None:
    x = inputs("ffnn", 4, 1)
    with started(cache_bytes=1 << 20) as running:
        first = together(running, [x[:1]])[0]
        assert np.array_equal(together(running, [x[:1]])[0], first)
        assert np.array_equal(together(running, [x[:1]])[0], first)
        together(running, [x[1:3]])
        together(running, [x[:2]])  # other points are another question
        counts = [counted(running, slot) for slot in (Served.REQUESTS, Served.HITS, Served.MISSES, Served.COALESCED)]
        assert counts == [3, 2, 3, 0]


def test_what_is_being_computed_is_not_computed_twice() -> None:
    with started(waiting(1_000), cache_bytes=1 << 20) as running:
        answers = together(running, [inputs("sleep", 1, 1)] * 6)
        assert all(np.array_equal(answer, answers[0]) for answer in answers)
        assert counted(running, Served.REQUESTS) == counted(running, Served.MISSES) == 1
        assert counted(running, Served.COALESCED) + counted(running, Served.HITS) == 5
        assert counted(running, Served.COALESCED) > 0


def test_a_full_cache_lets_answers_go() -> None:
    x = inputs("ffnn", 5, 1)
    with started(cache_bytes=2 * 40) as running:  # two answers of ten float32
        for i in (0, 1, 2, 0):
            together(running, [x[i : i + 1]])
        counts = [counted(running, slot) for slot in (Served.MISSES, Served.HITS, Served.EVICTED)]
        assert counts == [4, 0, 2]


# ---------------------------------------------------------------- its end


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_kill_9_is_heard_and_it_starts_again(protocol: str) -> None:
    with Supervisor() as supervisor:
        ask = Ask(waiting(1_000), 1, supervisor.directory / "models")
        running = server("weir").start(ask, supervisor, lambda _line: None)
        told: list[CallError] = []

        def call() -> None:
            try:
                called(running.address(protocol), inputs("sleep", 1, 1))
            except CallError as error:
                told.append(error)

        caller = threading.Thread(target=call)
        caller.start()
        time.sleep(0.2)  # the call lies in the server for a second
        os.kill(running.process.pid, signal.SIGKILL)
        with pytest.raises(ChildDiedError, match="server was killed by signal 9"):
            until(lambda: supervisor.wait(0.05))
        caller.join()
        assert [error.kind for error in told] == ["connection"]
        running.stop()
        assert running.pids() == []
        again = server("weir").start(ask, supervisor, lambda _line: None)
        assert called(again.address(protocol), inputs("sleep", 1, 1)).shape == (1, 1)


def test_a_worker_that_dies_takes_the_server_along() -> None:
    with Supervisor() as supervisor:
        ask = Ask(waiting(50), 1, supervisor.directory / "models")
        running = server("weir").start(ask, supervisor, lambda _line: None)
        (worker,) = [pid for pid in running.pids() if pid != running.process.pid]
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(ChildDiedError, match="a worker ended"):
            until(lambda: supervisor.wait(0.05))


def test_nothing_outlives_the_supervisor(tmp_path: Path) -> None:
    supervisor = Supervisor()
    outside = tmp_path / "outside"
    (outside / "inside").mkdir(parents=True)
    (tmp_path / "file").write_text("x")
    supervisor.remove_too(outside)
    supervisor.remove_too(tmp_path / "file")
    running = server("weir").start(Ask(FFNN, 1, tmp_path / "models", workers=2), supervisor, lambda _line: None)
    assert len(running.pids()) == 3
    assert running.rss_bytes() > 50e6
    supervisor.close()
    until(lambda: running.pids() == [])
    assert not outside.exists()
    assert not (tmp_path / "file").exists()


def test_a_model_that_cannot_be_loaded_is_told() -> None:
    with Supervisor() as supervisor:
        ask = Ask(FFNN, 1, supervisor.directory / "models", runtime="no-such-runtime")
        with pytest.raises(ChildDiedError, match="no-such-runtime"):
            server("weir").start(ask, supervisor, lambda _line: None)
