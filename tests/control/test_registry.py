from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from control import forecast
from control.forecast import Autoregressive, Oracle
from control.scaling import registry
from control.scaling.faro import Faro
from control.scaling.mark import Mark
from control.scaling.simple import Aiad
from scenarios.cluster_spec import POLICIES, PolicyChoice
from scenarios.policy_options import FORECAST, OPTIONS
from tests.control.seen import facts, seen, view

HISTORY = np.random.default_rng(5).uniform(100, 900, (2, 3, 60))


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_is_made_and_decides(name: str) -> None:
    policy = registry.make(PolicyChoice(name), facts(2), 6, HISTORY)
    rng = np.random.default_rng(0)
    for tick in range(1, 40):
        jobs = [
            view(
                int(rng.integers(1, 4)),
                latency_s=float(rng.uniform(0.1, 3.0)),
                rates_per_min=tuple(rng.uniform(100, 900, tick // 6).tolist()),
                recent_rate_per_s=float(rng.uniform(1, 15)),
                queued=int(rng.integers(0, 60)),
                busy=bool(rng.integers(0, 2)),
                envelope_per_s={0.18: 20.0, 5.0: float(rng.uniform(1, 15))},
            )
            for _ in range(2)
        ]
        for action in policy.decide(seen(10.0 * tick, *jobs, quota=6)):
            assert 1 <= action.replicas <= 100
            assert action.job in (0, 1)
            assert action.reason
    assert policy.tick_s == 10.0


def test_a_policy_is_a_pure_object() -> None:
    # Two of one kind, told the same, decide the same.
    def run() -> list[Any]:
        policy = registry.make(PolicyChoice("faro_fairsum"), facts(2), 6, HISTORY)
        jobs = [view(1, latency_s=0.9, rates_per_min=tuple(range(100, 130)))] * 2
        return [policy.decide(seen(10.0 * tick, *jobs, quota=6)) for tick in range(1, 70)]

    assert run() == run()


def test_what_a_scenario_says_reaches_the_policy() -> None:
    choice = PolicyChoice("faro_penaltysum", solver="cobyla", quantile=0.7, slack=False, options={"trials": 2})
    policy = registry.make(choice, facts(2), 6, HISTORY)
    assert isinstance(policy, Faro)
    assert (policy.solver, policy.quantile, policy.slack, policy.trials) == ("cobyla", 0.7, False, 2)
    assert (policy.objective, policy.drops) == ("sum", True)
    mark = registry.make(PolicyChoice("mark", options={"context": 12, "contexts": {"1": 10}}), facts(2), 6, HISTORY)
    assert isinstance(mark, Mark)
    assert isinstance(mark.forecaster, Autoregressive)
    assert [fit.context for fit in mark.forecaster.fits] == [12, 10]
    seer = registry.make(PolicyChoice("mark", forecast="oracle"), facts(2), 6, None, HISTORY[:, 0])
    assert isinstance(seer, Mark)
    assert isinstance(seer.forecaster, Oracle)
    aiad = registry.make(PolicyChoice("aiad", options={"up_after_s": 20}), facts(2), 6)
    assert isinstance(aiad, Aiad)
    assert aiad.up_after_s == 20


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (PolicyChoice("aimd"), "no policy 'aimd'; there are none, fairshare, oneshot"),
        (PolicyChoice("aiad", options={"upp": 1}), "no option 'upp'; it has tick_s, up_after_s"),
        (PolicyChoice("aiad", options={"solver": "exact"}), "no option 'solver'"),
        (PolicyChoice("faro_sum", options={"objective": "fair"}), "no option 'objective'"),
        (PolicyChoice("aiad", options={"up_after_s": "long"}), "'long' is not a number"),
        (PolicyChoice("aiad", options={"tick_s": 0.0}), "0.0 is not above 0"),
        (PolicyChoice("aiad", options={"max_replicas": 1.5}), "1.5 is not a whole number"),
        (PolicyChoice("faro_sum", options={"groups": -1}), "-1 is not above 0"),
        (PolicyChoice("faro_sum", options={"rho_max": 1.0}), "1.0 is not below 1"),
        (PolicyChoice("cilantro", options={"forget": 1.5}), "1.5 is above 1"),
        (PolicyChoice("faro_sum", options={"alpha": float("nan")}), "nan is not a number"),
        (PolicyChoice("faro_sum", options={"reactive": 1}), "1 is neither true nor false"),
        (PolicyChoice("faro_sum", options={"utility": "step"}), "'step' is none of latency, latency_step"),
        (PolicyChoice("faro_sum", quantile=1.0), "a quantile of 1.0 is not between 0 and 1"),
        (PolicyChoice("mark", options={"contexts": {"one": 9}}), "no mapping of job numbers to minutes"),
        (PolicyChoice("mark", options={"contexts": {1: 0}}), "no mapping of job numbers to minutes"),
    ],
)
def test_what_cannot_be_is_said_clearly(choice: PolicyChoice, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        registry.make(choice, facts(2), 6, HISTORY)


def test_the_loader_knows_the_options_of_every_policy() -> None:
    assert tuple(OPTIONS) == POLICIES
    for name in POLICIES:
        made, known = registry.options(name), OPTIONS[name]
        assert known == made, name
        assert {key: type(value) for key, value in known.items()} == {key: type(made[key]) for key in made}, name
    assert FORECAST["context"] == forecast.CONTEXT


def test_a_forecast_needs_earlier_days() -> None:
    with pytest.raises(ValueError, match=r"workload\.history"):
        registry.make(PolicyChoice("faro_sum"), facts(2), 6)
    policy = registry.make(PolicyChoice("faro_sum", forecast="none"), facts(2), 6)
    assert isinstance(policy, Faro)
    assert policy.forecaster is None
