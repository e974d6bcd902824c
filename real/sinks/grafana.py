"""Shows a database in a Grafana: data source and dashboard are made if they are absent, and left alone if not.

Credentials: `GRAFANA_TOKEN`, or `GRAFANA_USER` and `GRAFANA_PASSWORD`.
"""

from __future__ import annotations

import base64
import json
import os
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote

from real.errors import RefusedError

DATASOURCE = "weir-influxdb"
_ANSWER_S = 10.0


def show(grafana: str, influxdb: str, database: str) -> list[str]:
    """Makes what is absent.

    Args:
        grafana: `http://host:port`.
        influxdb: The same, as Grafana is to reach it.
        database: Its name.

    Returns:
        What was made: `datasource`, `dashboard`.

    Raises:
        RefusedError: It does not answer, or refuses.
    """
    from real.dashboards.make import dashboard

    made = []
    if _ask(grafana, f"/api/datasources/name/{quote(DATASOURCE)}") is None:
        about = {"name": DATASOURCE, "type": "influxdb", "access": "proxy", "url": influxdb, "database": database}
        _ask(grafana, "/api/datasources", about)
        made.append("datasource")
    wanted = dashboard("influxdb")
    if _ask(grafana, f"/api/dashboards/uid/{wanted['uid']}") is None:
        _ask(grafana, "/api/dashboards/db", {"dashboard": {**wanted, "id": None}, "overwrite": False})
        made.append("dashboard")
    return made


def _ask(grafana: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """An answer; None where there is nothing."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(grafana.rstrip("/") + path, data, {"Content-Type": "application/json"})
    token, user = os.environ.get("GRAFANA_TOKEN"), os.environ.get("GRAFANA_USER")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    elif user:
        both = f"{user}:{os.environ.get('GRAFANA_PASSWORD', '')}".encode()
        request.add_header("Authorization", f"Basic {base64.b64encode(both).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=_ANSWER_S) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 404 and body is None:
                return None
            told = error.read(300).decode(errors="replace")
            raise RefusedError("--metrics", f"Grafana at {grafana}: {path}: {error.code} {told}") from None
    except (OSError, ValueError) as error:
        raise RefusedError("--metrics", f"Grafana at {grafana} does not answer: {error}") from None
