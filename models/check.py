"""Whether a model answers the same in every format and runtime: 64 inputs, held against the numpy reference."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from models import files, zoo
from models.definition import MismatchError, ModelDef, ModelError
from models.runtimes import scoring
from models.scorer import load_scorer
from models.zoo import Which

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

#: Most that an answer may be off, relative to the largest.
TOLERANCE = 1e-4
#: Least that answers must differ from one another, relative to the largest: a hundred times as much.
SPREAD = 100 * TOLERANCE
#: Points of a heavy model that a file is tried on when it is written.
_HEAVY_POINTS = 2
#: Points scored at once.
_BATCH = 8

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Checked:
    """A format that was held against the reference.

    Attributes:
        model: Its name.
        fmt: The format.
        runtime: That scored it; None: none installed here does, or what writes the format is not installed.
        error: Largest deviation relative to the largest answer; classes: share of labels that differ, which is 0.
        note: Why nothing was compared.
        bytes: Size of the file.
    """

    model: str
    fmt: str
    runtime: str | None
    error: float | None
    note: str = ""
    bytes: int | None = None


def check(
    which: Which,
    directory: Path | str,
    seed: int = 0,
    formats: Iterable[str] | None = None,
    say: Say | None = None,
) -> list[Checked]:
    """Exports a model and compares every format in every runtime that is installed.

    Args:
        which: A model with files.
        directory: Of model files; the reference answers of a heavy model are kept there too.
        seed: The seed its weights are drawn from.
        formats: Which; None: all it has.
        say: Told of progress.

    Raises:
        ModelError: An answer is off, the inputs tell nothing, or the model has no such format.
    """
    definition, directory, say = zoo.model(which), Path(directory), say or (lambda _text: None)
    asked = list(definition.formats if definition.file is None else ["onnx"]) if formats is None else list(formats)
    if not definition.scored:
        raise ModelError(f"model {definition.name!r} has no file: there is nothing to compare")
    x = zoo.trial(which, seed)
    expected: Floats | None = None
    found = []
    for fmt in asked:
        runtimes = scoring(fmt)
        try:
            path = zoo.export(which, directory, seed, fmt, say)
        except ModelError as error:
            if fmt not in definition.formats or "not installed" not in str(error):
                raise
            found.append(Checked(definition.name, fmt, None, None, str(error)))
            continue
        if not runtimes:
            note = "no runtime installed here scores it"
            found.append(Checked(definition.name, fmt, None, None, note, files.size(path)))
        for runtime in runtimes:
            if expected is None:
                say(f"{definition.name}: {len(x)} reference answers in numpy")
                expected = _expected(definition, directory, seed, x)
            say(f"{definition.name}: {len(x)} answers of {fmt} in {runtime.name}")
            scorer = load_scorer(which, runtime.name, directory, seed, fmt)
            error_ = compare(definition, expected, _scored(scorer.score, x), f"{fmt} in {runtime.name}")
            found.append(Checked(definition.name, fmt, runtime.name, error_, "", files.size(path)))
    return found


def verify_file(definition: ModelDef, fmt: str, path: Path, seed: int) -> None:
    """Holds a file that was just written against the reference, in the first runtime installed here that scores it.

    Of a heavy model a few points only: `check` takes them all.

    Raises:
        ModelError: An answer is off.
    """
    for runtime in scoring(fmt)[:1]:
        x = zoo.trial_of(definition, seed, _HEAVY_POINTS if definition.heavy else zoo.TRIAL_POINTS)
        answer = _scored(runtime.load(definition, path).score, x)
        compare(definition, definition.forward(seed, x), answer, f"{fmt} in {runtime.name}")


def compare(definition: ModelDef, expected: Floats, answer: Floats, what: str = "") -> float:
    """How far answers are off.

    Args:
        definition: Of the model; it says whether values or classes must agree.
        expected: (points, outputs), the reference's.
        answer: (points, outputs).
        what: Whose answers, for the message.

    Returns:
        Largest deviation relative to the largest answer; of classes 0.

    Raises:
        ModelError: They are off by more than `TOLERANCE`, or the expected ones differ too little to tell.
    """
    import numpy as np

    where = f"model {definition.name!r}" + (f", {what}" if what else "")
    if answer.shape != expected.shape:
        raise MismatchError(f"{where}: answers of shape {answer.shape}, expected {expected.shape}")
    if definition.answers == "classes":
        wanted, got = labels(expected), labels(answer)
        if len(np.unique(wanted)) < 2:
            raise ModelError(f"{where}: the inputs tell nothing: all are of class {wanted[0]:g}")
        wrong = int((wanted != got).sum())
        if wrong:
            raise MismatchError(f"{where}: {wrong} of {len(wanted)} labels differ from the reference's")
        return 0.0
    scale = float(np.abs(expected).max())
    if not np.isfinite(expected).all() or float(np.ptp(expected, axis=0).max()) < SPREAD * scale or not scale:
        raise ModelError(
            f"{where}: the inputs tell nothing: their answers differ by less than {SPREAD:g} of the largest"
        )
    error = float(np.abs(answer - expected).max()) / scale
    if not error <= TOLERANCE:
        raise MismatchError(f"{where}: off by {error:.2g} of the largest answer, more than {TOLERANCE:g}")
    return error


def labels(answers: Floats) -> Floats:
    """The class of each answer (points, outputs): the largest output's, or the output where there is one only."""
    import numpy as np

    found: Floats = answers[:, 0] if answers.shape[1] == 1 else answers.argmax(1).astype(np.float32)
    return np.round(found)


def _scored(score: Callable[[Floats], Floats], x: Floats) -> Floats:
    import numpy as np

    return np.concatenate([score(x[i : i + _BATCH]) for i in range(0, len(x), _BATCH)])


def _expected(definition: ModelDef, directory: Path, seed: int, x: Floats) -> Floats:
    """The reference's answers; a heavy model's are kept beside its files, under the hash of their inputs."""
    import numpy as np

    if not definition.heavy:
        return definition.forward(seed, x)
    digest = hashlib.sha256(x.tobytes()).hexdigest()[:12]
    path = directory / f"{definition.name}-r{definition.revision}-s{seed}-{digest}.answers.npy"
    try:
        found: Floats = np.load(path, allow_pickle=False)
    except (OSError, ValueError):
        found = definition.forward(seed, x)
        temporary = directory / f".tmp-{os.getpid()}-{path.name}"
        try:
            np.save(temporary, found, allow_pickle=False)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    return found
