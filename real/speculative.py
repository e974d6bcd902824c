"""Speculative scoring: one record to several models at once, and a decider that takes one of their answers in time.

Each model has a thread of its own, so a slow one holds up nobody: one that is still at an earlier record is not asked
again before it is done.  The decision falls as soon as no answer still to come could change it, else at the timeout
with what has come; if nothing has, the record is undecided and has no output.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Protocol

import numpy as np

from control.selection import DECIDERS, NONE, Decider, decide, settled
from real.errors import RefusedError
from scenarios.spec import MS_NS

DEFAULT_TIMEOUT_NS = 100 * MS_NS
#: A thread each.
MOST_MODELS = 32
_END_S = 5.0


class Scorer(Protocol):
    """What scores an input: `models.scorer.Scorer` and whatever a stream of models loads."""

    def score(self, x: Any) -> Any:
        """The prediction for an input."""


def label(prediction: Any) -> int:
    """What an answer votes for: the place of its largest value; a single value rounded to a whole number."""
    values = np.asarray(prediction).ravel()
    if len(values) == 1:
        value = float(values[0])
        return round(value) if np.isfinite(value) else NONE
    return int(np.argmax(values))


def parse_speculation(text: str) -> tuple[Decider, tuple[str, ...]]:
    """Decider and, of `best=NAME,NAME`, the names of models from the most trusted on; else `first` or `vote`.

    Raises:
        RefusedError: It is none of these.
    """
    word, _, names = text.partition("=")
    found = tuple(name.strip() for name in names.split(",") if name.strip())
    for decider in DECIDERS:
        if word == decider and (decider == "best") == bool(found):
            return decider, found
    raise RefusedError("--speculate", f"{text!r} is none of first, vote, best=NAME,NAME")


@dataclass(frozen=True)
class Decision:
    """What became of one record.

    Attributes:
        winner: Name of the model whose answer is taken; None: nothing came in time.
        output: That answer.
        took_ns: Until the decision.
        answered: Model -> how long it took, of those that answered by then.
        timed_out: Whether it fell at the timeout.
    """

    winner: str | None
    output: Any
    took_ns: int
    answered: Mapping[str, int]
    timed_out: bool


@dataclass
class _Of:
    """What one model did."""

    asked: int = 0
    busy: int = 0  # not asked: still at an earlier record
    answered: int = 0
    late: int = 0
    failed: int = 0
    wins: int = 0


@dataclass
class _Asked:
    """One record under way."""

    x: Any
    began_ns: int
    answers: SimpleQueue[tuple[str, Any, bool, int]] = field(default_factory=SimpleQueue)
    over: bool = False


class _Lane:
    """A model's thread."""

    def __init__(self, name: str, lock: threading.Lock, of: _Of) -> None:
        self.name, self._lock, self._of = name, lock, of
        self._asked: SimpleQueue[tuple[_Asked, Scorer] | None] = SimpleQueue()
        self.busy = False
        self.thread = threading.Thread(target=self._work, name=f"speculative-{name}", daemon=True)
        self.thread.start()

    def ask(self, asked: _Asked, scorer: Scorer) -> None:
        self.busy = True
        self._asked.put((asked, scorer))

    def end(self) -> None:
        self._asked.put(None)

    def _work(self) -> None:
        while (found := self._asked.get()) is not None:
            asked, scorer = found
            try:
                output, failed = scorer.score(asked.x), False
            except Exception as error:  # noqa: BLE001 - whatever a runtime raises is this model's failure
                output, failed = error, True
            took = time.perf_counter_ns() - asked.began_ns
            with self._lock:
                self.busy = False
                if failed:
                    self._of.failed += 1
                if asked.over:
                    self._of.late += not failed
                else:
                    asked.answers.put((self.name, output, failed, took))
            del asked, found, output  # a record's data is not held until the next


