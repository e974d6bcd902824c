"""Which model answers, and what an ensemble answers with what it has at its deadline.

Exp3 asks one model a request and learns from that one's loss; Exp4 asks all and learns from all (Auer et al., "The
nonstochastic multiarmed bandit problem", 2002; as in Clipper, NSDI'17, section 5).  The functions work on a float64
vector `w` of weights from place `b` on, plainly or compiled; uniform bits come from outside, so a decision is a pure
function of a keyed draw.  Losses are within 0 and 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Selection = Literal["exp3", "exp4"]
SELECTIONS: Final[tuple[Selection, ...]] = get_args(Selection)
ETA: Final = 0.1
#: No weight falls below this share of all, so that a model that was bad can still be found to be good.
LEAST: Final = 1e-3
_BITS: Final = 1 << 32
#: Of a vote without any answer, and of a mean with less agreement than asked for.
NONE: Final = -1


def pick(w: Any, b: int, models: int, u: int) -> int:
    """The model that 32 uniform bits draw, by the weights.

    Args:
        w: The vector: weights whose sum is 1.
        b: Its first place.
        models: How many.
        u: 0 to 2^32 - 1.
    """
    left = u / _BITS
    for i in range(models - 1):
        left -= w[b + i]
        if left < 0:
            return i
    return models - 1


def learn_one(w: Any, b: int, models: int, model: int, loss: float, eta: float) -> None:
    """Exp3: s <- s * exp(-eta * loss / p) for the one model that was asked."""
    w[b + model] *= math.exp(-eta * loss / w[b + model])
    normalise(w, b, models)


def learn_all(w: Any, b: int, models: int, losses: Any, eta: float) -> None:
    """Exp4: s <- s * exp(-eta * loss) for every model; a loss below 0 says that it did not answer in time."""
    for i in range(models):
        if losses[i] >= 0:
            w[b + i] *= math.exp(-eta * losses[i])
    normalise(w, b, models)


def normalise(w: Any, b: int, models: int) -> None:
    """Brings the sum of the weights to 1, none below `LEAST` of it."""
    total = 0.0
    for i in range(models):
        total += w[b + i]
    lifted = 0.0
    for i in range(models):
        w[b + i] = max(w[b + i] / total, LEAST)
        lifted += w[b + i]
    for i in range(models):
        w[b + i] /= lifted


def vote(w: Any, b: int, models: int, labels: Any, least: float) -> int:
    """The model whose label has the largest weight behind it, of the models that answered.

    Args:
        w: The vector.
        b: Its first place.
        models: How many.
        labels: What each says, `NONE` for those that did not answer in time.
        least: Weight of those that agree, as a share of those that answered, below which nobody is believed.

    Returns:
        The first model with that label; `NONE`: the default output is to be given.
    """
    best, most, all_of_them = NONE, 0.0, 0.0
    for i in range(models):
        if labels[i] == NONE:
            continue
        all_of_them += w[b + i]
        behind = 0.0
        for j in range(models):
            if labels[j] == labels[i]:
                behind += w[b + j]
        if behind > most:
            best, most = i, behind
    if best == NONE or most < least * all_of_them:
        return NONE
    return best


#: What a compiler has to know to compile the rest, callees first.
FUNCTIONS: Final = (normalise, pick, learn_one, learn_all, vote)


@dataclass(frozen=True, slots=True)
class Answer:
    """What an ensemble says.

    Attributes:
        output: The answer, or the default output.
        confidence: Weight of the models that agree with it, as a share of all models'; 0 of the default output.
        is_default: Whether it is the default output.
        answered: Models that answered in time.
    """

    output: Any
    confidence: float
    is_default: bool
    answered: int


class Selector:
    """A selection policy with weights of its own, as a real router has one."""

    def __init__(self, selection: Selection, models: int, *, eta: float = ETA) -> None:
        """All models weigh the same."""
        if models < 1:
            raise ValueError("models: there must be one")
        self.selection = selection
        self.models = models
        self.eta = eta
        self.weights: Floats = np.full(models, 1.0 / models)
        self.answers = 0
        self.defaults = 0

    def select(self, u: int) -> tuple[int, ...]:
        """The models to ask, drawn by 32 uniform bits."""
        if self.selection == "exp4":
            return tuple(range(self.models))
        return (pick(self.weights, 0, self.models, u),)

    def observe(self, losses: dict[int, float]) -> None:
        """The losses of models that were asked and answered."""
        if self.selection == "exp4":
            learn_all(self.weights, 0, self.models, [losses.get(i, -1.0) for i in range(self.models)], self.eta)
            return
        for model, loss in losses.items():
            learn_one(self.weights, 0, self.models, model, loss, self.eta)

    def combine(self, outputs: dict[int, Any], default: Any, *, least: float = 0.0) -> Answer:
        """What to answer at the deadline, with what came until then.

        Args:
            outputs: Of each model that answered in time.
            default: Given if none did, or too few agree.
            least: Share that has to agree, of those that answered.
        """
        kinds = list(dict.fromkeys(outputs.values()))
        labels = [kinds.index(outputs[i]) if i in outputs else NONE for i in range(self.models)]
        best = vote(self.weights, 0, self.models, labels, least)
        self.answers += 1
        if best == NONE:
            self.defaults += 1
            return Answer(default, 0.0, is_default=True, answered=len(outputs))
        agreeing = sum(float(self.weights[i]) for i in range(self.models) if labels[i] == labels[best])
        return Answer(outputs[best], agreeing, is_default=False, answered=len(outputs))

    @property
    def default_ratio(self) -> float:
        """Share of the answers that were the default output; 0 without any."""
        return self.defaults / self.answers if self.answers else 0.0


def in_time(arrived_ns: Sequence[int], asked_ns: int, deadline_ns: int) -> tuple[int, ...]:
    """The models whose answers had come at the deadline, in the order of their coming, then of their number.

    Args:
        arrived_ns: When each model's answer came; below 0: never.
        asked_ns: When they were asked.
        deadline_ns: How long the ensemble waits.
    """
    came = [(at, i) for i, at in enumerate(arrived_ns) if 0 <= at <= asked_ns + deadline_ns]
    return tuple(i for _, i in sorted(came))


Decider = Literal["first", "vote", "best"]
DECIDERS: Final[tuple[Decider, ...]] = get_args(Decider)


def decide(decider: Decider, labels: Sequence[int], came: Sequence[int]) -> int:
    """The model whose answer is taken, of those that have come.

    first: the one that came first.  vote: the first to come of the label that most gave, of equal ones that of the
    earliest answer.  best: the lowest number, as models are numbered from the most trusted on.

    Args:
        decider: How.
        labels: What each model that came says; of the others it is not looked at.
        came: The models whose answers have come, in the order of their coming.

    Returns:
        Its number; `NONE` where none has come.
    """
    if not came:
        return NONE
    if decider == "first":
        return came[0]
    if decider == "best":
        return min(came)
    votes: dict[int, int] = {}
    for model in came:
        votes[labels[model]] = votes.get(labels[model], 0) + 1
    most = max(votes.values())
    return next(model for model in came if votes[labels[model]] == most)


def settled(decider: Decider, labels: Sequence[int], came: Sequence[int], awaited: Sequence[int]) -> bool:
    """Whether what is still to come cannot change what `decide` says (of a vote: its label).

    Args:
        decider: How.
        labels: As for `decide`.
        came: As for `decide`.
        awaited: The models whose answers may still come.
    """
    if not awaited:
        return True
    if not came:
        return False
    if decider == "first":
        return True
    if decider == "best":
        return min(came) < min(awaited)
    votes: dict[int, int] = {}
    for model in came:
        votes[labels[model]] = votes.get(labels[model], 0) + 1
    taken = labels[decide(decider, labels, came)]
    others = max((count for label, count in votes.items() if label != taken), default=0)
    # Level is not enough: of labels with as many votes the one whose first answer came first is taken.
    return votes[taken] > others + len(awaited)
