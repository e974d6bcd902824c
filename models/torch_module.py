"""A network as a torch module, and that as a TorchScript file."""

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


def write(network: Network, weights: Weights, path: Path) -> None:
    """Writes the traced module; its batch axis is free.

    Raises:
        ModelError: torch is not installed.
    """
    import warnings

    torch = need("torch", "torch", "format torchscript")
    module = build(network, weights)
    with warnings.catch_warnings(), torch.inference_mode():
        for kind in (DeprecationWarning, FutureWarning):  # torch calls TorchScript itself deprecated
            warnings.simplefilter("ignore", kind)
        traced = torch.jit.trace(module, torch.zeros(2, *network.input_shape), check_trace=False)
        torch.jit.save(traced, str(path))


def build(network: Network, weights: Weights) -> Any:
    """The module: input (batch, *input_shape), answer (batch, outputs).

    Raises:
        ModelError: torch is not installed.
    """
    torch = need("torch", "torch", "format torchscript")

    class Module(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            made = {layer.name: _layer(torch, layer, network, weights) for layer in network.layers}
            self.parts = torch.nn.ModuleDict({name: part for name, part in made.items() if part is not None})

        def forward(self, x: Any) -> Any:
            values = {INPUT: x.permute(0, 3, 1, 2) if network.is_image else x}
            for layer in network.layers:
                inputs = [values[name] for name in layer.inputs]
                if isinstance(layer, Add):
                    values[layer.name] = inputs[0] + inputs[1]
                elif isinstance(layer, Concat):
                    values[layer.name] = torch.cat(inputs, 1)
                else:
                    values[layer.name] = self.parts[layer.name](inputs[0])
            return values[network.layers[-1].name]

    return Module().eval()


def _layer(torch: Any, layer: Layer, network: Network, weights: Weights) -> Any:
    nn = torch.nn
    before = network.shapes[layer.inputs[0]]

    def filled(module: Any, **arrays: str) -> Any:
        state = {own: torch.from_numpy(weights[f"{layer.name}.{what}"]) for own, what in arrays.items()}
        missing, unexpected = module.load_state_dict(state, strict=False)
        assert not unexpected
        assert set(missing) <= {"num_batches_tracked"}, missing
        return module.requires_grad_(False)

    if isinstance(layer, Conv):
        module = nn.Conv2d(before[0], layer.filters, layer.kernel, layer.stride, layer.pad, bias=layer.bias)
        return filled(module, weight="kernel", bias="bias") if layer.bias else filled(module, weight="kernel")
    if isinstance(layer, BatchNorm):
        module = nn.BatchNorm2d(before[0], eps=layer.epsilon)
        return filled(module, weight="scale", bias="shift", running_mean="mean", running_var="variance")
    if isinstance(layer, Relu):
        return nn.ReLU()
    if isinstance(layer, MaxPool):
        return nn.MaxPool2d(layer.kernel, layer.stride, layer.pad)
    if isinstance(layer, AveragePool):
        return nn.AvgPool2d(layer.kernel, 1, layer.kernel // 2, count_include_pad=False)
    if isinstance(layer, GlobalAverage):
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    if isinstance(layer, Flatten):
        return nn.Flatten()
    if isinstance(layer, Dense):
        return filled(nn.Linear(before[0], layer.units), weight="matrix", bias="bias")
    return None  # Add, Concat: no module of their own