class Speculator:
    """Asks models and decides; used by one thread."""

    def __init__(
        self,
        decider: Decider,
        timeout_ns: int = DEFAULT_TIMEOUT_NS,
        trusted: Sequence[str] = (),
    ) -> None:
        """Of no models yet: `score` is told which.

        Args:
            decider: How it decides.
            timeout_ns: How long it waits.
            trusted: Names of models from the most trusted on; others come after them, by name.
        """
        self.decider, self.timeout_ns, self._trusted = decider, timeout_ns, list(trusted)
        self._lock = threading.Lock()
        self._lanes: dict[str, _Lane] = {}
        self._of: dict[str, _Of] = {}
        self._since = time.time_ns() // MS_NS
        self._usage = self._total = self._least = self._most = self._undecided = self._timeouts = 0

    def ranked(self, names: Sequence[str]) -> list[str]:
        """Names from the most trusted on."""
        rank = {name: i for i, name in enumerate(self._trusted)}
        return sorted(names, key=lambda name: (rank.get(name, len(rank)), name))

    def score(self, scorers: Mapping[str, Scorer], x: Any) -> Decision:
        """Asks every model and decides.

        Args:
            scorers: Models by name, `MOST_MODELS` at most.
            x: The input; not to be changed while models may still be at it.

        Raises:
            RefusedError: There are too many models.
        """
        if len(scorers) > MOST_MODELS:
            raise RefusedError("--speculate", f"{len(scorers)} models of one type; at most {MOST_MODELS}")
        names = self.ranked(list(scorers))
        number = {name: i for i, name in enumerate(names)}
        asked = _Asked(x, time.perf_counter_ns())
        awaited = self._ask(asked, names, scorers)
        labels, came = [NONE] * len(names), list[int]()
        outputs: dict[int, Any] = {}
        answered: dict[str, int] = {}
        timed_out = False
        while awaited and not settled(self.decider, labels, came, sorted(awaited)):
            left = asked.began_ns + self.timeout_ns - time.perf_counter_ns()
            try:
                name, output, failed, took = asked.answers.get(timeout=max(0, left) / 1e9)
            except Empty:
                timed_out = True
                break
            i = number[name]
            awaited.discard(i)
            if not failed:
                labels[i], outputs[i], answered[name] = label(output), output, took
                came.append(i)
        with self._lock:
            asked.over = True
            while not asked.answers.empty():  # they came between the decision and now
                name, _, failed, _ = asked.answers.get_nowait()
                self._of[name].late += not failed
            chosen = decide(self.decider, labels, came)
            winner = None if chosen == NONE else names[chosen]
            took_ns = time.perf_counter_ns() - asked.began_ns
            self._count(winner, answered, took_ns, timed_out=timed_out)
        return Decision(winner, outputs.get(chosen), took_ns, answered, timed_out)

    def _ask(self, asked: _Asked, names: Sequence[str], scorers: Mapping[str, Scorer]) -> set[int]:
        awaited = set()
        for i, name in enumerate(names):
            of = self._of.setdefault(name, _Of())
            lane = self._lanes.get(name)
            if lane is None:
                lane = self._lanes[name] = _Lane(name, self._lock, of)
            with self._lock:
                if lane.busy:
                    of.busy += 1
                    continue
                of.asked += 1
                lane.ask(asked, scorers[name])
            awaited.add(i)
        for name in self._lanes.keys() - set(names):  # models that are gone
            self._lanes.pop(name).end()
        return awaited

    def _count(self, winner: str | None, answered: Mapping[str, int], took_ns: int, *, timed_out: bool) -> None:
        self._least = min(self._least, took_ns) if self._usage else took_ns
        self._most = max(self._most, took_ns)
        self._usage += 1
        self._total += took_ns
        self._timeouts += timed_out
        for name in answered:
            self._of[name].answered += 1
        if winner is None:
            self._undecided += 1
        else:
            self._of[winner].wins += 1

    def told(self) -> dict[str, Any]:
        """Counters.

        Of records: usage = decided + undecided.  Of a model: asked = answered + late + failed + what is under way.
        """
        with self._lock:
            return {
                "decider": self.decider,
                "since": self._since,
                "timeout_ns": self.timeout_ns,
                "usage": self._usage,
                "decided": self._usage - self._undecided,
                "undecided": self._undecided,
                "timeouts": self._timeouts,
                "total_ns": self._total,
                "min_ns": self._least,
                "max_ns": self._most,
                "models": {name: dict(vars(of)) for name, of in sorted(self._of.items())},
            }

    def close(self) -> None:
        """Ends the threads, those that are not at a record that never ends."""
        for lane in self._lanes.values():
            lane.end()
        end = time.monotonic() + _END_S
        for lane in self._lanes.values():
            lane.thread.join(max(0.0, end - time.monotonic()))
        self._lanes.clear()
