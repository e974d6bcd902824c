"""TorchServe: Java in front, a Python worker process a model instance, TorchScript in torch.

Each start has folders of its own for temporary files and logs: the number of a process that a killed TorchServe leaves
in its temporary folder would keep the next one from starting.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from real.processes import Supervisor
from real.servers.base import (
    READY_S,
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
from real.servers.probe import http_json
from real.servers.protocols.base import Address

_RESPONSE_S = 300  # of a worker, then TorchServe ends it: a call's own limit is the client's
_BODY_MOST = 1 << 28
#: Warnings only, on stderr: by default several lines a request go to files.
_LOGS = """<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="WARN">
  <Appenders>
    <Console name="stderr" target="SYSTEM_ERR"><PatternLayout pattern="%d{ISO8601} %p %c - %m%n"/></Console>
  </Appenders>
  <Loggers>
    <Logger name="ACCESS_LOG" level="off"/>
    <Logger name="TS_METRICS" level="off"/>
    <Logger name="MODEL_METRICS" level="off"/>
    <Root level="warn"><AppenderRef ref="stderr"/></Root>
  </Loggers>
</Configuration>
"""
_HANDLER = "from real.servers.hosts.torchserve_handler import handle\n\n__all__ = ['handle']\n"


class TorchServe(Server):
    """See the module."""

    word = "torchserve"
    title = "TorchServe"
    protocols: Sequence[str] = ("torchserve-http", "torchserve-grpc")
    extra = "torchserve"
    module = "ts"
    package = "torchserve"

    def missing(self) -> str | None:
        """See `Server.missing`."""
        if shutil.which("java") is None:
            return "TorchServe needs Java (17), and there is no java in PATH"
        # PyYAML is undeclared there: without it workers crash for ever.
        found = (self.environment.lacks(module, self.extra) for module in ("ts", "torch", "yaml"))
        return next((line for line in found if line is not None), None)

    def start(self, ask: Ask, supervisor: Supervisor, say: Say) -> Running:
        """See `Server.start`."""
        from models.zoo import model

        mark = new_mark(supervisor)
        directory = folder(supervisor, mark)
        http, management, metrics, grpc, grpc_management = free_ports(5)
        _archive(directory / "store" / SERVED_AS, ask)
        (directory / "log4j2.xml").write_text(_LOGS)
        local = "http://127.0.0.1"
        properties = {
            "inference_address": f"{local}:{http}",
            "management_address": f"{local}:{management}",
            "metrics_address": f"{local}:{metrics}",
            "grpc_inference_address": "127.0.0.1",
            "grpc_inference_port": grpc,
            "grpc_management_address": "127.0.0.1",
            "grpc_management_port": grpc_management,
            "number_of_gpu": 0,
            "disable_system_metrics": "true",
            "enable_envvars_config": "false",
            "max_request_size": _BODY_MOST,
            "max_response_size": _BODY_MOST,
            "job_queue_size": 10_000,
            "load_models": SERVED_AS,
        }
        (directory / "config.properties").write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
        command = [
            *("env", "-C", str(directory), self.environment.python, "-m", "ts.model_server"),
            *("--start", "--foreground", "--ncs", "--disable-token-auth", "--model-store", str(directory / "store")),
            *("--ts-config", str(directory / "config.properties"), "--log-config", str(directory / "log4j2.xml")),
        ]
        places = dict.fromkeys(("TEMP", "LOG_LOCATION", "METRICS_LOCATION"), str(directory))
        say("starting TorchServe")
        process = supervisor.spawn("server", command, env={**child_environment(mark, directory), **places})
        wait_ready(supervisor, process, mark, lambda: _ready(http, management, ask.workers), "TorchServe")
        shape = model(ask.model).input_shape
        addresses = {
            word: Address(word, "127.0.0.1", port, SERVED_AS, shape)
            for word, port in zip(self.protocols, (http, grpc), strict=True)
        }
        return Running(supervisor, process, mark, addresses, None)


def _archive(directory: Path, ask: Ask) -> None:
    """A model's folder as TorchServe reads it, not packed."""
    (directory / "MAR-INF").mkdir(parents=True)
    model = {"modelName": SERVED_AS, "modelVersion": "1.0", "handler": "handler.py", "configFile": "model-config.yaml"}
    manifest = {"runtime": "python", "model": model, "archiverVersion": "0.12.0"}
    (directory / "MAR-INF" / "MANIFEST.json").write_text(json.dumps(manifest))
    (directory / "handler.py").write_text(_HANDLER)
    (directory / "weir.json").write_text(json.dumps(ask.config()))
    settings = {
        "minWorkers": ask.workers,
        "maxWorkers": ask.workers,
        "batchSize": ask.rules.most,
        "maxBatchDelay": max(1, round(ask.rules.wait_ns / 1e6)),  # whole milliseconds
        "responseTimeout": _RESPONSE_S,
        "startupTimeout": int(READY_S),
    }
    (directory / "model-config.yaml").write_text(json.dumps(settings))  # YAML reads JSON


def _ready(http: int, management: int, workers: int) -> bool:
    """Whether it says that it is healthy, and every worker that it has loaded the model."""
    ping = http_json(http, "/ping")
    if not isinstance(ping, dict) or ping.get("status") != "Healthy":
        return False
    found = http_json(management, f"/models/{SERVED_AS}")
    states = [w.get("status") for w in found[0].get("workers", [])] if isinstance(found, list) and found else []
    return states.count("READY") >= workers


SERVER = TorchServe()
