"""Makes the dashboards: one for Prometheus, one for InfluxDB, the same panels; `python -m real.dashboards.make`.

The data source is a variable of the dashboard, so a file can be imported into any Grafana as it is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
KINDS = ("prometheus", "influxdb")
#: Of Grafana 8: later ones read it and bring it up to theirs.
_SCHEMA = 36
_WIDE, _HIGH = 12, 8


@dataclass(frozen=True)
class Curve:
    """One query of a panel.

    Attributes:
        field: Of the measurement.
        legend: Its words.
        by: Tags that curves are told apart by.
        grows: A total, shown as what it grows by each second.
    """

    field: str
    legend: str
    by: tuple[str, ...] = ("scenario",)
    grows: bool = False


@dataclass(frozen=True)
class Panel:
    """One panel; `unit` as Grafana names it; `only` for a data source that alone has it."""

    title: str
    measurement: str
    curves: tuple[Curve, ...]
    unit: str = "short"
    only: str | None = None


_MODEL = ("worker", "type", "model")
_LOST = {
    "dropped_no_model_total": "no model",
    "bad_total": "cannot be parsed",
    "failed_total": "cannot be scored",
    "superseded_total": "models superseded",
    "load_failures_total": "models not loaded",
}
PANELS = (
    Panel(
        "Throughput",
        "weir_run",
        (Curve("sent_per_s", "sent"), Curve("throughput_per_s", "scored and out")),
        "reqps",
    ),
    Panel(
        "Latency, send schedule to acknowledged output",
        "weir_run",
        tuple(Curve(f"latency_acked_ms_{q}", q) for q in ("p50", "p95", "p99")),
        "ms",
    ),
    Panel("Lag: acknowledged and not yet read", "weir_run", (Curve("lag", "records"),)),
    Panel("Dropped, bad, failed (totals)", "weir_run", tuple(Curve(name, words) for name, words in _LOST.items())),
    Panel("Model versions", "weir_model", (Curve("version", "", _MODEL),)),
    Panel("Scored by each model", "weir_model", (Curve("usage_total", "", _MODEL, grows=True),), "reqps"),
    Panel("Time in scoring, share of a core", "weir_model", (Curve("score_seconds_total", "", _MODEL, grows=True),)),
    Panel("Records handled by each worker", "weir_worker", (Curve("handled_total", "", ("worker",), grows=True),)),
    Panel(
        "Model servers: records",
        "weir_server",
        tuple(
            Curve(f"{name}_total", words, ("worker",), grows=True)
            for name, words in (
                ("scored", "scored"),
                ("dropped_no_model", "no model"),
                ("bad", "cannot be parsed"),
                ("failed", "cannot be scored"),
            )
        ),
        "reqps",
    ),
    # Those of Lightbend's dashboard, from a model server's points of single records; a scraper takes no such points.
    Panel("Serving result", "serving", (Curve("calculated", "", ("engine", "model")),), only="influxdb"),
    Panel("Execution time", "serving", (Curve("duration", "", ("engine", "model")),), "ms", only="influxdb"),
)


def dashboard(kind: str) -> dict[str, Any]:
    """The dashboard of a kind of data source."""
    panels = [panel for panel in PANELS if panel.only in (None, kind)]
    title = {"prometheus": "Prometheus", "influxdb": "InfluxDB"}[kind]
    return {
        "uid": f"weir-{kind}",
        "title": f"Weir ({title})",
        "tags": ["weir"],
        "timezone": "browser",
        "schemaVersion": _SCHEMA,
        "version": 1,
        "editable": True,
        "refresh": "5s",
        "time": {"from": "now-15m", "to": "now"},
        "annotations": {"list": []},
        "templating": {
            "list": [
                {
                    "name": "datasource",
                    "label": "Data source",
                    "type": "datasource",
                    "query": kind,
                    "current": {},
                    "hide": 0,
                    "includeAll": False,
                    "multi": False,
                    "options": [],
                    "refresh": 1,
                    "regex": "",
                }
            ]
        },
        "panels": [_panel(i, panel, kind) for i, panel in enumerate(panels)],
    }


def _panel(index: int, panel: Panel, kind: str) -> dict[str, Any]:
    source = {"type": kind, "uid": "${datasource}"}
    query = _promql if kind == "prometheus" else _influxql
    return {
        "id": index + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": source,
        "gridPos": {"x": index % 2 * _WIDE, "y": index // 2 * _HIGH, "w": _WIDE, "h": _HIGH},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "calcs": []},
            "tooltip": {"mode": "multi", "sort": "none"},
        },
        "targets": [
            {"refId": chr(ord("A") + i), "datasource": source, **query(panel.measurement, curve)}
            for i, curve in enumerate(panel.curves)
        ],
    }


def _promql(measurement: str, curve: Curve) -> dict[str, Any]:
    name = f"{measurement}_{curve.field}"
    expression = f"rate({name}[$__rate_interval])" if curve.grows else name
    words = " ".join([*([curve.legend] if curve.legend else []), *(f"{{{{{tag}}}}}" for tag in curve.by)])
    return {"expr": expression, "legendFormat": words, "range": True}


def _influxql(measurement: str, curve: Curve) -> dict[str, Any]:
    value = f'last("{curve.field}")'
    if curve.field in ("calculated", "duration"):  # a point a record
        value = f'mean("{curve.field}")'
    if curve.grows:
        value = f"non_negative_derivative({value}, 1s)"
    by = ", ".join(f'"{tag}"' for tag in curve.by)
    words = " ".join([*([curve.legend] if curve.legend else []), *(f"$tag_{tag}" for tag in curve.by)])
    return {
        "query": f'SELECT {value} FROM "{measurement}" WHERE $timeFilter GROUP BY time($__interval), {by} fill(none)',
        "rawQuery": True,
        "resultFormat": "time_series",
        "alias": words,
    }


def text(kind: str) -> str:
    """The dashboard as a file holds it."""
    return json.dumps(dashboard(kind), indent=2, ensure_ascii=False) + "\n"


def path(kind: str) -> Path:
    """The file."""
    return FOLDER / f"{kind}.json"


if __name__ == "__main__":
    for each in KINDS:
        path(each).write_text(text(each), encoding="utf-8")
        print(path(each))
