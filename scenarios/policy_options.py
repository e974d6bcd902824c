"""What `policy.options` may hold: of each policy the names and their defaults, and the values that they may have.

A policy's defaults are the fields of its class; a test holds these tables against them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Minutes that the forecaster of a policy that plans looks back, and of single jobs by number.
FORECAST: dict[str, Any] = {"context": 15, "contexts": {}}

_TICK: dict[str, Any] = {"tick_s": 10.0}
_REPLICAS: dict[str, Any] = {"min_replicas": 1, "max_replicas": 100}
_STEPS = _TICK | {"up_after_s": 30.0, "down_after_s": 600.0} | _REPLICAS
_PLANNED = (
    _TICK
    | {"first_s": 60.0, "period_s": 300.0, "trials": 5, "reactive": True, "up_after_s": 30.0, "in_a_row": False}
    | _REPLICAS
    | FORECAST
)
_FARO = (
    _PLANNED
    | {"published": False, "fair_with_sum": False, "utility": "latency", "alpha": 1.0, "percentile": 99.0}
    | {"rho_max": 0.95, "quantile_step": 0.1, "quantile_max": 0.9, "transfer_s": 65.0, "start_s": 35.0}
    | {"tolerance": 1e-4, "groups": 0}
)
_CILANTRO = {"round_s": 20.0, "threshold": 0.99, "bin_per_s": 0.5, "max_per_s": 20.0, "forget": 0.9}
_DS2 = {"interval_s": 60.0, "window_s": 30.0, "target_utilisation": 0.7}
_KEDA = {"polling_s": 30.0, "lag_threshold": 10.0, "tolerance": 0.1, "stabilisation_s": 300.0}
_INFERLINE = {"deviations": 4.0, "settle_s": 15.0, "window_s": 5.0, "matched": False}

#: Policy -> its options with their defaults.
OPTIONS: dict[str, Mapping[str, Any]] = {
    "none": _TICK,
    "fairshare": _TICK,
    "oneshot": _STEPS,
    "aiad": _STEPS,
    "mark": _PLANNED,
    "faro_sum": _FARO,
    "faro_fair": _FARO,
    "faro_fairsum": _FARO,
    "faro_penaltysum": _FARO,
    "faro_penaltyfairsum": _FARO,
    "cilantro": _TICK | _CILANTRO | {"max_replicas": 100},
    "ds2": _TICK | _DS2 | _REPLICAS,
    "keda": _TICK | _KEDA | _REPLICAS,
    "inferline": _TICK | _INFERLINE | _REPLICAS,
}

_BELOW = {"rho_max": 1, "percentile": 100, "quantile_max": 1}
_AT_MOST = {"forget": 1}
_WORDS = {"utility": ("latency", "latency_step")}
_MAY_BE_ZERO = ("tolerance",)
_ENDLESS = 1e300


def problem(name: str, value: Any, default: Any) -> str:
    """What is wrong with a value that stands in for a default; empty where nothing is."""
    if name in _WORDS:
        return "" if value in _WORDS[name] else f"none of {', '.join(_WORDS[name])}"
    if isinstance(default, bool):
        return "" if isinstance(value, bool) else "neither true nor false"
    if isinstance(default, dict):
        fits = isinstance(value, dict) and all(
            str(job).isdecimal() and type(minutes) is int and minutes > 0 for job, minutes in value.items()
        )
        return "" if fits else "no mapping of job numbers to minutes"
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _ENDLESS:
        return "not a number"
    if isinstance(default, int) and not isinstance(value, int):
        return "not a whole number"
    if name in _BELOW and value >= _BELOW[name]:
        return f"not below {_BELOW[name]}"
    if name in _AT_MOST and value > _AT_MOST[name]:
        return f"above {_AT_MOST[name]}"
    if value < 0 or (value == 0 and default > 0 and name not in _MAY_BE_ZERO):
        return "not above 0"
    return ""
