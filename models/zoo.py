"""The model zoo: which models there are, their files on disk and their test inputs.

A model is one file that ends in a `ModelDef` and one line in `MODELS`; a package of a third party adds one through
the entry point group `weir.models` (name -> a `ModelDef`).  Models are built from a seed, without a training
framework: what a pipeline costs depends on a model's shape, not on what it has learned.
"""

from __future__ import annotations

import difflib
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from models.definition import ModelDef, ModelError
from models.ffnn import FFNN
from models.noop import NOOP

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

ENTRY_POINT_GROUP = "weir.models"

MODELS: dict[str, ModelDef] = {
    "ffnn": FFNN,
    "noop": NOOP,
}


def names() -> list[str]:
    """Every model known here, built in or added by an entry point."""
    from importlib.metadata import entry_points

    return sorted({*MODELS, *(e.name for e in entry_points(group=ENTRY_POINT_GROUP))})


def model(name: str) -> ModelDef:
    """The definition of a model.

    Raises:
        ModelError: No model has that name, or its entry point is not a `ModelDef`.
    """
    if name in MODELS:
        return MODELS[name]
    from importlib.metadata import entry_points

    for entry in entry_points(group=ENTRY_POINT_GROUP, name=name):
        found = entry.load()
        if not isinstance(found, ModelDef):
            raise ModelError(f"model {name!r}: entry point {entry.value} is {type(found).__name__}, expected ModelDef")
        return found
    near = difflib.get_close_matches(name, names(), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ModelError(f"no model {name!r}; there are {', '.join(names())}{hint}")


def export(name: str, directory: Path | str, seed: int = 0) -> Path:
    """Writes a model's ONNX file, or finds the one written before.

    The file is `<name>-r<revision>-s<seed>.onnx`, its SHA-256 beside it; a file that does not match its hash is
    written again.  Both appear under their name only when complete, so processes may export at the same time.

    Returns:
        The path of the file.

    Raises:
        ModelError: No such model, or the model has no file (no-op).
    """
    definition = model(name)
    if definition.build is None:
        raise ModelError(f"model {name!r} has no file to export: nothing is scored")
    directory = Path(directory)
    path = directory / f"{name}-r{definition.revision}-s{seed}.onnx"
    digest_path = path.with_name(path.name + ".sha256")
    if path.exists() and digest_path.exists():
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest == digest_path.read_text(encoding="ascii", errors="replace").strip():
            return path
    content = definition.build(seed)
    directory.mkdir(parents=True, exist_ok=True)
    _write_atomically(path, content)
    _write_atomically(digest_path, hashlib.sha256(content).hexdigest().encode() + b"\n")
    return path


def _write_atomically(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def inputs(name: str, points: int, seed: int) -> Floats:
    """Test input: uniform values in [0, 1), as Crayfish's generator draws them.

    Returns:
        float32 array (points, *input_shape), a pure function of the arguments.
    """
    import numpy as np

    rng = np.random.default_rng([seed, 0x1A7])
    return rng.random((points, *model(name).input_shape), dtype=np.float32)


def reference(name: str, seed: int, x: Floats) -> Floats:
    """What the model built from `seed` answers, computed in plain numpy float32.

    Args:
        name: A model.
        seed: The seed its weights are drawn from.
        x: (points, *input_shape), or anything that reshapes to it.

    Returns:
        float32 array (points, outputs).
    """
    definition = model(name)
    return definition.forward(seed, x.reshape(-1, *definition.input_shape))
