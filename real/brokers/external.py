"""A broker that runs already, reached by its address (plaintext).  Its CPU is not known here."""

from __future__ import annotations

from collections.abc import Callable

from real.brokers.base import Broker
from real.errors import RefusedError
from real.processes import Supervisor
from scenarios import spec

_ANSWER_S = 15.0


def make(settings: spec.Broker, supervisor: Supervisor, say: Callable[[str], None]) -> Broker:
    """See `real.brokers.make`."""
    if not settings.bootstrap:
        raise RefusedError("broker.bootstrap", "a broker of kind external needs its address, host:port")
    return External(settings.bootstrap)


class External(Broker):
    """See the module."""

    kind = "external"

    def __init__(self, bootstrap: str) -> None:
        super().__init__()
        self._bootstrap = bootstrap

    @property
    def bootstrap(self) -> str:
        """See `Broker.bootstrap`."""
        return self._bootstrap

    def start(self) -> None:
        """See `Broker.start`."""
        self._until_ready(lambda: None, f"the broker at {self._bootstrap}", _ANSWER_S)

    def stop(self) -> None:
        """See `Broker.stop`."""
        self._admin_client = None
