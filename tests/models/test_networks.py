"""Networks as data: published sizes, shapes, weights, and each layer in numpy, in ONNX and by hand."""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from models import ffnn, inception_v3, resnet50, vgg19
from models.forward import forward
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
    Relu,
    Stack,
)
from models.onnx_graph import build

Floats = NDArray[np.float32]


def every_layer() -> Network:
    """Small, with each kind of layer, uneven sizes, and kernels, strides and edges that are not square."""
    s = Stack()
    at = s.conv("a", INPUT, 6, (3, 5), 2, (1, 2))
    at = s.add(MaxPool(name="pool", inputs=(at,), kernel=3, stride=2, pad=1))
    left = s.add(Conv(name="left", inputs=(at,), filters=4, kernel=(1, 3), pad=(0, 1), bias=True))
    right = s.conv("right", s.add(AveragePool(name="mean", inputs=(at,), kernel=3)), 3, 1, relu=False)
    at = s.add(Concat(name="both", inputs=(left, right)))
    at = s.add(Add(name="sum", inputs=(at, s.conv("again", at, 7, 3, 1, 1))))
    flat = s.add(Flatten(name="flat", inputs=(at,)))
    s.add(Dense(name="dense", inputs=(flat,), units=5))
    return Network("every", (23, 18, 3), tuple(s.layers))


def averaged() -> Network:
    s = Stack()
    at = s.add(GlobalAverage(name="mean", inputs=(s.conv("a", INPUT, 4, 3),)))
    s.add(Dense(name="dense", inputs=(at,), units=3))
    return Network("averaged", (5, 7, 2), tuple(s.layers))


@pytest.mark.parametrize(
    ("network", "parameters", "multiplications"),
    [
        # torchvision's tables of these models; multiplications in 10^9 as it rounds them.
        (resnet50.network(), 25_557_032, 4.09),
        (vgg19.network(), 143_667_240, 19.63),
        (inception_v3.network(), 23_834_568, 5.71),
        # 784 * 32 + 3 * 32 * 32 + 32 * 10 + biases.
        (ffnn.network(), 28_618, 28_480e-9),
    ],
    ids=lambda value: value.name if isinstance(value, Network) else "",
)
def test_a_network_has_its_published_size(network: Network, parameters: int, multiplications: float) -> None:
    assert network.parameters == parameters
    assert network.multiplications / 1e9 == pytest.approx(multiplications, rel=2e-3)
    assert network.shapes[network.layers[-1].name] == (network.outputs,)


def test_images_shrink_as_they_should() -> None:
    shapes = resnet50.network().shapes
    assert [shapes[f"stage{i}_1_relu"] for i in (1, 2, 3, 4)] == [
        (256, 56, 56),
        (512, 28, 28),
        (1024, 14, 14),
        (2048, 7, 7),
    ]
    assert vgg19.network().shapes["flat"] == (25_088,)
    shapes = inception_v3.network().shapes
    found = {name: shapes[name] for name in ("stem_pool2", "mixed1", "mixed3", "mixed4", "mixed8", "mixed9", "mixed11")}
    assert found == {
        "stem_pool2": (192, 35, 35),
        "mixed1": (256, 35, 35),
        "mixed3": (288, 35, 35),
        "mixed4": (768, 17, 17),
        "mixed8": (768, 17, 17),
        "mixed9": (1280, 8, 8),
        "mixed11": (2048, 8, 8),
    }


