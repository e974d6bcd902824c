"""TensorFlow Serving's protocol over a SavedModel in TensorFlow: not TensorFlow Serving.

No package index carries TensorFlow Serving's own server.  This one is our own front, with workers that score a
SavedModel in TensorFlow, and it speaks PredictionService over gRPC and REST as the real one does: what is measured is
the protocol, the client and the framework, not that server's scheduler.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from real.processes import Supervisor
from real.servers.base import Ask, Running, Say
from real.servers.weir import Own


class TfServingProtocol(Own):
    """See the module."""

    word = "tf-serving-protocol"
    title = "TensorFlow Serving's protocol, by us, over a SavedModel"
    protocols: Sequence[str] = ("tfs-grpc", "tfs-rest")
    extra = "tensorflow"
    module = "tensorflow"
    package = "tensorflow-cpu"

    def version(self) -> str:
        """See `Server.version`."""
        return self.environment.version("tensorflow-cpu") or self.environment.version("tensorflow")

    def start(self, ask: Ask, supervisor: Supervisor, say: Say) -> Running:
        """See `Server.start`."""
        return super().start(dataclasses.replace(ask, runtime="tensorflow"), supervisor, say)


SERVER = TfServingProtocol()
