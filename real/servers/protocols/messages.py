"""The messages of three gRPC services, as descriptors built at run time from the tables below: nothing is generated.

Only the fields that are used stand here, under the numbers that the published definitions give them; protobuf keeps and
skips the others.  The definitions: the Open Inference Protocol v2 (`inference.GRPCInferenceService`), TensorFlow
Serving's `PredictionService` and `ModelService`, TorchServe's `InferenceAPIsService`.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

#: name -> (number, type); a type is a scalar, a message, `repeated T`, `map T` (from strings) or `enum` (as int32).
Fields = dict[str, tuple[int, str]]

_OIP: Final[dict[str, Fields]] = {
    "ServerReadyRequest": {},
    "ServerReadyResponse": {"ready": (1, "bool")},
    "ModelReadyRequest": {"name": (1, "string"), "version": (2, "string")},
    "ModelReadyResponse": {"ready": (1, "bool")},
    "InferTensorContents": {
        "int_contents": (2, "repeated int32"),
        "int64_contents": (3, "repeated int64"),
        "fp32_contents": (6, "repeated float"),
        "fp64_contents": (7, "repeated double"),
    },
    "InferInputTensor": {
        "name": (1, "string"),
        "datatype": (2, "string"),
        "shape": (3, "repeated int64"),
        "contents": (5, "InferTensorContents"),
    },
    "InferRequestedOutputTensor": {"name": (1, "string")},
    "ModelInferRequest": {
        "model_name": (1, "string"),
        "model_version": (2, "string"),
        "id": (3, "string"),
        "inputs": (5, "repeated InferInputTensor"),
        "outputs": (6, "repeated InferRequestedOutputTensor"),
        "raw_input_contents": (7, "repeated bytes"),
    },
    "InferOutputTensor": {
        "name": (1, "string"),
        "datatype": (2, "string"),
        "shape": (3, "repeated int64"),
        "contents": (5, "InferTensorContents"),
    },
    "ModelInferResponse": {
        "model_name": (1, "string"),
        "model_version": (2, "string"),
        "id": (3, "string"),
        "outputs": (5, "repeated InferOutputTensor"),
        "raw_output_contents": (6, "repeated bytes"),
    },
}
_TENSORFLOW: Final[dict[str, Fields]] = {
    "Dim": {"size": (1, "int64"), "name": (2, "string")},
    "TensorShapeProto": {"dim": (2, "repeated Dim"), "unknown_rank": (3, "bool")},
    "TensorProto": {
        "dtype": (1, "enum"),
        "tensor_shape": (2, "TensorShapeProto"),
        "tensor_content": (4, "bytes"),
        "float_val": (5, "repeated float"),
    },
    "ModelSpec": {"name": (1, "string"), "signature_name": (3, "string")},
    "PredictRequest": {"model_spec": (1, "ModelSpec"), "inputs": (2, "map TensorProto")},
    "PredictResponse": {"outputs": (1, "map TensorProto"), "model_spec": (2, "ModelSpec")},
    "GetModelStatusRequest": {"model_spec": (1, "ModelSpec")},
    "ModelVersionStatus": {"version": (1, "int64"), "state": (2, "enum")},
    "GetModelStatusResponse": {"model_version_status": (1, "repeated ModelVersionStatus")},
}
_TORCHSERVE: Final[dict[str, Fields]] = {
    "PredictionsRequest": {
        "model_name": (1, "string"),
        "model_version": (2, "string"),
        "input": (3, "map bytes"),
    },
    "PredictionResponse": {"prediction": (1, "bytes")},
}
_PACKAGES: Final = {
    "inference": _OIP,
    "tensorflow.serving": _TENSORFLOW,
    "org.pytorch.serve.grpc.inference": _TORCHSERVE,
}

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


@cache
def _pool(package: str) -> Any:
    from google.protobuf import descriptor_pb2, descriptor_pool

    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for name, fields in _PACKAGES[package].items():
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
    elif of == "enum":  # the same on the wire
        added.type = field.TYPE_INT32
    elif of[0].isupper():
        added.type, added.type_name = field.TYPE_MESSAGE, f".{package}.{of}"
    else:
        added.type = getattr(field, f"TYPE_{of.upper()}")
