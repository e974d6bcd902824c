"""Perceptrons as Keras H5 files in the layout of Keras 2, written without Keras.

That is what DL4J reads (of Keras 3's own H5 files it makes nothing), and Keras 3 reads it too.  A sequential model:
input, `Flatten`, dense layers with their activation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.definition import need
from models.layers import INPUT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from models.classical import Mlp

#: The Keras that the layout is of.
KERAS_VERSION = "2.15.0"


def write_h5(name: str, model: Mlp, input_shape: Sequence[int], path: Path) -> None:
    """Writes the file, without a training configuration.

    Args:
        name: Of the model.
        model: Without standardisation; the last layer's answer is `identity` (logits).
        input_shape: Of one point.
        path: Of the file.

    Raises:
        ModelError: h5py is not installed.
    """
    h5py = need("h5py", "tensorflow", "format h5")
    import numpy as np
    import orjson

    assert model.mean is None, "a perceptron without standardisation"
    dense = [f"dense{i}" for i in range(1, len(model.layers) + 1)]
    config = {"class_name": "Sequential", "config": {"name": name, "layers": _layers(model, dense, input_shape)}}

    def words(values: Sequence[str]) -> Any:
        return np.array([each.encode() for each in values], "S") if values else np.zeros(0)

    with h5py.File(path, "w") as file:
        file.attrs.update(keras_version=KERAS_VERSION, backend="tensorflow", model_config=orjson.dumps(config).decode())
        root = file.create_group("model_weights")
        root.attrs.update(keras_version=KERAS_VERSION, backend="tensorflow", layer_names=words(["flat", *dense]))
        root.create_group("flat").attrs["weight_names"] = words(())
        for layer, (matrix, bias) in zip(dense, model.layers, strict=True):
            group = root.create_group(layer)
            group.attrs["weight_names"] = words([f"{layer}/kernel:0", f"{layer}/bias:0"])
            group[f"{layer}/kernel:0"] = np.ascontiguousarray(matrix.T)
            group[f"{layer}/bias:0"] = bias


def _layers(model: Mlp, dense: Sequence[str], input_shape: Sequence[int]) -> list[dict[str, Any]]:
    usual = {"trainable": True, "dtype": "float32"}
    batch = {"batch_input_shape": [None, *input_shape]}
    found: list[dict[str, Any]] = [
        {"class_name": "InputLayer", "config": {**batch, "dtype": "float32", "sparse": False, "name": INPUT}},
        {"class_name": "Flatten", "config": {"name": "flat", **usual, "data_format": "channels_last"}},
    ]
    for i, (name, (_, bias)) in enumerate(zip(dense, model.layers, strict=True), 1):
        after = model.between if i < len(dense) else {"identity": "linear"}.get(model.last, model.last)
        found.append(
            {
                "class_name": "Dense",
                "config": {
                    "name": name,
                    **usual,
                    "units": len(bias),
                    "activation": after,
                    "use_bias": True,
                    "kernel_initializer": {"class_name": "GlorotUniform", "config": {"seed": None}},
                    "bias_initializer": {"class_name": "Zeros", "config": {}},
                    **{f"{what}_regularizer": None for what in ("kernel", "bias", "activity")},
                    **{f"{what}_constraint": None for what in ("kernel", "bias")},
                },
            }
        )
    return found
