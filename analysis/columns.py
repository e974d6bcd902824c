"""The names of the run format, written once.  `sim` and `real` write the same files with the same columns."""

from __future__ import annotations

SCHEMA_VERSION = 1

#: records.parquet: int64 identifiers, one row a sequence number, in order of sequence.  -1: not known.
ID_COLUMNS = ("sequence", "partition", "worker", "batch")
#: records.parquet: int64 nanoseconds since the run's start, in the order a record meets them.  -1: never reached.
STAMP_COLUMNS = (
    "created",  # scheduled send time
    "sent",  # the generator called produce
    "appended",  # the broker's append time on the input topic (whole milliseconds, floored)
    "fetched",  # the worker's poll returned it
    "score_begin",
    "score_end",
    "produced",  # the worker called produce
    "acked",  # the worker's delivery callback ran
    "out_appended",  # the broker's append time on the output topic (whole milliseconds, floored)
)
#: records.parquet: what became of the record (dictionary-encoded string) and how many surplus outputs it had (int64).
OUTCOME_COLUMN = "outcome"
DUPLICATES_COLUMN = "duplicates"
RECORD_COLUMNS = (*ID_COLUMNS, *STAMP_COLUMNS, OUTCOME_COLUMN, DUPLICATES_COLUMN)

#: sent = the sum of these.
OUTCOMES = (
    "scored",
    "defaulted",
    "in_flight",
    "dropped_no_model",
    "dropped_queue",
    "rejected",
    "bad",
    "failed",
    "expired",
    "lost",
)
NO_STAMP = -1

#: host.parquet: one row a second and a thing measured.
HOST_COLUMNS = (
    "second",  # int64, since the run's start
    "kind",  # core | process
    "name",  # core number, or the process' role (generator.0, broker, worker.1, collector, harness)
    "cpu_ns",  # CPU used in that second
    "wait_ns",  # run-queue wait in that second (processes; -1 where unknown)
    "rss_bytes",  # resident memory (processes; -1 for a core)
)

VERDICTS = ("INVALID", "CLIENT-BOUND", "OVERLOADED", "BACKLOGGED", "STABLE")
REASONS = ("complete", "records", "interrupted", "worker-died", "deadline", "backlog-lost", "error")
