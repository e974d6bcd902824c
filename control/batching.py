"""How many requests a server takes at once: six policies over one vector of integers.

The functions are plain Python on an int64 vector `v` from place `b` on: a real server calls them as they are, the
simulator's loop compiles them.  No float is involved, so both decide the same.

A batch of n takes t(n), usually nearly alpha * n + beta, and has `slo_ns` to do so.

- fixed: full batches; an incomplete one waits for `delay_ns`, by default `FULL_WAIT_NS`.
- eager: whatever waits, up to `most`, at once.
- delayed: as eager, but an incomplete batch waits for `delay_ns`, from its first request on.
- aimd: the limit grows by `INCREASE` when a full batch took less than 9/10 of the SLO, and falls to 9/10 of the batch
  that took the SLO or longer; in between it stays.
- quantile: aimd until `samples` batches are seen, then the size whose 99th percentile just meets the SLO.
- deadline: what the mean throughput of the last batches gets done in the time that the oldest request has left.

The last three may wait for `delay_ns` too.  The rules are Clipper's (NSDI'17, sections 4.3 and 5.2, and its code).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Policy = Literal["fixed", "eager", "delayed", "aimd", "quantile", "deadline"]
POLICIES: Final[tuple[Policy, ...]] = get_args(Policy)
FIXED, EAGER, DELAYED, AIMD, QUANTILE, DEADLINE = range(6)
#: Those whose limit follows from what batches took.
LEARNING: Final = ("aimd", "quantile", "deadline")

INCREASE: Final = 2
#: Below 9/10 of the SLO the limit grows, and 9/10 of a batch that was too slow is the next limit.
TENTHS: Final = 9
FULL_WAIT_NS: Final = 100_000_000
QUANTILE_PERCENT: Final = 99
SAMPLES: Final = 500  # of 500 to 1,000
THROUGHPUTS: Final = 100  # batches whose throughput counts
#: Bounds within which no sum leaves 63 bits.
MOST_MAX, SAMPLES_MAX = 4096, 1000
_LONGEST_NS: Final = 1 << 34
_FIT_BITS: Final = 4  # alpha is a whole number of 1/16 ns
_RATE_BITS: Final = 36  # a throughput is in requests per 2^36 ns

# Places in the vector; sizes, times and a scratch list of `V_KEPT_MAX` each come after them.
(
    V_POLICY, V_MOST, V_DELAY, V_SLO, V_LIMIT, V_KEPT_MAX, V_KEPT, V_NEXT, V_RATES, V_FITTED, V_ALPHA, V_BETA, V_LISTS,
) = range(13)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rules:
    """What a policy is told.

    Attributes:
        policy: Which one.
        most: No batch is larger.
        delay_ns: How long an incomplete batch waits, from its first request on.
        slo_ns: Of the time a batch takes (deadline: of a request, from its coming).
        samples: Batches that the fit of `quantile` is made of.
    """

    policy: Policy = "eager"
    most: int = 1
    delay_ns: int = 0
    slo_ns: int = 0
    samples: int = SAMPLES

    def __post_init__(self) -> None:
        """Refuses what a policy cannot go by."""
        if not 1 <= self.most <= MOST_MAX:
            raise ValueError(f"most: {self.most} is not within 1 and {MOST_MAX:,}")
        if not 2 <= self.samples <= SAMPLES_MAX:
            raise ValueError(f"samples: {self.samples} is not within 2 and {SAMPLES_MAX:,}")
        if self.policy in LEARNING and self.slo_ns <= 0:
            raise ValueError(f"slo_ns: the policy {self.policy} needs one")

    @property
    def kept(self) -> int:
        """Batches that are remembered."""
        return {"quantile": self.samples, "deadline": THROUGHPUTS}.get(self.policy, 0)

    @property
    def places(self) -> int:
        """Integers in the vector."""
        return V_LISTS + 3 * self.kept

    @property
    def wait_ns(self) -> int:
        """How long an incomplete batch waits."""
        return self.delay_ns or (FULL_WAIT_NS if self.policy == "fixed" else 0)

    @property
    def header(self) -> tuple[int, ...]:
        """The first integers of the vector, before any batch; the others are 0."""
        first = 1 if self.policy in LEARNING else self.most
        left_out = -1 if self.policy == "quantile" else 0  # the first batch is
        return (POLICIES.index(self.policy), self.most, self.wait_ns, self.slo_ns, first, self.kept, 0, left_out)


# ---------------------------------------------------------------- decisions


def limit(v: Any, b: int, remaining_ns: int) -> int:
    """The most requests to take together now.

    Args:
        v: The vector.
        b: Its first place.
        remaining_ns: What is left to the oldest request of its SLO.
    """
    if v[b + V_POLICY] != DEADLINE:
        return int(v[b + V_LIMIT])
    rate = -(-v[b + V_RATES] // max(1, v[b + V_KEPT]))
    if rate == 0 or remaining_ns <= 0:
        return 1
    most = v[b + V_MOST]
    if remaining_ns > (most << _RATE_BITS) // rate:
        return int(most)
    return int(max(1, (rate * remaining_ns) >> _RATE_BITS))


def to_take(v: Any, b: int, waiting: int, waited_ns: int) -> int:
    """How many to take now; 0: wait until the oldest has waited for the delay.

    Args:
        v: The vector.
        b: Its first place.
        waiting: Requests in the queue, at least one.
        waited_ns: How long the oldest has waited.
    """
    most = limit(v, b, v[b + V_SLO] - waited_ns)
    if waiting < most and waited_ns < v[b + V_DELAY]:
        return 0
    return min(waiting, most)


def observe(v: Any, b: int, n: int, took_ns: int) -> None:
    """A batch is done.

    Args:
        v: The vector.
        b: Its first place.
        n: Requests in it.
        took_ns: Time from its taking to its answers.
    """
    policy = v[b + V_POLICY]
    if policy == DEADLINE:
        _remember_rate(v, b, n, took_ns)
    elif policy == QUANTILE:
        if v[b + V_FITTED] == 0:
            _follow(v, b, n, took_ns)
            _remember(v, b, n, took_ns)
    elif policy == AIMD:
        _follow(v, b, n, took_ns)


def _follow(v: Any, b: int, n: int, took_ns: int) -> None:
    """AIMD: only a full batch says that more may be taken, any batch that fewer should."""
    slo = v[b + V_SLO]
    if took_ns >= slo:
        v[b + V_LIMIT] = min(v[b + V_LIMIT], max(1, n * TENTHS // 10))
    elif took_ns < slo - (slo + 9) // 10 and n >= v[b + V_LIMIT]:
        v[b + V_LIMIT] = min(v[b + V_LIMIT] + INCREASE, v[b + V_MOST])


def _remember_rate(v: Any, b: int, n: int, took_ns: int) -> None:
    """A ring of throughputs and their sum."""
    at = b + V_LISTS + v[b + V_NEXT]
    v[b + V_RATES] -= v[at]
    v[at] = -(-(n << _RATE_BITS) // max(1000, took_ns))  # rounded up, or 20 in 20 ms would buy 19
    v[b + V_RATES] += v[at]
    v[b + V_NEXT] = (v[b + V_NEXT] + 1) % v[b + V_KEPT_MAX]
    v[b + V_KEPT] = min(v[b + V_KEPT] + 1, v[b + V_KEPT_MAX])


# ---------------------------------------------------------------- the fit


def _remember(v: Any, b: int, n: int, took_ns: int) -> None:
    """A ring of samples, the first batch left out: it was cold.  Once full, and of several sizes, they are fitted."""
    if v[b + V_NEXT] < 0:
        v[b + V_NEXT] = 0
        return
    most = v[b + V_KEPT_MAX]
    at = b + V_LISTS + v[b + V_NEXT]
    v[at] = n
    v[at + most] = min(took_ns, _LONGEST_NS) << _FIT_BITS
    v[b + V_NEXT] = (v[b + V_NEXT] + 1) % most
    v[b + V_KEPT] = min(v[b + V_KEPT] + 1, most)
    if v[b + V_KEPT] == most and _sizes_vary(v, b):
        fit(v, b)
        v[b + V_LIMIT] = fitting(v, b)
        v[b + V_FITTED] = 1


def _sizes_vary(v: Any, b: int) -> bool:
    i = 1
    while i < v[b + V_KEPT] and v[b + V_LISTS + i] == v[b + V_LISTS]:
        i += 1
    return bool(i < v[b + V_KEPT])


def fit(v: Any, b: int) -> None:
    """The line through the 99th percentiles of the samples: alpha >= 0 with the least pinball loss, then beta >= 0.

    With the best beta for each alpha the loss is convex in alpha, so halving finds the least.
    """
    low, high, most = 0, 0, v[b + V_KEPT_MAX]
    for i in range(v[b + V_KEPT]):
        high = max(high, v[b + V_LISTS + most + i])
    while low < high:
        middle = (low + high) // 2
        if _loss(v, b, middle + 1) >= _loss(v, b, middle):
            high = middle
        else:
            low = middle + 1
    v[b + V_ALPHA] = low
    v[b + V_BETA] = max(0, _intercept(v, b, low))


def fitting(v: Any, b: int) -> int:
    """The size that the line brings to the SLO, rounded (half up)."""
    alpha, left = v[b + V_ALPHA], (v[b + V_SLO] << _FIT_BITS) - v[b + V_BETA]
    if left <= 0:
        return 1
    if alpha == 0:
        return int(v[b + V_MOST])
    return int(min(v[b + V_MOST], max(1, (2 * left + alpha) // (2 * alpha))))


def _loss(v: Any, b: int, alpha: int) -> int:
    """The pinball loss of the best line of a slope."""
    beta = _intercept(v, b, alpha)
    scratch, total = b + V_LISTS + 2 * v[b + V_KEPT_MAX], 0
    for i in range(v[b + V_KEPT]):
        above = v[scratch + i] - beta
        total += above * QUANTILE_PERCENT if above > 0 else -above * (100 - QUANTILE_PERCENT)
    return int(total)


def _intercept(v: Any, b: int, alpha: int) -> int:
    """The 99th percentile of what a slope leaves, which is in the scratch list afterwards, in some order."""
    n, most = v[b + V_KEPT], v[b + V_KEPT_MAX]
    sizes = b + V_LISTS
    scratch = sizes + 2 * most
    for i in range(n):
        v[scratch + i] = v[sizes + most + i] - alpha * v[sizes + i]
    low, high = scratch, scratch + n - 1
    wanted = scratch + (n * QUANTILE_PERCENT + 99) // 100 - 1
    while low < high:  # Hoare's selection
        pivot, i, j = v[(low + high) // 2], low, high
        while i <= j:
            while v[i] < pivot:
                i += 1
            while pivot < v[j]:
                j -= 1
            if i <= j:
                kept = v[i]
                v[i] = v[j]
                v[j] = kept
                i += 1
                j -= 1
        if wanted <= j:
            high = j
        elif wanted >= i:
            low = i
        else:
            break
    return int(v[wanted])


#: What a compiler has to know to compile `limit`, `to_take` and `observe`, callees first.
FUNCTIONS: Final = (
    *(_follow, _remember_rate, _sizes_vary, _intercept, _loss, fit, fitting, _remember),
    *(limit, to_take, observe),
)


class Batcher:
    """A policy with a vector of its own, as a real server has one."""

    def __init__(self, rules: Rules) -> None:
        """Nothing is observed yet."""
        self.rules = rules
        self.vector = made(rules)

    def to_take(self, waiting: int, waited_ns: int) -> int:
        """How many of the waiting requests to take now; 0: none before the oldest has waited for `rules.wait_ns`."""
        return to_take(self.vector, 0, waiting, waited_ns)

    def observe(self, n: int, took_ns: int) -> None:
        """A batch of n took so long."""
        observe(self.vector, 0, n, took_ns)

    def allows(self, remaining_ns: int) -> int:
        """The most requests to take together, with so much of the oldest one's SLO left."""
        return limit(self.vector, 0, remaining_ns)

    @property
    def limit(self) -> int:
        """The most requests it takes together, with all of the SLO left."""
        return self.allows(self.rules.slo_ns)

    @property
    def line(self) -> tuple[float, float] | None:
        """Alpha and beta of the fit in ns, once there is one."""
        if not self.vector[V_FITTED]:
            return None
        return float(self.vector[V_ALPHA]) / (1 << _FIT_BITS), float(self.vector[V_BETA]) / (1 << _FIT_BITS)


def made(rules: Rules) -> Ints:
    """A vector of these rules."""
    v = np.zeros(rules.places, dtype=np.int64)
    v[: len(rules.header)] = rules.header
    return v
