"""The queryable state of an instance, over HTTP: what serves each type of record now, and how it was used.  Read-only.

Own paths: `/v1/state` (everything, times in nanoseconds), `/v1/state/{type}`, `/v1/instances`, `/metrics` (Prometheus).

Those of Lightbend's model servers, with their fields and units (`since` epoch milliseconds, times in milliseconds):
`/stats`, `/state`, `/state/{type}`, `/models`, `/processors`, `/state/instances`, `/state/instances/{store}`,
`/state/{store}/value`, `/state/value`.  Their milliseconds are whole numbers, so that what answers faster reads 0; here
they have decimals.  Where they tell one model, it is the type's that began last.

It listens on loopback unless told otherwise; on any other address every request must carry a token.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson

from real.errors import RefusedError

ADDRESS_VARIABLE, TOKEN_VARIABLE = "WEIR_STATE_ADDRESS", "WEIR_STATE_TOKEN"
STORE = "modelStore"
_MS_NS = 1e6
Told = Callable[[], dict[str, Any]]


def configured_address(index: int) -> tuple[str, int, str | None]:
    """Host, port (0: any that is free) and token of an instance, from the environment.

    `WEIR_STATE_ADDRESS` is `host:port`; instance i takes port + i.

    Raises:
        RefusedError: It is no address.
    """
    text = os.environ.get(ADDRESS_VARIABLE, "127.0.0.1:0")
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) + index > 65535:
        raise RefusedError(ADDRESS_VARIABLE, f"{text!r} is no host:port")
    number = int(port)
    return host.strip("[]"), number + index if number else 0, os.environ.get(TOKEN_VARIABLE) or None


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_address(host: str, token: str | None) -> None:
    """Refuses to be reached from elsewhere without a token.

    Raises:
        RefusedError: It would be.
    """
    if token is None and not is_loopback(host):
        raise RefusedError(ADDRESS_VARIABLE, f"{host} can be reached from elsewhere: set {TOKEN_VARIABLE} too")


class StateServer:
    """Answers while it is open.

    Attributes:
        host: Address it listens on.
        port: Port it listens on.
    """

    def __init__(self, told: Told, instances: Path, host: str = "127.0.0.1", port: int = 0, token: str | None = None):
        """Listens, in threads of its own.

        Args:
            told: What there is to tell (`Serving.told`).
            instances: Folder in which each instance of the run leaves its address.
            host: Address to listen on.
            port: Port to listen on; 0: any that is free.
            token: That requests must carry (`Authorization: Bearer ...`); None: none.

        Raises:
            RefusedError: An address beyond loopback without a token, or one that cannot be listened on.
        """
        check_address(host, token)
        self._told, self._instances = told, instances
        self._token = None if token is None else token.encode()
        handler = type("Handler", (_Handler,), {"state": self})
        try:
            self._server = _Server((host, port), handler)
        except OSError as error:
            raise RefusedError(ADDRESS_VARIABLE, f"{host}:{port} cannot be listened on: {error}") from None
        self.host, self.port = host, int(self._server.server_address[1])
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="state", daemon=True).start()
        self._announce()

    def _announce(self) -> None:
        name = f"{self._told()['instance']:05d}.json"
        about = {"host": self.host, "port": self.port, "storeNames": [STORE]}
        beside = self._instances / f".{name}"
        beside.write_bytes(orjson.dumps(about))
        beside.replace(self._instances / name)

    def close(self) -> None:
        """Stops answering."""
        self._server.shutdown()
        self._server.server_close()

    def allows(self, header: str | None) -> bool:
        """Whether a request's `Authorization` will do."""
        if self._token is None:
            return True
        return hmac.compare_digest((header or "").encode(), b"Bearer " + self._token)

    def answer(self, path: str) -> tuple[str, bytes] | None:
        """Content type and body of a path; None where there is nothing."""
        words = [unquote(word) for word in path.strip("/").split("/")]
        told = self._told()
        if words == ["metrics"]:
            return _metrics(told)
        found = self._json(words, told)
        return None if found is None else ("application/json", orjson.dumps(found))

    def _json(self, words: list[str], told: dict[str, Any]) -> Any:
        types: Mapping[str, Any] = told["types"]
        match words:
            case ["v1", "state"]:
                return told
            case ["v1", "state", kind]:
                return types.get(kind)
            case ["v1", "instances"] | ["state", "instances"]:
                return self._listed()
            case ["state", "instances", store]:
                return self._listed() if store == STORE else []
            case ["stats"] | ["state"]:
                return _one(_latest(types), "modelType", "usage")
            case ["state", "value"] | ["state", "modelStore" | "modelstore", "value"]:
                return _one(_latest(types), None, "invocations")
            case ["state", kind]:
                return _one(types[kind], "modelType", "usage") if kind in types else None
            case ["models"] | ["processors"]:
                return {"models": sorted(types)} if words == ["processors"] else sorted(types)
        return None

    def _listed(self) -> list[Any]:
        found = []
        for path in sorted(self._instances.glob("[0-9]*.json")):
            try:
                found.append(orjson.loads(path.read_bytes()))
            except (OSError, orjson.JSONDecodeError):
                continue  # of an instance that begins just now
        return found


