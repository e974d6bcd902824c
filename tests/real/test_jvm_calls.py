"""Callers of model servers in the JVM, as the engines use them: their answers, their counts, and what goes wrong."""

from __future__ import annotations

import dataclasses
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import orjson
import pytest

from models.zoo import reference, trial
from real.brokers.jars import java
from real.engines.jvm import module
from real.errors import RefusedError
from real.processes import Supervisor
from real.servers import SERVERS, server
from real.servers.base import Ask, Running
from real.servers.protocols import PROTOCOLS, messages
from real.servers.protocols.base import Address
from real.servers.scorer import told
from real.servers.weir import Own
from scenarios.spec import Model
from tests.real.test_servers_clients import WRONG, Manner, echo, hang, ok, planted, request, says

X = np.arange(6, dtype=np.float32).reshape(2, 3)
FFNN = Model("ffnn")


class Jvm:
    """A JVM with the callers, asked a line at a time."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen

    def ask(
        self, address: Address, x: Any = X, *, timeout_s: float = 30.0, retries: int = 0, times: int = 1, **more: Any
    ) -> dict[str, Any]:
        """Asks `times` times; what became of the last question, and the counts that are not 0."""
        asked = {"told": told(address, round(timeout_s * 1e9), retries), "points": len(x), "times": times, **more}
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._popen.stdin.write(orjson.dumps({**asked, "values": np.asarray(x).ravel().tolist()}) + b"\n")
        self._popen.stdin.flush()
        found: dict[str, Any] = orjson.loads(self._popen.stdout.readline())
        found["counts"] = {word: n for word, n in found["counts"].items() if n}
        if "scores" in found:
            found["scores"] = np.asarray(found["scores"], np.float32).reshape(len(x), -1)
        return found


@pytest.fixture(scope="module")
def jvm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jvm]:
    try:
        launcher = java("engine.kind", "kafka-streams")
        with Supervisor() as supervisor:
            libs = [module(name, name, "engine.kind", supervisor, print) for name in ("kafka-streams", "grpc")]
    except RefusedError as error:
        pytest.skip(str(error))
    source = Path(__file__).parent / "jvm" / "Calls.java"
    classpath = ":".join(f"{lib}/*" for lib in libs)
    options = ["-Xmx256m", "-XX:TieredStopAtLevel=1", f"-Djava.io.tmpdir={tmp_path_factory.mktemp('jvm')}"]
    command = [launcher, *options, "-cp", classpath, str(source)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as popen:
        yield Jvm(popen)
        assert popen.stdin is not None
        popen.stdin.close()
        popen.wait(60)


class All(Own):
    """Our own server with everything that it speaks."""

    protocols = ("oip-http", "oip-grpc", "tfs-grpc", "tfs-rest")


@pytest.fixture(scope="module")
def ours() -> Iterator[Running]:
    with Supervisor() as supervisor:
        running = All().start(Ask(FFNN, 1, supervisor.directory / "models"), supervisor, lambda _line: None)
        yield running
        running.stop()


@pytest.mark.parametrize("protocol", [*All.protocols, "oip-json"])
def test_answers_are_the_model_s(jvm: Jvm, ours: Running, protocol: str) -> None:
    address = ours.address(protocol.replace("json", "http"))
    if protocol == "oip-json":
        address = dataclasses.replace(address, binary=False)
    x = trial(FFNN, 1, 3)
    expected = reference(FFNN, 1, x)
    for points in (1, 3):
        found = jvm.ask(address, x[:points])
        error = np.abs(found["scores"] - expected[:points]).max()
        assert error <= 1e-4 * np.abs(expected).max()
    many = jvm.ask(address, x, times=50, open=True)
    assert many["counts"] == {"calls": 50, "answered": 50}
    wrong = jvm.ask(dataclasses.replace(address, model="nobody"))
    assert wrong["kind"] == "server"


@pytest.mark.slow
@pytest.mark.parametrize("word", [word for word in SERVERS if word != "weir"])
def test_the_servers_of_others_answer_as_the_model(jvm: Jvm, word: str) -> None:
    other = server(word)
    if (lacking := other.missing()) is not None:
        pytest.skip(f"{word}: {lacking}")
    with Supervisor() as supervisor:
        running = other.start(Ask(FFNN, 1, supervisor.directory / "models"), supervisor, lambda _line: None)
        x = trial(FFNN, 1, 32)
        expected = reference(FFNN, 1, x)
        for protocol in other.protocols:
            for points in (1, 32):
                found = jvm.ask(running.address(protocol), x[:points], timeout_s=60.0, times=5)
                assert found["counts"] == {"calls": 5, "answered": 5}, (protocol, found)
                assert np.abs(found["scores"] - expected[:points]).max() <= 1e-4 * np.abs(expected).max()
        running.stop()


@contextmanager
def torchserve() -> Iterator[Address]:
    """A gRPC server that says back what TorchServe's callers send."""

    def predict(asked: Any, _context: Any) -> Any:
        return messages.message(package, "PredictionResponse")(prediction=asked.input["data"])

    package = "org.pytorch.serve.grpc.inference"
    _, service, method = messages.TORCHSERVE_PREDICT.split("/")
    handler = grpc.unary_unary_rpc_method_handler(
        predict,
        request_deserializer=messages.message(package, "PredictionsRequest").FromString,
        response_serializer=messages.message(package, "PredictionResponse").SerializeToString,
    )
    raw = grpc.server(futures.ThreadPoolExecutor(2))
    raw.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    port = raw.add_insecure_port("127.0.0.1:0")
    raw.start()
    try:
        yield Address("torchserve-grpc", "127.0.0.1", port, "m", (3,))
    finally:
        raw.stop(None).wait()


