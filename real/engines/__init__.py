"""Engines: one module an engine, one line here.  An engine is a process of the run that turns inputs into outputs.

The harness starts `parallelism` processes of `python -m MODULE CONFIG`, each a `real.child`: it reports `assigned`
whenever its partitions change, `ready` once it could work, works from the order `start`, and after `stop` flushes,
commits and reports `done`.  Its counters are the slots `real.wire.Work`, its side file rows of `real.wire.WORKER_ROW`.
"""

from __future__ import annotations

from real.errors import RefusedError

#: kind -> module
ENGINES = {
    "python": "real.engines.python",
}
ENTRY_POINT_GROUP = "weir.engines"


def module_of(kind: str) -> str:
    """The module of an engine.

    Raises:
        RefusedError: No such engine here.
    """
    if kind in ENGINES:
        return ENGINES[kind]
    from importlib.metadata import entry_points

    for entry in entry_points(group=ENTRY_POINT_GROUP, name=kind):
        return entry.value.partition(":")[0]
    raise RefusedError("engine.kind", f"no engine {kind!r} here; there are {', '.join(ENGINES)}")
