"""Trains a model of the zoo on rows of one's own: ffnn, or a wine model; writes its weights and every format it has.

The weights are `NAME.npz` (plain arrays), the rest is exported from them and held against them in every runtime that is
installed here.  The same rows and seed give the same model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from models import wine
from models.check import Checked
from models.classical import Classical, Mlp
from models.classical_export import define, replaced, write
from models.definition import FORMATS, MismatchError, ModelDef, ModelError
from models.wine_data import wine_rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Ints = NDArray[np.int64]

Say: TypeAlias = Callable[[str], None]

TRAINABLE = ("ffnn", *wine.KINDS)
#: Fewer say nothing about the fifth of them that is kept out.
MIN_ROWS = 20
_SYNTHETIC_ROWS = 4000
_EPOCHS = 20
_TRIAL_ROWS = 64


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained model.

    Attributes:
        definition: As the zoo has one, of these weights.
        model: What was fitted, for ffnn with the standardisation of its inputs folded into its first layer.
        rows: Rows fitted on, and rows kept out.
        metric: `accuracy` (share of right classes) or `rmse` (root of the mean squared error).
        fitted: The metric on the rows fitted on.
        held_out: The metric on those kept out.
        baseline: The metric there of always the commonest class, or the mean, of the rows fitted on.
    """

    definition: ModelDef
    model: Classical
    rows: tuple[int, int]
    metric: str
    fitted: float
    held_out: float
    baseline: float
    trial: Floats


def train(
    name: str,
    data: Path | None = None,
    seed: int = 0,
    epochs: int = _EPOCHS,
    *,
    label_first: bool = False,
    say: Say | None = None,
) -> Trained:
    """Fits a model on four fifths of the rows, drawn by the seed; the rest is kept out and says how good it is.

    Args:
        name: One of `TRAINABLE`.
        data: A CSV file; None: for a wine model the shipped data, for ffnn ten synthetic classes.
        seed: Draws rows, first weights, samples, synthetic classes.
        epochs: Of ffnn, times that each row is seen.
        label_first: Of ffnn's file, whether the class is the first column rather than the last.
        say: Told of progress.

    Raises:
        ModelError: No such model to train, or the data cannot be used.
    """
    if name not in TRAINABLE:
        raise ModelError(f"model {name!r} is not one to train; there are {', '.join(TRAINABLE)}")
    if name == "ffnn":
        x, y = _digits(data, seed, label_first=label_first)
    else:
        x, y = wine_rows(data)
    if len(x) < MIN_ROWS:
        raise ModelError(f"{data}: {len(x)} rows, at least {MIN_ROWS} are needed")
    fitted_on, kept_out = wine.split(len(x), seed)
    try:
        if name == "ffnn":
            model, definition = _ffnn(x[fitted_on], y[fitted_on], seed, epochs, say)
        else:
            model = wine.fit(name, seed, x[fitted_on], y[fitted_on])
            definition = _wine(name, model)
    except ModelError as error:
        raise ModelError(f"{data}: {error}") from error
    classes = _classes(name)
    metric = "accuracy" if classes else "rmse"
    return Trained(
        definition=definition,
        model=model,
        rows=(len(fitted_on), len(kept_out)),
        metric=metric,
        fitted=_metric(model.score(x[fitted_on]), y[fitted_on], classes),
        held_out=_metric(model.score(x[kept_out]), y[kept_out], classes),
        baseline=_baseline(y[fitted_on], y[kept_out], classes),
        trial=x[kept_out][:_TRIAL_ROWS],
    )


def save(trained: Trained, directory: Path) -> list[Checked]:
    """Writes `NAME.npz` and every format whose library is here, and holds each against the fitted weights.

    Raises:
        MismatchError: A format answers otherwise; its file is there to be looked at.
        ModelError: A file cannot be written.
    """
    from models import files
    from models.runtimes import scoring

    # Values, not only classes: what was just fitted is held to more than what the zoo promises.
    definition = replace(trained.definition, answers="values")
    x = trained.trial.reshape(-1, *definition.input_shape)
    expected = definition.forward(0, x)
    found = []
    for fmt, exporter in definition.formats.items():
        path = directory / f"{definition.name}{FORMATS[fmt]}"
        try:
            replaced(path, partial(exporter, 0))
        except OSError as error:
            raise ModelError(f"{path}: cannot be written: {error.strerror or error}") from error
        except ModelError as error:
            if "not installed" not in str(error):
                raise
            found.append(Checked(definition.name, fmt, None, None, str(error)))
            continue
        runtimes = scoring(fmt)
        if not runtimes:
            note = "no runtime installed here scores it"
            found.append(Checked(definition.name, fmt, None, None, note, files.size(path)))
        for runtime in runtimes:
            answer = runtime.load(definition, path).score(x)
            found.append(_compared(definition, fmt, runtime.name, expected, answer, files.size(path)))
    return found


