"""The front of our own server: one process that listens, queues and batches, beside as many workers as asked for.

    python -m real.servers.own.front CONFIG

It reports `ready` with its ports once every worker can score, and ends with the harness; a worker that ends takes it
along, so that nobody waits for an answer that cannot come.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from typing import Any

from control.batching import Rules
from real.child import Child, main, settle
from real.loop import in_loop
from real.servers.own.dispatch import Dispatcher
from real.servers.own.http import Session
from real.wire import Slots


class Front:
    """What the protocols see.

    Attributes:
        model: The name it is served under.
        protocols: What is spoken.
        dispatcher: Where requests go.
        version: Of the server.
    """

    def __init__(self, child: Child) -> None:
        from models.zoo import model
        from scenarios.spec import Model

        config = child.config
        self._child = child
        self.model, self.protocols, self.version = config["served_as"], config["protocols"], config["version"]
        definition = model(Model(**config["model"]))
        slots = Slots(config["slots"], config["slot_count"]).values
        width = definition.values if definition.scored else None
        self._over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.dispatcher = Dispatcher(Rules(**config["rules"]), config["cache_bytes"], width, slots, self._fail)
        self._workers: list[subprocess.Popen[bytes]] = []

    async def serve(self) -> None:
        """Its life."""
        loop = asyncio.get_running_loop()
        await self.dispatcher.connect([self._worker() for _ in range(self._child.config["workers"])])
        ports: dict[str, int] = dict(self._child.config.get("ports", {}))  # of one that comes back; else free ones
        if any(word in self.protocols for word in ("oip-http", "tfs-rest")):
            server = await loop.create_server(lambda: Session(self), "127.0.0.1", ports.get("http", 0), backlog=1024)
            ports["http"] = server.sockets[0].getsockname()[1]
        if any(word in self.protocols for word in ("oip-grpc", "tfs-grpc")):
            from real.servers.own.grpc import listen

            self._grpc, ports["grpc"] = await listen(self, ports.get("grpc", 0))
        settle()
        self._child.say("ready", ports=ports)
        stopping: asyncio.Future[Any] = loop.run_in_executor(None, self._child.stopping.wait)
        over: asyncio.Future[Any] = self._over
        await asyncio.wait([stopping, over], return_when=asyncio.FIRST_COMPLETED)
        if self._over.done() and not stopping.done():
            print(self._over.result(), file=sys.stderr, flush=True)
            os._exit(1)  # the executor still waits for the end that came from elsewhere
        self._child.say("done")

    def _worker(self) -> socket.socket:
        """Starts one; it ends when this end of the pair does."""
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "real.servers.own.worker", sys.argv[1], str(theirs.fileno())]
            self._workers.append(
                subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=sys.stderr)
            )
        ours.setblocking(False)
        return ours

    def _fail(self, words: str) -> None:
        if not self._over.done():
            codes = [p.wait() for p in self._workers if p.poll() is not None]
            self._over.set_result(f"{words}{f' with exit code {codes[0]}' if codes else ''}")


def _body(child: Child) -> None:
    async def life() -> None:
        await Front(child).serve()

    in_loop(life)


if __name__ == "__main__":
    main(_body)
