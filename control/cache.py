"""A cache of predictions: what was answered is not computed again, what is being computed is not computed twice.

As in `control.batching` the functions work on an int64 vector `c` from place `b` on, plainly or compiled.  A key is a
whole number from 0 to `keys` - 1; `PredictionCache` gives numbers to keys of any kind.

A key is absent, in flight (asked for, no answer yet) or present.  The present ones stand in a ring, with a hand that
looks for the next to leave (second chance, "clock"): one that was asked for since the hand last passed loses that mark
and stays, another leaves.  What comes in stands just behind the hand, so it is the last that the hand will look at, and
without a mark.  What is in flight takes no room and is not in the ring, so it never leaves.  The rules are Clipper's
(NSDI'17, section 4.2, and its code).
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Key = TypeVar("Key", bound=Hashable)
Waiter = TypeVar("Waiter")
DEFAULT_BYTES: Final = 32 << 20

#: What asking for a key says: here is the answer; compute it; somebody does, wait for it.
HIT, MISS, IN_FLIGHT = range(3)

# Places in the vector; then `KEY_STRIDE` for each key.
(
    C_ROOM, C_USED, C_HAND, C_PRESENT, C_HITS, C_MISSES, C_COALESCED, C_EVICTED, C_KEYS,
) = range(9)  # fmt: skip
# A key.
K_ABSENT, K_FLYING, K_PRESENT = range(3)
(
    K_STATE, K_MARK, K_BYTES, K_NEXT, K_BEFORE, KEY_STRIDE,
) = range(6)  # fmt: skip
NOBODY = -1


def places(keys: int) -> int:
    """Integers in the vector of a cache for so many keys."""
    return C_KEYS + keys * KEY_STRIDE


def header(room: int) -> tuple[int, ...]:
    """The first integers of the vector of an empty cache of so many bytes; the others are 0."""
    return (room, 0, NOBODY)


def ask(c: Any, b: int, key: int) -> int:
    """HIT, MISS or IN_FLIGHT; after MISS the key is in flight until `answer` or `forget`."""
    k = b + C_KEYS + key * KEY_STRIDE
    if c[k + K_STATE] == K_PRESENT:
        c[k + K_MARK] = 1
        c[b + C_HITS] += 1
        return HIT
    if c[k + K_STATE] == K_FLYING:
        c[b + C_COALESCED] += 1
        return IN_FLIGHT
    c[k + K_STATE] = K_FLYING
    c[b + C_MISSES] += 1
    return MISS


def answer(c: Any, b: int, key: int, size: int) -> None:
    """A key's answer of so many bytes is there: it is kept, if the whole cache can hold it, and others make room."""
    k = b + C_KEYS + key * KEY_STRIDE
    if c[k + K_STATE] != K_FLYING:
        return
    if size > c[b + C_ROOM]:
        c[k + K_STATE] = K_ABSENT
        return
    while c[b + C_USED] + size > c[b + C_ROOM]:
        evict(c, b)
    c[k + K_STATE] = K_PRESENT
    c[k + K_MARK] = 0
    c[k + K_BYTES] = size
    c[b + C_USED] += size
    c[b + C_PRESENT] += 1
    hand = c[b + C_HAND]
    if hand == NOBODY:
        c[k + K_NEXT] = c[k + K_BEFORE] = c[b + C_HAND] = key
        return
    h = b + C_KEYS + hand * KEY_STRIDE
    last = c[h + K_BEFORE]
    c[k + K_NEXT], c[k + K_BEFORE] = hand, last
    c[h + K_BEFORE] = c[b + C_KEYS + last * KEY_STRIDE + K_NEXT] = key


def forget(c: Any, b: int, key: int) -> None:
    """No answer comes for a key in flight: who asks next computes it."""
    k = b + C_KEYS + key * KEY_STRIDE
    if c[k + K_STATE] == K_FLYING:
        c[k + K_STATE] = K_ABSENT


