"""ffnn: the feed-forward network of the Crayfish benchmark, 784-32-32-32-32-10 with ReLU between, raw logits.

28,618 parameters and about 57 thousand floating point operations a point: a model so small that (de)serialisation
and the clients cost more than scoring does.  Weights are drawn uniform in +-1/sqrt(fan in), the usual initialisation.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from models.layers import INPUT, Dense, Flatten, Network, Relu, Stack, Weights
from models.networks import define

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

WIDTHS = (784, 32, 32, 32, 32, 10)


def weights(seed: int) -> list[tuple[Floats, Floats]]:
    """The layers' (matrix (fan out, fan in), bias (fan out)), drawn from the seed."""
    import numpy as np

    rng = np.random.default_rng([seed, 0xFF])
    layers = []
    for fan_in, fan_out in pairwise(WIDTHS):
        bound = 1.0 / math.sqrt(fan_in)
        matrix = rng.uniform(-bound, bound, (fan_out, fan_in)).astype(np.float32)
        layers.append((matrix, rng.uniform(-bound, bound, fan_out).astype(np.float32)))
    return layers


def named(layers: list[tuple[Floats, Floats]]) -> Weights:
    """The same by the names of `network`."""
    found: dict[str, Floats] = {}
    for i, (matrix, bias) in enumerate(layers, 1):
        found |= {f"dense{i}.matrix": matrix, f"dense{i}.bias": bias}
    return found


def network() -> Network:
    """Its layers."""
    s = Stack()
    at = s.add(Flatten(name="flat", inputs=(INPUT,)))
    for i, units in enumerate(WIDTHS[1:], 1):
        at = s.add(Dense(name=f"dense{i}", inputs=(at,), units=units))
        if i < len(WIDTHS) - 1:
            at = s.add(Relu(name=f"dense{i}_relu", inputs=(at,)))
    return Network("ffnn", (28, 28), tuple(s.layers), lambda seed: named(weights(seed)))


FFNN = define(network(), "784-32-32-32-32-10, ReLU between, raw logits", revision=3)
