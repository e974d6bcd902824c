"""Clients of model servers against servers that misbehave; retries; several calls under way."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import orjson
import pytest

from real.errors import RefusedError
from real.servers.ahead import Ahead, Answer
from real.servers.protocols import PROTOCOLS, client, messages
from real.servers.protocols.base import Address, CallError
from real.servers.protocols.connection import Connection
from real.servers.protocols.over_grpc import read_tensor, write_tensor
from real.servers.protocols.over_http import oip_output
from real.servers.scorer import ServerScorer, told

X = np.arange(6, dtype=np.float32).reshape(2, 3)
#: What a planted server does with one connection: it reads requests and writes what it likes.
Manner = Callable[[socket.socket, int], None]


@contextmanager
def planted(*manners: Manner) -> Iterator[Address]:
    """A server whose n-th connection is treated in the n-th manner, the last one's for all later ones."""
    listener = socket.create_server(("127.0.0.1", 0))
    links: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def serve() -> None:
        number = 0
        while True:
            try:
                link, _ = listener.accept()
            except OSError:
                return
            links.append(link)
            manner = manners[min(number, len(manners) - 1)]
            threads.append(threading.Thread(target=behave, args=(manner, link, number), daemon=True))
            threads[-1].start()
            number += 1

    def behave(manner: Manner, link: socket.socket, number: int) -> None:
        with suppress(OSError):  # the client, or the end of the test, hung up first
            manner(link, number)
            link.shutdown(socket.SHUT_RDWR)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    host, port = listener.getsockname()
    try:
        yield Address("ray-http", host, port, "m", (3,))
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for link in links:
            with suppress(OSError):  # hung up already
                link.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
        for link in links:
            link.close()


