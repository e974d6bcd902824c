"""Clients over gRPC: the Open Inference Protocol v2, TorchServe, TensorFlow Serving."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from real.servers.protocols import messages
from real.servers.protocols.base import Address, CallError, answered, raw_floats

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


class _Grpc:
    """A channel with one method."""

    def __init__(self, address: Address, path: str, package: str, request: str, response: str) -> None:
        import grpc

        self.address, self._grpc = address, grpc
        self.request, response_class = messages.message(package, request), messages.message(package, response)
        self._channel = grpc.insecure_channel(f"{address.host}:{address.port}", options=list(messages.OPTIONS))
        self._method: Any = self._channel.unary_unary(
            path, request_serializer=self.request.SerializeToString, response_deserializer=response_class.FromString
        )

    def close(self) -> None:
        """See `Client.close`."""
        self._channel.close()

    def send(self, request: Any, timeout_s: float) -> Any:
        """One call.

        Raises:
            CallError: It failed.
        """
        try:
            return self._method(request, timeout=timeout_s)
        except self._grpc.RpcError as error:
            code, text = error.code(), error.details()
            known = self._grpc.StatusCode
            if code == known.DEADLINE_EXCEEDED:
                raise CallError("timeout", f"no answer within {timeout_s:g} s") from None
            raise CallError("connection" if code == known.UNAVAILABLE else "server", f"{code.name}: {text}") from None


class OipGrpc(_Grpc):
    """Open Inference Protocol v2: raw contents there, raw or typed back."""

    def __init__(self, address: Address) -> None:
        super().__init__(address, messages.OIP_INFER, "inference", "ModelInferRequest", "ModelInferResponse")

    def call(self, x: Floats, timeout_s: float) -> Floats:
        """See `Client.call`."""
        import numpy as np

        request = self.request(model_name=self.address.model)
        request.inputs.add(name="input", datatype="FP32", shape=self.address.shape(x))
        request.raw_input_contents.append(x.astype("<f4", copy=False).tobytes())
        response = self.send(request, timeout_s)
        if response.raw_output_contents:
            return raw_floats(response.raw_output_contents[0], len(x))
        if not response.outputs:
            raise CallError("answer", "no outputs in the answer")
        return answered(np.asarray(response.outputs[0].contents.fp32_contents, np.float32), len(x))


class TfsGrpc(_Grpc):
    """TensorFlow Serving's PredictionService."""

    def __init__(self, address: Address) -> None:
        names = ("tensorflow.serving", "PredictRequest", "PredictResponse")
        super().__init__(address, messages.TFS_PREDICT, *names)

    def call(self, x: Floats, timeout_s: float) -> Floats:
        """See `Client.call`."""
        request = self.request()
        request.model_spec.name, request.model_spec.signature_name = self.address.model, "serving_default"
        write_tensor(request.inputs["input"], x.reshape(self.address.shape(x)))
        outputs = self.send(request, timeout_s).outputs
        if not outputs:
            raise CallError("answer", "no outputs in the answer")
        return answered(read_tensor(outputs[min(outputs)]), len(x))


class TorchServeGrpc(_Grpc):
    """TorchServe's predictions: raw float32 there and back."""

    def __init__(self, address: Address) -> None:
        names = ("org.pytorch.serve.grpc.inference", "PredictionsRequest", "PredictionResponse")
        super().__init__(address, messages.TORCHSERVE_PREDICT, *names)

    def call(self, x: Floats, timeout_s: float) -> Floats:
        """See `Client.call`."""
        data = x.astype("<f4", copy=False).tobytes()
        request = self.request(model_name=self.address.model, input={"data": data})
        return raw_floats(self.send(request, timeout_s).prediction, len(x))


def write_tensor(tensor: Any, x: Floats) -> None:
    """Fills a TensorProto with float32 values."""
    tensor.dtype = messages.DT_FLOAT
    for size in x.shape:
        tensor.tensor_shape.dim.add(size=size)
    tensor.tensor_content = x.astype("<f4", copy=False).tobytes()


def read_tensor(tensor: Any) -> Floats:
    """The float32 values of a TensorProto, in its shape.

    Raises:
        CallError: It holds something else.
    """
    import numpy as np

    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.dtype != messages.DT_FLOAT:
        raise CallError("answer", f"a tensor of type {tensor.dtype}; DT_FLOAT is {messages.DT_FLOAT}")
    if tensor.tensor_content:
        if len(tensor.tensor_content) % 4:
            raise CallError("answer", f"{len(tensor.tensor_content)} bytes are no float32 values")
        values: Floats = np.frombuffer(tensor.tensor_content, "<f4")
    else:
        values = np.asarray(tensor.float_val, np.float32)
    if values.size != int(np.prod(shape)):
        raise CallError("answer", f"{values.size} values in a tensor of shape {shape}")
    return values.reshape(shape)
