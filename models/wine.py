"""The wine-quality models: eleven measurements of a red wine, one model each of the kinds a stream may be sent.

Linear, two generalised linear models, two trees, a forest, a perceptron and a small TensorFlow network of
11-12-8-9, of the sizes that model servers of streams are shown with (2 to 330 KB).  All are fitted in numpy on the
shipped data, four fifths of it drawn by the seed; `export_all` writes nine files of them in five formats.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from models.classical import Classical
from models.classical_export import Labels, define, replaced, write
from models.definition import FORMATS, ModelDef
from models.wine_data import FEATURES, QUALITIES, TARGET, wine_rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Ints = NDArray[np.int64]

#: The network of the TensorFlow graph has one output a quality from 0 to 8.
TF_CLASSES = tuple(str(quality) for quality in range(9))
ORIGIN = "fitted on UCI Wine Quality (red), Cortez et al. 2009, CC BY 4.0"
TRAINED_SHARE = 0.8
_EPOCHS = 60
_CLASSES = tuple(str(quality) for quality in QUALITIES)


@dataclass(frozen=True, slots=True)
class Kind:
    """One wine model: how it is fitted and what it is written to.

    Attributes:
        fit: (measurements, qualities, generator) -> the model.
        classes: Of a classifier, one an output.
        formats: That it is exported to.
        parameters: Number of fitted values, with seed 0 on the shipped data.
        summary: One line.
    """

    fit: Callable[[Floats, Ints, np.random.Generator], Classical]
    classes: tuple[str, ...]
    formats: tuple[str, ...]
    parameters: int
    summary: str


def _linear(x: Floats, y: Ints, rng: np.random.Generator) -> Classical:
    from models.classical_fit import fit_linear

    del rng
    return fit_linear(x, y.astype("f8"), ridge=0.1)


def _gaussian(x: Floats, y: Ints, rng: np.random.Generator) -> Classical:
    from models.classical_fit import fit_glm

    del rng
    return fit_glm(x, y.astype("f8"), "normal")


def _gamma(x: Floats, y: Ints, rng: np.random.Generator) -> Classical:
    from models.classical_fit import fit_glm

    del rng
    return fit_glm(x, y.astype("f8"), "gamma")


def _tree_regressor(x: Floats, y: Ints, rng: np.random.Generator) -> Classical:
    from models.classical_fit import fit_tree

    del rng
    return fit_tree(x, y[:, None].astype("f8"), max_depth=8, max_leaves=32)


def _tree_classifier(x: Floats, y: Ints, rng: np.random.Generator) -> Classical:
    from models.classical_fit import fit_tree

    del rng
    return fit_tree(x, _one_hot(y, QUALITIES), max_depth=8, max_leaves=31)


def _forest(x: Floats, y: Ints, rng: np.random.Generator) -> Classical:
    from models.classical_fit import fit_forest

    return fit_forest(x, _one_hot(y, QUALITIES), trees=10, max_depth=6, max_leaves=29, rng=rng)


def _mlp(x: Floats, y: Ints, rng: np.random.Generator) -> Classical:
    from models.classical_mlp import fit_mlp

    return fit_mlp(x, _one_hot(y, QUALITIES), (10, 20), rng, epochs=_EPOCHS)


def _tensorflow(x: Floats, y: Ints, rng: np.random.Generator) -> Classical:
    from models.classical_mlp import fit_mlp

    return fit_mlp(x, _one_hot(y, range(9)), (12, 8), rng, epochs=_EPOCHS, last="sigmoid")


_LINEAR = ("onnx", "pmml", "npz")
_TREES = ("onnx", "lightgbm", "pmml", "npz")
KINDS: dict[str, Kind] = {
    "wine-linear": Kind(_linear, (), _LINEAR, 12, "red wines: linear regression of the quality"),
    "wine-glm-gaussian": Kind(_gaussian, (), _LINEAR, 12, "red wines: generalised linear model, normal errors"),
    "wine-glm-gamma": Kind(_gamma, (), _LINEAR, 12, "red wines: generalised linear model, gamma errors, log link"),
    "wine-tree-regressor": Kind(_tree_regressor, (), _TREES, 94, "red wines: regression tree of 63 nodes"),
    "wine-tree-classifier": Kind(_tree_classifier, _CLASSES, _TREES, 246, "red wines: tree of 61 nodes, six qualities"),
    "wine-forest": Kind(_forest, _CLASSES, _TREES, 2300, "red wines: forest of ten trees, six qualities"),
    "wine-mlp": Kind(
        _mlp,
        _CLASSES,
        ("onnx", "pmml", "graphdef", "savedmodel", "npz"),
        466,
        "red wines: perceptron 11-10-20-6, softmax of six qualities",
    ),
    "wine-tensorflow": Kind(
        _tensorflow,
        TF_CLASSES,
        ("onnx", "graphdef", "savedmodel", "npz"),
        329,
        "red wines: 11-12-8-9, ReLU between, a sigmoid each quality 0 to 8",
    ),
}


def labels(name: str) -> Labels:
    """The names that go into a wine model's files."""
    return Labels(name, FEATURES, TARGET, KINDS[name].classes, ORIGIN)


