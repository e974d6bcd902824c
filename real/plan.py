"""What a run will do, fixed before anything starts: its schedule, its window, and whether it can run here."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from real.errors import RefusedError
from scenarios.spec import S_NS, Scenario

Ints = NDArray[np.int64]
_HERE = ("default", "this")
#: Without a deadline of its own a run may take its load, its drain and this much.
GRACE_NS = 60 * S_NS
#: What a run's files take at least (a broker's log among them), and what a record adds to each process' own.
_LEAST_FREE_BYTES, _RECORD_FILE_BYTES = 64 << 20, 80


@dataclass(frozen=True)
class Plan:
    """The run's times, nanoseconds since its start.

    Attributes:
        due: Scheduled send time of each record by sequence; a backlog's come first and are 0.
        partition: Partition of each.
        backlog: Records that are in the topic before the start.
        load_end_ns: End of the load.
        window_ns: Begin and end of the counters' window; None for a backlog run, whose window is from the start to
            the last output.
        stop_ns: When the drain ends at the latest.
        by_records: Whether `workload.records` ended the load.
    """

    due: Ints
    partition: Ints
    backlog: int
    load_end_ns: int
    window_ns: tuple[int, int] | None
    stop_ns: int
    by_records: bool


def plan(scenario: Scenario) -> Plan:
    """Draws the schedule.

    Raises:
        ScenarioError: The trace file cannot be read.
        RefusedError: Nothing would be sent.
    """
    from scenarios.arrivals import partition_of, schedule

    load = scenario.workload
    horizon = load.warmup_ns + load.duration_ns
    times = schedule(load.arrival, horizon, load.seed, limit=load.records)
    due = np.concatenate([np.zeros(load.backlog_records, np.int64), times])
    if not len(due):
        raise RefusedError("workload", "nothing would be sent")
    end, by_records = horizon, load.records is not None and len(times) >= load.records
    if by_records and len(times) > 1:
        first, last = int(times[0]), int(times[-1])
        end = min(horizon, last + (last - first) // (len(times) - 1))  # as it would end if another record followed
    window = None if load.backlog_records else (min(load.warmup_ns, end), end)
    return Plan(
        due, partition_of(scenario, len(due)), load.backlog_records, end, window, end + load.drain_ns, by_records
    )


def refuse_elsewhere(scenario: Scenario) -> None:
    """Refuses a scenario that asks for an engine, a server or a client that is not here, or for another machine.

    Raises:
        RefusedError: Naming the key.
    """
    from real.engines import engine
    from real.faults import refuse as refuse_faults
    from real.model_stream.cast import refuse as refuse_models

    engine(scenario.engine.kind).refuse(scenario)
    refuse_models(scenario)
    refuse_faults(scenario)
    if scenario.workload.collectors > 1:
        raise RefusedError("workload.collectors", f"{scenario.workload.collectors}; real has one collector")
    here = (*_HERE, socket.gethostname())
    cores = len(os.sched_getaffinity(0))
    for name, host in scenario.hosts.hosts.items():
        if name not in here:
            raise RefusedError(f"hosts.{name}", f"a host of its own; real runs every part on this machine ({here[-1]})")
        if host.cores != cores:
            raise RefusedError(f"hosts.{name}.cores", f"{host.cores} cores, this machine has {cores}")
    for part, name in scenario.hosts.parts.items():
        if name not in here:
            raise RefusedError(f"hosts.{part}.on", f"on {name}; real runs every part on this machine ({here[-1]})")


def refuse_full(scenario: Scenario, records: int, folders: Sequence[Path]) -> None:
    """Refuses a run whose files would not have room: what is mapped cannot fail in an orderly way later.

    Args:
        scenario: To run.
        records: How many it sends.
        folders: Where the processes' files are to be, and the run's.

    Raises:
        RefusedError: Naming the folder.
    """
    need = _LEAST_FREE_BYTES + records * _RECORD_FILE_BYTES * (1 + scenario.engine.parallelism)
    for folder in folders:
        there = next(path for path in (folder, *folder.resolve().parents) if path.is_dir())
        free = shutil.disk_usage(there).free
        if free < need:
            message = f"{free >> 20} MiB free on its disk; the files of this run need {need >> 20} MiB"
            raise RefusedError(str(folder), f"{message} (elsewhere: TMPDIR, --out)")


def refuse_broker(scenario: Scenario, max_partitions: int | None) -> None:
    """Refuses what the broker at hand cannot do.

    Raises:
        RefusedError: Naming the key.
    """
    if max_partitions is not None and scenario.broker.partitions > max_partitions:
        raise RefusedError("broker.partitions", f"{scenario.broker.partitions}; a mock broker has {max_partitions}")
