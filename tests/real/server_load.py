"""A load that costs its sender next to nothing: requests written one after the other on a few connections."""

from __future__ import annotations

import select
import socket
import threading

import orjson

from real.servers.protocols.base import Address


class Pipelined:
    """Keeps a number of requests under way on each of several connections of a server's HTTP."""

    def __init__(self, address: Address, connections: int, under_way: int) -> None:
        tensor = {"name": "input", "shape": [1, 1], "datatype": "FP32", "data": [0.5]}
        body = orjson.dumps({"inputs": [tensor]})
        head = f"POST /v2/models/{address.model}/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        self._request = head.encode() + body
        self._under_way = under_way
        self._sockets = [socket.create_connection((address.host, address.port)) for _ in range(connections)]
        self._stopping = threading.Event()
        self.answers = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Pipelined:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        for each in self._sockets:
            each.close()

    def _run(self) -> None:
        waiting = dict.fromkeys(self._sockets, b"")
        for each in self._sockets:
            each.sendall(self._request * self._under_way)
        while not self._stopping.is_set():
            for ready in select.select(self._sockets, [], [], 0.1)[0]:
                data = waiting[ready] + ready.recv(1 << 18)
                *whole, waiting[ready] = data.split(b"HTTP/1.1 ")
                answers = sum(1 for part in whole if part)  # the last one may not be whole: it counts with the next
                assert all(part.startswith(b"200 ") for part in whole if part), whole[:1]
                waiting[ready] = b"HTTP/1.1 " + waiting[ready]
                if answers:
                    self.answers += answers
                    ready.sendall(self._request * answers)
