"""Removes what dead harnesses left: temporary folders here, topics on an external broker.  Ends no process."""

from __future__ import annotations

import re
import shutil
import socket
import time
from pathlib import Path

from real.brokers.base import Broker
from real.processes import stale
from real.procfs import start_time

_TOPIC = re.compile(r"weir-(?P<host>[A-Za-z0-9]+)-(?P<pid>\d+)-(?P<start>\d+)-[0-9a-f]{6}-(in|out|models|changelog)")


def clean_folders(root: Path | None = None) -> list[Path]:
    """Removes the temporary folders of harnesses that are gone; returns them."""
    found = stale(root)
    for folder in found:
        shutil.rmtree(folder, ignore_errors=True)
    return found


def clean_topics(bootstrap: str) -> list[str]:
    """Deletes the topics that harnesses of this host left on a broker; returns their names.

    Raises:
        BrokerError: The broker does not answer.
    """
    from real.brokers.external import External

    broker = External(bootstrap)
    broker.start()
    names = [name for name in broker.topic_names() if abandoned(name)]
    if names:
        broker.delete_topics(names)
        _until_gone(broker, names)
    broker.stop()
    return names


def _until_gone(broker: Broker, names: list[str], limit_s: float = 10.0) -> None:
    end = time.monotonic() + limit_s
    while set(names) & set(broker.topic_names()) and time.monotonic() < end:
        time.sleep(0.1)


def abandoned(topic: str) -> bool:
    """Whether a topic was made by a harness of this host that is gone."""
    match = _TOPIC.fullmatch(topic)
    host = re.sub(r"[^A-Za-z0-9]", "", socket.gethostname())[:64]
    return match is not None and match["host"] == host and start_time(int(match["pid"])) != match["start"]