def split(rows: int, seed: int) -> tuple[Ints, Ints]:
    """Indices of the rows that are fitted on and of those kept out, drawn by the seed."""
    import numpy as np

    order = np.random.default_rng([seed, 0x3A]).permutation(rows)
    fitted = max(1, round(rows * TRAINED_SHARE))
    return order[:fitted], order[fitted:]


def fit(name: str, seed: int, x: Floats, y: Ints) -> Classical:
    """Fits a wine model on rows, all of them.

    Args:
        name: A key of `KINDS`.
        seed: Draws a forest's samples, a perceptron's first weights.
        x: float32 (rows, 11).
        y: int64 (rows,), qualities.
    """
    import numpy as np

    return KINDS[name].fit(x, y, np.random.default_rng([seed, 0x3B]))


@lru_cache(maxsize=64)
def fitted(name: str, seed: int) -> Classical:
    """A wine model as the zoo has it: fitted on four fifths of the shipped rows."""
    x, y = wine_rows()
    rows, _ = split(len(x), seed)
    return fit(name, seed, x[rows], y[rows])


def wines(points: int, seed: int) -> Floats:
    """Wines of the shipped data, drawn with replacement: float32 (points, 11)."""
    import numpy as np

    x, _ = wine_rows()
    return x[np.random.default_rng([seed, 0x3C]).integers(0, len(x), points)]


def _one_hot(y: Ints, classes: tuple[int, ...] | range) -> NDArray[np.float64]:
    import numpy as np

    off = np.setdiff1d(y, np.array(classes))
    if len(off):
        from models.definition import ModelError

        raise ModelError(f"quality {off[0]}: this model's classes are {classes[0]} to {classes[-1]}")
    shares: NDArray[np.float64] = (y[:, None] == np.array(classes)).astype(np.float64)
    return shares


def _definition(name: str) -> ModelDef:
    kind = KINDS[name]
    return define(
        labels(name),
        lambda seed: fitted(name, seed),
        kind.formats,
        outputs=len(kind.classes) or 1,
        parameters=kind.parameters,
        summary=kind.summary,
        answers="classes" if kind.classes else "values",
        draw=wines,
        trial=wines,
    )


MODELS: dict[str, ModelDef] = {name: _definition(name) for name in KINDS}


@dataclass(frozen=True, slots=True)
class WineFile:
    """A file of `export_all`.

    Attributes:
        name: The model, as in the zoo.
        description: One line.
        format: Its format, a key of `models.definition.FORMATS`.
        path: The file; of a `savedmodel` the folder.
        size_bytes: Of the file, or of all files of the folder.
        task: `regressor` (one output, the quality) or `classifier` (one output a class).
        classes: Of a classifier, the quality each output stands for.
    """

    name: str
    description: str
    format: str
    path: Path
    size_bytes: int
    task: Literal["regressor", "classifier"]
    classes: tuple[int, ...]


#: What `export_all` writes: each model once, the TensorFlow network both frozen and as a SavedModel.
NINE = (
    ("wine-linear", "pmml"),
    ("wine-glm-gaussian", "pmml"),
    ("wine-glm-gamma", "pmml"),
    ("wine-tree-regressor", "lightgbm"),
    ("wine-tree-classifier", "onnx"),
    ("wine-mlp", "onnx"),
    ("wine-forest", "pmml"),
    ("wine-tensorflow", "graphdef"),
    ("wine-tensorflow", "savedmodel"),
)


def export_all(directory: Path | str, seed: int = 0) -> list[WineFile]:
    """Writes nine files in five formats, as a publisher of models cycles through them; none needs a library to write.

    Args:
        directory: Where; made if it is not there, files in it are replaced.
        seed: Of every model.

    Raises:
        OSError: They cannot be written.
    """
    directory = Path(directory)
    files = []
    for name, fmt in NINE:
        kind = KINDS[name]
        path = directory / f"{name}{FORMATS[fmt]}"
        replaced(path, partial(write, fitted(name, seed), fmt, labels=labels(name)))
        inside = [each for each in path.rglob("*") if each.is_file()] if path.is_dir() else [path]
        files.append(
            WineFile(
                name=name,
                description=kind.summary,
                format=fmt,
                path=path,
                size_bytes=sum(each.stat().st_size for each in inside),
                task="classifier" if kind.classes else "regressor",
                classes=tuple(int(each) for each in kind.classes),
            )
        )
    return files
