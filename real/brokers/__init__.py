"""Brokers: one interface, one file a kind, one line here."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from real.errors import RefusedError

if TYPE_CHECKING:
    from real.brokers.base import Broker
    from real.processes import Supervisor
    from scenarios import spec

#: kind -> module; each has `make(settings, supervisor, say) -> Broker`
KINDS = {
    "kafka": "real.brokers.kafka",
    "mock": "real.brokers.mock",
    "external": "real.brokers.external",
}


def make(settings: spec.Broker, supervisor: Supervisor, say: Callable[[str], None]) -> Broker:
    """The broker that a scenario asks for, not started.

    Args:
        settings: The scenario's `broker` section.
        supervisor: Ends what the broker starts.
        say: Takes lines of progress.

    Raises:
        RefusedError: No such kind, or this machine cannot run it.
    """
    if settings.kind not in KINDS:
        raise RefusedError("broker.kind", f"no broker {settings.kind!r}; there are {', '.join(KINDS)}")
    broker: Broker = import_module(KINDS[settings.kind]).make(settings, supervisor, say)
    return broker
