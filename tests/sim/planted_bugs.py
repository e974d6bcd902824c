"""Bugs planted in the loop one at a time: does the comparison with the reference catch every one?

`python -m tests.sim.planted_bugs` with the JIT off (a mutant need not be compiled): prints a line of JSON for each bug.
Each is a small change of one line that still gives plausible stamps.  A child process imports the loop with it and
simulates generated systems, cut at random instants, until a stamp or a counter differs from the reference.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import random
import signal
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import sim
from scenarios.spec import MS_NS
from sim import system
from sim.jit import JIT_OFF
from sim.reference import ReferenceExecution
from sim.system import System
from tests.oracle import families as pipelines_of
from tests.sim import families, pipelines, test_graph, test_wide

ROOT = Path(__file__).resolve().parents[2]
RANDOM_SYSTEMS, CASES_OF_A_FAMILY, GRAPHS, TIED = 90, 2, 12, 12
#: A mutant that takes longer goes round in circles, which is one way of being caught.
LIMIT_S = 120
CAUGHT, SURVIVED = 0, 1


@dataclass(frozen=True)
class Bug:
    """One change: in a module of `sim`, where `old` stands exactly once."""

    what: str
    module: str
    old: str
    new: str


BUGS = (
    Bug(
        "of equal keys the other wins",
        "loop_agenda",
        "loses = theirs < key + (i & 1)",
        "loses = theirs <= key",
    ),
    Bug(
        "an event that is taken back comes all the same",
        "loop_agenda",
        "    a[b + T_EVENT] = key\n",
        "    a[b + T_EVENT] = min(key, was)\n",
    ),
    Bug(
        "a signal takes the latency of a timer",
        "loop_events",
        "wake_draw(a, t, a[G_WAKE])",
        "wake_draw(a, t, a[G_TIMER])",
    ),
    Bug("caches go cold from the last sleep on", "loop_events", "        a[home + T_WORKED] = 0\n", ""),
    Bug(
        "the wait is counted from the wake-up",
        "loop_events",
        "a[b + T_WAIT] += a[G_NOW] - (key >> KEY_BITS)",
        "a[b + T_WAIT] += 0",
    ),
    Bug(
        "what ran long ago counts as recent",
        "loop_hosts",
        "    elif i == a[b + T_WINDOW] + 1:\n        ran",
        "    elif i >= a[b + T_WINDOW] + 1:\n        ran",
    ),
    Bug(
        "a preempted thread stamps what falls due now",
        "loop_hosts",
        "if over < 0 or (over == 0 and not due_now):",
        "if over < 0:",
    ),
    Bug(
        "a slice begins when somebody comes",
        "loop_hosts",
        "a[b + T_SLICE0] += ((used - 1) // slice_ns) * slice_ns",
        "a[b + T_SLICE0] = a[G_NOW]",
    ),
    Bug(
        "a thread preempts although it ran a whole slice",
        "loop_hosts",
        "if 2 * recent(a, t) < s:",
        "if recent(a, t) < s:",
    ),
    Bug("of equals the last is preempted", "loop_hosts", "used == most and v < victim", "used == most and v > victim"),
    Bug(
        "who was preempted queues at the tail",
        "loop_hosts",
        "to_queue(a, victim, h, True)",
        "to_queue(a, victim, h, False)",
    ),
    Bug("shared work ends a moment early", "loop_hosts", "(left + share - 1) // share", "left // share"),
    Bug(
        "shared work that ends together, in the other order",
        "loop_hosts",
        "(fx == fy and x < y)",
        "(fx == fy and x > y)",
    ),
    Bug("messages of a connection overtake", "loop_kafka", "    at = max(at, a[place])\n", ""),
    Bug(
        "two requests of a connection in process",
        "loop_kafka",
        "        a[cb + T_BUSY] = 1\n        to_request_queue(a, following)",
        "        to_request_queue(a, following)",
    ),
    Bug(
        "a fetch takes no batch larger than its limit",
        "loop_kafka",
        "if batches > 0 and total + size > a[G_FETCH_MAX]:",
        "if total + size > a[G_FETCH_MAX]:",
    ),
    Bug(
        "a record too many is fetched ahead",
        "loop_kafka",
        "a[lg + LG_FETCHED] - a[lg + LG_POLLED] < a[G_QUEUED_RECORDS]",
        "a[lg + LG_FETCHED] - a[lg + LG_POLLED] <= a[G_QUEUED_RECORDS]",
    ),
    Bug("a full batch wakes nobody", "loop_kafka", "    if matters:\n", "    if matters and n < limit:\n"),
    Bug(
        "a producer sends from the same partition again",
        "loop_kafka",
        "a[pr + P_TURN] = i + 1 if i + 1 < a[pr + P_PARTITIONS] else 0",
        "a[pr + P_TURN] = i",
    ),
    Bug(
        "of ready lanes the one that waited least goes first",
        "loop_kafka",
        "nearest = min(nearest, away if away >= 0 else away + lanes)",
        "nearest = away if away >= 0 else away + lanes",
    ),
    Bug(
        "a lane goes to the end of the line with what it keeps",
        "loop_kafka",
        "while before != NONE and a[a[G_FIRSTS] + before] > key:",
        "while before != NONE and a[a[G_FIRSTS] + before] > key + FAR:",
    ),
    Bug(
        "a request too many in flight",
        "loop_kafka",
        "room = a[pr + P_FLIGHT] < a[G_MAX_FLIGHT]",
        "room = a[pr + P_FLIGHT] <= a[G_MAX_FLIGHT]",
    ),
    Bug(
        "a poll leaves a partition that has more",
        "loop_kafka",
        "if room == 0 and a[lg + LG_VISIBLE] > a[lg + LG_POLLED]:",
        "if room == 0 and a[lg + LG_VISIBLE] < a[lg + LG_POLLED]:",
    ),
    Bug(
        "a parked fetch waits for the first timer only",
        "loop_kafka",
        "    if a[c + C_EXPIRES] > a[G_NOW]:\n        a[c + C_TIMED] = 1",
        "    if a[c + C_EXPIRES] > a[G_NOW] + FAR:\n        a[c + C_TIMED] = 1",
    ),
    Bug(
        "room for one record more",
        "loop_flow",
        "if 0 < a[xb + X_CAPACITY] <= a[ib + I_HELD]:",
        "if 0 < a[xb + X_CAPACITY] < a[ib + I_HELD]:",
    ),
    Bug(
        "room in an inbox is told to nobody",
        "loop_flow",
        "        a[wb + T_IN_LINE] = 0\n        signal(a, writer)",
        "        a[wb + T_IN_LINE] = 0",
    ),
    Bug(
        "a micro-batch starts an interval after the last looked",
        "loop_flow",
        "block(a, t, a[G_MB_STARTED] + a[G_MB_INTERVAL])",
        "block(a, t, a[G_NOW] + a[G_MB_INTERVAL])",
    ),
    Bug("a bounded micro-batch begins with the same partition", "loop_flow", "            a[G_MB_TURN] = q\n", ""),
    Bug(
        "a record too many queues for a stage",
        "loop_stations",
        "if 0 < a[sb + S_CAPACITY] <= a[sb + S_N] and",
        "if 0 < a[sb + S_CAPACITY] < a[sb + S_N] and",
    ),
    Bug(
        "an incomplete batch waits from now on",
        "loop_stations",
        "    due = came + a[sb + S_DELAY]",
        "    due = a[G_NOW] + a[sb + S_DELAY]",
    ),
    Bug(
        "in the order of creation, before its like",
        "loop_stations",
        "a[sb + S_TAIL] * M_STRIDE + M_FIRST]] <= mine:",
        "a[sb + S_TAIL] * M_STRIDE + M_FIRST]] < mine:",
    ),
    Bug(
        "a record that expires now may still be taken",
        "loop_stations",
        "a[a[G_STAMPS] + r] + expiry > a[G_NOW]:",
        "a[a[G_STAMPS] + r] + expiry >= a[G_NOW]:",
    ),
    Bug(
        "a batch costs what one more would",
        "loop",
        "cost += records - 1 if ordinal >= a[sb + S_FIRSTS]",
        "cost += records - 2 * (records > 1) if ordinal >= a[sb + S_FIRSTS]",
    ),
    Bug(
        "an empty fetch costs what a full one does",
        "loop",
        "if variant == op.FETCH_OR_EMPTY and records == 0:",
        "if variant == op.FETCH_OR_EMPTY and records < 0:",
    ),
)

Told = list[tuple[int, dict[str, Any]]]


def systems() -> list[System]:
    """What mutants are tried on, the quick ones first."""
    found = [made for _, made in families.small_systems()]
    found += [families.random_system(seed + 5000) for seed in range(RANDOM_SYSTEMS)]
    for family in pipelines_of.FAMILIES:
        for seed in range(CASES_OF_A_FAMILY):
            case = pipelines_of.random_case(family, seed, shared=seed % 2 == 1, ties=seed % 4 > 1)
            found.append(system.build(*case))
    # Everything ties: in graphs with expiry, and on cores that run out with slices of a few steps.
    found += [system.build(*test_graph.random_case(seed, shared=False, ties=True)) for seed in range(GRAPHS)]
    for number, (_, scenario, calibration) in enumerate(pipelines.CASES[:TIED]):
        found.append(system.build(scenario, pipelines.with_cores(calibration, 1 + number % 2, MS_NS)))
    found += [test_wide.wide("workload.records=250", *more) for more in test_wide.CASES.values()]
    return found


def told(execution: Any) -> dict[str, Any]:
    """All that can be read of a run now, in plain types: a mutant's classes are not the reference's."""
    plain = {name: [dataclasses.astuple(x) for x in getattr(execution, name)()] for name in READINGS}
    stamps = {name: np.array(column) for name, column in execution.stamps().items()}
    return {**plain, "acked": execution.acked(), "lost": execution.lost().tolist(), "stamps": stamps}


READINGS = ("threads", "producers", "consumers", "services")


def instants(made: System, seed: int) -> list[int]:
    """Where a run is cut and looked at."""
    rng = random.Random(seed)
    return [*sorted(rng.randrange(made.horizon_ns) for _ in range(3)), made.horizon_ns]


def by_reference(made: System, seed: int) -> Told:
    """What the reference tells at each instant."""
    execution, found = ReferenceExecution(made), []
    for at in instants(made, seed):
        execution.advance(at)
        found.append((at, told(execution)))
    return found


def same(left: dict[str, Any], right: dict[str, Any]) -> bool:
    """Whether two runs tell the same."""
    stamps, others = left["stamps"], right["stamps"]
    return all(left[name] == right[name] for name in left if name != "stamps") and all(
        bool((stamps[name] == others[name]).all()) for name in stamps
    )


def planted(bug: Bug | None) -> Any:
    """The class of executions of a loop with this bug, imported anew."""
    for name in [name for name in sys.modules if name.startswith("sim.loop") or name == "sim.execution"]:
        del sys.modules[name]
        vars(sim).pop(name.removeprefix("sim."), None)
    if bug is not None:
        path = ROOT / "sim" / f"{bug.module}.py"
        text = path.read_text(encoding="utf-8")
        if text.count(bug.old) != 1:
            raise SystemExit(f"{bug.what}: stands {text.count(bug.old)} times in sim/{bug.module}.py: {bug.old!r}")
        module = types.ModuleType(f"sim.{bug.module}")
        module.__file__ = str(path)
        sys.modules[module.__name__] = module
        exec(compile(text.replace(bug.old, bug.new), str(path), "exec"), module.__dict__)
    return importlib.import_module("sim.execution").LoopExecution


def tried(bug: Bug | None, tests: list[tuple[System, Told]]) -> int:
    """The number of the first system on which the loop with the bug differs; how many there are if on none."""
    made = planted(bug)
    for number, (each, expected) in enumerate(tests):
        try:
            execution = made(each)
            for at, right in expected:
                execution.advance(at)
                if not same(told(execution), right):
                    return number
        except Exception:  # noqa: BLE001 - a mutant may do anything
            return number
    return len(tests)


def child(bug: Bug | None, tests: list[tuple[System, Told]]) -> dict[str, Any]:
    """Tries a bug in a process of its own."""
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(LIMIT_S)
        code = 3
        try:
            os.write(into, str(tried(bug, tests)).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(into)
    with os.fdopen(out, "rb") as answer:
        number = answer.read()
    _, status = os.waitpid(pid, 0)
    if os.waitstatus_to_exitcode(status) == -signal.SIGALRM:
        return {"caught": True, "how": "goes round in circles"}
    if not number:
        raise SystemExit(f"{bug}: the child failed")
    return {"caught": int(number) < len(tests), "how": f"system {int(number)}"}


def main() -> None:
    """Tries every bug, and none."""
    if not JIT_OFF:
        raise SystemExit("set NUMBA_DISABLE_JIT=1")
    tests = [(each, by_reference(each, number)) for number, each in enumerate(systems())]
    for bug in (None, *BUGS):
        found = child(bug, tests)
        print(json.dumps({"bug": None if bug is None else bug.what, **found}), flush=True)


if __name__ == "__main__":
    main()
