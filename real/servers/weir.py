"""Our own model server: batched and cached by the very objects that the simulator compiles."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from importlib import metadata

from real.processes import Supervisor
from real.servers.base import (
    SERVED_AS,
    Ask,
    Running,
    Say,
    Server,
    child_environment,
    folder,
    new_mark,
    wait_ready,
)
from real.servers.counts import Served
from real.servers.protocols.base import Address
from real.wire import Slots

_HTTP, _GRPC = ("oip-http", "tfs-rest"), ("oip-grpc", "tfs-grpc")


class Own(Server):
    """See the module."""

    word = "weir"
    title = "our own, Open Inference Protocol v2"
    protocols: Sequence[str] = ("oip-http", "oip-grpc")
    package = "weir"
    learns = True
    comes_back = True

    def version(self) -> str:
        """See `Server.version`; the project's own."""
        try:
            return metadata.version("weir")
        except metadata.PackageNotFoundError:
            return "source"  # not installed: run from its folder

    def start(self, ask: Ask, supervisor: Supervisor, say: Say) -> Running:
        """See `Server.start`."""
        from models.zoo import model

        mark = new_mark(supervisor)
        directory = folder(supervisor, mark)
        slots = Slots(directory / "server.slots", Served.SIZE, create=True)
        config = {
            **ask.config(),
            "rules": dataclasses.asdict(ask.rules),
            "cache_bytes": ask.cache_bytes,
            "protocols": list(self.protocols),
            "slots": str(directory / "server.slots"),
            "slot_count": int(Served.SIZE),
            "version": self.version(),
        }
        say(f"starting the server {self.word}")
        command = [self.environment.python, "-m", "real.servers.own.front"]
        environment = child_environment(mark, directory)
        process = supervisor.talking("server", command, config, environment)
        ready = wait_ready(supervisor, process, mark, lambda: process.take("ready"), self.word)
        shape = model(ask.model).input_shape
        addresses = {}
        for word in self.protocols:
            port = ready["ports"]["http" if word in _HTTP else "grpc"]
            addresses[word] = Address(word, "127.0.0.1", port, SERVED_AS, shape, binary=word == "oip-http")
        running = Running(supervisor, process, mark, addresses, slots)
        there = {**config, "ports": ready["ports"]}
        running.again = lambda: supervisor.talking("server", command, there, environment)
        return running


SERVER = Own()
