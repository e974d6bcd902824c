"""The greedy search for the cheapest configuration of a pipeline (InferLine, SoCC'20, doi 10.1145/3419111.3421285).

A configuration gives each model its hardware, its largest batch and its replicas.  The search knows the pipeline by
its menu alone and asks an estimator for everything else, so it plans for a simulated or a measured one alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from scenarios.plan_spec import Option

Menu = Sequence[Sequence[Option]]


@dataclass(frozen=True, slots=True)
class Choice:
    """One model's part of a configuration: an option by its place in the model's menu, largest batch, replicas."""

    option: int
    batch: int = 1
    replicas: int = 1


Choices = tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class Estimate:
    """What an estimator says of a configuration.

    Attributes:
        feasible: Whether the objective is met.
        latency_ns: The objective's percentile over the sample; where it is not met, it may be any bound from below.
    """

    feasible: bool
    latency_ns: int


Estimator = Callable[[Choices], Estimate]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the search.

    Attributes:
        action: What was done.
        model: To which model; None for the first step.
        choices: The configuration it led to.
        cost_per_h: Of that.
        latency_ns: Of that; as in `Estimate`.
    """

    action: str
    model: int | None
    choices: Choices
    cost_per_h: float
    latency_ns: int


@dataclass(frozen=True, slots=True)
class Greedy:
    """How the search went.

    Attributes:
        choices: The configuration found; None where none meets the objective.
        steps: From the first configuration on.
        reason: Why there is none.
    """

    choices: Choices | None
    steps: tuple[Step, ...]
    reason: str = ""


def cost_per_h(menu: Menu, choices: Choices) -> float:
    """Sum of replicas times price, rounded to a millionth."""
    return round(sum(c.replicas * options[c.option].price_per_h for options, c in zip(menu, choices, strict=True)), 6)


def cost_per_million(per_h: float, rate_per_s: float) -> float:
    """What a million records cost at a rate that is served around the clock."""
    return per_h / (rate_per_s * 3600.0) * 1e6


def throughputs(menu: Menu, choices: Choices) -> tuple[float, ...]:
    """Records per second of one replica of each model, at full batches."""
    return tuple(options[c.option].throughput_per_s(c.batch) for options, c in zip(menu, choices, strict=True))


def fastest(options: Sequence[Option]) -> int:
    """The option that serves one record soonest; the cheaper of two equal ones."""
    return min(range(len(options)), key=lambda at: (options[at].service_ns(1), options[at].price_per_h))


def greedy(menu: Menu, shares: Sequence[float], estimate: Estimator, max_replicas: int = 64) -> Greedy:
    """Meet the objective at any cost, then cut the cost step by step.

    First every model has its fastest hardware, a batch of one and one replica, and the model with the least
    throughput per visit gets another replica until the objective is met.  Then, as long as there is one, the feasible
    action that saves most is taken (of equal ones that of the lowest latency): remove a replica, go to cheaper
    hardware with batch and replicas chosen anew, double the batch.  Doubling saves nothing by itself; it is taken when
    nothing else is left, for what it lets be removed after it.

    Args:
        menu: Options of each model.
        shares: Of each model: share of the pipeline's records that visit it.
        estimate: Judges a configuration.
        max_replicas: Of a model.
    """
    choices = tuple(Choice(fastest(options)) for options in menu)
    steps: list[Step] = []

    def took(action: str, model: int | None, found: Choices, seen: Estimate) -> Choices:
        steps.append(Step(action, model, found, cost_per_h(menu, found), seen.latency_ns))
        return found

    seen = estimate(choices)
    took("fastest hardware, one replica", None, choices, seen)
    while not seen.feasible:
        mu = throughputs(menu, choices)
        room = [m for m, choice in enumerate(choices) if choice.replicas < max_replicas]
        if not room:
            return Greedy(None, tuple(steps), f"{max_replicas} unbatched replicas of each model are late")
        least = min(room, key=lambda m: choices[m].replicas * mu[m] / max(shares[m], 1e-12))
        choices = _with(choices, least, replace(choices[least], replicas=choices[least].replicas + 1))
        seen = estimate(choices)
        took("add a replica", least, choices, seen)
    while True:
        cost = cost_per_h(menu, choices)
        best: tuple[float, int, str, int, Choices, Estimate] | None = None
        for model in range(len(menu)):
            for action, found, judged in _actions(menu, choices, model, estimate, max_replicas):
                key = (cost_per_h(menu, found) - cost, judged.latency_ns)
                if best is None or key < best[:2]:
                    best = (*key, action, model, found, judged)
        if best is None:
            return Greedy(choices, tuple(steps))
        choices = took(*best[2:])


def _with(choices: Choices, model: int, choice: Choice) -> Choices:
    return (*choices[:model], choice, *choices[model + 1 :])


def _actions(
    menu: Menu, choices: Choices, model: int, estimate: Estimator, max_replicas: int
) -> Iterator[tuple[str, Choices, Estimate]]:
    """The feasible actions on one model."""
    now, options = choices[model], menu[model]

    def judged(action: str, choice: Choice) -> Iterator[tuple[str, Choices, Estimate]]:
        found = _with(choices, model, choice)
        seen = estimate(found)
        if seen.feasible:
            yield action, found, seen

    if now.replicas > 1:
        yield from judged("remove a replica", replace(now, replicas=now.replicas - 1))
    if now.batch * 2 <= options[now.option].max_batch:
        yield from judged("double the batch", replace(now, batch=now.batch * 2))
    spent = now.replicas * options[now.option].price_per_h
    for at, option in enumerate(options):
        if option.price_per_h >= options[now.option].price_per_h:
            continue
        for batch in option.batches:
            for replicas in range(1, max_replicas + 1):
                if replicas * option.price_per_h >= spent:
                    break
                found = next(judged(f"{option.hardware}, batch {batch}", Choice(at, batch, replicas)), None)
                if found is not None:
                    yield found
                    break
