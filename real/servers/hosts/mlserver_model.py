"""The runtime class that MLServer loads."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

from real.servers.hosts.loading import scorer_of

_mlserver: Any = import_module("mlserver")
_types: Any = import_module("mlserver.types")
_codecs: Any = import_module("mlserver.codecs")


class Scoring(_mlserver.MLModel):  # type: ignore[misc]  # a class that is only there where MLServer is
    """One model."""

    async def load(self) -> bool:
        """Loads it."""
        self._scorer = scorer_of(self.settings.parameters.extra)
        self._thread = ThreadPoolExecutor(1)  # one batch at a time
        return True

    async def predict(self, payload: Any) -> Any:
        """Scores a request, or a batch that the server put together.

        On a thread: requests that come meanwhile can be read, and batched, while a runtime works.
        """
        x = _codecs.NumpyCodec.decode_input(payload.inputs[0])
        answer = await asyncio.get_running_loop().run_in_executor(self._thread, self._scorer.score, x)
        output = _types.ResponseOutput(
            name="output", shape=list(answer.shape), datatype="FP32", data=answer.reshape(-1).tolist()
        )
        return _types.InferenceResponse(model_name=self.name, model_version=self.version, outputs=[output])
