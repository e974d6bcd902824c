"""Engines in the simulator: one module an engine family, one line here an engine.

A module has `lay_out(pipeline)`, which adds the pipeline's threads in the order of their numbers: generators, their
clients, the broker, the engine, the server, the collector.  An engine from elsewhere is an entry point in the group
`weir.engines` whose module has such a function, too.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from scenarios.rules import WITHOUT_BROKER
from scenarios.spec import Scenario
from sim.costs import Calibration
from sim.pipelines.pipeline import Pipeline
from sim.system import System, UnsupportedError

#: kind -> module
ENGINES = {
    "python": "sim.pipelines.python",
    "kafka-streams": "sim.pipelines.poll_loop",
    "flink": "sim.pipelines.dataflow",
    "pekko": "sim.pipelines.poll_loop",
    "spark": "sim.pipelines.micro_batch",
    "ray": "sim.pipelines.actors",
    "standalone": "sim.pipelines.brokerless",
    "graph": "sim.pipelines.graph",
}
CHANGING = "the simulator has it for poll loops only: python, kafka-streams, pekko, flink with chained operators"
ENTRY_POINT_GROUP = "weir.engines"


def build(scenario: Scenario, calibration: Calibration) -> System:
    """The system of a scenario, at the costs of a calibration.

    Raises:
        UnsupportedError: the scenario needs something this calibration or simulator does not have.
    """
    pipeline = Pipeline(scenario, calibration)
    layout_of(scenario.engine.kind)(pipeline)
    if pipeline.models is None:
        for section, asked in (("model_stream", scenario.model_stream), ("faults", scenario.faults)):
            if asked:
                raise UnsupportedError(f"{section}: {CHANGING}")
    return pipeline.system()


def holds_backlog(kind: str) -> bool:
    """Whether an engine's pipeline has an input topic, which records can lie in before it starts."""
    return kind not in WITHOUT_BROKER


def layout_of(kind: str) -> Callable[[Pipeline], None]:
    """The function that lays an engine's pipeline out.

    Raises:
        UnsupportedError: The simulator has no programs for it.
    """
    name = ENGINES.get(kind)
    if name is None:
        from importlib.metadata import entry_points

        name = next((e.value.partition(":")[0] for e in entry_points(group=ENTRY_POINT_GROUP, name=kind)), None)
    found = None if name is None else getattr(import_module(name), "lay_out", None)
    if found is None:
        there = ", ".join(ENGINES)
        raise UnsupportedError(f"engine.kind: {kind}: the simulator has no programs for it; it has {there}")
    lay_out: Callable[[Pipeline], None] = found
    return lay_out
