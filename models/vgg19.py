"""vgg19: 16 convolutions and 3 dense layers (Simonyan and Zisserman, "Very Deep Convolutional Networks", 2014).

224 x 224 x 3 in, 1,000 raw logits out, 143,667,240 trained values, 19.6 billion multiply-adds; no normalisation.
"""

from __future__ import annotations

from models.layers import INPUT, Conv, Dense, Flatten, MaxPool, Network, Relu, Stack
from models.networks import define

#: Convolutions and filters of each block; a pool halves the image after it.
BLOCKS = ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512))


def network() -> Network:
    """Its layers."""
    s = Stack()
    at = INPUT
    for i, (convolutions, filters) in enumerate(BLOCKS, 1):
        for j in range(1, convolutions + 1):
            name = f"block{i}_{j}"
            at = s.add(Conv(name=name, inputs=(at,), filters=filters, kernel=(3, 3), pad=(1, 1), bias=True))
            at = s.add(Relu(name=f"{name}_relu", inputs=(at,)))
        at = s.add(MaxPool(name=f"block{i}_pool", inputs=(at,), kernel=2, stride=2))
    at = s.add(Flatten(name="flat", inputs=(at,)))
    for name in ("dense1", "dense2"):
        at = s.add(Dense(name=name, inputs=(at,), units=4096))
        at = s.add(Relu(name=f"{name}_relu", inputs=(at,)))
    s.add(Dense(name="logits", inputs=(at,), units=1000))
    return Network("vgg19", (224, 224, 3), tuple(s.layers))


VGG19 = define(network(), "16 convolutions, 3 dense layers, 224x224x3, raw logits", revision=2)