def _compared(definition: ModelDef, fmt: str, runtime: str, expected: Floats, answer: Floats, size: int) -> Checked:
    from models.check import compare

    try:
        off = compare(definition, expected, answer, f"{fmt} in {runtime}")
    except MismatchError:
        raise
    except (
        ModelError
    ) as error:  # it answers the same to everything: few rows can do that, and it is no fault of a format
        return Checked(definition.name, fmt, None, None, str(error), size)
    return Checked(definition.name, fmt, runtime, off, "", size)


def synthetic(seed: int, rows: int = _SYNTHETIC_ROWS) -> tuple[Floats, Ints]:
    """Ten classes of 784 values in [0, 1): each row a mixture of its class's picture and noise."""
    import numpy as np

    rng = np.random.default_rng([seed, 0x5E])
    pictures = rng.random((10, 784), dtype=np.float32)
    y = rng.integers(0, 10, rows)
    share = np.float32(0.2)
    return share * pictures[y] + (1 - share) * rng.random((rows, 784), dtype=np.float32), y


def _digits(data: Path | None, seed: int, *, label_first: bool) -> tuple[Floats, Ints]:
    if data is None:
        return synthetic(seed)
    from models.csv_rows import read_rows

    x, y = read_rows(data, 784, label_first=label_first)
    off = sorted(set(y.tolist()) - set(range(10)))
    if off:
        raise ModelError(f"{data}: class {off[0]}; ffnn has the classes 0 to 9")
    return x, y


def _ffnn(x: Floats, y: Ints, seed: int, epochs: int, say: Say | None) -> tuple[Classical, ModelDef]:
    import numpy as np

    from models import ffnn, networks
    from models.classical_mlp import fit_mlp
    from models.layers import Network

    def told(epoch: int, loss: float) -> None:
        if say is not None:
            say(f"ffnn: epoch {epoch + 1} of {epochs}, loss {loss:.4f}")

    fitted = fit_mlp(
        x,
        (y[:, None] == np.arange(10)).astype(np.float64),
        ffnn.WIDTHS[1:-1],
        np.random.default_rng([seed, 0x5F]),
        epochs=epochs,
        last="identity",
        say=told,
    )
    model = folded(fitted)
    plain = ffnn.network()
    weights = ffnn.named(list(model.layers))
    network = Network(plain.name, plain.input_shape, plain.layers, lambda _seed: weights)
    definition = networks.define(network, "trained: 784-32-32-32-32-10, ReLU between, raw logits")
    return model, _with_npz(definition, model)


def folded(model: Mlp) -> Mlp:
    """The same perceptron with the standardisation of its inputs folded into its first layer."""
    import numpy as np

    if model.mean is None or model.scale is None:
        return model
    matrix, bias = model.layers[0]
    scaled = matrix.astype(np.float64) / model.scale
    first = (scaled.astype(np.float32), (bias - scaled @ model.mean).astype(np.float32))
    return Mlp((first, *model.layers[1:]), None, None, model.last, model.between)


def _wine(name: str, model: Classical) -> ModelDef:
    kind = wine.KINDS[name]
    return define(
        wine.labels(name),
        lambda _seed: model,
        kind.formats,
        outputs=model.outputs,
        parameters=model.parameters,
        summary=f"trained: {kind.summary}",
        answers="classes" if kind.classes else "values",
    )


def _with_npz(definition: ModelDef, model: Classical) -> ModelDef:
    from models.classical_export import Labels

    def npz(_seed: int, path: Path) -> None:
        write(model, "npz", path, Labels(definition.name, ()))

    return replace(definition, formats={**definition.formats, "npz": npz})


def _classes(name: str) -> tuple[int, ...]:
    return tuple(range(10)) if name == "ffnn" else tuple(int(each) for each in wine.KINDS[name].classes)


def _metric(answer: Floats, y: Ints, classes: tuple[int, ...]) -> float:
    import numpy as np

    if classes:
        return float((np.array(classes)[answer.argmax(axis=1)] == y).mean())
    return float(np.sqrt(((answer[:, 0] - y) ** 2).mean()))


def _baseline(fitted: Ints, held_out: Ints, classes: tuple[int, ...]) -> float:
    import numpy as np

    if classes:
        return float((held_out == np.bincount(fitted).argmax()).mean())
    return float(np.sqrt(((held_out - fitted.mean()) ** 2).mean()))
