"""From a scenario's stream of models to the messages of a run: files exported, faults put in, references laid out."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import orjson

from models.messages import Descriptor, encode_descriptor
from real.errors import RefusedError
from real.model_stream.loaders import FOLDERS, MODEL_BYTES
from real.model_stream.location import LocationError, configured_roots, read
from scenarios.model_stream import publications
from scenarios.spec import ModelMessage, ModelStream

#: A number that no format has, for `fault: unknown-format`.
UNKNOWN = "#99"
#: Where a format's word is another among a model's files.
_EXPORTED = {"tensorflow": "graphdef"}
CONTENT_FILE, INDEX_FILE = "models.bin", "models.json"


@dataclass(frozen=True)
class Prepared:
    """What a run's publisher sends.

    Attributes:
        folder: Of its files: the messages (`CONTENT_FILE`), when each is sent (`INDEX_FILE`).
        roots: Below which the locations of the messages lie.
        sizes_bytes: Of the model of each message that will be sent, in order; -1 where it lies elsewhere.
    """

    folder: Path
    roots: tuple[str, ...]
    sizes_bytes: tuple[int, ...]

    @property
    def sent(self) -> int:
        """Messages that will be sent."""
        return len(self.sizes_bytes)


def prepare(stream: ModelStream, until_ns: int, seed: int, folder: Path, models: Path) -> Prepared:
    """Writes the messages of a run.

    Args:
        stream: The scenario's.
        until_ns: The load's end.
        seed: Of registered models' weights.
        folder: Made for them.
        models: Where exported models are kept.

    Raises:
        RefusedError: A model cannot be had in the format asked for.
    """
    published = folder / "published"
    published.mkdir(parents=True)
    roots = [str(published), *configured_roots()]
    found: dict[int, Descriptor] = {}
    for i, message in enumerate(stream.messages):
        try:
            found[id(message)] = _message(message, i, seed, published, models, roots)
        except LocationError as error:
            raise RefusedError(f"model_stream.messages[{i}].path", str(error)) from None
    plan, sizes = [], []
    offsets: dict[tuple[int, int], tuple[int, int]] = {}
    with (folder / CONTENT_FILE).open("wb") as file:
        for each in publications(stream, until_ns):
            key = (id(each.message), each.version)
            if key not in offsets:
                about = found[id(each.message)]
                version = Descriptor(
                    *(about.name, about.description, about.type, about.format, about.data, about.location),
                    each.version,
                )
                data = encode_descriptor(version)
                offsets[key] = (file.tell(), len(data))
                file.write(data)
            plan.append(
                {"at": each.at_ns, "partition": each.partition, "from": offsets[key][0], "size": offsets[key][1]}
            )
            sizes.append(_size_bytes(found[id(each.message)]))
    (folder / INDEX_FILE).write_bytes(orjson.dumps(plan))
    return Prepared(folder, tuple(roots), tuple(sizes))


def _message(message: ModelMessage, i: int, seed: int, published: Path, models: Path, roots: list[str]) -> Descriptor:
    data: bytes | None = None
    location: str | None = None
    if message.fault == "missing":
        location = (published / f"{i}-missing").as_uri()
    elif message.path is not None and "://" in message.path and message.by == "reference":
        location = message.path
    else:
        path = _file(message, i, seed, models)
        if message.by == "reference":
            location = _laid_out(message, path, published / f"{i}-{path.name}", roots)
        elif path.is_dir():
            raise RefusedError(f"model_stream.messages[{i}].by", f"{path.name} is a folder: it is sent by reference")
        else:
            data = path.read_bytes()
            if message.fault == "corrupt":
                data = corrupted(data)
    word = UNKNOWN if message.fault == "unknown-format" else message.format
    return Descriptor(message.name, message.description, message.type, word, data, location, 0)


def _size_bytes(about: Descriptor) -> int:
    """Of the model that a message carries or names."""
    if about.data is not None:
        return len(about.data)
    path = Path(urlsplit(about.location or "").path)
    if not (about.location or "").startswith("file:") or not path.exists():
        return -1
    return (
        sum(each.stat().st_size for each in path.rglob("*") if each.is_file()) if path.is_dir() else path.stat().st_size
    )


def _file(message: ModelMessage, i: int, seed: int, models: Path) -> Path:
    """Where a message's model lies now."""
    if message.path is None:
        assert message.model is not None
        return exported(f"model_stream.messages[{i}]", message.model, message.format, seed, models)
    if "://" not in message.path:
        return Path(message.path)
    target = models / f"fetched-{i}"
    models.mkdir(parents=True, exist_ok=True)
    target.write_bytes(read(message.path, [message.path.rpartition("/")[0]], MODEL_BYTES))
    return target


def _laid_out(message: ModelMessage, path: Path, copy: Path, roots: list[str]) -> str:
    """Where a model by reference lies: the user's own file stays, and its folder is a root."""
    if message.path is not None and message.fault != "corrupt":
        roots.append(str(path.parent))
        return path.absolute().as_uri()
    if path.is_dir():
        shutil.copytree(path, copy)
        if message.fault == "corrupt":
            target = copy / "saved_model.pb"
            target.write_bytes(corrupted(target.read_bytes()))
    else:
        data = path.read_bytes()
        copy.write_bytes(corrupted(data) if message.fault == "corrupt" else data)
    return copy.as_uri()


def corrupted(data: bytes) -> bytes:
    """A file that was cut short and hit on the way."""
    half = np.frombuffer(data[: len(data) // 2 + 1], np.uint8).copy()
    half[len(half) // 2 :: 7] ^= 0xA5
    return half.tobytes()


def exported(key: str, name: str, fmt: str, seed: int, models: Path) -> Path:
    """A registered model's file.

    Raises:
        RefusedError: Naming the key.
    """
    from models.definition import ModelError
    from models.wine import export_all
    from models.zoo import export

    try:
        if name.startswith("wine-"):
            folder = models / f"wine-{seed}"
            for each in export_all(folder, seed):
                if (each.name, each.format) == (name, _EXPORTED.get(fmt, fmt)):
                    return each.path
        return export(name, models, seed, _EXPORTED.get(fmt, fmt))
    except ModelError as error:
        raise RefusedError(key, str(error)) from None


def suffix_format(path: Path) -> str | None:
    """The format that a file's name tells; None where it tells none."""
    if path.is_dir():
        return FOLDERS[0]
    known = {
        ".onnx": "onnx",
        ".pmml": "pmml",
        ".xml": "pmml",
        ".txt": "lightgbm",
        ".lgb": "lightgbm",
        ".pb": "tensorflow",
    }
    return known.get(path.suffix.lower())
