"""Exp3, Exp4 and ensembles: by hand, and that they find the best."""

from __future__ import annotations

import math

import numpy as np
import pytest

from control.selection import LEAST, NONE, Answer, Selector, in_time, learn_all, learn_one, normalise, pick, vote
from scenarios.draws import draw

HALF = 1 << 31


def test_a_draw_picks_by_weight() -> None:
    w = np.array([0.25, 0.5, 0.25])
    assert [pick(w, 0, 3, u) for u in (0, (1 << 30) - 1, 1 << 30, 3 * (1 << 30) - 1, 3 * (1 << 30), (1 << 32) - 1)] == [
        *(0, 0, 1, 1, 2, 2)
    ]


def test_exp3_by_hand() -> None:
    w = np.array([0.25, 0.75])
    learn_one(w, 0, 2, 0, 1.0, 0.1)
    lost = 0.25 * math.exp(-0.1 / 0.25)  # one asked rarely learns more from the same loss
    assert w == pytest.approx([lost / (lost + 0.75), 0.75 / (lost + 0.75)])
    before = w.copy()
    learn_one(w, 0, 2, 1, 0.0, 0.1)
    assert w == pytest.approx(before)


def test_exp4_by_hand() -> None:
    w = np.array([0.5, 0.25, 0.25])
    learn_all(w, 0, 3, [1.0, 0.0, -1.0], math.log(2))  # the third did not answer in time
    assert w == pytest.approx([1 / 3, 1 / 3, 1 / 3])


def test_a_vector_may_hold_other_things_too() -> None:
    w = np.array([9.0, 0.5, 0.5, 9.0])
    learn_one(w, 1, 2, 0, 1.0, 1.0)
    assert (w[0], w[3]) == (9, 9)
    assert w[1] + w[2] == pytest.approx(1)
    assert w[1] < w[2]


def test_no_model_is_given_up() -> None:
    w = np.array([1e-9, 1.0])
    normalise(w, 0, 2)
    assert w[0] == pytest.approx(LEAST, rel=0.01)
    assert w.sum() == pytest.approx(1)


@pytest.mark.parametrize("best", [0, 1])
def test_exp3_comes_to_ask_the_better_of_two(best: int) -> None:
    """Error rates of 10 and 40 %."""
    selector = Selector("exp3", 2)
    picks = []
    for i in range(4000):
        (model,) = selector.select(draw(1, 0, i, 1, 0))
        picks.append(model)
        wrong = draw(1, 1, i, 2, 0) < (0.1 if model == best else 0.4) * (1 << 32)
        selector.observe({model: float(wrong)})
    assert np.mean(np.array(picks[2000:]) == best) > 0.95
    assert selector.weights[best] > 0.95


def test_exp3_comes_back_when_the_better_one_fails() -> None:
    selector = Selector("exp3", 2)
    shares = []
    for i in range(20_000):
        (model,) = selector.select(draw(2, 0, i, 1, 0))
        bad = 0 if i < 5000 else 1
        selector.observe({model: float(model == bad)})
        shares.append(model)
    assert np.mean(shares[4000:5000]) > 0.95
    assert np.mean(shares[-1000:]) < 0.05


def test_exp4_weighs_the_best_of_five_most() -> None:
    rng = np.random.default_rng(4)
    errors = np.array([0.3, 0.25, 0.05, 0.3, 0.4])
    selector = Selector("exp4", 5)
    assert selector.select(HALF) == (0, 1, 2, 3, 4)
    wrong = 0
    for i in range(2000):
        said = {m: int(rng.random() < errors[m]) for m in range(5)}
        answer = selector.combine(said, default=-1)
        wrong += int(i >= 500 and answer.output != 0)
        selector.observe({m: float(out != 0) for m, out in said.items()})
    assert int(np.argmax(selector.weights)) == 2
    assert selector.weights[2] > 0.9
    assert wrong / 1500 < 0.08


def test_a_vote_by_hand() -> None:
    w = np.array([0.4, 0.35, 0.25])
    assert vote(w, 0, 3, [1, 2, 2], 0.0) == 1  # 0.6 against 0.4
    assert vote(w, 0, 3, [1, 2, 3], 0.0) == 0
    assert vote(w, 0, 3, [NONE, 2, 3], 0.0) == 1
    assert vote(w, 0, 3, [1, 2, 3], 0.5) == NONE  # nobody has half of it behind it
    assert vote(w, 0, 3, [NONE, 2, 3], 0.5) == 1  # 0.35 of the 0.6 that answered
    assert vote(w, 0, 3, [NONE] * 3, 0.0) == NONE


def test_an_ensemble_answers_with_what_came_in_time() -> None:
    selector = Selector("exp4", 4)
    came = in_time([3, 9, -1, 5], asked_ns=0, deadline_ns=5)
    assert came == (0, 3)
    assert selector.combine(dict.fromkeys(came, "yes"), "default") == Answer("yes", 0.5, is_default=False, answered=2)
    assert selector.combine({}, "default") == Answer("default", 0.0, is_default=True, answered=0)
    split = selector.combine({0: "yes", 1: "no", 2: "maybe"}, "default", least=0.5)
    assert (split.output, split.is_default, split.answered) == ("default", True, 3)
    assert selector.default_ratio == pytest.approx(2 / 3)


def test_stragglers_lower_the_confidence_not_the_speed() -> None:
    """Ten models, each late one time in five: eight agree in the mean, and the deadline bounds every answer."""
    rng = np.random.default_rng(8)
    selector = Selector("exp4", 10)
    confidence = []
    for _ in range(2000):
        arrived = np.where(rng.random(10) < 0.8, rng.integers(0, 17, 10), rng.integers(18, 200, 10)).tolist()
        answer = selector.combine(dict.fromkeys(in_time(arrived, 0, 17), 1), 0)
        confidence.append(answer.confidence)
    assert np.mean(confidence) == pytest.approx(0.8, abs=4 * math.sqrt(0.16 / 20_000))
    assert selector.default_ratio == 0
