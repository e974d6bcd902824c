"""What TorchServe's worker calls with a batch of requests: raw float32 there and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from real.servers.hosts.loading import score_together, scorer_of

_KEYS = ("body", "data")
_state: dict[str, Any] = {}


def handle(data: Any, context: Any) -> list[bytes] | None:
    """Loads the model when called without data, else scores the batch; one answer a request."""
    if not _state:
        properties = context.system_properties
        config = json.loads((Path(properties["model_dir"]) / "weir.json").read_text())
        _state["scorer"] = scorer_of(config, "torch")
        from models.zoo import model
        from scenarios.spec import Model

        _state["values"] = model(Model(**config["model"])).values
    if data is None:
        return None
    parts = []
    for request in data:
        body = next(request[key] for key in _KEYS if key in request)
        parts.append(np.frombuffer(bytes(body), "<f4").reshape(-1, _state["values"]))
    return [answer.astype("<f4", copy=False).tobytes() for answer in score_together(_state["scorer"], parts)]