def _latest(types: Mapping[str, Any]) -> Mapping[str, Any]:
    return max(types.values(), key=lambda each: each["since"], default={})


def _one(model: Mapping[str, Any], kind: str | None, usage: str) -> dict[str, Any]:
    """A model as Lightbend's servers tell it."""
    nobody = {"name": "None", "description": "None", "format": "None", "since": 0, "usage": 0}
    model = model or {**nobody, "total_ns": 0, "min_ns": 0, "max_ns": 0}
    return {
        "name": model["name"],
        "description": model["description"],
        **({kind: model["format"]} if kind else {}),
        "since": model["since"],
        usage: model["usage"],
        "duration": model["total_ns"] / _MS_NS,
        "min": model["min_ns"] / _MS_NS,
        "max": model["max_ns"] / _MS_NS,
    }


def _metrics(told: dict[str, Any]) -> tuple[str, bytes]:
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(told))
    return CONTENT_TYPE_LATEST, generate_latest(registry)


COUNTERS = {
    "models_received": "Model messages read.",
    "loaded": "Models loaded.",
    "load_failures": "Models not taken: corrupt, of unknown format, missing.",
    "superseded": "Models that another replaced before a record came.",
    "swaps": "Models that took over.",
    "dropped_no_model": "Records of a type that had no model.",
    "bad": "Records that cannot be parsed.",
    "records": "Records handled.",
    "changelog_bytes": "Bytes of state written to the changelog.",
    "restored": "Models that a restart brought back.",
}


class _Collector:
    """What is told, as Prometheus' families."""

    def __init__(self, told: dict[str, Any]) -> None:
        self._told = told

    def collect(self) -> Any:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        instance = str(self._told["instance"])
        for key, words in COUNTERS.items():
            if key in self._told:
                family = CounterMetricFamily(f"weir_{key}", words, labels=["instance"])
                family.add_metric([instance], self._told[key])
                yield family
        labels = ["instance", "type", "model"]
        usage = CounterMetricFamily("weir_model_usage", "Records the current model scored.", labels=labels)
        seconds = CounterMetricFamily("weir_model_score_seconds", "Time the current model scored.", labels=labels)
        gauges = {
            "since": GaugeMetricFamily("weir_model_since_seconds", "When it took over, epoch.", labels=labels),
            "version": GaugeMetricFamily("weir_model_version", "Its version.", labels=labels),
            "min_ns": GaugeMetricFamily("weir_model_score_min_seconds", "Its shortest score.", labels=labels),
            "max_ns": GaugeMetricFamily("weir_model_score_max_seconds", "Its longest score.", labels=labels),
        }
        unit = {"since": 1e-3, "version": 1, "min_ns": 1e-9, "max_ns": 1e-9}
        for kind, model in self._told["types"].items():
            names = [instance, kind, model["name"]]
            usage.add_metric(names, model["usage"])
            seconds.add_metric(names, model["total_ns"] / 1e9)
            for key, gauge in gauges.items():
                gauge.add_metric(names, model[key] * unit[key])
        yield usage
        yield seconds
        yield from gauges.values()


class _Server(ThreadingHTTPServer):
    allow_reuse_address = True

    def handle_error(self, _request: Any, _client: Any) -> None:
        """A client that went away is no matter of ours."""


class _Handler(BaseHTTPRequestHandler):
    state: StateServer
    protocol_version = "HTTP/1.1"
    timeout = 10

    def do_GET(self) -> None:
        """Answers."""
        self._answer(body=True)

    def do_HEAD(self) -> None:
        """Answers without the answer."""
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        if not self.state.allows(self.headers.get("Authorization")):
            self._send(HTTPStatus.UNAUTHORIZED, "application/json", b'{"error":"a token is needed"}', body)
            return
        found = self.state.answer(urlsplit(self.path).path)
        if found is None:
            self._send(HTTPStatus.NOT_FOUND, "application/json", b'{"error":"nothing here"}', body)
        else:
            self._send(HTTPStatus.OK, *found, body)

    def _refused(self) -> None:
        self.close_connection = True  # what it may carry is not read
        self._send(HTTPStatus.METHOD_NOT_ALLOWED, "application/json", b'{"error":"the state is read-only"}', True)

    do_POST = do_PUT = do_DELETE = do_PATCH = _refused  # noqa: N815 - names of the base class

    def _send(self, status: HTTPStatus, kind: str, data: bytes, body: bool) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, format: str, *_args: Any) -> None:  # noqa: A002 - the base class' name
        """Requests are not told on stderr, which is for last words."""
