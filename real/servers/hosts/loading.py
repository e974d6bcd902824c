"""A scorer from what a server was told of its model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_WARM_POINTS = 32


def scorer_of(config: Mapping[str, Any], runtime: str | None = None) -> Any:
    """Loads a model and lets it score a few points: a runtime's first calls are not like the others.

    Args:
        config: `Ask.config()`.
        runtime: What scores; None: as asked.
    """
    from models.scorer import load_scorer
    from models.zoo import inputs
    from scenarios.spec import Model

    model = Model(**config["model"])
    found = load_scorer(model, runtime or config["runtime"], config["models"], config["seed"])
    for points in (1, min(config["batch"] * config["points"], _WARM_POINTS)):
        found.score(inputs(model, points, config["seed"]))
    return found


def score_together(scorer: Any, parts: Any) -> list[Any]:
    """Scores several inputs (points, ...) at once; the answers of each."""
    import numpy as np

    if len(parts) == 1:
        return [scorer.score(parts[0])]
    whole = scorer.score(np.concatenate([part.reshape(len(part), -1) for part in parts]))
    return np.split(whole, np.cumsum([len(part) for part in parts])[:-1])
