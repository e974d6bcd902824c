"""Speculative scoring: deciders by exhaustion, threads that are held and let go, and servers in a chain."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from control.selection import DECIDERS, NONE, Decider, decide, settled
from models.messages import Descriptor, encode_descriptor, parse
from real.errors import RefusedError
from real.model_stream.recount import read_topic
from real.model_stream.server import of_type
from real.session import Session
from real.speculative import MOST_MODELS, Speculator, label, parse_speculation
from scenarios.load import load
from tests.real.streams import onnx_model

pytestmark = pytest.mark.measures

ROOT = Path(__file__).resolve().parents[2]
FOREVER_NS = 600 * 10**9
LIMIT_S = 60.0


# -- deciders ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("decider", "came", "winner"),
    [
        ("first", [2, 0, 1], 2),
        ("best", [2, 1, 3], 1),
        ("vote", [0, 1, 2, 3], 1),  # labels 0 7 7 5
        ("vote", [3, 0], 3),
        ("vote", [0, 3, 2, 1], 2),
    ],
)
def test_a_decision(decider: Decider, came: list[int], winner: int) -> None:
    assert decide(decider, [0, 7, 7, 5], came) == winner
    assert decide(decider, [0, 7, 7, 5], []) == NONE


@pytest.mark.parametrize("decider", DECIDERS)
def test_what_is_settled_cannot_change_and_what_can_change_is_not_settled(decider: Decider) -> None:
    """Against every way in which the rest may come, fail to come, and vote."""
    models, kinds = 4, 3
    for order in itertools.permutations(range(models)):
        for votes in itertools.product(range(kinds), repeat=models):
            for cut in range(models + 1):
                came, rest = list(order[:cut]), list(order[cut:])
                taken = decide(decider, votes, came)
                changed = False
                for more in range(len(rest) + 1):
                    for others in itertools.permutations(rest, more):
                        for theirs in itertools.product(range(kinds), repeat=more):
                            labels = list(votes)
                            for model, vote in zip(others, theirs, strict=True):
                                labels[model] = vote
                            now = decide(decider, labels, [*came, *others])
                            same = now == taken or (
                                decider == "vote" and NONE not in (now, taken) and labels[now] == votes[taken]
                            )
                            changed = changed or not same
                if settled(decider, votes, came, rest):
                    assert not changed, (order, votes, cut)
                elif decider != "vote":  # of a vote a tie that the earliest answer would win is waited for, too
                    assert changed, (order, votes, cut)
        if order[0] > 0 and decider == "vote":
            break  # by symmetry: models of a vote have no rank


def test_what_an_answer_votes_for() -> None:
    assert label(np.array([[5.6]])) == 6
    assert label(np.array([[0.1, 0.7, 0.2]])) == 1
    assert label(np.array([[np.nan]])) == NONE


@pytest.mark.parametrize("text", ["", "last", "best", "vote=a", "best=,"])
def test_a_decider_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(RefusedError, match="first, vote, best=NAME"):
        parse_speculation(text)


def test_deciders_are_read() -> None:
    assert parse_speculation("vote") == ("vote", ())
    assert parse_speculation("best=wine/a, wine/b") == ("best", ("wine/a", "wine/b"))


def test_models_of_a_type_are_its_own_and_those_below() -> None:
    held = [(-1, kind) for kind in ("wine/b", "wine", "wine/a", "winery", "beer/a")]
    assert of_type("wine", held) == ["wine", "wine/a", "wine/b"]


# -- threads ----------------------------------------------------------------------------------------------------


class Held:
    """A model that answers when it is let go."""

    def __init__(self, answer: float = 1.0, *, open_at_once: bool = True, error: bool = False) -> None:
        self.answer, self.error = answer, error
        self.go, self.reached = threading.Event(), threading.Event()
        if open_at_once:
            self.go.set()

    def score(self, x: Any) -> Any:
        self.reached.set()
        assert self.go.wait(LIMIT_S)
        if self.error:
            raise ValueError("no answer")
        return np.array([[self.answer]], np.float32)


@pytest.fixture
def speculator() -> Iterator[Callable[..., Speculator]]:
    made: list[Speculator] = []

    def make(*arguments: Any) -> Speculator:
        made.append(Speculator(*arguments))
        return made[-1]

    yield make
    for each in made:
        each.close()


X = np.ones((1, 3), np.float32)


def settle_lanes(speculator: Speculator, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The counters, once they are what was waited for."""
    end = time.monotonic() + LIMIT_S
    while not condition(told := speculator.told()):
        assert time.monotonic() < end, told
        time.sleep(0.005)
    return told