def request(link: socket.socket) -> bytes:
    """Reads one whole request."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += more(link)
    head, _, body = data.partition(b"\r\n\r\n")
    size = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
    while len(body) < size:
        body += more(link)
    return body


def more(link: socket.socket) -> bytes:
    data = link.recv(1 << 16)
    if not data:
        raise ConnectionResetError
    return data


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def echo(link: socket.socket, _number: int) -> None:
    while True:
        link.sendall(ok(request(link)))


def hang(link: socket.socket, _number: int) -> None:
    request(link)
    more(link)  # which comes when the client hangs up


def trickle(link: socket.socket, _number: int) -> None:
    request(link)
    for _ in range(10_000):
        link.sendall(b"H")
        time.sleep(0.02)


def says(what: bytes) -> Manner:
    def manner(link: socket.socket, _number: int) -> None:
        request(link)
        link.sendall(what)

    return manner


#: What a server may do wrong over HTTP, and the kind of error that a caller makes of it.
WRONG: list[tuple[Manner, str]] = [
    (hang, "timeout"),
    (trickle, "timeout"),
    (says(b""), "connection"),
    (says(b"HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\nshort"), "connection"),
    (says(b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno"), "server"),
    (says(b"HTTP/1.1 503 Full\r\nContent-Length: 0\r\n\r\n"), "server"),
    (says(b"SSH-2.0-OpenSSH\r\n\r\n"), "answer"),
    (says(b"HTTP/1.1 abc\r\n\r\n"), "answer"),
    (says(ok(b"12345")), "answer"),
    (says(ok(b"1234")), "answer"),
    (says(ok(b"")), "answer"),
]


def kind_of(address: Address, timeout_s: float = 30.0) -> str:
    caller = client(address)
    try:
        with pytest.raises(CallError) as caught:
            caller.call(X, timeout_s)
        return caught.value.kind
    finally:
        caller.close()


@pytest.mark.parametrize(("manner", "kind"), [*WRONG, (says(b"x" * 70_000), "answer")])
def test_a_call_that_goes_wrong_says_how(manner: Manner, kind: str) -> None:
    with planted(manner) as address:
        assert kind_of(address, 0.3 if kind == "timeout" else 30.0) == kind


def test_nobody_listening_is_a_connection_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
    for protocol in PROTOCOLS:
        assert kind_of(Address(protocol, host, port, "m", (3,)), 10.0) == "connection"


def test_a_kept_connection_that_the_server_closed_is_opened_again() -> None:
    def once(link: socket.socket, _number: int) -> None:
        link.sendall(ok(request(link)))

    with planted(once) as address:
        caller = client(address)
        for _ in range(5):
            assert np.array_equal(caller.call(X, 30.0), X)
            time.sleep(0.02)  # so that the end of the connection is here, most times
        caller.close()


def test_chunks_and_continuations_are_read() -> None:
    body = X.tobytes()
    parts = b"%x;a=b\r\n%b\r\n%x\r\n%b\r\n0\r\nTrailer: x\r\n\r\n" % (5, body[:5], len(body) - 5, body[5:])
    said = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + parts

    def twice(link: socket.socket, _number: int) -> None:
        for _ in range(2):
            request(link)
            link.sendall(said)

    with planted(twice) as address:
        caller = client(address)
        assert np.array_equal(caller.call(X, 30.0), X)
        assert np.array_equal(caller.call(X, 30.0), X)
        caller.close()


def test_a_server_that_wants_to_close_is_let() -> None:
    body = X.tobytes()
    said = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with planted(says(said)) as address:
        connection = Connection(address.host, address.port)
        for _ in range(3):
            assert connection.exchange("POST", "/m", b"", body, 30.0)[0] == 200
        connection.close()


# ---------------------------------------------------------------- what is counted


def test_a_failed_call_is_made_again_as_often_as_asked() -> None:
    refuses = says(b"HTTP/1.1 500 Oh\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    with planted(refuses, says(b""), echo) as address:
        scorer = ServerScorer(address, 30.0, 2)
        assert np.array_equal(scorer.score(X), X)
        counts = {word: n for word, n in scorer.counts().items() if n}
        assert counts == {"calls": 3, "answered": 1, "retried": 2, "server": 1, "connection": 1}
        assert np.array_equal(scorer.warm(X), X)
        assert scorer.counts()["calls"] == 3
        scorer._client().close()


def test_the_last_failure_is_the_records() -> None:
    with planted(says(b""), hang) as address:
        scorer = ServerScorer(address, 0.3, 1)
        with pytest.raises(CallError) as caught:
            scorer.score(X)
        assert caught.value.expired
        assert {word: n for word, n in scorer.counts().items() if n} == {
            "calls": 2,
            "retried": 1,
            "connection": 1,
            "timeout": 1,
        }


def test_an_answer_that_is_none_is_not_asked_for_again() -> None:
    with planted(says(ok(b"123"))) as address:
        scorer = ServerScorer(address, 30.0, 5)
        with pytest.raises(CallError) as caught:
            scorer.score(X)
        assert not caught.value.expired
        assert scorer.counts()["calls"] == 1
        scorer._client().close()


def test_a_scorer_survives_the_way_to_another_process() -> None:
    with planted(echo) as address:
        there = orjson.loads(orjson.dumps(told(address, 2_000_000_000, 1)))
        scorer = ServerScorer.told(there)
        assert np.array_equal(scorer.score(X), X)
        scorer._client().close()


def test_threads_have_connections_of_their_own() -> None:
    with planted(echo) as address:
        scorer = ServerScorer(address, 30.0, 0)

        def many(i: int) -> bool:
            mine = X + i
            found = all(np.array_equal(scorer.score(mine), mine) for _ in range(20))
            scorer._client().close()
            return found

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(many, range(8)))
        assert scorer.counts()["answered"] == 160


# ---------------------------------------------------------------- several under way


def test_answers_are_handed_on_in_the_order_of_the_questions() -> None:
    gates = [threading.Event() for _ in range(3)]
    came: list[Any] = []

    def score(x: Any) -> Any:
        assert gates[int(x[0])].wait(30.0)
        if x[0] == 1:
            raise CallError("timeout", "late")
        return x

    ahead = Ahead(score, 3)

    def then(answer: Answer) -> None:
        assert answer.end_ns >= answer.begin_ns > 0
        came.append(answer.error if answer.scores is None else int(answer.scores[0]))

    for i in range(3):
        ahead.put(np.array([i], np.float32), then)
    assert len(ahead) == 3
    gates[2].set()
    gates[1].set()
    ahead.hand_on()
    assert came == []  # they wait for the first
    gates[0].set()
    ahead.finish()
    assert [came[0], type(came[1]), came[2]] == [0, CallError, 2]
    assert len(ahead) == 0
    ahead.close()


def test_no_more_than_allowed_are_open() -> None:
    lock, under_way, most = threading.Lock(), [0], [0]

    def score(x: Any) -> Any:
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        time.sleep(0.005)
        with lock:
            under_way[0] -= 1
        return x

    ahead, came = Ahead(score, 4), []
    for i in range(40):
        ahead.put(np.array([i]), lambda answer: came.append(answer.scores))
        assert len(ahead) <= 4
    ahead.finish()
    assert [int(x[0]) for x in came if x is not None] == list(range(40))
    assert 1 < most[0] <= 4
    ahead.close()


# ---------------------------------------------------------------- messages


def test_messages_are_those_of_the_published_definitions() -> None:
    """Bytes written out by hand from the field numbers of the definitions."""
    request = messages.message("inference", "ModelInferRequest")(model_name="m")
    request.inputs.add(name="i", datatype="FP32", shape=[1, 300])
    request.raw_input_contents.append(b"abcd")
    inside = b"\x0a\x01i" + b"\x12\x04FP32" + b"\x1a\x03\x01\xac\x02"
    assert request.SerializeToString() == b"\x0a\x01m" + b"\x2a" + bytes([len(inside)]) + inside + b"\x3a\x04abcd"
    predict = messages.message("tensorflow.serving", "PredictRequest")()
    predict.model_spec.name = "m"
    write_tensor(predict.inputs["x"], np.zeros((1, 1), np.float32))
    tensor = b"\x08\x01" + b"\x12\x08" + b"\x12\x02\x08\x01" * 2 + b"\x22\x04" + bytes(4)
    entry = b"\x0a\x01x" + b"\x12" + bytes([len(tensor)]) + tensor
    assert predict.SerializeToString() == b"\x0a\x03\x0a\x01m" + b"\x12" + bytes([len(entry)]) + entry
    torch = messages.message("org.pytorch.serve.grpc.inference", "PredictionsRequest")(model_name="m")
    torch.input["data"] = b"z"
    assert torch.SerializeToString() == b"\x0a\x01m" + b"\x1a\x09" + b"\x0a\x04data" + b"\x12\x01z"


def test_a_definition_of_more_than_plain_fields_is_refused() -> None:
    plain = "message A {\n  repeated bytes b = 3;\n  map<string, B> c = 4;\n}\n\nmessage B {\n}\n"
    assert messages.messages_of(plain) == {"A": {"b": (3, "repeated bytes"), "c": (4, "map B")}, "B": {}}
    with pytest.raises(ValueError, match="message A"):
        messages.messages_of("message A {\n  oneof b {\n    int32 c = 1;\n  }\n}\n")


def test_tensors_of_both_kinds_are_read() -> None:
    tensor = messages.message("tensorflow.serving", "TensorProto")()
    write_tensor(tensor, X)
    assert np.array_equal(read_tensor(tensor), X)
    typed = messages.message("tensorflow.serving", "TensorProto")(dtype=messages.DT_FLOAT, float_val=[1, 2])
    typed.tensor_shape.dim.add(size=2)
    assert read_tensor(typed).tolist() == [1, 2]
    for wrong in ({"dtype": 9}, {"float_val": [1]}, {"tensor_content": b"123"}):
        other = messages.message("tensorflow.serving", "TensorProto")()
        other.CopyFrom(typed)
        other.MergeFrom(messages.message("tensorflow.serving", "TensorProto")(**wrong))
        with pytest.raises(CallError):
            read_tensor(other)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"outputs": []}', b'{"outputs": [{"data": [1, 2, 3]}]}'])
def test_an_inference_answer_without_an_output_is_none(body: bytes) -> None:
    with pytest.raises(CallError) as caught:
        oip_output({}, body, 2)
    assert caught.value.kind == "answer"


def test_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(RefusedError, match="no protocol 'smtp'; there are oip-http"):
        client(Address("smtp", "127.0.0.1", 1, "m", (3,)))
