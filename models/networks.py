"""From a network to a model: every format that a network can be written in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from models.definition import HEAVY_BYTES, ModelDef
from models.layers import INPUT, Dense, Flatten, Network, Relu, Weights

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from models.classical import Mlp

    Floats = NDArray[np.float32]


def define(network: Network, summary: str, revision: int = 1) -> ModelDef:
    """The model of a network: numpy reference, ONNX, TorchScript, SavedModel, H5.

    A perceptron's SavedModel and H5 file are written here, with its weights as constants and in the layout of Keras 2;
    any other's by Keras.
    """

    def forward(seed: int, x: Floats) -> Floats:
        from models.forward import forward

        return forward(network, network.weights(seed), x)

    def onnx(seed: int, path: Path) -> None:
        from models.onnx_graph import build

        path.write_bytes(build(network, network.weights(seed)))

    def torchscript(seed: int, path: Path) -> None:
        from models.torch_module import write

        write(network, network.weights(seed), path)

    def savedmodel(seed: int, path: Path) -> None:
        if is_perceptron(network):
            from models.classical_tensorflow import write_saved_model

            write_saved_model(_perceptron(network, network.weights(seed)), path, network.input_shape)
        else:
            from models.keras_model import write_savedmodel

            write_savedmodel(network, network.weights(seed), path)

    def h5(seed: int, path: Path) -> None:
        if is_perceptron(network):
            from models import keras_h5

            keras_h5.write_h5(network.name, _perceptron(network, network.weights(seed)), network.input_shape, path)
        else:
            from models.keras_model import write_h5

            write_h5(network, network.weights(seed), path)

    return ModelDef(
        name=network.name,
        input_shape=network.input_shape,
        outputs=network.outputs,
        parameters=network.parameters,
        summary=summary,
        forward=forward,
        formats={"onnx": onnx, "torchscript": torchscript, "savedmodel": savedmodel, "h5": h5},
        heavy=network.bytes > HEAVY_BYTES,
        revision=revision,
    )


def is_perceptron(network: Network) -> bool:
    """Whether its layers are a `Flatten`, then dense layers with a ReLU between each two, one after the other."""
    kinds = [type(layer) for layer in network.layers]
    after = [INPUT, *(layer.name for layer in network.layers)]
    inner = [Dense if i % 2 == 0 else Relu for i in range(len(kinds) - 1)]
    one_by_one = all(layer.inputs == (before,) for layer, before in zip(network.layers, after, strict=False))
    return len(kinds) % 2 == 0 and kinds == [Flatten, *inner] and one_by_one


def _perceptron(network: Network, weights: Weights) -> Mlp:
    """The same as a perceptron, of a network that is one."""
    from models.classical import Mlp

    names = [layer.name for layer in network.layers if isinstance(layer, Dense)]
    layers = tuple((weights[f"{name}.matrix"], weights[f"{name}.bias"]) for name in names)
    return Mlp(layers, None, None, "identity", "relu")
