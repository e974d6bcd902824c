"""From a policy's name and options to the policy object.

A new policy is one class and one line here: a dataclass whose parameters are fields with defaults.  What a scenario
may override by `policy.options` is read off those fields; the loader knows it by `scenarios.policy_options`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from control import forecast
from control.scaling.cilantro import Cilantro
from control.scaling.ds2 import Ds2
from control.scaling.faro import Faro
from control.scaling.inferline import InferLine
from control.scaling.keda import Keda
from control.scaling.mark import Mark
from control.scaling.observation import JobFacts, Policy
from control.scaling.simple import Aiad, FairShare, Hold, Oneshot
from scenarios.cluster_spec import PolicyChoice
from scenarios.policy_options import FORECAST, problem

#: Name -> the class, and what the name itself fixes of it.
_POLICIES: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "none": (Hold, {}),
    "fairshare": (FairShare, {}),
    "oneshot": (Oneshot, {}),
    "aiad": (Aiad, {}),
    "mark": (Mark, {}),
    "faro_sum": (Faro, {"objective": "sum", "drops": False}),
    "faro_fair": (Faro, {"objective": "fair", "drops": False}),
    "faro_fairsum": (Faro, {"objective": "fairsum", "drops": False}),
    "faro_penaltysum": (Faro, {"objective": "sum", "drops": True}),
    "faro_penaltyfairsum": (Faro, {"objective": "fairsum", "drops": True}),
    "cilantro": (Cilantro, {}),
    "ds2": (Ds2, {}),
    "keda": (Keda, {}),
    "inferline": (InferLine, {}),
}

#: Fields that come from elsewhere than `policy.options`.
_GIVEN = ("forecaster", "history", "solver", "quantile", "slack")


def make(
    choice: PolicyChoice,
    jobs: tuple[JobFacts, ...],
    quota: int,
    history: npt.NDArray[np.float64] | None = None,
    oracle: npt.NDArray[np.float64] | None = None,
    first_minute: int = 0,
) -> Policy:
    """The policy a scenario chose.

    Args:
        choice: Its name and what it was told.
        jobs: The jobs it decides about, in their order.
        quota: Replicas in all.
        history: Requests per minute of earlier days, [job, day, minute], for the forecasts that are fitted.
        oracle: Requests per minute to come, [job, minute], minute 0 at time 0, for the forecast `oracle`.
        first_minute: The minute of the day at time 0, for the forecast `seasonal`.

    Raises:
        ValueError: No such policy, option or value; or a forecast without what it is made from.
    """
    if choice.name not in _POLICIES:
        raise ValueError(f"no policy {choice.name!r}; there are {', '.join(_POLICIES)}")
    if not 0 < choice.quantile < 1:
        raise ValueError(f"a quantile of {choice.quantile} is not between 0 and 1")
    kind, fixed = _POLICIES[choice.name]
    told = _checked(choice)
    fields = {parameter.name for parameter in dataclasses.fields(kind)}
    given: dict[str, Any] = {name: getattr(choice, name) for name in ("solver", "quantile", "slack") if name in fields}
    if "history" in fields:
        given["history"] = history
    if "forecaster" in fields:
        context, own = told.pop("context", forecast.CONTEXT), told.pop("contexts", {})
        contexts = [own.get(job, own.get(str(job), context)) for job in range(len(jobs))]
        given["forecaster"] = forecast.make(choice.forecast, history, oracle, contexts, first_minute)
    policy: Policy = kind(jobs=jobs, quota=quota, **fixed, **given, **told)
    return policy


def options(name: str) -> dict[str, Any]:
    """The parameters of a policy that `policy.options` may override, with their defaults."""
    kind, fixed = _POLICIES[name]
    own = {
        parameter.name: parameter.default
        for parameter in dataclasses.fields(kind)
        if parameter.init and parameter.default is not dataclasses.MISSING
    }
    found = {key: default for key, default in own.items() if key not in fixed and key not in _GIVEN}
    return found | FORECAST if "forecaster" in own else found


def _checked(choice: PolicyChoice) -> dict[str, Any]:
    allowed = options(choice.name)
    for name, value in choice.options.items():
        if name not in allowed:
            raise ValueError(f"policy {choice.name} has no option {name!r}; it has {', '.join(allowed)}")
        wrong = problem(name, value, allowed[name])
        if wrong:
            raise ValueError(f"option {name!r} of policy {choice.name}: {value!r} is {wrong}")
    return dict(choice.options)
