"""Before a run is accepted: an engine's answers to trial inputs against the model's reference.

An engine in another language answers 64 inputs (4 of a heavy model) through the very code that a record passes:
parse, score, encode.  Its outputs, read back as a consumer would, must repeat the input, and their predictions agree
with the reference, relative to the largest, within `TOLERANCE`.  The inputs are of different strength, so that their
answers differ by a hundred times as much: a wrong but constant answer does not pass.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.payload import decode_output, encode_input, parse_input
from models.zoo import model, reference, trial
from real.errors import HarnessError
from scenarios.spec import Scenario

INPUTS = 64
#: Of a model so heavy that its reference takes a second an answer, and of one whose answers are all the same.
HEAVY_INPUTS = 4
TOLERANCE = 1e-4
_SPREAD = 100 * TOLERANCE
_LENGTH = struct.Struct(">I")

Floats = NDArray[np.float32]


def trial_inputs(scenario: Scenario) -> Floats:
    """(64 or 4, *input_shape): test inputs whose answers differ, where there are any (`models.zoo.trial`)."""
    definition = model(scenario.model)
    count = HEAVY_INPUTS if definition.heavy or not definition.scored else INPUTS
    return trial(scenario.model, scenario.workload.seed, count)


def write_frames(path: Path, frames: Iterable[bytes]) -> None:
    """Payloads of the trial, each after its length."""
    path.write_bytes(b"".join(_LENGTH.pack(len(each)) + each for each in frames))


def read_frames(path: Path) -> list[bytes]:
    """What `write_frames` wrote, or an engine."""
    data, at, frames = path.read_bytes(), 0, []
    while at < len(data):
        (size,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size + size
        frames.append(data[at - size : at])
    return frames


def write_trial(path: Path, scenario: Scenario) -> None:
    """The trial's input records, one point each."""
    fmt = scenario.workload.payload.format
    write_frames(path, [encode_input(fmt, point[None]) for point in trial_inputs(scenario)])


def check_answers(path: Path, scenario: Scenario, workers: int) -> None:
    """Compares the outputs of every worker, one after the other in the file.

    Raises:
        HarnessError: An answer is missing, or is not the model's.
    """
    frames = read_frames(path)
    fmt, x = scenario.workload.payload.format, trial_inputs(scenario)
    if len(frames) != workers * len(x):
        raise HarnessError(f"the engine answered {len(frames)} trial inputs of {workers * len(x)}")
    expected = reference(scenario.model, scenario.workload.seed, x)
    scale = float(np.abs(expected).max())
    if scale and float(np.ptp(expected, axis=0).max()) < _SPREAD * scale:
        raise HarnessError(f"the trial inputs tell nothing: their answers differ by less than {_SPREAD:g}")
    for w in range(workers):
        for i, frame in enumerate(frames[w * len(x) : (w + 1) * len(x)]):
            output = decode_output(fmt, frame)
            source = parse_input(fmt, encode_input(fmt, x[i : i + 1]))
            if output.created_ms != source.created_ms or not np.array_equal(output.values, source.values):
                raise HarnessError(f"worker {w}: the output of trial input {i} does not repeat its input")
            assert output.prediction is not None
            if output.prediction.shape != (1, expected.shape[1]):
                raise HarnessError(f"worker {w}: a prediction of shape {output.prediction.shape} for trial input {i}")
            error = float(np.abs(output.prediction[0] - expected[i]).max())
            if not error <= TOLERANCE * scale:
                raise HarnessError(
                    f"worker {w}: the answer to trial input {i} is off by {error:.3g}, more than {TOLERANCE:g} of "
                    f"{scale:.3g}: the engine's runtime does not compute this model"
                )
