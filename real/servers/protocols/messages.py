"""The messages of three gRPC services, as descriptors made at run time from `.proto` files: no code is generated.

The files are those that the callers in the JVM are made from (`real/jvm/grpc`).  Only the fields that are used stand
there, under the numbers that the published definitions give them; protobuf keeps and skips the others.  The
definitions: the Open Inference Protocol v2 (`inference.GRPCInferenceService`), TensorFlow Serving's
`PredictionService` and `ModelService`, TorchServe's `InferenceAPIsService`.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any, Final

#: name -> (number, type); a type is a scalar, a message, `repeated T` or `map T` (from strings).
Fields = dict[str, tuple[int, str]]

_FOLDER: Final = Path(__file__).resolve().parents[2] / "jvm" / "grpc" / "src" / "main" / "proto"
#: package -> file
_FILES: Final = {
    "inference": "open_inference.proto",
    "tensorflow.serving": "tensorflow_serving.proto",
    "org.pytorch.serve.grpc.inference": "torchserve.proto",
}
_MESSAGE: Final = re.compile(r"^message (\w+) \{(.*?)^\}", re.DOTALL | re.MULTILINE)
_FIELD: Final = re.compile(r"^  (?:(repeated) |(map)<string, )?(\w+)>? (\w+) = (\d+);$", re.MULTILINE)

#: Paths of the methods.
OIP_INFER: Final = "/inference.GRPCInferenceService/ModelInfer"
OIP_SERVER_READY: Final = "/inference.GRPCInferenceService/ServerReady"
OIP_MODEL_READY: Final = "/inference.GRPCInferenceService/ModelReady"
TFS_PREDICT: Final = "/tensorflow.serving.PredictionService/Predict"
TFS_STATUS: Final = "/tensorflow.serving.ModelService/GetModelStatus"
TORCHSERVE_PREDICT: Final = "/org.pytorch.serve.grpc.inference.InferenceAPIsService/Predictions"

#: TensorFlow's DT_FLOAT, and the state AVAILABLE of a model's version.
DT_FLOAT: Final = 1
AVAILABLE: Final = 30
#: gRPC refuses larger messages by default than a record may be.
OPTIONS: Final = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))


@cache
def message(package: str, name: str) -> Any:
    """The class of a message.

    Args:
        package: `inference`, `tensorflow.serving` or `org.pytorch.serve.grpc.inference`.
        name: Of the message.
    """
    from google.protobuf import message_factory

    return message_factory.GetMessageClass(_pool(package).FindMessageTypeByName(f"{package}.{name}"))


def messages_of(text: str) -> dict[str, Fields]:
    """The messages of a `.proto` file of plain fields, one a line.

    Raises:
        ValueError: A line of a message is no such field.
    """
    found: dict[str, Fields] = {}
    for name, body in _MESSAGE.findall(text):
        fields = _FIELD.findall(body)
        if len(fields) != sum(1 for line in body.splitlines() if line.strip()):
            raise ValueError(f"message {name} has more than plain fields")
        found[name] = {
            field: (int(number), f"{repeated or mapped} {of}".strip()) for repeated, mapped, of, field, number in fields
        }
    return found


@cache
def _pool(package: str) -> Any:
    from google.protobuf import descriptor_pb2, descriptor_pool

    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for name, fields in messages_of((_FOLDER / _FILES[package]).read_text()).items():
        described = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            _field(described, f".{package}.{name}", field, number, kind, package)
    pool = descriptor_pool.DescriptorPool()  # of its own: what a server's package registers does not meet ours
    pool.Add(file)
    return pool


def _field(described: Any, at: str, name: str, number: int, kind: str, package: str) -> None:
    from google.protobuf import descriptor_pb2

    field = descriptor_pb2.FieldDescriptorProto
    how, _, of = kind.rpartition(" ")
    added = described.field.add(name=name, number=number, label=field.LABEL_REPEATED if how else field.LABEL_OPTIONAL)
    if how == "map":
        entry = "".join(part.capitalize() for part in name.split("_")) + "Entry"
        nested = described.nested_type.add(name=entry)
        nested.options.map_entry = True
        _field(nested, f"{at}.{entry}", "key", 1, "string", package)
        _field(nested, f"{at}.{entry}", "value", 2, of, package)
        added.type, added.type_name = field.TYPE_MESSAGE, f"{at}.{entry}"
    elif of[0].isupper():
        added.type, added.type_name = field.TYPE_MESSAGE, f".{package}.{of}"
    else:
        added.type = getattr(field, f"TYPE_{of.upper()}")
