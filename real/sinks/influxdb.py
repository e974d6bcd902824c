"""Points to InfluxDB 1.x (or what speaks its HTTP interface), in batches: 2,000 points or 100 ms, whichever is first.

Database and retention policy are made if they are absent; one that is there is taken as it is.  A thread of its own
sends; what it cannot deliver is tried again and, beyond a bound or at the end, counted as lost.
"""

from __future__ import annotations

import base64
import json
import os
import re
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from real.errors import RefusedError
from real.sinks.base import Sink
from real.sinks.points import Point, line

BATCH_POINTS, BATCH_S = 2_000, 0.1
#: Points that wait while the server does not answer.
HELD_POINTS = 200_000
_ANSWER_S, _AGAIN_S, _CLOSE_S = 5.0, 0.5, 10.0
_DURATION = re.compile(r"(\d+(ns|u|ms|s|m|h|d|w))+|inf", re.IGNORECASE)
USER_VARIABLE, PASSWORD_VARIABLE = "INFLUXDB_USER", "INFLUXDB_PASSWORD"


@dataclass(frozen=True)
class Target:
    """Where to.

    Attributes:
        url: `http://host:port`.
        database: Its name.
        retention: Name of the retention policy.
        duration: How long it keeps, if it is made.
        shard: Length of its shards, if it is made.
        grafana: `http://host:port` of a Grafana that is to show it; None: none.
    """

    url: str
    database: str = "serving"
    retention: str = "default"
    duration: str = "1d"
    shard: str = "30m"
    grafana: str | None = None


