"""From a network to a model: every format that a network can be written in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from models.definition import HEAVY_BYTES, ModelDef
from models.layers import Network

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


def define(network: Network, summary: str, revision: int = 1) -> ModelDef:
    """The model of a network: numpy reference, ONNX, TorchScript, SavedModel, H5."""

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
        from models.keras_model import write_savedmodel

        write_savedmodel(network, network.weights(seed), path)

    def h5(seed: int, path: Path) -> None:
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
