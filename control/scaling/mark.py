"""Each job by itself: replicas for the highest forecast rate, as MArk, Barista and Cocktail provision."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from control.scaling.hybrid import Hybrid
from control.scaling.observation import Action, Observation
from control.scaling.simple import bounded

_ROUNDING = 1e-9


@dataclass
class Mark(Hybrid):
    """Replicas for the busiest of the next minutes: rate x service time / objective, rounded up.

    Jobs do not know of the quota; the ledger grants what is left, first come, first served.
    """

    def _plan(self, seen: Observation) -> Sequence[Action]:
        actions = []
        expected, _ = self._expected(seen, 0.5)
        for job, (view, facts, counts) in enumerate(zip(seen.jobs, self.jobs, expected, strict=True)):
            rate = float(counts.max()) / 60.0
            needed = math.ceil(rate * facts.planned_s / facts.slo_s - _ROUNDING)
            target = bounded(needed, self.min_replicas, self.max_replicas)
            if target != view.replicas:
                actions.append(Action(job, target, f"up to {rate:.1f}/s expected", self.trials))
        return actions