def evict(c: Any, b: int) -> int:
    """The next key to leave leaves; its number."""
    k = b + C_KEYS + c[b + C_HAND] * KEY_STRIDE
    while c[k + K_MARK] == 1:
        c[k + K_MARK] = 0
        c[b + C_HAND] = c[k + K_NEXT]
        k = b + C_KEYS + c[b + C_HAND] * KEY_STRIDE
    gone = c[b + C_HAND]
    after, before = c[k + K_NEXT], c[k + K_BEFORE]
    c[b + C_HAND] = NOBODY if after == gone else after
    c[b + C_KEYS + before * KEY_STRIDE + K_NEXT] = after
    c[b + C_KEYS + after * KEY_STRIDE + K_BEFORE] = before
    c[k + K_STATE] = K_ABSENT
    c[b + C_USED] -= c[k + K_BYTES]
    c[b + C_PRESENT] -= 1
    c[b + C_EVICTED] += 1
    return int(gone)


#: What a compiler has to know to compile the rest, callees first.
FUNCTIONS: Final = (evict, ask, answer, forget)


def counts(c: Any, b: int) -> tuple[int, int, int, int]:
    """Hits, misses, coalesced and evicted so far."""
    return int(c[b + C_HITS]), int(c[b + C_MISSES]), int(c[b + C_COALESCED]), int(c[b + C_EVICTED])


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the questions; their sum is the number of them."""

    hits: int
    misses: int
    coalesced: int
    evicted: int

    @property
    def hit_ratio(self) -> float:
        """Share of the questions that nobody had to compute an answer for; 0 without any."""
        asked = self.hits + self.misses + self.coalesced
        return (self.hits + self.coalesced) / asked if asked else 0.0


@dataclass
class PredictionCache(Generic[Key, Waiter]):
    """The cache of a real server: keys of any kind, answers, and who waits for one that is in flight.

    A key's number is free again once it is neither in flight nor present, so the vector is as long as the most that
    were there at a time.

    Attributes:
        room: Bytes of the answers it keeps.
    """

    room: int = DEFAULT_BYTES
    _vector: Ints = field(init=False)
    _numbers: dict[Key, int] = field(default_factory=dict, init=False)
    _keys: dict[int, Key] = field(default_factory=dict, init=False)
    _free: list[int] = field(default_factory=list, init=False)
    _answers: dict[Key, Any] = field(default_factory=dict, init=False)
    _waiters: dict[Key, list[Waiter]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """An empty cache."""
        self._vector = np.zeros(places(64), dtype=np.int64)
        self._vector[: len(header(self.room))] = header(self.room)
        self._free = list(range(63, -1, -1))

    def ask(self, key: Key, waiter: Waiter) -> tuple[int, Any]:
        """HIT with the answer; MISS: compute it; IN_FLIGHT: the waiter comes back from `answer` or `forget`."""
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = self._number()
            self._keys[number] = key
        found = ask(self._vector, 0, number)
        if found == IN_FLIGHT:
            self._waiters.setdefault(key, []).append(waiter)
        return found, self._answers[key] if found == HIT else None

    def answer(self, key: Key, value: Any, size: int) -> list[Waiter]:
        """The answer of a key in flight; who waits for it."""
        while size <= self.room < self.used + size:
            self._drop(self._keys[evict(self._vector, 0)])
        answer(self._vector, 0, self._numbers[key], size)
        if size <= self.room:
            self._answers[key] = value
        else:
            self._drop(key)
        return self._waiters.pop(key, [])

    def forget(self, key: Key) -> list[Waiter]:
        """No answer will come for a key in flight; who waited for it."""
        forget(self._vector, 0, self._numbers[key])
        self._drop(key)
        return self._waiters.pop(key, [])

    @property
    def counts(self) -> Counts:
        """What became of the questions."""
        return Counts(*counts(self._vector, 0))

    @property
    def used(self) -> int:
        """Bytes of the answers it holds."""
        return int(self._vector[C_USED])

    def __contains__(self, key: object) -> bool:
        """Whether a key's answer is here."""
        return key in self._answers

    def _number(self) -> int:
        if not self._free:
            count = (len(self._vector) - C_KEYS) // KEY_STRIDE
            self._vector = np.concatenate([self._vector, np.zeros(count * KEY_STRIDE, dtype=np.int64)])
            self._free = list(range(2 * count - 1, count - 1, -1))
        return self._free.pop()

    def _drop(self, key: Key) -> None:
        number = self._numbers.pop(key)
        del self._keys[number]
        self._answers.pop(key, None)
        self._free.append(number)
