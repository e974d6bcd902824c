"""The messages of `messages.proto` for Python: classes made from the same schema, without a compiler.

The classes are built from a descriptor that is read off the text of `messages.proto` itself, so there is one schema.
Only what that file uses of the language is understood: top-level messages and enums, scalar and message fields,
`repeated`, `oneof`, comments.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

SCHEMA = 1
#: Features of a wine record, in the order of the fields and of the data file's columns.
WINE_FIELDS = (
    *("fixed_acidity", "volatile_acidity", "citric_acid", "residual_sugar", "chlorides", "free_sulfur_dioxide"),
    *("total_sulfur_dioxide", "density", "pH", "sulphates", "alcohol"),
)
#: Words of a scenario -> numbers of the enum Format.
FORMATS = {"onnx": 1, "lightgbm": 2, "pmml": 3, "tensorflow": 4, "savedmodel": 5}
#: Lightbend's first enum, for readers that know nothing else.
_OLD_NUMBERS = {"tensorflow": 0, "pmml": 1, "savedmodel": 1}

_SCALARS = {"double": 1, "float": 2, "int64": 3, "int32": 5, "bool": 8, "string": 9, "bytes": 12}
_MESSAGE, _ENUM = 11, 14
_TOKEN = re.compile(r"//[^\n]*|\"[^\"]*\"|\w[\w.]*|[{}=;]")


class MessageError(ValueError):
    """Bytes that are no such message."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A model message, read.

    Attributes:
        name: Of the model.
        description: Of the model.
        type: Of the records that it scores.
        format: A word of `FORMATS`; `#7` for a number that is none.
        data: The model; None where it is by reference.
        location: Where it lies; None where it is by value.
        version: Of the model, 0 where the publisher gives none.
    """

    name: str
    description: str
    type: str
    format: str
    data: bytes | None
    location: str | None
    version: int


def _enter(tokens: list[str], file: Any) -> None:
    """Reads the tokens of a schema into a FileDescriptorProto."""
    at = 0
    while at < len(tokens):
        word = tokens[at]
        if word in ("syntax", "package"):
            if word == "package":
                file.package = tokens[at + 1]
            at = tokens.index(";", at) + 1
        elif word == "enum":
            end = tokens.index("}", at)
            entry = file.enum_type.add(name=tokens[at + 1])
            body = tokens[at + 3 : end]
            for i in range(0, len(body), 4):  # NAME = NUMBER ;
                entry.value.add(name=body[i], number=int(body[i + 2]))
            at = end + 1
        elif word == "message":
            at = _message(tokens, at, file)
        else:
            raise MessageError(f"messages.proto: {word!r} is not understood")


def _message(tokens: list[str], at: int, file: Any) -> int:
    entry = file.message_type.add(name=tokens[at + 1])
    at += 3
    choice = None
    while True:
        if tokens[at] == "}":
            at += 1
            if choice is None:
                return at
            choice = None
            continue
        if tokens[at] == "oneof":
            choice = len(entry.oneof_decl)
            entry.oneof_decl.add(name=tokens[at + 1])
            at += 3
            continue
        repeated = tokens[at] == "repeated"
        at += repeated
        kind, name, number = tokens[at], tokens[at + 1], int(tokens[at + 3])
        field = entry.field.add(name=name, number=number, label=3 if repeated else 1)
        if kind in _SCALARS:
            field.type = _SCALARS[kind]
        else:
            enums = {each.name for each in file.enum_type}
            field.type = _ENUM if kind in enums else _MESSAGE
            field.type_name = f".{file.package}.{kind}"
        if choice is not None:
            field.oneof_index = choice
        at += 5


@cache
def _classes() -> dict[str, Any]:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    text = Path(__file__).with_name("messages.proto").read_text(encoding="utf-8")
    file = descriptor_pb2.FileDescriptorProto(name="weir/messages.proto", syntax="proto3")
    _enter([token for token in _TOKEN.findall(text) if not token.startswith("//")], file)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = [f"{file.package}.{entry.name}" for entry in file.message_type]
    found = {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for name in names}
    return {name.rpartition(".")[2]: made for name, made in found.items()}


def message(name: str) -> Any:
    """The class of a message: `Record`, `ModelDescriptor`, `Scored`, `StoredModel`, `StoredState`."""
    return _classes()[name]


def parse(name: str, data: bytes) -> Any:
    """Parses bytes.

    Raises:
        MessageError: They are no such message.
    """
    from google.protobuf.message import DecodeError

    try:
        return _classes()[name].FromString(data)
    except DecodeError as error:
        raise MessageError(f"not a {name}: {error}") from None


def encode_descriptor(model: Descriptor) -> bytes:
    """The bytes of a model message.

    Raises:
        ValueError: Neither or both of data and location.
    """
    return bytes(to_message(model).SerializeToString())


def to_message(model: Descriptor) -> Any:
    """A model message.

    Raises:
        ValueError: Neither or both of data and location.
    """
    if (model.data is None) == (model.location is None):
        raise ValueError("a model message has either data or a location")
    number = FORMATS.get(model.format)
    if number is None:
        number = int(model.format.removeprefix("#"))
    found = _classes()["ModelDescriptor"](
        name=model.name,
        description=model.description,
        data_type=model.type,
        modeltype=_OLD_NUMBERS.get(model.format, -1),
        schema=SCHEMA,
        format=number,
        version=model.version,
    )
    if model.data is not None:
        found.data = model.data
    else:
        found.location = model.location
    return found


def decode_descriptor(data: bytes) -> Descriptor:
    """Reads a model message, also one of Lightbend's publishers.

    Their enum was renumbered (TENSORFLOW 0, PMML 1; then TENSORFLOW 0, TENSORFLOWSAVED 1, PMML 2).  The two can be told
    apart: by location only a SavedModel was ever sent, and a SavedModel never otherwise.

    Raises:
        MessageError: Not a model message, or one without a model or a name.
    """
    return from_message(parse("ModelDescriptor", data))


def from_message(found: Any) -> Descriptor:
    """What a model message says.  Raises as `decode_descriptor`."""
    content = found.WhichOneof("content")
    if content is None:
        raise MessageError("a model message without a model")
    if not found.name:
        raise MessageError("a model message without a name")
    by_value = content == "data"
    words = {number: word for word, number in FORMATS.items()}
    if found.schema == 0:
        old = {0: "tensorflow", 1: "pmml" if by_value else "savedmodel", 2: "pmml"}
        word = old.get(found.modeltype, f"#{found.modeltype}")
    else:
        word = words.get(found.format, f"#{found.format}")
    return Descriptor(
        name=found.name,
        description=found.description,
        type=found.data_type,
        format=word,
        data=found.data if by_value else None,
        location=None if by_value else found.location,
        version=found.version,
    )
