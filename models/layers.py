"""Networks as plain data: typed layers, their shapes, their weights drawn from a seed.

A network is written once, as a list of named layers, and read by everything that needs it: the numpy reference
(`models.forward`), the ONNX graph (`models.onnx_graph`), a torch module (`models.torch_module`), a Keras model
(`models.keras_model`).  Shapes inside are (channels, height, width); a network's input is (height, width, channels),
as images and payloads are laid out, and turned once at its head.  `Flatten` reads channel by channel.

Weights are drawn layer by layer, each from the seed and its own name, so that they do not depend on the order of
layers.  Matrices and kernels are normal with variance gain^2 / fan in (gain sqrt 2, which keeps the size of what flows
through a ReLU the same); a normalisation's statistics are those its input has then, about zero and one.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

Shape: TypeAlias = tuple[int, ...]
Pair: TypeAlias = tuple[int, int]
INPUT = "input"
RELU_GAIN = math.sqrt(2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer: its name, and the names of the layers (or "input") that it reads."""

    name: str
    inputs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conv(Layer):
    """A two-dimensional convolution; `pad` rows and columns of zeros on both sides."""

    filters: int
    kernel: Pair
    stride: int = 1
    pad: Pair = (0, 0)
    bias: bool = False
    gain: float = RELU_GAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchNorm(Layer):
    """A normalisation by stored statistics; `gain` is about what its scale is."""

    epsilon: float = 1e-5
    gain: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Relu(Layer):
    """max(x, 0)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxPool(Layer):
    """The largest of a window; a padded one may only follow a `Relu`, where padding with zeros changes nothing."""

    kernel: int
    stride: int
    pad: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AveragePool(Layer):
    """The mean of a window, of what of it lies inside; stride 1, the shape stays."""

    kernel: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalAverage(Layer):
    """The mean of each channel: (channels,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Add(Layer):
    """The sum of two layers of one shape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Concat(Layer):
    """Several layers' channels, one after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flatten(Layer):
    """All values, channel by channel: (values,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dense(Layer):
    """A matrix and a bias."""

    units: int
    gain: float = RELU_GAIN


#: Weights by `layer.what`: a kernel (filters, channels, height, width), a matrix (units, fan in), vectors.
Weights: TypeAlias = "Mapping[str, Floats]"


@dataclass(frozen=True)
class Network:
    """A network.

    Attributes:
        name: Of the model.
        input_shape: (height, width, channels), or anything else that the first layer flattens.
        layers: In an order in which each comes after those it reads; the last one's output is the answer.
        drawn: (seed) -> weights, where they are not drawn as this module says.
    """

    name: str
    input_shape: Shape
    layers: tuple[Layer, ...]
    drawn: Callable[[int], Weights] | None = None

    @cached_property
    def is_image(self) -> bool:
        """Whether the input is an image, (height, width, channels), to be turned to channels first."""
        return len(self.input_shape) == 3

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """Output shape of each layer, without the batch axis, channels first; "input" included.

        Raises:
            ValueError: Layers that do not fit together.
        """
        height, width, channels = self.input_shape if self.is_image else (0, 0, 0)
        found: dict[str, Shape] = {INPUT: (channels, height, width) if self.is_image else self.input_shape}
        rectified = {layer.name for layer in self.layers if isinstance(layer, Relu)}
        for layer in self.layers:
            if isinstance(layer, MaxPool) and layer.pad and layer.inputs[0] not in rectified:
                raise ValueError(f"{self.name}: padded pool {layer.name!r} does not follow a ReLU")
            if layer.name in found:
                raise ValueError(f"{self.name}: two layers are called {layer.name!r}")
            try:
                found[layer.name] = _shape(layer, [found[name] for name in layer.inputs])
            except KeyError as error:
                raise ValueError(
                    f"{self.name}: layer {layer.name!r} reads {error}, which does not come before it"
                ) from None
        return found

    @cached_property
    def outputs(self) -> int:
        """Values of an answer."""
        return math.prod(self.shapes[self.layers[-1].name])

    @cached_property
    def weight_shapes(self) -> dict[str, Shape]:
        """Shape of each array of weights by `layer.what`, the statistics of normalisations included."""
        return {
            f"{layer.name}.{what}": shape
            for layer in self.layers
            for what, shape in _weight_shapes(layer, self.shapes[layer.inputs[0]])
        }

    @cached_property
    def parameters(self) -> int:
        """Trained values: those of normalisations' statistics are not."""
        shapes = self.weight_shapes.items()
        return sum(math.prod(shape) for name, shape in shapes if name.rpartition(".")[2] not in ("mean", "variance"))

    @cached_property
    def multiplications(self) -> int:
        """Multiply-adds of convolutions and matrices for one point."""
        total = 0
        for layer in self.layers:
            if isinstance(layer, Conv):
                total += math.prod(self.weight_shapes[f"{layer.name}.kernel"]) * math.prod(self.shapes[layer.name][1:])
            elif isinstance(layer, Dense):
                total += math.prod(self.weight_shapes[f"{layer.name}.matrix"])
        return total

    @cached_property
    def bytes(self) -> int:
        """Bytes of all weights as float32."""
        return 4 * sum(math.prod(shape) for shape in self.weight_shapes.values())

    def weights(self, seed: int) -> Weights:
        """All weights, float32, drawn from the seed."""
        if self.drawn is not None:
            return self.drawn(seed)
        return {f"{layer.name}.{what}": array for layer in self.layers for what, array in self._draw(layer, seed)}

    def _draw(self, layer: Layer, seed: int) -> Iterator[tuple[str, Floats]]:
        import numpy as np

        key = hashlib.sha256(f"{self.name}/{layer.name}".encode()).digest()
        rng = np.random.default_rng([seed, int.from_bytes(key[:8], "big")])

        def normal(shape: Shape, deviation: float) -> Floats:
            return rng.standard_normal(shape, np.float32) * np.float32(deviation)

        def uniform(shape: Shape, low: float, high: float) -> Floats:
            return (rng.random(shape, np.float32) * np.float32(high - low)) + np.float32(low)

        for what, shape in _weight_shapes(layer, self.shapes[layer.inputs[0]]):
            if isinstance(layer, Conv | Dense):
                fan_in = math.prod(shape[1:])
                deviation = layer.gain / math.sqrt(fan_in) if what in ("kernel", "matrix") else 0.05
                yield what, normal(shape, deviation)
            elif isinstance(layer, BatchNorm):
                if what in ("scale", "variance"):
                    about = layer.gain if what == "scale" else 1.0
                    yield what, uniform(shape, 0.8 * about, 1.2 * about)
                else:
                    yield what, normal(shape, 0.05)


def _weight_shapes(layer: Layer, before: Shape) -> list[tuple[str, Shape]]:
    if isinstance(layer, Conv):
        kernel = ("kernel", (layer.filters, before[0], *layer.kernel))
        return [kernel, ("bias", (layer.filters,))] if layer.bias else [kernel]
    if isinstance(layer, Dense):
        return [("matrix", (layer.units, before[0])), ("bias", (layer.units,))]
    if isinstance(layer, BatchNorm):
        return [(what, (before[0],)) for what in ("scale", "shift", "mean", "variance")]
    return []


def _shape(layer: Layer, before: list[Shape]) -> Shape:
    first = before[0]
    if isinstance(layer, Conv):
        return layer.filters, *_windows(first[1:], layer.kernel, layer.stride, layer.pad)
    if isinstance(layer, MaxPool):
        return first[0], *_windows(first[1:], (layer.kernel,) * 2, layer.stride, (layer.pad,) * 2)
    if isinstance(layer, GlobalAverage):
        return first[:1]
    if isinstance(layer, Flatten):
        return (math.prod(first),)
    if isinstance(layer, Dense):
        if len(first) != 1:
            raise ValueError(f"dense layer {layer.name!r} reads {first}: flatten it first")
        return (layer.units,)
    if isinstance(layer, Concat):
        if len({shape[1:] for shape in before}) != 1:
            raise ValueError(f"layer {layer.name!r} joins {before}")
        return sum(shape[0] for shape in before), *first[1:]
    if isinstance(layer, Add) and len(set(before)) != 1:
        raise ValueError(f"layer {layer.name!r} adds {before}")
    return first


def _windows(size: Shape, kernel: Pair, stride: int, pad: Pair) -> Shape:
    return tuple((n + 2 * p - k) // stride + 1 for n, k, p in zip(size, kernel, pad, strict=True))


class Stack:
    """Writes layers one after the other: each method adds one and returns its name."""

    def __init__(self) -> None:
        self.layers: list[Layer] = []

    def add(self, layer: Layer) -> str:
        """Adds a layer."""
        self.layers.append(layer)
        return layer.name

    def conv(
        self,
        name: str,
        source: str,
        filters: int,
        kernel: int | Pair,
        stride: int = 1,
        pad: int | Pair = 0,
        *,
        epsilon: float = 1e-5,
        gain: float = 1.0,
        relu: bool = True,
    ) -> str:
        """A convolution without bias, its normalisation and, unless told otherwise, a ReLU."""
        size = (kernel, kernel) if isinstance(kernel, int) else kernel
        edge = (pad, pad) if isinstance(pad, int) else pad
        at = self.add(Conv(name=name, inputs=(source,), filters=filters, kernel=size, stride=stride, pad=edge))
        at = self.add(BatchNorm(name=f"{name}_norm", inputs=(at,), epsilon=epsilon, gain=gain))
        return self.add(Relu(name=f"{name}_relu", inputs=(at,))) if relu else at
