"""resnet50: the residual network of 50 layers (He et al., "Deep Residual Learning for Image Recognition", 2015).

224 x 224 x 3 in, 1,000 raw logits out, 25,557,032 trained values, 4.1 billion multiply-adds.  The stride of a stage is
in its first block's 3 x 3 convolution, as in torchvision, NVIDIA's and MLPerf's files (called v1.5).  The last
normalisation of a branch has a small scale, so that what flows grows little from block to block.
"""

from __future__ import annotations

from models.layers import INPUT, Add, Dense, GlobalAverage, MaxPool, Network, Relu, Stack
from models.networks import define

#: Blocks and width of each stage; a block's output has four times the width.
STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))
_BRANCH_GAIN = 0.3


def network() -> Network:
    """Its layers."""
    s = Stack()
    at = s.conv("stem", INPUT, 64, 7, 2, 3)
    at = s.add(MaxPool(name="stem_pool", inputs=(at,), kernel=3, stride=2, pad=1))
    for i, (blocks, width) in enumerate(STAGES):
        for block in range(blocks):
            first = block == 0
            stride = 2 if first and i > 0 else 1
            name = f"stage{i + 1}_{block + 1}"
            branch = s.conv(f"{name}_a", at, width, 1)
            branch = s.conv(f"{name}_b", branch, width, 3, stride, 1)
            branch = s.conv(f"{name}_c", branch, 4 * width, 1, gain=_BRANCH_GAIN, relu=False)
            if first:
                at = s.conv(f"{name}_short", at, 4 * width, 1, stride, relu=False)
            at = s.add(Add(name=f"{name}_sum", inputs=(branch, at)))
            at = s.add(Relu(name=f"{name}_relu", inputs=(at,)))
    at = s.add(GlobalAverage(name="mean", inputs=(at,)))
    s.add(Dense(name="logits", inputs=(at,), units=1000))
    return Network("resnet50", (224, 224, 3), tuple(s.layers))


RESNET50 = define(network(), "50 layers with residuals (v1.5), 224x224x3, raw logits", revision=2)
