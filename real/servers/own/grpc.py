"""gRPC of our own server: the Open Inference Protocol v2 and TensorFlow Serving's PredictionService."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING, Any

from real.servers.own.dispatch import RefusedInputError
from real.servers.protocols import messages
from real.servers.protocols.base import CallError
from real.servers.protocols.over_grpc import read_tensor, write_tensor

if TYPE_CHECKING:
    from real.servers.own.front import Front


async def listen(front: Front, at: int) -> tuple[Any, int]:
    """Starts listening on a port; 0: a free one.

    Returns:
        The server, and its port.
    """
    grpc = import_module("grpc")
    aio = import_module("grpc.aio")
    server = aio.server(options=list(messages.OPTIONS))
    said = _Handlers(front, grpc)
    methods: dict[str, tuple[Any, str, str, str]] = {}
    if "oip-grpc" in front.protocols:
        methods |= {
            messages.OIP_INFER: (said.infer, "inference", "ModelInferRequest", "ModelInferResponse"),
            messages.OIP_SERVER_READY: (said.ready, "inference", "ServerReadyRequest", "ServerReadyResponse"),
            messages.OIP_MODEL_READY: (said.model_ready, "inference", "ModelReadyRequest", "ModelReadyResponse"),
        }
    if "tfs-grpc" in front.protocols:
        package = "tensorflow.serving"
        methods |= {
            messages.TFS_PREDICT: (said.predict, package, "PredictRequest", "PredictResponse"),
            messages.TFS_STATUS: (said.status, package, "GetModelStatusRequest", "GetModelStatusResponse"),
        }
    services: dict[str, dict[str, Any]] = {}
    for path, (method, package, request, response) in methods.items():
        _, service, name = path.split("/")
        services.setdefault(service, {})[name] = grpc.unary_unary_rpc_method_handler(
            method,
            request_deserializer=messages.message(package, request).FromString,
            response_serializer=messages.message(package, response).SerializeToString,
        )
    for service, handlers in services.items():
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = server.add_insecure_port(f"127.0.0.1:{at}")
    await server.start()
    return server, port


class _Handlers:
    """The methods."""

    def __init__(self, front: Front, grpc: Any) -> None:
        self._front, self._grpc = front, grpc

    async def ready(self, _request: Any, _context: Any) -> Any:
        return messages.message("inference", "ServerReadyResponse")(ready=True)

    async def model_ready(self, request: Any, _context: Any) -> Any:
        return messages.message("inference", "ModelReadyResponse")(ready=request.name == self._front.model)

    async def status(self, request: Any, context: Any) -> Any:
        await self._known(request.model_spec.name, context)
        response = messages.message("tensorflow.serving", "GetModelStatusResponse")()
        response.model_version_status.add(version=1, state=messages.AVAILABLE)
        return response

    async def infer(self, request: Any, context: Any) -> Any:
        import numpy as np

        await self._known(request.model_name, context)
        if len(request.inputs) != 1 or request.inputs[0].datatype != "FP32":
            await self._bad("one tensor of FP32 is scored", context)
        shape = list(request.inputs[0].shape)
        if request.raw_input_contents:
            data = request.raw_input_contents[0]
        else:
            data = np.asarray(request.inputs[0].contents.fp32_contents, "<f4").tobytes()
        if not shape or min(shape) < 1 or len(data) != 4 * int(np.prod(shape)):
            await self._bad(f"a tensor of shape {shape} with {len(data)} bytes", context)
        answer, outputs = await self._score(data, shape[0], context)
        response = messages.message("inference", "ModelInferResponse")(model_name=self._front.model, id=request.id)
        response.outputs.add(name="output", datatype="FP32", shape=[shape[0], outputs])
        response.raw_output_contents.append(answer)
        return response

    async def predict(self, request: Any, context: Any) -> Any:
        import numpy as np

        await self._known(request.model_spec.name, context)
        if len(request.inputs) != 1:
            await self._bad(f"{len(request.inputs)} inputs; one is scored", context)
        (key,) = request.inputs
        try:
            x = read_tensor(request.inputs[key])
        except CallError as error:
            await self._bad(str(error), context)
        if x.ndim < 1 or len(x) < 1:
            await self._bad(f"a tensor of shape {x.shape}", context)
        answer, outputs = await self._score(x.tobytes(), len(x), context)
        response = messages.message("tensorflow.serving", "PredictResponse")()
        write_tensor(response.outputs["output"], np.frombuffer(answer, "<f4").reshape(-1, outputs))
        response.model_spec.name = self._front.model
        return response

    async def _score(self, data: bytes, points: int, context: Any) -> tuple[bytes, int]:
        waiting: asyncio.Future[tuple[bytes, int, str | None]] = asyncio.get_running_loop().create_future()

        def done(answer: bytes, outputs: int, error: str | None) -> None:
            if not waiting.done():  # the caller may have given up
                waiting.set_result((answer, outputs, error))

        try:
            self._front.dispatcher.submit(data, points, done)
        except RefusedInputError as error:
            await self._bad(str(error), context)
        answer, outputs, failed = await waiting
        if failed is not None:
            await context.abort(self._grpc.StatusCode.INTERNAL, failed)
        return answer, outputs

    async def _known(self, name: str, context: Any) -> None:
        if name != self._front.model:
            words = f"no model {name!r}; the model is {self._front.model}"
            await context.abort(self._grpc.StatusCode.NOT_FOUND, words)

    async def _bad(self, words: str, context: Any) -> None:
        await context.abort(self._grpc.StatusCode.INVALID_ARGUMENT, words)
