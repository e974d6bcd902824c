"""The typed operations programs are made of, and the builder that makes a program read like the engine's own loop.

What each operation does, and what happens at equal times, is one page: docs/simulator.md.  An operation is four
integers: code, and up to three operands.  Both executors (`sim.reference`, `sim.loop`) take their meaning from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

# Operation codes.
HALT = 0
JUMP = 1  # to
ARRIVE = 2  # to (when no record is left)
CPU = 3  # cost number, source of the counts
STAMP = 4  # stamp column, of what (ONE, OF_POLL or OF_TASK)
ENQUEUE = 5
PRODUCE_NEXT = 6  # to (when an answer was taken)
SEND_REQUEST = 7
SEND_ANSWER = 8
ACK = 9
RECV = 10
BRANCH_KIND = 11  # to (fetch), to (expired)
APPEND = 12
COMPLETE_NEXT = 13  # to (when none is set aside)
FETCH_EVAL = 14  # to (when parked)
FETCH_SEND = 15
DELIVER = 16
POLL = 17  # to (when empty), to or 0 (when a model has come, or the thread was struck)
NEXT = 18  # to (when the poll is used up)
SERVE = 19
SLEEP = 20  # ns
PUT = 21  # exchange
GET = 22  # exchange, MINE or 0
FLUSH = 23
CALL = 24  # service, UNANSWERED or 0
TAKE = 25  # service
REPLY = 26
TRIGGER = 27
PLAN = 28
JOIN = 29
TASK = 30
NEXT_TASK = 31  # to (when the task is used up)
TASK_DONE = 32
DONE = 33
ROUTE = 34
STAMP_TAKEN = 35  # stamp column
MODEL_ARRIVE = 36
MODEL_HAND = 37
MODEL_NEXT = 38  # to (when one has come)
MODEL_LOADED = 39
PICK = 40  # to (when nothing can score the record)
KEEP = 41  # what (OF_RECORD, OF_ALL or OF_MODEL), to (when there is nothing to keep)
STRIKE = 42  # thread, ns until it starts again or NEVER
DIES = 43  # to (when it was struck)
CRASH = 44
RESTART = 45
OFFSETS_DUE = 46  # to (when it is too early)
OFFSETS = 47

OPERATION_NAMES = (
    *(
        "HALT",
        "JUMP",
        "ARRIVE",
        "CPU",
        "STAMP",
        "ENQUEUE",
        "PRODUCE_NEXT",
        "SEND_REQUEST",
        "SEND_ANSWER",
        "ACK",
        "RECV",
    ),
    *(
        "BRANCH_KIND",
        "APPEND",
        "COMPLETE_NEXT",
        "FETCH_EVAL",
        "FETCH_SEND",
        "DELIVER",
        "POLL",
        "NEXT",
        "SERVE",
        "SLEEP",
    ),
    *(
        "PUT",
        "GET",
        "FLUSH",
        "CALL",
        "TAKE",
        "REPLY",
        "TRIGGER",
        "PLAN",
        "JOIN",
        "TASK",
        "NEXT_TASK",
        "TASK_DONE",
        "DONE",
        "ROUTE",
        "STAMP_TAKEN",
    ),
    *("MODEL_ARRIVE", "MODEL_HAND", "MODEL_NEXT", "MODEL_LOADED", "PICK", "KEEP"),
    *("STRIKE", "DIES", "CRASH", "RESTART", "OFFSETS_DUE", "OFFSETS"),
)

# Where a CPU operation takes its counts (records, bytes, batches) and its entity from.
RECORD_IN = 0  # one record of the input topic; entity: the record
RECORD_OUT = 1  # one record of the output topic; entity: the record
MESSAGE = 2  # the message at hand (a batch: its first record; a fetch: the consumer's answers so far)
POLLED = 3  # the records of the poll; entity: the thread's polls so far
WAKES = 4  # no counts; entity: the thread's wake-ups so far
AFTER_SLEEP = 5  # the thread's sleeps since it last paid for them, and how long it has not worked; entity as WAKES
TAKEN = 6  # the requests a server thread took; entity: the first one's record
TASK_RECORDS = 7  # the records of the task, one batch; entity: the tasks the thread took before

MODEL = 8  # the model at hand: the bytes of its message; entity: its delivery
SWAPPED = 9  # nothing, unless a model began to serve since the last such operation; entity: its delivery
KEPT = 10  # the bytes that are kept; entity: how often the thread kept some before

ONE = 0
OF_POLL = 1
OF_TASK = 2
#: Of GET: the thread becomes the record's worker.
MINE = 1
#: Of CALL: nobody waits for an answer.
UNANSWERED = 1
#: Of KEEP: the model that scored the record at hand; all that the thread's stores hold; the model at hand.
OF_RECORD = 0
OF_ALL = 1
OF_MODEL = 2
NEVER = -1

# Kinds of message.
PRODUCE = 0
FETCH = 1
EXPIRED = 2
REQUEST = 3  # of a service

# What became of a record that is answered by nobody.
DROPPED = 1  # it came to a full queue
LATE = 2  # it had expired
NO_MODEL = 3  # none of its type had come
BAD = 4  # it cannot be parsed

# Stamp columns, numbered as analysis.columns.STAMP_COLUMNS.
CREATED, SENT, APPENDED, FETCHED, SCORE_BEGIN, SCORE_END, PRODUCED, ACKED, OUT_APPENDED = range(9)
STAMPS = 9

#: Cost operand of a fetch: broker.fetch or broker.fetch_empty (consumer.* likewise) by what the message carries.
FETCH_OR_EMPTY = 1
#: Cost operand of what was taken: the n-th of consecutive costs, for n requests (a thread's first batches come after).
BY_SIZE = 2
#: Cost operand of a model: the n-th of consecutive costs, for message n of the stream (of MODEL: the one at hand; of a
#: record: the one that scores it).
BY_MODEL = 3


@dataclass
class Program:
    """A list of operations under construction; labels are names, resolved by `build`."""

    name: str
    _operations: list[tuple[int, int | str, int | str, int | str]] = field(default_factory=list)
    _labels: dict[str, int] = field(default_factory=dict)

    def label(self, name: str) -> Program:
        """Names the place of the next operation."""
        self._labels[name] = len(self._operations)
        return self

    def do(self, code: int, a: int | str = 0, b: int | str = 0, c: int | str = 0) -> Program:
        """Appends one operation; a string operand is a label."""
        self._operations.append((code, a, b, c))
        return self

    def build(self) -> tuple[tuple[int, int, int, int], ...]:
        """The operations with every label resolved.  Raises KeyError for an unknown label."""

        def resolve(x: int | str) -> int:
            return self._labels[x] if isinstance(x, str) else x

        return tuple((code, resolve(a), resolve(b), resolve(c)) for code, a, b, c in self._operations)
