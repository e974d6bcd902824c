"""Which models, by which runtimes: words of the command line into what is there to be measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from real.errors import RefusedError
from real.profiler.grid import NO_RUNTIME
from scenarios.spec import Model

ALL = "all"
#: Models that cost nothing or wait: only measured when named.
_NOT_IN_ALL = ("noop", "sleep")


def chosen(words: Sequence[str], runtimes: Sequence[str]) -> tuple[tuple[tuple[Model, str], ...], list[str]]:
    """Every model with every runtime that scores it.

    Args:
        words: Names of the zoo, `all`, `sleep:base=2 ms,each=500 us`, or paths of ONNX files.
        runtimes: Words, or `all`: those installed here.

    Returns:
        The pairs, and what is left out and why, in words.

    Raises:
        RefusedError: No such model or runtime, it is not installed, or it does not score a model that was named.
    """
    from models.runtimes import names as runtime_names

    wanted = list(runtime_names()) if ALL in runtimes else list(dict.fromkeys(runtimes))
    found: list[tuple[Model, str]] = []
    left: list[str] = []
    for word in dict.fromkeys(words):
        for model in _models(word):
            named = word != ALL
            pairs, why = _pairs(model, wanted, named_runtimes=ALL not in runtimes, named_model=named)
            found += [pair for pair in pairs if pair not in found]
            left += [line for line in why if line not in left]
    return tuple(found), left


def refuse_gpu(pairs: Sequence[tuple[Model, str]]) -> None:
    """Whether what was chosen can be scored on a GPU.

    Raises:
        RefusedError: A runtime scores on the CPU only, or is installed without its part for GPUs.
    """
    for model, runtime in pairs:
        if runtime != "onnx":
            raise RefusedError("--model-gpus", f"{model.label}: only the runtime onnx scores on a GPU, not {runtime}")
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise RefusedError("--model-gpus", "this ONNX Runtime knows no GPU: pip install onnxruntime-gpu")


def _models(word: str) -> list[Model]:
    from models.zoo import names

    if word == ALL:
        return [Model(name=name) for name in names() if name not in _NOT_IN_ALL]
    if word.endswith(".onnx"):
        path = Path(word)
        if not path.is_file():
            raise RefusedError(word, "there is no such file")
        return [Model(name="file", path=str(path.resolve()))]
    name, colon, fields = word.partition(":")
    if name == "sleep" and colon:
        return [_sleep(fields)]
    if name not in names() or colon:
        raise RefusedError(
            "MODELS", f"no model {word!r}; there are {ALL}, {', '.join(names())}, or a path to an ONNX file"
        )
    return [Model(name=name)]


def _sleep(fields: str) -> Model:
    from scenarios.units import DURATION, UnitError

    values: dict[str, Any] = {}
    for part in fields.split(","):
        key, equals, text = part.partition("=")
        if key.strip() not in ("base", "each") or not equals:
            raise RefusedError("MODELS", f"sleep: {part!r}; write sleep:base=2 ms,each=500 us")
        try:
            values[f"{key.strip()}_ns"] = int(DURATION.parse(text.strip()))
        except UnitError as error:
            raise RefusedError("MODELS", f"sleep: {key.strip()}: {error}") from None
        if values[f"{key.strip()}_ns"] < 0:
            raise RefusedError("MODELS", f"sleep: {key.strip()}: {text.strip()} is below zero")
    return Model(name="sleep", **values)


def _pairs(
    model: Model, wanted: Sequence[str], *, named_runtimes: bool, named_model: bool
) -> tuple[list[tuple[Model, str]], list[str]]:
    from models.definition import ModelError
    from models.runtimes import runtime
    from models.zoo import model as definition_of

    try:
        definition = definition_of(model)
        if definition.alone is not None:
            return [(model, NO_RUNTIME)], []
        pairs, left = [], []
        for word in wanted:
            each = runtime(word)
            if each.format_of(definition) is None:
                if named_runtimes and named_model:
                    raise RefusedError("--runtimes", f"{word} does not score {definition.name}")
                continue
            if not each.present():
                missing = f"{word} is not installed: pip install 'weir[{each.extra}]'"
                if named_runtimes:
                    raise RefusedError("--runtimes", missing)
                left.append(missing)
                continue
            pairs.append((model, word))
    except ModelError as error:
        raise RefusedError("", str(error)) from None
    if not pairs and named_model:
        raise RefusedError("MODELS", f"no runtime installed here scores {definition.name}")
    if not pairs:
        left.append(f"{definition.name}: no runtime installed here scores it")
    return pairs, left
