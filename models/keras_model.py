"""A network as a Keras model, and that as a SavedModel or an H5 file.

TensorFlow convolves channels last on a CPU: nothing is turned at the head, and what is flattened is turned before.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.definition import need
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
    Weights,
)
from models.runtimes.tensorflow import SIGNATURE, tensorflow

OUTPUT = "logits"


def write_savedmodel(network: Network, weights: Weights, path: Path) -> None:
    """Writes the folder; its signature takes "input" (batch, *input_shape) and gives "logits" (batch, outputs).

    Raises:
        ModelError: TensorFlow is not installed.
    """
    tf = tensorflow("format savedmodel")
    model = build(network, weights)
    spec = tf.TensorSpec((None, *network.input_shape), tf.float32, name=INPUT)
    serve = tf.function(lambda input: {OUTPUT: model(input, training=False)}, input_signature=[spec])  # noqa: A006
    # With a Keras 3 model as root, the checkpoint's variables are not those that a session (of TensorFlow Java) reads.
    root = tf.Module()
    root.held = [variable.value for variable in model.variables]
    tf.saved_model.save(root, str(path), signatures={SIGNATURE: serve})


def write_h5(network: Network, weights: Weights, path: Path) -> None:
    """Writes the file, without a training configuration.

    Raises:
        ModelError: TensorFlow is not installed.
    """
    tensorflow("format h5")
    import logging

    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)  # that H5 is an old format is known: it is what was asked for
    try:
        build(network, weights).save(str(path), include_optimizer=False)
    finally:
        logger.setLevel(level)


def build(network: Network, weights: Weights) -> Any:
    """The Keras model.

    Raises:
        ModelError: TensorFlow is not installed.
    """
    tensorflow("a Keras model")
    keras = need("keras", "tensorflow", "a Keras model")
    start = keras.Input(network.input_shape, name=INPUT)
    values = {INPUT: start}
    for layer in network.layers:
        values[layer.name] = _apply(keras.layers, layer, network, weights, [values[name] for name in layer.inputs])
    return keras.Model(start, values[network.layers[-1].name], name=network.name.replace("-", "_"))


def _apply(kl: Any, layer: Layer, network: Network, weights: Weights, inputs: list[Any]) -> Any:
    x, name = inputs[0], layer.name

    def array(what: str) -> Any:
        return weights[f"{name}.{what}"]

    if isinstance(layer, Conv):
        if any(layer.pad):
            x = kl.ZeroPadding2D(layer.pad, name=f"{name}_pad")(x)
        made = kl.Conv2D(layer.filters, layer.kernel, layer.stride, "valid", use_bias=layer.bias, name=name)
        result = made(x)
        made.set_weights([array("kernel").transpose(2, 3, 1, 0), *([array("bias")] if layer.bias else [])])
        return result
    if isinstance(layer, BatchNorm):
        made = kl.BatchNormalization(epsilon=layer.epsilon, name=name)
        result = made(x)
        made.set_weights([array(what) for what in ("scale", "shift", "mean", "variance")])
        return result
    if isinstance(layer, Dense):
        made = kl.Dense(layer.units, name=name)
        result = made(x)
        made.set_weights([array("matrix").T, array("bias")])
        return result
    if isinstance(layer, Relu):
        return kl.ReLU(name=name)(x)
    if isinstance(layer, MaxPool):
        if layer.pad:
            x = kl.ZeroPadding2D(layer.pad, name=f"{name}_pad")(x)
        return kl.MaxPooling2D(layer.kernel, layer.stride, name=name)(x)
    if isinstance(layer, AveragePool):
        return kl.AveragePooling2D(layer.kernel, 1, "same", name=name)(x)
    if isinstance(layer, GlobalAverage):
        return kl.GlobalAveragePooling2D(name=name)(x)
    if isinstance(layer, Add):
        return kl.Add(name=name)(inputs)
    if isinstance(layer, Concat):
        return kl.Concatenate(name=name)(inputs)
    if isinstance(layer, Flatten):
        if len(network.shapes[layer.inputs[0]]) == 3:
            x = kl.Permute((3, 1, 2), name=f"{name}_channels_first")(x)
        return kl.Flatten(name=name)(x)
    raise TypeError(f"Keras has no {type(layer).__name__} here")
