"""What stands where a broker would in a pipeline without one: no address, no topics, nothing to start."""

from __future__ import annotations

from collections.abc import Sequence

from real.brokers.base import Broker


class NoBroker(Broker):
    """See the module."""

    kind = "none"
    append_clock = "collector"  # as the simulator says of such a pipeline: no broker stamps anything
    groups = False

    @property
    def bootstrap(self) -> str:
        """See `Broker.bootstrap`."""
        return ""

    def start(self) -> None:
        """See `Broker.start`."""

    def stop(self) -> None:
        """See `Broker.stop`."""

    def create_topics(self, names: Sequence[str], partitions: int) -> None:
        """See `Broker.create_topics`."""

    def delete_topics(self, names: Sequence[str]) -> None:
        """See `Broker.delete_topics`."""
