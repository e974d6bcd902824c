"""Engines: one module an engine, one line here.  An engine is what turns the inputs of a run into outputs.

A module that has an `ENGINE` (`real.engines.base.Engine`) says by it how it is run.  Any other is a Python engine: the
harness starts `parallelism` processes of `python -m MODULE CONFIG`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from real.errors import RefusedError

if TYPE_CHECKING:
    from real.engines.base import Engine

#: kind -> module
ENGINES = {
    "python": "real.engines.python",
    "kafka-streams": "real.engines.kafka_streams",
    "flink": "real.engines.flink",
    "pekko": "real.engines.pekko",
    "spark": "real.engines.spark",
    "ray": "real.engines.ray",
    "standalone": "real.engines.standalone",
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


def engine(kind: str) -> Engine:
    """An engine.

    Raises:
        RefusedError: No such engine here.
    """
    from real.engines.base import Engine

    name = module_of(kind)
    found = getattr(import_module(name), "ENGINE", None)
    return found if isinstance(found, Engine) else Engine(kind, name)