def test_the_first_answer_is_taken_and_the_other_is_late(speculator: Callable[..., Speculator]) -> None:
    found, slow, quick = speculator("first", FOREVER_NS), Held(1, open_at_once=False), Held(2)
    decision = found.score({"slow": slow, "quick": quick}, X)
    assert (decision.winner, decision.output.item(), decision.timed_out) == ("quick", 2, False)
    assert list(decision.answered) == ["quick"]
    slow.go.set()
    told = settle_lanes(found, lambda told: told["models"]["slow"]["late"] == 1)
    assert told["models"]["slow"] == {"asked": 1, "busy": 0, "answered": 0, "late": 1, "failed": 0, "wins": 0}
    assert (told["usage"], told["decided"], told["undecided"], told["timeouts"]) == (1, 1, 0, 0)


def test_a_majority_does_not_wait_for_the_rest(speculator: Callable[..., Speculator]) -> None:
    found, slow = speculator("vote", FOREVER_NS), Held(1, open_at_once=False)
    decision = found.score({"a": Held(6), "b": Held(6.2), "slow": slow}, X)
    assert decision.winner in ("a", "b")
    assert label(decision.output) == 6
    slow.go.set()


def test_the_best_is_waited_for_and_at_the_timeout_the_next_best_is_taken(
    speculator: Callable[..., Speculator],
) -> None:
    found, trusted = speculator("best", 20_000_000, ("z", "m")), Held(1, open_at_once=False)
    scorers = {"a": Held(3), "m": Held(2), "z": trusted}
    assert found.ranked(list(scorers)) == ["z", "m", "a"]
    patient = speculator("best", FOREVER_NS, ("z", "m"))
    assert patient.score({**scorers, "z": Held(1)}, X).winner == "z"
    decision = found.score(scorers, X)
    assert decision.timed_out
    assert decision.winner in (None, "m", "a")  # on a machine that is busy nobody may have come
    if "m" in decision.answered:
        assert decision.winner == "m"
    trusted.go.set()


def test_a_model_that_is_still_busy_is_not_asked_and_none_in_time_is_undecided(
    speculator: Callable[..., Speculator],
) -> None:
    found, slow = speculator("vote", 1_000_000), Held(1, open_at_once=False)
    for _ in range(3):
        decision = found.score({"slow": slow}, X)
        assert (decision.winner, decision.output) == (None, None)
    told = found.told()
    assert told["models"]["slow"] == {"asked": 1, "busy": 2, "answered": 0, "late": 0, "failed": 0, "wins": 0}
    assert (told["usage"], told["undecided"]) == (3, 3)
    assert told["timeouts"] == 1  # where nobody was asked nothing is waited for
    slow.go.set()
    settle_lanes(found, lambda told: told["models"]["slow"]["late"] == 1)


def test_a_model_that_fails_is_counted_and_the_others_decide(speculator: Callable[..., Speculator]) -> None:
    found = speculator("vote", FOREVER_NS)
    decision = found.score({"bad": Held(error=True), "good": Held(4)}, X)
    assert decision.winner == "good"
    assert found.score({"bad": Held(error=True)}, X).winner is None
    models = settle_lanes(found, lambda told: told["models"]["bad"]["failed"] == 2)["models"]
    assert (models["bad"]["answered"], models["good"]["wins"]) == (0, 1)


def test_counters_add_up_over_many_records(speculator: Callable[..., Speculator]) -> None:
    class Sometimes:
        def __init__(self, name: str) -> None:
            self.draws = np.random.default_rng(len(name))

        def score(self, x: Any) -> Any:
            draw = self.draws.random()
            time.sleep(draw * 2e-3)
            if draw > 0.9:
                raise ValueError("now and then")
            return np.array([[round(draw * 3)]], np.float32)

    found = speculator("vote", 1_000_000)
    scorers = {name: Sometimes(name) for name in ("a", "bb", "ccc")}
    decisions = [found.score(scorers, X) for _ in range(300)]
    told = settle_lanes(
        found,
        lambda told: all(of["asked"] == of["answered"] + of["late"] + of["failed"] for of in told["models"].values()),
    )
    assert told["usage"] == 300 == told["decided"] + told["undecided"]
    assert told["decided"] == sum(each.winner is not None for each in decisions)
    for name, of in told["models"].items():
        assert of["asked"] + of["busy"] == 300
        assert of["wins"] == sum(each.winner == name for each in decisions)
        assert of["answered"] == sum(name in each.answered for each in decisions)
    assert told["min_ns"] <= told["total_ns"] / 300 <= told["max_ns"]


def test_a_model_that_is_gone_has_no_thread(speculator: Callable[..., Speculator]) -> None:
    found = speculator("first", FOREVER_NS)
    found.score({"a": Held(), "b": Held()}, X)
    (gone,) = [each for each in threading.enumerate() if each.name == "speculative-b"]
    found.score({"a": Held()}, X)
    gone.join(LIMIT_S)
    assert not gone.is_alive()


