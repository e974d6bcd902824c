"""MLServer: the Open Inference Protocol v2, a runtime class of ours around a scorer."""

from __future__ import annotations

import json
from collections.abc import Sequence

from real.processes import Supervisor
from real.servers.base import (
    SERVED_AS,
    Ask,
    Running,
    Say,
    Server,
    child_environment,
    folder,
    free_ports,
    new_mark,
    wait_ready,
)
from real.servers.probe import http_ok
from real.servers.protocols.base import Address


class MLServer(Server):
    """See the module."""

    word = "mlserver"
    title = "MLServer, Open Inference Protocol v2"
    protocols: Sequence[str] = ("oip-http", "oip-grpc")
    extra = "mlserver"
    module = "mlserver"
    package = "mlserver"

    def start(self, ask: Ask, supervisor: Supervisor, say: Say) -> Running:
        """See `Server.start`."""
        from models.zoo import model

        mark = new_mark(supervisor)
        directory = folder(supervisor, mark)
        http, grpc, metrics = free_ports(3)
        settings = {
            "host": "127.0.0.1",
            "http_port": http,
            "grpc_port": grpc,
            "metrics_port": metrics,
            "debug": False,
            "gzip_enabled": False,
            "metrics_endpoint": None,
            "grpc_max_message_length": -1,
            "metrics_dir": str(directory / "metrics"),
            "environments_dir": str(directory / "environments"),
            # One worker lives in the server's own process; with several it sends them what it reads.
            "parallel_workers": 0 if ask.workers == 1 else ask.workers,
            "logging_settings": _LOGS,
        }
        (directory / "settings.json").write_text(json.dumps(settings))
        served = {
            "name": SERVED_AS,
            "implementation": "real.servers.hosts.mlserver_model.Scoring",
            "max_batch_size": ask.rules.most if ask.rules.most > 1 else 0,
            # Without a time to wait it does not batch at all.
            "max_batch_time": max(1e-6, ask.rules.wait_ns / 1e9) if ask.rules.most > 1 else 0,
            "parameters": {"extra": ask.config()},
        }
        (directory / "model-settings.json").write_text(json.dumps(served))
        say("starting MLServer")
        command = [self.environment.program("mlserver"), "start", str(directory)]
        process = supervisor.spawn("server", command, env=child_environment(mark, directory))
        ready = f"/v2/models/{SERVED_AS}/ready"
        wait_ready(supervisor, process, mark, lambda: http_ok(http, ready), "MLServer")
        shape = model(ask.model).input_shape
        addresses = {
            word: Address(word, "127.0.0.1", port, SERVED_AS, shape)
            for word, port in zip(self.protocols, (http, grpc), strict=True)
        }
        return Running(supervisor, process, mark, addresses, None)


#: Warnings only: by default it writes a line for each request.
_LOGS = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "root": {"level": "WARNING", "handlers": ["stderr"]},
    "loggers": {name: {"level": "WARNING"} for name in ("mlserver", "uvicorn.access", "uvicorn", "mlserver.grpc")},
}

SERVER = MLServer()
