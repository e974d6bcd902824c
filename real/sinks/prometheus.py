"""Points for Prometheus: the newest value of each series, told on `/metrics` to whoever scrapes it."""

from __future__ import annotations

import hmac
import os
import re
import threading
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

from real.errors import RefusedError
from real.sinks.base import Sink
from real.sinks.points import Point

TOKEN_VARIABLE = "WEIR_METRICS_TOKEN"
DEFAULT_PORT = 9464
_ODD = re.compile(r"[^a-zA-Z0-9_]")
#: Series beyond this are not kept: each is memory, here and in Prometheus.
MOST_SERIES = 10_000
_Key = tuple[str, tuple[tuple[str, str], ...]]


class PrometheusSink(Sink):
    """See the module.

    Attributes:
        host: Address it listens on.
        port: Its port.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, token: str | None = None) -> None:
        """Listens, in threads of its own.

        Raises:
            RefusedError: It cannot, or could be reached from elsewhere without a token.
        """
        from real.model_stream.state_http import is_loopback

        super().__init__()
        if token is None and not is_loopback(host):
            raise RefusedError("--metrics", f"{host} can be reached from elsewhere: set {TOKEN_VARIABLE} too")
        self._token = None if token is None else token.encode()
        self._series: dict[_Key, float] = {}
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"sink": self})
        try:
            self._server = _Server((host, port), handler)
        except OSError as error:
            raise RefusedError("--metrics", f"{host}:{port} cannot be listened on: {error.strerror}") from None
        self._server.daemon_threads = True
        self.host, self.port = host, int(self._server.server_address[1])
        self.where = f"http://{f'[{host}]' if ':' in host else host}:{self.port}/metrics"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="metrics", daemon=True)
        self._thread.start()

    @classmethod
    def asked(cls, text: str) -> Self:
        """From `prometheus://[HOST][:PORT]`; port 0 is any that is free."""
        parts = urlsplit(text)
        try:
            port = DEFAULT_PORT if parts.port is None else parts.port
        except ValueError:
            raise RefusedError("--metrics", f"{text!r}: no port; prometheus://HOST:PORT") from None
        if parts.path.strip("/") or parts.query or parts.username is not None:
            raise RefusedError("--metrics", f"{text!r} is not prometheus://HOST:PORT")
        return cls(parts.hostname or "127.0.0.1", port, os.environ.get(TOKEN_VARIABLE) or None)

    def put(self, points: Sequence[Point]) -> None:
        """See `Sink.put`; of text there is no series."""
        with self._lock:
            for point in points:
                tags = tuple(sorted((_ODD.sub("_", key), value) for key, value in point.tags.items()))
                for name, value in point.fields.items():
                    if isinstance(value, str):
                        continue
                    key = (_ODD.sub("_", f"{point.measurement}_{name}"), tags)
                    if key in self._series or len(self._series) < MOST_SERIES:
                        self._series[key] = float(value)
                        self.sent += 1
                    else:
                        self.lost += 1

    def forget(self, measurement: str) -> None:
        """Drops the series of a measurement: what is not told again is no more."""
        with self._lock:
            for key in [key for key in self._series if key[0].startswith(f"{measurement}_")]:
                del self._series[key]

    def text(self) -> tuple[str, bytes]:
        """Content type and body of what is scraped."""
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

        with self._lock:
            series = dict(self._series)
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collector(series))
        return CONTENT_TYPE_LATEST, generate_latest(registry)

    def allows(self, header: str | None) -> bool:
        """Whether a request with this Authorization will do."""
        return self._token is None or hmac.compare_digest((header or "").encode(), b"Bearer " + self._token)

    def close(self) -> None:
        """See `Sink.close`."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Collector:
    """Series as Prometheus' families."""

    def __init__(self, series: dict[_Key, float]) -> None:
        self._series = series

    def collect(self) -> Any:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        families: dict[tuple[str, tuple[str, ...]], Any] = {}
        for (name, tags), value in self._series.items():
            labels = tuple(key for key, _ in tags)
            family = families.get((name, labels))
            if family is None:
                kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
                words = name.removesuffix("_total").replace("_", " ")
                family = families[name, labels] = kind(name, words, labels=labels)
            family.add_metric([text for _, text in tags], value)
        return families.values()


class _Server(ThreadingHTTPServer):
    allow_reuse_address = True

    def handle_error(self, _request: Any, _client: Any) -> None:
        """A client that went away is no matter of ours."""


class _Handler(BaseHTTPRequestHandler):
    sink: PrometheusSink
    protocol_version = "HTTP/1.1"
    timeout = 10

    def do_GET(self) -> None:
        """Answers."""
        if not self.sink.allows(self.headers.get("Authorization")):
            self._send(HTTPStatus.UNAUTHORIZED, "text/plain", b"a token is needed\n")
        elif urlsplit(self.path).path != "/metrics":
            self._send(HTTPStatus.NOT_FOUND, "text/plain", b"/metrics\n")
        else:
            self._send(HTTPStatus.OK, *self.sink.text())

    def _send(self, status: HTTPStatus, kind: str, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *_args: Any) -> None:  # noqa: A002 - the base class' name
        """Requests are not told on stderr, which is for last words."""
