"""`real doctor`: what of this machine would disturb a measurement, or keep a scenario from running, and the remedy."""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from real import host
from real.errors import HarnessError, RefusedError

OK, WARN, FAIL = "ok", "warn", "fail"
GIB = 1 << 30

_COARSE_NS = 1_000
_FREE_DISK, _FREE_MEMORY = 5 * GIB, 2 * GIB
_SLOW_SYNC_MS = 20.0
_LATE_NS = 1_000_000
_QUIET_S = 1.0
_GOOD_CLOCKS = ("tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page")

Tell = Callable[[str, float | None], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at.

    Attributes:
        what: Its name.
        state: `ok`, `warn` (figures are worse for it) or `fail` (something does not run here).
        found: In words.
        remedy: What to do about it; empty where it is ok.
        values: The figures, for `--json`.
    """

    what: str
    state: str
    found: str
    remedy: str = ""
    values: dict[str, Any] = field(default_factory=dict)


def examine(
    *, broker: str | None = "kafka", noise: bool = True, folder: Path | None = None, tell: Tell
) -> list[Finding]:
    """Looks at everything.

    Args:
        broker: Kind of the broker that is started to see whether it does; None: none is.
        noise: Measure the noise floor.
        folder: Whose disk is tried; None: the temporary folder.
        tell: Told of what takes time.

    Returns:
        The findings, in the order of reading.
    """
    found = [cores(), control_groups(), governor(), clock(), machine_memory()]
    tell("trying the disk", None)
    found.append(disk(folder or Path(tempfile.gettempdir())))
    tell("listening to what else runs", None)
    found.append(quiet())
    found += [java(), maven(), gpu()]
    found += list(_living(broker, noise=noise, tell=tell))
    return found


def cores() -> Finding:
    """How many, and how many of the machine's."""
    own, all_of = len(os.sched_getaffinity(0)), host.machine_cores()
    values = {"usable": own, "machine": all_of}
    if own < 2:
        remedy = "give it at least two: driver and replicas share the only one, and each disturbs the other"
        return Finding("cores", WARN, f"{own} of the machine's {all_of}", remedy, values)
    remedy = "profile at most cores - 1 replicas of one core each; the driver needs the other" if own < 4 else ""
    return Finding("cores", OK, f"{own} of the machine's {all_of}" + (f" ({remedy})" if remedy else ""), "", values)


def control_groups() -> Finding:
    """Limits on CPU and memory."""
    own = host.limits()
    values = asdict(own)
    cpus = "no CPU limit" if own.cpus is None else f"{own.cpus:g} CPUs"
    memory = "no memory limit" if own.memory_bytes is None else f"{own.memory_bytes / GIB:.1f} GiB"
    said = f"{cpus}, {memory}"
    if own.cpus is not None and own.cpus < len(os.sched_getaffinity(0)):
        said += f"; stopped in {own.throttled or 0} periods so far"
        remedy = "lift the CPU quota or pin as many cores as it allows: a quota stops all threads in mid-batch"
        return Finding("control group", WARN, said, remedy, values)
    return Finding("control group", OK, said, "", values)


def governor() -> Finding:
    """Whether the cores' frequency moves with the load."""
    used = host.governors()
    values = {"governors": used}
    if not used:
        return Finding("governor", OK, "the kernel shows none (a virtual machine's host decides)", "", values)
    if used != ["performance"]:
        remedy = "cpupower frequency-set -g performance: else a lightly loaded core is slower than a busy one"
        return Finding("governor", WARN, ", ".join(used), remedy, values)
    return Finding("governor", OK, "performance", "", values)


def clock() -> Finding:
    """Source and resolution."""
    from analysis.fingerprint import fingerprint

    source, step = fingerprint()["clock_source"], host.clock_resolution_ns()
    values = {"source": source, "step_ns": step}
    said = f"{source or 'unknown'}, steps of {step} ns"
    if step > _COARSE_NS or (source and source not in _GOOD_CLOCKS):
        remedy = "boot with a stable TSC (clocksource=tsc): each reading of this clock is slow or coarse"
        return Finding("clock", WARN, said, remedy, values)
    return Finding("clock", OK, said, "", values)


def machine_memory() -> Finding:
    """How much is left."""
    whole, free, swapped = host.memory()
    values = {"total_bytes": whole, "available_bytes": free, "swapped_bytes": swapped}
    said = f"{free / GIB:.1f} of {whole / GIB:.1f} GiB free"
    if free < _FREE_MEMORY:
        return Finding(
            "memory", WARN, said, f"free {_FREE_MEMORY / GIB:.0f} GiB: a broker and large models need it", values
        )
    if swapped > GIB // 4:
        return Finding("memory", WARN, f"{said}, {swapped / GIB:.1f} GiB swapped out", "swapoff -a", values)
    return Finding("memory", OK, said, "", values)


def disk(folder: Path) -> Finding:
    """Free space, and how long a small write takes to reach the disk."""
    try:
        free = shutil.disk_usage(folder).free
        times = []
        with tempfile.TemporaryFile(dir=folder) as file:
            for _ in range(20):
                file.write(b"\0" * 4096)
                file.flush()
                began = time.perf_counter()
                os.fsync(file.fileno())
                times.append((time.perf_counter() - began) * 1e3)
    except OSError as error:
        remedy = "set TMPDIR to a folder that can be written"
        return Finding("disk", FAIL, f"{folder}: {error.strerror or error}", remedy, {"folder": str(folder)})
    sync = statistics.median(times)
    values = {"folder": str(folder), "free_bytes": free, "sync_ms": sync}
    said = f"{free / GIB:.1f} GiB free, {sync:.2g} ms to sync 4 KiB"
    if free < _FREE_DISK:
        return Finding("disk", WARN, said, f"free {_FREE_DISK / GIB:.0f} GiB: backlogs and models go there", values)
    if sync > _SLOW_SYNC_MS:
        return Finding("disk", WARN, said, "set TMPDIR to a faster disk: the broker's log goes there", values)
    return Finding("disk", OK, said, "", values)


def quiet(seconds: float = _QUIET_S) -> Finding:
    """What others use while this process rests."""
    from real.profiler.noise import Beside

    beside = Beside(0)
    time.sleep(seconds)
    told = beside.told(0)
    disturbed = bool(told.warnings())
    said = f"others use {told.others_cores:.2g} cores, {told.stolen_share:.1%} stolen"
    remedy = "end what else runs here, or measure when it is done; its load is in every figure" if disturbed else ""
    return Finding("rest of the machine", WARN if disturbed else OK, said, remedy, asdict(told))


def java() -> Finding:
    """The Java that a real broker needs."""
    from real.brokers.jars import OLDEST_JAVA
    from real.brokers.jars import java as launcher
    from real.fingerprint import java_version

    try:
        path = launcher("broker.kind", "kafka", "; --broker mock needs none")
    except RefusedError as error:
        remedy = f"install Java {OLDEST_JAVA}; without it brokers are mocks and JVM engines do not run"
        return Finding("java", FAIL, str(error), remedy)
    version = java_version(path)
    return Finding("java", OK, version, "", {"version": version, "path": path})


def maven() -> Finding:
    """The Maven that fetches a broker's jars once."""
    path = shutil.which("mvn")
    if path is None:
        remedy = "install Maven; it is needed once, for the jars of the broker and of JVM engines"
        return Finding("maven", WARN, "no mvn on the PATH", remedy)
    return Finding("maven", OK, "mvn is on the PATH", "", {"path": path})


def gpu() -> Finding:
    """GPUs."""
    from real.profiler.devices import present

    there = present()
    if not there:
        return Finding("GPU", OK, "none: everything is measured on the CPU", "", {"gpus": []})
    return Finding("GPU", OK, f"NVIDIA {', '.join(map(str, there))}", "", {"gpus": list(there)})


def _living(broker: str | None, *, noise: bool, tell: Tell) -> Iterator[Finding]:
    from real.processes import Supervisor

    with Supervisor() as supervisor:
        if broker is not None:
            tell(f"starting a {broker} broker", None)
            yield start_broker(broker, supervisor)
        if noise:
            tell("measuring the noise floor", None)
            yield noise_floor(supervisor)


def start_broker(kind: str, supervisor: Any) -> Finding:
    """Whether a broker starts."""
    from real import brokers
    from scenarios import spec

    began = time.monotonic()
    try:
        started = brokers.make(spec.Broker(kind=kind), supervisor, lambda _line: None)  # type: ignore[arg-type]
        started.start()
        took = time.monotonic() - began
        version = started.version or kind
        started.stop()
    except RefusedError as error:
        return Finding("broker", FAIL, str(error), "see java and maven above, or run with --broker mock")
    except HarnessError as error:
        return Finding(
            "broker", FAIL, str(error).splitlines()[0], "`real clean`, if one was killed; `real run` says more"
        )
    named = version if kind in version else f"{kind} {version}"
    return Finding("broker", OK, f"{named} starts in {took:.1f} s", "", {"kind": kind, "start_s": took})


def noise_floor(supervisor: Any) -> Finding:
    """What is measured of a model that does nothing."""
    from real.child import exact_timers
    from real.profiler.cores import driver_on, pinning
    from real.profiler.noise import floor
    from real.profiler.shown import digits

    exact_timers()
    placed = pinning((), None, None, allow_overlap=True)
    with driver_on(placed.driver), tempfile.TemporaryDirectory(prefix="weir-models-") as models:
        found = floor(supervisor, placed.model[:1], Path(models))
    us = [digits(ns / 1e3) for ns in (found.batch_ns, found.trip_p50_ns, found.trip_p99_ns, found.late_p99_ns)]
    said = f"a no-op reads {us[0]} us; there and back {us[1]} us (p99 {us[2]}), sent {us[3]} us late (p99)"
    if max(found.trip_p99_ns, found.late_p99_ns) > _LATE_NS:
        remedy = "leave the machine alone: latencies below ten times that are mostly the machine's own"
        return Finding("noise floor", WARN, said, remedy, found.row())
    return Finding("noise floor", OK, said, "", found.row())
