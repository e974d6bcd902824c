"""A broker that runs already, reached by its address; TLS and SASL come from the environment (`real.brokers.security`).

Its CPU is not known here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from real.brokers import security
from real.brokers.base import Broker
from real.errors import BrokerError, RefusedError
from real.processes import Supervisor
from scenarios import spec

_ANSWER_S = 15.0


def make(settings: spec.Broker, supervisor: Supervisor, say: Callable[[str], None]) -> Broker:
    """See `real.brokers.make`."""
    if not settings.bootstrap:
        raise RefusedError("broker.bootstrap", "a broker of kind external needs its address, host:port")
    return External(settings.bootstrap, supervisor)


class External(Broker):
    """See the module."""

    kind = "external"

    def __init__(self, bootstrap: str, supervisor: Supervisor | None = None) -> None:
        super().__init__()
        security.check()
        self._bootstrap, self._supervisor = bootstrap, supervisor
        self._refused = ""  # what the client says of its login, or of the certificate

    @property
    def bootstrap(self) -> str:
        """See `Broker.bootstrap`."""
        return self._bootstrap

    def start(self) -> None:
        """See `Broker.start`."""
        if self._supervisor is not None:
            self._supervisor.hand_on(True)
        try:
            self._until_ready(lambda: self._admin().poll(0), f"the broker at {self._bootstrap}", _ANSWER_S)
        except BrokerError as error:
            raise BrokerError(f"{error}{self._refused}") from None

    def stop(self) -> None:
        """See `Broker.stop`."""
        self._admin_client = None
        if self._supervisor is not None:
            self._supervisor.hand_on(False)

    def client_security(self) -> dict[str, Any]:
        """See `Broker.client_security`."""
        return {**security.secured({}), "error_cb": self._heard}

    def _heard(self, error: Any) -> None:
        if error.name() in ("_AUTHENTICATION", "_SSL"):
            self._refused = f"; {error.str()}"
