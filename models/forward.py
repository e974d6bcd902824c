"""A network in plain numpy float32: what every runtime's answer is held against."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.layers import (
    INPUT,
    Add,
    AveragePool,
    BatchNorm,
    Concat,
    Conv,
    Dense,
    Flatten,
    GlobalAverage,
    Layer,
    MaxPool,
    Network,
    Pair,
    Relu,
    Weights,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


def forward(network: Network, weights: Weights, x: Floats) -> Floats:
    """Scores points, images one by one so that memory stays small.

    Args:
        network: The layers.
        weights: Of every layer.
        x: (points, *input_shape).

    Returns:
        (points, outputs).
    """
    import numpy as np

    step = 1 if network.is_image else max(1, len(x))
    parts = [_forward(network, weights, x[i : i + step]) for i in range(0, len(x), step)]
    return np.concatenate(parts).reshape(len(x), network.outputs)


def _forward(network: Network, weights: Weights, x: Floats) -> Floats:
    last_use = {name: i for i, layer in enumerate(network.layers) for name in layer.inputs}
    values = {INPUT: x.transpose(0, 3, 1, 2) if network.is_image else x}
    for i, layer in enumerate(network.layers):
        values[layer.name] = _apply(layer, weights, [values[name] for name in layer.inputs])
        for name in layer.inputs:
            if last_use[name] == i:
                values.pop(name, None)
    return values[network.layers[-1].name]


def _apply(layer: Layer, weights: Weights, inputs: list[Floats]) -> Floats:
    import numpy as np

    x = inputs[0]
    result: Floats
    if isinstance(layer, Conv):
        result = _convolve(x, weights[f"{layer.name}.kernel"], layer.stride, layer.pad)
        if layer.bias:
            result = result + weights[f"{layer.name}.bias"][:, None, None]
    elif isinstance(layer, BatchNorm):
        scale, shift, mean, variance = (weights[f"{layer.name}.{w}"] for w in ("scale", "shift", "mean", "variance"))
        factor = scale / np.sqrt(variance + np.float32(layer.epsilon))
        result = x * factor[:, None, None] + (shift - mean * factor)[:, None, None]
    elif isinstance(layer, Relu):
        result = np.maximum(x, np.float32(0))
    elif isinstance(layer, MaxPool):
        result = _windows(x, (layer.kernel,) * 2, layer.stride, (layer.pad,) * 2).max((4, 5))
    elif isinstance(layer, AveragePool):
        around = (layer.kernel // 2,) * 2
        size = (layer.kernel,) * 2
        inside = _windows(np.ones((1, 1, *x.shape[2:]), np.float32), size, 1, around).sum((4, 5))
        result = _windows(x, size, 1, around).sum((4, 5)) / inside
    elif isinstance(layer, GlobalAverage):
        result = x.mean((2, 3))
    elif isinstance(layer, Add):
        result = x + inputs[1]
    elif isinstance(layer, Concat):
        result = np.concatenate(inputs, axis=1)
    elif isinstance(layer, Flatten):
        result = x.reshape(len(x), -1)
    elif isinstance(layer, Dense):
        result = x @ weights[f"{layer.name}.matrix"].T + weights[f"{layer.name}.bias"]
    else:
        raise TypeError(f"numpy has no {type(layer).__name__}")
    return result


def _windows(x: Floats, kernel: Pair, stride: int, pad: Pair) -> Floats:
    """A view (points, channels, rows, columns, *kernel) of every window, edges padded with zeros."""
    import numpy as np

    if any(pad):
        x = np.pad(x, ((0, 0), (0, 0), (pad[0], pad[0]), (pad[1], pad[1])))
    view: Floats = np.lib.stride_tricks.sliding_window_view(x, kernel, (2, 3))
    return view[:, :, ::stride, ::stride]


def _convolve(x: Floats, kernel: Floats, stride: int, pad: Pair) -> Floats:
    points = len(x)
    windows = _windows(x, (kernel.shape[2], kernel.shape[3]), stride, pad)
    rows, columns = windows.shape[2:4]
    flat = windows.transpose(0, 1, 4, 5, 2, 3).reshape(points, -1, rows * columns)
    result: Floats = kernel.reshape(len(kernel), -1) @ flat
    return result.reshape(points, len(kernel), rows, columns)
