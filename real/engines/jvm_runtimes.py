"""Runtimes of the engines in a JVM, and the jars that only some of them need.

ONNX Runtime and PMML come with every engine.  What is bigger is a part of its own in `real/jvm`, fetched by Maven when
a scenario asks for it, with native libraries of this platform alone; they are unpacked once, into the cache.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.definition import ModelDef
from models.onnx_file import answers_first
from real.brokers.jars import cache_root
from real.errors import RefusedError
from scenarios.spec import Scenario

#: The platform whose native libraries were run here; they come for others too, unproven.
PLATFORM = "linux-x86_64"


@dataclass(frozen=True, slots=True)
class JvmRuntime:
    """A runtime in the JVM.

    Attributes:
        formats: That it scores, best first.
        part: Folder of `real/jvm` with its jars; empty: every engine has them.
        jar: Whose version a run tells.
        heavy: Whether it also scores big models.
    """

    formats: tuple[str, ...]
    part: str = ""
    jar: str = ""
    heavy: bool = True

    def format_of(self, definition: ModelDef) -> str | None:
        """The format in which it scores a model; None: it cannot."""
        has = ("onnx",) if definition.file is not None else definition.formats
        return next((fmt for fmt in self.formats if fmt in has), None)


_TENSORFLOW = JvmRuntime(("savedmodel",), "tensorflow", "tensorflow-core-api")
RUNTIMES: dict[str, JvmRuntime] = {
    "onnx": JvmRuntime(("onnx",), jar="onnxruntime"),
    "pmml": JvmRuntime(("pmml",), jar="pmml4s_2.13"),
    "tensorflow": _TENSORFLOW,
    "savedmodel": _TENSORFLOW,  # Crayfish's word
    "dl4j": JvmRuntime(("h5",), "dl4j", "deeplearning4j-modelimport", heavy=False),
    "nd4j": JvmRuntime(("h5",), "dl4j", "nd4j-native", heavy=False),
}
#: Formats of models from a topic -> the part with their reader; the rest is refused by name.
TOPIC_FORMATS = {"onnx": "", "pmml": "", "lightgbm": "", "tensorflow": "tensorflow", "savedmodel": "tensorflow"}
#: Jars whose versions a run tells, where it has them.
SOFTWARE = tuple(each.jar for each in RUNTIMES.values() if each.jar)


def refuse(definition: ModelDef, word: str, kind: str) -> None:
    """Refuses a model that a runtime does not score in the JVM.

    Args:
        definition: Of a model with a file.
        word: The runtime.
        kind: The engine, for the message.

    Raises:
        RefusedError: Naming the key.
    """
    runtime = RUNTIMES.get(word)
    if runtime is None:
        raise RefusedError("serving.runtime", f"{word}; engine {kind} has {', '.join(RUNTIMES)}")
    if runtime.format_of(definition) is None:
        has = "onnx" if definition.file is not None else ", ".join(definition.formats) or "no file at all"
        said = f"runtime {word} of engine {kind} scores {', '.join(runtime.formats)}"
        raise RefusedError("model.name", f"{definition.name} comes as {has}; {said}")
    if definition.heavy and not runtime.heavy:
        said = f"runtime {word} reads the H5 layout of Keras 2, which only perceptrons are written in"
        raise RefusedError("model.name", f"{definition.name}; {said}")
    if definition.file is not None and not answers_first(definition.file):
        raise RefusedError(
            "model.path",
            f"{definition.file}: engine {kind} reads the first output only, and that is not the float32 one",
        )
    if runtime.part:
        refuse_platform("serving.runtime", word)


def refuse_platform(key: str, word: str) -> None:
    """Refuses native libraries of a platform on which they were not run.

    Raises:
        RefusedError: Naming the key.
    """
    here = f"{sys.platform}-{platform.machine()}"
    if here != PLATFORM:
        raise RefusedError(key, f"{word}; its native libraries are run on {PLATFORM} only, this is {here}")


def parts(scenario: Scenario) -> list[str]:
    """The parts that a scenario needs beside its engine's jars, in order."""
    stream = scenario.model_stream
    if stream is not None:
        asked = {TOPIC_FORMATS.get(each.format, "") for each in stream.messages}
    elif scenario.serving.kind == "embedded" and scenario.serving.runtime in RUNTIMES:
        asked = {RUNTIMES[scenario.serving.runtime].part}
    else:
        asked = set()
    return sorted(asked - {""})


def options(asked: Sequence[str]) -> list[str]:
    """Options of a JVM with these parts: where native libraries are unpacked, once; no bound on the whole process."""
    if not asked:
        return []
    return [
        f"-Dorg.bytedeco.javacpp.cachedir={cache_root() / 'javacpp'}",
        "-Dorg.bytedeco.javacpp.maxPhysicalBytes=0",
    ]


def environment(asked: Sequence[str]) -> Mapping[str, str]:
    """Variables of a JVM with these parts: one thread, and no talk."""
    if not asked:
        return {}
    return {
        **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",
    }
