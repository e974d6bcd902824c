"""What a model server tells sinks: each record as Lightbend's did, and each second its totals and its models.

`serving` (tags engine, model; fields calculated, duration in ms) is Lightbend's measurement, with decimals.  Single
records go to sinks that keep points; Prometheus, which is asked now and then, has the totals.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from real.sinks import Sinks
from real.sinks.points import Point, Value
from real.sinks.prometheus import PrometheusSink
from real.sinks.watch import EVERY_S, model_fields

ENGINE = "Weir"
_HELD = 500
_TOTALS = ("records", "scored", "bad", "failed", "dropped_no_model", "models_received", "loaded", "load_failures")


class ServerPoints:
    """The points of one server."""

    def __init__(self, sinks: Sinks, told: Callable[[], dict[str, Any]]) -> None:
        """`told` is `ModelServer.told`."""
        self._sinks, self._told = sinks, told
        self._keeping = [sink for sink in sinks.all if not isinstance(sink, PrometheusSink)]
        self._scraped = [sink for sink in sinks.all if isinstance(sink, PrometheusSink)]
        self._held: list[Point] = []
        self._due = 0.0

    def scored(self, model: str, prediction: Any, took_ns: int) -> None:
        """One record was scored."""
        if self._keeping:
            fields: dict[str, Value] = {"calculated": calculated(prediction), "duration": took_ns / 1e6}
            self._held.append(Point("serving", {"engine": ENGINE, "model": model}, fields, time.time_ns()))
            if len(self._held) >= _HELD:
                self._hand_on()

    def step(self) -> None:
        """Between two records: now and then, what there is."""
        if (now := time.monotonic()) >= self._due:
            self._due = now + EVERY_S
            self._totals()

    def last(self) -> None:
        """At the end."""
        self._totals()

    def _hand_on(self) -> None:
        for sink in self._keeping:
            sink.put(self._held)
        self._held.clear()

    def _totals(self) -> None:
        told, now = self._told(), time.time_ns()
        tags = {"engine": ENGINE, "worker": f"worker.{told['instance']}"}
        fields: dict[str, Value] = {f"{name}_total": int(told[name]) for name in (*_TOTALS, "superseded", "swaps")}
        points = [Point("weir_server", tags, fields, now)]
        points += [
            Point("weir_model", {**tags, "type": kind, "model": model["name"]}, model_fields(model), now)
            for kind, model in told["types"].items()
        ]
        for sink in self._scraped:
            sink.forget("weir_model")
        self._sinks.put(points)
        self._hand_on()


def calculated(prediction: Any) -> float:
    """A prediction as one number: its only value, or the place of its largest."""
    values = np.asarray(prediction).ravel()
    if not len(values):
        return float("nan")
    return float(values[0]) if len(values) == 1 else float(np.argmax(values))
