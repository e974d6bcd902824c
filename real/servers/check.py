"""Whether a server does here what it is said to: answers, batches, dies loudly, starts again."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from control.batching import Rules
from real.errors import ChildDiedError, DeadlineError, HarnessError
from real.processes import Supervisor
from real.servers.base import Ask, Running, Say, Server
from real.servers.load import Load
from real.servers.played import compare
from real.servers.protocols import client
from scenarios.spec import MS_NS, Model

CALLS = 200
POINTS = (1, 32)
_TIMEOUT_S, _HEARD_S = 60.0, 20.0
#: The model that waits, for the comparison of batching with none: so long, whatever the batch.
_SLEEP_NS, _CALLERS, _CALLS, _BATCH = 30 * MS_NS, 16, 96, 8
_DELAY_NS = 2 * MS_NS


@dataclass
class Measured:
    """What was seen of a server over one protocol.

    Attributes:
        protocol: The protocol.
        ready_s: From the start of its process to its being ready.
        rss_mb: Of all its processes, once it had answered.
        p50_ms: Median time of a call of 1 and of 32 points, one connection, no batching.
        p50_batched_ms: The same of a server that waits up to 2 ms for a batch of 8.
        together: With a model that waits 30 ms, 16 callers and batches of 8: calls a second against the same without
            batching.
        killed: What the callers were told when it was killed in the middle, by kind.
        heard_s: When the harness knew of its death.
    """

    protocol: str
    ready_s: float
    rss_mb: float
    p50_ms: dict[int, float]
    p50_batched_ms: dict[int, float] = field(default_factory=dict)
    together: float = 0.0
    killed: dict[str, int] = field(default_factory=dict)
    heard_s: float = 0.0


@dataclass
class Report:
    """Of one server.

    Attributes:
        server: Its word.
        version: Of its software; empty where it is not here.
        rows: A row a protocol.
        missing: Why it is not here.
        error: What went wrong.
    """

    server: str
    version: str = ""
    rows: list[Measured] = field(default_factory=list)
    missing: str | None = None
    error: str | None = None


def check(found: Server, models: Path, say: Say) -> Report:
    """Starts a server four times: killed in the middle, batching, with a model that waits, without batches and with.

    Args:
        found: The server.
        models: Folder of model files.
        say: Told what is done.
    """
    report = Report(found.word, missing=found.missing())
    if report.missing is not None:
        return report
    report.version = found.version()
    plain = Ask(Model("ffnn"), 1, models)
    batching = Rules("delayed", _BATCH, _DELAY_NS)
    try:
        report.rows = _first(found, plain, say)
        with _started(found, dataclasses.replace(plain, rules=batching), say) as (running, _):
            for row in report.rows:
                row.p50_batched_ms = _medians(running, row.protocol, plain)
        waiting = dataclasses.replace(plain, model=Model("sleep", base_ns=_SLEEP_NS, each_ns=0))
        with _started(found, waiting, say) as (running, _):
            alone = {row.protocol: _together(running, row.protocol, waiting) for row in report.rows}
        with _started(found, dataclasses.replace(waiting, rules=batching), say) as (running, _):
            for row in report.rows:
                row.together = _together(running, row.protocol, waiting) / alone[row.protocol]
    except HarnessError as error:
        report.error = str(error)
    return report


@contextlib.contextmanager
def _started(found: Server, ask: Ask, say: Say) -> Iterator[tuple[Running, float]]:
    """A server that is ready, in a supervision of its own, and how long that took."""
    with Supervisor() as supervisor:
        began = time.monotonic()
        running = found.start(ask, supervisor, say)
        ready_s = time.monotonic() - began
        try:
            yield running, ready_s
        finally:
            running.stop()


def _first(found: Server, ask: Ask, say: Say) -> list[Measured]:
    rows = []
    with _started(found, ask, say) as (running, ready_s):
        for protocol in running.addresses:
            _answers(running, protocol, ask)
            medians = _medians(running, protocol, ask)
            rows.append(Measured(protocol, ready_s, running.rss_bytes() / 1e6, medians))
        told, heard_s = _kill(running, ask)
        for row in rows:
            row.killed, row.heard_s = told[row.protocol], heard_s
    return rows


def _answers(running: Running, protocol: str, ask: Ask) -> None:
    """Compares answers with the model's reference.

    Raises:
        HarnessError: They are others, or there are none.
    """
    from models.zoo import reference, trial
    from real.servers.protocols.base import CallError

    x = trial(ask.model, ask.seed)
    caller = client(running.address(protocol))
    try:
        compare(caller.call(x, _TIMEOUT_S), reference(ask.model, ask.seed, x), protocol)
    except CallError as error:
        raise HarnessError(f"no answer over {protocol}: {error}") from None
    finally:
        caller.close()


def _medians(running: Running, protocol: str, ask: Ask) -> dict[int, float]:
    from models.zoo import inputs

    found = {}
    for points in POINTS:
        x = inputs(ask.model, points, ask.seed)
        load = Load(running.address(protocol), x, 1, CALLS, _TIMEOUT_S).start().join()
        if load.failed:
            raise HarnessError(f"{load.failed.total()} of {CALLS} calls over {protocol} failed: {dict(load.failed)}")
        found[points] = load.median_ms
    return found


def _together(running: Running, protocol: str, ask: Ask) -> float:
    """Calls a second of many callers."""
    from models.zoo import inputs

    load = Load(running.address(protocol), inputs(ask.model, 1, 1), _CALLERS, _CALLS, _TIMEOUT_S).start().join()
    if load.failed:
        raise HarnessError(f"{load.failed.total()} of {_CALLS} calls over {protocol} failed: {dict(load.failed)}")
    return _CALLS / load.elapsed_s


def _kill(running: Running, ask: Ask) -> tuple[dict[str, dict[str, int]], float]:
    """Kills a server while it is called over each protocol; what the callers were told, and when the harness heard.

    Raises:
        HarnessError: A call was lost without a word, or nobody heard.
    """
    from models.zoo import inputs

    x = inputs(ask.model, 1, ask.seed)
    loads = {p: Load(a, x, 2, 1_000_000, _TIMEOUT_S).start() for p, a in running.addresses.items()}
    try:
        _until(lambda: all(len(load.took_s) >= 20 for load in loads.values()), "calls before the kill")
        running.kill()
        killed = time.monotonic()
        heard_s = _heard(running, killed)
        _until(lambda: all(load.failed for load in loads.values()), "callers being told of the kill")
    finally:
        for load in loads.values():
            load.stop()
    return {p: dict(Counter(load.failed)) for p, load in loads.items()}, heard_s


def _heard(running: Running, killed: float) -> float:
    """How long after the kill the supervisor knew."""
    while time.monotonic() < killed + _HEARD_S:
        try:
            running.supervisor.wait(0.01)
        except ChildDiedError:
            return time.monotonic() - killed
    raise DeadlineError(f"nobody heard of the server's death within {_HEARD_S:.0f} s")


def _until(condition: object, what: str) -> None:
    assert callable(condition)
    end = time.monotonic() + _HEARD_S
    while not condition():
        if time.monotonic() > end:
            raise DeadlineError(f"{what} took longer than {_HEARD_S:.0f} s")
        time.sleep(0.005)
