"""Starting a server whose process is one of ours: it reports its ports when it is ready."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from real.processes import Supervisor
from real.servers.base import (
    SERVED_AS,
    Ask,
    Running,
    Server,
    child_environment,
    folder,
    new_mark,
    wait_ready,
)
from real.servers.protocols.base import Address


def start_ours(
    server: Server,
    module: str,
    ask: Ask,
    supervisor: Supervisor,
    more: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Running:
    """Starts `python -m module CONFIG`, a `real.child`, in the server's own Python; returns when it is ready.

    Args:
        server: Whose it is.
        module: Of the process.
        ask: What is served.
        supervisor: Answers for it.
        more: For its configuration, beside `Ask.config()` and its folder (`place`).
        environment: For its environment.

    Raises:
        HarnessError: It does not start.
    """
    from models.zoo import model

    mark = new_mark(supervisor)
    place = folder(supervisor, mark)
    config = {**ask.config(), "place": str(place), **(more or {})}
    command = [server.environment.python, "-m", module]
    variables = {**child_environment(mark, place), **(environment or {})}
    process = supervisor.talking("server", command, config, variables)
    ready = wait_ready(supervisor, process, mark, lambda: process.take("ready"), server.word)
    shape = model(ask.model).input_shape
    addresses = {
        word: Address(word, "127.0.0.1", ready["ports"][word], SERVED_AS, shape, binary=word in ready.get("binary", ()))
        for word in server.protocols
    }
    return Running(supervisor, process, mark, addresses, None)
