"""Scoring inside the engine's own process: a model, a runtime, and the file between them."""

from __future__ import annotations

from pathlib import Path

from models.definition import ModelDef, ModelError, Scorer
from models.noop import NoopScorer
from models.runtimes import RUNTIMES, Runtime, runtime
from models.runtimes.onnx import OnnxScorer
from models.zoo import Which, export, model
from scenarios import spec

__all__ = ["RUNTIMES", "NoopScorer", "OnnxScorer", "Scorer", "load_scorer", "refuse"]


def load_scorer(
    which: Which, runtime_name: str, model_dir: Path | str, seed: int = 0, fmt: str | None = None
) -> Scorer:
    """Loads a model into a runtime; the model is exported into `model_dir` where it is not there yet.

    Args:
        which: A model's name, or a scenario's `model` section.
        runtime_name: A runtime; a model that needs none (noop, sleep) does not look at it.
        model_dir: Folder of model files.
        seed: The seed the model's weights are drawn from.
        fmt: The format to load; None: the runtime's best that the model has.

    Raises:
        ModelError: Unknown model or runtime, the runtime does not score this model or is not installed, or it refuses
            the file.
    """
    definition, chosen, found = _chosen(which, runtime_name, fmt)
    if definition.alone is not None:
        return definition.alone(which if isinstance(which, spec.Model) else spec.Model(which))
    assert chosen is not None
    return chosen.load(definition, export(which, model_dir, seed, found))


def refuse(which: Which, runtime_name: str) -> None:
    """Refuses what `load_scorer` would refuse before it loads anything.

    Raises:
        ModelError: Unknown model or runtime, or the runtime does not score this model or is not installed.
    """
    _chosen(which, runtime_name, None)


def _chosen(which: Which, runtime_name: str, fmt: str | None) -> tuple[ModelDef, Runtime | None, str]:
    """The model, and the runtime and format that will score it, if it needs one."""
    definition = model(which)
    if definition.alone is not None:
        return definition, None, ""
    chosen = runtime(runtime_name)
    found = chosen.format_of(definition) if fmt is None else fmt
    if found is None or found not in chosen.formats:
        has = "onnx" if definition.file is not None else ", ".join(definition.formats) or "no file at all"
        raise ModelError(
            f"runtime {chosen.name} scores {', '.join(chosen.formats)}, "
            f"model {definition.name!r} comes as {has}" + ("" if fmt is None else f"; {fmt} was asked for")
        )
    if not chosen.present():
        raise ModelError(
            f"runtime {chosen.name} needs {' and '.join(chosen.packages)}, not installed here: "
            f"pip install 'weir[{chosen.extra}]'"
        )
    return definition, chosen, found