def test_too_many_models_are_refused(speculator: Callable[..., Speculator]) -> None:
    with pytest.raises(RefusedError, match="at most"):
        speculator("vote").score({f"m{i}": Held() for i in range(MOST_MODELS + 1)}, X)


# -- servers ----------------------------------------------------------------------------------------------------


def told_by(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def until(found: Callable[[], Any]) -> Any:
    end = time.monotonic() + LIMIT_S
    while not (value := found()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return value


@pytest.mark.kafka
def test_three_models_vote_and_what_they_scored_feeds_a_second_server(kafka: Session, tmp_path: Path) -> None:
    from confluent_kafka import Producer

    bootstrap = kafka.broker(load(ROOT / "scenarios" / "model_stream" / "lifecycle.yaml").broker).bootstrap
    (tmp_path / "rows.csv").write_text("".join(f"{','.join([str(k)] * 11)}\n" for k in (1, 2)))
    started: list[subprocess.Popen[str]] = []

    def serve(name: str, records: str, outputs: str, *more: str) -> str:
        command = [sys.executable, "-m", "real", "model-server", "--bootstrap", bootstrap, "--port", "0"]
        command += ["--records", records, "--outputs", outputs, "--models", f"spec-{name}", "--group", f"spec-{name}-g"]
        popen = subprocess.Popen(
            [*command, "--restore", "earliest", *more],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(popen)
        assert popen.stdout is not None
        url = popen.stdout.readline().partition("state at ")[2].strip()
        assert url, popen.communicate()[1]
        return url

    def publish(topic: str, kind: str, name: str, weight: float) -> None:
        data = onnx_model(np.full(11, weight, np.float32))
        producer.produce(topic, encode_descriptor(Descriptor(name, "", kind, "onnx", data, None, 1)))

    try:
        voting = serve("vote", "spec-r", "spec-scored", "--speculate", "vote", "--timeout", "1 minute")
        second = serve("second", "spec-scored", "spec-twice")
        producer = Producer({"bootstrap.servers": bootstrap})
        for name, weight in (("a", 1.0), ("b", 3.0), ("c", 1.0)):  # 11 and 22 by two of three
            publish("spec-vote", f"wine/{name}", name, weight)
        publish("spec-second", "wine", "negative", -1.0)
        assert producer.flush(30) == 0
        until(lambda: told_by(voting)["loaded"] == 3 and told_by(second)["loaded"] == 1)
        command = [sys.executable, "-m", "real", "publish", "records", "--bootstrap", bootstrap, "--topic", "spec-r"]
        command += ["--directory", str(tmp_path), "--filename", "rows.csv", "--every", "1 ms", "--count", "20"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        until(lambda: told_by(second)["records"] == 20)
        told = until(lambda: (found := told_by(voting))["scored"] == 20 and found)
    finally:
        for popen in started:
            popen.send_signal(signal.SIGINT)
        for popen in started:
            try:
                popen.communicate(timeout=60)
            finally:
                popen.kill()
    first = [parse("Scored", each.value()) for each in read_topic(bootstrap, "spec-scored")]
    assert sorted(each.prediction[0] for each in first) == [11.0] * 10 + [22.0] * 10
    assert {each.model for each in first} <= {"a", "c"}
    twice = [parse("Scored", each.value()) for each in read_topic(bootstrap, "spec-twice")]
    assert sorted(each.prediction[0] for each in twice) == [-22.0] * 10 + [-11.0] * 10
    assert {each.model for each in twice} == {"negative"}
    about = told["speculative"]
    assert (about["usage"], about["decided"], about["undecided"], told["undecided"]) == (20, 20, 0, 0)
    assert about["models"]["wine/b"]["wins"] == 0
    assert about["models"]["wine/a"]["wins"] + about["models"]["wine/c"]["wins"] == 20


# -- simulated --------------------------------------------------------------------------------------------------


def test_the_graph_waits_for_the_slowest(tmp_path: Path) -> None:
    """What `sim` can say of it: a decision when all have answered, at a load at which nobody queues."""
    command = [sys.executable, "-m", "sim", "run", "scenarios/engines/speculative.yaml", "--json", "-o", str(tmp_path)]
    command += ["--set", "workload.arrival.rate=20 /s", "--set", "workload.arrival.kind=constant"]
    found = []
    for base in ("2 ms", "12 ms"):
        done = subprocess.run(
            [*command, "--set", f"stages.forest.base={base}"], cwd=ROOT, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout)["metrics"]["latency_acked_ms_p50"])
    assert found[1] - found[0] == pytest.approx(10, abs=0.5)