@pytest.mark.parametrize("network", [every_layer(), averaged(), ffnn.network()], ids=lambda n: n.name)
def test_onnx_runtime_answers_as_numpy_does(tmp_path: Path, network: Network) -> None:
    import onnxruntime

    x = np.random.default_rng(1).random((4, *network.input_shape), np.float32)
    content = build(network, network.weights(7))
    onnx.checker.check_model(onnx.load_from_string(content))
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {"input": x})
    expected = forward(network, network.weights(7), x)
    assert answer.shape == expected.shape == (4, network.outputs)
    np.testing.assert_allclose(answer, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("network", [every_layer(), averaged()], ids=lambda n: n.name)
def test_the_standards_own_evaluator_agrees(network: Network) -> None:
    from onnx.reference import ReferenceEvaluator

    x = np.random.default_rng(2).random((2, *network.input_shape), np.float32)
    found = list(ReferenceEvaluator(build(network, network.weights(7))).run(None, {"input": x}))
    answer = np.asarray(found[0], np.float32)
    expected = forward(network, network.weights(7), x)
    np.testing.assert_allclose(answer, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def alone(layer: Layer, input_shape: tuple[int, int, int], weights: dict[str, Floats], x: Floats) -> Floats:
    """What one layer makes of an image (height, width, channels), as (channels, height, width)."""
    network = Network("one", input_shape, (layer,))
    return forward(network, weights, x[None]).reshape(network.shapes[layer.name])


def test_a_convolution_by_hand() -> None:
    rng = np.random.default_rng(3)
    x = rng.random((6, 5, 2), np.float32)
    kernel, bias = rng.random((3, 2, 3, 2), np.float32), rng.random(3, np.float32)
    layer = Conv(name="c", inputs=(INPUT,), filters=3, kernel=(3, 2), stride=2, pad=(1, 0), bias=True)
    found = alone(layer, (6, 5, 2), {"c.kernel": kernel, "c.bias": bias}, x)
    assert found.shape == (3, 3, 2)
    for f, row, column in itertools.product(range(3), range(3), range(2)):
        total = float(bias[f])
        for channel, i, j in itertools.product(range(2), range(3), range(2)):
            y = 2 * row + i - 1
            if 0 <= y < 6:
                total += float(x[y, 2 * column + j, channel] * kernel[f, channel, i, j])
        assert found[f, row, column] == pytest.approx(total, rel=1e-5)


def test_averages_leave_out_what_lies_beyond_the_edge() -> None:
    x = np.full((4, 3, 1), 5.0, np.float32)
    found = alone(AveragePool(name="p", inputs=(INPUT,), kernel=3), (4, 3, 1), {}, x)
    np.testing.assert_allclose(found, np.full((1, 4, 3), 5.0))


def test_a_normalisation_by_hand() -> None:
    values = {"scale": 3.0, "shift": 0.5, "mean": 2.0, "variance": 0.24}
    weights = {f"n.{what}": np.array([value], np.float32) for what, value in values.items()}
    found = alone(BatchNorm(name="n", inputs=(INPUT,), epsilon=0.01), (1, 1, 1), weights, np.full((1, 1, 1), 4.0, "f"))
    assert found.item() == pytest.approx(3 * (4 - 2) / 0.5 + 0.5, rel=1e-5)


def test_weights_depend_on_seed_and_name_only() -> None:
    network = every_layer()
    first, other = network.weights(1), network.weights(2)
    assert first.keys() == network.weight_shapes.keys()
    for name, shape in network.weight_shapes.items():
        assert first[name].shape == shape
        assert first[name].dtype == np.float32
        np.testing.assert_array_equal(first[name], network.weights(1)[name])
        assert (first[name] != other[name]).any()
    cut = dataclasses.replace(network, layers=network.layers[:4])
    np.testing.assert_array_equal(cut.weights(1)["a.kernel"], first["a.kernel"])


def test_what_flows_keeps_its_size() -> None:
    """Through forty layers a signal neither dies nor explodes."""
    s = Stack()
    at = INPUT
    for i in range(40):
        at = s.conv(f"c{i}", at, 16, 3, 1, 1)
    network = Network("deep", (8, 8, 4), tuple(s.layers))
    x = np.random.default_rng(0).random((1, 8, 8, 4), np.float32)
    answer = forward(network, network.weights(0), x)
    assert 0.01 < math.sqrt(float((answer**2).mean())) < 100


def test_layers_that_do_not_fit_are_told() -> None:
    relu = Relu(name="r", inputs=(INPUT,))
    for layers, message in (
        ((Relu(name="r", inputs=("x",)),), r"layer 'r' reads 'x', which does not come before it"),
        ((relu, relu), r"two layers are called 'r'"),
        ((Dense(name="d", inputs=(INPUT,), units=3),), r"dense layer 'd' reads \(3, 4, 4\): flatten it first"),
        ((MaxPool(name="p", inputs=(INPUT,), kernel=3, stride=2, pad=1),), r"padded pool 'p' does not follow a ReLU"),
        (
            (MaxPool(name="p", inputs=(INPUT,), kernel=2, stride=2), Add(name="a", inputs=("p", INPUT))),
            r"layer 'a' adds",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            _ = Network("wrong", (4, 4, 3), layers).shapes
