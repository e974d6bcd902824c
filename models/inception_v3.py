"""inception-v3: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2015.

299 x 299 x 3 in, 1,000 raw logits out, 23,834,568 trained values (without the auxiliary head, which only training
needs), 5.7 billion multiply-adds.  Its averages leave out what lies beyond the edge.
"""

from __future__ import annotations

from models.layers import INPUT, AveragePool, Concat, Dense, GlobalAverage, MaxPool, Network, Pair, Stack
from models.networks import define

EPSILON = 1e-3


class _Inception(Stack):
    def cell(
        self, name: str, source: str, filters: int, kernel: int | Pair, stride: int = 1, *, wide: bool = True
    ) -> str:
        """A convolution; `wide`: padded so that the image keeps its size."""
        size = (kernel, kernel) if isinstance(kernel, int) else kernel
        pad = (size[0] // 2, size[1] // 2) if wide else (0, 0)
        return self.conv(name, source, filters, size, stride, pad, epsilon=EPSILON)

    def pooled(self, name: str, source: str, filters: int) -> str:
        """An average of 3 x 3 and a convolution of 1 x 1."""
        mean = self.add(AveragePool(name=f"{name}_mean", inputs=(source,), kernel=3))
        return self.cell(f"{name}_pool", mean, filters, 1)

    def halved(self, name: str, source: str) -> str:
        """The largest of 3 x 3, every second."""
        return self.add(MaxPool(name=name, inputs=(source,), kernel=3, stride=2))

    def join(self, name: str, *sources: str) -> str:
        """Channels one after the other."""
        return self.add(Concat(name=name, inputs=sources))

    def grid35(self, name: str, at: str, pool: int) -> str:
        one = self.cell(f"{name}_1", at, 64, 1)
        five = self.cell(f"{name}_5b", self.cell(f"{name}_5a", at, 48, 1), 64, 5)
        three = self.cell(f"{name}_3b", self.cell(f"{name}_3a", at, 64, 1), 96, 3)
        three = self.cell(f"{name}_3c", three, 96, 3)
        return self.join(name, one, five, three, self.pooled(name, at, pool))

    def grid17(self, name: str, at: str, width: int) -> str:
        one = self.cell(f"{name}_1", at, 192, 1)
        two = self.cell(f"{name}_7b", self.cell(f"{name}_7a", at, width, 1), width, (1, 7))
        two = self.cell(f"{name}_7c", two, 192, (7, 1))
        four = self.cell(f"{name}_77a", at, width, 1)
        for letter, kernel, filters in (("b", (7, 1), width), ("c", (1, 7), width), ("d", (7, 1), width)):
            four = self.cell(f"{name}_77{letter}", four, filters, kernel)
        four = self.cell(f"{name}_77e", four, 192, (1, 7))
        return self.join(name, one, two, four, self.pooled(name, at, 192))

    def grid8(self, name: str, at: str) -> str:
        one = self.cell(f"{name}_1", at, 320, 1)
        three = self.cell(f"{name}_3a", at, 384, 1)
        wide, tall = self.cell(f"{name}_3b", three, 384, (1, 3)), self.cell(f"{name}_3c", three, 384, (3, 1))
        double = self.cell(f"{name}_33b", self.cell(f"{name}_33a", at, 448, 1), 384, 3)
        double_wide = self.cell(f"{name}_33c", double, 384, (1, 3))
        double_tall = self.cell(f"{name}_33d", double, 384, (3, 1))
        return self.join(name, one, wide, tall, double_wide, double_tall, self.pooled(name, at, 192))


def network() -> Network:
    """Its layers."""
    s = _Inception()
    at = s.cell("stem1", INPUT, 32, 3, 2, wide=False)
    at = s.cell("stem2", at, 32, 3, wide=False)
    at = s.halved("stem_pool1", s.cell("stem3", at, 64, 3))
    at = s.cell("stem4", at, 80, 1)
    at = s.halved("stem_pool2", s.cell("stem5", at, 192, 3, wide=False))
    for name, pool in (("mixed1", 32), ("mixed2", 64), ("mixed3", 64)):
        at = s.grid35(name, at, pool)
    double = s.cell("mixed4_b", s.cell("mixed4_a", at, 64, 1), 96, 3)
    double = s.cell("mixed4_c", double, 96, 3, 2, wide=False)
    at = s.join("mixed4", s.cell("mixed4_3", at, 384, 3, 2, wide=False), double, s.halved("mixed4_pool", at))
    for name, width in (("mixed5", 128), ("mixed6", 160), ("mixed7", 160), ("mixed8", 192)):
        at = s.grid17(name, at, width)
    three = s.cell("mixed9_3b", s.cell("mixed9_3a", at, 192, 1), 320, 3, 2, wide=False)
    seven = s.cell("mixed9_7b", s.cell("mixed9_7a", at, 192, 1), 192, (1, 7))
    seven = s.cell("mixed9_7d", s.cell("mixed9_7c", seven, 192, (7, 1)), 192, 3, 2, wide=False)
    at = s.join("mixed9", three, seven, s.halved("mixed9_pool", at))
    at = s.grid8("mixed11", s.grid8("mixed10", at))
    at = s.add(GlobalAverage(name="mean", inputs=(at,)))
    s.add(Dense(name="logits", inputs=(at,), units=1000))
    return Network("inception-v3", (299, 299, 3), tuple(s.layers))


INCEPTION_V3 = define(network(), "inception modules, no auxiliary head, 299x299x3, raw logits", revision=2)
