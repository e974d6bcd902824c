"""What the page lets its reader change, and how a value becomes a `--set` of the scenario.

A control is one setting of the scenario language; nothing is checked here that the language checks itself, so a value
that cannot be gets the same message as in a file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from scenarios import registry
from scenarios.errors import ScenarioError
from scenarios.spec import MS_NS, Scenario

#: Arrival processes whose `rate` says how many records come.
_PACED = ("constant", "poisson", "gamma", "bursty", "ramp", "square")
PAGE = "the page"


@dataclass(frozen=True, slots=True)
class Control:
    """One setting on the page.

    Attributes:
        key: Dotted key of the setting.
        label: What the page calls it.
        kind: `log` and `linear` are sliders, `choice` is a list, `number` a field alone.
        unit: Written after a number; as the scenario language wants it.
        low: Least value of the slider; what is typed may be beyond it.
        high: Greatest value of the slider.
        step: Of the slider; 0 where values are rounded to three digits.
        choices: Of a list.
        needs: A setting and the value it must have for this one to mean anything; empty for any.
        help: One line.
    """

    key: str
    label: str
    kind: Literal["log", "linear", "choice", "number"]
    unit: str = ""
    low: float = 1.0
    high: float = 1.0
    step: float = 1.0
    choices: tuple[str, ...] = ()
    needs: tuple[str, str] = ("", "")
    help: str = ""


_EXTERNAL = ("serving.kind", "external")
RATE, SLO = "workload.arrival.rate", "slo.latency_p99"

CONTROLS: tuple[Control, ...] = (
    Control(RATE, "Rate", "log", "/s", 1, 100_000, 0, help="records offered a second"),
    Control("engine.parallelism", "Parallelism", "log", "", 1, 128, help="scoring tasks of the engine"),
    Control("workload.points", "Batch", "log", "", 1, 512, help="model inputs in one record"),
    Control("broker.producer.linger", "Linger", "linear", "ms", 0, 200, help="a producer waits so long for more"),
    Control("broker.partitions", "Partitions", "log", "", 1, 128, help="of the input and of the output topic"),
    Control("engine.kind", "Engine", "choice", help="what reads, scores and writes"),
    Control("serving.kind", "Serving", "choice", choices=("embedded", "external"), help="where the model runs"),
    Control("serving.runtime", "Runtime", "choice", help="what executes the model"),
    Control("serving.workers", "Workers", "log", "", 1, 64, needs=_EXTERNAL, help="threads of the external server"),
    Control("serving.batch", "Server batch", "log", "", 1, 128, needs=_EXTERNAL, help="requests scored together"),
    Control("serving.batch_delay", "Batch delay", "linear", "ms", 0, 100, needs=_EXTERNAL, help="it waits so long"),
    Control(SLO, "SLO: p99 at most", "number", "ms", 0, 1e6, 0, help="empty: none"),
    Control("workload.seed", "Seed", "number", "", 0, 1e9, help="another seed, another draw of everything random"),
)
BY_KEY = {control.key: control for control in CONTROLS}

Values = Mapping[str, Any]


def described(scenario: Scenario) -> list[dict[str, Any]]:
    """The controls for a scenario, as the page wants them: with the choices there are, and whether each applies."""
    found = []
    for control in CONTROLS:
        told = asdict(control)
        if control.key == "engine.kind":
            kinds = [kind for kind in registry.known("engines") if kind != "graph" or scenario.stages]
            told["choices"] = ["graph"] if scenario.engine.kind == "graph" else kinds
        if control.key == "serving.runtime":
            told["choices"] = list(registry.known("runtimes"))
        told["off"] = _off(control.key, scenario)
        found.append(told)
    return found


def _off(key: str, scenario: Scenario) -> str:
    """Why a setting says nothing about this scenario; empty where it does."""
    if key == RATE and scenario.workload.arrival.kind not in _PACED:
        return "the load is a trace"
    if scenario.engine.kind == "graph" and key.startswith(("engine.", "serving.", "broker.")):
        return "the stages of a graph stand in its file"
    return ""


def values_of(scenario: Scenario) -> dict[str, Any]:
    """What each control shows of a scenario; None for nothing."""
    s, producer = scenario, scenario.broker.producer
    slo = next((b.value for b in s.slo if b.metric == SLO.partition(".")[2] and b.op in ("<", "<=")), None)
    return {
        RATE: s.workload.arrival.rate_per_s,
        "engine.parallelism": s.engine.parallelism,
        "workload.points": s.workload.points,
        "broker.producer.linger": producer.linger_ns / MS_NS,
        "broker.partitions": s.broker.partitions,
        "engine.kind": s.engine.kind,
        "serving.kind": s.serving.kind,
        "serving.runtime": s.serving.runtime,
        "serving.workers": s.serving.workers or s.engine.parallelism,
        "serving.batch": s.serving.batch_records,
        "serving.batch_delay": s.serving.batch_delay_ns / MS_NS,
        SLO: slo,
        "workload.seed": s.workload.seed,
    }


def sets(values: Values) -> list[str]:
    """The values that were changed, as `--set` takes them; those that need another setting to mean anything apart.

    Raises:
        ScenarioError: No such control, or not a value of its kind.
    """
    said = []
    for key, value in values.items():
        control = BY_KEY.get(key)
        if control is None:
            raise ScenarioError(PAGE, None, None, key, "there is no such control")
        if control.kind == "choice":
            if not isinstance(value, str) or not value.replace("-", "").replace("_", "").isalnum():
                raise ScenarioError(PAGE, None, None, key, f"{value!r} is not a word")
            said.append(f"{key}={value}")
        elif value is None and key == SLO:
            said.append("slo={}")
        elif isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ScenarioError(PAGE, None, None, key, f"{value!r} is not a number")
        else:
            said.append(f"{key}={'<= ' if key == SLO else ''}{_number(value)}{f' {control.unit}' * bool(control.unit)}")
    return said


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))
