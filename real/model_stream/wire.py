"""What a worker with a stream of models counts, in mapped files beside its others: a killed worker's counts stay.

Counters are int64 slots (`Count`).  Each load, swap, failure and restore is a row of `EVENT`, in the order it happened;
a row that a death left unwritten reads as kind 0, which is none.
"""

from __future__ import annotations

import struct
from enum import IntEnum


class Count(IntEnum):
    """Slots of a worker's models."""

    RECEIVED = 0
    LOADED = 1
    LOAD_FAILURES = 2
    SUPERSEDED = 3
    SWAPS = 4
    DROPPED = 5  # records of a type without a model, each once
    CHANGELOG_BYTES = 6  # keys and values, as handed to the client
    CHANGELOG_WRITES = 7
    RESTORED = 8  # models that a restart brought back
    EVENTS = 9  # rows used of the side file
    SIZE = 16


#: kind, time since the run's start (ns), partition and offset of the message, duration (ns), version of the model.
EVENT = struct.Struct("<6q")
LOADED, FAILED, SUPERSEDED, SWAPPED, RESTORED = 1, 2, 3, 4, 5
#: Rows that a worker has room for; beyond, only the counters go on.
EVENT_ROWS = 20_000
#: Messages sent, by the publisher: time due and time sent (ns since the run's start), offset, bytes.
SENT = struct.Struct("<4q")