def target(text: str) -> Target:
    """From `influxdb://HOST[:PORT][/DATABASE][?retention=..&duration=..&shard=..&grafana=http://..]`.

    Raises:
        RefusedError: It is not of that form.
    """
    parts = urlsplit(text)
    form = "influxdb://HOST[:PORT][/DATABASE][?retention=NAME&duration=1d&shard=30m&grafana=http://HOST:PORT]"
    try:
        port = parts.port or 8086
    except ValueError:
        raise RefusedError("--metrics", f"{text!r}: no port; {form}") from None
    if not parts.hostname or parts.username is not None:
        raise RefusedError("--metrics", f"{text!r} is not {form}; user and password: {USER_VARIABLE} and so on")
    asked = {key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
    unknown = sorted(asked.keys() - {"retention", "duration", "shard", "grafana"})
    if unknown or not all(asked.values()):
        raise RefusedError("--metrics", f"{text!r}: {', '.join(unknown) or 'an empty value'}; {form}")
    for key in ("duration", "shard"):
        if key in asked and not _DURATION.fullmatch(asked[key]):
            raise RefusedError("--metrics", f"{key}: {asked[key]!r} is no duration such as 30m, 12h, 1d, inf")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    database = parts.path.strip("/")
    return Target(f"http://{host}:{port}", **({"database": database} if database else {}), **asked)


def from_environment() -> list[str]:
    """What Lightbend's names ask for, as `--metrics` would; nothing without `INFLUXDB_HOST`.

    Raises:
        RefusedError: A port is none.
    """
    addresses = {}
    for name, port in (("INFLUXDB", "8086"), ("GRAFANA", "3000")):
        host = os.environ.get(f"{name}_HOST", "").removeprefix("http://").rstrip("/")
        given = os.environ.get(f"{name}_PORT") or port
        if host and not given.isdigit():
            raise RefusedError(f"{name}_PORT", f"{given!r} is no port")
        if host:
            addresses[name] = f"{host}:{given}"
    if "INFLUXDB" not in addresses:
        return []
    shown = f"?grafana=http://{addresses['GRAFANA']}" if "GRAFANA" in addresses else ""
    return [f"influxdb://{addresses['INFLUXDB']}/serving{shown}"]


class InfluxSink(Sink):
    """See the module."""

    def __init__(self, where: Target) -> None:
        """Makes what is absent, and begins.

        Raises:
            RefusedError: The server does not answer, or refuses.
        """
        super().__init__()
        self.where = f"{where.url}, database {where.database}"
        self._target = where
        #: What was made: `database`, `retention`.
        self.made: list[str] = []
        self._headers = _authorization()
        self._prepare()
        self._held: deque[str] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._deliver, name="influxdb", daemon=True)
        self._thread.start()

    @classmethod
    def asked(cls, text: str) -> Self:
        """From its text, `target`'s; a Grafana that it names gets data source and dashboard."""
        where = target(text)
        sink = cls(where)
        if where.grafana is not None:
            from real.sinks.grafana import show

            try:
                show(where.grafana, where.url, where.database)
            except RefusedError:
                sink.close()
                raise
        return sink

    def put(self, points: Sequence[Point]) -> None:
        """See `Sink.put`."""
        lines = [text for text in map(line, points) if text is not None]
        with self._changed:
            self._held.extend(lines)
            while len(self._held) > HELD_POINTS:
                self._held.popleft()
                self.lost += 1
            self._changed.notify()

    def close(self) -> None:
        """See `Sink.close`."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(_CLOSE_S + _ANSWER_S)
        with self._changed:
            self.lost += len(self._held)
            self._held.clear()

    # -- the sending thread -------------------------------------------------------------------------------------

    def _deliver(self) -> None:
        give_up: float | None = None
        while True:
            with self._changed:
                if self._closing and give_up is None:
                    give_up = time.monotonic() + _CLOSE_S
                if not self._held:
                    if self._closing:
                        return
                    self._changed.wait()
                    continue
                if len(self._held) < BATCH_POINTS and not self._closing:
                    self._changed.wait_for(lambda: len(self._held) >= BATCH_POINTS or self._closing, BATCH_S)
                batch = [self._held.popleft() for _ in range(min(BATCH_POINTS, len(self._held)))]
            kept = self._write(batch)
            if kept is None:
                continue
            with self._changed:
                self._held.extendleft(reversed(kept))
                if give_up is not None and time.monotonic() >= give_up:
                    return  # what is held is counted by `close`
            time.sleep(_AGAIN_S)

    def _write(self, batch: list[str]) -> list[str] | None:
        """Sends a batch; what is to be tried again, None where nothing is."""
        where = self._target
        query = urlencode({"db": where.database, "rp": where.retention, "precision": "ns"})
        try:
            self._ask(f"/write?{query}", "\n".join(batch).encode())
        except urllib.error.HTTPError as error:
            with error:
                if error.code >= 500:
                    return batch
            self.lost += len(batch)  # it would be refused again; of a part of it the server says nothing
            return None
        except OSError:
            return batch
        self.sent += len(batch)
        return None

    # -- the beginning ------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        where = self._target
        database, retention = _quoted(where.database), _quoted(where.retention)
        try:
            if where.database not in _column(self.query("SHOW DATABASES"), 0):
                self.query(f"CREATE DATABASE {database}")
                self.made.append("database")
            if where.retention not in _column(self.query(f"SHOW RETENTION POLICIES ON {database}"), 0):
                keeps = f"DURATION {where.duration} REPLICATION 1 SHARD DURATION {where.shard} DEFAULT"
                self.query(f"CREATE RETENTION POLICY {retention} ON {database} {keeps}")
                self.made.append("retention")
                if "database" in self.made:  # a policy that came with the database we made, and that nobody needs
                    self.query(f'DROP RETENTION POLICY "autogen" ON {database}')
        except urllib.error.HTTPError as error:
            with error:
                raise RefusedError("--metrics", f"{where.url}: {error.code} {error.read(300).decode()}") from None
        except (OSError, ValueError) as error:
            raise RefusedError("--metrics", f"{where.url}: InfluxDB does not answer: {error}") from None

    def query(self, text: str) -> Any:
        """Asks in InfluxQL.

        Raises:
            RefusedError: The server says that it is wrong.
        """
        found = json.loads(self._ask("/query", urlencode({"q": text}).encode(), form=True))
        for each in (found, *found.get("results", [])):
            if "error" in each:
                raise RefusedError("--metrics", f"{self._target.url}: {text}: {each['error']}")
        return found

    def _ask(self, path: str, body: bytes, *, form: bool = False) -> bytes:
        kind = "application/x-www-form-urlencoded" if form else "text/plain; charset=utf-8"
        request = urllib.request.Request(
            self._target.url + path, body, {**self._headers, "Content-Type": kind}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=_ANSWER_S) as answer:
            data: bytes = answer.read()
            return data


def _authorization() -> dict[str, str]:
    user = os.environ.get(USER_VARIABLE)
    if not user:
        return {}
    both = f"{user}:{os.environ.get(PASSWORD_VARIABLE, '')}".encode()
    return {"Authorization": f"Basic {base64.b64encode(both).decode()}"}


def _quoted(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "")
    return f'"{escaped}"'


def _column(found: Any, column: int) -> list[Any]:
    series = [each for result in found["results"] for each in result.get("series", [])]
    return [row[column] for each in series for row in each.get("values", [])]


def query_url(url: str, database: str, text: str) -> str:
    """Where a question can be asked by GET."""
    return f"{url}/query?db={quote(database)}&q={quote(text)}"