def test_raw_floats_go_there_and_back(jvm: Jvm) -> None:
    with planted(echo) as address:
        for protocol in ("ray-http", "torchserve-http"):
            assert np.array_equal(jvm.ask(dataclasses.replace(address, protocol=protocol))["scores"], X)
    with torchserve() as address:
        assert np.array_equal(jvm.ask(address)["scores"], X)


def test_paths_are_the_protocols(jvm: Jvm) -> None:
    seen: list[bytes] = []

    def heard(link: Any, _number: int) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += link.recv(1 << 16)
        seen.append(data.split()[1])
        link.sendall(b"HTTP/1.1 500 Oh\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")

    with planted(heard) as address:
        for protocol in ("ray-http", "torchserve-http", "oip-http", "tfs-rest"):
            assert jvm.ask(dataclasses.replace(address, protocol=protocol))["kind"] == "server"
    assert seen == [b"/m", b"/predictions/m", b"/v2/models/m/infer", b"/v1/models/m:predict"]


@pytest.mark.parametrize(("manner", "kind"), WRONG)
def test_a_call_that_goes_wrong_says_how(jvm: Jvm, manner: Manner, kind: str) -> None:
    with planted(manner) as address:
        found = jvm.ask(address, timeout_s=0.3 if kind == "timeout" else 30.0)
        assert found["kind"] == kind, found
        assert found["expired"] == (kind == "timeout")
        assert found["counts"] == {"calls": 1, kind: 1}


@pytest.mark.parametrize("body", [b"{}", b"[1]", b"nothing", b'{"outputs": []}', b'{"outputs": [{"data": ["x"]}]}'])
def test_an_inference_answer_without_an_output_is_none(jvm: Jvm, body: bytes) -> None:
    with planted(says(ok(body))) as address:
        assert jvm.ask(dataclasses.replace(address, protocol="oip-http"))["kind"] == "answer"


def test_nobody_listening_is_a_connection_error(jvm: Jvm) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        host, port = held.getsockname()
        for protocol in PROTOCOLS:
            found = jvm.ask(Address(protocol, host, port, "m", (3,)))
            assert found["kind"] == "connection", (protocol, found)


def test_a_server_that_says_nothing_is_late_over_grpc(jvm: Jvm) -> None:
    def silent(link: Any, _number: int) -> None:
        while link.recv(1 << 16):
            pass

    with planted(silent) as address:
        found = jvm.ask(dataclasses.replace(address, protocol="oip-grpc"), timeout_s=0.5, retries=1)
    assert found["expired"]
    assert found["counts"] == {"calls": 2, "timeout": 2, "retried": 1}


def test_a_kept_connection_that_the_server_closed_is_opened_again(jvm: Jvm) -> None:
    def once(link: Any, _number: int) -> None:
        link.sendall(ok(request(link)))

    with planted(once) as address:
        assert jvm.ask(address, times=20)["counts"] == {"calls": 20, "answered": 20}


def test_chunks_are_read(jvm: Jvm) -> None:
    body = X.tobytes()
    parts = b"%x;a=b\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (5, body[:5], len(body) - 5, body[5:])
    with planted(says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + parts)) as address:
        assert np.array_equal(jvm.ask(address)["scores"], X)


def test_a_failed_call_is_made_again_as_often_as_asked(jvm: Jvm) -> None:
    refuses = says(b"HTTP/1.1 500 Oh\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    with planted(refuses, refuses, echo) as address:
        found = jvm.ask(address, retries=2)
        assert np.array_equal(found["scores"], X)
        assert found["counts"] == {"calls": 3, "answered": 1, "retried": 2, "server": 2}
    with planted(refuses, hang) as address:  # the last failure is the record's
        found = jvm.ask(address, timeout_s=4.0, retries=1)
        assert found["expired"]
        assert found["counts"] == {"calls": 2, "retried": 1, "server": 1, "timeout": 1}
    with planted(says(ok(b"123"))) as address:  # an answer that is none is not asked for again
        assert jvm.ask(address, retries=5)["counts"] == {"calls": 1, "answer": 1}


def test_several_questions_are_open_at_once(jvm: Jvm) -> None:
    lock, gate, open_now = threading.Lock(), threading.Event(), [0]

    def waits(link: Any, _number: int) -> None:
        while True:
            body = request(link)
            with lock:
                open_now[0] += 1
                if open_now[0] == 8:
                    gate.set()
            assert gate.wait(60)
            link.sendall(ok(body))

    with planted(waits) as address:
        assert jvm.ask(address, times=8, open=True, timeout_s=90.0)["counts"] == {"calls": 8, "answered": 8}
